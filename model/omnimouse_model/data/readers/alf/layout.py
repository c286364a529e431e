"""Layout of ALF folders: sessions, probes, spike sorters, revisions and datasets.

`<session>/alf/<probe>/<sorter>/#<revision>#/<object>.<attribute>.<extension>`, where
sorter and revision can be absent. Names may begin with a namespace (`_ibl_`) and may
contain the identity of the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import bad_file, folders_in, is_folder, paths_in

DIRECT = "alf"
"""Name of the sorter whose files lie in the folder of the probe itself."""
SORTERS = ("iblsorter", "pykilosort")
"""Preferred sorters, best first."""
_DATASET = re.compile(r"(?:_[^_.]+_)?([A-Za-z]+\.[A-Za-z0-9_]+)(?:\.[0-9a-f-]{36})?\.(npy|pqt|csv)")
_REVISION = re.compile(r"#.+#")
_TASK = re.compile(r"task_\d+")
_NEEDED = ("spikes.times.npy", "spikes.clusters.npy")
_MAX_ENTRIES = 10_000
"""Entries of a folder that are looked at."""


@dataclass(frozen=True, slots=True)
class Sorting:
    """The spikes of one probe by one sorter.

    Attributes
    ----------
    probe, sorter
        Names of the probe and of the sorter.
    files
        Name of a dataset, such as `spikes.times.npy` -> its file.
    """

    probe: str
    sorter: str
    files: dict[str, Path]

    @property
    def is_complete(self) -> bool:
        """Whether there are both files of the spikes."""
        return all(name in self.files for name in _NEEDED)

    def path(self, name: str) -> Path:
        """Return the path of a required dataset."""
        if name in self.files:
            return self.files[name]
        folder = next(self.files[n] for n in _NEEDED if n in self.files).parent
        raise bad_file(
            folder / name,
            "missing_file",
            "is missing",
            "was the download complete?",
        )


def dataset_name(file: str) -> str:
    """Return `object.attribute.extension` of the name of a file, "" for other files."""
    match = _DATASET.fullmatch(file)
    return f"{match[1]}.{match[2]}" if match else ""


def has_spikes(root: Path) -> bool:
    """Return whether a folder holds a session of ALF files with spikes."""
    try:
        return any(True for _ in _sortings(root))
    except (OSError, SessionFormatError):
        return False


def choose_sortings(root: Path, sorter: str | None, notes: Notes) -> list[Sorting]:
    """Return the sorting of each probe that is read.

    Raises
    ------
    SessionFormatError
        No probe has spikes of the sorter.
    """
    by_probe: dict[str, dict[str, Sorting]] = {}
    for sorting in _sortings(root):
        by_probe.setdefault(sorting.probe, {})[sorting.sorter] = sorting
    if sorter is None:
        chosen = [min(own.values(), key=_rank) for own in by_probe.values()]
    else:
        chosen = [own[sorter] for own in by_probe.values() if sorter in own]
    if not chosen:
        names = ", ".join(sorters(root)) or "none"
        raise bad_file(
            root,
            "no_series",
            f"has no spikes of {sorter!r}; the sorters are {names}",
            "choose one of these as series",
        )
    others = [name for name in sorters(root) if name not in {s.sorter for s in chosen}]
    if others:
        used = ", ".join(dict.fromkeys(sorting.sorter for sorting in chosen))
        message = f"spikes are those of {used}; there are also {', '.join(others)}"
        notes.assume("series", f"{message} (series=…, or --series, chooses)")
    without = sorted(set(by_probe) - {sorting.probe for sorting in chosen})
    if without:
        message = f"{', '.join(without)} has no spikes of {sorter}, and is left out"
        notes.warn("left_out_probes", message)
    return chosen


def sorters(root: Path) -> dict[str, str]:
    """Return the sorters of a session, best first, and their probes."""
    found: dict[str, list[str]] = {}
    for sorting in _sortings(root):
        found.setdefault(sorting.sorter, []).append(sorting.probe)
    return {name: ", ".join(found[name]) for name in sorted(found, key=sorter_rank)}


def behavior_files(root: Path, name: str, notes: Notes) -> dict[str, Path]:
    """Return the datasets of an object of the behaviour, such as `trials`.

    They lie in the ALF folder, or in folders of tasks, of which the first is read.
    """
    alf = root / "alf"
    tasks = [folder for folder in _folders(alf) if _TASK.fullmatch(folder.name)]
    places = [(folder, _of_object(_datasets(folder), name)) for folder in (alf, *tasks)]
    places = [(folder, files) for folder, files in places if files]
    if len(places) > 1:
        others = ", ".join(folder.name for folder, _ in places[1:])
        message = f"{name} of {places[0][0].name} are read; there are also {others}"
        notes.assume("several_tasks", message)
    return places[0][1] if places else {}


def _of_object(files: dict[str, Path], name: str) -> dict[str, Path]:
    return {key: path for key, path in files.items() if key.startswith(f"{name}.")}


def mixed_revisions(sorting: Sorting) -> str:
    """Return a sentence about files of another revision than the spikes, "" if none."""
    own = {_revision(sorting.path(name)) for name in _NEEDED}
    others = {
        name: _revision(path)
        for name, path in sorting.files.items()
        if name.startswith(("clusters.", "channels."))
    }
    mixed = sorted(set(others.values()) - own)
    if not mixed and len(own) == 1:
        return ""
    return (
        f"{sorting.probe}: the latest revision of each file is read: spikes of "
        f"{' and '.join(sorted(own))}, tables of {', '.join(mixed or sorted(own))}"
    )


def _revision(path: Path) -> str:
    name = path.parent.name
    return name.strip("#") if _REVISION.fullmatch(name) else "no revision"


def _rank(sorting: Sorting) -> tuple[bool, tuple[int, str]]:
    return not sorting.is_complete, sorter_rank(sorting.sorter)


def sorter_rank(sorter: str) -> tuple[int, str]:
    """Return a key that sorts sorters, best first."""
    place = SORTERS.index(sorter) if sorter in SORTERS else len(SORTERS)
    return (place + (sorter == DIRECT), sorter)


def _sortings(root: Path) -> Iterator[Sorting]:
    """Yield all sortings of all probes, in the order of their names.

    One that lacks a file of the spikes is also yielded: its reading names the file.
    """
    alf, n_probes = root / "alf", 0
    for probe in _folders(alf):
        if _REVISION.fullmatch(probe.name) or _TASK.fullmatch(probe.name):
            continue
        for folder in (probe, *_folders(probe)):
            if _REVISION.fullmatch(folder.name):
                continue
            files = _datasets(folder)
            if any(name in files for name in _NEEDED):
                n_probes += 1
                sorter = DIRECT if folder is probe else folder.name
                yield Sorting(probe.name, sorter, files)
    # Before there were folders of probes. Beside them, these are the same spikes again.
    files = {} if n_probes else _datasets(alf)
    if any(name in files for name in _NEEDED):
        yield Sorting(alf.name, DIRECT, files)


def _datasets(folder: Path) -> dict[str, Path]:
    """Return the files of a collection by dataset, each of its latest revision."""
    revisions = [f for f in _folders(folder) if _REVISION.fullmatch(f.name)]
    found: dict[str, Path] = {}
    # Revisions are ordered by name: files of later ones replace those of earlier ones.
    for place in (folder, *revisions):
        for path in paths_in(place, _MAX_ENTRIES):
            name = dataset_name(path.name)
            if name and not is_folder(path):
                found[name] = path
    return found


def _folders(folder: Path) -> list[Path]:
    # Linked folders could lead outside, or never end.
    return folders_in(folder, _MAX_ENTRIES, follows=False)
