"""Posterior mean and variance of residuals under one pattern of visible cells.

With visible samples v of a neuron, the private part of unit variance has covariance
C_e, and its precision on the visible samples is Q = inv(C_e[v, v]), padded with zeros
to (T, T). The factors are expanded in m basis functions of time, z_k = Phi G_k x_k with
x_k ~ N(0, I). Then

    M = I + G' [sum_n (U_n U_n' / s_n^2) (x) (Phi' Q_n Phi)] G        (K m, K m)
    x = M^-1 G' sum_n (U_n / s_n^2) (x) (Phi' Q_n r_n)
    E r_n = U_n z + C_e Q_n (r_n - U_n z)

Neurons with the same visible samples share Q, so a mask costs one product and one
inverse of K m = 480 rows, whatever the number of neurons. A stroke is answered by a
new M: sums over neurons are cheaper than keeping track of what changed.
"""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.masks.cells import distinct_columns
from omnimouse_model.predict.linear_gaussian.factors import FactorModel

N_MODES = 12
"""Basis functions of time; scores differ by less than 0.005 between 6 and 30."""
_FEW_PATTERNS = 128
_CHUNK = 1024
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
    """

    model: FactorModel
    basis: np.ndarray
    root: np.ndarray
    private: np.ndarray

    @classmethod
    def of(cls, model: FactorModel, times_s: np.ndarray) -> "Prior":
        """Expand a covariance on the samples of a window."""
        covariance = model.shared_covariance(times_s)
        n_modes = min(N_MODES, len(times_s))
        # The leading eigenvectors of the summed covariances serve all factors.
        basis = np.linalg.eigh(covariance.sum(axis=0))[1][:, ::-1][:, :n_modes]
        inside = basis.T @ covariance @ basis + 1e-6 * np.eye(n_modes)
        return cls(
            model,
            basis.astype(np.float32),
            np.linalg.cholesky(inside).astype(np.float32),
            model.private_covariance(times_s).astype(np.float32),
        )


class Posterior:
    """Posterior distribution of residuals for one pattern of visible cells.

    Parameters
    ----------
    prior
        Covariance on the samples of the window.
    visible
        bool (T, P): cells whose residual is known.
    """

    def __init__(self, prior: Prior, visible: np.ndarray) -> None:
        self._prior = prior
        self.neurons = np.flatnonzero(visible.any(axis=0))
        patterns, self._pattern = distinct_columns(visible[:, self.neurons])
        self._precision = _precisions(prior.private, patterns.T)
        scaled = prior.model.loadings / prior.model.private_variance[:, None]
        self._scaled = scaled[self.neurons]
        self._inverse = self._solve()

    @property
    def n_bytes(self) -> int:
        """Bytes that the object holds."""
        return int(self._precision.nbytes + self._inverse.nbytes + self._scaled.nbytes)

    def _solve(self) -> np.ndarray:
        """Return M^-1, float32 (K m, K m)."""
        prior, basis = self._prior, self._prior.basis
        n_factors, n_modes = prior.root.shape[0], basis.shape[1]
        inner = basis.T @ self._precision @ basis  # Phi' Q Phi, (pattern, m, m)
        loadings = prior.model.loadings[self.neurons]
        # Neurons of one pattern share Q: their U U' / s^2 are summed first, (K, K).
        if len(inner) <= _FEW_PATTERNS:
            sums = np.empty((len(inner), n_factors, n_factors), np.float32)
            for number in range(len(inner)):
                members = self._pattern == number
                sums[number] = self._scaled[members].T @ loadings[members]
            total = np.tensordot(sums, inner, (0, 0))
        else:
            total = np.zeros((n_factors**2, n_modes**2), np.float32)
            for first in range(0, len(loadings), _CHUNK):
                part = slice(first, first + _CHUNK)
                outer = self._scaled[part][:, :, None] * loadings[part][:, None]
                inner_part = inner[self._pattern[part]].reshape(len(outer), -1)
                total += outer.reshape(len(outer), -1).T @ inner_part
        # (factor, factor, m, m): G' and G act on the last two axes.
        m = total.reshape(n_factors, n_factors, n_modes, n_modes)
        m = prior.root.transpose(0, 2, 1)[:, None] @ m @ prior.root
        # (factor, m, factor, m), then one row per factor and mode.
        m = m.transpose(0, 2, 1, 3).reshape(n_factors * n_modes, -1)
        m[np.diag_indices(len(m))] += 1
        return np.asarray(np.linalg.inv(m), np.float32)

    def mean(self, residuals: np.ndarray) -> np.ndarray:
        """Return the conditional mean, float32 (T, P).

        Parameters
        ----------
        residuals
            float32 (T, P); read at visible cells only.
        """
        prior, neurons = self._prior, self.neurons
        model, basis = prior.model, prior.basis
        # Q_n r_n, (V, T); Q is zero where not visible.
        weighted = self._weigh(residuals[:, neurons].T)
        # Right side of the equation for x, (K, 1, m).
        projection = (self._scaled.T @ (weighted @ basis))[:, None] @ prior.root
        x = (self._inverse @ projection.reshape(-1)).reshape(projection.shape[0], -1, 1)
        factors = basis @ (prior.root @ x)[..., 0].T  # z, (T, K)
        mean = np.asarray(factors @ model.loadings.T, np.float32)
        # Q_n (r_n - U_n z): the part that the factors do not explain.
        unexplained = weighted - self._weigh(np.ascontiguousarray(mean[:, neurons].T))
        mean[:, neurons] += (unexplained @ prior.private).T
        return mean

    def _weigh(self, values: np.ndarray) -> np.ndarray:
        """Return Q_n values_n for each visible neuron, (V, T)."""
        if len(self._precision) == 1:
            return np.asarray(values @ self._precision[0])
        weighted = np.empty_like(values, np.float32)
        if len(self._precision) <= _FEW_PATTERNS:
            for number, precision in enumerate(self._precision):
                members = self._pattern == number
                weighted[members] = values[members] @ precision
            return weighted
        for first in range(0, len(values), _CHUNK):
            part = slice(first, first + _CHUNK)
            precision = self._precision[self._pattern[part]]  # (neuron, T, T)
            weighted[part] = (values[part][:, None] @ precision)[:, 0]
        return weighted

    def variance(self) -> np.ndarray:
        """Return the conditional variance of all columns, float32 (T, P).

        It is the sum of the variances of the shared and the private part, about 0 at
        visible cells. With more than 128 patterns, the information of a neuron's own
        visible samples about its shared part is ignored. The variance is then an upper
        limit.
        """
        prior, n_patterns = self._prior, len(self._precision)
        loadings, scale = prior.model.loadings, prior.model.private_variance
        factors = self._factor_covariance()
        # Prior variance of the private part at each sample, (T,), in units of s_n^2.
        private = np.diag(prior.private)
        variance = _shared_variance(loadings, prior.basis, factors)
        variance += private[:, None] * scale
        # So far no neuron has visible samples; the others follow, pattern by pattern.
        for first in range(0, n_patterns, _CHUNK):
            is_member = (self._pattern >= first) & (self._pattern < first + _CHUNK)
            neurons, pattern = self.neurons[is_member], self._pattern[is_member] - first
            # C_e Q predicts the private part from the visible samples, (pattern, T, T).
            gains = prior.private @ self._precision[first : first + _CHUNK]
            explained = (gains * prior.private).sum(axis=2)
            remaining = np.maximum(private - explained, 0)  # (pattern, T)
            if n_patterns <= _FEW_PATTERNS:
                for number, gain in enumerate(gains):
                    same = neurons[pattern == number]
                    # The visible samples contain the factors too: an error of the
                    # factors is cancelled as far as the gain reproduces it.
                    basis = prior.basis - gain @ prior.basis
                    variance[:, same] = _shared_variance(loadings[same], basis, factors)
            else:
                variance[:, neurons] -= private[:, None] * scale[neurons]
            variance[:, neurons] += (scale[neurons, None] * remaining[pattern]).T
        return np.asarray(variance * prior.model.inflation, np.float32)

    def _factor_covariance(self) -> np.ndarray:
        """Return the posterior covariance of the factors, G M^-1 G', (K, m, K, m)."""
        root = self._prior.root
        n_factors, n_modes = root.shape[:2]
        rows = root @ self._inverse.reshape(n_factors, n_modes, -1)  # (K, m, K m)
        # G' acts on the columns: their factor comes first, (K, K m, m).
        columns = rows.reshape(-1, n_factors, n_modes).transpose(1, 0, 2)
        product: np.ndarray = columns @ root.transpose(0, 2, 1)
        product = product.transpose(1, 0, 2)  # (K m, K, m)
        return product.reshape(n_factors, n_modes, n_factors, n_modes)


def _shared_variance(loadings: np.ndarray, basis: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the variance (T, n) of loadings (n, K) times factors in a basis (T, m)."""
    # Covariance of the factors at each sample, (T, K, K).
    covariance = np.einsum("tj,kjlm,tm->tkl", basis, factors, basis, optimize=True)
    # As a sum of products: the product (T, n, K) would not fit into the CPU's cache.
    return np.asarray(np.einsum("tnk,nk->tn", loadings @ covariance, loadings))


def _precisions(private: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Return Q of each pattern, float32 (n, T, T), zero outside its visible samples."""
    precisions = np.zeros((len(patterns), *private.shape), np.float32)
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
        precisions[rows[:, None, None], row, column] = np.where(both, inverse, 0)
    return precisions
