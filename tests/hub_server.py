"""A stand-in for the model hub on loopback: repositories, redirects, ranges, gates."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

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
    """What was asked for."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Hub:
    """The stand-in: change it while it runs.

    Attributes
    ----------
    repositories
        ("model" or "dataset", "owner/name") -> repository.
    readers
        Tokens that may read what is gated.
    bytes_per_s
        How fast files are sent; at once where None.
    cut_after
        Connections are dropped after that many bytes of a file.
    sends_parts
        Whether parts of files can be asked for.
    commit
        Of every repository.
    busy
        How many of the next files asked for are answered with 503.
    damage
        Paths of which another byte is sent than is stored.
    """

    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)
    bytes_per_s: float | None = None
    cut_after: int | None = None
    sends_parts: bool = True
    damage: set[str] = field(default_factory=set)
    commit: str = COMMIT
    busy: int = 0
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    sent: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> str:
        """Where large files are: another host, which must not see the token."""
        return f"http://localhost:{self.port}/store"


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a stand-in on a free port of loopback."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(
            Request(
                self.command,
                self.path,
                self.headers.get("Range"),
                self.headers.get("Authorization"),
            )
        )
        path = unquote(urlsplit(self.path).path).lstrip("/")
        try:
            if path.startswith("store/"):
                self._send_file(path.removeprefix("store/"))
            elif path.startswith("api/"):
                self._send_json(*self._api(path.removeprefix("api/")))
            else:
                self._resolve(path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _api(self, path: str) -> tuple[int, Any, dict[str, str]]:
        folder, owner, name, what, revision, *_ = [*path.split("/"), *5 * [""]]
        kind, repo = folder.removesuffix("s"), f"{owner}/{name}"
        found = self.hub.repositories.get((kind, repo))
        if found is None:
            return 404, {}, {"X-Error-Code": "RepoNotFound"}
        if revision not in ("main", self.hub.commit):
            return 404, {}, {"X-Error-Code": "RevisionNotFound"}
        if what != "revision":
            return 404, {}, {"X-Error-Code": "EntryNotFound"}
        card = {"license": found.licence} if found.licence else {}
        siblings = [_entry(path, data) for path, data in found.files.items()]
        about = {"id": repo, "sha": self.hub.commit, "cardData": card}
        return 200, about | {"siblings": siblings}, {}

    def _resolve(self, path: str) -> None:
        kind = "dataset" if path.startswith("datasets/") else "model"
        owner, name, _, _, *rest = path.removeprefix("datasets/").split("/")
        found, file = (
            self.hub.repositories.get((kind, f"{owner}/{name}")),
            "/".join(rest),
        )
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if found is None or file not in found.files:
            code = "RepoNotFound" if found is None else "EntryNotFound"
            self._send_json(404, {}, {"X-Error-Code": code})
        elif found.is_gated and token not in self.hub.readers:
            status = 403 if token else 401
            self._send_json(status, {}, {"X-Error-Code": "GatedRepo"})
        else:
            entry = _entry(file, found.files[file])
            etag = entry["lfs"]["sha256"] if "lfs" in entry else entry["blobId"]
            headers = {
                "X-Repo-Commit": self.hub.commit,
                "X-Linked-Etag": f'"{etag}"',
                "X-Linked-Size": str(entry["size"]),
                "Location": f"{self.hub.store}/{kind}/{owner}/{name}/{file}",
            }
            self._send_json(302, None, headers)

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
        first, last = 0, len(data) - 1
        asked = self.headers.get("Range") if self.hub.sends_parts else None
        if asked:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            first, last = int(low), min(last, int(high or last))
        self.send_response(206 if asked else 200)
        if self.hub.sends_parts:
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", tag)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        if self.command == "HEAD":
            return
        data = data[: last + 1]
        gone = 0
        block_size = _BLOCK if self.hub.bytes_per_s or self.hub.cut_after else 2**20
        for at in range(first, len(data), block_size):
            if self.hub.cut_after is not None and gone >= self.hub.cut_after:
                self.close_connection = True
                self.connection.close()
                return
            block = data[at : at + block_size]
            self.wfile.write(block)
            gone += len(block)
            self.hub.sent += len(block)
            if self.hub.bytes_per_s is not None:
                time.sleep(len(block) / self.hub.bytes_per_s)

    def _send_json(self, status: int, value: Any, headers: dict[str, str]) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(path: str, data: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": oid}
    if len(data) > 1024:
        sha = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 130}
    return entry
