"""Simulated sessions, small models and a ranking of the demo.

Sessions are generated once, into the user's cache: here, or in a separate process
(`SimulatedSession`), so that the caller stays responsive. The process sends the finished
share, and at the end the path or an error. It ends, and leaves nothing half-written, when
it receives a stop message or when the other end of its pipe is closed.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from omnimouse_model.errors import ExportError, StoppedError, WorkerError
from omnimouse_model.progress import QUIET, CallbackJob, Job, advance, shows_progress
from omnimouse_model.simulate.specs import DEMO_SHOWN, UNSEEN, VERSION, MouseSpec
from omnimouse_model.storage.processes import end_process, exit_text, spawn
from omnimouse_model.storage.write import cache_dir

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session


@shows_progress
def demo_session(job: Job = QUIET) -> Path:
    """Return the folder of the demo session: 1,000 neurons of the demo model, 12 min.

    Examples
    --------
    >>> session = om.open_session(om.demo_session())
    >>> session.format, session.responses.rate_hz
    ('experanto', 30.0)

    Notes
    -----
    The recording was not used for training. It is generated in about 15 s at the first
    call; `progress` is called with the finished share.
    """
    return _session(DEMO_SHOWN, job)


@shows_progress
def unseen_session(job: Job = QUIET) -> Path:
    """Return the folder of a mouse that no model was trained on: 400 neurons, 12 min.

    Examples
    --------
    >>> om.open_session(om.unseen_session()).id
    '90009-1-1'
    """
    return _session(UNSEEN, job)


@shows_progress
def spiking_session(job: Job = QUIET) -> Path:
    """Return the file of a spiking session of the demo: 100 units, 300 trials.

    Its train tier is in the training data of `ndt-demo`. See
    `simulate.spiking_laboratory`.

    Examples
    --------
    >>> from omnimouse_model.simulate.demo import spiking_session
    >>> spikes = om.open_session(spiking_session())
    >>> spikes.n_neurons, len(spikes.trials)
    (100, 300)
    """
    return _animal("spikes", job)


@shows_progress
def unseen_spiking_session(job: Job = QUIET) -> Path:
    """Return the file of a spiking session that no model was trained on.

    Examples
    --------
    >>> from omnimouse_model.simulate.demo import unseen_spiking_session
    >>> om.open_session(unseen_spiking_session()).id
    'unseen-spikes'
    """
    return _animal("unseen-spikes", job)


SESSIONS: Mapping[str, Callable[..., Path]] = {
    "demo": demo_session,
    "unseen": unseen_session,
    "spikes": spiking_session,
    "unseen-spikes": unseen_spiking_session,
}
"""Generated sessions by their names on the command line and in `om.evaluate`."""


MODELS: Mapping[str, str] = {"demo": "demo", "spikes": "ndt-demo"}
"""Name of a generated session (key of SESSIONS) -> model that was trained on it."""


def model_for(path: Path) -> str:
    """Return the name of the model that knows a generated session; "" if none does."""
    known = (model for name, model in MODELS.items() if session_path(name) == path)
    return next(known, "")


def open_session(path: str | Path | Mapping[str, Any], **options: Any) -> "Session":
    """Open a generated session by its name (`SESSIONS`), or any other recording.

    Examples
    --------
    >>> om.open_session("unseen").id
    '90009-1-1'

    Notes
    -----
    Parameters and errors are those of `data.open.open_session`.
    """
    # Imported here: the process that simulates a session needs no readers.
    from omnimouse_model.data.open import open_session as open_place

    # The names have priority over paths.
    generate = SESSIONS.get(path) if isinstance(path, str) else None
    return open_place(path if generate is None else generate(), **options)


def open_line(session: "Session") -> str:
    """Return the line of a script that opens a recording; a generated one by its name.

    Raises
    ------
    ExportError
        It is made of arrays in memory.
    """
    if isinstance(session.source, Mapping):
        raise ExportError(
            "This recording is made of arrays in memory, which a script cannot open: "
            "write them to an .npz, and open that."
        )
    # The path of a recording on a server is its address, without secrets. That of a generated
    # one exists on this machine alone.
    names = [name for name in SESSIONS if session_path(name) == session.path]
    # Options given at the opening are part of what was read.
    options = "".join(f", {name}={value!r}" for name, value in session.options.items())
    return f"session = om.open_session({(names or [str(session.path)])[0]!r}{options})"


def opened(session: "Session | str | Path | Mapping[str, Any]") -> "Session":
    """Return an open session itself, and that of a name, path, address or arrays opened."""
    # Imported here for the reason of `open_session`.
    from omnimouse_model.data.session import Session

    # A value of another type gets the error of `open_session`.
    return session if isinstance(session, Session) else open_session(session)


def session_path(name: str) -> Path:
    """Return where a generated session is, or will be; `name` is a key of SESSIONS."""
    if name in ("demo", "unseen"):
        return _mouse_folder(DEMO_SHOWN if name == "demo" else UNSEEN)
    return _animal_folder() / f"{name}.npz"


def is_demo(folder: Path) -> bool:
    """Return whether a session was generated here and is no recording of the user."""
    return folder.is_relative_to(cache_dir() / "sessions")


def _session(spec: MouseSpec, job: Job) -> Path:
    # Imported here: most callers find the session in the cache and need no simulator.
    from omnimouse_model.simulate.write import write_session

    return write_session(spec, _mouse_folder(spec), job)


def _animal(name: str, job: Job) -> Path:
    from omnimouse_model.simulate.spiking_laboratory import write_animal

    path = write_animal(name, _animal_folder())
    job.progress(1.0, 1.0)
    return path


def _mouse_folder(spec: MouseSpec) -> Path:
    # The version is part of the path, so that a session of an older simulator is not
    # opened by mistake.
    return cache_dir() / "sessions" / f"v{VERSION}" / spec.name


def _animal_folder() -> Path:
    from omnimouse_model.simulate.spiking_laboratory import VERSION as SPIKES_VERSION

    return cache_dir() / "sessions" / f"spikes-v{SPIKES_VERSION}"


# -- in a separate process -----------------------------------------------------------
POLL_S: Final = 0.05
CLEANING_S: Final = 5.0
"""Seconds in which a stopped process removes what it has written."""
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class SimulatedSession:
    """A sample session that a separate process simulates, unless its file exists.

    Parameters
    ----------
    name
        Key of `SESSIONS`.

    Examples
    --------
    >>> from omnimouse_model.simulate.demo import SimulatedSession
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
            if self._running is None and not session_path(self.name).exists():
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
            return SESSIONS[self.name](job)  # exists: returns at once
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
        path = SESSIONS[name](CallbackJob(report))
    except (StoppedError, BrokenPipeError):
        return
    except Exception as error:
        message: Exception | Path = error
    else:
        message = path
    connection.send(message)
