"""Correlations of predictions with targets, at once or in blocks, and explained variance."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

Policy = Literal["sensorium", "strict"]
SENSORIUM_EPS = 1e-8
"""Number that the public Sensorium code adds to both standard deviations."""
_RELATIVE_ZERO = 1e-13
"""A standard deviation below this fraction of the mean is rounding error."""


class Status(StrEnum):
    """Reason why a value is undefined, or OK.

    EMPTY: there were no samples to score. NAN_INPUT: there were samples, but every
    target is NaN.
    """

    OK = "ok"
    CONSTANT_TARGET = "constant_target"
    CONSTANT_PREDICTION = "constant_prediction"
    TOO_FEW_REPEATS = "too_few_repeats"
    NO_SIGNAL = "no_signal"
    EMPTY = "empty"
    NAN_INPUT = "nan_input"


class Valued(NamedTuple):
    """float64 values, NaN where undefined, and the `Status` of each."""

    value: np.ndarray
    status: np.ndarray


@dataclass(frozen=True, slots=True)
class Moments:
    """Counts, means and sums of squared deviations of paired samples.

    They determine a Pearson correlation and can be merged exactly.
    """

    count: np.ndarray
    mean_prediction: np.ndarray
    mean_target: np.ndarray
    square_prediction: np.ndarray
    square_target: np.ndarray
    product: np.ndarray

    def merged(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of samples (Chan et al. 1979)."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        d_prediction = other.mean_prediction - self.mean_prediction
        d_target = other.mean_target - self.mean_target
        weight = self.count * share
        return Moments(
            count,
            self.mean_prediction + d_prediction * share,
            self.mean_target + d_target * share,
            self.square_prediction + other.square_prediction + weight * d_prediction**2,
            self.square_target + other.square_target + weight * d_target**2,
            self.product + other.product + weight * d_prediction * d_target,
        )

    def pearson(self, eps: float = 0.0) -> np.ndarray:
        """Return the correlation, clipped to [-1, 1]; NaN where undefined.

        `eps` is added to both population standard deviations.
        """
        count = np.maximum(self.count, 1)
        sd_prediction = np.sqrt(self.square_prediction / count) + eps
        sd_target = np.sqrt(self.square_target / count) + eps
        # The status does not depend on eps: a constant trace stays undefined here, and
        # the caller decides whether it scores 0.
        undefined = self.status() != Status.OK
        with np.errstate(invalid="ignore", divide="ignore"):
            value = self.product / count / (sd_prediction * sd_target)
        # Rounding alone can lead to values just outside [-1, 1].
        return np.where(undefined, np.nan, np.clip(value, -1.0, 1.0))

    def centred(
        self, prediction: np.ndarray, target: np.ndarray, variance: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Return the correlation about fixed means, NaN where it is undefined.

        Over few windows, their own means follow the windows, and differences between
        windows are missing from the correlation, which is then too low on average.

        Parameters
        ----------
        variance
            Squared standard error of the mean prediction. It adds to the variance of
            the predictions about this mean, which would make the correlation too low.
        """
        square_prediction, square_target, product = self._about(prediction, target, variance)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = product / np.sqrt(square_prediction * square_target)
        undefined = self.status() != Status.OK
        return np.where(undefined, np.nan, np.clip(value, -1.0, 1.0))

    def centred_slope(
        self, prediction: np.ndarray, target: np.ndarray, variance: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Return the slope of targets on predictions about fixed means, as `centred`.

        Both have one sign. 1 is calibrated; below 1, predictions vary more than what they
        predict. NaN where it is undefined.
        """
        square_prediction, _, product = self._about(prediction, target, variance)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = product / square_prediction
        return np.where(self.status() != Status.OK, np.nan, value)

    def _about(
        self, prediction: np.ndarray, target: np.ndarray, variance: np.ndarray | float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return both sums of squares, and that of products, about fixed means."""
        d_prediction = self.mean_prediction - prediction
        d_target = self.mean_target - target
        about_mean = self.square_prediction + self.count * d_prediction**2
        # Half of it at least, so that a single window has a finite score.
        square_prediction = np.maximum(about_mean - self.count * variance, about_mean / 2)
        square_target = self.square_target + self.count * d_target**2
        return square_prediction, square_target, self.product + self.count * d_prediction * d_target

    def status(self) -> np.ndarray:
        """Return one `Status` per correlation."""
        # Order matters, the first case wins: a silent neuron is reported as a property
        # of the data even if its prediction is constant too.
        empty = self.count == 0
        flat_target = is_flat(self.square_target, self.mean_target, self.count)
        flat_prediction = is_flat(self.square_prediction, self.mean_prediction, self.count)
        return first_of(
            (empty, Status.EMPTY),
            (flat_target, Status.CONSTANT_TARGET),
            (flat_prediction, Status.CONSTANT_PREDICTION),
        )


def first_of(
    *cases: tuple[np.ndarray | np.bool, Status], default: np.ndarray | str = Status.OK
) -> np.ndarray:
    """Return the status of the first true case per entry; a case may be a scalar."""
    names = [np.asarray(str(name)) for _, name in cases]
    return np.select([case for case, _ in cases], names, default=np.asarray(default))


def is_flat(square: np.ndarray, mean: np.ndarray, count: np.ndarray | int = 1) -> np.ndarray:
    """Return which sums of squared deviations, or variances, are rounding errors alone."""
    # Sums of squared deviations of a constant trace are seldom exactly 0. The limit is
    # relative to the mean, so that it does not depend on the unit of the trace.
    sd = np.sqrt(np.maximum(square, 0.0) / np.maximum(count, 1))
    return np.asarray(sd <= _RELATIVE_ZERO * np.abs(mean))


def moments(
    prediction: np.ndarray,
    target: np.ndarray,
    axis: int | tuple[int, ...] = 0,
    valid: np.ndarray | None = None,
) -> Moments:
    """Return the two-pass moments of the valid pairs over `axis`, in float64."""
    prediction, target = np.broadcast_arrays(
        np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    )
    if valid is None:
        valid = np.isfinite(prediction) & np.isfinite(target)
    valid = np.broadcast_to(valid, target.shape)
    count = valid.sum(axis=axis)
    divisor = np.maximum(count, 1)

    def centred(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.where(valid, values, 0.0)
        mean = values.sum(axis=axis) / divisor
        spread = np.expand_dims(mean, axis)
        return mean, np.where(valid, values - spread, 0.0)

    # Two passes, since a single pass over sums of squares loses its digits where the
    # mean is large compared with the standard deviation.
    mean_prediction, d_prediction = centred(prediction)
    mean_target, d_target = centred(target)
    return Moments(
        count,
        mean_prediction,
        mean_target,
        (d_prediction * d_prediction).sum(axis=axis),
        (d_target * d_target).sum(axis=axis),
        (d_prediction * d_target).sum(axis=axis),
    )


def correlation(
    prediction: np.ndarray, target: np.ndarray, axis: int | tuple[int, ...] = 0
) -> np.ndarray:
    """Pearson correlation over `axis`.

    Pairs with a NaN on either side are left out. NaN if no pair is left or if one
    side is constant. For scores use `single_trial`, which is stricter.
    """
    return moments(prediction, target, axis).pearson()


def single_trial(
    prediction: np.ndarray, target: np.ndarray, policy: Policy = "sensorium"
) -> Valued:
    """Correlation and status per neuron of (sample, neuron) arrays.

    "sensorium" adds 1e-8 to the standard deviations and scores a constant neuron 0, as
    the public Sensorium code does; "strict" adds nothing and gives NaN. A neuron
    without valid targets is NaN under both.

    Raises
    ------
    ValueError
        A prediction is not finite where the target is.
    """
    missing = np.isfinite(target) & ~np.isfinite(prediction)
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} predictions are not finite where the target is; "
            "a predictor must predict every target sample."
        )
    sums = moments(prediction, target, axis=0)
    is_sensorium = policy == "sensorium"
    value = sums.pearson(SENSORIUM_EPS if is_sensorium else 0.0)
    if is_sensorium:
        value = np.where(sums.count > 0, np.nan_to_num(value), np.nan)
    # A count of 0 has two causes, which Moments cannot distinguish: no samples at all,
    # or samples without a valid target.
    all_nan = (sums.count == 0) & (len(target) > 0)
    return Valued(value, first_of((all_nan, Status.NAN_INPUT), default=sums.status()))


def correlation_to_average(
    prediction: np.ndarray, target: np.ndarray, policy: Policy = "sensorium"
) -> Valued:
    """Correlation of (repeat, time, neuron) arrays after averaging the repeats.

    NaN targets are left out of both averages.
    """
    target = np.asarray(target, np.float64)
    # Both averages must be over the same repeats, otherwise a prediction that differs
    # between repeats is compared with other trials.
    prediction = np.where(np.isfinite(target), prediction, np.nan)
    return single_trial(nanmean(prediction, 0), nanmean(target, 0), policy)


def nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of the finite values, without warnings; NaN if there are none."""
    present = np.isfinite(values)
    count = present.sum(axis=axis)
    total = np.where(present, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def nanvar(values: np.ndarray, axis: int, ddof: int = 0) -> np.ndarray:
    """Variance of the finite values, without warnings; NaN for `ddof` or fewer."""
    spread = values - np.expand_dims(nanmean(values, axis), axis)
    count = np.isfinite(values).sum(axis=axis)
    biased = nanmean(spread * spread, axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(count > ddof, biased * count / (count - ddof), np.nan))


# -- correlations from blocks of samples, in bounded memory ---------------------------
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


# -- explained variance (R²): of decoded channels, and of firing rates of neurons -----
def explained_variance(
    prediction: Float[np.ndarray, "sample channel"], target: Float[np.ndarray, "sample channel"]
) -> Valued:
    """R² = 1 - SSE / SST of each channel; NaN for a constant target.

    Negative if the mean of the target predicts better. NaN targets are left out.

    Raises
    ------
    ValueError
        A prediction is not finite where the target is.
    """
    target = np.asarray(target, np.float64)
    prediction = np.asarray(prediction, np.float64)
    valid = np.isfinite(target)
    if not np.isfinite(prediction[valid]).all():
        raise ValueError("A prediction that is to be scored is not finite.")
    # The target is passed twice because only its spread is needed: a constant
    # prediction has no correlation, but it has an explained variance.
    spread = moments(target, target, axis=0, valid=valid)
    error = np.where(valid, np.where(valid, target - prediction, 0.0) ** 2, 0.0)
    status = first_of(
        ((spread.count == 0) & (len(target) > 0), Status.NAN_INPUT), default=spread.status()
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        value = 1 - error.sum(axis=0) / spread.square_target
    return Valued(np.where(status == Status.OK, value, np.nan), status)


def psth_explained_variance(
    rates: Float[np.ndarray, "trial bin neuron"],
    spikes: Float[np.ndarray, "trial bin neuron"],
    condition: Shaped[np.ndarray, " trial"],
) -> Valued:
    """R² of rates against spikes, both averaged over the trials of each condition.

    One value per neuron, over all bins and conditions (Neural Latents Benchmark).
    A condition counts once, however many trials it has.
    """
    groups = [condition == name for name in np.unique(condition)]

    def averages(values: np.ndarray) -> np.ndarray:
        return np.concatenate([nanmean(values[rows], 0) for rows in groups])

    return explained_variance(averages(rates), averages(np.asarray(spikes, float)))
