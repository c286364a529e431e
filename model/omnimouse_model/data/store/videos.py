"""Distinct videos of a session, which a store holds once each, in one type."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from omnimouse_model.data.lazy import cached
from omnimouse_model.data.session import Session
from omnimouse_model.data.store.tables import digest_of
from omnimouse_model.errors import SessionFormatError


@dataclass(frozen=True, slots=True)
class DistinctVideos:
    """Distinct videos of a session.

    Attributes
    ----------
    trials
        Trials whose frames are stored, with their number of frames.
    first
        First row of every trial; trials with equal videos share it; -1 without frames.
    dtype, size
        Type that holds the frames of every trial exactly, and the shape of a frame.
    """

    trials: list[tuple[int, int]]
    first: np.ndarray
    dtype: np.dtype[Any]
    size: tuple[int, ...]

    @property
    def count(self) -> int:
        """Total number of stored frames."""
        return sum(count for _, count in self.trials)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return int(np.prod(self.size, dtype=object)) * self.dtype.itemsize


def distinct_videos(session: Session) -> DistinctVideos:
    """Return the distinct videos of a session; they are read once and cached.

    Raises
    ------
    SessionFormatError
        No single type holds the frames of all trials exactly.
    """
    # All videos must be read to compare them, which takes long; a conversion needs the
    # result several times.
    return cached(session, "store_frames", partial(_compare_all, session))


def _compare_all(session: Session) -> DistinctVideos:
    stimulus = session.stimulus
    if stimulus is None:
        return DistinctVideos([], np.zeros(0, np.int64), np.dtype(np.uint8), ())
    first = np.full(len(stimulus.trials), -1, np.int64)
    row_of: dict[str, int] = {}
    stored: list[tuple[int, int]] = []
    kinds: set[np.dtype[Any]] = set()
    row = 0
    for trial, count in enumerate(stimulus.trials.n_slots.tolist()):
        if not stimulus.source.has(trial) or not count:
            continue
        frames = stimulus.trial_frames(trial, 0, count)
        kinds.add(frames.dtype.newbyteorder("="))
        # By contents and not by stimulus id, which a session need not have or may use
        # for videos that differ.
        key = f"{frames.dtype} {frames.shape} {digest_of(frames)}"
        if key not in row_of:
            row_of[key] = row
            stored.append((trial, count))
            row += count
        first[trial] = row_of[key]
    return DistinctVideos(stored, first, _one_type(session, kinds), stimulus.size)


def _one_type(session: Session, kinds: set[np.dtype[Any]]) -> np.dtype[Any]:
    if not kinds:
        return np.dtype(np.uint8)
    common = np.result_type(*kinds)
    # A float has fewer digits than an integer of the same size: int64 with float64
    # gives float64, which does not hold large integers exactly.
    wide = [k for k in kinds if k.kind in "iu" and k.itemsize == common.itemsize]
    if common.kind == "f" and wide:
        names = ", ".join(sorted(map(str, kinds)))
        raise unstorable(session, f"frames of {names}", "one type that holds them all")
    return common


def unstorable(session: Session, content: str, limit: str) -> SessionFormatError:
    """Return the error for values that a store cannot hold."""
    return SessionFormatError(
        session.path,
        "not_storable",
        f"session '{session.id}' has {content}; a store holds {limit}",
        "convert these values first",
    )
