"""Accuracy of decoded choices of trials, and its interval."""

from math import sqrt
from typing import Final

import numpy as np
from jaxtyping import Bool, Shaped

from omnimouse_model.metrics.correlation import Status
from omnimouse_model.metrics.information import Number

Z_95: Final = 1.959964
"""Quantile 0.975 of the normal distribution."""


def accuracy(
    chosen: Shaped[np.ndarray, " trial"],
    target: Shaped[np.ndarray, " trial"],
    *,
    balanced: bool,
) -> Number:
    """Share of correct choices, plain or balanced over the true choices.

    Balanced accuracy is the mean of the shares of each true choice. The two differ
    strongly if one choice is rare, so state which one a value is.
    """
    chosen, target = np.asarray(chosen), np.asarray(target)
    if not len(target):
        return Number(float("nan"), Status.EMPTY)
    right = chosen == target
    if not balanced:
        return Number(float(right.mean()), Status.OK)
    shares = [right[target == choice].mean() for choice in np.unique(target)]
    return Number(float(np.mean(shares)), Status.OK)


def accuracy_interval(right: Bool[np.ndarray, " trial"]) -> tuple[float, float]:
    """Return the 95 % interval of a share of correct choices, after Wilson (1927).

    A bootstrap gives a share of 1 an interval without width.

    Parameters
    ----------
    right
        Whether the choice of each trial is correct; one or more trials.

    Examples
    --------
    >>> from omnimouse_model.metrics.choices import accuracy_interval
    >>> low, high = accuracy_interval(np.ones(30, bool))
    >>> round(low, 3), round(high, 3)
    (0.886, 1.0)
    """
    n, share = len(right), float(right.mean())
    square = Z_95**2 / n
    centre = share + square / 2
    half = Z_95 * sqrt(share * (1 - share) / n + square / (4 * n))
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    # Rounding can take a share of 0 or 1 over the edge.
    return max(0.0, low), min(1.0, high)
