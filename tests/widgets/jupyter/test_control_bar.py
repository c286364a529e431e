import pytest

from omnimouse_widgets.jupyter.control_bar import ControlBar


def test_the_video_is_given_by_name_and_what_is_none_is_refused(controller):
    bar = ControlBar(controller)
    bar.video = "first"
    frames = controller.state.mask.frames
    assert frames[:30].all()
    assert not frames[30:].any()
    with pytest.raises(ValueError, match="all, none, first, last"):
        bar.video = "some"
    assert bar.video == "first"
    bar.close()
