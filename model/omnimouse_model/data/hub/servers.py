"""Servers of recordings beside the hub, DANDI and IBL, and which servers a file may name.

The ONE client of IBL opens files and imports many packages: it runs in a process of its own.

An address that a user types is the user's choice. A recording or model that an analysis,
an ensemble or saved results name is the choice of whoever made that file.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from errno import ENOSPC
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from omnimouse_model.data.hub.exchange import endpoint, hub_place
from omnimouse_model.errors import ConnectError, FetchError, SessionFormatError
from omnimouse_model.progress import QUIET, Job, advance, shows_progress
from omnimouse_model.storage import web
from omnimouse_model.storage.archives import leads_outside
from omnimouse_model.storage.files import expanded, is_there
from omnimouse_model.storage.processes import Answer, LibraryError, Limits, Report, call_library
from omnimouse_model.storage.web import AnswerError, RemoteFile
from omnimouse_model.storage.write import cache_dir

VARIABLE = "OMNIMOUSE_CONNECT"
"""Environment variable with the allowed hosts, which worker processes inherit."""


def allow_connections(hosts: Iterable[str]) -> None:
    """Allow files to name these hosts, in this process and those that it starts."""
    if hosts := [*_allowed(), *map(str.lower, hosts)]:
        os.environ[VARIABLE] = ",".join(dict.fromkeys(hosts))


_for_now: ContextVar[tuple[str, ...]] = ContextVar("connect", default=())


@contextmanager
def connecting(hosts: Iterable[str]) -> Iterator[None]:
    """Allow files to name these hosts in the block, in this thread."""
    token = _for_now.set((*_for_now.get(), *map(str.lower, hosts)))
    try:
        yield
    finally:
        _for_now.reset(token)


def host_of(name: str | Path) -> str:
    """Return the host that opening a name connects to; "" for a place on this machine.

    It includes the port, if the address has one.
    """
    text = str(name)
    if share := share_of(text):
        return share
    if text.startswith("ibl:"):
        return urlsplit(SERVER).netloc
    if (address := web.web_address(text)) is not None:
        return urlsplit(address if "://" in address else API).netloc.rsplit("@", 1)[-1].lower()
    try:
        is_on_hub = not is_there(text) and hub_place(text) is not None
    except (FetchError, OSError, ValueError):  # no valid name; opening it says what is wrong
        return ""
    return urlsplit(endpoint()).netloc.lower() if is_on_hub else ""


def share_of(name: str) -> str:
    r"""Return the host of a path of Windows on a server, `\\host\share`; "" for others.

    To ask whether a file is there already sends it the name of the user.
    """
    # Long paths begin with `\\?\C:` or `\\?\UNC\host`.
    short = re.sub(r"^\\\\\?\\(UNC(?=\\))?", "\\\\", str(Path(name)), flags=re.IGNORECASE)
    drive = Path(short).drive
    return drive[2:].partition("\\")[0].lower() if drive.startswith("\\\\") else ""


def check_connection(name: str | Path, file: Path) -> None:
    """Refuse a name in a file that leads to a server which the user has not allowed.

    Raises
    ------
    ConnectError
        The message has the host, and how to allow it.
    """
    host = host_of(name)
    if host and host not in {*_allowed(), *_for_now.get()}:
        address = web.web_address(str(name))
        place = str(name) if address is None else web.display_address(address)
        raise ConnectError(
            host,
            f"{file.name} names {place[:200]}, on the server {host}. To connect to it, "
            f'use --connect {host}, or connect=["{host}"] in Python.',
        )


def _allowed() -> list[str]:
    return [host for host in os.environ.get(VARIABLE, "").lower().split(",") if host]


API = "https://api.dandiarchive.org/api"
_STORE = "dandiarchive.s3.amazonaws.com"
"""Server that has the files of public data sets."""
_ADDRESS = re.compile(r"dandi:(?P<id>\d{6})(?:@(?P<version>draft|\d+\.\d{6}\.\d{4}))?/(?P<path>.+)")
_LISTED = 5


def dandi_file(address: str) -> RemoteFile:
    """Return the file of an address, of which parts are read as of any web address.

    Without a version, it is the newest published one, or the draft if none is.

    Raises
    ------
    SessionFormatError
        The address is wrong, the archive has no such file, or it cannot be reached.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        expected = "dandi:000728/sub-1/sub-1_ses-2.nwb, with a version dandi:000728@0.240827.1809/…"
        raise _refused(address, "not_found", "is no address of a file", f"expected {expected}")
    number, path = match["id"], match["path"]
    if path.endswith(".zarr"):
        hint = "download it with the client of DANDI, and open the folder"
        raise _refused(address, "zarr", "is a zarr folder, of which no parts are read", hint)
    place = f"{API}/dandisets/{number}"
    version = match["version"] or _newest(address, _ask(address, f"{place}/"))
    assets = f"{place}/versions/{version}/assets/"
    found = _ask(
        address, f"{assets}?path={quote(path, '', errors='replace')}&page_size=100&order=path"
    )
    results = found.get("results")
    listed = [
        one for one in (results if isinstance(results, list) else ()) if isinstance(one, dict)
    ]
    names = [str(one.get("path")) for one in listed]
    if path not in names:
        near = ", ".join(names[:_LISTED]) or "none"
        problem = f"is not in version {version}; files that begin so: {near}"
        raise _refused(address, "missing_file", problem, "check the path on dandiarchive.org")
    number_of_asset = str(listed[names.index(path)].get("asset_id"))
    if not re.fullmatch(r"[0-9a-f-]{36}", number_of_asset):
        raise _refused(address, "unreadable", "has no id in the answer of the archive")
    about = _ask(address, f"{assets}{number_of_asset}/")
    return RemoteFile(_place_of(address, about), address)


def _newest(address: str, about: dict[str, Any]) -> str:
    published = about.get("most_recent_published_version")
    version = str(published.get("version")) if isinstance(published, dict) else "draft"
    if not re.fullmatch(r"draft|\d+\.\d{6}\.\d{4}", version):
        raise _refused(address, "unreadable", f"has the version {version[:40]!r}")
    return version


def _place_of(address: str, about: dict[str, Any]) -> str:
    """Return the address of the content, on a server of the archive only."""
    places = about.get("contentUrl")
    stated = [str(one) for one in places] if isinstance(places, list) else []
    api = urlsplit(API)
    # That of the store first: the one of the API leads there, and expires.
    for place in sorted(stated, key=lambda one: one.rstrip("/").endswith("download")):
        parts = _parts(place)
        if parts.scheme == api.scheme and parts.hostname in (_STORE, api.hostname):
            return place
    hosts = ", ".join(sorted({str(_parts(one).hostname) for one in stated})) or "nowhere"
    raise _refused(address, "outside", f"is stored at {hosts[:200]}, not at the archive")


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # a bracket of IPv6 that does not close
        return urlsplit("")


def _ask(address: str, url: str) -> dict[str, Any]:
    """Return the answer of the archive to a request."""
    try:
        answer = web.read_web_json(url)
    except AnswerError as error:
        if error.status in (401, 403):
            hint = "download it with the client of DANDI, and open the file"
            raise _refused(address, "gated", "is embargoed", hint) from error
        if error.status == 404:
            raise _refused(address, "missing_file", "is not in the archive") from error
        problem = f"cannot be found: {API}: {error}"
        raise _refused(address, "unreadable", problem, "check the connection") from error
    if not isinstance(answer, dict):
        raise _refused(address, "unreadable", "cannot be found: the archive sends no object")
    return answer


def _refused(address: str, code: str, problem: str, hint: str = "") -> SessionFormatError:
    return SessionFormatError(address, code, f"{address} {problem}", hint)


SERVER = "https://openalyx.internationalbrainlab.org"
_PREFIX = "ibl:"
_EID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLACE = re.compile(r"[\w.-]{1,80}/\d{4}-\d{2}-\d{2}/\d{1,3}")
_NEEDED = {
    "spikes.times.npy",
    "spikes.clusters.npy",
    "clusters.channels.npy",
    "clusters.metrics.pqt",
    "clusters.uuids.csv",
    "channels.brainLocationIds_ccf_2017.npy",
    "channels.localCoordinates.npy",
    "channels.mlapdv.npy",
    "trials.table.pqt",
    "wheel.position.npy",
    "wheel.timestamps.npy",
}
"""Datasets that the reader uses."""
_REVISION = re.compile(r"#.+#")
_DOWNLOAD = f"{__name__}:download"
_LIMITS = Limits(seconds=6 * 3600.0)
"""A session has about 1 GB; a slow connection takes hours."""


def ibl_session_name(name: str) -> str | None:
    """Return the id or place of a session in `ibl:…`, None for any other name.

    Raises
    ------
    FetchError
        What follows is neither an id nor `subject/date/number`.
    """
    if not name.startswith(_PREFIX):
        return None
    found = name.removeprefix(_PREFIX)
    if _EID.fullmatch(found) or _PLACE.fullmatch(found):
        return found
    raise FetchError(
        "not_found",
        f"{name} names no session: expected ibl: and an id such as "
        "4ecb5d24-f5cc-402c-be28-9d0f7cb14b3a, or subject/date/number.",
    )


@shows_progress
def fetch_ibl_session(name: str, to: str | Path | None = None, job: Job = QUIET) -> Path:
    """Fetch the spikes, trials and wheel of a session; return its folder.

    The client compares files with their checksums, and keeps those that are there.

    Parameters
    ----------
    name
        Id of the session, or `subject/date/number`.
    to
        Folder in which the client keeps its files; by default one of the cache.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    FetchError
        The client is not installed, the session does not exist or has no spikes, or the
        download is incomplete.
    """
    folder = cache_dir() / "ibl" if to is None else expanded(to).absolute()
    folder.mkdir(parents=True, exist_ok=True)

    def report(share: float, text: str) -> None:
        advance(job, share, 1.0, text)

    arguments = {"name": name, "folder": str(folder)}
    try:
        facts, _ = call_library(_DOWNLOAD, arguments, limits=_LIMITS, report=report)
    except LibraryError as error:
        if error.kind == "FetchError":
            raise FetchError(error.code, error.text) from error
        raise FetchError("interrupted", f"The ONE client, {name}: {error.text}.") from error
    root = Path(str(facts.get("root")))
    if not root.is_relative_to(folder):
        raise FetchError("damaged", f"The ONE client put session {name} elsewhere: {root}.")
    job.progress(1.0, 1.0, "downloaded")
    return root


def download(arguments: Mapping[str, Any], report: Report) -> Answer:
    """Fetch the files of a session with the client; runs in a process of its own.

    `arguments` are the name of the session and the folder; the fact is its `root`.
    """
    name, folder = arguments["name"], Path(arguments["folder"])
    with _as_fetch_errors(name):
        client = _client(folder)
        paths = needed_datasets([str(path) for path in client.list_datasets(name)])
        if not any(path.endswith(".npy") and "spikes." in path for path in paths):
            raise FetchError("not_found", f"Session {name} has no sorted spikes.")
        root = folder
        for done, path in enumerate(paths):
            report(done / len(paths), f"downloading {path}")
            file = Path(client.load_dataset(name, path, download_only=True))
            root = file.parents[len(PurePosixPath(path).parts) - 1]
    return {"root": str(root)}, {}


def needed_datasets(paths: Sequence[str]) -> list[str]:
    """Return the datasets that the reader uses, each of its latest revision.

    Of each probe, those of the preferred sorter.

    Parameters
    ----------
    paths
        Relative paths `alf/probe00/pykilosort/#2024-05-06#/spikes.times.npy`.
    """
    # Imported here, as all readers: a window needs them later.
    from omnimouse_model.data.readers.alf import DIRECT, dataset_name, sorter_rank

    def rank(place: tuple[str, ...]) -> tuple[int, str]:
        return sorter_rank(place[1] if len(place) > 1 else DIRECT)

    latest: dict[tuple[str, ...], dict[str, str]] = {}
    # Revisions are ordered by name, and a path without one comes before the others.
    for path in sorted(paths, key=_revision_key):
        parts = [p for p in PurePosixPath(path).parts if not _REVISION.fullmatch(p)]
        name = dataset_name(parts[-1]) if parts else ""
        if name in _NEEDED and parts[0] == "alf" and not leads_outside(path):
            latest.setdefault(tuple(parts[1:-1]), {})[name] = path
    chosen: dict[str, tuple[str, ...]] = {}
    for place, files in latest.items():
        if "spikes.times.npy" not in files or len(place) not in (1, 2):
            continue
        best = chosen.get(place[0])
        if best is None or rank(place) < rank(best):
            chosen[place[0]] = place
    return sorted(
        path
        for place, files in latest.items()
        for name, path in files.items()
        if name.startswith(("trials.", "wheel.")) or place in chosen.values()
    )


def _revision_key(path: str) -> tuple[str, str]:
    revision = [p for p in PurePosixPath(path).parts if _REVISION.fullmatch(p)]
    return (revision[-1] if revision else "", path)


def _client(folder: Path) -> Any:
    """Return the client of the public server."""
    try:
        module = import_module("one.api")
    except ImportError as error:
        raise FetchError(
            "missing_package",
            "Sessions of the International Brain Laboratory need the ONE client: "
            "pip install 'omnimouse-app[ibl]'",
        ) from error
    try:
        # Silent: a question for an account would wait for ever.
        return module.ONE(base_url=SERVER, silent=True, cache_dir=folder)
    except ValueError as error:  # from 3.6 on, without an account
        raise FetchError(
            "gated",
            f"ONE knows no account of the public database: create one at {SERVER}/signup, and run "
            f"once in Python: from one.api import ONE; ONE(base_url='{SERVER}', username='NAME').",
        ) from error


@contextmanager
def _as_fetch_errors(name: str) -> Iterator[None]:
    """Raise errors of the client and of the network as `FetchError`."""
    try:
        yield
    except FetchError:
        raise
    except Exception as error:
        # The classes of the client are known only where it is installed.
        kind, text = type(error).__name__, " ".join(str(error).split())[:200]
        if isinstance(error, OSError) and error.errno == ENOSPC:
            raise FetchError("no_space", f"The drive is full: {text}") from error
        if isinstance(error, OSError):
            raise FetchError(
                "interrupted",
                f"{SERVER} did not send session {name}: {text}. Check the network; the "
                "same command continues.",
            ) from error
        code = "not_found" if "NotFound" in kind or kind == "ValueError" else "damaged"
        raise FetchError(
            code, f"The ONE client refused session {name} with {kind}: {text}"
        ) from error
