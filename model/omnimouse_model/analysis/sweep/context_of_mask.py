"""How much context a mask gives, in the terms of a sweep: where it lies on the curve.

Masks of a sweep lie exactly on their points; a painted one lies where its mean is.
"""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.analysis.sweep.contexts import ASKED_FROM
from omnimouse_model.masks import Mask


@dataclass(frozen=True, slots=True)
class Given:
    """What a mask shows beside what it asks.

    Attributes
    ----------
    neurons
        Neurons visible while responses are asked, mean over the asked samples.
    history_samples
        Samples visible before them, mean over all neurons.
    video, behavior
        Whether any frame, and behaviour, is visible.
    """

    neurons: float
    history_samples: float
    video: bool
    behavior: bool


def given_by(mask: Mask) -> Given:
    """Say how much a mask gives; where nothing is asked, the last second counts."""
    asked = np.flatnonzero(mask.target.any(axis=1))
    if not len(asked):
        asked = np.arange(ASKED_FROM, len(mask.cells))
    seen = np.count_nonzero(mask.visible, axis=1)
    before = seen[: asked[0]].sum()
    return Given(
        neurons=float(seen[asked].mean()),
        history_samples=float(before / max(mask.n_neurons, 1)),
        video=bool(mask.frames.any()),
        behavior=mask.shows_behavior,
    )
