"""Form of the notebook: messages of the page, reasons and Enter."""

import pytest

from omnimouse_widgets.jupyter.form import SettingsForm
from tests.widgets.settings import Recording, form_of


@pytest.fixture
def recording():
    return Recording()


@pytest.fixture
def applied():
    return []


@pytest.fixture
def drawn(recording, applied):
    form = form_of(recording)
    made = SettingsForm(form, [recording.changed], lambda: applied.append(form.read()))
    yield made
    made.close()


def send(control, value, *, enter=False):
    """Send what the page sends after a change, and after Enter."""
    control.set_state({"value": value})
    if enter:
        control._handle_custom_msg({"event": "submit"}, [])


def test_values_of_the_page_are_read(drawn):
    controls = drawn.controls
    send(controls["rate_hz"], "12.5")
    send(controls["history"], "4, 8")
    controls["tier"].set_state({"index": 1})
    send(controls["video"], False)
    read = drawn.form.read()
    assert (read.rate_hz, read.history, read.tier, read.video) == (12.5, (4, 8), "oracle", False)
    assert controls["rate_hz"].description == "Rate (Hz)"


def test_a_reason_stands_below_the_field_and_enter_applies_a_valid_form(drawn, applied):
    control, reason = drawn.controls["neurons"], drawn.reasons["neurons"]
    send(control, "41", enter=True)
    assert "0 to 40" in reason.value
    assert reason.layout.display is None
    assert control.value == "41"
    assert applied == []
    send(control, "40", enter=True)
    assert reason.layout.display == "none"
    assert [settings.neurons for settings in applied] == [40]


def test_the_recording_changes_choices_and_what_is_enabled(drawn, recording):
    drawn.controls["tier"].set_state({"index": 1})
    recording.become(n_neurons=80, tiers=("final", "live"), has_video=False)
    tier = drawn.controls["tier"]
    assert tier.options == (("FINAL", "final"), ("LIVE", "live"))
    assert tier.value == "final"
    assert drawn.controls["neurons"].value == "20"
    assert drawn.controls["video"].disabled
    assert "no video" in drawn.controls["video"].tooltip


def test_a_closed_form_follows_nothing(drawn, recording):
    drawn.close()
    recording.become(n_neurons=80)
    assert drawn.controls["neurons"].value == "10"
