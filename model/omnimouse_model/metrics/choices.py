"""Accuracy of decoded choices of trials."""

import numpy as np
from jaxtyping import Shaped

from omnimouse_model.metrics.correlation import Status
from omnimouse_model.metrics.information import Number


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
