"""Which films of a session a store holds: each distinct one once, in one type."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.store.tables import digest_of
from omnimouse_model.errors import SessionFormatError


@dataclass(frozen=True, slots=True)
class DistinctFilms:
    """The frames of a session, each distinct film once.

    Attributes
    ----------
    trials
        Trials whose frames are stored, with how many.
    first
        First row of every trial; those that show the same share it, -1 has none.
    dtype, size
        One type that holds the frames of every trial exactly; the shape of a frame.
    """

    trials: list[tuple[int, int]]
    first: np.ndarray
    dtype: np.dtype[Any]
    size: tuple[int, ...]

    @property
    def count(self) -> int:
        """Frames in all."""
        return sum(count for _, count in self.trials)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one."""
        return int(np.prod(self.size, dtype=object)) * self.dtype.itemsize


def distinct_films(session: Session) -> DistinctFilms:
    """The distinct films of a session; they are looked through once.

    Raises
    ------
    SessionFormatError
        No one type holds the frames of all.
    """
    if "store_frames" not in session._cache:
        session._cache["store_frames"] = _looked_through(session)
    found: DistinctFilms = session._cache["store_frames"]
    return found


def _looked_through(session: Session) -> DistinctFilms:
    stimulus = session.stimulus
    if stimulus is None:
        return DistinctFilms([], np.zeros(0, np.int64), np.dtype(np.uint8), ())
    first = np.full(len(stimulus.trials), -1, np.int64)
    known: dict[str, int] = {}
    stored: list[tuple[int, int]] = []
    kinds: set[np.dtype[Any]] = set()
    row = 0
    for trial, count in enumerate(stimulus.trials.n_slots.tolist()):
        if not stimulus.film.has(trial) or not count:
            continue
        frames = stimulus.film.read(trial, 0, count, stimulus.size)
        kinds.add(frames.dtype.newbyteorder("="))
        key = f"{frames.dtype} {frames.shape} {digest_of(frames)}"
        if key not in known:
            known[key] = row
            stored.append((trial, count))
            row += count
        first[trial] = known[key]
    return DistinctFilms(stored, first, _one_type(session, kinds), stimulus.size)


def _one_type(session: Session, kinds: set[np.dtype[Any]]) -> np.dtype[Any]:
    if not kinds:
        return np.dtype(np.uint8)
    found = np.result_type(*kinds)
    wide = [k for k in kinds if k.kind in "iu" and k.itemsize == found.itemsize]
    if found.kind == "f" and wide:
        names = ", ".join(sorted(map(str, kinds)))
        raise unstorable(session, f"frames of {names}", "one type that holds them all")
    return found


def unstorable(session: Session, found: str, limit: str) -> SessionFormatError:
    """The error for what a store cannot hold."""
    return SessionFormatError(
        session.path,
        "not_storable",
        f"session '{session.id}' has {found}; a store holds {limit}",
        "convert these values first",
    )
