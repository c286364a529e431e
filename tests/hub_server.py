"""Local imitation of the model hub: repositories, redirects, ranges, access rights."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.raw_server import running

COMMIT = "c0ffee" + "0" * 34
_BLOCK = 16 * 1024


@dataclass
class Repository:
    """Files of one repository."""

    files: dict[str, bytes]
    licence: str = ""
    is_gated: bool = False


@dataclass
class Request:
    """One HTTP request that the server received."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Pause:
    """Pause of all downloads after `at` bytes in total, until `is_over` is set."""

    at: int
    is_reached: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)


@dataclass
class Hub:
    """Content and behaviour of the imitation; may be changed while it runs."""

    # ("model" or "dataset", "owner/name") -> repository
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)  # tokens with access to gated files
    cut_after: int | None = None  # bytes of a file, then the connection is closed
    pause: Pause | None = None
    sends_parts: bool = True
    damage: set[str] = field(default_factory=set)  # paths sent with a wrong byte
    commit: str = COMMIT
    busy: int = 0  # number of next downloads that get status 503
    answer: bytes | None = None  # sent in place of every list of files
    checksum: str | None = None  # listed for every file
    excess: int = 0  # bytes that are sent behind the end of every file
    encoding: str = ""  # named for every file
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    sent: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> str:
        """Address of large files: another host, which must not receive the token."""
        return f"http://localhost:{self.port}/store"


class HubServer(ThreadingHTTPServer):
    """HTTP server for one `Hub` at a time, on a free local port."""

    daemon_threads = True
    hub: Hub

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)

    def serve(self, hub: Hub) -> Hub:
        """Use this hub from the next request on."""
        hub.port = self.server_address[1]
        self.hub = hub
        return hub


@contextmanager
def local_server() -> Iterator[HubServer]:
    """Server that runs in a thread; `serve` sets its hub."""
    server = HubServer()
    with running(server):
        yield server


@contextmanager
def hub_endpoint(hub: Hub) -> Iterator[Hub]:
    """Server with one hub; yields the hub with its address."""
    with local_server() as server:
        yield server.serve(hub)


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.hub = self.server.hub
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = (self.headers.get("Range"), self.headers.get("Authorization"))
        self.hub.requests.append(Request(self.command, self.path, *headers))
        path = unquote(urlsplit(self.path).path).lstrip("/")
        try:
            if path.startswith("store/"):
                self._send_file(path.removeprefix("store/"))
            elif path.startswith("api/") and self.hub.answer is not None:
                self._send_body(200, self.hub.answer, {})
            elif path.startswith("api/"):
                self._send_json(*self._api(path.removeprefix("api/")))
            else:
                self._resolve(path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_POST = do_GET

    def _api(self, path: str) -> tuple[int, Any, dict[str, str]]:
        if path == "whoami-v2":
            return (200 if self._token() in self.hub.readers else 401), {}, {}
        folder, owner, name, action, revision, *_ = [*path.split("/"), *5 * [""]]
        kind, repo = folder.removesuffix("s"), f"{owner}/{name}"
        repository = self.hub.repositories.get((kind, repo))
        if repository is None:
            return 404, {}, {"X-Error-Code": "RepoNotFound"}
        if revision not in ("main", self.hub.commit):
            return 404, {}, {"X-Error-Code": "RevisionNotFound"}
        if action != "revision":
            return 404, {}, {"X-Error-Code": "EntryNotFound"}
        card = {"license": repository.licence} if repository.licence else {}
        siblings = [sibling(path, data) for path, data in repository.files.items()]
        if self.hub.checksum is not None:
            lfs = {"sha256": self.hub.checksum, "size": 1, "pointerSize": 1}
            siblings = [entry | {"lfs": lfs} for entry in siblings]
        info = {"id": repo, "sha": self.hub.commit, "cardData": card}
        return 200, info | {"siblings": siblings}, {}

    def _resolve(self, path: str) -> None:
        kind = "dataset" if path.startswith("datasets/") else "model"
        owner, name, _, _, *rest = path.removeprefix("datasets/").split("/")
        repository = self.hub.repositories.get((kind, f"{owner}/{name}"))
        file = "/".join(rest)
        if repository is None or file not in repository.files:
            code = "RepoNotFound" if repository is None else "EntryNotFound"
            self._send_json(404, {}, {"X-Error-Code": code})
        elif repository.is_gated and self._token() not in self.hub.readers:
            status = 403 if self._token() else 401
            self._send_json(status, {}, {"X-Error-Code": "GatedRepo"})
        else:
            entry = sibling(file, repository.files[file])
            etag = entry["lfs"]["sha256"] if "lfs" in entry else entry["blobId"]
            headers = {
                "X-Repo-Commit": self.hub.commit,
                "X-Linked-Etag": f'"{etag}"',
                "X-Linked-Size": str(entry["size"]),
                "Location": f"{self.hub.store}/{kind}/{owner}/{name}/{file}",
            }
            self._send_json(302, None, headers)

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _send_file(self, path: str) -> None:
        kind, owner, name, *rest = path.split("/")
        file = "/".join(rest)
        files = self.hub.repositories[kind, f"{owner}/{name}"].files
        if file not in files:
            self._send_json(404, {}, {})
            return
        data = files[file]
        if file in self.hub.damage:
            data = bytes([data[0] ^ 1]) + data[1:]
        if self.hub.busy:
            self.hub.busy -= 1
            self._send_json(503, {}, {})
            return
        tag = f'"{hashlib.sha1(data).hexdigest()}"'
        if self.headers.get("If-Match", tag) != tag:
            self._send_json(412, {}, {})
            return
        data += bytes(self.hub.excess)
        first, last = 0, len(data) - 1
        byte_range = self.headers.get("Range") if self.hub.sends_parts else None
        if byte_range:
            low, _, high = byte_range.removeprefix("bytes=").partition("-")
            first, last = int(low), min(last, int(high or last))
        self.send_response(206 if byte_range else 200)
        if self.hub.sends_parts:
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", tag)
        if byte_range:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        if self.hub.encoding:
            self.send_header("Content-Encoding", self.hub.encoding)
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        if self.command == "HEAD":
            return
        hub, n_sent = self.hub, 0
        is_slow = hub.cut_after or hub.pause
        step = _BLOCK if is_slow else 2**20
        for position in range(first, last + 1, step):
            if hub.cut_after is not None and n_sent >= hub.cut_after:
                self.close_connection = True
                self.connection.close()
                return
            if hub.pause is not None and hub.sent >= hub.pause.at:
                hub.pause.is_reached.set()
                hub.pause.is_over.wait()
            block = data[position : min(position + step, last + 1)]
            self.wfile.write(block)
            n_sent += len(block)
            hub.sent += len(block)

    def _send_json(self, status: int, value: Any, headers: dict[str, str]) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self._send_body(status, body, headers)

    def _send_body(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def sibling(path: str, data: bytes) -> dict[str, Any]:
    """Describe a file; a large file has the SHA-1 of its git pointer."""
    entry: dict[str, Any] = {"rfilename": path, "size": len(data)}
    if len(data) > 1024:
        sha = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 130}
        data = f"oid sha256:{sha}".encode()
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return entry | {"blobId": oid}
