"""Opening of a session: the first reader that recognises the path reads it.

A recording of the model hub is downloaded once; archives are unpacked.

The file is long because every way in which a recording can be named is answered in it.
"""

import copyreg
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache, partial
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from omnimouse_model.data.hub.exchange import hub_place
from omnimouse_model.data.hub.fetch import Listing, fetch_place, list_files, require_place
from omnimouse_model.data.hub.servers import dandi_file, fetch_ibl_session, ibl_session_name
from omnimouse_model.data.readers.build.notes import OPTION_NOTES, ReadOptions
from omnimouse_model.data.recording import Note
from omnimouse_model.data.session import Session
from omnimouse_model.errors import UNEXPECTED, FetchError, SessionFormatError, StoppedError
from omnimouse_model.progress import QUIET, Job
from omnimouse_model.storage import files
from omnimouse_model.storage.archives import is_archive, unpack
from omnimouse_model.storage.arrays.hdf5 import SIGNATURE
from omnimouse_model.storage.web import RemoteFile, display_address, web_address
from omnimouse_model.storage.write import put_in_place

_BESIDE_NWB = 64
"""Entries of a folder that are examined for other recordings than its NWB file."""
# Users also choose a part of an experanto or ALF folder.
_PARTS = ("meta.json", "responses", "screen", "eye_tracker", "treadmill", "alf")


@cache
def readers() -> dict[str, Any]:
    """Return the reader of each format; the first one that recognises a path reads it."""
    # Imported with the first recording, which a window opens after it is shown.
    from omnimouse_model.data import store
    from omnimouse_model.data.readers import (
        alf,
        arrays,
        experanto,
        roi,
        sensorium,
        suite2p,
        trial_tree,
    )
    from omnimouse_model.data.readers.nwb import reader as nwb

    return {
        "experanto": experanto,
        "sensorium": sensorium,
        "suite2p": suite2p,
        "roi": roi,
        "nwb": nwb,
        "arrays": arrays,
        "alf": alf,
        "trial-tree": trial_tree,
        "store": store,
    }


def session_folder(path: Path) -> Path:
    """Return the folder of a session from that folder, a folder around it, or a part.

    A folder with one NWB file and no other recording is that file.

    Raises
    ------
    SessionFormatError
        There is nothing at the path, or it cannot be read.
    """
    path = _existing(path)
    if path.name in _PARTS and is_recording(path.parent):
        return path.parent
    if not files.is_folder(path) or is_recording(path):
        return path
    entries, inner, found = files.paths_in(path), files.folders_in(path), nwb_files(path)
    if len(inner) == 1 and is_recording(inner[0]):
        return inner[0]
    if len(found) != 1:
        return path
    if not any(is_recording(entry) for entry in entries[:_BESIDE_NWB] if entry not in found):
        return session_folder(found[0])
    return path


def _existing(path: str | Path) -> Path:
    """Return a whole local path, at which something is."""
    path = files.expanded(path).absolute()
    if files.is_there(path):
        return path
    if files.is_link(path):
        raise files.missing(path)
    raise SessionFormatError(path, "missing_file", f"{path} does not exist", "check the path")


def nwb_files(folder: Path) -> list[Path]:
    """Return the NWB files of a folder by their names, sorted."""
    # macOS stores attributes of a file beside it, in one that begins with "._".
    named = (path for path in files.paths_in(folder) if fnmatch(path.name.lower(), "[!.]*.nwb"))
    return [path for path in named if not files.is_folder(path)]


def is_recording(path: Path) -> bool:
    """Return whether a reader recognises a folder or file itself; not if it cannot be read."""
    with suppress(OSError, SessionFormatError):
        return _reader_of(path) is not None
    return False


def _reader_of(path: Path) -> str | None:
    """Return the name of the first reader that recognises a path.

    What cannot be read raises: a later reader would take it for something else. What one
    reader finds damaged raises if no other one knows it.
    """
    damage: SessionFormatError | None = None
    for name, reader in readers().items():
        try:
            if reader.recognises(path):
                return name
        except SessionFormatError as error:
            damage = damage or error
    if damage is not None:
        raise damage
    return None


logger = logging.getLogger(__name__)

_NPY, _MATLAB = b"\x93NUMPY", b"MATLAB "
_SUITE2P = ("F.npy", "Fneu.npy", "spks.npy", "stat.npy", "ops.npy", "iscell.npy")
# Sessions that this process opened for pickled windows: an LRU cache.
_CACHED = 8
_reopened: OrderedDict[tuple[str, str, str], Session] = OrderedDict()
_lock = Lock()


def open_session(
    path: str | Path | Mapping[str, Any],
    *,
    behavior_names: Mapping[str, Sequence[str]] | None = None,
    rate_hz: float | None = None,
    recording_rate_hz: float | None = None,
    series: str | None = None,
    cells_only: bool = True,
    unit_tables: str | Path | None = None,
    quality: float | str | None = None,
    min_rate_hz: float | None = None,
    min_presence: float | None = None,
    trial_event: str | None = None,
    split_seed: int | None = None,
) -> Session:
    """Open a recording; reads descriptions and small tables, no large data.

    `om.open_session` also takes the names of generated sessions: "demo", "unseen",
    "spikes" and "unseen-spikes".

    Parameters
    ----------
    path
        A folder or file of a session, a folder that contains only one, or a part of
        one; arrays by name, as docs/sessions.md lists them; a name or address on the
        model hub or `ibl:EID`, downloaded the first time (see `fetch_session`); or the
        web address of an NWB file or `dandi:ID/path`, of which only the required parts
        are transferred.
    behavior_names, rate_hz, recording_rate_hz, series, cells_only, unit_tables
        Facts that the files lack or state wrongly; see `ReadOptions`.
    quality, min_rate_hz, min_presence, trial_event, split_seed
        Units and trials of a spiking recording; see `ReadOptions`.

    Raises
    ------
    SessionFormatError
        The session cannot be read. The error states the file, what was expected, what
        was found and what to do.
    FetchError
        The session could not be downloaded.

    Examples
    --------
    A folder, and arrays by name:

    >>> om.open_session(om.unseen_session()).format
    'experanto'
    >>> session = om.open_session({"responses": np.ones((600, 5)), "rate_hz": 30.0})
    >>> session.n_neurons, session.duration_s
    (5, 20.0)
    """
    tables = None
    if unit_tables is not None:
        if not isinstance(unit_tables, str | Path):
            kind = type(unit_tables).__name__
            raise SessionFormatError(
                "unit_tables", "no_place", f"unit_tables is a {kind}; a path expected"
            )
        # Absolute: the option is stored with an analysis, and used in other processes.
        tables = str(files.expanded(unit_tables).absolute())
    for name, value in {"rate_hz": rate_hz, "recording_rate_hz": recording_rate_hz}.items():
        if value is not None and not (isfinite(value) and value > 0):
            raise SessionFormatError(
                name, "bad_option", f"{name} is {value}; a rate above 0 Hz expected"
            )
    options = ReadOptions(
        behavior_names,
        rate_hz,
        recording_rate_hz,
        series,
        cells_only,
        tables,
        quality,
        min_rate_hz,
        min_presence,
        trial_event,
        split_seed,
    )
    name, place, read = _reading(path)
    with _typed_errors(place, name):
        session = _with_unused_options(read(options), options)
    if tables is None:
        return session
    from omnimouse_model.data.readers.build.neurons import with_unit_tables

    with _typed_errors(Path(tables), "unit tables"):
        return with_unit_tables(session, tables)


def _reading(
    path: str | Path | Mapping[str, Any],
) -> tuple[str, Path, Callable[[ReadOptions], Session]]:
    """Return the name of the reader of a place, the place for messages, and its reading."""
    if isinstance(path, Mapping):
        return "arrays", Path("arrays"), partial(readers()["arrays"].read_mapping, path)
    _check_is_place(path)
    if (address := web_address(path)) is not None:
        return "nwb", Path(display_address(address)), partial(_streamed, address)
    # Unlike that of `Path`, `is_there` raises nothing for a name that no system can hold.
    is_here = files.is_there(path) or not _is_elsewhere(path)
    folder = session_folder(Path(path) if is_here else fetch_session(str(path)))
    if (name := _reader_of(folder)) is not None:
        return name, folder, partial(readers()[name].read, folder)
    only = _only_recording(folder)
    if only is None:
        raise _unknown(folder)
    return _reading(only)


def _streamed(address: str, options: ReadOptions) -> Session:
    remote = RemoteFile(address) if address.startswith("http") else dandi_file(address)
    session: Session = readers()["nwb"].read(remote, options)
    return replace(session, origin=address)


def _with_unused_options(session: Session, options: ReadOptions) -> Session:
    """Return the session with a warning about options that its format does not have.

    A selection of units that has no effect must not go unnoticed.
    """
    used = {note.code for note in session.assumptions}
    unused = [
        name
        for name, code in OPTION_NOTES.items()
        if getattr(options, name) is not None and code not in used
    ]
    if not unused:
        return session
    names = ", ".join(unused)
    note = Note("unused_options", f"{names}: without effect for {session.format}")
    return replace(session, warnings=(*session.warnings, note))


@contextmanager
def _typed_errors(path: Path, name: str) -> Iterator[None]:
    """Turn all errors of a reader into `SessionFormatError`."""
    try:
        # Damaged numbers lead to errors of the reader; numpy's warnings would only
        # repeat them.
        with np.errstate(all="ignore"):
            yield
    except (SessionFormatError, StoppedError):
        raise
    except OSError as error:
        raise files.unreadable(path, error) from error
    # An error that the reader did not foresee is logged, and ends nothing but this
    # reading.
    except Exception as error:
        logger.exception("The %s reader failed on %s", name, path)
        raise SessionFormatError(
            path,
            UNEXPECTED,
            f"{path} cannot be read: the {name} reader failed with "
            f"{type(error).__name__}: {str(error)[:200]}",
            "the recording is odd in a way that is not known yet: please report it",
        ) from error


def reopen_session(
    path: str | Path | Mapping[str, Any], fingerprint: str, options: dict[str, Any]
) -> Session:
    """Open a pickled session, once per process while its files are the same."""
    # Arrays in memory are identified by the fingerprint alone.
    source = "" if isinstance(path, Mapping) else str(path)
    # Tables of properties are not part of the fingerprint, which identifies the
    # recorded values: caches of fits stay valid when a table changes.
    from omnimouse_model.data.readers.build.neurons import table_stamps

    tables = options.get("unit_tables")
    stamps = () if tables is None else table_stamps(tables)
    key = (source, fingerprint, repr((options, stamps)))
    with _lock:
        if key in _reopened:
            _reopened.move_to_end(key)
            return _reopened[key]
    session = open_session(path, **options)
    if session.fingerprint != fingerprint:
        raise files.bad_file(session.path, "changed", "changed after it was opened elsewhere")
    with _lock:
        _reopened[key] = session
        while len(_reopened) > _CACHED:
            _reopened.popitem(last=False)
    return session


def _reduce(session: Session) -> tuple[Any, ...]:
    """Pickle a session by its source, not by its data."""
    arguments = (session.source, session.fingerprint, dict(session.options))
    return reopen_session, arguments


# Registered here and not as a method: `Session` must not import this module.
copyreg.pickle(Session, _reduce)


def check_exists(path: str | Path) -> None:
    """Raise `SessionFormatError` for a local path that does not exist, at once."""
    _check_is_place(path)
    if web_address(path) is None and not _is_elsewhere(path):
        _existing(path)


def _check_is_place(path: object) -> None:
    """Raise `SessionFormatError` for a value that is no path, and for an empty text."""
    if isinstance(path, str | Path) and str(path):
        return
    kind = type(path).__name__
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    found = "an empty text" if isinstance(path, str) else f"{article} {kind}"
    raise SessionFormatError(
        "arrays",
        "no_place",
        f"{found} is no place of a recording: a path, an address or arrays by name",
        "an array is given as {'responses': array, 'rate_hz': 30.0}",
    )


def _is_elsewhere(path: str | Path) -> bool:
    """Return whether a text names a recording of the hub or of IBL."""
    return hub_place(str(path)) is not None or ibl_session_name(str(path)) is not None


def _unknown(path: Path) -> SessionFormatError:
    """Return the error for a path that no reader recognises."""
    if is_archive(path):
        return SessionFormatError(
            path,
            "archive",
            f"{path} is an archive, not a session",
            f"`omnimouse fetch {path}` unpacks it safely",
        )
    try:
        problem, hint = _of_folder(path) if files.is_folder(path) else _of_file(path)
    except SessionFormatError as error:  # a pointer to content elsewhere, a pipe
        return error
    except OSError as error:
        return files.unreadable(path, error)
    return SessionFormatError(path, "unknown_format", f"{path} {problem}", hint)


_LISTED, _LEVELS, _EXAMINED = 12, 3, 500
"""Names in a message; levels of folders that are searched, and entries of them."""
_BEGIN, _PARTS_DEEP = 64, 4
_FORMATS = (
    "an .nwb file, an .npz of arrays, a file of CaImAn, CNMF-E, EXTRACT or Inscopix, or a folder "
    "of suite2p, Minian, Sensorium, experanto, ALF (IBL), digital-twin trials or *.omses.zarr"
)
_MATRIX = "a matrix of traces can be saved as one: numpy.savez(path, responses=…, rate_hz=…)"


def _of_folder(path: Path) -> tuple[str, str]:
    """Return the problem of a folder without a session, and a hint."""
    names = _visible(path)
    if not names:
        return "is empty", "choose the folder that holds the recording"
    of_nwb = [file.name for file in nwb_files(path)]
    inner = of_nwb if len(of_nwb) > 1 else _recordings_in(path, names)
    if inner:
        kind = "NWB files" if len(of_nwb) > 1 else "recordings"
        more = f", … ({len(inner)} in all)" if len(inner) > _LISTED else ""
        if len(inner) == 1:
            return f"holds the recording {inner[0]}", "open it"
        return (
            f"holds {len(inner)} {kind}: {', '.join(inner[:_LISTED])}{more}",
            "open one of them; om.catalogue and Recordings in a folder… list all",
        )
    whole = next((p for p in [*path.parents][:_PARTS_DEEP] if is_recording(p)), None)
    if whole is not None:
        return f"is a part of the recording {whole}", f"open {whole.name}"
    if {"spike_times.npy", "spike_clusters.npy"} <= set(names):
        return (
            "is the output of Kilosort or phy, which counts spikes in samples",
            "save spikes in seconds: numpy.savez(path, spike_times=…, spike_unit=…), "
            "or write NWB with SpikeInterface and neuroconv",
        )
    looked_for = ", ".join(n for reader in readers().values() for n in reader.LOOKED_FOR)
    contents = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    return (
        f"is not a session folder of a known format. Looked for: {looked_for}. Found: {contents}",
        f"a session is {_FORMATS}",
    )


def _visible(folder: Path) -> list[str]:
    """Return the sorted names in a folder, without hidden ones."""
    # macOS adds files that begin with a dot, and a folder for them.
    return sorted(
        path.name
        for path in files.paths_in(folder)
        if not path.name.startswith(".") and path.name != "__MACOSX"
    )


def _only_recording(folder: Path) -> Path | None:
    """Return the recording that lies alone in a folder, as one NWB file does."""
    found: list[str] = []
    with suppress(SessionFormatError):  # `_unknown` tells what cannot be read
        if files.is_folder(folder):
            found = _recordings_in(folder, _visible(folder))
    # A link may lead anywhere, and deeper recordings belong to other folders.
    if len(found) != 1 or "/" in found[0] or files.is_link(folder / found[0]):
        return None
    return folder / found[0]


def _recordings_in(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the recordings in the first levels of a folder, by relative path."""
    level = [folder / name for name in names]
    found: list[str] = []
    n_examined = 0
    for _ in range(_LEVELS):
        below: list[Path] = []
        for path in level:
            n_examined += 1
            if n_examined > _EXAMINED:
                return found
            if is_recording(path):
                found.append(path.relative_to(folder).as_posix())
            # A link to a parent folder would never end.
            elif files.is_folder(path) and not files.is_link(path):
                with suppress(SessionFormatError):  # a folder that may not be listed
                    below += [inner for inner in files.paths_in(path) if inner.name[0] != "."]
        level = below
    return found


def _of_file(path: Path) -> tuple[str, str]:
    """Return the problem of a file that is no session, and a hint."""
    with files.open_binary(path) as stream:
        begin = stream.read(_BEGIN)
    if not begin:
        return "is empty", "copy it again"
    if begin.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return (
            "is a web page, not a recording",
            "download it again: the server sent a page, perhaps of an error or a login",
        )
    if begin.startswith(SIGNATURE):
        return (
            "is HDF5, but not NWB: it has neither nwb_version nor neurodata_type",
            "save its arrays with numpy.savez(responses=…, rate_hz=…), or as NWB",
        )
    if begin.startswith(_MATLAB):
        return (
            "is a file of MATLAB, but not of suite2p (F or spks), CNMF-E or EXTRACT",
            "save its traces with numpy.savez(path, responses=…, rate_hz=…), or as NWB",
        )
    if begin.startswith(_NPY) and path.name in _SUITE2P:
        return f"is suite2p's {path.name}", "give the folder above it"
    if begin.startswith(_NPY):
        return "is one array", _MATRIX
    if path.suffix.lower() in (".nwb", ".h5", ".hdf5"):
        return (
            f"is not HDF5, as NWB is: it begins with {begin[:8].decode('latin-1')!r}",
            "was it downloaded whole? a page that asks to sign in may be saved instead",
        )
    return "is not a recording", f"a session is {_FORMATS}; {_MATRIX}"


def is_session(path: str | Path) -> bool:
    """Whether a reader recognises the path, by names and small files.

    Addresses count as sessions; opening reports their problems.
    """
    if web_address(path) is not None or _is_elsewhere(path):
        return True
    try:
        folder = session_folder(Path(path))
    except SessionFormatError:
        return False
    return is_recording(folder)


_DOWNLOAD_SHARE = 0.8
"""Estimated share of the time for the download; the rest is for unpacking."""


def fetch_session(name: str, to: str | Path | None = None, job: Job | None = None) -> Path:
    """Fetch a recording; one fetched before is used without a request to the hub.

    Examples
    --------
    >>> path = om.fetch_session("hf://datasets/owner/name/mouse-1")  # doctest: +SKIP
    >>> session = om.open_session(path)  # doctest: +SKIP

    Parameters
    ----------
    name
        Name of a released recording, or `hf://datasets/owner/name/path` of a folder, a
        file or an archive, which is unpacked; or `ibl:` and the id (eid) or the place
        `subject/date/number` of a session of the International Brain Laboratory.
    to
        The folder that will contain the recording; by default a folder of the cache.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    FetchError
        The recording does not exist, the user has no access, or the download is
        incomplete.
    SessionFormatError
        The archive is damaged, or has members that must not be written.
    """
    if (ibl_name := ibl_session_name(name)) is not None:
        return fetch_ibl_session(ibl_name, to, QUIET if job is None else job)
    place = require_place(name)
    if place.kind != "dataset":
        raise FetchError(
            "not_found",
            f"{name} is a checkpoint; recordings are in datasets: hf://datasets/owner/name/path.",
        )
    return fetch_place(place, to, job, _DOWNLOAD_SHARE, list_files, _put)


def _put(listing: Listing, folder: Path, target: Path, job: Job) -> None:
    """Move the download to its target; unpack it if it is an archive."""
    download = folder / listing.place.path
    # A recording can itself be an archive that a reader opens without unpacking.
    if not is_archive(download) or is_recording(download):
        put_in_place(download, target)
        return
    try:
        unpack(download, target, job)
    except SessionFormatError:
        download.unlink()  # otherwise the next call would find it again
        raise
