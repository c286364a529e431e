"""Posterior of many subsets of visible columns, from one set of sums over the columns.

Columns that are visible at the same samples in every subset are a class. The sums of
`posterior` over the columns of a class are computed once, and those of a subset are sums
over its classes: a subset costs one inverse of K m = 480 rows for all windows, and a
window one projection of its residuals for all subsets.

A target reads its own past alone. Given the other visible columns, its residuals over the
window are Gaussian with covariance C = U_n cov(z) U_n' + s_n^2 C_e, from which its own
visible samples h predict the others by the gain C_fh C_hh^-1. This is the conditional mean
of the mask in which these samples are visible, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from omnimouse_model.families.parts.linear_gaussian.posterior import (
    Prior,
    factor_covariance,
    factor_inverse,
    precisions,
)

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


@dataclass(frozen=True, slots=True, eq=False)
class _Solution:
    """What does not depend on the window: the inverse, and gains of own samples.

    Attributes
    ----------
    place
        Number of the set of visible columns, of which several subsets may have one.
    gain
        float32 (n, predicted, own) or None.
    variance
        float32 (predicted, n): conditional variance.
    """

    place: int
    target: Target
    gain: np.ndarray | None
    variance: np.ndarray


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
    """

    def __init__(
        self,
        prior: Prior,
        visible: Sequence[np.ndarray],
        targets: Sequence[Target],
        check: Callable[[], None],
    ) -> None:
        self._prior = prior
        numbers: dict[bytes, int] = {}
        places = [numbers.setdefault(np.packbits(one).tobytes(), len(numbers)) for one in visible]
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
        self._inverses: list[np.ndarray | None] = []
        for number, one in enumerate(sets):
            check()
            parts = [(k, packed[column, number].tobytes()) for k, column in enumerate(first)]
            parts = [(k, pattern) for k, pattern in parts if any(pattern)]
            self._parts.append(parts)
            self._inverses.append(self._inverse(parts, grams, len(one)))
        self._solutions = []
        for place, target in zip(places, targets, strict=True):
            check()
            self._solutions.append(self._solution(place, target))

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays."""
        arrays = [inverse for inverse in self._inverses if inverse is not None]
        arrays += [one.gain for one in self._solutions if one.gain is not None]
        return sum(array.nbytes for array in (*arrays, *(s.variance for s in self._solutions)))

    def _inverse(
        self, parts: list[tuple[int, bytes]], grams: list[np.ndarray], n_samples: int
    ) -> np.ndarray | None:
        """Return M^-1 of a set; None for nothing visible, where it is the identity."""
        if not parts:
            return None
        prior = self._prior
        n_factors, n_modes = prior.root.shape[:2]
        total = np.zeros((n_factors, n_factors, n_modes, n_modes), np.float32)
        for pattern in dict.fromkeys(pattern for _, pattern in parts):
            if pattern not in self._precision:
                bits = np.unpackbits(np.frombuffer(pattern, np.uint8), count=n_samples)
                self._precision[pattern] = precisions(prior.private, bits[None].astype(bool))[0]
            gram = np.sum([grams[k] for k, other in parts if other == pattern], axis=0)
            inner = prior.basis.T @ self._precision[pattern] @ prior.basis
            total += np.multiply.outer(gram, inner)
        return factor_inverse(prior.root, total)

    def _solution(self, place: int, target: Target) -> _Solution:
        prior, inverse = self._prior, self._inverses[place]
        n_factors, n_modes = prior.root.shape[:2]
        if inverse is None:
            inverse = np.eye(n_factors * n_modes, dtype=np.float32)
        covariance = factor_covariance(prior.root, inverse)
        gains, variances = [], []
        for first in range(0, len(target.columns), _TOGETHER):
            columns = target.columns[first : first + _TOGETHER]
            gain, variance = self._gains(covariance, columns, target)
            gains.append(gain)
            variances.append(variance)
        return _Solution(
            place,
            target,
            np.concatenate(gains) if len(target.own) else None,
            np.concatenate(variances, axis=1) * np.float32(prior.model.inflation),
        )

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
        if not len(target.own):
            return np.zeros((len(columns), len(later), 0), np.float32), variance
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
        factors: list[np.ndarray | None] = []
        for parts, inverse in zip(self._parts, self._inverses, strict=True):
            if inverse is None:
                factors.append(None)
                continue
            side = np.sum([sides[part] for part in parts], axis=0)[:, None] @ prior.root
            x = (inverse @ side.reshape(-1)).reshape(len(side), -1, 1)
            factors.append((prior.root @ x)[..., 0])  # (K, m)
        return [self._mean(one, factors[one.place], residuals) for one in self._solutions]

    def _mean(
        self, solution: _Solution, factors: np.ndarray | None, residuals: np.ndarray
    ) -> np.ndarray:
        prior, target = self._prior, solution.target
        mean = np.zeros((len(prior.basis), len(target.columns)), np.float32)
        if factors is not None:
            mean = prior.basis @ (prior.loadings[0][target.columns] @ factors).T
        found = mean[target.samples]
        if solution.gain is not None:
            rows = np.ix_(target.own, target.columns)
            unexplained = residuals[rows] - mean[target.own]
            found = found + np.einsum("nto,on->tn", solution.gain, unexplained)
        return np.asarray(found, np.float32)

    @property
    def variances(self) -> list[np.ndarray]:
        """Conditional variance of each subset's targets, float32 (predicted, n)."""
        return [one.variance for one in self._solutions]
