"""Remote file at an HTTP address, read in blocks on demand.

`fsspec` requests the blocks and caches the most recent ones. It is imported only when
such a file is opened.
"""

import gc
import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.trees import decode_json

_BLOCK = 2**20
_BLOCKS = 128
"""Number of cached blocks: 128 MiB."""
_CONNECT_S = 20.0
_SILENCE_S = 60.0
_JSON_S, _JSON_BYTES = 30.0, 4 * 2**20
_TRUSTED_S = 5.0
"""Seconds for which the last answer of the server is used without a new request."""


def web_address(name: str | Path) -> str | None:
    """Return the address that a name stands for, http(s) or `dandi:`, or None.

    A `Path` turns the two slashes after the scheme into one; they are restored.
    """
    text = str(name).replace("\\", "/")
    if re.match(r"dandi:(/{1,2}dandi/)?\d{6}\b", text, re.IGNORECASE):
        return text
    match = re.fullmatch(r"(https?):/{1,2}([^/].*)", text)
    return None if match is None else f"{match[1]}://{match[2]}"


def display_address(url: str) -> str:
    """Return an address for messages, without user, password and query string.

    The query of a signed URL contains its signature.
    """
    parts = urlsplit(url)
    if not parts.netloc:  # dandi:
        return url
    host = parts.netloc.rsplit("@", 1)[-1]
    return f"{parts.scheme}://{host}{parts.path}"


class AnswerError(Exception):
    """A server did not send JSON: its status, 0 without an answer, and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


def read_web_json(url: str) -> Any:
    """Return the JSON that a server sends, of at most 4 MiB and without redirects.

    Raises
    ------
    AnswerError
        It cannot be reached, takes too long, or sends something else.
    ImportError
        aiohttp or fsspec is not installed.
    """
    import aiohttp
    from fsspec.asyn import get_loop, sync

    async def get() -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=_JSON_S)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        content = b""
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(url, allow_redirects=False, headers=headers) as answer,
        ):
            async for part in answer.content.iter_chunked(2**16):
                content += part
                if len(content) > _JSON_BYTES:
                    raise ValueError(f"it sends more than {_JSON_BYTES:,} bytes")
            return answer.status, content

    try:
        status, content = sync(get_loop(), get, timeout=_JSON_S + 5)
    except Exception as error:  # aiohttp, fsspec and the system have their own
        reason = str(error)[:200] or type(error).__name__
        raise AnswerError(0, reason) from error
    if status != 200:
        raise AnswerError(status, f"it answers with status {status}")
    try:
        return decode_json(content, display_address(url))
    except ValueError as error:
        raise AnswerError(status, str(error)[:200]) from error


# Shared by all remote files: the garbage collector is a setting of the process.
_fetching = threading.Lock()
_n_fetching = 0
_was_enabled = True


def _without_collection(fetch: Callable[[int, int], bytes]) -> Callable[..., bytes]:
    """Return a function that fetches bytes while no garbage is collected.

    h5py holds its lock while it waits for the thread that fetches. If that thread
    collected garbage with an HDF5 object in it, it would wait for the same lock for
    ever. The collector is switched off while any file fetches, and back on after the
    last one.
    """

    def fetched(start: int, stop: int) -> bytes:
        global _n_fetching, _was_enabled
        with _fetching:
            if _n_fetching == 0:
                _was_enabled = gc.isenabled()
                gc.disable()
            _n_fetching += 1
        try:
            return fetch(start, stop)
        finally:
            with _fetching:
                _n_fetching -= 1
                if _n_fetching == 0 and _was_enabled:
                    gc.enable()

    return fetched


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
        self._check_parts()

    @property
    def path(self) -> Path:
        """Address as a path, without secrets, for messages."""
        return Path(self._address)

    @property
    def fingerprint(self) -> str:
        """Hash of address, size and version as reported by the server."""
        return hashlib.blake2b(repr((self.url, self._version)).encode()).hexdigest()[:32]

    def open(self) -> Any:
        """Return a binary file object that reads blocks on demand."""
        self._compare()
        # With If-Match the server refuses to send blocks of another version. The
        # comparison is strong (RFC 9110): weak tags (W/"…") would never match.
        is_strong = self._version[1].startswith('"')
        only = {"If-Match": self._version[1]} if is_strong else {}
        stream = self._system().open(
            self.url,
            block_size=_BLOCK,
            cache_type="blockcache",
            cache_options={"maxblocks": _BLOCKS},
            headers=only,
        )
        stream.cache.fetcher = _without_collection(stream.cache.fetcher)
        return stream

    def check(self, *, now: bool = False) -> None:
        """Compare the file with its version at opening, at most every few seconds."""
        if now or monotonic() - self._compared > _TRUSTED_S:
            self._compare()

    def _compare(self) -> None:
        if self._read_version() != self._version:
            problem = "changed while the session was open"
            raise self._error("changed", problem, "open the session again")
        self._compared = monotonic()

    def _read_version(self) -> tuple[int, str]:
        """Return the size in bytes and the version that the server reports."""
        try:
            info = self._system().info(self.url)
        except Exception as error:  # fsspec, aiohttp and the system have their own
            # fsspec raises its own error from that of aiohttp, which has the status.
            cause: BaseException = error.__cause__ or error
            if getattr(cause, "status", None) in (404, 410):
                raise self._error("missing_file", "is not there") from error
            problem = f"cannot be reached: {str(cause)[:200] or cause!r}"
            raise self._error("unreadable", problem) from error
        # Without a size, fsspec opens a stream that cannot seek.
        if not info.get("size"):
            raise self._error("unreadable", "has no size: its server does not say")
        # An ETag identifies a version; the date has a resolution of only 1 s.
        version = info.get("ETag") or info.get("Last-Modified") or ""
        return int(info["size"]), str(version)

    def _check_parts(self) -> None:
        """Check that the server answers a range request.

        The range does not start at byte 0, so that a server which ignores the range
        header is recognised.
        """
        try:
            with self._system().open(self.url, cache_type="none") as stream:
                stream.seek(1)
                stream.read(7)
        except Exception as error:  # fsspec, aiohttp and the system have their own
            problem = f"cannot be read in parts: {str(error)[:200] or error!r}"
            raise self._error("unreadable", problem, "download it, and open the copy") from error

    def _error(
        self, code: str, problem: str, hint: str = "check the address and connection"
    ) -> SessionFormatError:
        message = f"{self._address} {problem.replace(self.url, self._address)}"
        return SessionFormatError(self.path, code, message, hint)

    def _system(self) -> Any:
        try:
            import aiohttp
            import fsspec
        except ImportError as error:
            raise self._error(
                "missing_package",
                f"cannot be read without {error.name}",
                "pip install 'omnimouse-app[nwb]'",
            ) from error
        # No limit on the total time: a slow download that makes progress is fine.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
        return fsspec.filesystem("http", client_kwargs={"timeout": timeout})
