"""What may change a window's video or behaviour, as readers of positions in it.

A position is a frame (30 Hz) or a behaviour sample (20 Hz) counted from the window's
first; those before it and after its end are read from the recording too. An edit
makes one reader of another, so that edits follow each other in any order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

Read = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From ascending positions, int64 (n,), to values (n, …) and bool (n,) validity."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of behaviour, and how it is z-scored."""

    name: str
    mean: float
    std: float


@runtime_checkable
class VideoEdit(Protocol):
    """Changes gray frames, 0-255, before they are normalised."""

    def on_video(self, shown: Read, clip_at: Callable[[float], Read]) -> Read:
        """Read edited frames; `clip_at(start_s)` reads those of another window."""
        ...


@runtime_checkable
class BehaviorEdit(Protocol):
    """Changes z-scored behaviour, a stream of channels at a time."""

    def on_behavior(self, told: Read, channels: Sequence[Channel]) -> Read:
        """Read edited behaviour (n, channel)."""
        ...


Edit = VideoEdit | BehaviorEdit
