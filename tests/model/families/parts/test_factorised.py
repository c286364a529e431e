"""Factorised cores: start values (filters of motion, scales, readouts by regression), sizes."""

import numpy as np
import pytest
import torch

from omnimouse_model.families.parts.factorised import (
    CoreConfig,
    FactorisedCore,
    GaussianReadout,
    PlacesConfig,
    ReadoutConfig,
    check_core,
    neuron_weights,
    rows_of,
    start_filters,
    start_places,
    start_readout,
    start_scales,
)

SIZES = {"spatial": ((13, 13), (1, 1)), "temporal": (9, 5), "stride": 2, "has_norm": False}
CONFIG = CoreConfig(3, (52, 24), **SIZES)


def started(config=CONFIG):
    torch.manual_seed(0)
    core = FactorisedCore(config)
    start_filters(core)
    return core


def grating(degrees, sign):
    """Return a drifting grating (1, 3, 40, 36, 64), without behaviour."""
    time, y, x = torch.meshgrid(*(torch.arange(n) for n in (40, 36, 64)), indexing="ij")
    angle = np.deg2rad(degrees)
    along = x * np.cos(angle) + y * np.sin(angle)
    video = torch.cos(2 * np.pi * (along / 14.0 - sign * 2.5 * time / 30))
    return torch.cat([video[None], torch.zeros(2, *video.shape)])[None]


@pytest.mark.parametrize(("orientation", "degrees"), [(0, 0), (2, 90)])
def test_an_energy_prefers_its_orientation_and_direction(orientation, degrees):
    core = started()
    energies = [core(grating(degrees, sign))[0, :16].mean((1, 2, 3)) for sign in (1, -1)]
    # Units of a wavelength: orientation, then both directions.
    of_wavelength = torch.stack(energies)[:, 8:16]
    for one in of_wavelength:
        assert int(one.argmax()) // 2 == orientation
    first, second = of_wavelength.argmax(1)
    assert first != second
    assert of_wavelength[0, first] > 1.5 * of_wavelength[0, second].clamp(min=0)


def test_energies_are_there_again_with_the_other_sign():
    found = started(CoreConfig(3, (52, 44), **SIZES))(grating(0, 1))[0]
    energies, opposite = found[:16], found[24:40]
    is_high = energies > 0
    torch.testing.assert_close(opposite[is_high], torch.expm1(-energies[is_high]))
    assert is_high.any()


def test_behaviour_passes_with_both_signs():
    core = started()
    quiet, fast = torch.zeros(2, 3, 30, 36, 64)[:1], torch.zeros(1, 3, 30, 36, 64)
    fast[:, 2] = 1.5
    changed = (core(fast) - core(quiet))[0].mean((1, 2, 3))
    assert changed[17] > 1.0  # the second channel of behaviour
    assert changed[19] < -0.5
    assert changed[[16, 18]].abs().max() < 1e-5
    assert changed[:16].abs().max() < 1e-5


def test_units_have_mean_0_and_variance_1_over_the_clips():
    core, clips = started(), [torch.randn(2, 3, 30, 36, 64) for _ in range(2)]
    start_scales(core, clips)
    layer = core.features[0]
    found = torch.cat([layer[1](layer[0](clip)) for clip in clips]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(found.mean(1), torch.zeros(52), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.std(1), torch.ones(52), atol=1e-2, rtol=0)


@pytest.mark.parametrize("change", [{"widths": (40, 24)}, {"has_norm": True}, {"has_bias": False}])
def test_a_core_without_room_is_refused(change):
    check_core(CONFIG)
    with pytest.raises(ValueError, match="start: motion-energy"):
        check_core(CoreConfig(**{"channels": 3, "widths": (52, 24), **SIZES, **change}))


@pytest.mark.parametrize("has_bias", [True, False])
def test_weights_of_neurons_are_found(has_bias):
    torch.manual_seed(0)
    inputs, planted = torch.randn(400, 3, 5) + 2, torch.randn(5, 3)
    outputs = torch.einsum("rwn,nw->rn", inputs, planted) + has_bias * 4.0
    outputs[::7] = torch.nan
    weight, mean_x, mean_y = neuron_weights(
        [(inputs[:150], outputs[:150]), (inputs[150:], outputs[150:])], has_bias=has_bias
    )
    explained = torch.corrcoef(torch.stack([weight.flatten(), planted.flatten()]))[0, 1]
    assert explained > 0.95
    torch.testing.assert_close(mean_y, outputs.nanmean(0))
    assert mean_x.shape == (5, 3)


def test_rates_begin_near_the_responses():
    torch.manual_seed(0)
    readout = GaussianReadout(ReadoutConfig(places=None), 4, 6)
    maps = torch.randn(3, 4, 40, 5, 6)
    features = readout.features_at(rows_of(maps))
    wanted = 3 + torch.einsum("rwn,wn->rn", features, torch.randn(4, 6)).unflatten(0, (3, -1))
    start_readout(readout, [(maps, wanted)])
    rates = torch.nn.functional.elu(readout(rows_of(maps))) + 1
    both = torch.stack([rates.flatten(), wanted.clamp(min=0).flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.8


@pytest.mark.parametrize("places", [None, PlacesConfig()])
def test_places_begin_at_receptive_fields(places):
    grid = torch.linspace(-1, 1, 9)[:, None].expand(-1, 2)
    centers = np.stack([np.linspace(0.2, 0.8, 9), np.full(9, 0.5)], 1)
    torch.manual_seed(0)
    readout = GaussianReadout(ReadoutConfig(places=places), 24, 9, 1, grid)
    start_places(readout, centers, FactorisedCore(CONFIG))
    # The first place of a map sees pixels around 6 of 64, the last around 54.
    wanted = 2 * (centers[:, 0] * 64 - 0.5 - 6) / 48 - 1
    np.testing.assert_allclose(readout.places()[:, 0].detach(), wanted, atol=0.15)
    np.testing.assert_allclose(readout.places()[:, 1].detach(), 2 * 11.5 / 20 - 1, atol=0.1)
