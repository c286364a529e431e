"""What a training step may ask: the official masks, and a few more."""

from collections.abc import Callable
from functools import cache

import numpy as np

from omnimouse_model.errors import MaskError
from omnimouse_model.masks import Mask
from omnimouse_model.strategies import (
    find_strategy,
    half_population_mask,
    mask_from_strategy,
)

ALL_OFFICIAL = "train"
"""The task that draws one of the official training masks."""
N_OFFICIAL_MASKS = 120


def _video_stretch(count: int) -> Mask:
    """The last 36 frames and behaviour; asks the last second of everyone."""
    return mask_from_strategy("test/video_behavior", count).with_frames(slice(24, 60))


EXTRA_TASKS: dict[str, Callable[[int], Mask]] = {
    "video-36": _video_stretch,
    "video-36-only": lambda n: _video_stretch(n).with_behavior("hidden"),
    "half": lambda n: half_population_mask(n, video=False),
    "half-video": lambda n: half_population_mask(n),
    "half-video-decode": lambda n: half_population_mask(n).with_behavior("target"),
}
"""Tasks beside the official ones; masks over positions in a random order."""


def check_task(name: str) -> None:
    """Refuse a name that is no task.

    Raises
    ------
    MaskError
        Says which names there are beside the strategies.
    """
    if name == ALL_OFFICIAL or name in EXTRA_TASKS:
        return
    try:
        find_strategy(name)
    except MaskError as error:
        extra = ", ".join((ALL_OFFICIAL, *EXTRA_TASKS))
        raise MaskError(f"{error} Tasks of training beside these: {extra}.") from error


def draw_task(tasks: dict[str, float], rng: np.random.Generator) -> str:
    """One of the tasks by weight; of the official masks any."""
    names, weights = list(tasks), np.array(list(tasks.values()))
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    if name == ALL_OFFICIAL:
        return f"{ALL_OFFICIAL}/{rng.choice(N_OFFICIAL_MASKS, p=_official_shares())}"
    return name


@cache
def _official_shares() -> np.ndarray | None:
    """How often each official mask is drawn; None where all weigh the same."""
    names = (f"{ALL_OFFICIAL}/{k}" for k in range(N_OFFICIAL_MASKS))
    weights = np.array([find_strategy(name).weight for name in names])
    return None if np.ptp(weights) == 0 else weights / weights.sum()


def task_mask(task: str, count: int) -> Mask:
    """The mask of a task over `count` positions of the neuron order."""
    make = EXTRA_TASKS.get(task)
    return make(count) if make else mask_from_strategy(task, count)
