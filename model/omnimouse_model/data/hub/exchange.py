"""Requests to a model hub: address, token, limits of time and size, and errors.

The HTTP library limits the time between two bytes. A server that sends an answer byte
by byte, or redirects with bodies without end, would hold a request for ever.
`huggingface_hub` stores the token, as `hf auth login` does, and reads HF_TOKEN.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from errno import ENOSPC
from math import inf
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from omnimouse_model.data.hub.names import HubPlace
from omnimouse_model.display import printable
from omnimouse_model.errors import FetchError
from omnimouse_model.extras import missing_extra
from omnimouse_model.storage.files import is_folder, paths_in, size_of
from omnimouse_model.storage.web import AnswerError, Place, checked_addresses, has_proxy
from omnimouse_model.storage.write import write_text

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKENS_PAGE = "https://huggingface.co/settings/tokens"


def endpoint() -> str:
    """Return the address of the hub, without a slash at the end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def token_for_hub() -> str | Literal[False]:
    """Return the user's token, False if there is none or it must not be sent.

    It is sent over an encrypted connection, or to a server on this machine.
    """
    from huggingface_hub import get_token

    return (get_token() or False) if is_private() else False


def is_private() -> bool:
    """Return whether nobody between this machine and the hub can read a token."""
    place = urlsplit(endpoint())
    return place.scheme == "https" or place.hostname in _LOOPBACK


def hub_headers() -> dict[str, str]:
    """Return the header fields of a request to the hub, with the token.

    `huggingface_hub` would first request a list from the hub for its own ones, without
    a limit of size and time.
    """
    # Bytes as they are: encoded ones can decode to any size, and cannot be resumed.
    headers = {"User-Agent": "omnimouse-app", "Accept-Encoding": "identity"}
    if token := token_for_hub():
        headers["Authorization"] = f"Bearer {token}"
    return headers


def http_error() -> type[BaseException]:
    """Return the base error of the HTTP library that `huggingface_hub` uses."""
    from huggingface_hub.errors import HfHubHTTPError

    # Found through its subclass, because the HTTP library differs between versions
    # (requests or httpx).
    base: type[BaseException] = HfHubHTTPError.__bases__[0]
    return base


def missing_package(error: ImportError) -> FetchError:
    """Return the error that names the package to install for fetching."""
    return FetchError(
        "missing_package",
        f"Fetching is not possible: {missing_extra(error) or error}",
    )


TIMEOUT_S = 20.0
"""Seconds without data after which the connection counts as lost."""
HEAD_S = 60.0
"""Most seconds of a request until the head of its answer has arrived, and of the wait
for each block of its body."""
MOST_REDIRECTS = 10
_UNREACHED = ("ConnectError", "ConnectTimeout")
"""Errors after which the next address of a host is tried."""


class Deadline:
    """Time limit of a block that waits for the hub; it closes the connections.

    `huggingface_hub` has one session for all connections, so those of other threads
    are closed, too. The block ends with the next byte, or after `TIMEOUT_S`.

    Parameters
    ----------
    name
        What is awaited, for the message.

    Raises
    ------
    FetchError
        The wait took longer than `HEAD_S`.
    """

    def __init__(self, name: str) -> None:
        self._name, self._seconds = name, HEAD_S
        self._until_s = inf
        self._has_ended = Event()
        self._is_over = False

    def renew(self) -> None:
        """Begin the limit anew."""
        self._until_s = monotonic() + self._seconds

    def pause(self) -> None:
        """Suspend the limit until `renew`: nothing is awaited."""
        self._until_s = inf

    def __enter__(self) -> "Deadline":
        self.renew()
        Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._has_ended.set()
        if self._is_over and isinstance(error, Exception):
            raise FetchError(
                "interrupted",
                f"{self._name} did not arrive within {self._seconds:g} s; the same "
                "command tries again.",
            ) from error

    def _watch(self) -> None:
        from huggingface_hub import close_session

        while (left_s := self._until_s - monotonic()) > 0:
            if self._has_ended.wait(min(left_s, self._seconds)):
                return
        self._is_over = True
        close_session()


@contextmanager
def answer_to(
    address: str,
    headers: Mapping[str, str],
    params: Mapping[str, Any] | None = None,
    hub: str = "",
) -> Iterator[Any]:
    """Send a request, follow its redirects, and yield the last answer.

    The body of the answer is not read.

    Parameters
    ----------
    headers
        Its token is sent to the hub alone.
    hub
        An address of the hub, if `address` is one to which the hub has redirected.

    Raises
    ------
    FetchError
        A head did not arrive in time, or the redirects lead nowhere.
    """
    named = _place(hub or address)
    answer = _sent("GET", address, headers, named, params)
    try:
        for _ in range(MOST_REDIRECTS):
            if not answer.has_redirect_location:
                break
            answer.close()  # unread: its body can have any size
            address = _following(answer, address)
            answer = _sent("GET", address, headers, named)
        else:
            raise _without_end(address)
        raise_for_status(answer)
        yield answer
    finally:
        answer.close()


def location_of(address: str, headers: Mapping[str, str]) -> str:
    """Return the address of the bytes of a file: at the hub, or at its storage.

    Only redirects within the hub are followed, because `headers` can hold a token.

    Raises
    ------
    FetchError
        A head did not arrive in time, or the redirects lead nowhere.
    """
    hub = _place(address)
    for _ in range(MOST_REDIRECTS):
        answer = _sent("HEAD", address, headers, hub)
        answer.read()  # empty; the connection can be used again
        if not answer.has_redirect_location:
            raise_for_status(answer)
            return address
        address = _following(answer, address)
        if _place(address) != hub:
            return address
    raise _without_end(address)


def _sent(
    method: str,
    address: str,
    headers: Mapping[str, str],
    hub: Place,
    params: Mapping[str, Any] | None = None,
) -> Any:
    """Send a request; return the answer after its head.

    Another place than the hub gets no token. It is on this machine or its network only if
    the hub is there (see `checked_addresses`), and its name is not looked up again.
    """
    from huggingface_hub import get_session

    place, numbers = _place(address), [""]
    if place != hub:
        headers = {name: v for name, v in headers.items() if name.lower() != "authorization"}
        try:
            found = checked_addresses(place, hub)
        except AnswerError as error:
            raise FetchError("refused", f"{printable(hub.host)} redirects: {error}.") from error
        numbers = [""] if has_proxy(place) else found
    # Before the limit, which closes it: a new one would have none.
    session = get_session()
    with Deadline(f"The answer of {printable(place.host)}"):
        for number in numbers:
            request = session.build_request(
                method, address, headers=headers, params=params, timeout=TIMEOUT_S
            )
            if number:
                # Its header `Host` and its certificate are those of the name, so that the
                # connection serves no other name of this address.
                request.url = request.url.copy_with(host=number)
                request.headers["Connection"] = "close"
                request.extensions["sni_hostname"] = place.host
            try:
                return session.send(request, stream=True, follow_redirects=False)
            except Exception as error:
                # httpx, of huggingface_hub 1, raises this; a later one has no next request.
                if "location header" in str(error):
                    raise _no_address(address) from error
                if number == numbers[-1] or type(error).__name__ not in _UNREACHED:
                    raise
    raise AssertionError("a place without an address")


def _place(address: str) -> Place:
    try:
        return Place.of(address)
    except AnswerError as error:
        raise _no_address(address) from error


def _following(answer: Any, address: str) -> str:
    """Return the address to which the answer of another one redirects."""
    try:
        return urljoin(address, str(answer.headers["location"]))
    except ValueError as error:
        raise _no_address(address) from error


def _no_address(address: str) -> FetchError:
    return FetchError(
        "refused", f"{printable(address[:80])} leads to something that is no address."
    )


def _without_end(address: str) -> FetchError:
    host = printable(urlsplit(address).hostname or "")
    return FetchError("refused", f"{host} redirects more than {MOST_REDIRECTS} times.")


def raise_for_status(response: Any) -> None:
    """Raise the error of `huggingface_hub` that belongs to a status.

    The body is not read: that library would read it whole, of any size.
    """
    from huggingface_hub.utils import hf_raise_for_status

    headers = response.headers
    told = ("x-error-code", "x-error-message", "location")
    bare = type(response)(
        response.status_code,
        headers={name: headers[name] for name in told if name in headers},
        request=response.request,
    )
    hf_raise_for_status(bare)


# Bytes per second below which a download is given up, and the seconds over which this
# is measured.
_SLOWEST = 1024
_MEASURED_S = 30.0


def blocks_of(response: Any, name: str, n_bytes: int) -> Iterator[bytes]:
    """Yield the body of a streamed answer, at most `n_bytes`.

    Parameters
    ----------
    response
        Answer of `huggingface_hub`'s session.
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
    # Decoded bytes could be many times as many as those sent.
    encoding = str(response.headers.get("content-encoding") or "identity").lower()
    if encoding != "identity":
        raise FetchError(
            "refused",
            f"{name} is sent as {printable(encoding)!r}, which is refused.",
        )
    n_received, n_before, since_s = 0, 0, time.monotonic()
    with Deadline(f"{name}: the next block") as deadline:
        for block in response.iter_raw():
            deadline.pause()
            n_received += len(block)
            if n_received > n_bytes:
                raise FetchError(
                    "damaged",
                    f"{name} is longer than the {n_bytes:,} bytes that are accepted; "
                    "the rest is refused.",
                )
            yield block
            deadline.renew()
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


# By name, because huggingface_hub changed its HTTP library between versions and the
# classes changed with it.
_NO_CONNECTION = (*_UNREACHED, "ProxyError")
"""Names of the errors for a failed connection."""


@contextmanager
def as_fetch_errors(place: HubPlace, folder: Path | None = None) -> Iterator[None]:
    """Raise errors of `huggingface_hub` and of the network as `FetchError`.

    If `folder` has downloaded bytes, the message states that they are saved.
    """
    try:
        from huggingface_hub import errors
    except ImportError as error:
        raise missing_package(error) from error
    try:
        yield
    # The order matters: a gated repository is a subclass of one that is not found.
    except errors.GatedRepoError as error:
        raise FetchError("gated", _gated(place)) from error
    except errors.RepositoryNotFoundError as error:
        problem = f"{place.repo} is not on the hub, or you have no access. "
        raise FetchError("not_found", problem + _sign_in_hint(place)) from error
    except errors.RevisionNotFoundError as error:
        raise FetchError(
            "not_found", f"{place.repo} has no revision {place.revision!r}."
        ) from error
    except errors.EntryNotFoundError as error:
        raise FetchError(
            "not_found",
            f"{place} is not in its repository; {place.page}/tree/main lists files.",
        ) from error
    except errors.HFValidationError as error:
        raise FetchError("not_found", f"{place}: {error}") from error
    except FetchError:
        raise
    except ValueError as error:  # not JSON: often a network's sign-in page
        raise FetchError(
            "interrupted",
            f"The server at {endpoint()} is not the hub ({first_line(error)}); "
            "is there a page to sign in to the network?",
        ) from error
    except (http_error(), OSError) as error:
        # Errors of the network and of the local drive are both OSErrors. Only those of
        # the drive have an errno and are not connection errors.
        network = (http_error(), ConnectionError, TimeoutError)
        is_local = isinstance(error, OSError) and error.errno is not None
        if is_local and not isinstance(error, network):
            if getattr(error, "errno", None) == ENOSPC:
                raise FetchError(
                    "no_space",
                    f"The drive is full: {error}. The downloaded part is saved.",
                ) from error
            raise  # an error of a local drive, not of the hub
        raise FetchError("interrupted", _interrupted(place, error, folder)) from error


def _interrupted(place: HubPlace, error: BaseException, folder: Path | None) -> str:
    hint = "the same command tries again."
    if folder is not None and folder_bytes(folder):
        hint = "the downloaded part is saved, and the same command continues."
    if type(error).__name__ in _NO_CONNECTION:
        return (
            f"No connection to {_host_of(error)} ({first_line(error)}). Check the "
            f"network, or the proxy (HTTPS_PROXY); {hint}"
        )
    return f"The hub did not send {place}: {first_line(error)}; {hint}"


def _host_of(error: BaseException) -> str:
    """Return the host of the failed request, which is not always the hub."""
    try:
        # Errors of httpx have a request; others have none.
        return str(error.request.url.host)  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):  # the error has no request
        return urlsplit(endpoint()).hostname or endpoint()


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
        f"{place.repo} requires access, and your token has none: ask for it at "
        f"{place.page}, wait for the answer, and allow the token to read gated "
        "repositories."
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
    except (http_error(), OSError) as error:
        raise _not_saved(f"{endpoint()} did not accept it ({first_line(error)})") from error
    place = Path(constants.HF_TOKEN_PATH)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, token, is_private=True)


def _not_saved(reason: str) -> FetchError:
    return FetchError(
        "refused",
        f"The token was not saved: {reason}. {TOKENS_PAGE} makes read tokens.",
    )
