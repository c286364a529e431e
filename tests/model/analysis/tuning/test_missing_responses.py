"""Missing responses of one neuron, and pauses, leave the other neurons as they are."""

from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.analysis.direction_tuning import direction_tuning
from omnimouse_model.analysis.motion_energy import BLOCK, block_starts
from omnimouse_model.analysis.receptive_fields import receptive_fields
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.repeats import clip_repeats, repeated_clips
from omnimouse_model.live.neurons.neuron_order import sampled_activity

N = 4
RATE_HZ = 30.0


def _session(n_s: int, change: tuple[slice, slice] | None = None, **arrays: object) -> Session:
    """Noise with a response to each of four stimuli of one second, shown in turn."""
    draw = np.random.default_rng(0)
    kind = np.arange(n_s) % 4
    gain = draw.random((4, N)) * 3
    values = draw.random((n_s * 30, N)) + np.repeat(gain[kind], 30, axis=0)
    values[:, 3] = np.nan
    if change is not None:
        values[change] = np.nan
    return open_session(
        {
            "responses": values.astype("f4"),
            "rate_hz": RATE_HZ,
            "trial_start": np.arange(n_s),
            "trial_stop": np.arange(n_s) + 0.8,
            "trial_stim_id": kind.astype(str),
            **arrays,
        }
    )


def _with_pause(session: Session, first_row: int, last_row: int) -> Session:
    """The same recording, of which the rows between two were not recorded."""
    signal = session.responses
    ends = [0, first_row], [last_row, signal.n_samples - 1]
    spans = signal.start + np.array(ends) / signal.rate_hz
    paused = replace(signal, recorded_spans=spans)
    return replace(session, responses=paused)


def _with_directions(session: Session) -> Session:
    degrees = session.trials.stim_id.astype(int) * 90.0
    extra = tuple({"direction": float(d)} for d in degrees)
    return replace(session, trials=replace(session.trials, extra=extra))


def test_directions_of_a_neuron_come_from_the_trials_in_which_it_was_recorded():
    whole = _with_directions(_session(80))
    gaps = _with_directions(_session(80, (slice(300, 900), slice(1, 2))))
    expected, found = (direction_tuning(s, np.arange(N)) for s in (whole, gaps))
    for neuron in (0, 2):
        np.testing.assert_array_equal(found[neuron].response, expected[neuron].response)
        assert found[neuron].dsi == expected[neuron].dsi
    values = gaps.responses.data[:, 1] / gaps.response_scale[1]
    on = [np.nanmean(values[(np.arange(30) + 30 * t)]) for t in range(0, 80, 4)]
    assert found[1].response[0] == pytest.approx(np.nanmean(on), rel=0.2)
    assert np.isfinite(found[1].response).all()
    # A neuron without any response has a reason, and changes nothing.
    assert found[3].problem
    assert not np.isfinite(found[3].dsi)


@pytest.mark.parametrize("constant", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("from_trials", [False, True])
def test_a_constant_neuron_prefers_no_direction(constant, from_trials):
    frames = np.random.default_rng(1).integers(0, 256, (80 * 30, 36, 64), np.uint8)
    video = {} if from_trials else {"video": frames, "video_rate_hz": RATE_HZ}
    session = _session(80, **video)
    session.responses.data[:, 1] = constant
    session = _with_directions(session) if from_trials else session
    tuned, flat = direction_tuning(session, np.array([0, 1]))
    assert np.isfinite(tuned.osi)
    assert not tuned.problem
    assert not np.isfinite([flat.osi, flat.dsi, flat.p_orientation, flat.preferred_deg]).any()
    assert "do not vary" in flat.problem


def test_a_repeat_that_touches_a_pause_is_left_out():
    session = _session(40, (slice(605, 700), slice(0, N)))
    paused = _with_pause(session, 604, 700)
    clips = {c.stim_id: c for c in repeated_clips(paused, ("none",))}
    # Trials 20 to 23 touch the pause; the first and the last leave the recording.
    assert [len(clips[str(k)].trials) for k in range(4)] == [8, 9, 9, 8]
    found = clip_repeats(paused, clips["0"], np.arange(N))
    assert np.isfinite(found.oracle[:3]).all()
    assert np.isnan(found.oracle[3])


def test_a_repeat_that_one_neuron_misses_is_left_out_for_it_alone():
    session = _session(40, (slice(600, 630), slice(1, 2)))
    clips = {c.stim_id: c for c in repeated_clips(session, ("none",))}
    found = clip_repeats(session, clips["0"], np.arange(N))
    assert np.isfinite(found.oracle[:3]).all()


def test_missing_responses_are_no_silence_for_receptive_fields():
    draw = np.random.default_rng(1)
    frames = draw.integers(0, 256, (3600, 9, 16), np.uint8).repeat(4, 1).repeat(4, 2)
    drive = frames[:, 20, 20] / 128.0
    values = np.stack([drive, drive, np.full(3600, np.nan)], axis=1) + 20.0
    values[1000:2500, 1] = np.nan
    session = open_session(
        {
            "responses": values.astype("f4"),
            "rate_hz": RATE_HZ,
            "video": frames,
            "video_rate_hz": RATE_HZ,
        }
    )
    whole, gaps, nothing = receptive_fields(session, np.arange(3), kind="plain")
    assert whole.reliability > 0.9
    assert gaps.reliability > 0.8
    assert gaps.centre_yx == pytest.approx(whole.centre_yx, abs=2)
    assert nothing.problem


def test_blocks_and_samples_lie_in_recorded_time():
    session = _with_pause(_session(400), 1500, 10500)
    starts = block_starts(session)
    # The common interval begins 0.5 s after the recording.
    middle = (starts + BLOCK / 2) / 30 + 0.5
    assert ((middle < 50) | (middle > 350)).all()
    assert len(starts) == 5
    activity = sampled_activity(session)
    assert activity.shape == (N, 800)
    assert np.isfinite(activity).all()
    assert (activity[3] == 0).all()
