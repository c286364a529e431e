"""Explained variance (R²): of decoded channels, and of firing rates of neurons."""

import numpy as np
from jaxtyping import Float, Shaped

from omnimouse_model.metrics.correlation import (
    Status,
    Valued,
    first_of,
    moments,
    nanmean,
)


def explained_variance(
    prediction: Float[np.ndarray, "sample channel"],
    target: Float[np.ndarray, "sample channel"],
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
        ((spread.count == 0) & (len(target) > 0), Status.NAN_INPUT),
        default=spread.status(),
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
