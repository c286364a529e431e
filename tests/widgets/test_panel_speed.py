"""Redraws in units of a drawing that costs this machine as much.

A budget in milliseconds says as much of a machine and of its other guests as of our
code. Here each redraw is timed in turn with a plain drawing of the same kinds of work,
an array that becomes a picture and long lines drawn in software, and the ratio of their
medians stays within three times what it was when these bounds were set.
The milliseconds themselves are for `omnimouse bench live` to say.
"""

from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPointF
from qtpy.QtGui import QImage, QPainter, QPolygonF

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets.qt.raster import RasterPanel
from omnimouse_widgets.qt.traces import TracesPanel
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session

ROOM = 3.0
REPEATS = 25


@pytest.fixture(scope="module")
def large_session(tmp_path_factory):
    return write_session(tmp_path_factory.mktemp("large") / "mouse", 10_000)


@pytest.fixture
def large(large_session):
    made = Controller(synchronous=True)
    made.open_session(large_session)
    made.apply_preset("nothing")
    made.paint_cells(range(5000), slice(0, 60), VISIBLE)
    made.paint_cells(range(5000, 10_000), slice(30, 60), TARGET)
    yield made
    made.close()


@pytest.fixture
def plain(qapp):
    """A drawing as a panel's: a mask's colours, and eight traces of two minutes."""
    codes = np.random.default_rng(0).integers(0, 4, (240, 800))
    colours = np.random.default_rng(1).integers(0, 255, (4, 4), dtype=np.uint8)
    at = np.linspace(0.0, 700.0, 3600)
    lines = [
        QPolygonF([QPointF(x, 100 * k + 50 + 40 * np.sin(x)) for x in at])
        for k in range(8)
    ]
    image = QImage(700, 900, QImage.Format.Format_ARGB32_Premultiplied)

    def draw() -> None:
        pixels = np.ascontiguousarray(colours[codes])
        picture = QImage(pixels.data, 800, 240, QImage.Format.Format_RGBA8888)
        painter = QPainter(image)
        painter.drawImage(0, 0, picture)
        for line in lines:
            painter.drawPolyline(line)
        painter.end()

    return draw


def cost(
    act: Callable[[int], object],
    plain: Callable[[], None],
    before: Callable[[int], object] = lambda number: None,
) -> float:
    """Processor time of an act over that of a plain drawing, by their medians."""
    acts, drawings = [], []
    for number in range(REPEATS):
        before(number)
        acts.append(spent_by(partial(act, number)))
        drawings.append(spent_by(plain))
    return float(np.median(acts) / np.median(drawings))


def repaint(panel: Any, canvas: Any) -> None:
    """Draw what waits, now, onto pixels."""
    panel.redraw.flush()
    canvas.viewport().repaint()


def spent_by(act: Callable[[], object]) -> float:
    since = process_time()
    act()
    return process_time() - since


def test_the_raster_redraws_its_mask_in_time(large, show, plain):
    panel = show(RasterPanel(large), 800, 240)

    def paint(number: int) -> None:
        large.paint_cells(range(40 * number, 40 * number + 40), slice(5, 25), TARGET)

    def redraw(_: int) -> None:
        repaint(panel, panel.canvas)

    with large.stroke():
        assert cost(redraw, plain, before=paint) < 0.45 * ROOM


def test_the_cursor_moves_in_time(large, show, plain):
    panel = show(RasterPanel(large), 800, 240)

    def move(number: int) -> None:
        large.set_cursor(number % 60)
        repaint(panel, panel.canvas)

    assert cost(move, plain) < 0.15 * ROOM


def test_an_answer_for_all_neurons_is_drawn_in_time(large, show, plain):
    large.choose_predictor(EchoPredictor())
    large.apply_preset("video_behavior")
    panel = show(RasterPanel(large), 1000, 240)
    panel.set_view("beside")
    panel.redraw.flush()
    assert large.results.population is not None

    def answer(_: int) -> None:
        large.results.events.population.emit(large.results.population)
        repaint(panel, panel.canvas)

    assert cost(answer, plain) < 1.6 * ROOM


def test_sixteen_traces_redraw_in_time(large, show, plain):
    large.choose_predictor(EchoPredictor())
    large.select(range(4992, 5008))
    panel = show(TracesPanel(large), 400, 420)

    def redraw(_: int) -> None:
        panel.redraw.ask(0)
        repaint(panel, panel.stack.canvas)

    assert cost(redraw, plain) < 1.0 * ROOM


@pytest.mark.parametrize(
    ("n", "span", "usual"), [(8, "30 s", 2.5), (64, "window", 4.5), (64, "30 s", 9.5)]
)
def test_traces_with_four_pins_redraw_in_time(large, show, plain, n, span, usual):
    large.choose_predictor(EchoPredictor())
    large.apply_preset("video_behavior")
    for name in "abcd":
        large.pins.pin(name)
    large.select(range(n))
    large.pins.choose_span(span)
    panel = show(TracesPanel(large), 700, 900)

    def redraw(_: int) -> None:
        panel.redraw.ask(0)
        repaint(panel, panel.stack.canvas)

    assert cost(redraw, plain) < usual * ROOM
