"""Correlations over blocks that come one by one, and means over neurons and mice."""

from dataclasses import dataclass, field

import numpy as np

from omnimouse_model.metrics.correlation import Moments


@dataclass(slots=True)
class StreamingCorrelation:
    """Correlation per column over blocks that come one by one, in bounded memory.

    Running mean, variance and covariance per (position in the block, column),
    merged over positions at the end: a neuron's samples are pooled over all blocks.
    """

    n_positions: int
    n_columns: int
    _sums: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sums = np.zeros((6, self.n_positions, self.n_columns))

    def update(
        self,
        prediction: np.ndarray,
        target: np.ndarray,
        cells: np.ndarray | None = None,
        columns: np.ndarray | slice = slice(None),
    ) -> None:
        """Add one block (position, column); `cells` says which of it count.

        Non-finite targets never count; a non-finite prediction that would is an error.
        """
        counted = np.isfinite(target) & (True if cells is None else cells)
        if not np.isfinite(prediction[counted]).all():
            raise ValueError("A prediction that is to be scored is not finite.")
        x = np.where(counted, prediction, 0.0).astype(np.float64)
        y = np.where(counted, target, 0.0).astype(np.float64)
        count, mean_x, mean_y, square_x, square_y, product = self._sums[:, :, columns]
        count = count + counted
        divisor = np.maximum(count, 1)
        dx, dy = np.where(counted, x - mean_x, 0), np.where(counted, y - mean_y, 0)
        mean_x, mean_y = mean_x + dx / divisor, mean_y + dy / divisor
        rest_x = np.where(counted, x - mean_x, 0)
        rest_y = np.where(counted, y - mean_y, 0)
        self._sums[:, :, columns] = (
            count,
            mean_x,
            mean_y,
            square_x + dx * rest_x,
            square_y + dy * rest_y,
            product + dx * rest_y,
        )

    def moments(self) -> Moments:
        """Moments per column, merged over positions by the parallel formula."""
        count, mean_x, mean_y, square_x, square_y, product = self._sums
        total = count.sum(axis=0)
        divisor = np.maximum(total, 1)
        grand_x = (count * mean_x).sum(axis=0) / divisor
        grand_y = (count * mean_y).sum(axis=0) / divisor
        dx, dy = mean_x - grand_x, mean_y - grand_y
        return Moments(
            total,
            grand_x,
            grand_y,
            (square_x + count * dx * dx).sum(axis=0),
            (square_y + count * dy * dy).sum(axis=0),
            (product + count * dx * dy).sum(axis=0),
        )

    def pearson(self) -> np.ndarray:
        """Correlation per column, NaN where undefined."""
        return self.moments().pearson()


def session_score(values: np.ndarray, counts: np.ndarray) -> float:
    """Mean over neurons weighted by their scored samples (policy "omnimouse").

    An undefined neuron adds 0 and keeps its weight; NaN where nothing was scored.
    """
    total = float(np.sum(counts))
    return float(np.nan_to_num(values) @ counts / total) if total else float("nan")


def overall_score(scores: np.ndarray, n_neurons: np.ndarray) -> float:
    """Mean over sessions weighted by their neurons (policy "omnimouse")."""
    return float(np.average(scores, weights=n_neurons))


def pooled_score(per_session: list[np.ndarray]) -> float:
    """Mean over the neurons of all mice together (policy "sensorium")."""
    return float(np.nan_to_num(np.concatenate(per_session)).mean())


def mean_of_mice(per_session: list[np.ndarray]) -> float:
    """Mean over mice of each mouse's mean over neurons."""
    return float(np.mean([np.nan_to_num(values).mean() for values in per_session]))


def bootstrap_interval(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a (weighted) mean, resampling neurons.

    Undefined neurons count as 0, as in `session_score`. It speaks of these neurons
    in this recording, not of other mice. NaN without neurons.
    """
    values = np.nan_to_num(np.asarray(values, np.float64))
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    used = weights > 0
    values, weights = values[used], weights[used]
    if not len(values):
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = np.empty(n_resamples)
    for start in range(0, n_resamples, 100):
        size = (min(100, n_resamples - start), len(values))
        drawn = generator.integers(len(values), size=size)
        weight = weights[drawn]
        means[start : start + 100] = (values[drawn] * weight).sum(1) / weight.sum(1)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def behavior_groups(correlations: dict[str, float]) -> dict[str, float]:
    """Average decoded channels as the paper groups them, by name.

    "location" is the mean of pupil x and y, "size" of pupil size and its change,
    "average" the mean of the three groups.
    """
    groups = {
        "location": (correlations["pupil_x"] + correlations["pupil_y"]) / 2,
        "size": (correlations["pupil_size"] + correlations["pupil_dsize"]) / 2,
        "running": correlations["running"],
    }
    return groups | {"average": sum(groups.values()) / 3}
