"""Start values: what a net does before its first step of training."""

import math

import pytest
import torch

from omnimouse_model.nets.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.start import (
    N_ENERGIES,
    ORIENTATIONS,
    WAVELENGTHS_PX,
    initialise,
    set_motion_energy,
)
from omnimouse_model.nets.video import HieraConfig

N_GABORS = 2 * N_ENERGIES


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
def net():
    net = net_with(96)
    clips = torch.randn(4, 1, 60, 36, 64, generator=torch.Generator().manual_seed(1))
    set_motion_energy(net, clips)
    return net


@pytest.mark.parametrize("number", range(0, N_ENERGIES, 5))
def test_each_energy_prefers_its_own_direction_and_wavelength(net, number):
    scale, angle = divmod(number, 2 * ORIENTATIONS)
    own = angle * math.pi / ORIENTATIONS
    wavelength = WAVELENGTHS_PX[scale]
    backbone = net.hiera.backbone

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
        set_motion_energy(net_with(64), torch.zeros(1, 1, 60, 36, 64))
