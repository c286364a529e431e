"""Connections that carry messages to a predictor in another process, and replies back.

`ProcessLink` is a spawned process on this machine; `dask_worker` has one over Dask.
Both carry the bytes that `client` writes and `server` reads.
"""

import os
from collections.abc import Callable
from typing import Any, Final, Protocol

from omnimouse_model.inference.server import Source, serve
from omnimouse_model.process import SPAWN, end_process, exit_text, spawn


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
    def beats(self) -> int:
        """Count that grows each second while the other end runs; 0 if it is not known."""
        ...

    @property
    def fitted_share(self) -> float:
        """Finished share of a fit inside the running request; 0 if there is none."""
        ...

    @property
    def is_alive(self) -> bool:
        """False if the other end has ended; True does not guarantee that it replies."""
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


NUMPY_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1"}
"""Variables that numpy reads when it is imported.

The products of predictions are small. With a thread per core, those of a model and of a
baseline that compute at once wait for each other in loops: with 16 cores they took over
ten times as long as with one thread each. The price: a baseline is fitted on one core.
"""
Connect = Callable[[Source, str, int | None], Link]
"""Function that starts a link from a source, a device and a number of threads."""


class ProcessLink:
    """A spawned process at the end of a pipe; it ends with this process."""

    shares_memory = True

    def __init__(self, source: Source, device: str, threads: int | None) -> None:
        # No lock: one side writes an aligned integer, and the other only compares it.
        self._cancelled: Any = SPAWN.Value("q", 0, lock=False)
        self._beats: Any = SPAWN.Value("q", 0, lock=False)
        self._share: Any = SPAWN.Value("d", 0.0, lock=False)
        # One core stays free for the user interface.
        threads = threads or max(1, _n_cores() - 1)
        self._process, self._connection = spawn(
            "omnimouse-predictor",
            serve,
            source,
            device,
            threads,
            self._cancelled,
            self._beats,
            self._share,
            environment={"OMP_NUM_THREADS": str(threads), **NUMPY_THREADS},
        )

    @property
    def process_id(self) -> int | None:
        """Id of the process."""
        return self._process.pid

    @property
    def beats(self) -> int:
        """Count of the thread `start_beating` of the process."""
        return int(self._beats.value)

    @property
    def fitted_share(self) -> float:
        """Share that the process last reported."""
        return float(self._share.value)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def send(self, message: bytes) -> None:
        """Send one message; a full pipe blocks until the process reads."""
        try:
            self._connection.send_bytes(message)
        except OSError as error:
            raise self._ended() from error

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next reply from the pipe, None after the timeout."""
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


def _n_cores() -> int:
    # Containers and job schedulers give a process fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
