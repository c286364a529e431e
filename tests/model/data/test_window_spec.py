from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.stimulus import fit_video
from omnimouse_model.data.window_spec import BehaviorSpec, VideoSpec, WindowSpec
from tests.model.experanto_folder import write_folder

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


def test_frames_are_fitted_to_the_spec_of_omnimouse():
    video = om.OMNIMOUSE.video
    frames = fit_video(np.zeros((60, 72, 128), np.float32), (video.height, video.width))
    assert frames.shape == (60, 36, 64)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("duration_s", 0.0),
        ("duration_s", 2.01),
        ("duration_s", float("inf")),
        ("duration_s", 1e308),
        ("duration_s", 1e6),
        ("response_rate_hz", -30.0),
        ("response_rate_hz", 30.2),
        ("responses", "spikes"),
        ("align", "stimulus"),
        ("warmup_s", -1.0),
        ("warmup_s", 0.12),
        ("trial_offset_s", 0.5),
    ],
)
def test_a_wrong_value_is_named(field, value):
    with pytest.raises(ValueError, match=field) as caught:
        replace(om.OMNIMOUSE, **{field: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("channels", [(), ("running", "running")])
def test_channels_have_one_name_each_and_a_frame_has_a_size(channels):
    with pytest.raises(ValueError, match="channels"):
        BehaviorSpec(20.0, channels)
    with pytest.raises(ValueError, match="height"):
        VideoSpec(30.0, 0, 64)


def test_a_spec_without_behavior_may_touch_its_gaps(tmp_path):
    session = om.open_session(write_folder(tmp_path / "a", missing=((100, 140),)))
    bare = replace(om.OMNIMOUSE, behavior=None)
    reading, blind = (session.window_starts(spec=s) for s in (om.OMNIMOUSE, bare))
    assert set(reading) < set(blind)
    window = session.window(blind[len(reading) // 2], om.OMNIMOUSE)
    assert not window.valid["behavior"].all()


def test_only_channels_of_the_spec_decide_about_validity(tmp_path):
    session = om.open_session(write_folder(tmp_path / "a", missing=((100, 140),)))
    running = replace(om.OMNIMOUSE, behavior=BehaviorSpec(20.0, ("running",)))
    window = session.window(5.0)
    assert not window.valid["behavior"].all()
    assert window.at(running).valid["behavior"].all()
    speed = window.at(running).behavior[:, 0]
    np.testing.assert_array_equal(speed, window.behavior[:, -1])
    one = BehaviorSpec(20.0, ("pupil_size",), is_raw=True)
    sizes = np.linspace(1.0, 2.0, 40)
    spec = replace(TWIN, behavior=one, video=om.OMNIMOUSE.video)
    inputs = {"rate_hz": 30.0, "behavior_by_name": {"pupil_size": sizes}}
    frames = np.zeros((60, 36, 64), np.uint8)
    clip = om.Clip(session=session, frames=frames, spec=spec, **inputs)
    assert clip.valid["behavior"].all()
    np.testing.assert_allclose(clip.behavior[:, 0], sizes, rtol=1e-6)
    assert clip.warmup.behavior[:, 0].tolist() == [1.0] * 20
    assert clip.warmup.video.shape == (30, 36, 64)


def test_without_video_in_the_spec_there_are_no_frames(tmp_path):
    window = om.open_session(write_folder(tmp_path / "a")).window(5.0)
    frames, valid = window.at(WindowSpec(2.0, 30.0)).frames_at(np.arange(3))
    assert (frames.shape, valid.tolist()) == ((3, 0, 0), [False] * 3)


def test_spikes_are_counted_in_the_bins_of_every_spec():
    times = np.arange(0.0, 20.0, 0.01)
    session = om.open_session(
        {"spike_times": times, "spike_unit": np.zeros(len(times), int), "stop_s": 20.0}
    )
    for rate_hz in (10.0, 30.0, 50.0):
        counts = session.window(5.0, WindowSpec(2.0, rate_hz, "count")).responses
        traces = session.window(5.0, WindowSpec(2.0, rate_hz)).responses
        total = (traces * session.response_scale).sum()
        assert counts.sum() == pytest.approx(200, abs=1)
        assert total == pytest.approx(200, abs=3)
