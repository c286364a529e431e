"""The panel Context in napari: its form, and curves with the mark on screen."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views import record
from omnimouse_widgets.views.context.view import ContextView
from tests.predictors import NoisyPredictor, open_controller
from tests.widgets.pointer import press


@pytest.fixture
def controller(session, tmp_path):
    with open_controller(session, NoisyPredictor()) as made:
        made.sweeps.folder = tmp_path / "kept"
        made.selection.select([3, 11, 30])
        yield made


@pytest.fixture
def panel(controller, show):
    return show(RecordPanel.of(ContextView.of(controller), controller), 400, 460)


def type_into(panel, field, text):
    control = panel.widgets["settings"].controls[field].native
    control.setFocus()
    control.selectAll()
    QTest.keyClicks(control, text)


def test_the_form_in_napari_says_what_is_wrong(panel, redraw):
    press(panel.widgets["sweep"])
    redraw()
    reason = panel.widgets["settings"].reasons["history"]
    for history, problem in (("0, 5", "history_samples"), ("0, ten", "whole number")):
        type_into(panel, "history", history)
        redraw()
        assert problem in reason.text()
        assert not panel.widgets["start"].isEnabled()
    type_into(panel, "history", "0, 10")
    redraw()
    assert not reason.isVisible()
    assert panel.widgets["start"].isEnabled()
    for field in ("neurons", "history"):
        type_into(panel, field, " ")
    redraw()
    assert "needs neurons" in panel.widgets["estimate"].text()


def test_curves_and_mark_are_on_the_screen(panel, controller, redraw):
    redraw()
    for axis in ("neurons", "history_samples"):
        plot = panel.plots[axis]
        assert plot.canvas.isVisible()
        assert len(plot.shown.lines) == len(record.record(panel.view)[axis].lines)
        assert plot.overlays[f"line {axis}"].getData()[0] is not None
    press(panel.widgets["condition video"])
    redraw()
    assert panel.view.hidden == ("video",)
    assert not panel.widgets["condition video"].isChecked()
    press(panel.widgets["live"])
    redraw()
    assert not controller.state.sweep_shown


def test_enter_in_a_field_begins_no_sweep(panel, controller, redraw):
    press(panel.widgets["sweep"])
    redraw()
    type_into(panel, "neurons", "0, 2")
    redraw()
    assert panel.widgets["start"].isEnabled()
    QTest.keyClick(panel.widgets["settings"].controls["neurons"].native, Qt.Key.Key_Return)
    assert controller.sweeps.entries == ()
    assert panel.view.form.value("neurons") == (0, 2)
