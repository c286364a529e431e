"""Several sessions: a folder of them as a table, and the neurons that two share.

An unreadable session is a row of the table.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, overload

import numpy as np

from omnimouse_model.data.open import is_recording, is_session, open_session
from omnimouse_model.data.session import Session
from omnimouse_model.display import HasSummary, printable
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.progress import QUIET, Job, advance, shows_progress
from omnimouse_model.storage.files import expanded, is_file, is_folder, is_link, paths_in

_DEEPEST = 3
# Names that `holds_sessions` lists, and paths that it examines (up to 0.1 ms each): it
# runs while the user chooses a folder.
_NAMES, _EXAMINED = 200, 32
_UNFINISHED = ".zarr.part"
_ENDINGS = (".nwb", ".npz", ".h5")
"""Files that should be recordings: an unreadable one gets a row with its problem."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One session of a catalogue.

    Attributes
    ----------
    path, id, animal_id, format, neurons
        Place and identity; "" and 0 for an unreadable session.
    areas
        Neurons by area; empty if the session does not state areas.
    minutes, stimulus_minutes
        Minutes by tier, and by kind of stimulus.
    behavior
        Names of the channels.
    problems
        The error of an unreadable session, or warnings.
    is_read
        Whether the session could be read.
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
    stimulus_minutes: Mapping[str, float] = field(default_factory=dict)
    behavior: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    is_read: bool = True
    length: float = 0.0

    @property
    def total_minutes(self) -> float:
        """Minutes of all tiers; of all responses if there are no tiers."""
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
"""Columns by which a catalogue can be sorted."""


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
            f"Catalogue of {printable(str(self.folder))}: {len(sound)} sessions, "
            f"{neurons:,} neurons, {minutes:.1f} min{more}"
        )

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Entry, ...]: ...

    def __getitem__(self, index: int | slice) -> Entry | tuple[Entry, ...]:
        return self.entries[index]

    def sorted_by(self, column: str) -> "Catalogue":
        """Return the catalogue sorted by a column: numbers fall, texts rise.

        Raises
        ------
        ValueError
            There is no such column.

        Examples
        --------
        >>> om.catalogue(session.path.parent).sorted_by("neurons")[0].neurons
        40
        """
        if column not in COLUMNS:
            raise ValueError(f"A catalogue has no column {column!r}; it has {', '.join(COLUMNS)}.")
        key = COLUMNS[column]
        # Recordings with most neurons or minutes are of most interest.
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
        """Return collections of sessions; a larger one contains the smaller ones.

        A seed determines the order, whatever the sizes. Unreadable sessions are left
        out.

        Parameters
        ----------
        sizes
            Number of sessions of each collection.
        always
            Ids of sessions that are in every collection: those on which models are
            evaluated.
        worth
            Value of sessions by id: the others come in falling order of it instead of
            a random one. Ties, and sessions without a value, are in random order.

        Raises
        ------
        ValueError
            A size is larger than the number of sessions, or smaller than that of
            `always`.

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
        permutation = np.random.default_rng(seed).permutation(len(sound))
        order = [sound[i] for i in permutation]
        # Sorting is stable: ties stay in random order.
        if worth is not None:
            order.sort(key=lambda entry: -worth.get(entry.id, -np.inf))
        order.sort(key=lambda entry: entry.id not in always)
        return [tuple(order[:size]) for size in sizes]


@shows_progress
def catalogue(folder: str | Path, job: Job = QUIET, **reading: Any) -> Catalogue:
    """Describe every session in a folder and three levels below; reads no large data.

    Examples
    --------
    >>> found = om.catalogue(session.path.parent)
    >>> [(entry.id, entry.neurons) for entry in found]
    [('90009-1-1', 40)]

    Parameters
    ----------
    job
        Progress and stop request; see `progress.Job`.
    **reading
        Reading options of all sessions; see `open_session`.

    Raises
    ------
    NotADirectoryError
        There is no such folder.
    """
    root = expanded(folder).absolute()
    return Catalogue(root, tuple(entries_of(root, job, **reading)))


def catalogue_of(places: Sequence[Path], **reading: Any) -> Catalogue:
    """Describe these sessions, in this order, in any folders; see `catalogue`."""
    entries = tuple(_entry(Path(place), reading) for place in places)
    folder = os.path.commonpath([entry.path.parent for entry in entries])
    return Catalogue(Path(folder), entries)


def entries_of(folder: Path, job: Job = QUIET, **reading: Any) -> Iterator[Entry]:
    """Yield the entries of a folder as they are read; see `catalogue`."""
    if is_file(folder):
        raise NotADirectoryError(
            f"{folder} is a file, not a folder of recordings: open_session reads one recording."
        )
    if not is_folder(folder):
        raise NotADirectoryError(f"{folder} is no folder.")
    places = sorted(_places(folder, _DEEPEST, lambda inner: advance(job, 0, 0, inner.name)))
    for done, place in enumerate(places):
        advance(job, done, len(places), place.name)
        yield _entry(place, reading)


def holds_sessions(folder: str | Path) -> bool:
    """Whether a folder contains sessions and is not one itself.

    At most 32 paths are examined: folders, then files, then the contents of folders.
    """
    root = Path(folder)
    if not is_folder(root) or is_session(root):
        return False
    names = list(islice(_inner(root), _NAMES))
    folders = [path for path in names if is_folder(path)]
    files = (path for path in names if not is_folder(path))
    inner = chain.from_iterable(map(_inner, folders))
    return any(map(is_recording, islice(chain(folders, files, inner), _EXAMINED)))


def names_in(folder: str | Path) -> list[str]:
    """Relative paths of the sessions in a folder and three levels below."""
    root = Path(folder)
    places = sorted(_places(root, _DEEPEST, lambda inner: None))
    complete = (path for path in places if not path.name.endswith(_UNFINISHED))
    return [str(path.relative_to(root)) for path in complete]


def _inner(folder: Path) -> Iterator[Path]:
    """Yield the visible contents of a folder; nothing if it cannot be read."""
    with suppress(SessionFormatError):
        yield from (path for path in paths_in(folder) if not path.name.startswith("."))


def _places(folder: Path, depth: int, enter: Callable[[Path], None]) -> Iterator[Path]:
    """Yield the sessions in a folder; the contents of a session are not searched."""
    enter(folder)
    for path in _inner(folder):
        if (
            path.name.endswith(_UNFINISHED)
            or _is_place(path)
            or (path.suffix.lower() in _ENDINGS and is_file(path))
        ):
            yield path
        # A link to a parent folder would never end.
        elif depth > 1 and is_folder(path) and not is_link(path):
            yield from _places(path, depth - 1, enter)


def _is_place(path: Path) -> bool:
    try:
        return is_recording(path)
    except Exception:  # its row will state the error; the search goes on
        return True


def _entry(path: Path, reading: Mapping[str, Any]) -> Entry:
    if path.name.endswith(_UNFINISHED):
        return Entry(path, problems=("unfinished: convert again",), is_read=False)
    try:
        return _describe(open_session(path, **reading), path)
    except SessionFormatError as error:
        problem = str(error)
    except Exception as error:  # one unreadable session must not end the list
        problem = f"{path.name} cannot be read: {type(error).__name__}: {error}"
    return Entry(path, problems=(problem,), is_read=False)


def _describe(session: Session, path: Path) -> Entry:
    areas = filter(None, session.units.region_of)
    return Entry(
        path=path,
        id=session.id,
        animal_id=session.animal_id or "",
        format=session.format,
        neurons=session.n_neurons,
        areas=dict(Counter(areas)),
        minutes=session.tiers(),
        stimulus_minutes=_stimulus_minutes(session),
        behavior=session.behavior_names,
        problems=tuple(note.message for note in session.warnings),
        length=session.recorded_s / 60.0,
    )


def _stimulus_minutes(session: Session) -> dict[str, float]:
    """Minutes of every kind of trial."""
    minutes: dict[str, float] = {}
    length = np.maximum(session.trials.t_off - session.trials.t_on, 0.0) / 60.0
    for kind, value in zip(session.trials.kind.tolist(), length.tolist(), strict=True):
        minutes[kind] = minutes.get(kind, 0.0) + value
    return minutes


# -- rows as texts, for terminals and screens
EMPTY = "–"
_LONGEST_PROBLEM = 60
# Shorter times would be displayed as 0.0.
_MIN_MINUTES = 0.05


def row_text(entry: Entry, folder: Path) -> dict[str, str]:
    """Return the cells of a session's row by title; paths are relative to `folder`."""
    # The channels of the pupil are listed as one.
    channels = dict.fromkeys(name.partition("_")[0] for name in entry.behavior)
    return {
        "path": str(entry.path.relative_to(folder)),
        "animal": entry.animal_id or EMPTY,
        "format": entry.format or EMPTY,
        "neurons": f"{entry.neurons:,}" if entry.neurons else EMPTY,
        "areas": ", ".join(entry.areas) or EMPTY,
        "minutes": f"{entry.total_minutes:.1f}" if entry.is_read else EMPTY,
        "by part": _minutes(entry.minutes),
        "by stimulus": _minutes(entry.stimulus_minutes),
        "behaviour": ", ".join(channels) or EMPTY,
        "problems": _problems(entry),
    }


def count_text(entries: Sequence[Entry]) -> str:
    """Return how many sessions can be read, have problems, or cannot be read."""
    read = [entry for entry in entries if entry.is_read]
    warned, broken = sum(bool(e.problems) for e in read), len(entries) - len(read)
    parts = [f"{len(read)} session{'' if len(read) == 1 else 's'}"]
    if warned:
        parts.append(f"{warned} with problems")
    if broken:
        parts.append(f"{broken} more cannot be read")
    return ", ".join(parts)


def _minutes(minutes: Mapping[str, float]) -> str:
    """List minutes by name, the longest first."""
    falling = sorted(minutes.items(), key=lambda item: -item[1])
    listed = [f"{name} {m:.1f}" for name, m in falling if m >= _MIN_MINUTES]
    return ", ".join(listed) or EMPTY


def _problems(entry: Entry) -> str:
    """Return the beginning of the first problem, and the number of the others."""
    if not entry.problems:
        return EMPTY
    # The row begins with the path, which need not be repeated.
    first = entry.problems[0].removeprefix(f"{entry.path} ")
    first = first.replace(str(entry.path), entry.path.name)
    first = first.removeprefix(f"{entry.path.name}: ")
    if len(first) > _LONGEST_PROBLEM:
        first = f"{first[:_LONGEST_PROBLEM]}…"
    return f"{first} (+{len(entry.problems) - 1})" if entry.problems[1:] else first


# -- neurons that two recordings share, by ids of their unit tables -------------------
UNIT_ID = "unit_id"
_SHARED_IDS = ("cell_specimen_id",)
"""Columns that exist to name a cell in several recordings."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NeuronMatch(HasSummary):
    """Neurons of two recordings that have the same id.

    Attributes
    ----------
    sessions
        Names of both recordings.
    first, second
        int64 (n,) indices of the same neurons in the first and the second recording, in
        the order of the first.
    ids
        int64 or str (n,) their ids.
    by
        Column with the ids: "unit_id", or a property of the neurons.
    n_left_out
        Neurons of both that have no id, or one that occurs twice in their recording.
    """

    sessions: tuple[str, str]
    first: np.ndarray
    second: np.ndarray
    ids: np.ndarray
    by: str
    n_left_out: int = 0

    def __len__(self) -> int:
        return len(self.first)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the match as a table: ids, and indices in both recordings."""
        return {self.by: self.ids, "neuron_first": self.first, "neuron_second": self.second}

    def _facts(self) -> Mapping[str, str]:
        left_out = {"left out": f"{self.n_left_out:,}"} if self.n_left_out else {}
        names = " and ".join(self.sessions)
        return {"neurons": f"{len(self):,}", "of": names, "by": self.by, **left_out}


def match_neurons(a: Session, b: Session, by: str | None = None) -> NeuronMatch:
    """Return the neurons that two recordings of one animal share.

    Examples
    --------
    >>> ids = {"unit_ids": np.array([11, 12, 15])}
    >>> first = om.open_session({"responses": np.ones((600, 3)), "rate_hz": 30.0, **ids})
    >>> ids = {"unit_ids": np.array([15, 20, 11])}
    >>> second = om.open_session({"responses": np.ones((600, 3)), "rate_hz": 30.0, **ids})
    >>> om.match_neurons(first, second).second
    array([2, 0])

    Parameters
    ----------
    by
        "unit_id", or a column of the unit tables (`session.units.properties`). By
        default `cell_specimen_id`, otherwise `unit_id`.

    Raises
    ------
    ValueError
        The recordings are of two animals, an id is missing, ids only number the rows, or
        no id is shared.
    """
    animals = {one.animal_id for one in (a, b) if one.animal_id is not None}
    if len(animals) > 1:
        raise ValueError(
            f"{a.id!r} and {b.id!r} are of two animals ({', '.join(sorted(animals))}): "
            "they share no neuron."
        )
    names = [*_SHARED_IDS, UNIT_ID] if by is None else [by]
    found = next((name for name in names if _has(a, name) and _has(b, name)), None)
    if found is None:
        columns = sorted(set(a.units.properties) & set(b.units.properties))
        common = ", ".join([UNIT_ID, *columns])
        raise ValueError(f"{a.id!r} and {b.id!r} have no column {by!r} in common; {common}.")
    first, second = _ids(a, found), _ids(b, found)
    if first.dtype.kind != second.dtype.kind:
        kinds = f"{first.dtype} and {second.dtype}"
        raise ValueError(f"{found} of {a.id!r} and {b.id!r} has two types: {kinds}.")
    if by is None and _is_numbering(first) and _is_numbering(second):
        raise ValueError(
            f"{found} of {a.id!r} and {b.id!r} numbers the rows, which names no neuron of another "
            'recording: name a column of ids, or by="unit_id" if rows are the same neurons.'
        )
    rows, others = _unique_rows(first), _unique_rows(second)
    ids, at, place = np.intersect1d(first[rows], second[others], return_indices=True)
    if not len(ids):
        raise ValueError(f"{a.id!r} and {b.id!r} share no {found}.")
    order = np.argsort(rows[at])
    n_left_out = len(first) - len(rows) + len(second) - len(others)
    indices = (rows[at][order], others[place][order])
    return NeuronMatch((a.id, b.id), *indices, ids[order], found, n_left_out)


def join_neurons(a: Session, b: Session, by: str | None = None) -> Session:
    """Return `a` with a column of the same neurons in `b`; see `match_neurons`.

    Examples
    --------
    >>> ids = {"unit_ids": np.array([11, 12, 15])}
    >>> first = om.open_session({"responses": np.ones((600, 3)), "rate_hz": 30.0, **ids})
    >>> cells = {"unit_ids": np.array([15, 20, 11]), "id": "day2"}
    >>> second = om.open_session({"responses": np.ones((600, 3)), "rate_hz": 30.0, **cells})
    >>> om.join_neurons(first, second).units.properties["in_day2"]
    array([11., nan, 15.])

    Notes
    -----
    The table of neurons shows, filters and exports the column `in_B`: the id that a neuron
    has on screen in the recording B, NaN if it is not there.
    """
    match = match_neurons(a, b, by)
    names = np.full(a.n_neurons, np.nan)
    names[match.first] = b.units.names[match.second]
    # Filters are written in small letters, with spaces between their terms.
    column = "in_" + re.sub(r"[^\w.-]", "_", b.id).lower()
    return replace(a, units=replace(a.units, properties={**a.units.properties, column: names}))


def _has(session: Session, name: str) -> bool:
    values = session.units.properties.get(name)
    return name == UNIT_ID or (values is not None and values.ndim == 1)


def _ids(session: Session, name: str) -> np.ndarray:
    """Return ids as whole numbers, -1 where missing, or as texts."""
    values = np.asarray(
        session.units.unit_id if name == UNIT_ID else session.units.properties[name]
    )
    if values.dtype.kind == "f":
        known = values[np.isfinite(values)]
        if (known != np.round(known)).any():
            raise ValueError(f"{name} of {session.id!r} is no id: it holds {known[0]:g}.")
        values = np.where(np.isfinite(values), values, -1)
    return values.astype(np.int64) if values.dtype.kind in "iufb" else values.astype(np.str_)


def _is_numbering(ids: np.ndarray) -> bool:
    """Return whether ids are those of rows, from 0 or 1."""
    if ids.dtype.kind != "i" or not len(ids):
        return False
    return bool(np.array_equal(ids - ids[0], np.arange(len(ids))) and ids[0] in (0, 1))


def _unique_rows(ids: np.ndarray) -> np.ndarray:
    """Return the rows whose id no other row has, without those that have none."""
    _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    is_known = ids >= 0 if ids.dtype.kind == "i" else ids != ""
    return np.flatnonzero((counts[inverse.reshape(-1)] == 1) & is_known)
