"""The latent model: what its latents read, its prior, and exact resume."""

from functools import partial

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.families.latent_zig.network import (
    LatentConfig,
    ZigCheckpoint,
    ZigConfig,
    ZigNetwork,
    ZigTrainConfig,
    ZigTraining,
    fit_shape,
    mean,
    scaled_to_all,
    start_latents,
    start_video,
    theta_and_q,
)
from omnimouse_model.families.parts.factorised import CoreConfig, ReadoutConfig, rows_of
from omnimouse_model.training.checkpoints import BEST
from omnimouse_model.training.sessions import training_session
from tests.model.families.clips import check_resumed, written
from tests.model.few_steps import train_some

CONFIG = ZigConfig(
    core=CoreConfig(1, (2, 3), ((7, 7), (5, 5)), (11, 9)),
    readout=ReadoutConfig(places=None, has_bias=False),
    kernel=(3, 3),
    latent=LatentConfig(3, 6, 5),
)


def small_model(session, folder):
    make = partial(ZigNetwork, CONFIG, {session.id: session.n_neurons})
    return om.load_predictor(written(ZigCheckpoint, make, folder, spread=0.3), device="cpu")


@pytest.fixture(scope="module")
def predictor(session, tmp_path_factory):
    return small_model(session, tmp_path_factory.mktemp("zig"))


@pytest.fixture
def mask(session, predictor):
    made = om.Mask.nothing(session, predictor.needs.spec).with_frames(True)
    return made.ask(np.arange(10), slice(None)).with_guard(guarded=False)


def test_samples_without_visible_responses_are_those_seen_last_and_not_silence():
    visible = torch.full((2, 6, 4), torch.nan)
    visible[0, 2:4, :2] = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    # Two of four neurons are visible, which stand for all.
    first, last = torch.tensor([[2.0, 6, 0, 0], [10, 14, 0, 0]])
    assert torch.equal(scaled_to_all(visible)[0], torch.stack([first] * 3 + [last] * 3))
    assert not scaled_to_all(visible)[1].any()


def test_the_prior_has_no_chance_in_it(predictor, window, mask):
    one, two = (predictor.predict(window, mask).responses for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert (one > 0).all()


def test_beside_one_with_visible_responses_a_window_without_any_has_the_prior(
    predictor, window, mask, session
):
    hidden = session.window(14.0, predictor.needs.spec)
    both = [(hidden, mask, None), (window, mask.show(np.arange(10, 20)), None)]
    found = next(predictor.predict_many(both)).responses
    alone = predictor.predict(hidden, mask).responses
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_resumed_training_is_the_uninterrupted_one(session, tmp_path):
    config = ZigTrainConfig(
        seed=1,
        model=CONFIG,
        clips=2,
        frames=24,
        video_steps=2,
        draws=2,
        total_steps=4,
        validate_every=2,
        validation_windows=2,
        save_every_s=None,
    )
    check_resumed(ZigTraining, config, session, tmp_path)


# -- start values ----------------------------------------------------------------------
def world(n_neurons=40):
    """Return a network, responses (4, 300, N) that follow three latents, and the latents."""
    rng = np.random.default_rng(0)
    kernel = np.exp(-np.arange(60) / 12)
    latents = np.stack([np.convolve(one, kernel, "valid") for one in rng.normal(size=(3, 1259))], 1)
    latents /= latents.std(0)
    rates = np.exp(0.5 * latents @ rng.normal(size=(3, n_neurons)))
    responses = rng.gamma(1.0, rates) * (rng.random(rates.shape) < 0.8)
    torch.manual_seed(0)
    core = CoreConfig(1, (48, 16), ((13, 13), (1, 1)), (9, 5), stride=2, has_norm=False)
    net = ZigNetwork(
        ZigConfig(core, ReadoutConfig(places=None, has_bias=False), (3, 3), LatentConfig(3, 9, 6)),
        {"m": n_neurons},
    )
    values = torch.from_numpy(responses).float().unflatten(0, (4, 300))
    net.shape("m").copy_(fit_shape(values.flatten(0, 1)))
    return net, values, torch.from_numpy(latents).float().unflatten(0, (4, 300))


def test_latents_begin_at_what_neurons_share():
    net, responses, latents = world()
    start_latents(net, "m", responses)
    shown = responses.clone()
    shown[..., 1::2] = 0.0  # a half, as in training
    found = net.posterior(2 * shown, "m", 300)[:, 30:].reshape(-1, 3).detach()
    true = latents[:, 30:].reshape(-1, 3)
    weights = torch.linalg.lstsq(torch.cat([found, torch.ones(len(found), 1)], 1), true).solution
    told = torch.cat([found, torch.ones(len(found), 1)], 1) @ weights
    for one, other in zip(told.T, true.T, strict=True):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.6
    assert float(net.sigma) < 1
    assert found.std(0).max() < 1.5
    # Hidden neurons follow the latents with the right sign.
    of_q, of_theta = net.latent_weights("m")
    drive = (found @ (of_q + of_theta).T)[:, 1::2]
    truth = responses[:, 30:].reshape(-1, 40)[:, 1::2]
    both = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(drive.T, truth.T, strict=True)]
    assert torch.stack(both).mean() > 0.25


def test_the_video_part_begins_at_regressions():
    net, _, _ = world(6)
    torch.manual_seed(0)
    maps = torch.randn(3, 16, 80, 5, 6)
    readout = net.readout_of("m")
    values = readout.features_at(rows_of(maps))
    rates = (0.15 * torch.einsum("rwn,wn->rn", values, torch.randn(16, 6))).exp()
    responses = torch.where(torch.rand_like(rates) < 0.8, rates, 0.0).unflatten(0, (3, 80))
    net.shape("m").fill_(1.0)
    start_video(net, "m", [(maps, responses)])
    logit_q, log_theta = readout.parameters_at(maps)
    theta, q = theta_and_q(logit_q, log_theta)
    found = mean(theta, net.shape("m"), q).flatten(0, 1).detach()
    both = torch.stack([found.T, rates.T])
    assert torch.stack([torch.corrcoef(pair)[0, 1] for pair in both.unbind(1)]).min() > 0.6
    torch.testing.assert_close(found.mean(0), responses.mean((0, 1)), rtol=0.5, atol=0.1)


@pytest.mark.slow
def test_a_training_begins_at_motion_energy(session, tmp_path):
    core = CoreConfig(1, (48, 16), ((13, 13), (1, 1)), (9, 5), stride=2, has_norm=False)
    readout = ReadoutConfig(places=None, has_bias=False, first_spread=0.05)
    config = ZigTrainConfig(
        seed=1,
        model=ZigConfig(core, readout, (3, 3), LatentConfig(4, 9, 6)),
        start="motion-energy",
        clips=2,
        frames=30,
        video_steps=0,
        draws=2,
        total_steps=1,
        validation_windows=2,
    )
    net = train_some(ZigTraining, config, [training_session(session)], tmp_path, 0)
    assert all(bool(value.isfinite().all()) for value in net.state_dict().values())
    model = om.load_predictor(tmp_path / BEST, device="cpu")
    assert model.needs.sessions == {session.id}
    with pytest.raises(ValueError, match=r"latent\.stitch"):
        ZigTraining.read({"start": "motion-energy", "model": {
            "core": {"widths": [48, 16], "spatial": [[13, 13], [1, 1]], "temporal": [9, 5],
                     "has_norm": False, "channels": 1},
            "latent": {"n_latents": 12, "stitch": 20},
        }})  # fmt: skip
