"""Ridge regression in closed form, from sums that are added up chunk by chunk."""

from dataclasses import dataclass, field

import numpy as np

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Candidates for the penalty, relative to the variance of an input."""


@dataclass(frozen=True, slots=True)
class Covariance:
    """Means and covariances of inputs x and outputs y."""

    mean_x: np.ndarray
    mean_y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    variance_y: np.ndarray

    def part(self, inputs: np.ndarray, outputs: np.ndarray | None = None) -> "Covariance":
        """Return the covariance of some inputs and outputs, by index."""
        out = slice(None) if outputs is None else outputs
        return Covariance(
            self.mean_x[inputs],
            self.mean_y[out],
            self.xx[np.ix_(inputs, inputs)],
            self.xy[inputs][:, out],
            self.variance_y[out],
        )


_ROWS = 1024
"""Samples per matrix product: one large product costs less than many small ones."""


@dataclass(slots=True)
class Sums:
    """Running sums of a regression of (sample, output) on (sample, input).

    `dtype` float32 halves the memory of very many inputs.
    """

    n_inputs: int
    n_outputs: int = 0
    dtype: type = np.float64
    count: int = field(init=False, default=0)
    _x: np.ndarray = field(init=False, repr=False)
    _y: np.ndarray = field(init=False, repr=False)
    _xx: np.ndarray = field(init=False, repr=False)
    _xy: np.ndarray = field(init=False, repr=False)
    _yy: np.ndarray = field(init=False, repr=False)
    _pending: list[tuple[np.ndarray, np.ndarray]] = field(
        init=False, repr=False, default_factory=list
    )

    def __post_init__(self) -> None:
        self._x, self._y = np.zeros(self.n_inputs), np.zeros(self.n_outputs)
        self._xx = np.zeros((self.n_inputs, self.n_inputs), self.dtype)
        self._xy = np.zeros((self.n_inputs, self.n_outputs), self.dtype)
        self._yy = np.zeros(self.n_outputs)

    def add(self, x: np.ndarray, y: np.ndarray | None = None) -> None:
        """Add rows of inputs (n, n_inputs) and outputs (n, n_outputs) to the sums."""
        y = np.zeros((len(x), 0)) if y is None else y
        # Products in float32: twice as fast, and the inputs have no more digits.
        self._pending.append((np.asarray(x, np.float32), np.asarray(y, np.float32)))
        self.count += len(x)
        if sum(len(rows) for rows, _ in self._pending) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        """Add the products of pending samples."""
        if not self._pending:
            return
        x, y = (np.concatenate(part) for part in zip(*self._pending, strict=True))
        self._pending.clear()
        self._x += x.sum(axis=0, dtype=np.float64)
        self._y += y.sum(axis=0, dtype=np.float64)
        self._xx += x.T @ x
        self._xy += x.T @ y
        self._yy += (y * y).sum(axis=0, dtype=np.float64)

    def absorb(self, other: "Sums") -> None:
        """Add the samples of other sums."""
        self._flush()
        other._flush()
        # Sums of two sets of samples add up; covariances would not.
        self.count += other.count
        for name in ("_x", "_y", "_xx", "_xy", "_yy"):
            getattr(self, name).__iadd__(getattr(other, name))

    def covariance(self) -> Covariance:
        """Return the covariances of all samples so far."""
        self._flush()
        count = max(self.count, 1)
        mean_x, mean_y = self._x / count, self._y / count
        # In place and in the type of the sums: the largest array has 10^8 entries.
        narrow_x: np.ndarray = mean_x.astype(self.dtype)
        narrow_y: np.ndarray = mean_y.astype(self.dtype)
        xx, xy = self._xx / self.dtype(count), self._xy / self.dtype(count)
        xx -= np.outer(narrow_x, narrow_x)
        xy -= np.outer(narrow_x, narrow_y)
        # Rounding can make the variance of a constant output slightly negative.
        variance_y = np.maximum(self._yy / count - mean_y**2, 0.0)
        # A constant output goes with no input: what the products leave is rounding, and
        # weights would make responses of it.
        xy[:, variance_y <= np.finfo(np.float32).eps * mean_y**2] = 0.0
        return Covariance(mean_x, mean_y, xx, xy, variance_y)


# -- solutions ------------------------------------------------------------------------


def factor(xx: np.ndarray, penalty: float) -> np.ndarray:
    """Return the lower Cholesky factor of the penalised covariance of the inputs."""
    # Relative to each input's own variance, so that the units of inputs do not matter.
    # The floor keeps the matrix positive definite if an input is constant.
    variance = np.diagonal(xx)
    floor = 1e-6 * (variance.mean() + 1e-6)
    penalised = xx + np.diag(penalty * variance + floor)
    try:
        return np.linalg.cholesky(penalised)
    except np.linalg.LinAlgError:
        # The products are rounded by more where inputs vary little beside their means.
        lowest = float(np.linalg.eigvalsh(penalised)[0])
        return np.linalg.cholesky(penalised + np.diag(np.full(len(xx), floor - 2 * lowest)))


def solve_factored(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve with a Cholesky factor, by two triangular systems."""
    return _backward(lower, _forward(lower, right))


# numpy has no triangular solver, and SciPy is no dependency. Blocks of this size leave
# most of the work to matrix products.
_BLOCK = 128


def _forward(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    solution = np.array(right, dtype=np.float64)
    for start in range(0, len(lower), _BLOCK):
        rows = slice(start, start + _BLOCK)
        solution[rows] -= lower[rows, :start] @ solution[:start]
        solution[rows] = np.linalg.solve(lower[rows, rows], solution[rows])
    return solution


def _backward(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    solution = np.array(right, dtype=np.float64)
    for start in reversed(range(0, len(lower), _BLOCK)):
        rows, below = slice(start, start + _BLOCK), slice(start + _BLOCK, None)
        solution[rows] -= lower[below, rows].T @ solution[below]
        solution[rows] = np.linalg.solve(lower[rows, rows].T, solution[rows])
    return solution


def weights(covariance: Covariance, penalty: float) -> np.ndarray:
    """Return ridge weights (input, output) of centred data."""
    return solve_factored(factor(covariance.xx, penalty), covariance.xy)


def held_out_correlation(covariance: Covariance, weight: np.ndarray) -> float:
    """Return the mean over outputs of the correlation that `weight` reaches."""
    # From covariances alone: the held-out samples themselves are not stored.
    explained = (weight * covariance.xy).sum(axis=0)
    power = (weight * (covariance.xx @ weight)).sum(axis=0)
    scale = np.sqrt(np.maximum(power, 0) * covariance.variance_y)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.where(scale > 0, explained / scale, 0.0).mean())


_TEST_OUTPUTS = 200
"""Outputs on which a penalty is chosen: enough for one number, and costs grow with
outputs."""


def choose_penalty(train: Covariance, held_out: Covariance) -> float:
    """Return the penalty whose fit on `train` correlates best with `held_out`."""
    inputs, n_outputs = np.arange(len(train.mean_x)), len(train.mean_y)
    some = np.unique(np.linspace(0, n_outputs - 1, _TEST_OUTPUTS).astype(np.int64))
    train, held_out = train.part(inputs, some), held_out.part(inputs, some)
    scores = [held_out_correlation(held_out, weights(train, p)) for p in PENALTIES]
    return PENALTIES[int(np.argmax(scores))]
