"""What a training step may ask: the official masks, and a few more."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from omnimouse_model.data.session import Session
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
SOME = 16
"""A population on which it is looked at what a mask asks."""


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


@dataclass(frozen=True, slots=True)
class Streams:
    """What of a mask's inputs a session can give: a stimulus, the model's behaviour."""

    video: bool = True
    behavior: bool = True

    @classmethod
    def of(cls, session: Session, channels: int) -> "Streams":
        """Those of a session, for a model that reads so many behaviour channels."""
        has_behavior = len(session.behavior_names) == channels
        return cls(session.stimulus is not None, has_behavior)

    def limit(self, mask: Mask) -> Mask:
        """The mask with the rest hidden; what it asked of it is not asked."""
        if not self.video and mask.frames.any():
            mask = mask.with_frames(False)
        if not self.behavior and mask.behavior != "hidden":
            mask = mask.with_behavior("hidden")
        return mask

    def leave(self, mask: Mask) -> bool:
        """Whether a mask still asks for something."""
        return bool(mask.target.any()) or (self.behavior and mask.asks_behavior)


def official_tasks(streams: Streams) -> dict[str, float]:
    """The official training masks, less those of which the streams leave nothing."""
    names = [f"{ALL_OFFICIAL}/{k}" for k in range(N_OFFICIAL_MASKS)]
    kept = [n for n in names if streams.leave(task_mask(n, SOME))]
    if len(kept) == len(names):
        return {ALL_OFFICIAL: 1.0}
    return {name: find_strategy(name).weight for name in kept}


def task_mask(task: str, count: int) -> Mask:
    """The mask of a task over `count` positions of the neuron order."""
    make = EXTRA_TASKS.get(task)
    return make(count) if make else mask_from_strategy(task, count)
