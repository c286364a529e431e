"""Most exciting inputs: they excite, stay bounded and smooth, or still if asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from omnimouse_model.lab.exciting_search import (
    ExcitingSettings,
    ExcitingStimulus,
    blur,
    exciting_loss,
    gaussian_kernel,
    search_exciting,
)

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


def test_an_image_is_the_same_in_every_frame_and_a_video_is_not(weight):
    for is_static in (True, False):
        settings = replace(SETTINGS, is_static=is_static, burn_in=1)
        stimulus = ExcitingStimulus(start(), settings)
        list(search_exciting(stimulus, responder(weight), 5))
        frames = stimulus.frames(stimulus.pixels()).detach()
        assert bool((frames == frames[:1]).all()) == is_static
        assert ((frames > 0) & (frames < 1)).all()
        video = stimulus.video()
        assert video.dtype == np.uint8
        assert video.shape == (3, 9, 12)


@pytest.mark.slow
def test_the_penalty_removes_high_frequencies(weight):
    def roughness(penalty):
        settings = replace(SETTINGS, penalty=penalty, lr=2.0)
        stimulus = ExcitingStimulus(start(), settings)
        list(search_exciting(stimulus, responder(weight), 60))
        pixels = stimulus.pixels().detach()
        return float((pixels - blur(pixels, 1.0, 0.0, 4.0)).pow(2).sum())

    assert roughness(0.05) < 0.7 * roughness(0.0)


def test_burn_in_frames_do_not_count(weight):
    settings = replace(SETTINGS, is_static=False, burn_in=2)
    stimulus = ExcitingStimulus(start(), settings)
    loss, _, _ = exciting_loss(stimulus, responder(weight))
    (gradient,) = torch.autograd.grad(loss, stimulus.raw)
    # Frames that do not count move by the normalisation alone, against their pixels.
    pixels = stimulus.raw[0].detach().flatten()
    moved = torch.corrcoef(torch.stack([gradient[0].flatten(), pixels]))[0, 1]
    assert abs(float(moved)) > 0.999


def test_a_neuron_that_never_responds_is_told():
    stimulus = ExcitingStimulus(start(), SETTINGS)
    with pytest.raises(ValueError, match="do not respond"):
        list(search_exciting(stimulus, lambda x: x.sum((1, 2))[:, None] * 0, 2))


def test_kernels_sum_to_one_and_end_at_the_cutoff():
    for sd in (0.0, 0.6, 2.0):
        kernel = gaussian_kernel(sd, 4.0)
        assert float(kernel.sum()) == pytest.approx(1)
        assert len(kernel) == 2 * int(np.ceil(4 * sd)) + 1
