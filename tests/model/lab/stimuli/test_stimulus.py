"""Noise, dots, Gabors and images: motion, times, and equality for a seed."""

import os

import numpy as np
import pytest
from PIL import Image

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.lab.stimuli import stimulus as image_files
from omnimouse_model.lab.stimuli.gratings_and_dots import (
    PATTERNS,
    drifting_gabors,
    kinematograms,
    pink_noise,
)
from omnimouse_model.lab.stimuli.stimulus import GRAY, Monitor, images_in, movie, still_images

SIZE = (36, 64)


def motion(frames):
    """Mean displacement (columns to the right, rows upwards) from frame to frame.

    By least squares on the brightness constancy of neighbouring frames.
    """
    video = frames.astype(float)
    middle = (video[1:] + video[:-1]) / 2
    gy, gx = np.gradient(middle, axis=(1, 2))
    gt = np.diff(video, axis=0)
    inner = (slice(None), slice(2, -2), slice(2, -2))
    gradient = np.stack([gx[inner].ravel(), gy[inner].ravel()], 1)
    found = np.linalg.lstsq(gradient, -gt[inner].ravel(), rcond=None)[0]
    return found[0], -found[1]


@pytest.mark.slow
@pytest.mark.parametrize(("convention", "factor"), [("release", 1), ("nominal", 3)])
def test_pink_noise_moves_in_its_directions_at_the_speed_of_its_convention(convention, factor):
    # The full size of the generator; a temporal filter of little effect, so that the
    # motion of neighbouring frames is that of the pattern.
    noise = pink_noise(
        (140, 240), 1, 8, duration_s=8.0, bandwidth_hz=1.0, speed_convention=convention,
        seed=4,
    )  # fmt: skip
    frames = noise.frames_of(0)
    errors, speeds = [], []
    for onset, offset, value in zip(
        noise.events.onset, noise.events.offset, noise.values, strict=True
    ):
        x, y = motion(frames[round(onset * 30) + 1 : round(offset * 30)])
        errors.append((np.degrees(np.arctan2(y, x)) - value + 180) % 360 - 180)
        speeds.append(np.hypot(x, y))
    assert abs(np.mean(errors)) < 5
    assert np.abs(errors).max() < 30
    # 80 pixels times 0.25 widths per second over 30 frames.
    assert np.median(speeds) == pytest.approx(factor * 80 * 0.25 / 30, rel=0.15)


@pytest.mark.slow
def test_pink_noise_has_the_contrast_of_the_recipe():
    frames = pink_noise((140, 240), 1, 4, duration_s=2.0).frames_of(0).astype(float)
    assert frames.mean() == pytest.approx(127, abs=4)
    assert frames.std() == pytest.approx(49, abs=5)
    assert 0.002 < np.mean((frames == 0) | (frames == 255)) < 0.03


def test_each_direction_has_its_epoch_in_every_video():
    noise = pink_noise(SIZE, 3, 16)
    assert noise.n_videos == 3
    for video in range(3):
        is_own = noise.events.video == video
        assert sorted(noise.values[is_own]) == (np.arange(16) * 22.5).tolist()
    length = noise.events.offset - noise.events.onset
    np.testing.assert_allclose(length, 0.4 * 15 / 16)
    assert not np.array_equal(noise.values[:16], noise.values[16:32])


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda seed: pink_noise(SIZE, 1, 2, duration_s=1.0, seed=seed),
        lambda seed: kinematograms(SIZE, 1, 1, seed=seed),
        lambda seed: drifting_gabors(SIZE, 1, 2, seed=seed),
    ],
)
def test_a_stimulus_is_a_function_of_its_seed(make):
    one, again, other = make(1), make(1), make(2)
    assert one.frames_of(0).shape == (one.n_frames, *SIZE)
    np.testing.assert_array_equal(one.frames_of(0), again.frames_of(0))
    assert not np.array_equal(one.frames_of(0), other.frames_of(0))


@pytest.mark.slow
def test_dots_move_as_their_pattern_says():
    shown = kinematograms(
        (72, 128), 8, 1, radius_deg=6.0, n_dots=25, speed_deg_s=20.0,
        coherences=(1.0,), pattern_s=0.5,
    )  # fmt: skip
    assert {PATTERNS[int(v)] for v in shown.values} == set(PATTERNS)
    half = (slice(None), slice(None), slice(64, None))
    for video in range(8):
        frames = shown.frames_of(video)
        x, y = motion(frames)
        right_x, right_y = motion(frames[half])
        pattern = str(shown.table["pattern"][video])
        signs = {
            "right": x > 0.1, "left": x < -0.1, "up": y > 0.1, "down": y < -0.1,
            "outwards": right_x > 0.05, "inwards": right_x < -0.05,
            "clockwise": right_y < -0.05, "counter-clockwise": right_y > 0.05,
        }  # fmt: skip
        assert signs[pattern], (pattern, x, y, right_x, right_y)


@pytest.mark.slow
def test_a_gabor_is_at_its_place_and_moves_in_its_direction():
    shown = drifting_gabors((72, 128), 3, 4, sd_deg=8.0, temporal_hz=(1.0, 1.5))
    for event in range(12):
        video, place = divmod(event, 4)
        frames = shown.frames_of(video)[30 * place : 30 * (place + 1)]
        energy = ((frames.astype(float) - GRAY) ** 2).sum(axis=0)
        rows, columns = np.mgrid[:72, :128] + 0.5
        y, x = shown.table["row_px"][event], shown.table["column_px"][event]
        sd = 8.0 / Monitor().degrees_per_pixel(128)
        if min(y, 72 - y, x, 128 - x) > 2 * sd:
            found = [(energy * axis).sum() / energy.sum() for axis in (rows, columns)]
            assert np.hypot(found[0] - y, found[1] - x) < 2
        moved = np.degrees(np.arctan2(*motion(frames)[::-1]))
        assert abs((moved - shown.values[event] + 180) % 360 - 180) < 20


def test_images_are_shown_between_grey(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("b.png", "a.png"):
        pixels = draw.integers(0, 256, (36, 64), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    images = images_in(tmp_path)
    shown = still_images(images, SIZE)
    frames = shown.frames_of(1)
    np.testing.assert_array_equal(frames[20], np.asarray(Image.open(tmp_path / "b.png")))
    assert (frames[:15] == GRAY).all()
    assert (frames[30:] == GRAY).all()
    assert shown.events.onset.tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(movie(images, SIZE).frames_of(0), images)


def test_the_images_of_a_folder_share_one_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_TABLE_BYTES", 200)
    for number in range(3):
        Image.fromarray(np.zeros((8, 10), np.uint8)).save(tmp_path / f"{number}.png")
    with pytest.raises(SessionFormatError, match=r"2\.png and the parts read before it unpack"):
        images_in(tmp_path)


def test_pipes_and_images_of_too_many_pixels_are_named(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr("omnimouse_model.storage.arrays.npy._MOST_PIXELS", 19)
    with pytest.raises(ValueError, match=r"a\.png has 20 = 5 x 4 pixels; at most 19 are read"):
        images_in(tmp_path)
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is not a plain file"):
        images_in(tmp_path)


@pytest.mark.parametrize("name", ["missing", "notes.txt"])
def test_a_folder_of_images_that_is_missing_or_a_file_is_named(tmp_path, name):
    (tmp_path / "notes.txt").write_text("no folder")
    with pytest.raises(SessionFormatError, match=f"{name} cannot be read"):
        images_in(tmp_path / name)


def test_images_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ValueError, match="no image"):
        images_in(tmp_path)
    for name, size in (("a.png", (4, 4)), ("b.png", (4, 5))):
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"b\.png is \(4, 5\); a\.png is \(4, 4\)"):
        images_in(tmp_path)
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(ValueError, match=r"a\.png is no image"):
        images_in(tmp_path)
    with pytest.raises(ValueError, match="float64; uint8"):
        still_images(np.zeros((1, 4, 4)), SIZE)


# -- responses to events: both ends count, burn-in does not, values are grouped ------
