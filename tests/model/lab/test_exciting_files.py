"""Files of found inputs: arrays, images, and films with their frames and rate."""

import json
import sys
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from omnimouse_model.errors import ExportError
from omnimouse_model.lab.exciting_search import SEARCH, ExcitingInputs, write_exciting

RATE_HZ = 29.97


@pytest.fixture
def found():
    """A bar that moves over frames of an odd size."""
    videos = np.full((2, 12, 9, 15), 128, np.uint8)
    for frame in range(12):
        videos[0, frame, :, frame] = 250
    return ExcitingInputs(
        videos,
        np.array([2.0, 1.5]),
        np.zeros((2, 5)),
        0.3,
        RATE_HZ,
        replace(SEARCH, is_static=False),
        (0, 1),
        np.array([4, 7]),
        "twin",
        "demo",
    )


def test_a_film_has_the_frames_and_the_rate_of_the_video(found, tmp_path):
    path, _ = write_exciting(found, tmp_path)
    assert path.name == "exciting.mp4"
    with av.open(str(path)) as film:
        (stream,) = film.streams
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == pytest.approx(RATE_HZ)
        frames = [one.to_ndarray(format="gray") for one in film.decode(stream)]
        duration_s = float(stream.duration * stream.time_base)
        assert duration_s == pytest.approx(12 / RATE_HZ, rel=0.005)
    assert len(frames) == 12
    # Each pixel is a block of one size, whose middle has its gray level.
    side = frames[0].shape[0] // 9
    assert frames[0].shape == (9 * side, 15 * side)
    middle = np.stack(frames)[:, side // 2 :: side, side // 2 :: side]
    assert np.abs(middle.astype(int) - found.videos[0]).max() <= 6


def test_arrays_and_an_image_say_what_was_searched(found, tmp_path):
    found = replace(found, settings=SEARCH)
    picture, arrays = write_exciting(found, tmp_path)
    with Image.open(picture) as image:
        np.testing.assert_array_equal(np.asarray(image), found.videos[0, 0])
    with np.load(arrays) as stored:
        about = json.loads(str(stored["about"]))
        np.testing.assert_array_equal(stored["videos"], found.videos)
    assert about["neurons"] == [4, 7]
    assert about["rate_hz"] == RATE_HZ
    assert about["settings"]["temperature"] == SEARCH.temperature


def test_without_its_package_a_film_is_refused_and_arrays_are_kept(found, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ExportError, match=r"omnimouse-app\[video\]"):
        write_exciting(found, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["exciting.npz"]
