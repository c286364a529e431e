"""Correlations from blocks of samples, in bounded memory."""

from dataclasses import dataclass, field

import numpy as np

from omnimouse_model.metrics.correlation import Moments


@dataclass(slots=True)
class StreamingCorrelation:
    """Correlation per column over a stream of (position, column) blocks.

    Running mean, variance and covariance per (position in the block, column). They are
    merged over positions at the end, so the samples of a column are pooled.
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
        """Add one block (position, column); `cells` is True for the cells that count.

        Non-finite targets never count.

        Raises
        ------
        ValueError
            A prediction is not finite where a target counts.
        """
        counted = np.isfinite(target) & (True if cells is None else cells)
        if not np.isfinite(prediction[counted]).all():
            raise ValueError("A prediction that is to be scored is not finite.")
        x = np.where(counted, prediction, 0.0).astype(np.float64)
        y = np.where(counted, target, 0.0).astype(np.float64)
        # Welford's update, with one accumulator per position: each gets at most one
        # sample per block, so a whole block is added at once without a loop. Cells that
        # do not count have deviations of 0 and leave their accumulators unchanged.
        count, mean_x, mean_y, square_x, square_y, product = self._sums[:, :, columns]
        count = count + counted
        divisor = np.maximum(count, 1)
        dx, dy = np.where(counted, x - mean_x, 0), np.where(counted, y - mean_y, 0)
        mean_x, mean_y = mean_x + dx / divisor, mean_y + dy / divisor
        # Deviations from the new mean; the product of a deviation from the old and one
        # from the new mean is the exact increment.
        new_dx = np.where(counted, x - mean_x, 0)
        new_dy = np.where(counted, y - mean_y, 0)
        self._sums[:, :, columns] = (
            count,
            mean_x,
            mean_y,
            square_x + dx * new_dx,
            square_y + dy * new_dy,
            product + dx * new_dy,
        )

    def moments(self) -> Moments:
        """Return the moments per column, merged over positions (Chan et al. 1979)."""
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
        """Return the correlation per column, NaN where undefined."""
        return self.moments().pearson()
