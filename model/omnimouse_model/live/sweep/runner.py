"""Run one context sweep on a thread of its own, out of the way of live requests.

A sweep loads its own predictor, with worker processes in its own process. Between two
windows it waits while it is paused and while a live request is unfinished.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.data.hub.connections import check_connection
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError
from omnimouse_model.live.inference.background_predictor import background_predictor
from omnimouse_model.live.inference.background_task import ReportProgress
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.pause_gate import PauseGate
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import CallbackJob, Job

PLAN_FIELDS = (
    "neurons", "history_samples", "video", "behavior", "seeds", "tier", "grid",
    "max_windows", "metric", "centred", "targets", "pool",
)  # fmt: skip
"""Fields of a plan that are arguments of `context_sweep`."""
PaceKey = tuple[str, str, str]
"""Predictor, device and fingerprint of the session: sweeps alike take as long."""


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """Finished and total predictions, and seconds per prediction, None if unknown.

    There is one prediction per context and window, also of the train tier.
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
    device = str(job.about.get("device", "auto"))
    with background_predictor(
        job.source, job.session, device, load, lambda: gate.is_stopped
    ) as predictor:
        session = job.session
        if session is None:
            report("opening the recording")
            options = job.about.get("options", {})
            # Without a session on screen, the place comes from saved results.
            check_connection(job.about["session"], job.path)
            session = open_session(job.about["session"], **options)
        sweep = context_sweep(
            predictor,
            session,
            **{name: getattr(job.plan, name) for name in PLAN_FIELDS},
            results=job.path,
            about=job.about,
            job=_job_of(gate, on_progress),
            on_part=on_part,
        )
        # `context_sweep` returns an incomplete sweep after a cancel.
        if gate.is_stopped:
            raise StoppedError
        return sweep


def _job_of(gate: PauseGate, on_progress: Callable[[SweepProgress], None]) -> Job:
    """Return a job that also measures the time per prediction."""
    origin: tuple[float, int] | None = None

    def progress(n_done: int | float, total: int | float, _context: str) -> None:
        nonlocal origin
        done = int(n_done)
        # Waiting for live requests does not count as computing time. The first call
        # sets the origin, so that rows read from the file do not count either.
        now = perf_counter() - gate.waited_s
        origin = origin or (now, done)
        since, first = origin
        each_s = (now - since) / (done - first) if done > first else None
        on_progress(SweepProgress(done, int(total), each_s))

    return CallbackJob(progress, gate.wait)
