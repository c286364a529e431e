"""Networks, losses and parts of the paper's baselines."""

import dataclasses

import numpy as np
import pytest
import torch

from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.dwiseneuro.network import DwiseConfig, DwiseNetwork, cut_mix
from omnimouse_model.families.latent_zig import network as density
from omnimouse_model.families.latent_zig.network import (
    LatentConfig,
    ZigConfig,
    ZigNetwork,
    theta_and_q,
)
from omnimouse_model.families.parts.factorised import (
    CoreConfig,
    FactorisedCore,
    GaussianReadout,
    ReadoutConfig,
)
from omnimouse_model.families.poyo_calcium.network import Item, PoyoConfig, PoyoNetwork, Task
from tests import FIXTURES
from tests.conformance.baselines import lines

SMALL = CoreConfig(1, (2, 3, 4))


def test_outputs_are_those_of_the_public_code() -> None:
    found = list(lines(FIXTURES / "baselines_parity"))
    assert len(found) >= 15
    assert [line.text() for line in found if not line.is_good] == []


# -- density ---------------------------------------------------------------------------


def test_shape_is_recovered_from_responses() -> None:
    torch.manual_seed(0)
    k = torch.rand(40) * 3 + 0.5
    responses = torch.distributions.Gamma(k, 2.0).sample((5_000,)) + density.THRESHOLD
    responses[torch.rand_like(responses) < 0.4] = 0
    responses[:, 0] = 0
    found = density.fit_shape(responses)
    assert float(((found - k)[1:].abs() / k[1:]).median()) < 0.05
    assert float(found[0]) == 1


def test_latents_without_weights_change_nothing() -> None:
    torch.manual_seed(0)
    net = ZigNetwork(ZigConfig(core=SMALL, latent=LatentConfig(3, 5, 4)), {"a.b": 6}).eval()
    maps = net.core(torch.randn(1, 1, 20, 24, 28))
    video = net.readout_of("a.b").parameters_at(maps)
    latents = net.posterior(torch.rand(1, 20, 6), "a.b", maps.shape[2])
    given = theta_and_q(*video, latents, net.latent_weights("a.b"))
    alone = theta_and_q(*video)
    assert all(torch.equal(x, y) for x, y in zip(given, alone, strict=True))


# -- factorised core and readout -------------------------------------------------------
def test_published_core_has_the_published_sizes() -> None:
    with torch.device("meta"):
        core = FactorisedCore(CoreConfig())
    # The same kernels with fewer channels have the same sizes of maps.
    assert FactorisedCore(SMALL)(torch.zeros(1, 1, 60, 36, 64)).shape[2:] == (42, 18, 46)
    weights = [p for name, p in core.named_parameters() if name.endswith("weight")]
    assert sum(p.numel() for p in weights if p.ndim == 5) == 381_280


def test_a_readout_finds_a_planted_place() -> None:
    torch.manual_seed(0)
    maps = torch.randn(200, 2, 9, 13)
    rates = maps[:, 1, 3, 8]
    readout = GaussianReadout(ReadoutConfig(places=None, first_spread=0.3), 2, 1)
    optimiser = torch.optim.Adam(readout.parameters(), 0.02)
    for _ in range(250):
        optimiser.zero_grad()
        noise = torch.randn(200, 1, 2)
        (readout(maps, noise=noise)[:, 0] - rates).square().mean().backward()
        optimiser.step()
    x, y = readout.places()[0].tolist()
    assert abs((x + 1) / 2 * 12 - 8) < 1
    assert abs((y + 1) / 2 * 8 - 3) < 1
    assert torch.equal(readout(maps), readout(maps))


# -- POYO+ -----------------------------------------------------------------------------
def _poyo() -> PoyoNetwork:
    torch.manual_seed(0)
    config = PoyoConfig(
        {"running": Task(1, 1)},
        width=16,
        depth=1,
        head=8,
        cross_heads=1,
        self_heads=1,
        n_latents=2,
        turned=4,
    )
    return PoyoNetwork(config, ["NA", "u", "v", "w"], ["NA", "s"]).eval()


@pytest.mark.parametrize(
    "change", [{"units": ["u", "new"]}, {"session": "new"}, {"queries": {"licks": np.zeros(1)}}]
)
def test_what_was_not_trained_is_refused(change: dict[str, object]) -> None:
    times = np.arange(4) / 20
    item = Item("s", ["u", "v"], np.zeros((4, 2)), times, {"running": times})
    with pytest.raises(UnsupportedRequestError, match=r"new|licks"):
        _poyo().tokens([dataclasses.replace(item, **change)])


# -- DwiseNeuro ------------------------------------------------------------------------
def test_published_network_has_the_published_sizes() -> None:
    neurons = [7863, 7908, 8202, 7939, 8122, 7440, 7928, 8285, 7671, 7495]
    with torch.device("meta"):
        net = DwiseNetwork(DwiseConfig(), {str(n): n for n in neurons})
    parts = [sum(p.numel() for p in m.parameters()) for m in (net.core, net.cortex, net)]
    assert parts == [3_673_404, 5_402_624, 170_656_070]


@pytest.mark.parametrize(("row", "column"), [(0, 0), (5, 16), (11, 2)])
def test_mixed_pixels_weigh_as_their_target(row: int, column: int) -> None:
    clips, targets = (torch.zeros(12, 17), torch.ones(12, 17)), (torch.zeros(1), torch.ones(1))
    mixed, target = cut_mix(clips, targets, 0.4, row, column)
    assert float(target) == pytest.approx(float(mixed.mean()))
    assert 0 < float(target) < 1
