"""Fine-tuning in a process of its own: whoever waits for it is held up by nothing.

It is spawned and yields the processor to all others. It tells what `finetune` tells,
as plain values, and ends when it is told to, or when the other end of its pipe is gone.
Torch is imported there, not here.
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
from omnimouse_model.predict.worker.server import sendable
from omnimouse_model.predict.worker.transport import without_main

NICE: Final = 10
"""Behind the live predictor, which is behind the screen."""
POLL_S: Final = 0.05
SAVING_S: Final = 60.0
"""After a stop: for the step that runs, and for saving what was reached."""
HURRIED_S: Final = 0.5
"""The same where its owner ends: it is killed then, and goes on from its last save."""
Tell = Callable[[str, Any], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What `finetune` is called with; the session is opened there from its files."""

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
    """Fine-tune in a process of its own; returns when the result is written.

    Parameters
    ----------
    tell
        Called with "rows", the rows that were logged before, or with "told" and the
        fields of a `FinetuneProgress`.
    stopped, hurried
        Whether it shall end; and whether nobody can wait until it has saved.

    Raises
    ------
    StoppedError
        It was stopped; what was reached is in the job's folder.
    WorkerError
        The process ended by itself.
    Exception
        What `finetune` raised.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=serve,
        args=(theirs, pickle.dumps(job)),
        name="omnimouse-finetune",
        daemon=True,
    )
    with without_main():
        process.start()
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
    """Hand over what the process says until it has ended."""
    asked_at: float | None = None
    while True:
        if stopped() and asked_at is None:
            asked_at = monotonic()
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
    process.join(1.0)
    code = process.exitcode
    killed = " (killed by the system: out of memory?)" if code == -9 else ""
    return (
        f"The process that fine-tunes ended with exit code {code}{killed}. What was "
        "saved is kept: go on, with other programs closed or on another device."
    )


def _end(process: BaseProcess) -> None:
    process.join(POLL_S)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(1.0)


# -- in the process -------------------------------------------------------------------
def serve(connection: Connection, packed: bytes) -> None:
    """Fine-tune and tell: the process's main function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle.
    if hasattr(os, "nice"):
        os.nice(NICE)

    def tell(kind: str, value: Any = None) -> None:
        with contextlib.suppress(OSError):
            connection.send_bytes(pickle.dumps((kind, value)))  # else it ends soon

    def stopped() -> bool:
        try:
            return connection.poll()  # told to, or the end of the pipe
        except OSError:
            return True

    try:
        _run(pickle.loads(packed), tell, stopped)
    except Exception as error:
        tell("fault", sendable(error))
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
