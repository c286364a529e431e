"""Autoregressive Poisson regression: coming bins from a neuron's and the others' past.

One regression for each neuron and each bin ahead. Inputs are mean counts over the last
1, 2, 5, 10 and 25 bins: of the neuron, and of principal components of the population.
"""

import numpy as np
from scipy.ndimage import uniform_filter1d

SPANS = (1, 2, 5, 10, 25)
N_COMPONENTS = 3
PENALTIES = (1e-3, 1e-2, 1e-1)
"""Ridge penalties per sample, of which validation trials choose one."""
_SMOOTHED = 5
_EVERY = 8
"""Only each eighth neuron counts in the choice of the penalty."""


def predict_windows(
    train: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
    starts: range,
    width: int,
    *,
    knows_time: bool = False,
) -> np.ndarray:
    """Return rates (trial, window * width, neuron) of windows of the test trials.

    Parameters
    ----------
    train, validation, test
        Counts (trial, bin, neuron).
    starts, width
        First bins of the windows, and their number of bins.
    knows_time
        Each window has an offset of its own, so that responses at fixed times of the
        trial are predicted; otherwise the past alone predicts.
    """
    axes = _components(train)
    own, shared = zip(
        *(_inputs(counts, starts, axes) for counts in (train, validation, test)), strict=True
    )
    scale = shared[0].mean((0, 1)), shared[0].std((0, 1))
    shared = [(values - scale[0]) / scale[1] for values in shared]
    if knows_time:
        shared = [_with_time(values) for values in shared]
    targets = [_windows(counts, starts, width) for counts in (train, validation)]

    def fitted(neuron: int, ahead: int, penalty: float, part: int) -> np.ndarray:
        mean, spread = own[0][..., neuron, :].mean((0, 1)), own[0][..., neuron, :].std()
        inputs = [
            np.concatenate([(own[k][..., neuron, :] - mean) / spread, shared[k]], -1)
            for k in (0, part)
        ]
        x, y = inputs[0].reshape(-1, inputs[0].shape[-1]), targets[0][:, :, ahead]
        weights, offset = _poisson_fit(x, y[..., neuron].ravel(), penalty)
        return np.exp(np.clip(inputs[1] @ weights + offset, -8, 3))

    def loss(penalty: float) -> float:
        total = 0.0
        for neuron in range(0, train.shape[2], _EVERY):
            for ahead in range(0, width, width // 2):
                rates = fitted(neuron, ahead, penalty, 1)
                counts = targets[1][:, :, ahead, neuron]
                total += float((rates - counts * np.log(rates)).sum())
        return total

    best = min(PENALTIES, key=loss)
    rates = np.stack(
        [
            np.stack([fitted(neuron, k, best, 2) for k in range(width)], axis=2)
            for neuron in range(train.shape[2])
        ],
        axis=-1,
    )
    return rates.reshape(len(test), len(starts) * width, train.shape[2])


def _components(counts: np.ndarray) -> np.ndarray:
    """Return the first principal axes (neuron, component) of smoothed counts."""
    smooth = uniform_filter1d(counts, _SMOOTHED, axis=1).reshape(-1, counts.shape[2])
    axes: np.ndarray = np.linalg.eigh(np.cov(smooth.T))[1][:, ::-1]
    return axes[:, :N_COMPONENTS]


def _inputs(counts: np.ndarray, starts: range, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return own (trial, window, neuron, span) and shared inputs (trial, window, k)."""
    own = np.stack(
        [
            np.stack([counts[:, t - span : t].mean(axis=1) for span in SPANS], axis=-1)
            for t in starts
        ],
        axis=1,
    )
    shared = np.einsum("twns,nc->twcs", own, axes)
    return own, shared.reshape(*shared.shape[:2], -1)


def _with_time(shared: np.ndarray) -> np.ndarray:
    """Return inputs (trial, window, k) with one indicator for each window."""
    n_trials, n_windows, _ = shared.shape
    indicators = np.broadcast_to(np.eye(n_windows), (n_trials, n_windows, n_windows))
    return np.concatenate([shared, indicators], axis=-1)


def _windows(counts: np.ndarray, starts: range, width: int) -> np.ndarray:
    """Return the counts (trial, window, bin ahead, neuron) of windows."""
    return np.stack([counts[:, t : t + width] for t in starts], axis=1)


def _poisson_fit(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Return weights and offset of a Poisson regression with a ridge, by Newton."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    ridge = np.full(x.shape[1], penalty * len(y))
    ridge[-1] = 1e-6
    weights = np.zeros(x.shape[1])
    weights[-1] = np.log(y.mean() + 1e-3)
    for _ in range(10):
        rates = np.exp(np.clip(x @ weights, -8, 3))
        slope = x.T @ (rates - y) + ridge * weights
        step = np.linalg.solve((x * rates[:, None]).T @ x + np.diag(ridge), slope)
        weights = weights - step
        if np.abs(step).max() < 1e-3:
            break
    return weights[:-1], float(weights[-1])
