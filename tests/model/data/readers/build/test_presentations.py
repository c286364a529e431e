"""Stimulus and trial table from presentations."""

import numpy as np

import omnimouse_model as om


def test_trials_without_a_frame_of_the_video_are_counted_in_a_note():
    arrays = {
        "responses": np.random.default_rng(0).random((1500, 3)),
        "rate_hz": 30.0,
        "video": np.zeros((600, 9, 16), np.uint8),
        "video_rate_hz": 30.0,
    }
    # The video lasts 20 s: the trials at 24 s and 32 s have no frame.
    trials = {"trial_start": np.arange(5) * 8.0, "trial_stop": np.arange(5) * 8.0 + 5}
    notes = {n.code: n.message for n in om.open_session(arrays | trials).warnings}
    assert notes["trials_without_frames"].startswith("2 of 5 trials")
    assert "24 s" in notes["trials_without_frames"]
    codes = {note.code for note in om.open_session(arrays).warnings}
    assert "trials_without_frames" not in codes
