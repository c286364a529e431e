"""The panel *What if* where nothing can be edited."""

from omnimouse_widgets.views.record import record
from omnimouse_widgets.views.what_if import FIXED, WhatIfView


def test_without_video_and_behaviour_no_setting_has_an_error_and_the_reasons_are_there(look_at):
    items = record(WhatIfView.of(look_at()))
    assert not [field.label for field in items["settings"].form.fields() if field.reason]
    assert items["edits"].text == FIXED
    assert "video" in items["traces"].missing
    assert "behaviour" in items["traces"].missing


def test_the_delay_is_told_in_frames(controller):
    fields = record(WhatIfView.of(controller))["settings"].form.fields()
    later = next(f for f in fields if f.name == "later")
    assert later.unit == "fr"
    assert "frames (fr)" in later.help
