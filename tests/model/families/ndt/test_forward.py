"""Forward prediction in a world whose conditional mean is known: AR(1) log-rates."""

import numpy as np
import pytest
import torch

from omnimouse_model.families.ndt.network import Ndt, NdtConfig, poisson_loss
from omnimouse_model.families.ndt.predictor import WINDOW, forward_windows
from omnimouse_model.metrics.information import bits_per_spike

N_BINS, N_NEURONS, STEPS = 30, 12, 80
ONSET, N_WINDOWS = 10, 2
DECAY, SD, MEAN = 0.9, 0.8, np.log(0.5)
SPAN = slice(ONSET, ONSET + N_WINDOWS * WINDOW)
SIZES = NdtConfig(
    d_token=12, n_bins=N_BINS, d_model=16, n_layers=1, n_heads=2, d_inner=32,
    dropout=0.0, block_dropout=0.0, has_session=False,
)  # fmt: skip


def trials(n, draw):
    """Log-rates (trial, bin), which all neurons share, and counts."""
    z = draw.normal(size=(n, N_BINS)) * SD
    z[:, 1:] *= np.sqrt(1 - DECAY**2)
    for number in range(1, N_BINS):
        z[:, number] += DECAY * z[:, number - 1]
    counts = draw.poisson(np.exp(MEAN + z)[..., None], (*z.shape, N_NEURONS))
    return z, torch.from_numpy(counts).float()


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = Ndt(SIZES, {"a": N_NEURONS})
    net.readouts["a"].bias.data.fill_(MEAN)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    draw = np.random.default_rng(1)
    for _ in range(STEPS):
        _, batch = trials(32, draw)
        # As in the evaluation: all bins from one on are hidden.
        start = int(draw.integers(ONSET, N_BINS - WINDOW, endpoint=True))
        seen, scored = batch.clone(), torch.zeros_like(batch, dtype=torch.bool)
        seen[:, start:] = 0
        scored[:, start : start + WINDOW] = True
        optimiser.zero_grad()
        poisson_loss(net(seen, "a", "causal"), batch, scored).backward()
        optimiser.step()
    return net.eval()


def conditional_mean(z, shift=0):
    """Return E[exp(z)] of each window's bins, given the log-rate before the window."""
    parts = []
    for window in range(N_WINDOWS):
        last = z[:, ONSET + window * WINDOW - 1 - shift, None]
        keep = DECAY ** np.arange(1, WINDOW + 1)
        parts.append(MEAN + keep * last + SD**2 * (1 - keep**2) / 2)
    rates = np.exp(np.concatenate(parts, axis=1))
    return np.repeat(rates[..., None], N_NEURONS, axis=2)


def bits(rates, counts):
    return bits_per_spike(rates, counts[:, SPAN].numpy()).value


@pytest.mark.slow
def test_the_model_lies_between_the_mean_and_the_conditional_mean(net):
    z, counts = trials(200, np.random.default_rng(0))
    options = {"onset": ONSET, "n_windows": N_WINDOWS}
    model = bits(forward_windows(net, "a", counts, **options), counts)
    oracle = bits(conditional_mean(z), counts)
    assert oracle > model > 0
    # A history that ends one bin earlier tells less, of the model as of the truth.
    late = torch.roll(counts, 1, dims=1)
    assert bits(forward_windows(net, "a", late, **options), counts) < model
    assert bits(conditional_mean(z, shift=1), counts) < oracle


class LastBin(Ndt):
    """Predicts the counts of the last visible bin for all later ones."""

    def forward(self, counts, session, scheme):
        assert scheme == "causal"
        visible = counts.any(-1)
        last = (visible * torch.arange(counts.shape[1])).argmax(1)
        rates = counts[torch.arange(len(counts)), last][:, None].expand_as(counts)
        return rates.log()


def test_each_window_sees_the_bin_before_it():
    counts = 1.0 + torch.arange(N_BINS).expand(2, 3, -1).mT.contiguous()
    net = LastBin(SIZES, {"a": 3})
    rates = forward_windows(net, "a", counts, onset=ONSET, n_windows=N_WINDOWS)
    starts = ONSET + WINDOW * np.arange(N_WINDOWS)
    expected = np.repeat(counts[0, starts - 1, 0].numpy(), WINDOW)
    np.testing.assert_allclose(rates[0, :, 0], expected, rtol=1e-6)
