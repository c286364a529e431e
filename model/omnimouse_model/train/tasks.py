"""Tasks of training: the official masks and some additional ones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.masks.strategies import find_strategy

ALL_OFFICIAL = "train"
"""Name of the task that draws one of the official training masks."""
N_OFFICIAL_MASKS = 120
SMALL = 16
"""Number of neurons of the small masks on which `official_tasks` tests targets."""


def _video_stretch(count: int) -> Mask:
    """Return a mask that shows the last 36 frames and behaviour.

    Targets are the last second of all neurons.
    """
    # 36 frames at 30 Hz are 1.2 s: fewer video tokens than a whole window of 2 s.
    return Mask.from_strategy("test/video_behavior", count).with_frames(slice(24, 60))


EXTRA_TASKS: dict[str, Callable[[int], Mask]] = {
    "video-36": _video_stretch,
    "video-36-only": lambda n: _video_stretch(n).with_behavior("hidden"),
    "half": lambda n: half_population_mask(n, video=False),
    "half-video": lambda n: half_population_mask(n),
    "half-video-decode": lambda n: half_population_mask(n).with_behavior("target"),
}
"""Additional tasks: functions from a number of neurons to a mask over positions."""


def check_task(name: str) -> None:
    """Check that a name is a task.

    Raises
    ------
    MaskError
        It is not; the message lists the tasks that are not strategies.
    """
    if name == ALL_OFFICIAL or name in EXTRA_TASKS:
        return
    try:
        find_strategy(name)
    except MaskError as error:
        extra = ", ".join((ALL_OFFICIAL, *EXTRA_TASKS))
        raise MaskError(f"{error} Tasks of training beside these: {extra}.") from error


def draw_task(tasks: dict[str, float], rng: np.random.Generator) -> str:
    """Draw a task by weight; "train" is replaced by one of the official masks."""
    names, weights = list(tasks), np.array(list(tasks.values()))
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    if name == ALL_OFFICIAL:
        return f"{ALL_OFFICIAL}/{rng.choice(N_OFFICIAL_MASKS, p=_official_shares())}"
    return name


@cache
def _official_shares() -> np.ndarray | None:
    """Return the probabilities of the official masks; None if they are equal."""
    names = (f"{ALL_OFFICIAL}/{k}" for k in range(N_OFFICIAL_MASKS))
    weights = np.array([find_strategy(name).weight for name in names])
    return None if np.ptp(weights) == 0 else weights / weights.sum()


@dataclass(frozen=True, slots=True)
class Streams:
    """Input streams of a session that a model can use: video and behaviour."""

    video: bool = True
    behavior: bool = True

    @classmethod
    def of(cls, session: Session, channels: int) -> "Streams":
        """Return the streams of a session for a model with `channels` of behaviour."""
        # The channel count is fixed by the weights, so other counts cannot be read.
        has_behavior = len(session.behavior_names) == channels
        return cls(session.stimulus is not None, has_behavior)

    def limit(self, mask: Mask) -> Mask:
        """Return the mask with missing streams hidden and not among the targets."""
        if not self.video and mask.frames.any():
            mask = mask.with_frames(False)
        if not self.behavior and mask.behavior != "hidden":
            mask = mask.with_behavior("hidden")
        return mask

    def has_targets(self, mask: Mask) -> bool:
        """Return True if a mask has targets in the available streams."""
        return bool(mask.target.any()) or (self.behavior and mask.has_behavior_target)


def official_tasks(streams: Streams) -> dict[str, float]:
    """Return weights of the official masks that have targets in the streams."""
    names = [f"{ALL_OFFICIAL}/{k}" for k in range(N_OFFICIAL_MASKS)]
    # Strategies scale with the number of neurons, so a small mask shows the same kinds
    # of targets as a full one.
    possible = [n for n in names if streams.has_targets(task_mask(n, SMALL))]
    if len(possible) == len(names):
        return {ALL_OFFICIAL: 1.0}
    return {name: find_strategy(name).weight for name in possible}


def task_mask(task: str, count: int) -> Mask:
    """Return the mask of a task over `count` positions of the neuron order."""
    make = EXTRA_TASKS.get(task)
    return make(count) if make else Mask.from_strategy(task, count)
