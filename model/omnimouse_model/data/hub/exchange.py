"""Requests to a model hub: address, token, limits of size and rate, and errors.

Requests are those of all other files on the web (`storage.web`). `huggingface_hub` stores
the token, as `hf auth login` does, and reads HF_TOKEN.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from omnimouse_model.display import printable
from omnimouse_model.errors import FetchError
from omnimouse_model.extras import missing_extra
from omnimouse_model.storage.archives import is_plain_name, leads_outside, without_ending
from omnimouse_model.storage.files import is_folder, paths_in, size_of
from omnimouse_model.storage.web import Answer, AnswerError, Requests
from omnimouse_model.storage.write import write_text

# -- names on the model hub: checkpoints, recordings, and `hf://` addresses -----------
OWNER = "the-enigma-project"
DATASET = f"{OWNER}/omnimouse-dataset"
RECORDINGS = "experiments"
"""Folder of the data set with one archive per recording."""
_SESSION = re.compile(r"dynamic\d+-\d+-\d+-Video-[0-9a-f]{32}(_30hz)?")
CHECKPOINTS = tuple(f"omnimouse-{s}" for s in ("1M", "5M", "20M", "80M", "300M"))
"""Released models in order of size."""
# The hub's rule for names: word characters, dots and dashes, 96 at most.
_PART = re.compile(r"[\w][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A repository of the hub, or a file or folder in it.

    Attributes
    ----------
    kind
        "model" or "dataset".
    repo
        "owner/name".
    path
        Path inside the repository; "" is the whole repository.
    revision
        A branch, tag or commit.
    """

    kind: Literal["model", "dataset"]
    repo: str
    path: str = ""
    revision: str = "main"

    @property
    def name(self) -> str:
        """Name on this machine: last part of the address, without archive ending."""
        # The readers choose the name of a recording from that of its folder.
        last = (self.path or self.repo).rsplit("/", 1)[-1]
        return without_ending(last) or last

    @property
    def page(self) -> str:
        """Address of the web page of the repository."""
        folder = "datasets/" if self.kind == "dataset" else ""
        return f"https://huggingface.co/{folder}{self.repo}"

    def __str__(self) -> str:
        folder = "datasets/" if self.kind == "dataset" else ""
        revision = "" if self.revision == "main" else f"@{self.revision}"
        path = f"/{self.path}" if self.path else ""
        return f"hf://{folder}{self.repo}{revision}{path}"


def hub_place(name: str) -> HubPlace | None:
    """Return the place on the hub for a name, None if it is not a name of the hub.

    Names are `omnimouse-1M` … `omnimouse-300M`, the names of released recordings, and
    addresses: `hf://[datasets/]owner/name[@revision][/path]`.

    Raises
    ------
    FetchError
        The address is not valid.
    """
    if name in CHECKPOINTS:
        return HubPlace("model", f"{OWNER}/{name}")
    if _SESSION.fullmatch(name):
        return HubPlace("dataset", DATASET, f"{RECORDINGS}/{name}.tar")
    # A Path turns two slashes into one, and into backslashes on Windows.
    address = re.fullmatch(r"hf:/{1,2}(?P<rest>[^/].*)", name.replace("\\", "/"))
    if address is None:
        return None
    rest = address["rest"].rstrip("/")
    # Users also write "hf://omnimouse-5M".
    if short := hub_place(rest):
        return short
    return _place(rest, name)


def short_name(path: str) -> str:
    """Return the short name of a released recording's file; "" for other files."""
    folder, _, file = path.rpartition("/")
    name = file.removesuffix(".tar")
    return name if folder == RECORDINGS and _SESSION.fullmatch(name) else ""


def _place(rest: str, address: str) -> HubPlace:
    parts = rest.split("/")
    kind: Literal["model", "dataset"] = "model"
    if parts[0] in ("datasets", "models"):
        kind = "dataset" if parts.pop(0) == "datasets" else "model"
    owner, name = [*parts, "", ""][:2]
    name, _, revision = name.partition("@")
    path = "/".join(parts[2:])
    is_sound = all(_PART.fullmatch(p) for p in (owner, name, revision or "main"))
    is_sound &= not leads_outside(path) and is_plain_name(path)
    if not is_sound or {"", "."} & set(parts[2:]):
        raise FetchError(
            "not_found",
            f"{address!r} is no address of the hub; write hf://owner/model, "
            "hf://datasets/owner/name/path, or a name such as omnimouse-5M.",
        )
    return HubPlace(kind, f"{owner}/{name}", path, revision or "main")


_LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKENS_PAGE = "https://huggingface.co/settings/tokens"


def endpoint() -> str:
    """Return the address of the hub, without a slash at the end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def is_private() -> bool:
    """Return whether nobody between this machine and the hub can read a token."""
    place = urlsplit(endpoint())
    return place.scheme == "https" or place.hostname in _LOOPBACK


def hub_headers() -> dict[str, str]:
    """Return the header fields of a request to the hub, with the user's token.

    The token is sent over an encrypted connection, or to a server on this machine.
    `huggingface_hub` would first request a list from the hub for its own fields, without
    a limit of size and time.
    """
    from huggingface_hub import get_token

    # Bytes as they are: encoded ones can decode to any size, and cannot be resumed.
    headers = {"User-Agent": "omnimouse-app", "Accept-Encoding": "identity"}
    if is_private() and (token := get_token()):
        headers["Authorization"] = f"Bearer {token}"
    return headers


def missing_package(error: ImportError) -> FetchError:
    """Return the error that names the package to install for fetching."""
    return FetchError(
        "missing_package", f"Fetching is not possible: {missing_extra(error) or error}"
    )


# Bytes per second below which a download is given up, and the seconds over which this
# is measured.
_SLOWEST = 1024
_MEASURED_S = 30.0


class HubError(Exception):
    """The hub refuses a request; `code` is its own name of the reason, "" for others.

    The status is 0 if it answers, and sends too little.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code = status, code
        told = f" ({message})" if message else ""
        super().__init__(f"status {status}{told}" if status else message)


@contextmanager
def answer_to(address: str, headers: Mapping[str, str]) -> Iterator[Answer]:
    """Yield the answer of the hub, or of the storage to which it redirects.

    The token is sent to the hub alone.

    Raises
    ------
    HubError, AnswerError
        The hub refuses the request; there is no answer in time.
    """
    requests = Requests(address)
    try:
        with requests.answer(headers) as answer:
            if answer.status not in (200, 206):
                code, message = (
                    printable(answer.told.get(f"x-error-{name}", ""))[:300]
                    for name in ("code", "message")
                )
                raise HubError(answer.status, code, message)
            yield answer
    finally:
        requests.close()


def blocks_of(answer: Answer, name: str, n_bytes: int) -> Iterator[bytes]:
    """Yield the body of an answer, at most `n_bytes`.

    Parameters
    ----------
    name
        Name of the file or list, for messages.
    n_bytes
        Most bytes that are accepted.

    Raises
    ------
    FetchError
        The body is encoded, longer, or arrives below the least rate.
    """
    name = printable(name)  # the hub's own
    n_received, n_before, since_s = 0, 0, time.monotonic()
    try:
        for block in answer.blocks():
            n_received += len(block)
            if n_received > n_bytes:
                raise FetchError(
                    "damaged",
                    f"{name} is longer than the {n_bytes:,} bytes that are accepted; "
                    "the rest is refused.",
                )
            yield block
            passed_s = time.monotonic() - since_s
            if passed_s < _MEASURED_S:
                continue
            if n_received - n_before < _SLOWEST * passed_s:
                raise FetchError(
                    "interrupted",
                    f"{name} arrives with less than {_SLOWEST:,} bytes/s; the "
                    "downloaded part is saved, and the same command continues.",
                )
            n_before, since_s = n_received, time.monotonic()
    except AnswerError as error:
        if is_of_network(error):
            raise
        raise FetchError("refused", f"{name} {str(error).removeprefix('it ')}.") from error


@contextmanager
def as_fetch_errors(place: HubPlace, folder: Path | None = None) -> Iterator[None]:
    """Turn errors of the hub and of the network into `FetchError`.

    Parameters
    ----------
    folder
        Its parts of files are kept; a message says so if there are some.
    """
    try:
        yield
    except HubError as error:
        raise _refusal(place, error, folder) from error
    except AnswerError as error:
        if is_of_network(error):
            raise FetchError("interrupted", _interrupted(place, error, folder)) from error
        problem = f"The hub did not send {place}: {first_line(error)}."
        raise FetchError("refused", problem) from error
    except ImportError as error:
        raise missing_package(error) from error
    except FetchError:
        raise
    except ValueError as error:  # not JSON: often a network's sign-in page
        raise FetchError(
            "interrupted",
            f"The server at {endpoint()} is not the hub ({first_line(error)}); "
            "is there a page to sign in to the network?",
        ) from error
    except OSError as error:
        if error.errno == ENOSPC:
            raise FetchError(
                "no_space", f"The drive is full: {error}. The downloaded part is saved."
            ) from error
        raise  # an error of a local drive, not of the hub


def is_of_network(error: AnswerError) -> bool:
    """Return whether another try may succeed: nothing was refused."""
    return isinstance(error.__cause__, OSError | HTTPException)


def _refusal(place: HubPlace, error: HubError, folder: Path | None) -> FetchError:
    if error.code == "GatedRepo":
        return FetchError("gated", _gated(place))
    if error.code == "RevisionNotFound":
        return FetchError("not_found", f"{place.repo} has no revision {place.revision!r}.")
    if error.code == "EntryNotFound":
        lists = f"{place.page}/tree/main lists files"
        return FetchError("not_found", f"{place} is not in its repository; {lists}.")
    # The hub does not tell strangers which repositories exist.
    if error.code == "RepoNotFound" or error.status == 401:
        problem = f"{place.repo} is not on the hub, or you have no access. "
        return FetchError("not_found", problem + _sign_in_hint(place))
    return FetchError("interrupted", _interrupted(place, error, folder))


def _interrupted(place: HubPlace, error: BaseException, folder: Path | None) -> str:
    hint = "the same command tries again."
    if folder is not None and folder_bytes(folder):
        hint = "the downloaded part is saved, and the same command continues."
    if isinstance(error, AnswerError) and error.host:
        # Not always the hub: it redirects to storage, of which a network may know nothing.
        return (
            f"No connection to {printable(error.host)} ({first_line(error)}). Check the "
            f"network, or the proxy (HTTPS_PROXY); {hint}"
        )
    return f"The hub did not send {place}: {first_line(error)}; {hint}"


def folder_bytes(folder: Path) -> int:
    """Return the total size in bytes of the files at and below a folder."""
    return sum(
        folder_bytes(path) if is_folder(path, follows=False) else size_of(path)
        for path in paths_in(folder)
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error, without the query parts of addresses."""
    lines = str(error).splitlines() or [type(error).__name__]
    plain = re.sub(r"^\[Errno -?\d+\] ", "", lines[0])
    # Addresses of storage have signatures in their query that grant access; they must
    # not get into messages and logs.
    return printable(re.sub(r"\?[^\s'\"]+", "?…", plain))[:300]


def _gated(place: HubPlace) -> str:
    from huggingface_hub import get_token

    if get_token() is None:
        return f"{place.repo} requires access. {_sign_in_hint(place)}"
    return (
        f"{place.repo} requires access, and your token has none: ask for it at {place.page}, wait "
        "for the answer, and allow the token to read gated repositories."
    )


def _sign_in_hint(place: HubPlace) -> str:
    return (
        f"Ask for access at {place.page}, make a read token at {TOKENS_PAGE}, then run "
        "`omnimouse fetch --login` or set HF_TOKEN."
    )


def save_token(token: str) -> None:
    """Store a read token of the hub for this user, after the hub has accepted it.

    `huggingface_hub.login` would send it over a connection without encryption, and read
    an answer of any size.

    Raises
    ------
    FetchError
        The connection is not encrypted, or the hub cannot be reached or does not accept
        the token.
    """
    try:
        from huggingface_hub import constants
    except ImportError as error:
        raise missing_package(error) from error
    token = token.strip()
    if not is_private():
        raise _not_saved(
            f"{endpoint()} is not encrypted: set HF_ENDPOINT to an address that begins "
            "with https://"
        )
    # Checked here: errors of the HTTP library would show the token.
    if not re.fullmatch(r"[\w.-]+", token, re.ASCII):
        raise _not_saved("it has characters that no token has")
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    try:
        with answer_to(f"{endpoint()}/api/whoami-v2", headers):
            pass  # the status says it all
    except (HubError, AnswerError) as error:
        raise _not_saved(f"{endpoint()} did not accept it ({first_line(error)})") from error
    place = Path(constants.HF_TOKEN_PATH)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, token, is_private=True)


def _not_saved(reason: str) -> FetchError:
    return FetchError(
        "refused", f"The token was not saved: {reason}. {TOKENS_PAGE} makes read tokens."
    )
