"""Fetching from the model hub: what is there, file by file, checked, gone on with.

`huggingface_hub` speaks with the hub; it is imported when something is fetched. Parts
of files are kept between runs, which that library does not do.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from omnimouse_model.atomic import atomic_path
from omnimouse_model.cache import cache_dir
from omnimouse_model.data.hub.auth import endpoint, read_token
from omnimouse_model.data.hub.errors import (
    arrived_bytes,
    http_errors,
    told_as_fetch_errors,
)
from omnimouse_model.data.hub.names import HubPlace
from omnimouse_model.data.hub.unpack import is_plain_name, leads_outside
from omnimouse_model.errors import FetchError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Told = Callable[[float, str], None]
"""Is told the finished share and what is being done; may raise to stop."""

_BLOCK = 1 << 18
_TIMEOUT_S = 20.0
_TRIES = 5
_PAUSE_S = 1.0
_PARTIAL = 206
_BUSY = (408, 429, 500, 502, 503, 504)
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; `checksum` is its SHA-256, or git's SHA-1 if small."""

    path: str
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a place of the hub holds at one commit."""

    place: HubPlace
    commit: str
    files: tuple[HubFile, ...]
    licence: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def listing(place: HubPlace) -> Listing:
    """Ask the hub what a place holds.

    Raises
    ------
    FetchError
        It is not there, not for this user, or the hub cannot be reached.
    """
    with told_as_fetch_errors(place):
        info = _api().repo_info(
            place.repo,
            repo_type=place.kind,
            revision=place.revision,
            files_metadata=True,
            timeout=_TIMEOUT_S,
        )
        card: Any = getattr(info, "card_data", None)
        licence = str(card.get("license") or "") if card is not None else ""
        files = tuple(_files(place, getattr(info, "siblings", None) or ()))
        return Listing(place, str(info.sha), files, licence)


def _files(place: HubPlace, siblings: Iterable[Any]) -> Iterator[HubFile]:
    """The files at or below a place, by name."""
    every = sorted(siblings, key=lambda item: str(item.rfilename))
    found = [
        item
        for item in every
        if not place.path
        or item.rfilename == place.path
        or item.rfilename.startswith(f"{place.path}/")
    ]
    if not found:
        near = get_close_matches(place.path, [i.rfilename for i in every], 1, 0.8)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise FetchError(
            "not_found", f"{place} is not in its repository, {place.page}.{hint}"
        )
    seen: set[str] = set()
    for item in found:
        name = str(item.rfilename)
        is_twice = name.casefold() in seen  # on systems that do not tell them apart
        if is_twice or leads_outside(name) or not is_plain_name(name):
            raise FetchError("refused", f"{place}: a file is called {name!r}.")
        seen.add(name.casefold())
        checksum = item.blob_id if item.lfs is None else item.lfs.sha256
        if item.size is None or not checksum:
            raise FetchError("refused", f"{place}: {name!r} has no size or checksum.")
        yield HubFile(name, int(item.size), str(checksum))


def fetch_files(found: Listing, folder: Path, told: Told | None = None) -> None:
    """Bring every file of a listing into a folder; what is there already stays.

    Each is compared with its checksum before it has its name. A stop or kill at any
    point loses nothing: the next call goes on from the last byte. The folder is for
    one commit.

    Raises
    ------
    FetchError
        A file could not be fetched whole, or there is no room for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left = [file for file in found.files if not (folder / file.path).exists()]
    _check_room(found, folder, left)
    done = found.size - sum(file.size for file in left)
    for file in left:
        name = PurePosixPath(file.path).name

        def tell(n: int, before: int = done, name: str = name) -> None:
            if told is not None:
                told((before + n) / max(1, found.size), f"fetching {name}")

        with told_as_fetch_errors(found.place, folder):
            _fetch_file(found, file, folder, tell)
        done += file.size


def _check_room(found: Listing, folder: Path, left: list[HubFile]) -> None:
    """There must be room for what is to come, and for one copy of all."""
    begun = sum(_size(_part_of(folder, file)) for file in left)
    wanted = sum(file.size for file in left) - begun + found.size
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise FetchError(
            "no_space",
            f"{wanted / 2**30:,.1f} GiB are needed, and {free / 2**30:,.1f} GiB are "
            f"free at {folder}; make room, or choose another folder (--to, "
            "OMNIMOUSE_CACHE).",
        )


def _part_of(folder: Path, file: HubFile) -> Path:
    return folder / f".{file.checksum}.part"


def _fetch_file(
    found: Listing, file: HubFile, folder: Path, tell: Callable[[int], None]
) -> None:
    target = folder / file.path
    part = _part_of(folder, file)
    if _size(part) > file.size:
        part.unlink()
    if not part.exists() or _size(part) < file.size:
        _download(found, file, part, tell)
    if _checksum(part, len(file.checksum)) != file.checksum:
        part.unlink()
        raise FetchError(
            "damaged",
            f"{file.path} arrived damaged: its checksum is not {file.checksum[:12]}…. "
            "It was removed; fetch it again.",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)


def _download(
    found: Listing, file: HubFile, part: Path, tell: Callable[[int], None]
) -> None:
    """Append what is missing of one file, and try again where the line drops."""
    from huggingface_hub.errors import HfHubHTTPError

    dropped = (http_errors(), ConnectionError, TimeoutError)
    most, in_vain = _size(part), 0
    fault: BaseException | None = None
    while in_vain < _TRIES:
        try:
            _append(found, file, part, tell)
            fault = None
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", 0)
            if status not in _BUSY:  # an answer, and it is no
                raise
            fault = error
        except dropped as error:
            fault = error
        if _size(part) >= file.size:
            return
        in_vain = 0 if _size(part) > most else in_vain + 1
        most = max(most, _size(part))
        tell(_size(part))  # whoever wants to stop can
        time.sleep(_PAUSE_S)
    raise fault or ConnectionError("it ends too early, again and again")


def _append(
    found: Listing, file: HubFile, part: Path, tell: Callable[[int], None]
) -> None:
    from huggingface_hub import get_hf_file_metadata, get_session, hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # not in __all__
        build_hf_headers,
        hf_raise_for_status,
    )

    place, token = found.place, read_token() or False
    url = hf_hub_url(
        place.repo,
        file.path,
        repo_type=place.kind,
        revision=found.commit,
        endpoint=endpoint(),
    )
    where = get_hf_file_metadata(
        url, token=token, timeout=_TIMEOUT_S, endpoint=endpoint()
    ).location
    headers = build_hf_headers(token=token, library_name="omnimouse-app")
    if urlsplit(where).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # the token is for the hub alone
    have = _size(part)
    headers["Accept-Encoding"] = "identity"
    if have:
        headers["Range"] = f"bytes={have}-"
    with (
        part.open("ab") as stream,
        get_session().stream(
            "GET", where, headers=headers, timeout=_TIMEOUT_S
        ) as response,
    ):
        hf_raise_for_status(response)
        if response.status_code != _PARTIAL:
            stream.truncate(0)  # all of it is being sent
        for block in response.iter_bytes():
            stream.write(block)
            tell(stream.tell())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _checksum(path: Path, length: int) -> str:
    """SHA-256 of 64 digits, or git's SHA-1 of 40."""
    digest = hashlib.sha256()
    if length == 40:
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


# -- one result, made once -----------------------------------------------------------
@contextmanager
def making(
    place: HubPlace, target: Path, told: Told | None = None
) -> Iterator[Path | None]:
    """A folder to work in while nobody else makes `target`; None where it is there.

    The folder is removed when the block ends well, and gone on with otherwise.

    Raises
    ------
    FetchError
        Something else is there.
    """
    from filelock import FileLock, Timeout

    if _is_made(place, target):
        yield None
        return
    work = work_of(target)
    lock = FileLock(_lock_of(target))
    while True:
        try:
            lock.acquire(timeout=_LOOK_S)
            break
        except Timeout:
            if told is not None:
                told(0.0, f"another program is fetching {target.name}; waiting")
    made: list[Path] = []
    try:
        made = _make_folders(target.parent)
        if _is_made(place, target):
            shutil.rmtree(work, ignore_errors=True)  # of a run that ended just there
            yield None
            return
        yield work
        shutil.rmtree(work, ignore_errors=True)
    finally:
        if not arrived_bytes(work):
            shutil.rmtree(work, ignore_errors=True)
            _remove_empty(made)
        lock.release()


def work_of(target: Path) -> Path:
    """Where the files of a target lie until all are there."""
    return target.with_name(f".{target.name}.fetching")


def _lock_of(target: Path) -> Path:
    """A file of the cache: in the user's folder nothing is left, nothing removed."""
    folder = cache_dir() / "hub" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / hashlib.blake2b(str(target).encode(), digest_size=12).hexdigest()


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; those that were missing, inner ones first."""
    made = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # something else was put there meanwhile
            folder.rmdir()


def commit_folder(work: Path, found: Listing) -> Path:
    """Where the files of a commit are put; those of others are not gone on with."""
    folder = work / found.commit[:12]
    for other in work.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _is_made(place: HubPlace, target: Path) -> bool:
    """Whether it was fetched before; what is there and was not is no answer."""
    if not target.exists():
        return False
    try:
        record = json.loads(_record_of(target).read_text("utf-8"))
        address = record["address"]
    except (OSError, ValueError, KeyError, TypeError):
        address = None
    if address != str(place):
        what = "was not fetched from the hub" if address is None else f"is {address}"
        raise FetchError(
            "exists", f"{target} is there already, and {what}; choose another folder."
        )
    return True


def _record_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.hub.json")


def write_origin(target: Path, found: Listing) -> None:
    """Note beside what was fetched where it came from, at which commit."""
    record = {
        "address": str(found.place),
        "commit": found.commit,
        "licence": found.licence,
        "fetched": time.strftime("%Y-%m-%d"),
        "files": {file.path: file.checksum for file in found.files},
    }
    with atomic_path(_record_of(target)) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def _api() -> "HfApi":
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise FetchError(
            "offline",
            "HF_HUB_OFFLINE is set, and this was not fetched before; unset it to fetch",
        )
    return HfApi(
        endpoint=endpoint(), token=read_token() or False, library_name="omnimouse-app"
    )
