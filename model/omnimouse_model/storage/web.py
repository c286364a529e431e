"""Requests over HTTP: checked addresses, and time and size limits for each answer.

A server on the web can redirect to a service of this machine or of its network. So a
redirect leads to such an address only if the user named that place, or if its host is
in the setting `trusted_hosts`; and the address that was checked is the one connected to.
"""

import base64
import http.client
import os
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from threading import Timer
from time import monotonic
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from omnimouse_model.storage.cache import config_dir
from omnimouse_model.storage.state import read_or_set_aside
from omnimouse_model.storage.write import write_json

TRUSTED_HOSTS = "OMNIMOUSE_TRUSTED_HOSTS"
"""Variable with more hosts of the setting, with commas."""
_CONNECT_S, _HEAD_S, _SILENCE_S = 20.0, 60.0, 60.0
"""Seconds until a connection, until the head of an answer, and between two bytes."""
_BODY_S = 300.0
"""Most seconds for a body; those that are asked for have a few MiB."""
_MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_PLAIN = "/%:@!$&'()*+,;=~?"
"""Signs of an address that are sent as they are."""
_UNREAD = 2**16
"""Bytes of a body that nobody needs, which are read to use its connection again."""


_ON_THE_WEB: "set[Place]" = set()
"""Places with public addresses since the program started."""


class AnswerError(Exception):
    """A server did not send what was asked: its status, 0 without one, and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Place:
    """Scheme, host and port of an address."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Place":
        """Return the place of an address; raise `AnswerError` if it is none."""
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            host = (parts.hostname or "").encode("idna").decode()
        except (ValueError, KeyError) as error:
            raise AnswerError(0, "it is no address of http or https") from error
        if not host:
            raise AnswerError(0, "it is no address of http or https")
        return cls(parts.scheme, host, port)

    def addresses(self) -> list[str]:
        """Return the numbers of the host; raise `AnswerError` if it has none."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise AnswerError(0, f"{self.host} is not known: {error}") from error
        return list(dict.fromkeys(str(one[4][0]) for one in found))


def checked_addresses(place: Place, named: Place) -> list[str]:
    """Return the numbers to which a connection may be made.

    Parameters
    ----------
    named
        The place that the user named. A redirect from there to an address of this
        machine or of its network must stay on it.

    Raises
    ------
    AnswerError
        The place is on this machine or network, and the user did not name it, or it was
        on the web before.
    """
    found = place.addresses()
    if all(map(_is_public, found)):
        _ON_THE_WEB.add(place)
        return found
    # Who owns a name can let it lead to this network after the first answers.
    if place in _ON_THE_WEB:
        raise AnswerError(
            0,
            f"{place.host} was on the web and is now on this machine or its network; "
            "if that is meant, start the program again",
        )
    if place == named or _is_trusted(place):
        return found
    if place.port == named.port and set(found) <= set(named.addresses()):
        return found
    raise AnswerError(
        0,
        f"it leads to {place.host}:{place.port}, which is on this machine or its network; "
        f"if that is meant: omnimouse fetch --trust {place.host}:{place.port}",
    )


def has_proxy(place: Place) -> bool:
    """Return whether a proxy of the user connects to a place, and finds its address."""
    return place.scheme in getproxies() and not proxy_bypass(place.host)


@dataclass(frozen=True, slots=True)
class _Settings:
    """Settings of the network.

    Attributes
    ----------
    trusted_hosts
        Hosts, `name` or `name:port`, to which any server may redirect.
    """

    trusted_hosts: tuple[str, ...] = ()


def trust_hosts(hosts: Iterable[str]) -> Path:
    """Add hosts to the setting `trusted_hosts`; return the file of the settings."""
    path, stored = _stored_settings()
    path.parent.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys((*stored.trusted_hosts, *map(str.lower, hosts)))
    write_json(path, asdict(_Settings(tuple(names))), is_private=True)
    return path


def _stored_settings() -> tuple[Path, _Settings]:
    path = config_dir() / "network.json"
    return path, read_or_set_aside(path, _Settings) or _Settings()


def _is_public(number: str) -> bool:
    address = ip_address(number.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast


def _is_trusted(place: Place) -> bool:
    named = (*os.environ.get(TRUSTED_HOSTS, "").split(","), *_stored_settings()[1].trusted_hosts)
    trusted = [one.strip().lower() for one in named]
    return place.host in trusted or f"{place.host}:{place.port}" in trusted


class Requests:
    """Requests to one address, whose connections are used again; for one thread.

    Parameters
    ----------
    url
        The address that the user named; user and password in it go only to its place.
    """

    def __init__(self, url: str) -> None:
        self.url, self._named = url, Place.of(url)
        self._kept: dict[Place, http.client.HTTPConnection] = {}

    def close(self) -> None:
        """Close all connections."""
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    def get(
        self,
        most: int,
        headers: Mapping[str, str],
        *,
        follow: bool = True,
        within_s: float = _HEAD_S + _BODY_S,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers (small letters) and body of the answer to a request.

        The body is read if the status is 200, or 206 for a range, and is empty otherwise.

        Parameters
        ----------
        most
            Most bytes of the body.
        follow
            Whether redirects are followed.

        Raises
        ------
        AnswerError
            There is no answer in time, or it is longer than that.
        """
        url, until_s = self.url, monotonic() + within_s
        for _ in range(_MOST_REDIRECTS + 1):
            place = Place.of(url)
            with self._answer(place, url, headers, until_s) as answer:
                told = {name.lower(): value for name, value in answer.getheaders()}
                if follow and answer.status in _REDIRECTS and "location" in told:
                    url = urljoin(url, told["location"])
                    continue
                is_wanted = answer.status == (206 if "Range" in headers else 200)
                body = _body(answer, told, most) if is_wanted else b""
                return answer.status, told, body
        raise AnswerError(0, f"it redirects more than {_MOST_REDIRECTS} times")

    @contextmanager
    def _answer(
        self, place: Place, url: str, headers: Mapping[str, str], until_s: float
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the answer of one server; its connection is closed on any error."""
        parts = urlsplit(url)
        target = quote(parts.path or "/", _PLAIN)
        if parts.query:
            target += "?" + quote(parts.query, _PLAIN)
        sent = {"Accept-Encoding": "identity", "User-Agent": "omnimouse", **headers}
        if place == self._named and parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            sent["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
        connection = self._kept.pop(place, None)
        try:
            for is_kept in (connection is not None, False):
                connection = connection if is_kept else None
                if connection is None:
                    connection = _connected(place, checked_addresses(place, self._named), until_s)
                try:
                    with _limited(connection, min(_HEAD_S, until_s - monotonic())):
                        connection.request("GET", target, headers=sent)
                        answer = connection.getresponse()
                    break
                except (OSError, http.client.HTTPException):
                    connection.close()
                    # The server may have closed a connection that was kept.
                    if not is_kept:
                        raise
            assert connection is not None
            with _limited(connection, min(_BODY_S, until_s - monotonic())):
                yield answer
                if len(answer.read(_UNREAD)) < _UNREAD and not answer.will_close:
                    self._kept[place] = connection
                    connection = None
        except (OSError, ValueError, http.client.HTTPException) as error:
            # The text can contain a line that the server sent.
            text = "".join(c if c.isprintable() else " " for c in str(error)[:200])
            reason = text.strip() or type(error).__name__
            is_late = monotonic() >= until_s
            raise AnswerError(0, "it does not answer in time" if is_late else reason) from error
        finally:
            if connection is not None:
                connection.close()


def _body(answer: http.client.HTTPResponse, told: Mapping[str, str], most: int) -> bytes:
    if told.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise AnswerError(answer.status, "it sends compressed bytes, which nobody asked for")
    body = answer.read(most + 1)
    if len(body) > most:
        raise AnswerError(answer.status, f"it sends more than {most:,} bytes")
    return body


def _connected(place: Place, addresses: list[str], until_s: float) -> http.client.HTTPConnection:
    """Return a connection to the first of the addresses that accepts one."""
    left_s = max(0.001, min(_CONNECT_S, until_s - monotonic()))
    connection = http.client.HTTPConnection(place.host, place.port, timeout=_SILENCE_S)
    problem: OSError | None = None
    for number in addresses:
        try:
            stream = socket.create_connection((number, place.port), left_s)
        except OSError as error:
            problem = error
            continue
        try:
            if place.scheme == "https":
                context = ssl.create_default_context()
                stream = context.wrap_socket(stream, server_hostname=place.host)
            stream.settimeout(_SILENCE_S)
        except BaseException:
            stream.close()
            raise
        connection.sock = stream
        return connection
    raise problem or OSError(f"{place.host} has no address")


@contextmanager
def _limited(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """End the waits of a connection after some time.

    The limit of the socket is one between two bytes: a server that sends one byte a
    minute would hold a request for ever.
    """
    stream: Any = connection.sock

    def end() -> None:
        with suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)

    timer = Timer(max(0.0, seconds), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
