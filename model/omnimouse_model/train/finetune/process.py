"""Fine-tuning in a separate process, so that the caller's process stays responsive.

The process is spawned, and has a low priority. It sends the reports of `finetune` as
plain values. It ends when it receives a stop message, or when the other end of its pipe
is closed. Torch is imported in that process only.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any, Final

from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.predict.worker.server import portable_error
from omnimouse_model.predict.worker.transport import without_main_module

NICE: Final = 10
"""Niceness: lower priority than the live predictor and the user interface."""
POLL_S: Final = 0.05
SAVING_S: Final = 60.0
"""Seconds allowed after a stop message to finish the current step and save."""
HURRIED_S: Final = 0.5
"""The same when the caller is closing: the process is then killed, and the run can be
resumed from its last save."""
Tell = Callable[[str, Any], None]


@dataclass(frozen=True, slots=True)
class Job:
    """Arguments of `finetune`; the process opens the session from its files."""

    model: str
    session: Session
    out: Path
    device: str = "auto"
    settings: Mapping[str, Any] | None = None


def finetune_apart(
    job: Job,
    tell: Tell,
    stopped: Callable[[], bool],
    hurried: Callable[[], bool] = lambda: False,
) -> None:
    """Fine-tune in a separate process, and return when the result is written.

    Parameters
    ----------
    tell
        Called with "rows" and the existing rows of the log, or with "told" and the
        fields of a `FinetuneProgress`.
    stopped, hurried
        Functions that return True if the process shall end, and if the caller cannot
        wait for its last save.

    Raises
    ------
    StoppedError
        The process was stopped; the last save is in the job's folder.
    WorkerError
        The process ended unexpectedly.
    Exception
        Any error of `finetune`.
    """
    # Not fork: a copy of a process with threads (Qt, torch) may deadlock.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=serve,
        args=(theirs, pickle.dumps(job)),
        name="omnimouse-finetune",
        daemon=True,
    )
    with without_main_module():
        process.start()
    # Our copy of their end must be closed, or the pipe would not report its end when
    # the process dies.
    theirs.close()
    try:
        _follow(ours, process, tell, stopped, hurried)
    finally:
        ours.close()
        _end(process)


def _follow(
    connection: Connection,
    process: BaseProcess,
    tell: Tell,
    stopped: Callable[[], bool],
    hurried: Callable[[], bool],
) -> None:
    """Pass on the messages of the process until it ends."""
    asked_at: float | None = None
    while True:
        if stopped() and asked_at is None:
            asked_at = monotonic()
            # A broken pipe is reported by the read below.
            with contextlib.suppress(OSError):
                connection.send("stop")
        if asked_at is not None:
            patience = HURRIED_S if hurried() else SAVING_S
            if monotonic() - asked_at > patience:
                raise StoppedError
        try:
            if not connection.poll(POLL_S):
                continue
            kind, value = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError) as fault:
            # After a stop message, the end of the process is expected.
            if asked_at is not None:
                raise StoppedError from fault
            raise WorkerError(_ended(process)) from fault
        if kind == "fault":
            raise value
        if kind == "done":
            return
        if asked_at is None:
            tell(kind, value)


def _ended(process: BaseProcess) -> str:
    """Return the error message for a process that ended unexpectedly."""
    process.join(1.0)
    code = process.exitcode
    # -9 is SIGKILL, the signal of the kernel's out-of-memory killer.
    killed = " (killed by the system: out of memory?)" if code == -9 else ""
    return (
        f"The process that fine-tunes ended with exit code {code}{killed}. What was "
        "saved is kept: go on, with other programs closed or on another device."
    )


def _end(process: BaseProcess) -> None:
    """End the process: wait, then terminate, then kill."""
    process.join(POLL_S)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(1.0)


# -- in the process -------------------------------------------------------------------
def serve(connection: Connection, packed: bytes) -> None:
    """Run the fine-tuning and send its messages; main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle.
    if hasattr(os, "nice"):
        os.nice(NICE)

    def tell(kind: str, value: Any = None) -> None:
        # Without a reader, the message is lost, and `stopped` ends the run soon.
        with contextlib.suppress(OSError):
            connection.send_bytes(pickle.dumps((kind, value)))

    def stopped() -> bool:
        try:
            # True for a stop message, and for a closed pipe.
            return connection.poll()
        except OSError:
            return True

    try:
        _run(pickle.loads(packed), tell, stopped)
    except Exception as error:
        tell("fault", portable_error(error))
    else:
        tell("done")


def _run(job: Job, tell: Tell, stopped: Callable[[], bool]) -> None:
    from omnimouse_model.train.finetune.progress import FinetuneProgress
    from omnimouse_model.train.finetune.run import finetune
    from omnimouse_model.train.metrics_log import FILE, log_rows

    def told(progress: FinetuneProgress) -> None:
        tell("told", asdict(progress))

    if (job.out / FILE).exists():
        tell("rows", list(log_rows(job.out / FILE)))
    finetune(
        job.model,
        job.session,
        job.out,
        device=job.device,
        progress=told,
        cancelled=stopped,
        **(job.settings or {}),
    )
