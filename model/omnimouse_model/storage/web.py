"""Requests over HTTP: checked addresses, limits of time and size, and files read in blocks.

A server on the web can redirect to a service of this machine or of its network. So a
redirect leads to such an address only if the user named that place, or if its host is
in the setting `trusted_hosts`; and the address that was checked is the one connected to.

The file is long because an address, its redirects and its answer are checked in one place.
"""

import base64
import hashlib
import http.client
import io
import os
import re
import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from math import inf
from pathlib import Path
from threading import Event, Timer
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.trees import decode_json, read_or_set_aside
from omnimouse_model.storage.write import config_dir, write_json

TRUSTED_HOSTS = "OMNIMOUSE_TRUSTED_HOSTS"
"""Variable with more hosts of the setting, with commas."""
_CONNECT_S, _HEAD_S, _SILENCE_S = 20.0, 60.0, 60.0
"""Seconds until a connection, until the head of an answer, and between two bytes."""
_BODY_S = 300.0
"""Most seconds for a body; those that are asked for have a few MiB."""
_MOST_REDIRECTS = 10
_NO_ADDRESS = "it leads to no address of http or https"
_REDIRECTS = (301, 302, 303, 307, 308)
_PLAIN = "/%:@!$&'()*+,;=~?"
"""Signs of an address that are sent as they are."""
_PIECE, _UNREAD, _REST_S = 2**16, 2**16, 5.0
"""Bytes of a body that are read at once, so that a stop is soon; that nobody needs, and are read
for some seconds to use the connection again."""


_ON_THE_WEB: "set[Place]" = set()
"""Places with public addresses since the program started."""


class AnswerError(Exception):
    """A server did not send what was asked: its status, 0 without one, and the reason.

    `host` is the one to which there was no connection, "" if there was one.
    """

    def __init__(self, status: int, reason: str, host: str = "") -> None:
        self.status, self.host = status, host
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
            raise AnswerError(0, _NO_ADDRESS) from error
        if not host:
            raise AnswerError(0, _NO_ADDRESS)
        return cls(parts.scheme, host, port)

    def addresses(self) -> list[str]:
        """Return the numbers of the host; raise `AnswerError` if it has none."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise AnswerError(0, f"{self.host} is not known: {error}", self.host) from error
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
    listed = (*os.environ.get(TRUSTED_HOSTS, "").split(","), *_stored_settings()[1].trusted_hosts)
    trusted = [one.strip().lower() for one in listed]
    if place == named or place.host in trusted or f"{place.host}:{place.port}" in trusted:
        return found
    if place.port == named.port and set(found) <= set(named.addresses()):
        return found
    raise AnswerError(
        0,
        f"it leads to {place.host}:{place.port}, which is on this machine or its network; "
        f"if that is meant: omnimouse fetch --trust {place.host}:{place.port}",
    )


def _proxy_of(place: Place) -> SplitResult | None:
    """Return the proxy that the environment names for a place, None without one.

    It connects to the place, and finds its address. For it, this machine is another one.
    """
    proxies = getproxies()
    address = proxies.get(place.scheme) or proxies.get("all")
    if not address or _is_loopback(place.host) or proxy_bypass(place.host):
        return None
    try:
        parts = urlsplit(address if "//" in address else f"http://{address}")
    except ValueError as error:
        raise AnswerError(0, "the proxy of the environment is no address") from error
    if parts.scheme not in ("http", "https"):
        reason = f"the proxy of the environment is one of {parts.scheme}, and only http is known"
        raise AnswerError(0, reason)
    return parts


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


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


_WEB, _GATEWAY = IPv6Network("2000::/3"), IPv6Network("64:ff9b::/96")
"""Numbers that are given to networks of the web, and those of NAT64."""


def _is_public(number: str) -> bool:
    address = ip_address(number.partition("%")[0])
    if isinstance(address, IPv6Address):
        # A gateway of the network reaches the number of IPv4 that is in one of IPv6.
        inner = address.ipv4_mapped or address.sixtofour
        if address in _GATEWAY:
            inner = IPv4Address(int(address) % 2**32)
        if inner is None and address not in _WEB:
            return False
        address = inner or address
    return address.is_global and not address.is_multicast


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
        until_s = monotonic() + within_s
        with self.answer(headers, follow=follow, until_s=until_s) as answer:
            is_wanted = answer.status == (206 if "Range" in headers else 200)
            body = b"".join(answer.blocks(most)) if is_wanted else b""
            return answer.status, answer.told, body

    @contextmanager
    def answer(
        self, headers: Mapping[str, str], *, follow: bool = True, until_s: float = inf
    ) -> Iterator["Answer"]:
        """Yield the answer to a request; only the host of the address gets its secrets.

        Raises
        ------
        AnswerError
            There is no answer in time.
        """
        url = self.url
        for _ in range(_MOST_REDIRECTS + 1):
            place = Place.of(url)
            with self._answer(place, url, headers, until_s) as answer:
                if follow and answer.status in _REDIRECTS and "location" in answer.told:
                    try:
                        url = urljoin(url, answer.told["location"])
                    except ValueError as error:
                        raise AnswerError(0, _NO_ADDRESS) from error
                    continue
                yield answer
                return
        raise AnswerError(0, f"it redirects more than {_MOST_REDIRECTS} times")

    @contextmanager
    def _answer(
        self, place: Place, url: str, headers: Mapping[str, str], until_s: float
    ) -> Iterator["Answer"]:
        """Yield the answer of one server; its connection is closed on any error."""
        parts = urlsplit(url)
        target = quote(parts.path or "/", _PLAIN)
        if parts.query:
            target += "?" + quote(parts.query, _PLAIN)
        sent = {"Accept-Encoding": "identity", "User-Agent": "omnimouse", **headers}
        if place != self._named:
            sent.pop("Authorization", None)
        elif parts.username is not None:
            sent["Authorization"] = _basic(parts)
        proxy = _proxy_of(place)
        if proxy is not None and place.scheme == "http":
            target = f"http://{parts.netloc.rpartition('@')[2]}{target}"
            sent |= _proxy_secret(proxy)
        connection, response = self._kept.pop(place, None), None
        try:
            with _answer_errors():
                for is_kept in (connection is not None, False):
                    connection = connection if is_kept else None
                    if connection is None:
                        with _answer_errors(place.host):
                            connection = _connected(place, self._named, until_s, proxy)
                    # The connection forgets its socket if the server ends with this answer.
                    stream = connection.sock
                    try:
                        with _limited(stream, min(_HEAD_S, until_s - monotonic())):
                            connection.request("GET", target, headers=sent)
                            response = connection.getresponse()
                        break
                    except (OSError, http.client.HTTPException):
                        connection.close()
                        # The server may have closed a connection that was kept.
                        if not is_kept:
                            raise
            assert connection is not None
            assert response is not None
            told = {name.lower(): value for name, value in response.getheaders()}
            yield Answer(response.status, told, response, stream, until_s)
            if not response.will_close:
                with suppress(OSError, http.client.HTTPException), _limited(stream, _REST_S):
                    if len(response.read(_UNREAD)) < _UNREAD:
                        self._kept[place] = connection
                        connection = None
        finally:
            if connection is not None:
                connection.close()
                if response is not None:
                    response.close()


@contextmanager
def _answer_errors(unreached: str = "") -> Iterator[None]:
    """Turn errors of the network into `AnswerError`, with the host that is to be reached."""
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        # The text can contain a line that the server sent.
        text = "".join(c if c.isprintable() else " " for c in str(error)[:200])
        raise AnswerError(0, text.strip() or type(error).__name__, unreached) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server.

    Attributes
    ----------
    status
        Code of HTTP.
    told
        Headers by name in small letters.
    """

    status: int
    told: Mapping[str, str]
    _response: http.client.HTTPResponse
    _stream: socket.socket
    _until_s: float

    def blocks(self, most: int | None = None) -> Iterator[bytes]:
        """Yield the body, at most so many bytes if stated; each block must arrive in time.

        Raises
        ------
        AnswerError
            The body is compressed, longer, or does not arrive.
        """
        encoding = self.told.get("content-encoding", "identity").lower()
        if encoding not in ("identity", ""):
            raise AnswerError(self.status, f"it is sent as {encoding[:40]!r}, which is refused")
        n_bytes = 0
        while True:
            left_s = min(_HEAD_S, self._until_s - monotonic())
            with _answer_errors(), _limited(self._stream, left_s):
                block = self._response.read1(_PIECE)
                if not block and self._response.length:  # of which read1 says nothing
                    raise http.client.IncompleteRead(b"", self._response.length)
            n_bytes += len(block)
            if most is not None and n_bytes > most:
                raise AnswerError(self.status, f"it sends more than {most:,} bytes")
            if not block:
                break
            yield block


def _basic(parts: SplitResult) -> str:
    """Return the header of the user and password in an address."""
    secret = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(secret.encode()).decode()}"


def _proxy_secret(proxy: SplitResult) -> dict[str, str]:
    return {} if proxy.username is None else {"Proxy-Authorization": _basic(proxy)}


def _with_authorities() -> ssl.SSLContext:
    """Return a context of TLS with the authorities of this machine, or those of `certifi`."""
    context, paths = ssl.create_default_context(), ssl.get_default_verify_paths()
    # Python of python.org on macOS, and small containers, have none.
    if not (paths.cafile or paths.capath or context.get_ca_certs()):
        with suppress(ImportError):
            context.load_verify_locations(import_module("certifi").where())
    return context


def _by_proxy(place: Place, proxy: SplitResult) -> http.client.HTTPConnection:
    host, port = proxy.hostname or "", proxy.port or 80
    connection = http.client.HTTPConnection(host, port, timeout=_CONNECT_S)
    if place.scheme == "https":
        context = _with_authorities()
        connection = http.client.HTTPSConnection(host, port, timeout=_CONNECT_S, context=context)
        connection.set_tunnel(place.host, place.port, _proxy_secret(proxy))
    connection.connect()
    connection.sock.settimeout(_SILENCE_S)
    return connection


def _connected(
    place: Place, named: Place, until_s: float, proxy: SplitResult | None
) -> http.client.HTTPConnection:
    """Return a connection to the first address of a place that accepts one."""
    if proxy is not None:
        if place != named:
            checked_addresses(place, named)
        return _by_proxy(place, proxy)
    left_s = max(0.001, min(_CONNECT_S, until_s - monotonic()))
    connection = http.client.HTTPConnection(place.host, place.port, timeout=_SILENCE_S)
    problem: OSError | None = None
    for number in checked_addresses(place, named):
        try:
            stream = socket.create_connection((number, place.port), left_s)
        except OSError as error:
            problem = error
            continue
        try:
            if place.scheme == "https":
                stream = _with_authorities().wrap_socket(stream, server_hostname=place.host)
            stream.settimeout(_SILENCE_S)
        except BaseException:
            stream.close()
            raise
        connection.sock = stream
        return connection
    raise problem or OSError(f"{place.host} has no address")


@contextmanager
def _limited(stream: socket.socket, seconds: float) -> Iterator[None]:
    """End the waits of a connection after some time, with `TimeoutError`.

    The limit of the socket is one between two bytes: a server that sends one byte a
    minute would hold a request for ever.
    """
    is_over = Event()

    def end() -> None:
        is_over.set()
        with suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)

    timer = Timer(max(0.0, seconds), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if is_over.is_set():
            raise TimeoutError(f"it does not answer in time ({seconds:.3g} s)")


_BLOCK = 2**20
_BLOCKS = 128
"""Number of cached blocks: 128 MiB."""
_AT_ONCE = 16
"""Most blocks of one request."""
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
"""First and last byte and size of a file, in numbers of 64 bits."""
_JSON_S, _JSON_BYTES = 30.0, 4 * 2**20
_TRUSTED_S = 5.0
"""Seconds for which the last answer of the server is used without a new request."""


def web_address(name: str | Path) -> str | None:
    """Return the address that a name stands for, http(s) or `dandi:`, or None.

    A `Path` turns the two slashes after the scheme into one; they are restored.
    """
    text = str(name).replace("\\", "/")
    # The client of DANDI writes dandi://dandi/ID.
    dandi = re.fullmatch(r"dandi:(?:/{1,2}dandi/)?(\d{6}\b.*)", text, re.IGNORECASE)
    if dandi is not None:
        return f"dandi:{dandi[1]}"
    match = re.fullmatch(r"(https?):/{1,2}([^/].*)", text)
    return None if match is None else f"{match[1]}://{match[2]}"


def display_address(url: str) -> str:
    """Return an address for messages, without user, password and query string.

    The query of a signed URL contains its signature.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket of IPv6 that does not close
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
    if not parts.netloc:  # dandi:
        return url
    host = parts.netloc.rsplit("@", 1)[-1]
    return f"{parts.scheme}://{host}{parts.path}"


def read_web_json(url: str) -> Any:
    """Return the JSON that a server sends, of at most 4 MiB and without redirects.

    Raises
    ------
    AnswerError
        It cannot be reached, takes too long, or sends something else.
    """
    requests, headers = Requests(url), {"Accept": "application/json"}
    try:
        status, _, content = requests.get(_JSON_BYTES, headers, follow=False, within_s=_JSON_S)
    finally:
        requests.close()
    if status != 200:
        raise AnswerError(status, f"it answers with status {status}")
    try:
        return decode_json(content, display_address(url))
    except ValueError as error:
        raise AnswerError(status, str(error)[:200]) from error


@dataclass(frozen=True, slots=True)
class _Version:
    """Size in bytes, and what the server says to tell versions apart."""

    size: int
    tag: str


class RemoteFile:
    """A file on a server that supports range requests; see `Source`.

    Parameters
    ----------
    url
        http or https.
    address
        Name for messages, if it is another one.

    Raises
    ------
    SessionFormatError
        If the file is missing, the server cannot be reached, or the server sends
        only whole files.
    """

    def __init__(self, url: str, address: str = "") -> None:
        self.url, self._address = url, address or display_address(url)
        self._compared = monotonic()
        self._version = self._read_version()

    @property
    def path(self) -> Path:
        """Address as a path, without secrets, for messages."""
        return Path(self._address)

    @property
    def fingerprint(self) -> str:
        """Hash of address, size and version as reported by the server."""
        version = (self._version.size, self._version.tag)
        return hashlib.blake2b(repr((self.url, version)).encode()).hexdigest()[:32]

    def open(self) -> Any:
        """Return a binary file object that reads blocks on demand."""
        self._compare()
        return _Blocks(self, self._version)

    def check(self, *, now: bool = False) -> None:
        """Compare the file with its version at opening, at most every few seconds."""
        if now or monotonic() - self._compared > _TRUSTED_S:
            self._compare()

    def fetch(self, requests: Requests, start: int, stop: int, version: _Version | None) -> Any:
        """Return the bytes `start` to `stop`, and the version that the server states.

        Raises
        ------
        SessionFormatError
            The server sends anything but these bytes of this version.
        """
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        # With If-Match the server refuses to send blocks of another version. The
        # comparison is strong (RFC 9110): weak tags (W/"…") would never match.
        if version is not None and version.tag.startswith('"'):
            headers["If-Match"] = version.tag
        try:
            status, told, content = requests.get(stop - start, headers)
        except AnswerError as error:
            # A status stands for an answer that is too long.
            problem = "read in parts" if error.status else "reached"
            raise self._error("unreadable", f"cannot be {problem}: {error}") from error
        if status in (404, 410):
            raise self._error("missing_file", "is not there")
        stated = _RANGE.fullmatch(told.get("content-range", ""))
        if status == 412:
            raise self._error("changed", _CHANGED, _AGAIN)
        if status != 206 or stated is None:
            answers = "the whole file" if status == 200 else f"status {status}"
            hint = "download it, and open the copy"
            raise self._error("unreadable", f"cannot be read in parts: {answers} is sent", hint)
        first, last, size = (int(number) for number in stated.groups())
        # An ETag identifies a version; the date has a resolution of only 1 s.
        found = _Version(size, told.get("etag") or told.get("last-modified") or "")
        if version not in (None, found):
            raise self._error("changed", _CHANGED, _AGAIN)
        if (first, last) != (start, stop - 1) or len(content) != stop - start:
            problem = f"cannot be read in parts: bytes {start}-{stop - 1} were asked, and "
            problem += f"{len(content):,} bytes of {first}-{last} were sent"
            raise self._error("unreadable", problem, "download it, and open the copy")
        return content, found

    def _compare(self) -> None:
        if self._read_version() != self._version:
            raise self._error("changed", _CHANGED, _AGAIN)
        self._compared = monotonic()

    def _read_version(self) -> _Version:
        """Return what the server states beside the first byte."""
        requests = self.requests()
        try:
            return self.fetch(requests, 0, 1, None)[1]
        finally:
            requests.close()

    def requests(self) -> Requests:
        """Return requests for the file; raise if its address is none."""
        try:
            return Requests(self.url)
        except AnswerError as error:
            raise self._error("unreadable", f"cannot be reached: {error}") from error

    def _error(
        self, code: str, problem: str, hint: str = "check the address and connection"
    ) -> SessionFormatError:
        message = f"{self._address} {problem.replace(self.url, self._address)}"
        return SessionFormatError(self.path, code, message, hint)


_CHANGED, _AGAIN = "changed while the session was open", "open the session again"


class _Blocks(io.RawIOBase):
    """The file as a stream, with a cache of blocks; for h5py, which reads in one thread.

    It has its own connection: another thread that compares the version must never wait
    for h5py.
    """

    def __init__(self, file: RemoteFile, version: _Version) -> None:
        self._file, self._version, self._requests = file, version, file.requests()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._version.size}
        self._at = max(0, base[whence] + offset)
        return self._at

    def readinto(self, into: Any) -> int:
        view = memoryview(into).cast("B")
        stop = min(self._version.size, self._at + len(view))
        begin = self._at
        while self._at < stop:
            number, within = divmod(self._at, _BLOCK)
            block = self._block(number, -(-stop // _BLOCK))
            part = block[within : within + stop - self._at]
            view[self._at - begin : self._at - begin + len(part)] = part
            self._at += len(part)
        return self._at - begin

    def close(self) -> None:
        self._requests.close()
        self._blocks.clear()
        super().close()

    def _block(self, number: int, end: int) -> bytes:
        """Return a block; those up to `end` that are not there either are fetched, too."""
        if number not in self._blocks:
            last = number + 1
            while last < min(end, number + _AT_ONCE) and last not in self._blocks:
                last += 1
            start, stop = number * _BLOCK, min(self._version.size, last * _BLOCK)
            content, _ = self._file.fetch(self._requests, start, stop, self._version)
            for k in range(number, last):
                self._blocks[k] = content[(k - number) * _BLOCK : (k + 1 - number) * _BLOCK]
            while len(self._blocks) > max(_BLOCKS, last - number):
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]
