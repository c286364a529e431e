"""Pictures and clips in place of the video: their frames, storage and limits."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.counterfactual import (
    apply_edits,
    describe_edits,
    edits_for,
    edits_from_json,
    edits_to_json,
)
from omnimouse_model.analysis.stimulus_edits import MAX_BYTES, Contrast, Mirror, Picture
from omnimouse_model.data.window_spec import OMNIMOUSE


@pytest.fixture
def clip():
    return np.random.default_rng(0).integers(0, 256, (5, 36, 64), dtype=np.uint8)


@pytest.fixture
def window(session):
    return session.window(6.0)


def test_a_clip_takes_the_place_of_the_video_and_its_last_frame_stays(window, clip):
    small = clip[0].reshape(18, 2, 32, 2).mean(axis=(1, 3)).round().astype(np.uint8)
    for frames, shown in (
        (clip, [0, 1, 2, 3, *[4] * 56]),
        (clip[0], [0] * 60),
        (np.repeat(small, 2, axis=0).repeat(2, axis=1), [0] * 60),
    ):
        picture = Picture.of(frames)
        assert picture.n_frames == max(shown) + 1
        edited = apply_edits(window, [picture])
        expected = frames.reshape(-1, 36, 64)[shown]
        np.testing.assert_array_equal(edited.frames_u8, expected)
        np.testing.assert_array_equal(edited.behavior, window.behavior)
    # A smaller one is scaled; equal frames are stored once.
    scaled = apply_edits(window, [Picture.of(small)]).frames_u8
    np.testing.assert_array_equal(scaled[7, ::2, ::2], small)
    assert Picture.of(np.repeat(clip[:1], 60, axis=0)).n_frames == 1


def test_other_edits_change_the_picture(window, clip):
    edits = [Picture.of(clip[0]), Mirror(), Contrast(0.0)]
    assert (apply_edits(window, edits).frames_u8 == 113).all()
    mirrored = apply_edits(window, edits[:2]).frames_u8
    np.testing.assert_array_equal(mirrored[0], clip[0, :, ::-1])


def test_a_picture_is_stored_in_json_and_pickle(window, clip):
    picture = Picture.of(clip, "most exciting video")
    (stored,) = edits_from_json(json.loads(json.dumps(edits_to_json([picture]))))
    assert stored == picture
    np.testing.assert_array_equal(stored.frames, clip)
    edited = apply_edits(window, [picture])
    assert pickle.loads(pickle.dumps(edited)).key == edited.key
    assert describe_edits([picture], OMNIMOUSE) == "most exciting video"


@pytest.mark.parametrize("rate_hz", [15.0, 30.0, 60.0])
def test_a_clip_keeps_its_time_in_windows_of_another_rate(session, clip, rate_hz):
    spec = replace(om.OMNIMOUSE, video=replace(om.OMNIMOUSE.video, rate_hz=rate_hz))
    slow = session.window(6.0).at(spec)
    (edit,) = edits_for([Picture.of(clip)], om.OMNIMOUSE, spec)
    frames = apply_edits(slow, [edit]).frames_u8
    # Frame k of the clip is on the screen from k / 30 s on.
    shown = np.minimum(np.arange(len(frames)) * 30 // int(rate_hz), 4)
    np.testing.assert_array_equal(frames, clip[shown])
    (again,) = edits_for([edit], spec, om.OMNIMOUSE)
    assert again == Picture.of(clip)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixels": "no base 64!"}, "cannot be read"),
        ({"pixels": "bm8gemxpYg=="}, "cannot be read"),
        ({"n_frames": 4}, "more than 9,216 bytes; expected 9,216"),
        ({"n_frames": 6}, "11,520 bytes; expected 13,824"),
        ({"n_frames": 0}, "at least 1"),
        ({"step": 0.0}, "step is 0"),
        ({"width": MAX_BYTES}, "at most"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(clip, change, words):
    (stored,) = edits_to_json([Picture.of(clip)])
    with pytest.raises(ValueError, match=words):
        edits_from_json([stored | change])
