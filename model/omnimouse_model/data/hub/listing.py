"""Lists of the files of a repository on the hub, checked before they are used."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from omnimouse_model.data.hub.auth import endpoint, hub_headers
from omnimouse_model.data.hub.body import blocks_of
from omnimouse_model.data.hub.errors import as_fetch_errors
from omnimouse_model.data.hub.exchange import answer_to
from omnimouse_model.data.hub.names import HubPlace
from omnimouse_model.display import printable
from omnimouse_model.errors import FetchError
from omnimouse_model.storage.archives import is_plain_name, leads_outside
from omnimouse_model.storage.trees import decode_json

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
    with as_fetch_errors(place):
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
            "offline",
            "HF_HUB_OFFLINE is set, and this was not fetched before; unset it to fetch",
        )
    revision = quote(place.revision, safe="")
    address = f"{endpoint()}/api/{place.kind}s/{place.repo}/revision/{revision}"
    # With sizes and checksums.
    with answer_to(address, hub_headers(), {"blobs": True}) as response:
        body = b"".join(blocks_of(response, f"The list of files of {place}", _LONGEST))
    info = decode_json(body, "its answer")
    if not isinstance(info, dict):
        raise _no_list(type(info).__name__)
    return info


def _no_list(found: str) -> FetchError:
    return FetchError(
        "refused",
        f"The server at {endpoint()} sends no list of files ({found}); it is not the hub.",
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
