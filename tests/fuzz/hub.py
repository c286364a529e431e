"""A hub whose answers are files, which the fuzzer damages, and downloads from it.

`listing.json` is the list of files, `heads.json` holds status and header fields of each
kind of answer, and the other files are those of the repository. The server runs on the
loopback address, in the process of the case.
"""

import gzip
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, repeat
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote, urlsplit

from omnimouse_model.data.hub import exchange, fetch
from omnimouse_model.data.open import fetch_session
from omnimouse_model.errors import FetchError, SessionFormatError
from omnimouse_model.inference.registry import fetch_checkpoint
from omnimouse_model.progress import QUIET
from omnimouse_model.storage import web
from tests.fuzz.outcome import listing, network_and_folder
from tests.fuzz.process import FaultError
from tests.hub_server import COMMIT, sibling
from tests.raw_server import running

TOKEN = "hf_" + "x" * 34
FILES = {"m/a.safetensors": b"a" * 3000, "m/a.json": b'{"a": 1}'}
_STREAMED = b"0" * 2**16
_PLACES = {"data": "hf://datasets/lab/mice/m", "model": "hf://lab/net/m"}
_NAMES = (
    *("../x", "m/../../x", "/tmp/ran", "m//x", "C:/x", "m/a\\..\\x", "M/A.JSON", ""),
    *("m/a.json/x", "m/" + "a" * 300, "m/x\n", "m/\x1b[31mx", "m/\x9bx", "m/con", "m"),
    *("m/a.json", "m/.a.part", "m/é\u202e", "other", "m/\ud800"),
)
_DIGESTS = ("/../../name", "../" * 21 + "a", "0" * 40, "f" * 64, "A" * 40, "0" * 39)
_STATUS = (*(100, 200, 204, 206, 301, 302, 304, 307, 308, 400, 401, 403, 404, 408, 412),)
_STATUS += (416, 418, 429, 500, 503, 511, 999, 0, -1)
_FIELDS = (
    ("Location", ("", "/", "?", "//", "{hub}/store/m/a.json", "{store}/m/a.json")),
    ("Location", ("{hub}{path}", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://")),
    ("Location", ("http://127.0.0.1:1/x", "http://[::1", "\x00", "a" * 9000)),
    ("Content-Encoding", ("gzip", "br", "identity", "gzip, gzip", "x\x1b[31m")),
    (
        "Content-Length",
        ("0", "-1", "1", "2999", "9999999999999", "9" * 40, "x", "1, 2"),
    ),
    ("Transfer-Encoding", ("chunked", "gzip, chunked", "x")),
    ("Content-Range", ("bytes 5-9/3", "bytes */0", "x")),
    ("Retry-After", ("999999999", "-1", "x")),
    ("ratelimit", ('"api";r=0;t=99999999',)),
    ("ETag", ("", "x", '"../../x"')),
    ("X-Repo-Commit", ("", "../../../../", "0" * 40)),
    ("X-Linked-Size", ("-1", "x", "9" * 30)),
    (
        "X-Error-Code",
        ("GatedRepo", "RepoNotFound", "RevisionNotFound", "EntryNotFound"),
    ),
    (
        "X-Error-Message",
        ("\x1b[31m", "a" * 9000, "Access to this resource is disabled."),
    ),
    ("X-HF-Warning", ("x; y", "\x1b[2J")),
    ("X-Xet-Hash", ("../x", "0" * 64)),
    ("Set-Cookie", ("a=b; Domain=.org",)),
)


# -- the answers, and ways to damage them ---------------------------------------------
def write_answers(folder: Path) -> Path:
    """Write the answers of a sound hub into a folder."""
    root = folder / "hub"
    (root / "m").mkdir(parents=True)
    for name, data in FILES.items():
        (root / name).write_bytes(data)
    card = {"license": "cc-by-4.0"}
    info = {"id": "lab/mice", "sha": COMMIT, "cardData": card}
    siblings = [sibling(name, data) for name, data in FILES.items()]
    (root / "listing.json").write_text(json.dumps(info | {"siblings": siblings}))
    place = {"X-Repo-Commit": COMMIT, "Location": "{store}{path}"}
    heads = {"list": {}, "place": place, "file": {"Accept-Ranges": "bytes"}}
    status = {"list": 200, "place": 302, "file": 200}
    text = {key: {"status": status[key], "fields": heads[key]} for key in heads}
    (root / "heads.json").write_text(json.dumps(text))
    return root


def damage_answer(draw: Random, root: Path) -> str:
    """Change a field of the list, a status, a header field or a body."""
    way = draw.choice([_change_list, _change_list, _change_head, _change_body])
    texts = [root / name for name in ("listing.json", "heads.json")]
    # An earlier damage made a pipe of it, or repeated its entries a million times.
    if any(not path.is_file() or path.stat().st_size > 2**23 for path in texts):
        return "left damaged answers as they were"
    try:
        return way(draw, root)
    except (ValueError, LookupError, TypeError, OSError, AttributeError, RecursionError):
        return "left damaged answers as they were"  # of an earlier damage


def _change_list(draw: Random, root: Path) -> str:
    info = json.loads((root / "listing.json").read_text())
    entry = draw.choice(info["siblings"])
    key = draw.choice(["sha", "rfilename", "rfilename", "size", "digest", "twice"])
    value: Any = draw.choice(_DIGESTS)
    if key == "sha":
        info["sha"] = draw.choice(["../../../../", "main", "0" * 40, "C" * 40])
    elif key == "rfilename":
        value = entry["rfilename"] = draw.choice(_NAMES)
    elif key == "size":
        sizes = (-1, 0, 10**30, "3000", 2.5, entry["size"] + 1, entry["size"] - 1, True)
        value = entry["size"] = draw.choice(sizes)
    elif key == "twice":
        # Once: repeated again, the list would not fit into the memory of the fuzzer.
        info["siblings"] *= 2 if len(info["siblings"]) > 1000 else draw.choice([2, 10_000])
    elif "lfs" in entry:
        entry["lfs"]["sha256"] = value
    else:
        entry["blobId"] = value
    (root / "listing.json").write_text(json.dumps(info))
    return f"{key} = {str(value)[:40]!r} in listing"


def _change_head(draw: Random, root: Path) -> str:
    heads = json.loads((root / "heads.json").read_text())
    part = draw.choice(sorted(heads))
    if draw.random() < 0.05:
        (root / f"{part}.drip").touch()
        return f"head of {part}, byte by byte"
    if draw.random() < 0.3:
        said = heads[part]["status"] = draw.choice(_STATUS)
    else:
        name, values = draw.choice(_FIELDS)
        value = heads[part]["fields"][name] = draw.choice(values)
        said = f"{name}: {value[:40]!r}"
    (root / "heads.json").write_text(json.dumps(heads))
    return f"{said} of {part}"


def _change_body(draw: Random, root: Path) -> str:
    path = root / draw.choice([*FILES, "listing.json"])
    kind = draw.choice(["endless", "slow", "longer", "shorter", "packed", "page"])
    data = path.read_bytes()
    if kind in ("endless", "slow"):
        (root / f"{path.name}.{kind}").touch()
    elif kind == "packed":
        path.write_bytes(gzip.compress(data + bytes(2**24)))
    elif kind == "page":
        path.write_bytes(b"<html>sign in</html>")
    else:
        path.write_bytes(data + b" " * 100 if kind == "longer" else data[:-1])
    return f"{kind} {path.name}"


# -- the server ----------------------------------------------------------------------
class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.has_token_elsewhere = False
        port = self.server_address[1]
        self.hub = f"http://127.0.0.1:{port}"
        # Another host for the client, which must not receive the token.
        self.store = f"http://localhost:{port}/store"

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that end a connection."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        root, path = self.server.root, unquote(urlsplit(self.path).path)
        is_hub = str(self.headers.get("Host")).startswith("127.")
        if self.headers.get("Authorization") and not is_hub:
            self.server.has_token_elsewhere = True
        part, _, name = path.removeprefix("/").partition("/")
        if part == "api":
            part, file = "list", root / "listing.json"
        elif part == "store":
            part, file = "file", root / name
        else:
            part, file = "place", root / "none"
            path = "/" + path.partition(f"{COMMIT}/")[2]
        # A name that the hub has made up has the content of another file.
        if part == "file" and not file.is_file():
            file = root / next(iter(FILES))
        data = file.read_bytes() if file.is_file() else b""
        head = self._head(part, path, len(data))
        if (root / f"{part}.drip").exists():
            self._drip(head)
        self.wfile.write(head)
        if self.command == "HEAD":
            return
        if (root / f"{file.name}.slow").exists():
            self._drip(b" " * 10_000)
        self.wfile.write(data)
        if (root / f"{file.name}.endless").exists():
            for block in repeat(_STREAMED):
                self.wfile.write(block)

    do_HEAD = do_GET

    def _drip(self, data: bytes) -> None:
        """Send byte by byte, slowly and without end."""
        for byte in cycle(data):
            self.wfile.write(bytes([byte]))
            threading.Event().wait(0.01)

    def _head(self, part: str, path: str, n_bytes: int) -> bytes:
        """Return the status line and header fields; damaged ones as they are."""
        stored = (self.server.root / "heads.json").read_bytes()
        try:
            head = json.loads(stored)[part]
            status, fields = head["status"], dict(head["fields"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return stored
        names = {"{hub}": self.server.hub, "{store}": self.server.store, "{path}": path}
        is_open = any(self.server.root.glob("*.endless"))
        lengths = {} if is_open else {"Content-Length": n_bytes}
        lines = [f"HTTP/1.1 {status} said"]
        for name, value in {**lengths, "Connection": "close", **fields}.items():
            text = str(value)
            for key, address in names.items():
                text = text.replace(key, address)
            lines.append(f"{name}: {text}")
        return "\r\n".join([*lines, "", ""]).encode(errors="replace")


@contextmanager
def _hub_of(root: Path) -> Iterator[_Server]:
    server = _Server(root)
    with running(server):
        yield server


# -- downloads -----------------------------------------------------------------------
def read_from_hub(kind: str) -> Callable[[Path], object]:
    """Return a function that fetches a place of a kind ("data" or "model")."""
    fetch = {"data": fetch_session, "model": fetch_checkpoint}[kind]

    def read(root: Path) -> object:
        target = root.parent / "to"
        with network_and_folder(target), _hub_of(root) as server:
            _point_to(server)
            before = listing(root)
            try:
                found = fetch(_PLACES[kind], target, QUIET)
            except (FetchError, SessionFormatError) as error:
                _check_message(str(error))
                raise
            finally:
                if server.has_token_elsewhere:
                    raise FaultError("sent the token to another host")
                wrong = _wrong_file(target)
                shutil.rmtree(target, ignore_errors=True)
            if wrong:
                raise FaultError(f"kept another content of {wrong}")
            if listing(root) != before:
                raise FaultError("changed the files of the hub")
            return found

    return read


def _point_to(server: _Server) -> None:
    """Point the client to the server, and shorten its patience.

    Nothing is set back: the process has no other use.
    """
    names = {"HF_ENDPOINT": server.hub, "HF_TOKEN": TOKEN}
    os.environ.update(names, NO_PROXY="127.0.0.1,localhost")
    web._CONNECT_S, web._SILENCE_S, web._HEAD_S = 1.0, 1.0, 1.5
    exchange._MEASURED_S, fetch._PAUSE_S = 0.3, 0.0


def _check_message(message: str) -> None:
    if not message.isprintable():
        raise FaultError(f"message with control characters: {message[:300]!r}")
    if TOKEN in message:
        raise FaultError("message with the token")


def _wrong_file(target: Path) -> str:
    """Return a file under its name whose content is not that of the hub, or ""."""
    sound = {*FILES.values()}
    for path in target.rglob("*"):
        is_own = path.name.endswith((".part", ".hub.json"))
        if path.is_file() and not is_own and path.read_bytes() not in sound:
            return path.name
    return ""
