"""Remote file at an HTTP address, of which blocks are read on demand, and JSON."""

import hashlib
import io
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.trees import decode_json
from omnimouse_model.storage.web import AnswerError, Requests

_BLOCK = 2**20
_BLOCKS = 128
"""Number of cached blocks: 128 MiB."""
_AT_ONCE = 16
"""Most blocks of one request."""
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
        stated = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", told.get("content-range", ""))
        if status == 412:
            raise self._error("changed", _CHANGED, _AGAIN)
        if status != 206 or stated is None:
            answers = "the whole file" if status == 200 else f"status {status}"
            hint = "download it, and open the copy"
            raise self._error("unreadable", f"cannot be read in parts: {answers} is sent", hint)
        first, last, size = (int(number) for number in stated.groups())
        if version is not None and size != version.size:
            raise self._error("changed", _CHANGED, _AGAIN)
        # An ETag identifies a version; the date has a resolution of only 1 s.
        tag = told.get("etag") or told.get("last-modified") or ""
        if version is not None and tag != version.tag:
            raise self._error("changed", _CHANGED, _AGAIN)
        if (first, last) != (start, stop - 1) or len(content) != stop - start:
            problem = f"cannot be read in parts: bytes {start}-{stop - 1} were asked, and "
            problem += f"{len(content):,} bytes of {first}-{last} were sent"
            raise self._error("unreadable", problem, "download it, and open the copy")
        return content, _Version(size, tag)

    def _compare(self) -> None:
        if self._read_version() != self._version:
            raise self._error("changed", _CHANGED, _AGAIN)
        self._compared = monotonic()

    def _read_version(self) -> _Version:
        """Return what the server states beside the first byte."""
        requests = self.requests()
        try:
            version: _Version = self.fetch(requests, 0, 1, None)[1]
            return version
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
