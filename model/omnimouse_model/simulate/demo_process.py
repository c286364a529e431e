"""Simulation of a session in a separate process, so that the caller stays responsive.

The process sends the finished share, and at the end the path or an error. It ends, and
leaves nothing half-written, when it receives a stop message or when the other end of
its pipe is closed.
"""

import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Final

import omnimouse_model.simulate.demo as demo
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.process import end_process, exit_text, spawn
from omnimouse_model.progress import CallbackJob, Job, advance

POLL_S: Final = 0.05
CLEANING_S: Final = 5.0
"""Seconds in which a stopped process removes what it has written."""
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class SimulatedSession:
    """A sample session that a separate process simulates, unless its file exists.

    Parameters
    ----------
    name
        Key of `demo.SESSIONS`.

    Examples
    --------
    >>> from omnimouse_model.simulate.demo_process import SimulatedSession
    >>> sample = SimulatedSession("demo")
    >>> sample.start()  # returns at once
    >>> from omnimouse_model.progress import QUIET
    >>> folder = sample(QUIET)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = Lock()
        self._running: tuple[BaseProcess, Connection] | None = None

    def start(self) -> None:
        """Start to simulate; do nothing if the session exists or a process runs."""
        with self._lock:
            if self._running is None and not demo.session_path(self.name).exists():
                self._running = _start(self.name)

    def __call__(self, job: Job) -> Path:
        """Return the path of the session when it is written.

        Parameters
        ----------
        job
            Progress as a share, also while it does not change, and stop request. An
            exception from it stops the process.

        Raises
        ------
        WorkerError
            The process ended unexpectedly.
        OSError
            The session cannot be written.
        """
        self.start()
        with self._lock:
            running, self._running = self._running, None
        if running is None:
            return demo.SESSIONS[self.name](job)  # exists: returns at once
        process, connection = running
        try:
            return _await(connection, process, job)
        except BaseException:
            # Without a process, the error is the one that is raised.
            with suppress(OSError):
                connection.send("stop")
            raise
        finally:
            connection.close()
            end_process(process, CLEANING_S)


def _start(name: str) -> tuple[BaseProcess, Connection]:
    # One core is left for the window. More threads than cores wait for each other.
    n_threads = str(max(1, (os.cpu_count() or 1) - 1))
    variables = dict.fromkeys(_THREAD_VARIABLES, n_threads)
    return spawn(f"omnimouse-simulate-{name}", serve, name, environment=variables)


def _await(connection: Connection, process: BaseProcess, job: Job) -> Path:
    share = 0.0
    while True:
        advance(job, share, 1.0)
        try:
            if not connection.poll(POLL_S):
                continue
            message = connection.recv()
        except (EOFError, OSError) as fault:
            raise WorkerError(
                f"The process that simulates the session {exit_text(process)}. Close "
                "other programs, and open the session again."
            ) from fault
        if isinstance(message, Exception):
            raise message
        if isinstance(message, Path):
            return message
        share = message


# -- in the process -------------------------------------------------------------------
def serve(connection: Connection, name: str) -> None:
    """Simulate a session and send its messages; main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle.
    # The parent terminates its processes when it ends: what is written is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def report(done: int | float, total: int | float, step: str) -> None:
        # True for a stop message, and for a closed pipe.
        if connection.poll():
            raise StoppedError
        connection.send(done / total)

    try:
        path = demo.SESSIONS[name](CallbackJob(report))
    except (StoppedError, BrokenPipeError):
        return
    except Exception as error:
        message: Exception | Path = error
    else:
        message = path
    connection.send(message)
