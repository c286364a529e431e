"""What carries messages to a predictor elsewhere, and its answers back.

`ProcessLink` is a spawned process on this machine; `remote` has one over Dask. Both
carry the same bytes, which `worker` writes and `worker_process` reads.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, Protocol

from omnimouse_model.predict.worker.server import Source, serve


class LinkEndedError(Exception):
    """The other end is gone; says how, as far as that is known."""


class Link(Protocol):
    """One predictor elsewhere, from its start to its end."""

    @property
    def shares_memory(self) -> bool:
        """Whether it can attach to this machine's shared memory."""
        ...

    @property
    def process_id(self) -> int | None:
        """Its process, where it is on this machine."""
        ...

    @property
    def is_alive(self) -> bool:
        """Whether it could answer; False is certain, True is not."""
        ...

    def send(self, message: bytes) -> None:
        """Hand over one message; raises `LinkEndedError`."""
        ...

    def receive(self, timeout_s: float) -> bytes | None:
        """Its next answer, in the order of the messages, None when the time is up.

        Raises `LinkEndedError`.
        """
        ...

    def stop(self, number: int) -> None:
        """Have it give up every message up to this number, also a running one."""
        ...

    def close(self) -> None:
        """End it; nothing is left behind."""
        ...


Connect = Callable[[Source, str, int | None], Link]
"""Starts a link from a source, a device and a number of threads, if given."""


class ProcessLink:
    """A spawned process at the end of a pipe; it dies with this one."""

    shares_memory = True

    def __init__(self, source: Source, device: str, threads: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._stopped: Any = context.Value("q", 0, lock=False)
        self._connection, theirs = context.Pipe()
        threads = threads or max(1, _n_cores() - 1)
        self._process: BaseProcess = context.Process(
            target=serve,
            args=(theirs, source, device, threads, self._stopped),
            name="omnimouse-predictor",
            daemon=True,
        )
        with without_main():
            self._process.start()
        theirs.close()

    @property
    def process_id(self) -> int | None:
        """The process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def send(self, message: bytes) -> None:
        """Write to the pipe."""
        try:
            self._connection.send_bytes(message)
        except OSError as error:
            raise self._ended() from error

    def receive(self, timeout_s: float) -> bytes | None:
        """Read from the pipe."""
        try:
            if not self._connection.poll(timeout_s):
                return None
            return self._connection.recv_bytes()
        except (EOFError, OSError) as fault:
            raise self._ended() from fault

    def stop(self, number: int) -> None:
        """Through shared memory: the process is busy computing."""
        self._stopped.value = number

    def close(self) -> None:
        """End the process, which reads the end of the pipe; kill it if it does not."""
        self._stopped.value = 2**62
        self._connection.close()
        self._process.join(0.2)
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(2.0)

    def _ended(self) -> LinkEndedError:
        self._process.join(1.0)
        code = self._process.exitcode
        killed = " (killed by the system: out of memory?)" if code == -9 else ""
        return LinkEndedError(
            f"The predictor's process ended with exit code {code}{killed}."
        )


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_starting = threading.Lock()


@contextmanager
def without_main() -> Iterator[None]:
    """Keep the user's script out of the process; one thread at a time.

    A spawned process imports the parent's `__main__` again: with it napari and Qt, or
    a script without a guard. Nothing that is sent needs it.
    """
    with _starting:  # A second thread would put back what stands in for it meanwhile.
        main = sys.modules["__main__"]
        try:
            sys.modules["__main__"] = ModuleType("__main__")
            yield
        finally:
            sys.modules["__main__"] = main
