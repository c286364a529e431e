"""The panel Context in napari: its form, and the mark in its curves."""

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views.context.view import ContextView
from tests.predictors import NoisyPredictor, open_controller
from tests.widgets.pointer import press


def test_enter_in_a_field_begins_no_sweep(controller, show, redraw):
    controller.selection.select([3, 11, 30])
    panel = show(RecordPanel.of(ContextView.of(controller), controller), 400, 460)
    press(panel.widgets["sweep"])
    redraw()
    neurons = panel.widgets["settings"].controls["neurons"].native
    neurons.setFocus()
    neurons.selectAll()
    QTest.keyClicks(neurons, "0, 2")
    redraw()
    assert panel.widgets["start"].isEnabled()
    QTest.keyClick(neurons, Qt.Key.Key_Return)
    assert controller.sweeps.entries == ()
    assert panel.view.form.value("neurons") == (0, 2)


def test_the_mark_is_drawn_in_both_curves(session, tmp_path, show, redraw):
    with open_controller(session, NoisyPredictor()) as controller:
        controller.sweeps.folder = tmp_path / "kept"
        controller.selection.select([3, 11, 30])
        panel = show(RecordPanel.of(ContextView.of(controller), controller), 400, 460)
        redraw()
        for axis in ("neurons", "history_samples"):
            assert panel.plots[axis].overlays[f"line {axis}"].getData()[0] is not None
