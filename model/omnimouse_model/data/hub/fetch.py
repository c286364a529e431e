"""Fetching of a recording or model from the hub, once, into a local folder."""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from omnimouse_model.data.hub import exchange
from omnimouse_model.data.hub.exchange import HubPlace
from omnimouse_model.display import printable
from omnimouse_model.errors import FetchError, SessionFormatError
from omnimouse_model.progress import QUIET, Job, advance, part_of, shown_job
from omnimouse_model.storage.archives import is_plain_name, leads_outside
from omnimouse_model.storage.files import (
    expanded,
    is_there,
    open_binary,
    paths_in,
    real_path,
    size_of,
)
from omnimouse_model.storage.journal import check_own
from omnimouse_model.storage.trees import decode_json, read_json_mapping
from omnimouse_model.storage.web import AnswerError
from omnimouse_model.storage.write import (
    OutputBusyError,
    cache_dir,
    open_without_links,
    put_in_place,
    remove_left_over,
    sole_writer,
    write_json,
)

# Fifty times the list of the released recordings.
_LONGEST = 32 * 2**20
# A commit is a SHA-1; a checksum is a SHA-1 or a SHA-256.
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CHECKSUM = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Licences are short identifiers; the rest is not shown.
_LICENCE_LENGTH = 80


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; `checksum` is its SHA-256, or git's SHA-1 without LFS."""

    path: str
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of a place on the hub at one commit."""

    place: HubPlace
    commit: str
    files: tuple[HubFile, ...]
    licence: str = ""

    @property
    def size(self) -> int:
        """Total size in bytes."""
        return sum(file.size for file in self.files)


def list_files(place: HubPlace) -> Listing:
    """Request the list of files of a place from the hub.

    Raises
    ------
    FetchError
        The place does not exist, the user has no access, there is no connection, or
        the answer is no list of files.
    """
    with exchange.as_fetch_errors(place):
        info = _answer(place)
        siblings = info.get("siblings")
        if not isinstance(siblings, list):
            raise _no_list(f"siblings are {type(siblings).__name__}")
        files = tuple(_files(place, siblings))
        commit = info.get("sha")
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise FetchError("refused", f"{place}: {str(commit)[:60]!r} is not a commit.")
        card = info.get("cardData")
        licence = card.get("license") if isinstance(card, dict) else None
        short = printable(str(licence or ""))[:_LICENCE_LENGTH]
        return Listing(place, commit, files, short)


def _answer(place: HubPlace) -> dict[str, Any]:
    """Return what the hub says about the repository of a place."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise FetchError(
            "offline", "HF_HUB_OFFLINE is set, and this was not fetched before; unset it to fetch"
        )
    revision = quote(place.revision, safe="")
    # With sizes and checksums.
    address = f"{exchange.endpoint()}/api/{place.kind}s/{place.repo}/revision/{revision}?blobs=true"
    with exchange.answer_to(address, exchange.hub_headers()) as response:
        body = b"".join(exchange.blocks_of(response, f"The list of files of {place}", _LONGEST))
    info = decode_json(body, "its answer")
    if not isinstance(info, dict):
        raise _no_list(type(info).__name__)
    return info


def _no_list(found: str) -> FetchError:
    return FetchError(
        "refused",
        f"The server at {exchange.endpoint()} sends no list of files ({found}); it is not the hub.",
    )


def _files(place: HubPlace, siblings: list[Any]) -> Iterator[HubFile]:
    """Yield the files at or below a place, sorted by name."""
    entries: list[tuple[str, dict[str, Any]]] = []
    for item in siblings:
        name = item.get("rfilename") if isinstance(item, dict) else None
        if not isinstance(name, str):
            raise _no_list("an entry without a name")
        entries.append((name, item))
    matches = [
        (name, item)
        for name, item in sorted(entries, key=itemgetter(0))
        if not place.path or name == place.path or name.startswith(f"{place.path}/")
    ]
    if not matches:
        near = get_close_matches(place.path, [name for name, _ in entries], 1, 0.8)
        hint = f" Did you mean {printable(near[0])}?" if near else ""
        raise FetchError("not_found", f"{place} is not in its repository, {place.page}.{hint}")
    # A name must not lead outside the folder, and two names that differ in case alone
    # would overwrite each other on Windows and macOS. No file is the folder of others.
    names: set[str] = set()
    folders: set[str] = set()
    for name, item in matches:
        plain = name.casefold()
        parents = {str(parent) for parent in PurePosixPath(plain).parents}
        folders |= parents
        is_clash = plain in names or plain in folders or bool(parents & names)
        if is_clash or leads_outside(name) or not is_plain_name(name):
            raise FetchError("refused", f"{place}: a file is called {name[:200]!r}.")
        names.add(plain)
        yield _file(place, name, item)


def _file(place: HubPlace, name: str, item: dict[str, Any]) -> HubFile:
    large = item.get("lfs")
    checksum = large.get("sha256") if isinstance(large, dict) else item.get("blobId")
    # Without a checksum a damaged file could not be recognised.
    if not isinstance(checksum, str) or not _CHECKSUM.fullmatch(checksum):
        raise FetchError("refused", f"{place}: {name!r} has no valid checksum.")
    size = item.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise FetchError("refused", f"{place}: {name!r} has no valid size.")
    return HubFile(name, size, checksum)


# -- one place, fetched once
Put = Callable[[Listing, Path, Path, Job], None]
"""Function of (listing, downloaded folder, target, job) that makes the target."""


def fetch_place(
    place: HubPlace,
    to: str | Path | None,
    job: Job | None,
    share: float,
    list_of: Callable[[HubPlace], Listing],
    put: Put,
) -> Path:
    """Fetch a place of the hub once and return its path on this machine.

    Parameters
    ----------
    place, to, job
        Place on the hub, folder and job; see `fetch_session.fetch_session`.
    share
        Estimated share of the time for the download; the rest is for `put`.
    list_of, put
        Function that lists the files, and function that makes the target from them.
    """
    target = local_path(place, to)
    with shown_job(job) as shown, locked_target(place, target, shown) as work:
        if work is not None:
            listing = list_of(place)
            files = commit_folder(work, listing)
            fetch_files(listing, files, part_of(shown, 0.0, share))
            # Written before the target: a target without its origin would later be
            # taken for something else of the user.
            write_origin(target, listing)
            put(listing, files, target, part_of(shown, share, 1.0))
    return target


def require_place(name: str) -> HubPlace:
    """Return the place on the hub for a name.

    Raises
    ------
    FetchError
        The name is not known.
    """
    place = exchange.hub_place(name)
    if place is None:
        listed = ", ".join(exchange.CHECKPOINTS)
        if name.lower().startswith("omnimouse"):
            raise FetchError("not_found", f"There is no checkpoint {name!r}; there are {listed}.")
        raise FetchError(
            "not_found",
            f"{name!r} is no name of the hub; there are {listed}, released recordings "
            "(dynamic…_30hz; `omnimouse fetch --list` names them), and addresses "
            "(hf://datasets/owner/name/path).",
        )
    return place


def local_path(place: HubPlace, to: str | Path | None) -> Path:
    """Return the path of a place on this machine."""
    if to is not None:
        return expanded(to).absolute() / place.name
    owner, _, name = place.repo.partition("/")
    # One folder per address, so that a target is never inside another target.
    own = hashlib.blake2b(str(place).encode(), digest_size=6).hexdigest()
    return cache_dir() / "hub" / f"{place.kind}s" / owner / name / own / place.name


def saved_bytes(name: str, to: str | Path | None = None) -> int:
    """Return how many bytes an unfinished download has; the next call adds the rest."""
    return exchange.folder_bytes(work_folder(local_path(require_place(name), to)))


# -- downloads from the model hub, file by file, with checksums and resumption
# Bytes read at a time for a checksum.
_BLOCK = 1 << 18
# Attempts in a row without new data before the download fails.
_TRIES = 5
# Pause in seconds between two attempts.
_PAUSE_S = 1.0
# HTTP status of a partial response, and statuses for which a later attempt can succeed.
_PARTIAL = 206
_BUSY = (408, 429, 500, 502, 503, 504)
# Seconds between looks at the lock, so that the user can stop while waiting.
_LOOK_S = 0.2


def fetch_files(listing: Listing, folder: Path, job: Job = QUIET) -> None:
    """Download every file of a listing into a folder that is for one commit.

    A file gets its name after its checksum was compared. After a stop or kill at any
    point the next call resumes at the last byte.

    Raises
    ------
    FetchError
        A file could not be downloaded completely, or the drive has too little space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Existence is sufficient: only a file with the right checksum is given its name.
    missing = [f for f in listing.files if not is_there(path_inside(folder, f.path))]
    _check_space(listing, folder, missing)
    done = listing.size - sum(file.size for file in missing)
    for file in missing:
        name = printable(PurePosixPath(file.path).name)

        def report(n_bytes: int, before: int = done, name: str = name) -> None:
            share = (before + n_bytes) / max(1, listing.size)
            advance(job, share, 1.0, f"fetching {name}")

        with exchange.as_fetch_errors(listing.place, folder):
            _fetch_file(listing, file, folder, report)
        done += file.size


def _check_space(listing: Listing, folder: Path, missing: list[HubFile]) -> None:
    """Raise FetchError if the drive has too little space."""
    # Space for the missing bytes, and for one copy of everything, since the files are
    # unpacked or converted beside the download.
    saved = sum(size_of(_part_of(folder, file)) for file in missing)
    required = sum(file.size for file in missing) - saved + listing.size
    free = shutil.disk_usage(folder).free
    if required > free:
        raise FetchError(
            "no_space",
            f"{required / 2**30:,.1f} GiB are needed, and {free / 2**30:,.1f} GiB are free at "
            f"{folder}; make room, or choose another folder (--to, OMNIMOUSE_CACHE).",
        )


def _part_of(folder: Path, file: HubFile) -> Path:
    return path_inside(folder, f".{file.checksum}.part")


def _fetch_file(
    listing: Listing, file: HubFile, folder: Path, report: Callable[[int], None]
) -> None:
    target = path_inside(folder, file.path)
    part = _part_of(folder, file)
    # Too long: the server sent the wrong bytes, and appending cannot repair that.
    if size_of(part) > file.size:
        part.unlink()
    if not is_there(part) or size_of(part) < file.size:
        _download(listing, file, part, report)
    if _checksum(part, len(file.checksum)) != file.checksum:
        part.unlink()
        raise FetchError(
            "damaged",
            f"{printable(file.path)} arrived damaged: its checksum is not "
            f"{file.checksum[:12]}…. It was removed; fetch it again.",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    put_in_place(part, target)


def _download(listing: Listing, file: HubFile, part: Path, report: Callable[[int], None]) -> None:
    """Append the missing bytes of one file; try again if the connection drops."""
    largest, n_tries = size_of(part), 0
    fault: Exception = exchange.HubError(0, "", "it ends too early, again and again")
    while n_tries < _TRIES:
        try:
            _append(listing, file, part, report)
        except exchange.HubError as error:
            if error.status not in _BUSY:  # a refusal, which another try will not change
                raise
            fault = error
        except AnswerError as error:
            if not exchange.is_of_network(error):
                raise
            fault = error
        # A refused file of no bytes has no part.
        if is_there(part) and size_of(part) >= file.size:
            return
        # Only tries without progress count, so that a slow unstable connection can
        # finish a large file.
        n_tries = 0 if size_of(part) > largest else n_tries + 1
        largest = max(largest, size_of(part))
        report(size_of(part))  # may raise, so that the user can stop between tries
        time.sleep(_PAUSE_S)
    raise fault


def _append(listing: Listing, file: HubFile, part: Path, report: Callable[[int], None]) -> None:
    place, headers = listing.place, exchange.hub_headers()
    folder = "datasets/" if place.kind == "dataset" else ""
    name = quote(file.path)
    address = f"{exchange.endpoint()}/{folder}{place.repo}/resolve/{listing.commit}/{name}"
    n_bytes = size_of(part)
    if n_bytes:
        headers["Range"] = f"bytes={n_bytes}-"
    with open_without_links(part, "ab") as stream, exchange.answer_to(address, headers) as response:
        if response.status != _PARTIAL:
            # The server ignored the range and sends everything.
            stream.seek(0)
            stream.truncate()
        for block in exchange.blocks_of(response, file.path, file.size - stream.tell()):
            stream.write(block)
            report(stream.tell())


def _checksum(path: Path, length: int) -> str:
    """Return the SHA-256 (64 digits), or git's SHA-1 of a blob (40 digits)."""
    # Files in LFS are named by SHA-256, small ones by git's blob hash: SHA-1 of a
    # header with the size, then the bytes.
    digest = hashlib.sha256()
    if length == 40:
        digest = hashlib.sha1(f"blob {size_of(path)}\0".encode())
    with open_binary(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


# -- one result, made once -----------------------------------------------------------
@contextmanager
def locked_target(place: HubPlace, target: Path, job: Job = QUIET) -> Iterator[Path | None]:
    """Lock `target` and yield its working folder; yield None if it exists already.

    The folder is removed after success. After an error it remains for resumption,
    unless nothing was downloaded.

    Raises
    ------
    FetchError
        `target` exists and was not fetched from this place.
    ResultsFileError
        The working folder holds something that is not the user's own.
    """
    work = work_folder(target)
    # A run that was killed at its end has left its working folder.
    if _is_fetched(place, target) and not is_there(work):
        yield None
        return
    with ExitStack() as stack:
        _wait_for(stack, target, job)
        new_folders = [f for f in target.parents if not is_there(f)]  # innermost first
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # Checked again under the lock: another process may have finished meanwhile.
            if _is_fetched(place, target):
                shutil.rmtree(work, ignore_errors=True)
                remove_left_over(target.parent)
                yield None
                return
            check_own(work)
            yield work
            shutil.rmtree(work, ignore_errors=True)
        finally:
            # A failure before the first byte leaves no trace in the user's folders.
            if not exchange.folder_bytes(work):
                shutil.rmtree(work, ignore_errors=True)
                for folder in new_folders:
                    with suppress(OSError):  # no longer empty
                        folder.rmdir()


def _wait_for(stack: ExitStack, target: Path, job: Job) -> None:
    """Wait until no other program writes a target; the job can stop the wait."""
    while True:
        try:
            stack.enter_context(sole_writer(target))
            return
        except OutputBusyError:
            advance(job, 0.0, 1.0, f"another program is fetching {target.name}; waiting")
            time.sleep(_LOOK_S)


def work_folder(target: Path) -> Path:
    """Return the working folder of a target, for files until all have arrived."""
    return target.with_name(f".{target.name}.fetching")


def commit_folder(work: Path, listing: Listing) -> Path:
    """Return the folder of a commit; remove those of other commits."""
    # Files of two commits must not be mixed, so each commit begins anew.
    folder = path_inside(work, listing.commit[:12])
    for other in paths_in(work):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _is_fetched(place: HubPlace, target: Path) -> bool:
    """Return whether a target was fetched before; raise if it is something else."""
    if not is_there(target):
        return False
    try:
        address = read_json_mapping(_record_of(target)).get("address")
    except SessionFormatError:
        address = None
    if address != str(place):
        origin = "was not fetched from the hub" if address is None else f"is {str(address)[:300]}"
        raise FetchError(
            "exists", f"{target} is there already, and {origin}; choose another folder."
        )
    return True


def _record_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.hub.json")


def write_origin(target: Path, listing: Listing) -> None:
    """Write the origin of a target (address, commit, checksums) beside it."""
    record = {
        "address": str(listing.place),
        "commit": listing.commit,
        "licence": listing.licence,
        "fetched": time.strftime("%Y-%m-%d"),
        "files": {file.path: file.checksum for file in listing.files},
    }
    write_json(_record_of(target), record)


# -- paths made from names that a hub sends
def path_inside(folder: Path, name: str) -> Path:
    """Return the path of a name in a folder.

    Every name, commit and checksum of a hub passes here before a file of it is opened
    or removed.

    Raises
    ------
    FetchError
        The name leads outside the folder, also over a link, or not every operating
        system can hold it.
    """
    path = folder / name
    is_sound = bool(name) and not leads_outside(name) and is_plain_name(name)
    # `real_path` follows links that are in the folder already.
    if not is_sound or not real_path(path).is_relative_to(real_path(folder)):
        raise FetchError("refused", f"The hub names a file {name[:200]!r}, which is refused.")
    return path
