"""Held-out entries: what each prediction can see, and its bits per spike."""

import numpy as np
import pytest
import torch

from omnimouse_model.families.ndt.network import Ndt, NdtConfig
from omnimouse_model.families.ndt.predictor import (
    forward_windows,
    one_neuron_out,
    predict_regions,
    predicted_rates,
)

REGIONS = ["CA1", "CA1", "LP", "LP", "LP"]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    config = NdtConfig(d_token=12, n_bins=40, d_model=16, n_layers=2, n_heads=2, d_inner=24)
    return Ndt(config, {"a": 5}).eval()


@pytest.fixture(scope="module")
def spikes():
    draw = torch.Generator().manual_seed(1)
    return torch.poisson(torch.full((3, 40, 5), 0.5), generator=draw)


def changed(spikes, bins=slice(None), neurons=slice(None)):
    other = spikes.clone()
    other[:, bins, neurons] += 1
    return other


def test_a_neuron_is_predicted_without_itself_however_many_at_once(net, spikes, monkeypatch):
    rates = one_neuron_out(net, "a", spikes)
    other = one_neuron_out(net, "a", changed(spikes, neurons=2))
    np.testing.assert_allclose(rates[..., 2], other[..., 2], rtol=1e-5)
    assert not np.allclose(rates[..., 1], other[..., 1])
    hidden = spikes.clone()
    hidden[..., 2] = 0
    plain = predicted_rates(net, "a", hidden, "neuron")[..., [2]]
    some = one_neuron_out(net, "a", spikes, np.array([2]))
    np.testing.assert_allclose(some, plain, rtol=1e-5)
    monkeypatch.setattr("omnimouse_model.families.ndt.predictor.SEQUENCES", 4)
    np.testing.assert_allclose(one_neuron_out(net, "a", spikes), rates, rtol=1e-5)


def test_a_region_is_predicted_from_others_or_from_within(net, spikes):
    rates = predict_regions(net, "a", spikes, REGIONS, "inter-region")
    other = predict_regions(net, "a", changed(spikes, neurons=[0, 1]), REGIONS, "inter-region")
    np.testing.assert_array_equal(rates[..., :2], other[..., :2])
    assert not np.allclose(rates[..., 2:], other[..., 2:])
    rates = predict_regions(net, "a", spikes, REGIONS, "intra-region")
    other = predict_regions(net, "a", changed(spikes, neurons=[0, 1]), REGIONS, "intra-region")
    np.testing.assert_allclose(rates[..., 2:], other[..., 2:], rtol=1e-5)
    assert not np.allclose(rates[..., :2], other[..., :2])


def test_windows_see_what_was_before_them_and_nothing_later(net, spikes):
    options = {"onset": 10, "n_windows": 3}
    rates = forward_windows(net, "a", spikes, **options)
    assert rates.shape == (3, 30, 5)
    other = forward_windows(net, "a", changed(spikes, slice(20, None)), **options)
    # The window that begins at bin 20 is the second.
    np.testing.assert_array_equal(rates[:, :20], other[:, :20])
    assert not np.allclose(rates[:, 20:], other[:, 20:])
    # The network is causal: later bins make no difference, hidden or not.
    seen = spikes.clone()
    seen[:, 20:30] = 0
    visible = predicted_rates(net, "a", seen, "causal")
    np.testing.assert_allclose(visible[:, 20:30], rates[:, 10:20], rtol=1e-5)
    with pytest.raises(ValueError, match="bin 135"):
        forward_windows(net, "a", spikes)
