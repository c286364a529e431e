"""The Context panel: what it refuses, sweeps in the background, kept ones."""

from typing import Any

import numpy as np
import pytest
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from omnimouse_model.masks import VISIBLE
from omnimouse_widgets.drawn.context.text import NO_SESSION
from omnimouse_widgets.qt.context.panel import ContextPanel
from tests.predictors import NoisyPredictor, open_controller
from tests.widgets.pointer import press

SELECTED = [3, 11, 30]


@pytest.fixture
def predictor():
    return NoisyPredictor()


@pytest.fixture
def controller(session, predictor, tmp_path):
    with open_controller(session, predictor) as made:
        made.sweeps.folder = tmp_path / "kept"
        made.selection.select(SELECTED)
        yield made


@pytest.fixture
def panel(controller, show):
    return show(ContextPanel(controller), 400, 380)


def assert_drawn(panel: ContextPanel, sweep: Any, line: int = 0) -> None:
    """The points and bars on screen are those of a sweep."""
    for curve in sweep.curves():
        expected = [
            (value, point.score, 2 * np.nan_to_num(point.sem))
            for value, point in zip(curve.values, curve.points, strict=True)
        ]
        on_screen = panel.plot.drawn_points(curve.axis, curve.label, line=line)
        np.testing.assert_allclose(on_screen, expected, atol=1e-9)


def test_without_a_session_nothing_is_swept(empty_controller, show, monkeypatch):
    dialogs: list[str] = []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *w: dialogs.append(w[1]))
    panel = show(ContextPanel(empty_controller), 400, 380)
    assert panel.plot.message == NO_SESSION
    panel.sweep.click()
    assert not panel.form.button.isEnabled()
    press(panel.export)
    assert dialogs == []
    assert NO_SESSION in panel.problem.text()


def test_a_stroke_moves_the_mark_over_the_live_points(panel, controller, redraw):
    assert_drawn(panel, before := controller.results.sweep)
    controller.editor.paint_cells(range(40), slice(15, 25), VISIBLE)
    redraw()
    assert panel.plot.axes["history_samples"].line.value() == pytest.approx(10)
    assert controller.results.sweep is before


def test_hidden_it_asks_nothing(panel, controller, predictor, redraw):
    assert controller.state.sweep_shown
    panel.hide()
    redraw()
    assert not controller.state.sweep_shown
    encodings = predictor.counters["encodings"]
    controller.requests.send_again()
    assert predictor.counters["encodings"] == encodings + 1
    panel.show()
    redraw()
    assert controller.state.sweep_shown
    panel.live.click()
    redraw()
    assert not controller.state.sweep_shown
    assert panel.plot.drawn_points("neurons", "video") == []


def fill_form(panel: ContextPanel, name: str = "mine") -> None:
    panel.sweep.click()
    texts = {"neurons": "0, 8", "history": "0, 10", "draws": "2", "windows": "2", "name": name}
    for field, text in texts.items():
        type_into(panel, field, text)


def type_into(panel: ContextPanel, field: str, text: str) -> None:
    control = panel.form.settings.controls[field].native
    control.setFocus()
    control.selectAll()
    QTest.keyClicks(control, text)


@pytest.mark.slow
def test_a_sweep_of_the_form_is_drawn_and_kept(panel, controller, session, redraw):
    fill_form(panel)
    redraw()
    for number in ("24 points", "2 windows", "48 predictions"):
        assert number in panel.form.summary.text()
    press(panel.form.button)
    redraw()
    [entry] = controller.sweeps.entries
    assert len(entry.sweep.rows) == 24
    assert_drawn(panel, entry.sweep, line=1)
    assert not panel.sweep.isChecked()
    assert panel.plot.canvas.isVisible()
    panel.show_saved.click()
    redraw()
    assert panel.saved.list.item(0).text().splitlines() == ["mine", entry.started]


def test_what_is_wrong_in_the_form_is_said_there(panel, redraw):
    fill_form(panel)
    reason = panel.form.settings.reasons["history"]
    for history, problem in (("0, 5", "history_samples"), ("0, ten", "whole number")):
        type_into(panel, "history", history)
        redraw()
        assert problem in reason.text()
        assert not panel.form.button.isEnabled()
    type_into(panel, "history", "0, 10")
    redraw()
    assert not reason.isVisible()
    assert panel.form.button.isEnabled()
    for field in ("neurons", "history"):
        type_into(panel, field, " ")
    redraw()
    assert "needs neurons" in panel.form.summary.text()
    assert not panel.form.button.isEnabled()
