"""Protocols of changes of a window's video or behaviour.

A reader returns the values at positions. A position is a frame or a behaviour sample
of the window's spec, counted from the window's first; positions before the window and
after its end are read from the recording too. An edit makes one reader of another, so
that edits follow each other in any order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

Read = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From ascending positions, int64 (n,), to values (n, …) and bool (n,) validity."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of behaviour, with the statistics of its z-scores."""

    name: str
    mean: float
    std: float


@runtime_checkable
class VideoEdit(Protocol):
    """Changes gray frames, 0-255, before they are normalised."""

    def on_video(self, read: Read, clip_at: Callable[[float], Read]) -> Read:
        """Return a reader of edited frames.

        Parameters
        ----------
        read
            Reader of the frames before this edit.
        clip_at
            From the start of another window, in seconds, to a reader of its frames.
        """
        ...


@runtime_checkable
class BehaviorEdit(Protocol):
    """Changes z-scored behaviour, a stream of channels at a time."""

    def on_behavior(self, read: Read, channels: Sequence[Channel]) -> Read:
        """Return a reader of edited behaviour (n, channel)."""
        ...


Edit = VideoEdit | BehaviorEdit
