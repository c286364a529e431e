"""Covariance model of residual responses: shared factors and a private part.

The residual of neuron n at sample t is

    r_n(t) = sum_k U_nk z_k(t) + s_n e_n(t)

with unit loadings U (P, K), independent stationary Gaussian processes z_k, and private
processes e_n that have one autocovariance for all neurons. Each autocovariance over
time is a non-negative sum of exponentials; the private one also has white noise, which
keeps the model from believing the last visible sample completely.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SHARED_TAUS_S = (0.1, 0.2, 0.4, 0.83, 2.0, 5.0, 20.0)
"""Time constants of the shared processes, in seconds."""
PRIVATE_TAUS_S = (1 / 30, 0.1, 0.27, 0.67, 2.0, 10.0)
"""Time constants of the private processes, in seconds; white noise is added."""
N_FACTORS = 40
"""Shared factors; more gain less than 0.005 (5, 10, 20, 40, 80 were compared)."""
BEHAVIOR_WEIGHT = 4.0
"""Weight of a behaviour column while loadings are fitted: five columns among hundreds
of neurons would otherwise have no factor of their own."""
N_FOLDS = 5
MAX_BLOCK_S = 20.0
MIN_BLOCK_S = 2.0
MIN_PRIVATE_VARIANCE = 0.05
_ROUNDS, _FOLD_ROUNDS = 12, 4
_OVERSAMPLING = 8
_CHUNK = 256
_MAX_LAGS = 18

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class FactorModel:
    """Fitted covariance of residuals in units of each column's standard deviation.

    Attributes
    ----------
    loadings
        float32 (P, K), columns of length 1.
    shared
        float64 (J, K): variance of factor k in the process of `SHARED_TAUS_S[j]`.
    private_variance
        float32 (P,).
    private
        float64 (1 + J',): shares of white noise and of `PRIVATE_TAUS_S`; they sum to 1.
    inflation
        Factor on conditional variances: squared error over variance in held-out data.
        Above 1 where loadings are uncertain, as in short recordings.
    """

    loadings: np.ndarray
    shared: np.ndarray
    private_variance: np.ndarray
    private: np.ndarray
    inflation: float = 1.0

    def shared_covariance(self, times_s: np.ndarray) -> np.ndarray:
        """Return the covariances of the factors over time, float64 (K, T, T)."""
        lag = np.abs(times_s[:, None] - times_s)
        kernels = np.exp(-lag / np.array(SHARED_TAUS_S)[:, None, None])
        return np.tensordot(self.shared.T, kernels, (1, 0))

    def private_covariance(self, times_s: np.ndarray) -> np.ndarray:
        """Return the private autocovariance of unit variance, float64 (T, T)."""
        lag = np.abs(times_s[:, None] - times_s)
        kernels = np.exp(-lag / np.array(PRIVATE_TAUS_S)[:, None, None])
        white = self.private[0] * np.eye(len(times_s))
        return np.asarray(white + np.tensordot(self.private[1:], kernels, (0, 0)))


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of consecutive samples that is held out as a whole."""

    start: int
    stop: int
    fold: int


def blocks_of(run: np.ndarray, rate_hz: float) -> list[Block]:
    """Divide a series into blocks that lie within a run, with folds in turn.

    Parameters
    ----------
    run
        int (N,): number of the stretch of consecutive samples of each sample.
    rate_hz
        Samples per second.

    Returns
    -------
    Blocks of at most 20 s; shorter ones for recordings of less than five minutes, so
    that each fold holds several.
    """
    length = len(run) / (3 * N_FOLDS)
    length = int(np.clip(length, MIN_BLOCK_S * rate_hz, MAX_BLOCK_S * rate_hz))
    edges = np.flatnonzero(np.diff(run)) + 1
    blocks: list[Block] = []
    for start, stop in zip([0, *edges], [*edges, len(run)], strict=True):
        for first in range(int(start), int(stop), length):
            last = min(first + length, int(stop))
            blocks.append(Block(first, last, len(blocks) % N_FOLDS))
    return blocks


def fit_factors(
    residuals: np.ndarray,
    blocks: Sequence[Block],
    rate_hz: float,
    *,
    n_behavior: int = 0,
    check: Check = lambda: None,
) -> FactorModel:
    """Fit shared factors and the private part to residuals of unit variance.

    Parameters
    ----------
    residuals
        float32 (N, P): mean 0 and variance 1 per column; the last `n_behavior` columns
        are behaviour.
    blocks
        Stretches that are held out together.
    rate_hz
        Samples per second.
    check
        Called every few milliseconds; raises to stop the fit.

    Notes
    -----
    Loadings are the principal axes of the covariance whose diagonal is left open
    (principal-axis factoring), by subspace iteration: the P x P covariance is never
    formed. The variance of a factor is what it has in blocks to which its loadings were
    not fitted; a factor that does not hold there gets no variance.
    """
    n_columns = residuals.shape[1]
    n_factors = max(min(N_FACTORS, n_columns // 2), 1)
    weight = np.ones(n_columns, np.float32)
    if n_behavior:
        weight[-n_behavior:] = BEHAVIOR_WEIGHT
    lags = _lags(min(b.stop - b.start for b in blocks), rate_hz)
    axes = _Axes(residuals, weight, check)
    start = axes.random(min(n_factors + _OVERSAMPLING, n_columns))
    basis = axes.iterate(blocks, start, _ROUNDS)
    shared = np.zeros((len(lags), n_factors))
    private = np.zeros((len(lags), n_columns))
    folds = sorted({block.fold for block in blocks})
    held_out_axes: list[tuple[list[Block], np.ndarray]] = []
    for fold in folds:
        held_out = [block for block in blocks if block.fold == fold]
        train = [block for block in blocks if block.fold != fold] or held_out
        loadings = axes.loadings(axes.iterate(train, basis, _FOLD_ROUNDS), n_factors)
        held_out_axes.append((held_out, loadings))
        own = _autocovariance(residuals, held_out, lags, check)
        projected = _projected(residuals, loadings, held_out, check)
        for row, lag in enumerate(lags):
            pairs = [p[: len(p) - lag] * p[lag:] for p in projected if len(p) > lag]
            mean = np.concatenate(pairs).mean(axis=0)
            # A neuron's own autocovariance is private as well as shared: leave it out.
            shared[row] += (mean - own[row] @ loadings**2) / len(folds)
        private += own / len(folds)
    loadings = axes.loadings(basis, n_factors)
    lag_s = np.array(lags) / rate_hz
    kernels = np.exp(-lag_s[:, None] / np.array(SHARED_TAUS_S))
    latent = _non_negative(kernels, shared)
    private -= kernels @ latent @ (loadings**2).T
    variance = np.maximum(private[0], MIN_PRIVATE_VARIANCE)
    errors = [
        _error_ratio(residuals, held_out, axes_of_fold, latent.sum(axis=0), variance)
        for held_out, axes_of_fold in held_out_axes
    ]
    return FactorModel(
        loadings=loadings.astype(np.float32),
        shared=latent,
        private_variance=variance.astype(np.float32),
        private=_private_shape(private, lag_s, n_columns - n_behavior),
        inflation=max(float(np.mean(errors)), 1.0),
    )


def _error_ratio(
    residuals: np.ndarray,
    blocks: Sequence[Block],
    loadings: np.ndarray,
    shared: np.ndarray,
    private: np.ndarray,
) -> float:
    """Return squared error over variance where half of the columns predict the others.

    The loadings were fitted to other blocks. Samples are taken one by one, which is
    enough to see what uncertain loadings add to the error.
    """
    used = shared > 1e-9
    if not used.any() or len(private) < 2:
        return 1.0
    loadings = loadings[:, used]
    visible, target = loadings[::2], loadings[1::2]
    weighted = visible / private[::2, None]
    covariance = np.linalg.inv(np.diag(1 / shared[used]) + weighted.T @ visible)
    variance = private[1::2] + ((target @ covariance) * target).sum(axis=1)
    total = count = 0.0
    for block in blocks:
        part = residuals[block.start : block.stop]
        error = part[:, 1::2] - part[:, ::2] @ weighted @ covariance @ target.T
        total += float(np.einsum("tp,tp,p->", error, error, 1 / variance))
        count += error.size
    return total / count


def _projected(
    residuals: np.ndarray, loadings: np.ndarray, blocks: Sequence[Block], check: Check
) -> list[np.ndarray]:
    """Project each block of residuals on loadings: list of float32 (length, K)."""
    projections = []
    for block in blocks:
        projections.append(residuals[block.start : block.stop] @ loadings)
        check()
    return projections


def _lags(shortest: int, rate_hz: float) -> list[int]:
    """Lags in samples, dense near 0, up to 2 s or the shortest block."""
    longest = max(min(int(2 * rate_hz) - 1, shortest - 1), 1)
    wide = np.geomspace(1, longest, _MAX_LAGS - 1)
    return [0, *np.unique(np.round(wide).astype(int)).tolist()]


class _Axes:
    """Subspace iteration on a weighted covariance with an open diagonal."""

    def __init__(self, residuals: np.ndarray, weight: np.ndarray, check: Check) -> None:
        self._residuals, self._weight, self._check = residuals, weight, check

    def random(self, n_axes: int) -> np.ndarray:
        """Return fixed random orthonormal columns, float32 (P, n_axes)."""
        draw = np.random.default_rng(0).standard_normal((len(self._weight), n_axes))
        return np.linalg.qr(draw.astype(np.float32))[0]

    def iterate(self, blocks: Sequence[Block], basis: np.ndarray, rounds: int) -> np.ndarray:
        """Return orthonormal columns (P, q), the largest axis first."""
        variance = self._variance(blocks)
        # Communality: the part of a column's variance that the axes explain.
        common = np.full(len(variance), 0.2 * variance.mean(), np.float32)
        n_used = min(max(basis.shape[1] - _OVERSAMPLING, 1), len(variance))
        for _ in range(rounds):
            product = self._times(blocks, basis)
            product -= (variance - common)[:, None] * basis
            value, rotation = np.linalg.eigh(basis.T @ product)
            axes = (basis @ rotation)[:, ::-1][:, :n_used]
            common = np.maximum((axes**2) @ value[::-1][:n_used], 0).astype(np.float32)
            basis = np.linalg.qr(product @ rotation[:, ::-1])[0]
        return basis

    def loadings(self, basis: np.ndarray, n_factors: int) -> np.ndarray:
        """Return unit columns (P, K) in the units of the residuals."""
        columns = basis[:, :n_factors] / self._weight[:, None]
        return np.asarray(columns / np.linalg.norm(columns, axis=0))

    def _variance(self, blocks: Sequence[Block]) -> np.ndarray:
        total = np.zeros(len(self._weight))
        for block in blocks:
            part = self._residuals[block.start : block.stop]
            total += np.einsum("tp,tp->p", part, part)
            self._check()
        n = sum(block.stop - block.start for block in blocks)
        return np.asarray(total / n * self._weight**2, np.float32)

    def _times(self, blocks: Sequence[Block], basis: np.ndarray) -> np.ndarray:
        """Return the weighted covariance of some blocks times a basis."""
        weighted = self._weight[:, None] * basis
        total = np.zeros_like(basis)
        for block in blocks:
            for first in range(block.start, block.stop, _CHUNK):
                part = self._residuals[first : min(first + _CHUNK, block.stop)]
                total += part.T @ (part @ weighted)
                self._check()
        n = sum(block.stop - block.start for block in blocks)
        return np.asarray(self._weight[:, None] * total / n)


def _autocovariance(
    residuals: np.ndarray, blocks: Sequence[Block], lags: Sequence[int], check: Check
) -> np.ndarray:
    """Return the autocovariance of each column at some lags, float64 (L, P)."""
    total = np.zeros((len(lags), residuals.shape[1]))
    count = np.zeros(len(lags))
    for block in blocks:
        part = residuals[block.start : block.stop]
        for row, lag in enumerate(lags):
            if len(part) > lag:
                total[row] += np.einsum("tp,tp->p", part[: len(part) - lag], part[lag:])
                count[row] += len(part) - lag
            check()
    return np.asarray(total / np.maximum(count, 1)[:, None])


def _private_shape(private: np.ndarray, lag_s: np.ndarray, n: int) -> np.ndarray:
    """Return shares of white noise and exponentials in the neurons' mean, sum 1."""
    kernels = np.exp(-lag_s[:, None] / np.array(PRIVATE_TAUS_S))
    kernels = np.concatenate([(lag_s == 0)[:, None], kernels], axis=1)
    mean = np.clip(private[:, :n], -1, 1).mean(axis=1)
    shares = _non_negative(kernels, mean[:, None])[:, 0]
    # A share of white noise keeps every matrix of visible samples well conditioned.
    shares[0] = max(shares[0], 0.02 * shares.sum(), 1e-6)
    return np.asarray(shares / shares.sum())


def _non_negative(a: np.ndarray, b: np.ndarray, rounds: int = 300) -> np.ndarray:
    """Minimise |a w - b| with w >= 0 for each column of b, by coordinate descent."""
    gram, target = a.T @ a, a.T @ b
    w = np.zeros_like(target)
    for _ in range(rounds):
        for j in range(len(gram)):
            w[j] = np.maximum(0, w[j] + (target[j] - gram[j] @ w) / gram[j, j])
    return np.asarray(w)
