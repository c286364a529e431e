"""Form of Qt: typed keys, choices, reasons, Enter, Tab and the width."""

from dataclasses import dataclass

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QShortcut
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget

from omnimouse_widgets.qt.form import COLUMN, SettingsDialog, SettingsForm
from omnimouse_widgets.views.form import setting
from tests.widgets.settings import Recording, Settings, form_of


@pytest.fixture
def recording():
    return Recording()


@pytest.fixture
def drawn(recording, show):
    return show(SettingsForm(form_of(recording), [recording.changed]), 420, 260)


def form_widget(dialog, name):
    """Return the control of a field."""
    return dialog.settings.controls[name].native


def type_into(control, text):
    control.setFocus()
    control.selectAll()
    QTest.keyClicks(control, text)


def test_typed_values_are_read(drawn):
    controls = {name: control.native for name, control in drawn.controls.items()}
    type_into(controls["rate_hz"], "12.5")
    type_into(controls["neurons"], "7")
    type_into(controls["history"], "4, 8")
    QTest.keyClick(controls["tier"], Qt.Key.Key_Down)
    controls["video"].setFocus()
    QTest.keyClick(controls["video"], Qt.Key.Key_Space)
    read = drawn.form.read()
    assert (read.rate_hz, read.neurons, read.history) == (12.5, 7, (4, 8))
    assert (read.tier, read.video) == ("oracle", False)


def test_a_reason_stands_at_the_field_until_it_is_corrected(drawn, redraw):
    control, reason = drawn.controls["history"].native, drawn.reasons["history"]
    assert not reason.isVisible()
    type_into(control, "3")
    redraw()
    assert reason.isVisible()
    assert "even numbers only" in reason.text()
    assert control.accessibleDescription() == "even numbers only"
    assert control.text() == "3"
    type_into(control, "4")
    redraw()
    assert not reason.isVisible()
    assert not drawn.reasons["rate_hz"].isVisible()


def test_enter_applies_a_valid_form_only(drawn, qtbot):
    control = drawn.controls["history"].native
    type_into(control, "3")
    with qtbot.assertNotEmitted(drawn.applied):
        QTest.keyClick(control, Qt.Key.Key_Return)
    type_into(control, "4")
    for name in ("history", "neurons", "rate_hz"):
        with qtbot.waitSignal(drawn.applied):
            QTest.keyClick(drawn.controls[name].native, Qt.Key.Key_Enter)
    assert drawn.form.read() == Settings(history=(4,))


def test_the_recording_changes_choices_ranges_and_what_is_enabled(drawn, recording, redraw):
    recording.become(n_neurons=80, tiers=("test", "final"), has_video=False)
    redraw()
    tier, video = drawn.controls["tier"].native, drawn.controls["video"].native
    assert [tier.itemText(at) for at in range(tier.count())] == ["TEST", "FINAL"]
    assert drawn.controls["neurons"].value == 20
    assert not video.isEnabled()
    assert "no video" in video.toolTip()


def test_the_same_choices_of_another_recording_have_its_texts(drawn, recording, redraw):
    recording.become(suffix=" (80)")
    redraw()
    tier = drawn.controls["tier"]
    assert [tier.native.itemText(at) for at in range(2)] == ["TEST (80)", "ORACLE (80)"]
    assert tier.value == "test"


def test_a_long_list_that_is_set_shows_its_beginning(drawn, redraw):
    line = drawn.controls["history"].native
    drawn.form.set("history", tuple(range(0, 100, 2)))
    redraw()
    assert line.text().startswith("0, 2, 4")
    assert line.cursorPosition() == 0


def test_wide_forms_have_two_columns_and_tab_goes_through_the_fields(drawn, redraw):
    controls = [control.native for control in drawn.controls.values()]
    redraw()
    assert controls[0].y() == controls[1].y()
    assert controls[1].x() > controls[0].x()
    controls[0].setFocus()
    for control in controls[1:]:
        QTest.keyClick(drawn.window().focusWidget(), Qt.Key.Key_Tab)
        assert drawn.window().focusWidget() is control
    drawn.resize(COLUMN, 400)
    redraw()
    assert controls[0].x() == controls[1].x()
    assert controls[1].y() > controls[0].y()
    assert all(control.accessibleName() for control in controls)


def test_letters_in_a_list_run_no_shortcut_of_the_panel(drawn, qtbot):
    shortcut = QShortcut("F", drawn)
    tier = drawn.controls["tier"].native
    tier.setFocus()
    with qtbot.assertNotEmitted(shortcut.activated):
        QTest.keyClick(tier, Qt.Key.Key_F)


def test_a_form_that_shows_other_settings_has_their_controls(drawn, redraw):
    @dataclass(frozen=True)
    class Other:
        neurons: float = setting("Neurons", "Their share", 0.5)
        rate: int = setting("Rate", "Of learning", 3)

    drawn.form.show(Other)
    redraw()
    assert list(drawn.controls) == ["neurons", "rate"]
    assert all(control.native.isVisible() for control in drawn.controls.values())
    type_into(drawn.controls["neurons"].native, "0.25")
    assert drawn.form.read() == Other(0.25, 3)
    drawn.form.show(Settings)
    redraw()
    assert next(iter(drawn.controls)) == "rate_hz"


def test_the_button_of_a_dialog_names_the_action_and_says_why_it_is_disabled(
    recording, show, redraw
):
    form, parent = form_of(recording), show(QWidget(), 300, 200)
    dialog = SettingsDialog("Export…", ("Save…", "Save to a file"), form, parent)
    dialog.open()
    redraw()
    assert dialog.windowTitle() == "Export"
    # No empty space between the rows.
    first, second = (form_widget(dialog, name).geometry() for name in ("rate_hz", "history"))
    assert first.bottom() < second.top() < first.bottom() + 20
    assert (dialog.button.text(), dialog.button.toolTip()) == ("Save…", "Save to a file")
    form.set("history", "3")
    redraw()
    assert not dialog.button.isEnabled()
    assert dialog.button.toolTip() == form.refusal == "History: even numbers only"
    form.reset()
    redraw()
    assert dialog.button.isEnabled()
    dialog.button.click()
    assert dialog.result() == dialog.DialogCode.Accepted
