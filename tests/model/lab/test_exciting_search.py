"""Searches in a tiny twin: the response rises."""

import json
import sys
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image

import omnimouse_model as om
from omnimouse_model.errors import ExportError, StoppedError, UnsupportedRequestError
from omnimouse_model.lab.exciting_search import (
    SEARCH,
    ExcitingInputs,
    ExcitingSettings,
    ExcitingStimulus,
    respond_with,
    search_exciting,
    search_starts,
    write_exciting,
)
from omnimouse_model.progress import CallbackJob
from tests.model.families.twin.test_predictor import path as path

NEURONS = np.array([2, 5])


@pytest.fixture(scope="module")
def predictor(path):
    return om.load_predictor(path, device="cpu")


def search(predictor, session, seeds=(1, 2), **settings):
    # Without the penalty, which outweighs the small changes of a random network.
    settings |= {"penalty": 0.0}
    return search_starts(
        predictor, session, NEURONS, replace(SEARCH, **settings), n_steps=3, seeds=seeds
    )


@pytest.fixture(scope="module")
def found(predictor, session):
    return search(predictor, session)


@pytest.mark.slow
def test_the_gradient_is_that_of_the_predictor(predictor, session):
    respond = respond_with(predictor, session, NEURONS)
    frames = torch.full((60, 18, 32), 0.5, requires_grad=True)
    respond(frames)[30:].sum().backward()
    change = torch.zeros(60, 18, 32)
    change[:, 4:12, 8:24] = 8 / 255
    with torch.no_grad():
        rise = respond(frames + change)[30:].sum() - respond(frames - change)[30:].sum()
    assert float((frames.grad * 2 * change).sum()) == pytest.approx(float(rise), rel=0.1)


@pytest.mark.slow
def test_responses_rise_and_the_best_start_is_first(found):
    assert (found.courses.max(axis=1) > found.courses[:, 0]).all()
    assert found.responses[0] >= found.responses[1]
    assert found.best_response == pytest.approx(found.courses.max())
    assert -1 <= found.agreement <= 1
    assert (found.videos == found.videos[:, :1]).all()  # an image


@pytest.mark.slow
def test_an_inhibiting_input_lowers_the_response(predictor, session, found):
    lowest = search(predictor, session, seeds=(1,), temperature=-0.5)
    assert lowest.best_response < found.best_response
    assert (lowest.courses.min(axis=1) < lowest.courses[:, 0]).all()


@pytest.mark.slow
def test_a_stop_ends_the_search_and_other_models_are_refused(predictor, session):
    def stopped():
        return True

    with pytest.raises(StoppedError):
        search_starts(predictor, session, NEURONS, job=CallbackJob(cancelled=stopped))
    with pytest.raises(UnsupportedRequestError, match="digital twin"):
        search_starts(om.load_predictor("mean"), session, NEURONS)


# -- most exciting inputs: they excite, stay bounded and smooth, or still if asked ---
SETTINGS = ExcitingSettings(spatial_sd=1.0, penalty=0.0, lr=5.0)


@pytest.fixture
def weight():
    generator = np.random.default_rng(3)
    rows, columns = np.mgrid[:9, :12]
    shape = np.exp(-((rows - 4) ** 2 + (columns - 6) ** 2) / 12)
    wave = shape * np.cos(columns)
    return torch.from_numpy(wave + 0.02 * generator.normal(size=wave.shape)).float()


def responder(weight):
    """r = exp(w · x) in every frame."""

    def respond(frames):
        drive = ((frames - 0.5) * weight).sum((1, 2))
        return torch.exp(drive)[:, None]

    return respond


def start(n_frames=3):
    return np.random.default_rng(0).normal(size=(n_frames, 9, 12))


def correlation(video, weight):
    return np.corrcoef(video[0].astype(float).ravel(), weight.numpy().ravel())[0, 1]


def test_the_stimulus_becomes_what_excites_or_inhibits_the_neuron_most(weight):
    stimulus = ExcitingStimulus(start(), SETTINGS)
    steps = list(search_exciting(stimulus, responder(weight), 150))
    assert correlation(stimulus.video(), weight) > 0.7
    responses = [step.response for step in steps]
    assert responses[-1] > 1.2 * responses[0]
    assert min(responses) >= responses[0] * (1 - 1e-6)
    stimulus = ExcitingStimulus(start(), replace(SETTINGS, temperature=-0.5))
    list(search_exciting(stimulus, responder(weight), 150))
    assert correlation(stimulus.video(), weight) < -0.7


def test_a_neuron_that_never_responds_is_told():
    stimulus = ExcitingStimulus(start(), SETTINGS)
    with pytest.raises(ValueError, match="do not respond"):
        list(search_exciting(stimulus, lambda x: x.sum((1, 2))[:, None] * 0, 2))


# -- files of found inputs: arrays, images, and films with their frames and rate -----
RATE_HZ = 29.97


@pytest.fixture
def found_images():
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


def test_a_film_has_the_frames_and_the_rate_of_the_video(found_images, tmp_path):
    path, _ = write_exciting(found_images, tmp_path)
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
    assert np.abs(middle.astype(int) - found_images.videos[0]).max() <= 6


def test_arrays_and_an_image_say_what_was_searched(found_images, tmp_path):
    found_images = replace(found_images, settings=SEARCH)
    picture, arrays = write_exciting(found_images, tmp_path)
    with Image.open(picture) as image:
        np.testing.assert_array_equal(np.asarray(image), found_images.videos[0, 0])
    with np.load(arrays) as stored:
        about = json.loads(str(stored["about"]))
        np.testing.assert_array_equal(stored["videos"], found_images.videos)
    assert about["neurons"] == [4, 7]
    assert about["rate_hz"] == RATE_HZ
    assert about["settings"]["temperature"] == SEARCH.temperature


def test_without_its_package_a_film_is_refused_and_arrays_are_kept(
    found_images, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ExportError, match=r"omnimouse-app\[video\]"):
        write_exciting(found_images, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["exciting.npz"]
