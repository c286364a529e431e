"""A folder of many sessions as a table; one that is broken is a row, not the end."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, overload

import numpy as np

from omnimouse_model.data.formats import is_recording
from omnimouse_model.data.open import is_session, open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError

_DEEPEST = 3
_NAMES, _GLANCE = 200, 32
"""Names of a folder that a glance takes in, and how many it looks at: each costs up to
0.1 ms."""
_UNFINISHED = ".zarr.part"
_FILES = (".nwb", ".npz", ".h5")
"""Files that should be recordings: one that cannot be read is told, not left out."""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One session of a catalogue.

    Attributes
    ----------
    path, id, animal_id, format, neurons
        Where and what it is; "" and 0 where it could not be read.
    areas
        Neurons by area; empty where the session does not say.
    minutes, shown
        Minutes by tier, and by kind of stimulus.
    behavior
        Names of the channels there are.
    problems
        Why it could not be read, else its warnings.
    is_read
        Whether it could be read.
    length
        Minutes of responses.
    """

    path: Path
    id: str = ""
    animal_id: str = ""
    format: str = ""
    neurons: int = 0
    areas: Mapping[str, int] = field(default_factory=dict)
    minutes: Mapping[str, float] = field(default_factory=dict)
    shown: Mapping[str, float] = field(default_factory=dict)
    behavior: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    is_read: bool = True
    length: float = 0.0

    @property
    def total_minutes(self) -> float:
        """Minutes of all tiers; of all responses where there are no tiers."""
        return sum(self.minutes.values()) or self.length


COLUMNS: dict[str, Callable[[Entry], Any]] = {
    "path": lambda entry: str(entry.path),
    "id": lambda entry: entry.id,
    "animal": lambda entry: entry.animal_id,
    "format": lambda entry: entry.format,
    "neurons": lambda entry: entry.neurons,
    "minutes": lambda entry: entry.total_minutes,
    "problems": lambda entry: len(entry.problems),
}
"""By what a catalogue can be sorted."""


@dataclass(frozen=True, slots=True, repr=False)
class Catalogue(Sequence[Entry]):
    """Sessions of a folder, by path.

    Examples
    --------
    >>> found = om.catalogue(session.path.parent)
    >>> len(found), found[0].format, found[0].areas["V1"]
    (1, 'experanto', 21)
    """

    folder: Path
    entries: tuple[Entry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        sound = [entry for entry in self.entries if entry.is_read]
        neurons = sum(entry.neurons for entry in sound)
        minutes = sum(entry.total_minutes for entry in sound)
        broken = len(self.entries) - len(sound)
        more = f"; {broken} cannot be read" if broken else ""
        return (
            f"Catalogue of {self.folder}: {len(sound)} sessions, {neurons:,} neurons, "
            f"{minutes:.1f} min{more}"
        )

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Entry, ...]: ...

    def __getitem__(self, index: int | slice) -> Entry | tuple[Entry, ...]:
        return self.entries[index]

    def sorted_by(self, column: str) -> "Catalogue":
        """The same by a column; numbers fall, texts rise.

        Raises
        ------
        ValueError
            No such column.

        Examples
        --------
        >>> om.catalogue(session.path.parent).sorted_by("neurons")[0].neurons
        40
        """
        if column not in COLUMNS:
            raise ValueError(
                f"A catalogue has no column {column!r}; it has {', '.join(COLUMNS)}."
            )
        key = COLUMNS[column]
        falls = bool(self.entries) and not isinstance(key(self.entries[0]), str)
        ordered = sorted(self.entries, key=key, reverse=falls)
        return Catalogue(self.folder, tuple(ordered))

    def nested(
        self,
        sizes: Sequence[int],
        seed: int,
        *,
        always: Sequence[str] = (),
        worth: Mapping[str, float] | None = None,
    ) -> list[tuple[Entry, ...]]:
        """Collections of so many sessions; a larger one contains the smaller ones.

        The same seed draws the same order, whatever the sizes. Sessions that cannot be
        read are left out.

        Parameters
        ----------
        always
            Ids of sessions that come first, hence into every collection: those that
            models are evaluated on.
        worth
            The others come in falling order of this instead of drawn (negate it for
            the worst first); equals, and those without, as drawn.

        Raises
        ------
        ValueError
            A size is larger than there are sessions, or does not hold `always`.

        Examples
        --------
        >>> none, one = om.catalogue(session.path.parent).nested([0, 1], seed=0)
        >>> len(none), [entry.id for entry in one]
        (0, ['90009-1-1'])
        """
        sound = [entry for entry in self.entries if entry.is_read]
        if sizes and not 0 <= min(sizes) <= max(sizes) <= len(sound):
            raise ValueError(
                f"There are {len(sound)} sessions that can be read; sizes are "
                f"{', '.join(map(str, sizes))}."
            )
        missing = set(always) - {entry.id for entry in sound}
        if missing:
            raise ValueError(f"No session {', '.join(sorted(missing))} can be read.")
        if sizes and min(sizes) < len(always):
            raise ValueError(
                f"A collection of {min(sizes)} sessions cannot hold the {len(always)} "
                "that are in every one."
            )
        drawn = np.random.default_rng(seed).permutation(len(sound))
        order = [sound[i] for i in drawn]
        if worth is not None:
            known = {entry.id: worth.get(entry.id, -np.inf) for entry in order}
            order.sort(key=lambda entry: -known[entry.id])  # stable: equals as drawn
        order.sort(key=lambda entry: entry.id not in always)
        return [tuple(order[:size]) for size in sizes]


def catalogue(
    folder: str | Path, progress: Progress | None = None, **reading: Any
) -> Catalogue:
    """Describe every session in a folder and three levels below; reads nothing big.

    Parameters
    ----------
    progress
        Told how many of how many are done, and the name of the next; while folders
        are looked through, 0 of 0 and the folder's. What it raises ends the work.
    **reading
        What the files do not say, of all of them; see `open_session`.

    Raises
    ------
    NotADirectoryError
        There is no such folder.

    Examples
    --------
    >>> found = om.catalogue(session.path.parent)
    >>> [(entry.id, entry.neurons) for entry in found]
    [('90009-1-1', 40)]
    """
    root = Path(folder).expanduser().absolute()
    return Catalogue(root, tuple(entries_of(root, progress, **reading)))


def catalogue_of(places: Sequence[Path], **reading: Any) -> Catalogue:
    """Describe these sessions, in their order, wherever they are; see `catalogue`."""
    found = tuple(_entry(Path(place), reading) for place in places)
    return Catalogue(Path(os.path.commonpath([e.path.parent for e in found])), found)


def entries_of(
    folder: Path, progress: Progress | None = None, **reading: Any
) -> Iterator[Entry]:
    """The same one by one, as they are read; see `catalogue`."""
    tell = progress or (lambda done, total, name: None)
    if folder.is_file():
        raise NotADirectoryError(
            f"{folder} is a file, not a folder of recordings: open_session reads one "
            "recording."
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder.")
    places = sorted(_places(folder, _DEEPEST, lambda inner: tell(0, 0, inner.name)))
    for done, place in enumerate(places):
        tell(done, len(places), place.name)
        yield _entry(place, reading)


def holds_sessions(folder: str | Path) -> bool:
    """Whether a folder that is not one session holds some; a glance at a few names.

    Of up to 32: folders first, then files, then what is in the folders.
    """
    root = Path(folder)
    if not root.is_dir() or is_session(root):
        return False
    names = list(islice(_inner(root), _NAMES))
    folders = [path for path in names if path.is_dir()]
    files = (path for path in names if not path.is_dir())
    inner = chain.from_iterable(map(_inner, folders))
    return any(map(is_recording, islice(chain(folders, files, inner), _GLANCE)))


def names_in(folder: str | Path) -> list[str]:
    """Sessions in a folder and three levels below, by their paths in it."""
    root = Path(folder)
    found = sorted(_places(root, _DEEPEST, lambda inner: None))
    ready = (path for path in found if not path.name.endswith(_UNFINISHED))
    return [str(path.relative_to(root)) for path in ready]


def _inner(folder: Path) -> Iterator[Path]:
    """What a folder holds, nothing where it cannot be read."""
    try:
        for path in folder.iterdir():
            if not path.name.startswith("."):
                yield path
    except OSError:
        return


def _places(folder: Path, depth: int, enter: Callable[[Path], None]) -> Iterator[Path]:
    """Sessions in a folder; nothing inside a session is looked at."""
    enter(folder)
    for path in list(_inner(folder)):
        if (
            path.name.endswith(_UNFINISHED)
            or _is_place(path)
            or (path.suffix.lower() in _FILES and path.is_file())
        ):
            yield path
        elif depth > 1 and path.is_dir() and not path.is_symlink():
            yield from _places(path, depth - 1, enter)


def _is_place(path: Path) -> bool:
    try:
        return is_recording(path)
    except Exception:  # it is told in its row, and is not the end of all others
        return True


def _entry(path: Path, reading: Mapping[str, Any]) -> Entry:
    if path.name.endswith(_UNFINISHED):
        return Entry(path, problems=("unfinished: convert again",), is_read=False)
    try:
        return _described(open_session(path, **reading), path)
    except SessionFormatError as error:
        told = str(error)
    except Exception as error:  # one that breaks a reader leaves the others
        told = f"{path.name} cannot be read: {type(error).__name__}: {error}"
    return Entry(path, problems=(told,), is_read=False)


def _described(session: Session, path: Path) -> Entry:
    areas = session.units.area
    return Entry(
        path=path,
        id=session.id,
        animal_id=session.animal_id or "",
        format=session.format,
        neurons=session.n_neurons,
        areas={} if areas is None else dict(Counter(areas.tolist())),
        minutes=session.tiers(),
        shown=_shown(session),
        behavior=session.behavior_names,
        problems=tuple(note.message for note in session.warnings),
        length=session.duration_s / 60.0,
    )


def _shown(session: Session) -> dict[str, float]:
    """Minutes of every kind of trial."""
    minutes: dict[str, float] = {}
    length = np.maximum(session.trials.t_off - session.trials.t_on, 0.0) / 60.0
    for kind, spent in zip(session.trials.kind.tolist(), length.tolist(), strict=True):
        minutes[kind] = minutes.get(kind, 0.0) + spent
    return minutes
