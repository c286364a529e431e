"""Run one context sweep on a thread of its own, out of the way of live requests.

A sweep loads its own predictor, with worker processes in its own process. Between two
windows it waits while it is paused and while a live request is unfinished.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError
from omnimouse_model.live.inference.background_task import ReportProgress
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.predict.capabilities import Closable, Interruptible
from omnimouse_model.predict.predictor import Predictor

LOOK_S = 0.02
"""Seconds between checks for live requests; much shorter than one prediction."""
MIN_URGENT = 19
"""Highest "nice" value of a process, which is the lowest priority."""
PLAN_FIELDS = (
    "neurons", "history_samples", "video", "behavior", "seeds", "tier", "grid",
    "max_windows", "metric",
)  # fmt: skip
"""Fields of a plan that are arguments of `context_sweep`."""
PaceKey = tuple[str, str, str]
"""Predictor, device and fingerprint of the session: sweeps alike take as long."""


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """Finished and total predictions, and seconds per prediction, None if unknown.

    There is one prediction per context and window.
    """

    done: int
    total: int
    each_s: float | None = None

    @property
    def left_s(self) -> float | None:
        """Estimated remaining seconds, None if not known yet."""
        return None if self.each_s is None else self.each_s * (self.total - self.done)

    @property
    def share(self) -> float:
        """Finished share, from 0 to 1."""
        return self.done / self.total if self.total else 0.0


class PauseGate:
    """Gate that is closed while paused and while a live request is unfinished.

    Parameters
    ----------
    is_awaited
        Returns whether a live request is unfinished; called on the sweep's thread.

    Attributes
    ----------
    waited_s
        Total waiting time in seconds; subtracted when predictions are timed.
    """

    def __init__(self, is_awaited: Callable[[], bool]) -> None:
        self.waited_s = 0.0
        self.is_paused = False
        self.is_stopped = False
        self._is_awaited = is_awaited
        self._changed = threading.Condition()

    def pause(self, is_paused: bool) -> None:
        """Pause the sweep, or end the pause."""
        with self._changed:
            self.is_paused = is_paused
            self._changed.notify_all()

    def stop(self) -> None:
        """Release a waiting sweep, also from a pause, and make it end."""
        with self._changed:
            self.is_stopped = True
            self._changed.notify_all()

    def wait(self) -> bool:
        """Wait while the gate is closed; return whether the sweep must end."""
        since = perf_counter()
        with self._changed:
            while not self.is_stopped and (self.is_paused or self._is_awaited()):
                # `pause` and `stop` notify; the end of a live request does not, so it
                # is polled.
                self._changed.wait(None if self.is_paused else LOOK_S)
        self.waited_s += perf_counter() - since
        return self.is_stopped


@dataclass(frozen=True, slots=True, eq=False)
class SweepJob:
    """One run of a sweep; if `session` is None, it is opened from `about`.

    `pace_key` is None if the run is not of the session and predictor on screen.
    """

    plan: SweepPlan
    path: Path
    about: Mapping[str, Any]
    source: str | Predictor
    session: Session | None
    gate: PauseGate = field(repr=False)
    pace_key: PaceKey | None = None


def run_sweep(
    job: SweepJob,
    load: Load,
    report: ReportProgress,
    on_progress: Callable[[SweepProgress], None],
    on_part: Callable[[ContextSweep], None],
) -> ContextSweep:
    """Compute the missing rows of a sweep, and save each in its file.

    `on_progress` and `on_part`, which gets the rows so far, are called on this thread.

    Raises
    ------
    StoppedError
        The gate was stopped; the rows so far are saved.
    ValueError
        The predictor is an object that only the live engine may stop.
    """
    gate = job.gate
    predictor = _predictor_of(job, load)
    try:
        if isinstance(predictor, Interruptible):
            predictor.stop_when(lambda: gate.is_stopped)
        _lower_priority(predictor)
        session = job.session
        if session is None:
            report("opening the recording")
            options = job.about.get("options", {})
            session = open_session(job.about["session"], **options)
        sweep = context_sweep(
            predictor,
            session,
            **{name: getattr(job.plan, name) for name in PLAN_FIELDS},
            results=job.path,
            about=job.about,
            progress=_progress_of(gate, on_progress),
            cancelled=gate.wait,
            on_part=on_part,
        )
        # `context_sweep` returns an incomplete sweep after a cancel.
        if gate.is_stopped:
            raise StoppedError
        return sweep
    finally:
        # Only a predictor that was loaded here may be closed here.
        if isinstance(job.source, str) and isinstance(predictor, Closable):
            predictor.close()


def _predictor_of(job: SweepJob, load: Load) -> Predictor:
    """Return the sweep's predictor: loaded by name, or the predictor object."""
    if isinstance(job.source, str):
        return load(job.source, job.session, str(job.about.get("device", "auto")))
    # It has one `stop_when`, which the live engine uses.
    if isinstance(job.source, Interruptible):
        raise ValueError(
            "A model that was passed as an object serves the screen only: choose it by "
            "name or file, so that the sweep can load its own."
        )
    return job.source


def _progress_of(
    gate: PauseGate, on_progress: Callable[[SweepProgress], None]
) -> Callable[[int, int, str], None]:
    """Return a progress callback, which also measures the time per prediction."""
    origin: tuple[float, int] | None = None

    def progress(done: int, total: int, _context: str) -> None:
        nonlocal origin
        # Waiting for live requests does not count as computing time. The first call
        # sets the origin, so that rows read from the file do not count either.
        now = perf_counter() - gate.waited_s
        origin = origin or (now, done)
        since, first = origin
        each_s = (now - since) / (done - first) if done > first else None
        on_progress(SweepProgress(done, total, each_s))

    return progress


def _lower_priority(predictor: Predictor) -> None:
    """Give the sweep's worker process the lowest priority, if there is a process."""
    # Reading the id starts the process. The priority is set before its computing
    # threads exist, because threads inherit it when they start.
    _ = predictor.predictor_id
    process = getattr(predictor, "process_id", None)
    if process is not None and hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):  # process has ended, or no permission
            os.setpriority(os.PRIO_PROCESS, process, MIN_URGENT)
