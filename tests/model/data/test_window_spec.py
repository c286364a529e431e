"""The time base of a model: what a window contains, and which values are refused."""

from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data import clock
from omnimouse_model.data.frames import fit_video
from omnimouse_model.data.window_spec import BehaviorSpec, VideoSpec, WindowSpec

SPIKES = WindowSpec(3.0, 50.0, "count", align="trial", trial_offset_s=-0.5)
TWIN = WindowSpec(
    2.0,
    30.0,
    video=VideoSpec(30.0, 144, 256, is_raw=True),
    behavior=BehaviorSpec(30.0, ("pupil_size", "running")),
    warmup_s=1.0,
)
CNN = WindowSpec(16 / 30, 30.0, video=VideoSpec(30.0, 36, 64))


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        (om.OMNIMOUSE, (60, 60, 40)),
        (SPIKES, (150, 0, 0)),
        (TWIN, (60, 60, 60)),
        (CNN, (16, 16, 0)),
        (WindowSpec(0.3, 10.0), (3, 0, 0)),  # 0.3 * 10 is above 3 in binary
    ],
)
def test_a_window_contains_a_whole_number_of_samples(spec, counts):
    assert (spec.n_samples, spec.n_frames, spec.n_behavior) == counts


def test_windows_of_sessions_have_the_spec_of_omnimouse():
    counts = (clock.N_SAMPLES, clock.N_FRAMES, clock.N_BEHAVIOR)
    assert counts == (60, 60, 40)
    assert om.OMNIMOUSE.duration_s == clock.WINDOW_S
    frames = fit_video(np.zeros((om.OMNIMOUSE.n_frames, 72, 128), np.float32))
    assert frames.shape == (60, om.OMNIMOUSE.video.height, om.OMNIMOUSE.video.width)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("duration_s", 0.0),
        ("duration_s", 2.01),
        ("duration_s", float("inf")),
        ("response_rate_hz", -30.0),
        ("response_rate_hz", 30.2),
        ("responses", "spikes"),
        ("align", "stimulus"),
        ("warmup_s", -1.0),
        ("trial_offset_s", 0.5),
    ],
)
def test_a_wrong_value_is_named(field, value):
    with pytest.raises(ValueError, match=field) as caught:
        replace(om.OMNIMOUSE, **{field: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("channels", [(), ("running", "running")])
def test_channels_have_one_name_each(channels):
    with pytest.raises(ValueError, match="channels"):
        BehaviorSpec(20.0, channels)


def test_a_frame_has_a_size():
    with pytest.raises(ValueError, match="height"):
        VideoSpec(30.0, 0, 64)
