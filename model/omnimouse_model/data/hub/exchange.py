"""Requests to a model hub, with a time limit for each answer and redirect.

The HTTP library limits the time between two bytes. A server that sends an answer byte
by byte, or redirects with bodies without end, would hold a request for ever.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Any
from urllib.parse import urljoin, urlsplit

from omnimouse_model.display import printable
from omnimouse_model.errors import FetchError
from omnimouse_model.storage.web import AnswerError, Place, checked_addresses, has_proxy

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
