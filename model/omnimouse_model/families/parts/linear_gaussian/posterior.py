"""Factors of residuals, and their posterior under one pattern of visible cells.

With visible samples v of a neuron, the private part of unit variance has covariance
C_e, and its precision on the visible samples is Q = inv(C_e[v, v]), padded with zeros
to (T, T). The factors are expanded in m basis functions of time, z_k = Phi G_k x_k with
x_k ~ N(0, I). Then

    M = I + G' [sum_n (U_n U_n' / s_n^2) (x) (Phi' Q_n Phi)] G        (K m, K m)
    x = M^-1 G' sum_n (U_n / s_n^2) (x) (Phi' Q_n r_n)
    E r_n = U_n z + C_e Q_n (r_n - U_n z)

Neurons with the same visible samples share Q. The sums over neurons are kept per block,
so a stroke costs the blocks that it touches and a new inverse of at most 480 rows, whatever
the number of neurons. The inverse is never updated: its bits depend on the mask alone.

The module is longer than usual because these formulas and the sums that a stroke reuses
are read together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np

from omnimouse_model.masks.cells import changed_columns, distinct_columns
from omnimouse_model.progress import QUIET, Job, part_of, stop_if

# -- covariance model of residual responses: shared factors and a private part --------
# The residual of neuron n at sample t is
#
#     r_n(t) = sum_k U_nk z_k(t) + s_n e_n(t)
#
# with unit loadings U (P, K), independent stationary Gaussian processes z_k, and private
# processes e_n that have one autocovariance for all neurons. Each autocovariance over
# time is a non-negative sum of exponentials; the private one also has white noise, which
# keeps the model from believing the last visible sample completely.
SHARED_TAUS_S = (1 / 60, 1 / 30, 0.1, 0.2, 0.4, 0.83, 2.0, 5.0, 20.0)
"""Time constants of the shared processes, in seconds: spikes of several neurons can fall
into one sample. Older fits have the last seven."""
PRIVATE_TAUS_S = (1 / 30, 0.1, 0.27, 0.67, 2.0, 10.0)
"""Time constants of the private processes, in seconds; white noise is added."""
N_FACTORS = 40
"""Shared factors; more gain less than 0.005 (5, 10, 20, 40, 80 were compared)."""
BEHAVIOR_WEIGHT = 2.0
"""Weight of a behaviour column while loadings are fitted: five columns among hundreds
of neurons would otherwise have no factor of their own. With 4, behaviour that has nothing
to do with the neurons took factors from them: to show it seemed to tell something."""
N_FOLDS = 5
MAX_BLOCK_S = 20.0
MIN_BLOCK_S = 2.0
MIN_PRIVATE_VARIANCE = 0.05
MAX_SHARED = 0.8
"""Part of a column's variance above which less is shared, as nearly equal neurons differ
later; what its factors share with many others is reduced little (.92 is left in the demo)."""
_ROUNDS, _FOLD_ROUNDS = 12, 4
_ALL_SHARE = 0.4
"""Share of the time of a fit for the axes of all blocks; the rest is that of the folds."""
_OVERSAMPLING = 8
_ROWS = 256
_MAX_LAGS = 18

Check = Callable[[], None]
Summand = TypeVar("Summand")


@dataclass(frozen=True, slots=True)
class FactorModel:
    """Fitted covariance of residuals in units of each column's standard deviation.

    Attributes
    ----------
    loadings
        float32 (P, K), columns of length 1.
    shared
        float64 (J, K): variance of factor k in the processes of the last J `SHARED_TAUS_S`.
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

    @property
    def variance(self) -> np.ndarray:
        """Variance of each column where nothing is visible, float64 (P,); about 1."""
        return np.asarray(self.loadings**2 @ self.shared.sum(axis=0) + self.private_variance)

    def shared_covariance(self, times_s: np.ndarray) -> np.ndarray:
        """Return the covariances of the factors over time, float64 (K, T, T)."""
        lag = np.abs(times_s[:, None] - times_s)
        taus_s = np.array(SHARED_TAUS_S[-len(self.shared) :])
        kernels = np.exp(-lag / taus_s[:, None, None])
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
    job: Job = QUIET,
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
    job
        Progress; asked every few milliseconds whether to stop.

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
    check = partial(stop_if, job.cancelled)
    axes = _Axes(residuals, weight, check)
    # Fixed random orthonormal columns.
    size = (n_columns, min(n_factors + _OVERSAMPLING, n_columns))
    start = np.linalg.qr(np.random.default_rng(0).standard_normal(size).astype(np.float32))[0]
    basis = axes.iterate(blocks, start, _ROUNDS, part_of(job, 0.0, _ALL_SHARE))
    shared = np.zeros((len(lags), n_factors))
    private = np.zeros((len(lags), n_columns))
    folds = sorted({block.fold for block in blocks})
    held_out_axes: list[tuple[list[Block], np.ndarray]] = []
    for number, fold in enumerate(folds):
        job.progress(_ALL_SHARE + (1 - _ALL_SHARE) * number / len(folds), 1.0)
        held_out = [block for block in blocks if block.fold == fold]
        train = [block for block in blocks if block.fold != fold] or held_out
        loadings = axes.loadings(axes.iterate(train, basis, _FOLD_ROUNDS), n_factors)
        held_out_axes.append((held_out, loadings))
        own = _autocovariance(residuals, held_out, lags, check)
        squares, projected = loadings**2, []
        # The part of each factor's covariance that is between different columns. Of a factor
        # of one column it is 0, and the variance of the factor cannot be known.
        of_pairs = np.maximum(1 - (squares**2).sum(axis=0), 0.3)
        for block in held_out:
            projected.append(residuals[block.start : block.stop] @ loadings)
            check()
        for row, lag in enumerate(lags):
            pairs = [p[: len(p) - lag] * p[lag:] for p in projected if len(p) > lag]
            mean = np.concatenate(pairs).mean(axis=0)
            # A neuron's own autocovariance is private as well as shared: leave it out, and
            # with it a part of what is shared, which is large where few neurons share.
            shared[row] += (mean - own[row] @ squares) / of_pairs / len(folds)
        private += own / len(folds)
    loadings = axes.loadings(basis, n_factors)
    lag_s = np.array(lags) / rate_hz
    kernels = np.exp(-lag_s[:, None] / np.array(SHARED_TAUS_S))
    squares = loadings**2
    latent = _non_negative(kernels, shared)  # variances, (J, K)
    # The factors must leave each column a private part. Two neurons with nearly the same spikes
    # would otherwise share more than all of their variance, and the error in one of them would
    # widen the intervals of all.
    for _ in range(_ROUNDS):
        too_large = np.maximum(squares @ latent.sum(axis=0) / MAX_SHARED, 1)
        latent = latent / (too_large @ squares)
    private -= kernels @ latent @ squares.T
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


def _lags(shortest: int, rate_hz: float) -> list[int]:
    """Lags in samples, dense near 0, up to 2 s or the shortest block."""
    longest = max(min(int(2 * rate_hz) - 1, shortest - 1), 1)
    wide = np.geomspace(1, longest, _MAX_LAGS - 1)
    return [0, *np.unique(np.round(wide).astype(int)).tolist()]


class _Axes:
    """Subspace iteration on a weighted covariance with an open diagonal."""

    def __init__(self, residuals: np.ndarray, weight: np.ndarray, check: Check) -> None:
        self._residuals, self._weight, self._check = residuals, weight, check

    def iterate(
        self, blocks: Sequence[Block], basis: np.ndarray, rounds: int, job: Job = QUIET
    ) -> np.ndarray:
        """Return orthonormal columns (P, q), the largest axis first."""
        variance = self._variance(blocks)
        # Communality: the part of a column's variance that the axes explain.
        common = np.full(len(variance), 0.2 * variance.mean(), np.float32)
        n_used = min(max(basis.shape[1] - _OVERSAMPLING, 1), len(variance))
        for number in range(rounds):
            job.progress(number, rounds)
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
            for first in range(block.start, block.stop, _ROWS):
                part = self._residuals[first : min(first + _ROWS, block.stop)]
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


def _non_negative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Minimise |a w - b| with w >= 0 for each column of b, by coordinate descent."""
    gram, target = a.T @ a, a.T @ b
    w = np.zeros_like(target)
    for _ in range(300):
        for j in range(len(gram)):
            w[j] = np.maximum(0, w[j] + (target[j] - gram[j] @ w) / gram[j, j])
    return np.asarray(w)


# -- posterior mean and variance of residuals under one pattern of visible cells ------
N_ROWS = 480
"""Factors times basis functions of time at most: the rows of the inverse of a mask."""
N_MODES = (12, 16, 20, 24, 30, 40, 60, 120, 240, 480)
"""Numbers of basis functions of time, of which the first that tells most is used: slow
responses need 12, beside 40 factors; spikes of few neurons need all samples."""
_TELLS_NOTHING = 2e-4
"""Part of what all factors tell, or of all variance, that is not worth an inverse of more rows."""
_FEW_PATTERNS = 128
BLOCK = 256
"""Columns whose sums are kept together."""
_INVERTED = 256
"""Patterns whose matrices are inverted together, so that they fit into a cache."""


@dataclass(frozen=True, slots=True)
class Prior:
    """Prior covariance on the samples of a window; it does not depend on the mask.

    Attributes
    ----------
    model
        Fitted covariance.
    basis
        float32 (T, m): basis functions of time.
    root
        float32 (K, m, m): G, a square root of each factor's covariance in the basis.
    private
        float32 (T, T): C_e.
    loadings
        float32 (P, K) each: U, and U / s^2, of the factors that are used.
    """

    model: FactorModel
    basis: np.ndarray
    root: np.ndarray
    private: np.ndarray
    loadings: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, model: FactorModel, times_s: np.ndarray) -> "Prior":
        """Expand a covariance on the samples of a window."""
        covariance, private = model.shared_covariance(times_s), model.private_covariance(times_s)
        # The leading eigenvectors of the summed covariances serve all factors.
        basis = np.linalg.eigh(covariance.sum(axis=0))[1][:, ::-1]
        information = (model.loadings**2 / model.private_variance[:, None]).sum(axis=0)
        # Variance of each factor in each function, and how much of it all neurons tell, (K, T).
        variance = np.einsum("ti,kts,si->ki", basis, covariance, basis, optimize=True)
        noise = np.einsum("ti,ts,si->i", basis, private, basis, optimize=True)
        told = variance**2 / (variance + noise / np.maximum(information, 1e-9)[:, None])
        choices = []
        for n_modes in sorted({min(number, len(times_s)) for number in N_MODES}):
            of_factor = told[:, :n_modes].sum(axis=1)
            factors = np.argsort(-of_factor, kind="stable")[: N_ROWS // n_modes]
            tells = of_factor[factors].cumsum()
            n_factors = np.searchsorted(tells, (1 - _TELLS_NOTHING) * tells[-1]) + 1
            choices.append((tells[-1], n_modes, np.sort(factors[:n_factors])))
        # The fewest that tell nearly as much: slow responses are answered sooner so.
        most = max(choice[0] for choice in choices)
        enough = most - max(0.005 * most, _TELLS_NOTHING * len(model.loadings) * len(times_s))
        _, n_modes, factors = next(choice for choice in choices if choice[0] >= enough)
        basis = basis[:, :n_modes]
        inside = basis.T @ covariance[factors] @ basis + 1e-6 * np.eye(n_modes)
        # What this leaves out is private: intervals would be too narrow without it, (K, T, T).
        outside, left_out = np.eye(len(times_s)) - basis @ basis.T, covariance.copy()
        left_out[factors] = outside @ covariance[factors] @ outside
        squares, own = model.loadings**2, model.private_variance
        total = own + squares @ np.trace(left_out, axis1=1, axis2=2) / len(times_s)
        private = private * (own / total).mean()
        private += np.tensordot((squares / total[:, None]).mean(axis=0), left_out, (0, 0))
        model = replace(model, private_variance=total.astype(np.float32))
        loadings = model.loadings[:, factors]
        return cls(
            model,
            basis.astype(np.float32),
            np.linalg.cholesky(inside).astype(np.float32),
            private.astype(np.float32),
            (loadings, loadings / model.private_variance[:, None]),
        )


class _VisibleBlock:
    """Visible samples of a block of columns: members of each pattern.

    Attributes
    ----------
    content
        The visible cells, packed: equal blocks have equal sums.
    members
        Packed pattern of visible samples -> its columns, int64 (n,), counted from the
        start of the block. Columns without a visible sample are in none.
    """

    def __init__(self, visible: np.ndarray) -> None:
        self.content = np.packbits(visible).tobytes()
        patterns, number = distinct_columns(visible)
        self.members = {
            np.packbits(pattern).tobytes(): np.flatnonzero(number == row)
            for row, pattern in enumerate(patterns.T)
            if pattern.any()
        }
        self.grams: dict[bytes, np.ndarray] = {}


class Posterior:
    """Posterior distribution of residuals for one pattern of visible cells.

    The sums over columns are computed per block of `BLOCK` columns, and the blocks are
    added in a fixed binary tree. A posterior takes the blocks from `before` whose visible
    cells are the same. Its numbers are those without `before`.

    Parameters
    ----------
    prior
        Covariance on the samples of the window.
    visible
        bool (T, P): cells whose residual is known.
    before
        Posterior of the same prior, for example of the mask before a stroke.
    """

    def __init__(
        self, prior: Prior, visible: np.ndarray, before: "Posterior | None" = None
    ) -> None:
        self._prior, self.visible = prior, visible
        n_blocks = -(-visible.shape[1] // BLOCK)
        changed = np.arange(n_blocks)
        if before is not None:
            changed = np.unique(changed_columns(before.visible, visible) // BLOCK)
        blocks = {} if before is None else dict(enumerate(before.blocks))
        for number in changed.tolist():
            blocks[number] = _VisibleBlock(visible[:, block_slice(number)])
        self.blocks: list[_VisibleBlock] = [blocks[number] for number in range(n_blocks)]
        patterns = sorted({pattern for block in self.blocks for pattern in block.members})
        self._is_few = len(patterns) <= _FEW_PATTERNS
        self._precision: dict[bytes, np.ndarray]
        if self._is_few:
            # Each alone: an inverse in a batch has bits that depend on the others.
            known = {} if before is None or not before._is_few else before._precision
            self._precision = {
                pattern: known[pattern] if pattern in known else precisions(prior, [pattern])[0]
                for pattern in patterns
            }
        else:
            self._precision = dict(zip(patterns, precisions(prior, patterns), strict=True))
        self._inverse = self._solve(patterns)

    @property
    def n_bytes(self) -> int:
        """Bytes that the object holds, also those that it shares with others."""
        arrays = [self._inverse, *self._precision.values()]
        arrays += [gram for block in self.blocks for gram in block.grams.values()]
        return sum(array.nbytes for array in arrays) + self.visible.nbytes

    def _solve(self, patterns: Sequence[bytes]) -> np.ndarray:
        """Return M^-1, float32 (K m, K m)."""
        prior, basis = self._prior, self._prior.basis
        n_factors, n_modes = prior.root.shape[0], basis.shape[1]
        # Phi' Q Phi, (m, m)
        inner = {key: basis.T @ precision @ basis for key, precision in self._precision.items()}
        total = np.zeros((n_factors, n_factors, n_modes, n_modes), np.float32)
        if self._is_few:
            # Columns of one pattern share Q: their U U' / s^2 are summed first, (K, K).
            for number, block in enumerate(self.blocks):
                for pattern, members in block.members.items():
                    if pattern not in block.grams:
                        block.grams[pattern] = self._gram(number, members)
            for pattern in patterns:
                gram = tree_sum([block.grams.get(pattern) for block in self.blocks])
                assert gram is not None  # the pattern is that of a column
                total += np.multiply.outer(gram, inner[pattern])
        else:
            for number, block in enumerate(self.blocks):
                grams = [self._gram(number, members) for members in block.members.values()]
                if grams:
                    within = np.stack([inner[pattern] for pattern in block.members])
                    total += np.tensordot(np.stack(grams), within, (0, 0))
        return factor_inverse(prior.root, total)

    def _gram(self, number: int, members: np.ndarray) -> np.ndarray:
        loadings, scaled = (part[block_slice(number)][members] for part in self._prior.loadings)
        return np.asarray(scaled.T @ loadings)

    def projection(self, number: int, residuals: np.ndarray) -> np.ndarray | None:
        """Return the part of a block in the right side of the equation for x, (K, m).

        Parameters
        ----------
        number
            Number of the block.
        residuals
            float32 (T, n) of its columns; read at visible cells only.
        """
        members, parts = self.blocks[number].members, []
        scaled = self._prior.loadings[1][block_slice(number)]
        for pattern, columns in members.items():
            weighted = residuals[:, columns].T @ self._precision[pattern]  # Q r, (n, T)
            parts.append(scaled[columns].T @ (weighted @ self._prior.basis))
        return tree_sum(parts)

    def factors(self, projections: Sequence[np.ndarray | None]) -> np.ndarray:
        """Return the posterior mean of the factors, z (T, K), from all blocks."""
        prior = self._prior
        total = tree_sum(projections)
        if total is None:
            return np.zeros((len(self.visible), len(prior.root)), np.float32)
        return np.asarray(prior.basis @ factor_mean(prior.root, self._inverse, total).T)

    def mean(self, factors: np.ndarray, columns: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """Return the conditional mean of some columns, float32 (T, n).

        Parameters
        ----------
        factors
            Result of `factors`.
        residuals
            float32 (T, n) of these columns; read at visible cells only.
        """
        prior = self._prior
        mean = np.asarray(factors @ prior.loadings[0][columns].T, np.float32)
        for precision, members in self._patterns_of(columns):
            # Q_n (r_n - U_n z): the part that the factors do not explain.
            unexplained = (residuals[:, members] - mean[:, members]).T @ precision
            mean[:, members] += (unexplained @ prior.private).T
        return mean

    def _patterns_of(self, columns: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield Q and the members of each pattern among some columns."""
        for pattern, members in _VisibleBlock(self.visible[:, columns]).members.items():
            yield self._precision[pattern], members

    def variance(self, columns: np.ndarray) -> np.ndarray:
        """Return the conditional variance of some columns, float32 (T, n).

        It is the sum of the variances of the shared and the private part, about 0 at
        visible cells. With more than 128 patterns, the information of a neuron's own
        visible samples about its shared part is ignored. The variance is then an upper
        limit.
        """
        prior = self._prior
        loadings, scale = prior.loadings[0][columns], prior.model.private_variance[columns]
        # Prior variance of the private part at each sample, (T,), in units of s_n^2.
        private = np.diag(prior.private)
        variance = _shared_variance(loadings, prior.basis, self._factor_covariance)
        variance += private[:, None] * scale
        # So far no column has visible samples; the others follow, pattern by pattern.
        for precision, members in self._patterns_of(columns):
            # C_e Q predicts the private part from the visible samples, (T, T).
            gain = prior.private @ precision
            remaining = np.maximum(private - (gain * prior.private).sum(axis=1), 0)
            if self._is_few:
                # The visible samples contain the factors too: an error of the factors
                # is cancelled as far as the gain reproduces it.
                basis = prior.basis - gain @ prior.basis
                shared = _shared_variance(loadings[members], basis, self._factor_covariance)
                variance[:, members] = shared
            else:
                variance[:, members] -= private[:, None] * scale[members]
            variance[:, members] += remaining[:, None] * scale[members]
        return np.asarray(variance * prior.model.inflation, np.float32)

    @cached_property
    def _factor_covariance(self) -> np.ndarray:
        return factor_covariance(self._prior.root, self._inverse)


def factor_inverse(root: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return M^-1, float32 (K m, K m), of the sum over neurons (K, K, m, m)."""
    n_factors, n_modes = root.shape[:2]
    # G' and G act on the last two axes.
    m = root.transpose(0, 2, 1)[:, None] @ total @ root
    # (factor, m, factor, m), then one row per factor and mode.
    m = m.transpose(0, 2, 1, 3).reshape(n_factors * n_modes, -1)
    m[np.diag_indices(len(m))] += 1
    return np.asarray(np.linalg.inv(m), np.float32)


def factor_mean(root: np.ndarray, inverse: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """Return the posterior mean of the factors in the basis, G M^-1 G' times (K, m)."""
    side = projection[:, None] @ root  # (K, 1, m)
    x = (inverse @ side.reshape(-1)).reshape(len(side), -1, 1)
    return np.asarray((root @ x)[..., 0])


def factor_covariance(root: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return the posterior covariance of the factors, G M^-1 G', (K, m, K, m)."""
    n_factors, n_modes = root.shape[:2]
    rows = root @ inverse.reshape(n_factors, n_modes, -1)  # (K, m, K m)
    # G' acts on the columns: their factor comes first, (K, K m, m).
    columns = rows.reshape(-1, n_factors, n_modes).transpose(1, 0, 2)
    product: np.ndarray = columns @ root.transpose(0, 2, 1)
    product = product.transpose(1, 0, 2)  # (K m, K, m)
    return product.reshape(n_factors, n_modes, n_factors, n_modes)


def block_slice(number: int) -> slice:
    """Return the columns of a block."""
    return slice(number * BLOCK, (number + 1) * BLOCK)


def tree_sum(parts: Sequence[Summand | None]) -> Summand | None:
    """Return the sum of arrays or tensors in a fixed binary tree; None is no summand."""
    sums: list[Any] = list(parts)
    while len(sums) > 1:
        pairs = zip_longest(sums[::2], sums[1::2])
        sums = [
            first + second if first is not None and second is not None
            else second if first is None else first
            for first, second in pairs
        ]  # fmt: skip
    return sums[0] if sums else None


def _shared_variance(loadings: np.ndarray, basis: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the variance (T, n) of loadings (n, K) times factors in a basis (T, m)."""
    # Covariance of the factors at each sample, (T, K, K).
    covariance = np.einsum("tj,kjlm,tm->tkl", basis, factors, basis, optimize=True)
    # As a sum of products: the product (T, n, K) would not fit into the CPU's cache.
    return np.asarray(np.einsum("tnk,nk->tn", loadings @ covariance, loadings))


def precisions(prior: Prior, packed: Sequence[bytes]) -> np.ndarray:
    """Return Q of each packed pattern, float32 (n, T, T), zero outside its visible samples."""
    private = prior.private
    joined = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), -1)
    patterns = np.unpackbits(joined, axis=1, count=len(private)).astype(bool)
    found = np.zeros((len(patterns), *private.shape), np.float32)
    # An inverse costs the third power of its size: patterns with similar numbers of
    # visible samples are inverted together, without the withheld samples.
    n_visible = patterns.sum(axis=1)
    order = np.argsort(n_visible, kind="stable")
    for first in range(0, len(patterns), _INVERTED):
        rows = order[first : first + _INVERTED]
        size = n_visible[rows[-1]]
        # Visible samples first, in time order, (pattern, size).
        samples = np.argsort(~patterns[rows], axis=1, kind="stable")[:, :size]
        is_visible = np.arange(size) < n_visible[rows, None]
        both = is_visible[:, :, None] & is_visible[:, None]
        row, column = samples[:, :, None], samples[:, None]
        # Ones on the diagonal of withheld samples separate them from the others.
        identity = np.eye(size, dtype=np.float32)
        inverse = np.linalg.inv(np.where(both, private[row, column], identity))
        found[rows[:, None, None], row, column] = np.where(both, inverse, 0)
    return found


# -- posterior of many subsets of visible columns, from one set of sums over them ------
# Columns that are visible at the same samples in every subset are a class. The sums over the
# columns of a class are computed once, and those of a subset are sums over its classes: a
# subset costs one inverse of K m rows, 480 at most, for all windows, and a window one
# projection of its residuals for all subsets.
#
# A target reads its own past alone. Given the other visible columns, its residuals over the
# window are Gaussian with covariance C = U_n cov(z) U_n' + s_n^2 C_e, from which its own
# visible samples h predict the others by the gain C_fh C_hh^-1. This is the conditional mean
# of the mask in which these samples are visible, too.
_TOGETHER = 128
"""Targets whose covariances over time are in memory together."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Columns of a subset that are predicted, at some samples, from own samples too.

    Attributes
    ----------
    columns
        int64 (n,): columns without a visible sample.
    samples, own
        int64: predicted samples, and visible ones of the column itself.
    """

    columns: np.ndarray
    samples: np.ndarray
    own: np.ndarray


class SubsetPosterior:
    """Posterior of the targets of several subsets; see the module.

    Parameters
    ----------
    prior
        Covariance on the samples of the window.
    visible
        bool (T, columns) of each subset.
    targets
        What each subset predicts.
    check
        Called between the inverses; may raise.

    Attributes
    ----------
    variances
        Conditional variance of each subset's targets, float32 (predicted, n).
    """

    def __init__(
        self, prior: Prior, visible: Sequence[np.ndarray], targets: Sequence[Target], check: Check
    ) -> None:
        self._prior = prior
        numbers: dict[bytes, int] = {}
        # Number of the set of visible columns of each subset; several may have one.
        places = [numbers.setdefault(np.packbits(one).tobytes(), len(numbers)) for one in visible]
        self._places, self._targets = places, targets
        sets = [visible[places.index(number)] for number in range(len(numbers))]
        # (column, set, byte): the pattern of each column in each set.
        packed = np.stack([np.packbits(one, axis=0).T for one in sets], axis=1)
        keys = np.ascontiguousarray(packed).reshape(len(packed), -1)
        _, first, number_of = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        self._members = [np.flatnonzero(number_of == k) for k in range(len(first))]
        loadings, scaled = prior.loadings
        grams = [scaled[columns].T @ loadings[columns] for columns in self._members]
        self._precision: dict[bytes, np.ndarray] = {}
        # Per set: pairs of class and pattern, without those that are not visible.
        self._parts: list[list[tuple[int, bytes]]] = []
        self._inverses: list[np.ndarray] = []
        for number in range(len(sets)):
            check()
            parts = [(k, packed[column, number].tobytes()) for k, column in enumerate(first)]
            parts = [(k, pattern) for k, pattern in parts if any(pattern)]
            self._parts.append(parts)
            self._inverses.append(self._inverse(parts, grams))
        # What own samples tell of each subset's targets, float32 (n, predicted, own).
        self._own: list[np.ndarray] = []
        self.variances: list[np.ndarray] = []
        for place, target in zip(places, targets, strict=True):
            check()
            gain, variance = self._solution(place, target)
            self._own.append(gain)
            self.variances.append(variance)

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in (*self._inverses, *self._own, *self.variances))

    def _inverse(self, parts: list[tuple[int, bytes]], grams: list[np.ndarray]) -> np.ndarray:
        """Return M^-1 of a set; the identity where nothing is visible."""
        prior = self._prior
        n_factors, n_modes = prior.root.shape[:2]
        total = np.zeros((n_factors, n_factors, n_modes, n_modes), np.float32)
        for pattern in dict.fromkeys(pattern for _, pattern in parts):
            if pattern not in self._precision:
                self._precision[pattern] = precisions(prior, [pattern])[0]
            gram = np.sum([grams[k] for k, other in parts if other == pattern], axis=0)
            inner = prior.basis.T @ self._precision[pattern] @ prior.basis
            total += np.multiply.outer(gram, inner)
        return factor_inverse(prior.root, total)

    def _solution(self, place: int, target: Target) -> tuple[np.ndarray, np.ndarray]:
        """Return the gains of own samples, and the conditional variance (predicted, n)."""
        prior = self._prior
        covariance = factor_covariance(prior.root, self._inverses[place])
        gains, variances = [], []
        for first in range(0, len(target.columns), _TOGETHER):
            columns = target.columns[first : first + _TOGETHER]
            gain, variance = self._gains(covariance, columns, target)
            gains.append(gain)
            variances.append(variance)
        inflation = np.float32(prior.model.inflation)
        return np.concatenate(gains), np.concatenate(variances, axis=1) * inflation

    def _gains(
        self, covariance: np.ndarray, columns: np.ndarray, target: Target
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return gains (n, predicted, own) and variances (predicted, n) of some columns."""
        prior = self._prior
        loadings, private = prior.loadings[0][columns], prior.private
        scale = prior.model.private_variance[columns]
        n_factors, n_modes = prior.root.shape[:2]
        # Covariance of each column's shared part in the basis, (n, m, m).
        half = np.tensordot(loadings, covariance, (1, 0)).reshape(-1, n_modes, n_factors, n_modes)
        shared = np.einsum("nikj,nk->nij", half, loadings, optimize=True)
        later, own = prior.basis[target.samples], prior.basis[target.own]
        variance = np.einsum("ti,nij,tj->tn", later, shared, later, optimize=True)
        variance += np.diag(private)[target.samples, None] * scale
        among = own @ shared @ own.T
        among += scale[:, None, None] * private[np.ix_(target.own, target.own)]
        across = own @ shared @ later.T
        across += scale[:, None, None] * private[np.ix_(target.own, target.samples)]
        gain = np.linalg.solve(among, across).transpose(0, 2, 1)  # (n, predicted, own)
        variance -= np.einsum("nto,not->tn", gain, across)
        return gain, np.maximum(variance, 0)

    def means(self, residuals: np.ndarray) -> list[np.ndarray]:
        """Return the conditional mean of each subset's targets, float32 (predicted, n).

        Parameters
        ----------
        residuals
            float32 (T, columns) of a window; read at visible cells only.
        """
        prior = self._prior
        sides: dict[tuple[int, bytes], np.ndarray] = {}
        for part in dict.fromkeys(part for parts in self._parts for part in parts):
            columns = self._members[part[0]]
            weighted = residuals[:, columns].T @ self._precision[part[1]]  # Q r, (n, T)
            sides[part] = prior.loadings[1][columns].T @ (weighted @ prior.basis)
        nothing = np.zeros(prior.root.shape[:2], np.float32)
        factors = [
            factor_mean(prior.root, inverse, sum((sides[part] for part in parts), nothing))
            for parts, inverse in zip(self._parts, self._inverses, strict=True)
        ]
        found = []
        for place, target, gain in zip(self._places, self._targets, self._own, strict=True):
            mean = prior.basis @ (prior.loadings[0][target.columns] @ factors[place]).T
            unexplained = residuals[np.ix_(target.own, target.columns)] - mean[target.own]
            own = np.einsum("nto,on->tn", gain, unexplained)
            found.append(np.asarray(mean[target.samples] + own, np.float32))
        return found
