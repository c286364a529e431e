"""Context sweeps over many windows, in the background, and saved sweeps.

Each row of a sweep is saved before it is drawn, so that a stopped sweep can continue.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from math import sqrt
from pathlib import Path
from time import perf_counter
from typing import Any

from psygnal import Signal

from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.analysis.sweep.run import (
    CELLS_TOGETHER,
    Cell,
    check_pool,
    context_sweep,
    planned_cells,
    pool_sizes,
)
from omnimouse_model.analysis.sweep.table import (
    SUFFIX,
    ContextSweep,
    SavedSweep,
    read_sweep,
    saved_sweeps,
)
from omnimouse_model.data.hub.servers import check_connection
from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers.build.notes import ReadOptions
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import StoppedError
from omnimouse_model.evaluation.shard import BATCH, TRAIN_WINDOWS
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    PausableJob,
    ReportProgress,
    SweepEstimate,
    estimate_of,
)
from omnimouse_model.live.inference.client import LiveClient
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.inference.workers import background_predictor
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.pin import is_same_predictor
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import TimeLeft, duration_text
from omnimouse_model.storage.trees import decode
from omnimouse_model.storage.write import config_dir

# -- run one context sweep on a thread of its own, out of the way of live requests ----
# A sweep loads its own predictor, with worker processes in its own process. Between two
# windows it waits while it is paused and while a live request is unfinished.
PLAN_FIELDS = (
    "neurons", "history_samples", "video", "behavior", "seeds", "tier", "grid",
    "max_windows", "metric", "centred", "targets", "pool",
)  # fmt: skip
"""Fields of a plan that are arguments of `context_sweep`."""
LEAST_POINTS = 4
"""Points of a sweep from which on the encoding of windows, which they share, tells in its pace."""
LEAST_PACE = 5.0, 10
"""Seconds and predictions on which a pace rests: that of less is of the start of a run."""
PaceKey = tuple[str, str, str]
"""Predictor, device and fingerprint of the session: sweeps alike take as long."""


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """Finished and total predictions, and estimated seconds left, None if unknown.

    There is one prediction per context and window, also of the train tier. `each_s` are
    seconds per prediction of the whole run, with its start and first encoding.
    """

    done: int
    total: int
    left_s: float | None = None
    each_s: float | None = None

    @property
    def share(self) -> float:
        """Finished share, from 0 to 1."""
        return self.done / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class SweepJob:
    """One run of a sweep; if `session` is None, it is opened from `about`.

    `sweep` has the rows that are there already. `pace_key` is None if the run is not of the
    session and predictor on screen.
    """

    sweep: ContextSweep
    path: Path
    about: Mapping[str, Any]
    source: str | Predictor
    session: Session | None
    work: PausableJob = field(repr=False)
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
        The run was stopped; the rows so far are saved.
    ValueError
        The predictor is an object that only the live engine may stop.
    """
    work = job.work
    _, n_points = job.sweep.point_counts()
    work.report = _timed(work, on_progress, n_points)
    device = str(job.about.get("device", "auto"))
    with background_predictor(job.source, device, load, lambda: work.is_stopped) as predictor:
        session = job.session
        if session is None:
            report("opening the recording")
            stored = decode(ReadOptions, job.about.get("options", {}), job.path, "options")
            # Without a session on screen, the place comes from saved results.
            check_connection(job.about["session"], job.path)
            session = open_session(job.about["session"], **stored.changed())
        sweep = context_sweep(
            predictor,
            session,
            **{name: getattr(job.sweep.plan, name) for name in PLAN_FIELDS},
            results=job.path,
            about=job.about,
            job=work,
            on_part=on_part,
        )
        # `context_sweep` returns an incomplete sweep after a cancel.
        if work.is_stopped:
            raise StoppedError
        return sweep


def _timed(
    work: PausableJob, on_progress: Callable[[SweepProgress], None], n_points: int
) -> Callable[[int | float, int | float, str], None]:
    """Return a report of a run that also estimates the time left."""

    # Waiting for live requests does not count as computing time.
    def clock() -> float:
        return perf_counter() - work.waited_s

    begun_s = clock()
    first_done: int | float | None = None
    time_left: TimeLeft | None = None
    told: tuple[float, float] | None = None

    def progress(done: int | float, total: int | float, _context: str) -> None:
        nonlocal first_done, time_left, told
        first_done = done if first_done is None else first_done
        # The first point takes many times as long: it encodes windows that others share. Of
        # many windows, it does so for each batch of them: the pace is that of whole batches.
        is_few = total <= n_points * (BATCH + TRAIN_WINDOWS) or n_points < LEAST_POINTS
        batch = 1 if is_few else BATCH * min(n_points, CELLS_TOGETHER)
        # One of few points is more than a tenth of the work, after which the time is told.
        is_first = is_few and done - first_done < total / max(n_points, 10)
        left_s = None
        if not is_first and done < total:
            time_left = time_left or TimeLeft(clock, batch / (total + 1))
            # One more: the estimate begins with the first share above 0.
            left_s = time_left.seconds((done + 1) / (total + 1))
            # A part of the last batch is not at the pace of a whole one.
            if told is None or total - done >= batch:
                told = None if left_s is None else (left_s, clock())
            else:
                left_s = max(told[0] - (clock() - told[1]), 1.0)
        rest_s, each_s = 0.0 if done == total else left_s, None
        # Earlier, a pace is that of few windows, beside whatever runs just then.
        n_done, (least_s, least_done) = done - first_done, LEAST_PACE
        is_enough = n_done >= least_done and clock() - begun_s >= least_s
        if rest_s is not None and is_enough and 10 * n_done >= total - first_done > 0:
            # Also the start, and what the first point encodes: the next sweep has both again.
            each_s = (clock() - begun_s + rest_s) / (total - first_done)
        on_progress(SweepProgress(int(done), int(total), left_s, each_s))

    return progress


# -- context sweeps over many windows, in the background, and saved sweeps ------------
MAX_COMPARED = 4
"""Saved sweeps on one plot, in addition to the live one; more lines are unreadable."""
WAITING = "waits for the screen"
BUSY = "A sweep runs already: cancel it, or wait."


class Sweeps:
    """Background sweeps: start, pause, cancel, continue, compare and delete.

    One sweep runs at a time; a second start sets `error` and has no other effect.

    Attributes
    ----------
    folder
        Folder of saved sweeps, by default in the user's config folder.
    entries
        Sweeps of the folder after `reload_folder`, newest first, with the running one.
    compared
        Files of the sweeps that are drawn, at most four.
    running
        File of the running or paused sweep, None without one.
    progress
        Progress of the running or latest sweep.
    """

    changed = Signal()

    def __init__(self, client: LiveClient, load: Load, execution: Execution = IN_THREADS) -> None:
        # An attribute, so that tests and notebooks can choose another folder.
        self.folder = config_dir() / "sweeps"
        self.entries: tuple[SavedSweep, ...] = ()
        self.compared: tuple[Path, ...] = ()
        self.running: Path | None = None
        self.progress = SweepProgress(0, 0)
        self._client, self._load, self._post = client, load, execution.post
        self._paces: dict[PaceKey, float] = {}
        self._pace_before: float | None = None
        self._runner = BackgroundTask(self._run, self._take_result, execution)
        self._reader = BackgroundTask(_read_folder, self._take_entries, execution)
        self._tasks = (self._runner, self._reader)
        for task in self._tasks:
            task.changed.connect(self._on_task)
        client.state.events.session.connect(self._on_session)

    # -- reading ----------------------------------------------------------------------
    @property
    def is_busy(self) -> bool:
        """Whether a sweep runs or is paused."""
        return self._runner.is_busy

    @property
    def is_paused(self) -> bool:
        """Whether the running sweep waits for `resume`."""
        return self.is_busy and self._runner.job.is_paused

    @property
    def is_waiting(self) -> bool:
        """Whether the running sweep waits for a prediction on screen."""
        return self.is_busy and not self.is_paused and self._runner.job.is_waiting

    @property
    def error(self) -> Exception | None:
        """Error of the newest action, None without one."""
        errors = (task.error for task in self._tasks)
        return next((error for error in errors if error is not None), None)

    @property
    def message(self) -> str:
        """Progress: "120 of 560 predictions · about 40 s left"; "" if no sweep runs."""
        entry = None if self.running is None else self.entry_of(self.running)
        if not self.is_busy or entry is None or entry.sweep is None:
            return ""
        # Up to 16 points are computed together: their number stands still meanwhile.
        done, total, left_s = self.progress.done, self.progress.total, self.progress.left_s
        parts = [f"{done:,} of {total:,} predictions"]
        if not total:
            n_done, n_points = entry.sweep.point_counts()
            parts = [f"{n_done:,} of {n_points:,} points"]
        if self.is_paused:
            parts.append("paused")
        elif self.is_waiting:
            parts.append(WAITING)
        elif not total:
            parts.append(self._runner.message)
        elif left_s is not None:
            parts.append(f"about {duration_text(left_s)} left")
        return " · ".join(parts)

    def entry_of(self, path: Path) -> SavedSweep | None:
        """Return the sweep of `entries` with this file, None if there is none."""
        return next((entry for entry in self.entries if entry.path == path), None)

    def reload_folder(self) -> None:
        """Read the folder again, in the background."""
        if not self._reader.is_busy:
            self._reader.start(self.folder, "Reading saved sweeps")

    def estimate(self, plan: SweepPlan) -> SweepEstimate | None:
        """Estimate a plan for the session on screen; None without a session.

        The time comes from a sweep with the same session, model and device, else from
        the fastest population prediction; it is None without either.

        Raises
        ------
        ValueError
            The session has no window of the plan's tier.
        MaskError
            The pool is smaller than a context.
        """
        session = self._client.state.session
        if session is None:
            return None
        # A sweep measures its own pace, which includes reading; the fastest prediction
        # on screen is a lower bound.
        pace = self._paces.get(self._pace_key)
        each_s = self._client.population_s if pace is None else pace
        spec = self._client.state.spec
        # As the sweep itself would.
        cells = _first_cells(plan, session, spec)
        check_pool(cells)
        _, n_points = _planned(plan, "", session, cells).point_counts()
        is_of_sweep = pace is not None
        return estimate_of(
            plan, session, each_s, n_points=n_points, is_of_sweep=is_of_sweep, spec=spec
        )

    # -- actions ----------------------------------------------------------------------
    def start(self, plan: SweepPlan, name: str = "") -> None:
        """Start a sweep of the session on screen with the chosen predictor.

        If it cannot start, `error` says why.
        """
        session, source = self._client.state.session, self._client.predictor
        if self.is_busy:
            return self._fail(BUSY)
        if session is None or source is None:
            return self._fail("Open a recording and choose a model first.")
        spec = self._client.state.spec
        plan = replace(plan, metric=spec.metric, rate_hz=spec.response_rate_hz)
        try:
            cells = _first_cells(plan, session, spec)
        except ValueError as error:
            return self._runner.fail(error)
        label = self._client.state.predictor_name
        sweep = _planned(plan, label, session, cells)
        plan = sweep.plan
        path = _free_path(self.folder, session.id)
        # By default, the name says what is asked, where that is not the usual question.
        asked = "" if plan.targets is None and plan.pool is None else f"{plan.asked} · "
        about = {
            "name": name or f"{asked}{session.id} · {model_name(label)}",
            "begun": datetime.now().strftime("%Y-%m-%d %H:%M"),
            # An object has no name that could load it again.
            "predictor": source if isinstance(source, str) else "",
            "device": self._client.state.device,
            "session": str(session.path),
            "options": dict(session.options),
        }
        # Listed before its file exists: `_take_part` adds rows to listed sweeps only.
        self.entries = (SavedSweep(path, sweep, about), *self.entries)
        self.compare(path, True)
        self._begin(sweep, path, about, session, source)

    def continue_saved(self, path: Path) -> None:
        """Compute the missing points of a saved sweep with its model and recording.

        Neither needs to be on screen.
        """
        entry = self.entry_of(path)
        if self.is_busy:
            return self._fail(BUSY)
        if entry is None or entry.sweep is None or entry.sweep.is_complete:
            return None
        about, session = entry.about, self._client.state.session
        # A predictor object has no name in the file: it must be the current one.
        current_predictor = self._client.predictor
        source: str | Predictor | None = str(about.get("predictor") or "") or None
        if source is None and not isinstance(current_predictor, str):
            source = current_predictor
        if not about.get("session") or source is None:
            return self._fail(
                f"{entry.name} does not say which model and recording it is of; go on "
                "with `omnimouse sweep --out FILE` and what it was made with."
            )
        if session is not None and str(session.path) != about["session"]:
            session = None
        self.compare(path, True)
        self._begin(entry.sweep, path, about, session, source)

    def pause(self) -> None:
        """Pause the sweep after the current prediction."""
        self._runner.job.pause(True)
        self.changed.emit()

    def resume(self) -> None:
        """Continue a paused sweep."""
        self._runner.job.pause(False)
        self.changed.emit()

    def cancel(self) -> None:
        """Cancel the sweep; its rows stay saved, and `continue_saved` continues it."""
        self._runner.stop()
        self.running = None
        self.changed.emit()

    def compare(self, path: Path, is_drawn: bool) -> None:
        """Draw a saved sweep, or not; a fifth one replaces the first drawn."""
        others = tuple(other for other in self.compared if other != path)
        self.compared = (*others, path)[-MAX_COMPARED:] if is_drawn else others
        self.changed.emit()

    def compare_only(self, names: Sequence[str]) -> str:
        """Draw only these saved sweeps; return a message about missing files, or ""."""
        paths = [self.folder / name for name in names]
        existing = [path for path in paths if _is_file(path)]
        running = () if self.running is None else (self.running,)
        self.compared = tuple(dict.fromkeys([*existing, *running]))[-MAX_COMPARED:]
        if existing:
            self.reload_folder()
        self.changed.emit()
        missing = [path for path in paths if path not in existing]
        lost = ", ".join(path.name.removesuffix(SUFFIX) for path in missing)
        return f"Saved context sweeps are missing: {lost}." if lost else ""

    def remove(self, path: Path) -> None:
        """Delete the file of a saved sweep, unless it is running."""
        if path == self.running:
            return
        try:
            # Another window of the app may have deleted it.
            path.unlink(missing_ok=True)
        except OSError as error:
            return self._fail(str(error))
        self.entries = tuple(entry for entry in self.entries if entry.path != path)
        self.compare(path, False)

    def clear_error(self) -> None:
        """Clear the errors of running and of reading sweeps."""
        for task in self._tasks:
            task.clear_error()
        self.changed.emit()

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the running sweep, which `continue_saved` can continue later."""
        for task in self._tasks:
            task.close(timeout_s)

    # -- on the drawing thread --------------------------------------------------------
    def _begin(
        self,
        sweep: ContextSweep,
        path: Path,
        about: Mapping[str, Any],
        session: Session | None,
        source: str | Predictor,
    ) -> None:
        # Late messages of an earlier run are recognised by its job.
        work = PausableJob(
            lambda: self._client.results.is_predicting, lambda: self._post(self.changed.emit)
        )
        self.running, self.progress = path, SweepProgress(0, 0)
        is_on_screen = is_same_predictor(source, self._client.predictor)
        key = self._pace_key if is_on_screen and session is not None else None
        self._pace_before = None if key is None else self._paces.get(key)
        job = SweepJob(sweep, path, about, source, session, work, key)
        self._runner.start(job, "loading the model", work)

    def _fail(self, message: str) -> None:
        self._runner.fail(ValueError(message))

    def _on_session(self) -> None:
        """Draw no sweep of the recording before; saved ones stay in the list."""
        self.compared = () if self.running is None else (self.running,)
        self.changed.emit()

    def _on_task(self) -> None:
        if not self._runner.is_busy:
            self.running = None
        self.changed.emit()

    @property
    def _pace_key(self) -> PaceKey:
        """Predictor, device and session on screen: the key of measured times.

        The session belongs to it, because the time depends on the number of neurons.
        """
        state = self._client.state
        recording = "" if state.session is None else state.session.fingerprint
        return state.predictor_name, state.device, recording

    def _take_progress(self, job: SweepJob, progress: SweepProgress) -> None:
        if job.work is self._runner.job and not job.work.is_stopped:
            self.progress = progress
            if progress.each_s is not None and job.pace_key is not None:
                each_s = progress.each_s
                # As `TimeLeft` joins a far and a near pace: other programs begin and end. At
                # its end, a run is measured: an older pace would make it wrong.
                if progress.done < progress.total:
                    each_s = sqrt((self._pace_before or each_s) * each_s)
                self._paces[job.pace_key] = each_s
            self.changed.emit()

    def _take_part(self, job: SweepJob, sweep: ContextSweep) -> None:
        """Take new rows, which are saved already and stay valid after a cancel."""
        self.entries = tuple(
            replace(entry, sweep=sweep) if entry.path == job.path else entry
            for entry in self.entries
        )
        self.changed.emit()

    def _take_result(self, result: tuple[SweepJob, ContextSweep]) -> None:
        self._take_part(*result)

    def _take_entries(self, entries: tuple[SavedSweep, ...]) -> None:
        """Take the folder's sweeps, except the running one: its rows here are newer."""
        running = None if self.running is None else self.entry_of(self.running)
        if running is not None:
            others = (entry for entry in entries if entry.path != running.path)
            entries = (running, *others)
        self.entries = entries
        paths = {entry.path for entry in entries}
        self.compared = tuple(path for path in self.compared if path in paths)
        self.changed.emit()

    # -- on the sweep's thread --------------------------------------------------------
    def _run(
        self, job: SweepJob, report: ReportProgress
    ) -> Iterator[tuple[SweepJob, ContextSweep]]:
        def on_progress(progress: SweepProgress) -> None:
            self._post(partial(self._take_progress, job, progress))

        def on_part(sweep: ContextSweep) -> None:
            self._post(partial(self._take_part, job, sweep))

        yield job, run_sweep(job, self._load, report, on_progress, on_part)


def _first_cells(plan: SweepPlan, session: Session, spec: WindowSpec) -> list[Cell]:
    """Return the cells of the first draw; all draws of a chosen pool have as many neurons."""
    return list(planned_cells(replace(plan, seeds=plan.seeds[:1]), [session], spec))


def _planned(
    plan: SweepPlan, predictor: str, session: Session, cells: Sequence[Cell]
) -> ContextSweep:
    """Return the sweep of a plan and its cells before its first row, as `context_sweep` has it."""
    of = plan.of([session])
    return ContextSweep(of, predictor, (session.id,), pools=pool_sizes(cells))


def _free_path(folder: Path, session: str) -> Path:
    """Return the path of a new file, named by time and session."""
    # Session ids can have characters that are not allowed in file names.
    plain = re.sub(r"[^\w.-]+", "-", session)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path, number = folder / f"{stamp}_{plain}{SUFFIX}", 2
    while path.exists():
        path, number = folder / f"{stamp}_{plain}_{number}{SUFFIX}", number + 1
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # not a valid file name
        return False


def _read_folder(folder: Path, report: ReportProgress) -> Iterator[tuple[SavedSweep, ...]]:
    entries = []
    for path in saved_sweeps(folder):
        report(f"Reading {path.name}")
        entries.append(read_sweep(path))
    yield tuple(entries)
