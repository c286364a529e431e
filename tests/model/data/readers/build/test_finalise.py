"""Checks across the streams of a recording."""

from typing import Any

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from tests.model.data.refusals import check_refusal


def opened(**arrays: Any) -> dict[str, str]:
    """Warnings of a recording of 60 s with some streams beside the responses."""
    responses = np.random.default_rng(0).gamma(1.0, 2.0, (1800, 5))
    session = open_session({"responses": responses, "rate_hz": 30.0} | arrays)
    return {note.code: note.message for note in session.warnings}


def running(seconds: float, start_s: float = 0.0) -> dict[str, Any]:
    values = np.random.default_rng(1).normal(size=int(seconds * 20))
    return {"running": values, "running_rate_hz": 20.0, "running_start_s": start_s}


@pytest.mark.parametrize(("seconds", "start_s"), [(60, 0), (59.5, 0.2), (64, -2)])
def test_streams_of_one_length_need_no_warning(seconds, start_s):
    assert "stream_lengths" not in opened(**running(seconds, start_s))


@pytest.mark.parametrize(
    ("seconds", "start_s", "words"),
    [
        (30, 0, "running 29.95 s (0 to 29.95 s)"),
        (60, 20, "running 59.95 s (20 to 79.95 s)"),
        (180, 0, "running 179.9 s"),
    ],
)
def test_streams_of_other_lengths_are_named_with_their_durations(seconds, start_s, words):
    message = opened(**running(seconds, start_s))["stream_lengths"]
    assert "responses 59.97 s (0 to 59.97 s)" in message
    assert words in message


def test_a_video_that_is_ten_times_too_fast_is_named():
    video = np.zeros((1800, 4, 6), np.uint8)
    message = opened(video=video, video_rate_hz=300.0)["stream_lengths"]
    assert "stimulus 6 s (0 to 6 s)" in message


def test_a_stream_without_a_complete_sample_does_not_take_the_windows_away():
    values = np.full(1200, np.nan)
    found = opened(pupil_size=np.arange(1200.0), pupil_x=values, pupil_rate_hz=20.0)
    assert "pupil_x is NaN in all of its 1,200 samples" in found["left_out_stream"]
    assert not {"zero_variance", "missing_samples"} & set(found)


def test_a_rate_that_makes_a_recording_too_short_is_named():
    arrays = {"responses": np.ones((900, 5)), "rate_hz": 900.0}
    error = check_refusal(arrays, "is the rate of the responses, 900 Hz, right")
    assert error.code == "no_overlap"


def test_neurons_whose_values_would_drown_the_others_are_named():
    responses = np.random.default_rng(0).random((600, 4))
    responses[:, 2] *= 1e35
    arrays = {"responses": responses, "rate_hz": 30.0}
    error = check_refusal(arrays, r"too large for traces: 1 of 4 neurons \(columns 2\)")
    assert error.code == "bad_field"
    assert "NaN" in error.hint


def marked(mark: float, **arrays: Any) -> dict[str, str]:
    """Warnings of a recording in which a value stands in ten samples of each array."""
    for values in arrays.values():
        values.reshape(len(values), -1)[100:110, 0] = mark
    return opened(**arrays, running_rate_hz=30.0)


@pytest.mark.parametrize(
    ("mark", "low", "high", "is_told"),
    [
        (-999, 0.0, 40.0, True),
        (-9999, -8.0, 8.0, True),
        (-32768, -90.0, 90.0, True),
        (-1, 20.0, 45.0, True),
        (-1, 0.0, 40.0, True),  # it alone is negative
        (-1, -0.9, 8.0, False),  # the least of usual values
        (-1.37, 0.0, 8.0, False),  # silence, centred
        (-7, -8.0, 8.0, False),
    ],
)
def test_a_negative_number_that_marks_missing_samples_is_told(mark, low, high, is_told):
    draw = np.random.default_rng(2)
    running = draw.uniform(low, high, 1800)
    responses = draw.uniform(low, high, (1800, 5))
    told = marked(mark, running=running, responses=responses)
    assert ("marks" in told) == is_told
    if is_told:
        words = f"running: 10 of 1,800 values are exactly {mark}, unlike all others"
        assert words in told["marks"]


@pytest.mark.parametrize("steps", [(-1, 0), (-1, 0, 1), (-1, 0, 1, 2)])
def test_steps_of_an_encoder_mark_nothing(steps):
    running = np.random.default_rng(3).choice(steps, 1800).astype(float)
    assert "marks" not in opened(running=running, running_rate_hz=30.0)


@pytest.mark.parametrize(
    ("names", "words"),
    [("aaabba", "all 2 clips"), ("aaabca", "1 of 2 clips"), ("abcdef", "")],
)
def test_test_clips_that_are_also_shown_in_train_are_told(names, words):
    trials = {
        "trial_start": np.arange(6) * 10.0,
        "trial_stop": np.arange(6) * 10.0 + 10.0,
        "trial_tier": ["train", "train", "train", "train", "test", "test"],
        "trial_stim_id": list(names),
    }
    video = {"video": np.zeros((1800, 4, 6), np.uint8), "video_rate_hz": 30.0}
    message = opened(**trials, **video).get("known_clips", "")
    assert message.partition(" of the test part")[0] == words
    # Trials without a screen have no clips.
    assert "known_clips" not in opened(**trials)


def test_notes_name_streams_by_what_they_are():
    session = open_session({"responses": np.ones((900, 5)), "rate_hz": 30.0} | running(30.0))
    told = " ".join(note.message for note in session.assumptions)
    assert "the recording has no pupil" in told
    assert "running: mean or s.d. computed" in told
