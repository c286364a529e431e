"""Connections that carry messages to a predictor in another process, and replies back.

`ProcessLink` is a spawned process on this machine; `dask_worker` has one over Dask.
Both carry the bytes that `client` writes and `server` reads.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, Protocol

from omnimouse_model.predict.worker.server import Source, serve

# Not fork: a copy of a process with threads (Qt, torch) may deadlock.
SPAWN = multiprocessing.get_context("spawn")


class LinkEndedError(Exception):
    """The other end is gone; the message says how, if that is known."""


class Link(Protocol):
    """Connection to one predictor in another process, from its start to its end."""

    @property
    def shares_memory(self) -> bool:
        """Whether the other end can attach to this machine's shared memory."""
        ...

    @property
    def process_id(self) -> int | None:
        """Process of the other end, None if it is on another machine."""
        ...

    @property
    def is_alive(self) -> bool:
        """Whether the other end may reply; False is certain, True is not."""
        ...

    def send(self, message: bytes) -> None:
        """Send one message; raises `LinkEndedError`."""
        ...

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next reply, in the order of the messages; None after the timeout.

        Raises `LinkEndedError`.
        """
        ...

    def cancel(self, number: int) -> None:
        """Cancel all messages up to this number, also a running one."""
        ...

    def close(self) -> None:
        """End the other end and release all resources."""
        ...


Connect = Callable[[Source, str, int | None], Link]
"""Function that starts a link from a source, a device and a number of threads."""


class ProcessLink:
    """A spawned process at the end of a pipe; it ends with this process."""

    shares_memory = True

    def __init__(self, source: Source, device: str, threads: int | None) -> None:
        # No lock: one side writes an aligned integer, and the other only compares it.
        self._cancelled: Any = SPAWN.Value("q", 0, lock=False)
        # One core stays free for the user interface.
        threads = threads or max(1, _n_cores() - 1)
        self._process, self._connection = spawn(
            "omnimouse-predictor", serve, source, device, threads, self._cancelled
        )

    @property
    def process_id(self) -> int | None:
        """Id of the process."""
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

    def cancel(self, number: int) -> None:
        """Cancel through shared memory: a busy process does not read its pipe."""
        self._cancelled.value = number

    def close(self) -> None:
        """End the process: close its pipe, then terminate, then kill."""
        self._cancelled.value = 2**62  # above every number: stops a running request
        self._connection.close()
        end_process(self._process, 0.2)

    def _ended(self) -> LinkEndedError:
        return LinkEndedError(f"The predictor's process {exit_text(self._process)}.")


def spawn(
    name: str, target: Callable[..., None], *arguments: Any
) -> tuple[BaseProcess, Connection]:
    """Start a process, and return it with this end of its pipe.

    The other end of the pipe is the first argument of `target`.
    """
    connection, child_end = SPAWN.Pipe()
    process = SPAWN.Process(
        target=target, args=(child_end, *arguments), name=name, daemon=True
    )
    with without_main_module():
        process.start()
    # With a copy here, the pipe would not report the end of the process.
    child_end.close()
    return process, connection


def end_process(process: BaseProcess, patience_s: float) -> None:
    """End a process: wait for it, then terminate, then kill it."""
    process.join(patience_s)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(2.0)


def exit_text(process: BaseProcess) -> str:
    """Return how a process ended, for an error message."""
    process.join(1.0)
    code = process.exitcode
    # -9 is SIGKILL, the signal of the kernel's out-of-memory killer.
    killed = " (killed by the system: out of memory?)" if code == -9 else ""
    return f"ended with exit code {code}{killed}"


def _n_cores() -> int:
    # Containers and job schedulers give a process fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_main_module_lock = threading.Lock()


@contextmanager
def without_main_module() -> Iterator[None]:
    """Start processes within this block that do not import the user's script.

    A spawned process imports the parent's `__main__` again, and with it napari and Qt,
    or a script without a guard. No message needs it.
    """
    # One thread at a time: a second one would restore the substitute of the first.
    with _main_module_lock:
        main = sys.modules["__main__"]
        try:
            sys.modules["__main__"] = ModuleType("__main__")
            yield
        finally:
            sys.modules["__main__"] = main
