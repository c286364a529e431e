"""Opening a session: the first reader that recognises the folder reads it."""

import copyreg
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from omnimouse_model.data.formats import (
    READERS,
    is_recording,
    session_folder,
    unreadable,
)
from omnimouse_model.data.hub.names import hub_place
from omnimouse_model.data.hub.unpack import is_archive
from omnimouse_model.data.io.hdf5 import SIGNATURE
from omnimouse_model.data.io.http_file import display_address, web_address
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers import arrays
from omnimouse_model.data.readers.nwb import reader as nwb
from omnimouse_model.data.session import Session
from omnimouse_model.errors import UNEXPECTED, SessionFormatError, StoppedError

logger = logging.getLogger(__name__)

_KEPT = 8
_NPY = b"\x93NUMPY"
_OF_SUITE2P = ("F.npy", "Fneu.npy", "spks.npy", "stat.npy", "ops.npy", "iscell.npy")
_reopened: OrderedDict[tuple[str, str, str], Session] = OrderedDict()
_lock = Lock()


def open_session(
    path: str | Path | Mapping[str, Any],
    *,
    behavior_names: Mapping[str, Sequence[str]] | None = None,
    rate_hz: float | None = None,
    series: str | None = None,
    cells_only: bool = True,
) -> Session:
    """Open a recording; reads descriptions and small tables, nothing big.

    Parameters
    ----------
    path
        The session's folder or file, a folder that holds just that one, or a part;
        arrays by name, as docs/sessions.md lists them; what the model hub has, fetched
        the first time (see `fetch_session`); or the web address of an NWB file, read
        where it is.
    behavior_names, rate_hz, series, cells_only
        What the files do not say, or say wrongly; see `ReadOptions`.

    Raises
    ------
    SessionFormatError
        With the file at fault, what was expected, what was found and what to do.
    FetchError
        It could not be fetched.

    Examples
    --------
    A folder, and arrays by name:

    >>> om.open_session(om.unseen_session()).format
    'experanto'
    >>> session = om.open_session({"responses": np.ones((600, 5)), "rate_hz": 30.0})
    >>> session.n_neurons, session.duration_s
    (5, 20.0)
    """
    options = ReadOptions(behavior_names, rate_hz, series, cells_only)
    if isinstance(path, Mapping):
        with _typed(Path("arrays"), "arrays"):
            return arrays.read_mapping(path, options)
    if not isinstance(path, str | Path) or not str(path):
        raise _no_place(path)
    if (address := web_address(path)) is not None:
        with _typed(Path(display_address(address)), "nwb"):
            return nwb.read_address(address, options)
    folder = session_folder(_on_this_machine(path))
    for name, reader in READERS.items():
        if reader.recognises(folder):
            with _typed(folder, name):
                session: Session = reader.read(folder, options)
                return session
    raise _unknown(folder)


def _no_place(given: object) -> SessionFormatError:
    """The error for what is neither a path nor arrays by name."""
    what = (
        f"a {type(given).__name__}" if not isinstance(given, str) else "an empty text"
    )
    return SessionFormatError(
        Path("arrays"),
        "no_place",
        f"{what} is no recording's place: a path, an address or arrays by name",
        "an array is given as {'responses': array, 'rate_hz': 30.0}",
    )


@contextmanager
def _typed(path: Path, name: str) -> Iterator[None]:
    """Turn whatever else a reader raises into the one typed error."""
    try:
        # Damaged numbers are for the reader's own checks, not numpy's warnings.
        with np.errstate(all="ignore"):
            yield
    except (SessionFormatError, StoppedError):
        raise
    except OSError as error:
        raise SessionFormatError(
            getattr(error, "filename", None) or path,
            "unreadable",
            f"{path} cannot be read: {error.strerror or error}",
            "check permissions, and that its drive is there",
        ) from error
    except Exception as error:  # a fault of the reader: typed all the same, and logged
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
    """Open again what was pickled, once per process while its files are the same."""
    place = "" if isinstance(path, Mapping) else str(path)
    key = (place, fingerprint, repr(options))
    with _lock:
        if key in _reopened:
            _reopened.move_to_end(key)
            known: Session = _reopened[key]
            return known
    session = open_session(path, **options)
    if session.fingerprint != fingerprint:
        raise SessionFormatError(
            session.path,
            "changed",
            f"session '{session.id}' changed after it was opened elsewhere",
            "open the session again",
        )
    with _lock:
        _reopened[key] = session
        while len(_reopened) > _KEPT:
            _reopened.popitem(last=False)
    return session


def _reduced(session: Session) -> tuple[Any, ...]:
    """Return how a session is pickled: by its place, never by its arrays."""
    place = (session.source, session.fingerprint, dict(session.options))
    return reopen_session, place


# Registered here and not as a method: `Session` must not know how sessions are opened.
copyreg.pickle(Session, _reduced)


def _on_this_machine(path: str | Path) -> Path:
    """The path, after fetching what it names on the hub."""
    if Path(path).exists() or (place := hub_place(str(path))) is None:
        return Path(path)
    from omnimouse_model.data.hub.fetch_session import fetch_session

    return fetch_session(str(place))


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError as error:
        raise unreadable(path, error) from error


def _unknown(path: Path) -> SessionFormatError:
    if is_archive(path):
        return SessionFormatError(
            path,
            "archive",
            f"{path} is an archive, not a session",
            f"`omnimouse fetch {path}` unpacks it safely",
        )
    what, hint = _folder_in_words(path) if path.is_dir() else _file_in_words(path)
    return SessionFormatError(path, "unknown_format", f"{path} {what}", hint)


_KINDS = (
    "an .nwb file, an .npz of arrays, or a folder of suite2p, Sensorium, experanto or "
    "*.omses.zarr"
)


def _folder_in_words(path: Path) -> tuple[str, str]:
    """What a folder is that no reader knows, and what to do."""
    found = [p.name for p in _entries(path)]
    if not found:
        return "is empty", "choose the folder that holds the recording"
    looked_for = ", ".join(
        name for reader in READERS.values() for name in reader.LOOKED_FOR
    )
    shown = ", ".join(found[:12]) + (", …" if len(found) > 12 else "")
    return (
        f"is not a session folder I know. Looked for: {looked_for}. Found: {shown}",
        f"a session is {_KINDS}",
    )


def _file_in_words(path: Path) -> tuple[str, str]:
    """What a file is that no reader knows, and what to do."""
    try:
        with path.open("rb") as stream:
            begin = stream.read(len(SIGNATURE))
    except OSError as error:
        return f"cannot be read: {error.strerror or error}", "check permissions"
    if not begin:
        return "is empty", "copy it again"
    if begin == SIGNATURE:
        return (
            "is HDF5, but not NWB: it has neither nwb_version nor neurodata_type",
            "save its arrays with numpy.savez(responses=…, rate_hz=…), or as NWB",
        )
    if begin.startswith(_NPY):
        if path.name in _OF_SUITE2P:
            return f"is suite2p's {path.name}", "give the folder above it"
        return (
            "is one array",
            "save it with numpy.savez(…, responses=…, rate_hz=…) as an .npz",
        )
    return "is no recording", f"what can be opened is {_KINDS}"


def is_session(path: str | Path) -> bool:
    """Whether some reader recognises the folder; looks at names and small files.

    Addresses count: opening them says more.
    """
    if web_address(path) is not None or hub_place(str(path)) is not None:
        return True
    try:
        folder = session_folder(Path(path))
    except SessionFormatError:
        return False
    return is_recording(folder)
