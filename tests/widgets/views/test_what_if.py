"""The panel *What if* where nothing can be edited."""

import pytest

import omnimouse_model as om
from omnimouse_model.data.window_spec import VideoSpec
from omnimouse_widgets.views.record import record
from omnimouse_widgets.views.what_if import FIXED, WhatIfView


def test_without_video_and_behaviour_no_setting_has_an_error_and_the_reasons_are_there(look_at):
    items = record(WhatIfView.of(look_at()))
    assert not [field.label for field in items["settings"].form.fields() if field.reason]
    assert items["edits"].text == FIXED
    assert "video" in items["traces"].missing
    assert "behaviour" in items["traces"].missing


@pytest.mark.parametrize(
    ("video", "told"), [(VideoSpec(20.0, 36, 64), "video, 50 ms each"), (None, "video")]
)
def test_the_delay_is_told_in_frames_of_the_models_video(look_at, session, video, told):
    spec = om.WindowSpec(2.0, 20.0, video=video)
    fields = record(WhatIfView.of(look_at(session, spec)))["settings"].form.fields()
    later = next(f for f in fields if f.name == "later")
    assert later.unit == "fr"
    assert later.help == f"Delay of the video in frames (fr) of the model's {told}"
