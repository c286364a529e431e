"""How reliable every neuron of a session is, from its most often repeated clip."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnimouse_model.analysis.repeats import Clip, clip_repeats, repeated_clips
from omnimouse_model.data.session import Session

_BLOCK = 1024
"""Neurons at a time: ten repeats of 10 s are 25 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class PopulationCeiling:
    """What repeats of a clip say of every neuron; NaN where they say nothing.

    Attributes
    ----------
    clip
        The one shown most often.
    single_trial_max, oracle
        As in `ClipRepeats`.
    """

    clip: Clip
    single_trial_max: Float[np.ndarray, " neuron"]
    oracle: Float[np.ndarray, " neuron"]


def population_ceiling(
    session: Session, progress: Callable[[float], None] = lambda _: None
) -> PopulationCeiling:
    """Read the repeats of a session's most repeated clip, some neurons at a time.

    Parameters
    ----------
    session
        A recording.
    progress
        Told the share that is done, from 0 to 1; what it raises ends the work.

    Raises
    ------
    ValueError
        No clip was shown twice.
    """
    clips = repeated_clips(session)
    if not clips:
        raise ValueError("No clip was shown twice: repeats imply no ceiling here.")
    n = session.n_neurons
    single, oracle = np.full(n, np.nan), np.full(n, np.nan)
    for first in range(0, n, _BLOCK):
        progress(first / n)
        part = np.arange(first, min(first + _BLOCK, n))
        repeats = clip_repeats(session, clips[0], part)
        single[part], oracle[part] = repeats.single_trial_max, repeats.oracle
    return PopulationCeiling(clips[0], single, oracle)
