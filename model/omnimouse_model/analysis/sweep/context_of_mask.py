"""Amount of context in a mask, in the units of a sweep: its position on the curve.

A mask of a sweep has exactly the context of its point. For a painted mask, the context
is averaged over samples or neurons.
"""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.masks import Mask


@dataclass(frozen=True, slots=True)
class ContextAmount:
    """Amount of context in a mask.

    Attributes
    ----------
    neurons
        Number of visible neurons, mean over the target samples.
    history_samples
        Visible samples before the target samples, mean over all neurons.
    video, behavior
        Whether any frame is visible, and whether behaviour is visible.
    """

    neurons: float
    history_samples: float
    video: bool
    behavior: bool


def measure_context(mask: Mask) -> ContextAmount:
    """Return the context of a mask; without targets, that of the last second."""
    rows = np.flatnonzero(mask.target.any(axis=1))
    # A mask without targets still has a place on the axis: the half usually predicted.
    if not len(rows):
        rows = np.arange(mask.n_samples // 2, mask.n_samples)
    n_visible = np.count_nonzero(mask.visible, axis=1)
    # Averages, because a painted mask may show other neurons at each sample.
    before = n_visible[: rows[0]].sum()
    return ContextAmount(
        neurons=float(n_visible[rows].mean()),
        history_samples=float(before / max(mask.n_neurons, 1)),
        video=bool(mask.frames.any()),
        behavior=mask.has_visible_behavior,
    )
