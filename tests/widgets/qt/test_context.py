"""The panel Context in napari: its form, and the mark in its curves."""

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QTableView, QToolButton

from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views.context.view import ContextView
from omnimouse_widgets.views.record import record
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


def test_the_start_stands_directly_below_the_fields_of_a_sweep(controller, show, redraw):
    panel = show(RecordPanel.of(ContextView.of(controller), controller), 400, 600)
    press(panel.widgets["sweep"])
    redraw()
    fields, start = panel.widgets["settings"], panel.widgets["start row"]
    assert start.y() - fields.geometry().bottom() < 10
    controls = [control.native for control in fields.controls.values()]
    assert fields.height() - max(control.geometry().bottom() for control in controls) < 10


def test_the_mark_is_drawn_in_both_curves(session, tmp_path, show, redraw):
    with open_controller(session, NoisyPredictor()) as controller:
        controller.sweeps.folder = tmp_path / "kept"
        controller.selection.select([3, 11, 30])
        panel = show(RecordPanel.of(ContextView.of(controller), controller), 400, 460)
        redraw()
        for axis in ("neurons", "history_samples"):
            assert panel.plots[axis].overlays[f"line {axis}"].getData()[0] is not None


def test_signs_in_the_table_have_the_colours_of_the_curves(session, show, redraw):
    with open_controller(session, NoisyPredictor()) as controller:
        controller.selection.select([3, 11, 30])
        panel = show(RecordPanel.of(ContextView.of(controller), controller), 400, 460)
        press(panel.widgets["table"])
        redraw()
        table = record(panel.view)["point table"]
        (view,) = panel.findChildren(QTableView)
        indices = [view.model().index(row, 0) for row in range(len(table.rows))]
        shown = [index.data(Qt.ItemDataRole.ForegroundRole).color().name() for index in indices]
        assert len(set(shown)) > 1
        assert shown == [colour.lower() for colour in table.colours]


def test_the_sign_of_a_held_switch_has_a_rim_that_its_ground_does_not_hide(controller, show):
    panel = show(RecordPanel.of(ContextView.of(controller), controller), 400, 460)
    switches = panel.findChildren(QToolButton)
    signs = [switch.icon() for switch in switches if not switch.icon().isNull()]
    assert signs
    for icon in signs:
        rims = []
        for state in (QIcon.State.On, QIcon.State.Off):
            image = icon.pixmap(QSize(12, 12), QIcon.Mode.Normal, state).toImage()
            places = [(x, y) for x in range(image.width()) for y in range(image.height())]
            colours = [image.pixelColor(*place) for place in places]
            rims.append(any(min(c.red(), c.green(), c.blue()) > 240 and c.alpha() > 200
                            for c in colours))  # fmt: skip
        assert rims == [True, False]
