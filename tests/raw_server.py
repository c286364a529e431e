"""Local servers: one whose answers are bytes, right or wrong, and any one in a thread."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import BaseServer, StreamRequestHandler, ThreadingTCPServer


@contextmanager
def running(server: BaseServer) -> Iterator[None]:
    """Let a server answer in a thread, and close it at the end."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@dataclass
class Server:
    """Answers, made from the first and last byte that a request wants; what was asked.

    An answer of no bytes is silence; one in parts is sent until the client closes.
    """

    answer: Callable[[int, int], bytes | Iterable[bytes]]
    port: int = 0
    asked: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.endpoint}/a.nwb"


@contextmanager
def serving(answer: Callable[[int, int], bytes | Iterable[bytes]]) -> Iterator[Server]:
    """Server with these answers on a free local port."""
    server = Server(answer)

    class Handler(StreamRequestHandler):
        timeout = 10

        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline()
                if not line:
                    return
                head += line
            server.asked.append(head.decode())
            first, last = 0, 0
            for line in head.decode().splitlines():
                if line.startswith("Range: bytes="):
                    first, last = map(int, line.removeprefix("Range: bytes=").split("-"))
            reply = server.answer(first, last)
            if not reply:
                server.is_over.wait(10)
            with suppress(OSError):  # the client has closed the connection
                for part in (reply,) if isinstance(reply, bytes) else reply:
                    self.wfile.write(part)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as tcp:
        tcp.daemon_threads = True
        server.port = tcp.server_address[1]
        with running(tcp):
            try:
                yield server
            finally:
                server.is_over.set()
