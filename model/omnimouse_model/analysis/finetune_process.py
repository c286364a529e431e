"""Fine-tuning, or a fit, in a separate process, so that the caller's stays responsive.

The process is spawned, and has a low priority. It sends the reports of `finetune` or `fit` as
plain values. It ends when it receives a stop message, or when the other end of its pipe
is closed. Torch is imported in that process only.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic, process_time
from typing import Any, Final

from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.inference.server import portable_error
from omnimouse_model.progress import CallbackJob, Job
from omnimouse_model.storage.processes import (
    WAITING,
    end_process,
    exit_text,
    packed,
    spawn,
    unpacked,
)

NICE: Final = 10
"""Niceness: lower priority than the live predictor and the user interface."""
SOON_S, LATE_S = 1.0, 60.0
"""Least and longest time until the number of threads may change again."""
LOST_PER_S = 100.0
"""Lost cores per second of the processor beside other work; about 400 beside busy programs for
one thread, and 1,500 for two."""
POLL_S: Final = 0.05
SAVING_S: Final = 60.0
"""Seconds allowed after a stop message to finish the current step and save."""
CLOSING_S: Final = 0.5
"""The same when the caller is closing: the process is then killed, and the run can be
resumed from its last save."""
ReportRows = Callable[[Sequence[dict[str, float]]], None]


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments of `finetune`, or of `fit`; the process opens the session from its files.

    A fit has the one setting `steps`: those of the whole run.
    """

    model: str
    session: Session
    out: Path
    device: str = "auto"
    settings: Mapping[str, Any] | None = None
    is_fit: bool = False
    is_reached: bool = False
    """Only the result is written, from the last save: without a further step; not of a fit."""


def spawn_finetune(
    arguments: Arguments,
    job: Job,
    report_rows: ReportRows,
    closing: Callable[[], bool] = lambda: False,
) -> None:
    """Fine-tune in a separate process, and return when the result is written.

    Parameters
    ----------
    report_rows
        Called with rows of the log: with existing ones at the start, then with each new one.
    closing
        Returns True if the caller cannot wait for the last save of a stopped process.

    Raises
    ------
    StoppedError
        The job is cancelled; the last save is in the folder of the run.
    WorkerError
        The process ended unexpectedly.
    Exception
        Any error of `finetune`.
    """
    process, connection = spawn("omnimouse-finetune", serve, packed(arguments), environment=WAITING)
    try:
        _forward_reports(connection, process, job, report_rows, closing)
    finally:
        connection.close()
        end_process(process, POLL_S)


def _forward_reports(
    connection: Connection,
    process: BaseProcess,
    job: Job,
    report_rows: ReportRows,
    closing: Callable[[], bool],
) -> None:
    """Pass on the messages of the process until it ends."""
    stopped_at: float | None = None
    while True:
        if stopped_at is None and job.cancelled():
            stopped_at = monotonic()
            # A broken pipe is reported by the read below.
            with contextlib.suppress(OSError):
                connection.send("stop")
        if stopped_at is not None:
            patience = CLOSING_S if closing() else SAVING_S
            if monotonic() - stopped_at > patience:
                raise StoppedError
        try:
            if not connection.poll(POLL_S):
                continue
            kind, value = connection.recv()
        except (EOFError, OSError) as fault:
            # After a stop message, the end of the process is expected.
            if stopped_at is not None:
                raise StoppedError from fault
            raise WorkerError(
                f"The process that fine-tunes {exit_text(process)}. The last save "
                "remains: close other programs or choose another device, and resume."
            ) from fault
        if kind == "fault":
            raise value
        if kind == "done":
            return
        # After a stop, those of the step that is still saved.
        if kind == "rows" and (stopped_at is None or not closing()):
            report_rows(value)
        elif kind == "progress" and stopped_at is None:
            job.progress(*value)


# -- in the process -------------------------------------------------------------------
def serve(connection: Connection, arguments: bytes) -> None:
    """Run the fine-tuning and send its messages; main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle.
    if hasattr(os, "nice"):
        os.nice(NICE)

    def send(kind: str, value: Any = None) -> None:
        # Without a reader, the message is lost, and `stopped` ends the run soon.
        with contextlib.suppress(OSError):
            connection.send((kind, value))

    def stopped() -> bool:
        try:
            # True for a stop message, and for a closed pipe.
            return connection.poll()
        except OSError:
            return True

    try:
        _run(unpacked(arguments), send, stopped)
    except Exception as error:
        # The stop message stays unread, so that a stop which nobody asked for is a fault.
        is_asked = isinstance(error, StoppedError) and stopped()
        send("fault", error if is_asked else portable_error(error))
    else:
        send("done")


def _run(
    arguments: Arguments, send: Callable[[str, Any], None], stopped: Callable[[], bool]
) -> None:
    from omnimouse_model.analysis.fit import finetune, fit_on_record
    from omnimouse_model.training.checkpoints import saved_step
    from omnimouse_model.training.metrics_log import FILE, log_rows

    settings, last = dict(arguments.settings or {}), inf
    if arguments.is_reached and (saved := saved_step(arguments.out)) >= 0:
        # After a kill, the log has steps that no save has, and that would be trained again;
        # after a stop, a save has the step that was not told any more.
        last = settings["steps"] = saved
    # A resumed run first sends what it already has, for the curve on screen.
    if (arguments.out / FILE).exists():
        send("rows", [row for row in log_rows(arguments.out / FILE) if row["step"] <= last])
    call = fit_on_record if arguments.is_fit else finetune
    threads = ThreadsByLoad()

    def send_now(kind: str, value: Any) -> None:
        threads.follow()
        send(kind, value)

    call(
        arguments.model,
        arguments.session,
        arguments.out,
        device=arguments.device,
        on_step=lambda step, row: send_now("rows", [row]),
        job=CallbackJob(lambda *progress: send_now("progress", progress), stopped),
        **settings,
    )


class ThreadsByLoad:
    """Threads of torch in a long computation of low priority: one while other programs compute.

    Threads wait for one another several times per layer. Beside busy programs each of them has
    a core for a tenth of the time, and the others compute nothing meanwhile: one thread then
    does more than two, at an even pace. How often the threads lose their core tells whether
    others want it; Windows does not count that, and the number stays.
    """

    def __init__(self) -> None:
        import torch

        self._n_threads = torch.get_num_threads()
        self._pause_s = self._wait_s = SOON_S
        self._last = monotonic(), process_time(), _lost_cores()

    def follow(self) -> None:
        """Set the number of threads; called by the thread that computes, after each step."""
        import torch

        at_s, used_s, lost = now = monotonic(), process_time(), _lost_cores()
        if self._n_threads == 1 or at_s - self._last[0] < self._wait_s:
            return
        is_beside_others = lost - self._last[2] > LOST_PER_S * (used_s - self._last[1])
        is_single, self._last, self._wait_s = torch.get_num_threads() == 1, now, SOON_S
        if is_beside_others and not is_single:
            torch.set_num_threads(1)
            self._pause_s = self._wait_s = min(2 * self._pause_s, LATE_S)
        elif is_single and not is_beside_others:
            # Whether one of many cores is taken shows only when threads run on all.
            torch.set_num_threads(self._n_threads)
        elif not is_single:
            self._pause_s = SOON_S


def _lost_cores() -> int:
    """Return how often threads of this process had to leave their core to others."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
