"""What a change draws anew, counted; times are for `omnimouse bench live`."""

from collections import Counter
from typing import Any

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets.drawn.raster_rows import MAX_ROWS
from omnimouse_widgets.qt.raster import RasterPanel
from omnimouse_widgets.qt.traces import TracesPanel
from tests.small_sessions import write_session


def count_drawings(
    monkeypatch: pytest.MonkeyPatch, owner: Any, *names: str
) -> Counter[str]:
    """How often methods are called from now on."""
    calls: Counter[str] = Counter()

    def counted(name: str, method: Any) -> Any:
        def call(*words: Any, **options: Any) -> Any:
            calls[name] += 1
            return method(*words, **options)

        return call

    for name in names:
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    return calls


def move_cursor(controller):
    for sample in range(10, 20):
        controller.set_cursor(sample)


def paint(controller):
    with controller.stroke():
        for neuron in range(10):
            controller.paint_cells([neuron], slice(5, 25), TARGET)


def select(controller):
    controller.select([7, 3])


@pytest.mark.parametrize(
    ("act", "drawn"),
    [(move_cursor, "set_cursor"), (paint, "set_codes"), (select, "set_marks")],
)
def test_a_change_draws_once_what_shows_it_in_the_raster(
    controller, show, redraw, monkeypatch, act, drawn
):
    panel = show(RasterPanel(controller), 800, 240)
    names = ("set_values", "set_codes", "set_cursor", "set_marks")
    calls = count_drawings(monkeypatch, panel.pictures["truth"], *names)
    act(controller)
    redraw()
    assert 1 <= calls[drawn] <= 2  # codes may come with new rows
    assert calls["set_values"] <= (act is paint)  # which asks for another answer


@pytest.mark.parametrize(("act", "times"), [(move_cursor, 0), (paint, 1), (select, 1)])
def test_traces_are_drawn_once_after_many_changes(
    controller, show, redraw, monkeypatch, act, times
):
    panel = show(TracesPanel(controller), 400, 420)
    calls = count_drawings(monkeypatch, panel.stack, "set_rows")
    act(controller)
    redraw()
    assert calls["set_rows"] == times


def test_the_raster_draws_no_more_rows_than_it_may(controller, show, tmp_path, redraw):
    controller.open_session(open_session(write_session(tmp_path / "large", 1000)))
    controller.paint_cells(range(500), slice(0, 60), VISIBLE)
    panel = show(RasterPanel(controller), 800, 240)
    redraw()
    assert 40 < len(panel.pictures["truth"].codes) <= MAX_ROWS
