"""Start values: the video encoder as motion energy, latents as shared fluctuations."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from omnimouse_model.families.omnimouse import start_values
from omnimouse_model.families.omnimouse.config import (
    HieraConfig,
    Layout,
    OmniMouseConfig,
    WindowBatch,
)
from omnimouse_model.families.omnimouse.network import (
    OmniMouse,
    initialise,
    quiet_residuals,
    set_neuron_embeddings,
)
from omnimouse_model.families.omnimouse.start_values import (
    FitBatch,
    set_behavior_attention_head,
    set_population_attention_heads,
)
from omnimouse_model.families.omnimouse.tokens import layout_from_mask
from omnimouse_model.families.omnimouse.training import OmniMouseTraining
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.training.config import SessionChoice
from omnimouse_model.training.loop import train
from tests.model.families.omnimouse.test_training import CONFIG, PHASE, weights
from tests.model.few_steps import open_training_session, train_some
from tests.model.small_net import SMALL
from tests.small_sessions import simulate_mouse

N_GABORS = 2 * start_values.N_ENERGIES
N, SHARED, KEY = 200, 4, "1-1-1"
MODEL = OmniMouseConfig(
    d_model=64,
    num_heads=2,
    num_layers=2,
    local_to_global_ratio=(1, 1),
    d_embedding=16,
    num_response_latent_groups=2 * SHARED,
    num_global_latents=4,
    rope_base=1.0e8,
    softplus_beta=1.0,
    ideal_times=True,
    max_recording_len_s=60,
    hiera=SMALL.hiera,
)


@pytest.fixture(scope="module")
def loadings():
    return torch.randn(N, SHARED, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def net(loadings):
    made = OmniMouse(MODEL, {KEY: N}, {KEY: "1"})
    initialise(made, torch.Generator().manual_seed(2))
    quiet_residuals(made)
    values = np.random.default_rng(3).normal(0, 0.05, (N, MODEL.d_embedding))
    values[:, :SHARED] += 0.3 * loadings.numpy()
    set_neuron_embeddings(made, KEY, values.astype(np.float32))
    return made.eval()


def layout() -> Layout:
    mask = half_population_mask(N, video=False).with_behavior("hidden")
    return layout_from_mask(mask)


def windows_of(shared: torch.Tensor, loadings: torch.Tensor, seed: int) -> WindowBatch:
    """Windows (B, SHARED) in which neurons follow what they share, with noise."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(shared), 60, N, generator=generator)
    order = [torch.randperm(N, generator=generator) for _ in shared]
    ids = torch.stack(order)
    responses = 2.0 + 0.5 * (shared @ loadings.T)[:, None] + noise
    responses = torch.stack([r[:, i] for r, i in zip(responses, ids, strict=True)])
    times = torch.arange(60)[None] / 30
    return WindowBatch(KEY, ids, responses, None, times, times)


def explained_share(net: OmniMouse, loadings: torch.Tensor) -> float:
    """Share of the shared fluctuations that a ridge finds in the latents."""
    generator = torch.Generator().manual_seed(4)
    shared = torch.randn(300, SHARED, generator=generator)
    with torch.no_grad():
        encoded, _ = net.encode_tokens(windows_of(shared, loadings, 5), layout())
    x = encoded.latents[:, : -MODEL.num_global_latents].flatten(1).double()
    x, y = (x - x.mean(0)) / (x.std(0) + 1e-6), shared.double()
    train_x, test_x = x[:200], x[200:]
    gram = train_x @ train_x.T / x.shape[1]
    weight = torch.linalg.solve(gram + 0.1 * torch.eye(200), y[:200])
    found = test_x @ train_x.T / x.shape[1] @ weight
    return float(1 - (found - y[200:]).square().sum() / y[200:].square().sum())


def fit_batch(loadings: torch.Tensor) -> FitBatch:
    shared = torch.randn(16, SHARED, generator=torch.Generator().manual_seed(6))
    windows = windows_of(shared, loadings, 7)
    return FitBatch(windows, layout(), None, loadings, torch.full((N,), 2.0))


@pytest.mark.slow
def test_latents_hold_what_neurons_share(net, loadings):
    before = explained_share(net, loadings)
    generator = torch.Generator().manual_seed(8)
    set_population_attention_heads(net, [fit_batch(loadings)], (1, 0), generator)
    assert before < 0.1
    assert explained_share(net, loadings) > 0.8


def test_heads_that_share_keys_are_refused(loadings):
    net = OmniMouse(replace(MODEL, num_kv_heads=1), {KEY: N}, {KEY: "1"})
    batches, generator = [fit_batch(loadings)], torch.Generator()
    with pytest.raises(ValueError, match="share keys"):
        set_population_attention_heads(net, batches, (1, 0), generator)
    with pytest.raises(ValueError, match="cannot be turned"):
        set_behavior_attention_head(net, batches, 0, generator)


@pytest.mark.slow
def test_a_phase_that_begins_so_is_resumed_as_if_unbroken(tmp_path):
    folder = simulate_mouse(tmp_path / "mouse", 40, 1.1, times=2)
    sessions = [open_training_session(folder, SessionChoice("small"))]
    first = replace(PHASE, steps=1, batch=1, targets="truth")
    second = replace(first, name="second", steps=2, population_heads=(1, 0), behavior_head=0)
    config = replace(CONFIG, phases=(first, second))
    whole = train(OmniMouseTraining, config, sessions, tmp_path / "whole")
    for _ in range(2):  # the first stop is where the phase begins
        parts = train_some(OmniMouseTraining, config, sessions, tmp_path / "parts", 1)
    parts = train(OmniMouseTraining, config, sessions, tmp_path / "parts")
    assert torch.equal(weights(whole), weights(parts))
    last = replace(second, population_heads=None, behavior_head=None)
    plain = replace(config, phases=(first, last))
    without = train(OmniMouseTraining, plain, sessions, tmp_path / "plain")
    assert not torch.allclose(weights(whole), weights(without), atol=1e-3)


def net_with(embed_dim: int) -> OmniMouse:
    config = OmniMouseConfig(
        d_model=32,
        num_heads=1,
        num_layers=1,
        d_embedding=8,
        num_response_latent_groups=2,
        num_global_latents=2,
        hiera=HieraConfig(
            embed_dim=embed_dim,
            num_heads=1,
            stages=(1, 1),
            patch_kernel=(6, 15, 15),
            patch_stride=(2, 4, 4),
            patch_padding=(2, 5, 7),
            drop_path_rate=0.0,
            windows="spatial",
        ),
    )
    net = OmniMouse(config, {"1-1-1": 2}, {"1-1-1": "1"})
    initialise(net, torch.Generator().manual_seed(0))
    return net.eval()


def grating(direction: float, wavelength: float, hz: float = 3.0) -> torch.Tensor:
    """A drifting grating (1, 1, 60, 36, 64)."""
    t, y, x = torch.meshgrid(
        torch.arange(60) / 30, torch.arange(36.0), torch.arange(64.0), indexing="ij"
    )
    along = x * math.cos(direction) + y * math.sin(direction)
    return torch.cos(2 * math.pi * (along / wavelength - hz * t))[None, None]


@pytest.fixture(scope="module")
def energy_net():
    net = net_with(96)
    clips = torch.randn(4, 1, 60, 36, 64, generator=torch.Generator().manual_seed(1))
    start_values.set_motion_energy(net, clips)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, start_values.N_ENERGIES, 5))
def test_each_energy_prefers_its_own_direction_and_wavelength(energy_net, number):
    scale, angle = divmod(number, 2 * start_values.ORIENTATIONS)
    own = angle * math.pi / start_values.ORIENTATIONS
    wavelength = start_values.WAVELENGTHS_PX[scale]
    backbone = energy_net.hiera.backbone

    @torch.no_grad()
    def energy(direction: float) -> float:
        patches = backbone.patch_embed["proj"](grating(direction, wavelength))
        tokens = patches.flatten(3).permute(0, 2, 3, 1)
        added = backbone.blocks[0].mlp(tokens)[..., N_GABORS + number]
        return float(added[0, 8:22].mean())

    found = {d: energy(own + d) for d in (0.0, math.pi / 2, math.pi)}
    assert found[0.0] > 2 * found[math.pi / 2]
    assert found[0.0] > 2 * found[math.pi]


def test_an_encoder_without_room_is_refused():
    with pytest.raises(ValueError, match="72 channels"):
        start_values.set_motion_energy(net_with(64), torch.zeros(1, 1, 60, 36, 64))
