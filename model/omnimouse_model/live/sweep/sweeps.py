"""Context sweeps over many windows, in the background, and saved sweeps.

A sweep loads its own predictor, with worker processes in its own process, so that it
does not delay live predictions; between two windows it waits for unfinished live
requests. Each row is saved before it is drawn, so that a stopped sweep can continue.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from psygnal import Signal

from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.analysis.sweep.saved import (
    SUFFIX,
    SavedSweep,
    read_sweep,
    saved_sweeps,
)
from omnimouse_model.analysis.sweep.table import ContextSweep, write_together
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.client import LiveClient
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.last_session import config_dir
from omnimouse_model.live.pin import is_same_predictor
from omnimouse_model.live.sweep.estimate import (
    SweepEstimate,
    duration_text,
    estimate_of,
)
from omnimouse_model.live.sweep.pause import PauseGate
from omnimouse_model.predict.capabilities import Closable, Interruptible
from omnimouse_model.predict.predictor import Predictor

LEAST_URGENT = 19
"""Highest "nice" value of a process, which is the lowest priority."""
MOST_COMPARED = 4
"""Saved sweeps on one plot, in addition to the live one; more lines are unreadable."""
Source = str | Predictor


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """Progress of a sweep.

    Attributes
    ----------
    done, total
        Finished and total number of predictions, one per context and window.
    each_s
        Seconds per prediction, None if not known yet.
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
class _Job:
    """One run of a sweep; if `session` is None, it is opened from `about`.

    `pace_key` is None if the run is not of the session and predictor on screen.
    """

    plan: SweepPlan
    path: Path
    about: Mapping[str, Any]
    source: Source
    session: Session | None
    gate: PauseGate = field(repr=False)
    pace_key: tuple[str, str, str] | None = None


class Sweeps:
    """Background sweeps: start, pause, cancel, continue, compare and delete.

    One sweep runs at a time; a second start sets `error` and has no other effect.

    Parameters
    ----------
    asking
        Client of the live engine: state, predictor, and unfinished requests.
    load
        Makes a predictor from its name, on the sweep's thread.
    execution
        Threads of the work and of its results.

    Attributes
    ----------
    changed
        Emitted on the drawing thread when an attribute may have changed.
    folder
        Folder of saved sweeps, by default in the user's config folder.
    entries
        Saved sweeps of the folder after `look`, newest first, with the running one.
    compared
        Files of the sweeps that are drawn, at most four.
    running
        File of the running or paused sweep, None without one.
    """

    changed = Signal()

    def __init__(
        self,
        client: LiveClient,
        load: Load,
        execution: Execution = IN_THREADS,
    ) -> None:
        self.folder = config_dir() / "sweeps"
        self.entries: tuple[SavedSweep, ...] = ()
        self.compared: tuple[Path, ...] = ()
        self.running: Path | None = None
        self.progress = SweepProgress(0, 0)
        self._client, self._load, self._post = client, load, execution.post
        self._gate = PauseGate(lambda: False)
        self._paces: dict[tuple[str, str, str], float] = {}
        self._error: Exception | None = None
        self._work = BackgroundTask(self._computed, self._take_whole, execution)
        self._looking = BackgroundTask(_read_all, self._take_all, execution)
        self._writing = BackgroundTask(_written, _forget, execution)
        for errand in (self._work, self._looking, self._writing):
            errand.changed.connect(self._tell)

    # -- reading ----------------------------------------------------------------------
    @property
    def is_busy(self) -> bool:
        """Whether a sweep runs or is paused."""
        return self._work.is_busy

    @property
    def is_paused(self) -> bool:
        """Whether the running sweep waits for `resume`."""
        return self.is_busy and self._gate.is_paused

    @property
    def error(self) -> Exception | None:
        """Error of the newest action, None without one."""
        errands = (self._work, self._looking, self._writing)
        faults = [errand.error for errand in errands]
        return next((f for f in (self._error, *faults) if f is not None), None)

    @property
    def message(self) -> str:
        """Progress: "12 of 56 points · about 40 s left"; "" if no sweep runs."""
        entry = None if self.running is None else self.entry_of(self.running)
        if not self.is_busy or entry is None or entry.sweep is None:
            return ""
        said = [f"{len(entry.sweep.rows)} of {entry.sweep.n_planned} points"]
        if self.is_paused:
            said.append("paused")
        elif not self.progress.total:
            said.append(self._work.message)
        elif self.progress.left_s is not None:
            said.append(f"about {duration_text(self.progress.left_s)} left")
        return " · ".join(said)

    def entry_of(self, path: Path) -> SavedSweep | None:
        """Return the sweep of `entries` with this file, None if there is none."""
        return next((entry for entry in self.entries if entry.path == path), None)

    def look(self) -> None:
        """Read the folder again, in the background."""
        if not self._looking.is_busy:
            self._looking.start(self.folder, "Reading kept sweeps")

    def estimate(self, plan: SweepPlan) -> SweepEstimate | None:
        """Estimate a plan for the session on screen; None without a session.

        The time comes from a sweep with the same session, model and device, else from
        the fastest population prediction; it is None without either.

        Raises
        ------
        ValueError
            The session has no window of the plan's tier.
        """
        session = self._client.state.session
        if session is None:
            return None
        pace = self._paces.get(self._pace_key)
        each_s = self._client.population_s if pace is None else pace
        return estimate_of(plan, session, each_s, is_of_sweep=pace is not None)

    # -- actions ----------------------------------------------------------------------
    def start(self, plan: SweepPlan, name: str = "") -> None:
        """Start a sweep of the session on screen with the chosen predictor.

        If it cannot start, `error` says why.
        """
        session, source = self._client.state.session, self._client.predictor
        if self.is_busy:
            return self._fail("A sweep runs already: cancel it, or wait.")
        if session is None or source is None:
            return self._fail("Open a recording and choose a model first.")
        path = _free_path(self.folder, session.id)
        label = self._client.state.predictor_name
        about = {
            "name": name or f"{session.id} · {Path(label).name}",
            "begun": datetime.now().strftime("%Y-%m-%d %H:%M"),
            "predictor": source if isinstance(source, str) else "",
            "device": self._client.state.device,
            "session": str(session.path),
            "options": dict(session.options),
        }
        sweep = ContextSweep(plan, label, (session.id,))
        # Listed before its file exists: `_take_part` adds rows to listed sweeps only.
        self.entries = (SavedSweep(path, sweep, about), *self.entries)
        self.compare(path, True)
        self._begin(plan, path, about, session, source)

    def go_on(self, path: Path) -> None:
        """Compute the missing points of a saved sweep with its model and recording.

        Neither needs to be on screen.
        """
        entry = self.entry_of(path)
        if self.is_busy:
            return self._fail("A sweep runs already: cancel it, or wait.")
        if entry is None or entry.sweep is None or entry.sweep.is_complete:
            return None
        about, here = entry.about, self._client.state.session
        chosen = self._client.predictor
        source: Source | None = about.get("predictor") or None
        if source is None and not isinstance(chosen, str):
            source = chosen
        if not about.get("session") or source is None:
            return self._fail(
                f"{entry.name} does not say which model and recording it is of; go on "
                "with `omnimouse sweep --out FILE` and what it was made with."
            )
        is_here = here is not None and str(here.path) == about["session"]
        self.compare(path, True)
        self._begin(entry.sweep.plan, path, about, here if is_here else None, source)

    def pause(self) -> None:
        """Pause the sweep after the current prediction."""
        self._gate.pause(True)
        self.changed.emit()

    def resume(self) -> None:
        """Continue a paused sweep."""
        self._gate.pause(False)
        self.changed.emit()

    def cancel(self) -> None:
        """Cancel the sweep; its rows stay saved, and `go_on` continues it."""
        self._gate.stop()
        self._work.stop()
        self.running = None
        self.changed.emit()

    def compare(self, path: Path, is_drawn: bool) -> None:
        """Draw a saved sweep, or not; a fifth one replaces the first drawn."""
        others = tuple(other for other in self.compared if other != path)
        self.compared = (*others, path)[-MOST_COMPARED:] if is_drawn else others
        self.changed.emit()

    def compare_just(self, names: Sequence[str]) -> str:
        """Draw only these saved sweeps; return a message about missing files, or ""."""
        here: list[Path] = []
        gone: list[Path] = []
        for name in names:
            path = self.folder / name
            try:
                (here if path.is_file() else gone).append(path)
            except OSError:  # not a valid file name
                gone.append(path)
        own = () if self.running is None else (self.running,)
        found = dict.fromkeys([*here, *own])
        self.compared = tuple(found)[-MOST_COMPARED:]
        if here:
            self.look()
        self.changed.emit()
        lost = ", ".join(path.name.removesuffix(SUFFIX) for path in gone)
        return f"Context sweeps it compared are not here: {lost}." if lost else ""

    def remove(self, path: Path) -> None:
        """Delete the file of a saved sweep, unless it is running."""
        if path == self.running:
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            return self._fail(str(error))
        self.entries = tuple(entry for entry in self.entries if entry.path != path)
        self.compare(path, False)

    def write_csv(self, sweeps: Mapping[str, ContextSweep], path: Path) -> None:
        """Write sweeps as one table in the background; see `write_together`."""
        self._writing.start((dict(sweeps), path), f"Writing {path.name}")

    def clear_error(self) -> None:
        """Clear all errors."""
        self._error = None
        for errand in (self._work, self._looking, self._writing):
            errand.clear_error()
        self.changed.emit()

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the running sweep, which `go_on` can continue later."""
        self._gate.stop()
        for errand in (self._work, self._looking, self._writing):
            errand.close(timeout_s)

    # -- on the drawing thread --------------------------------------------------------
    def _begin(
        self,
        plan: SweepPlan,
        path: Path,
        about: Mapping[str, Any],
        session: Session | None,
        source: Source,
    ) -> None:
        self._error = None
        # A new gate per run: late messages of an earlier run are recognised by it.
        self._gate = PauseGate(lambda: self._client.results.is_awaited)
        self.running, self.progress = path, SweepProgress(0, 0)
        is_asked = is_same_predictor(source, self._client.predictor)
        key = self._pace_key if is_asked and session is not None else None
        job = _Job(plan, path, about, source, session, self._gate, key)
        self._work.start(job, "loading the model")

    def _fail(self, words: str) -> None:
        self._error = ValueError(words)
        self.changed.emit()

    def _tell(self) -> None:
        if not self._work.is_busy:
            self.running = None
        self.changed.emit()

    @property
    def _pace_key(self) -> tuple[str, str, str]:
        """Predictor, device and session on screen: the key of measured times.

        The session belongs to it, because the time depends on the number of neurons.
        """
        state = self._client.state
        recording = "" if state.session is None else state.session.fingerprint
        return state.predictor_name, state.device, recording

    def _take_progress(self, job: _Job, progress: SweepProgress) -> None:
        if job.gate is self._gate and not job.gate.is_stopped:
            self.progress = progress
            if progress.each_s is not None and job.pace_key is not None:
                self._paces[job.pace_key] = progress.each_s
            self.changed.emit()

    def _take_part(self, job: _Job, sweep: ContextSweep) -> None:
        """Take new rows, which are saved already and stay valid after a cancel."""
        self.entries = tuple(
            replace(entry, sweep=sweep) if entry.path == job.path else entry
            for entry in self.entries
        )
        self.changed.emit()

    def _take_whole(self, found: tuple[_Job, ContextSweep]) -> None:
        self._take_part(*found)

    def _take_all(self, found: tuple[SavedSweep, ...]) -> None:
        """Take the folder's sweeps; of the running one, keep the newer rows here."""
        own = None if self.running is None else self.entry_of(self.running)
        others = [entry for entry in found if own is None or entry.path != own.path]
        self.entries = (own, *others) if own is not None else tuple(others)
        there = {entry.path for entry in self.entries}
        self.compared = tuple(path for path in self.compared if path in there)
        self.changed.emit()

    # -- on the sweep's thread --------------------------------------------------------
    def _computed(
        self, job: _Job, report: ReportProgress
    ) -> Iterator[tuple[_Job, ContextSweep]]:
        gate, plan = job.gate, job.plan
        predictor = self._made(job)
        try:
            if isinstance(predictor, Interruptible):
                predictor.stop_when(lambda: gate.is_stopped)
            _yield_processor(predictor)
            session = job.session
            if session is None:
                report("opening the recording")
                options = job.about.get("options", {})
                session = open_session(job.about["session"], **options)
            found = context_sweep(
                predictor,
                session,
                neurons=plan.neurons,
                history_samples=plan.history_samples,
                video=plan.video,
                behavior=plan.behavior,
                seeds=plan.seeds,
                tier=plan.tier,
                grid=plan.grid,
                max_windows=plan.max_windows,
                metric=plan.metric,
                results=job.path,
                about=job.about,
                progress=self._follow(job),
                cancelled=gate.is_closed,
                on_part=lambda sweep: self._post(partial(self._take_part, job, sweep)),
            )
            # `context_sweep` returns an incomplete sweep after a cancel.
            if gate.is_stopped:
                raise StoppedError
            yield job, found
        finally:
            # Only a predictor that was loaded here may be closed here.
            if isinstance(job.source, str) and isinstance(predictor, Closable):
                predictor.close()

    def _made(self, job: _Job) -> Predictor:
        """Return the sweep's predictor: loaded by name, or the given object.

        An interruptible object is refused: it has one `stop_when`, which the live
        engine uses.
        """
        if isinstance(job.source, str):
            device = str(job.about.get("device", "auto"))
            return self._load(job.source, job.session, device)
        if isinstance(job.source, Interruptible):
            raise ValueError(
                "A model that was handed in answers the screen alone: choose it by "
                "name or file, so that the sweep can have one of its own."
            )
        return job.source

    def _follow(self, job: _Job) -> Callable[[int, int, str], None]:
        """Return a progress callback, which also measures the time per prediction."""
        begun: list[tuple[float, int]] = []

        def progress(done: int, total: int, what: str) -> None:
            # Waiting for live requests does not count as computing time. The first
            # call sets the origin, so that rows read from the file do not count either.
            now = perf_counter() - job.gate.waited_s
            if not begun:
                begun.append((now, done))
            since, first = begun[0]
            each_s = (now - since) / (done - first) if done > first else None
            self._post(
                partial(self._take_progress, job, SweepProgress(done, total, each_s))
            )

        return progress


def _yield_processor(predictor: Predictor) -> None:
    """Give the sweep's worker process the lowest priority, if there is a process."""
    # Reading the id starts the process. The priority is set before its computing
    # threads exist, because threads inherit it when they start.
    _ = predictor.predictor_id
    process = getattr(predictor, "process_id", None)
    if process is not None and hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):  # process has ended, or no permission
            os.setpriority(os.PRIO_PROCESS, process, LEAST_URGENT)


def _free_path(folder: Path, session: str) -> Path:
    """Return the path of a new file, named by time and session."""
    # Session ids can have characters that are not allowed in file names.
    plain = re.sub(r"[^\w.-]+", "-", session)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path, number = folder / f"{stamp}_{plain}{SUFFIX}", 2
    while path.exists():
        path, number = folder / f"{stamp}_{plain}_{number}{SUFFIX}", number + 1
    return path


def _read_all(folder: Path, report: ReportProgress) -> Iterator[tuple[SavedSweep, ...]]:
    found = []
    for path in saved_sweeps(folder):
        report(f"Reading {path.name}")
        found.append(read_sweep(path))
    yield tuple(found)


def _written(
    what: tuple[dict[str, ContextSweep], Path], report: ReportProgress
) -> Iterator[Path]:
    sweeps, path = what
    yield write_together(sweeps, path)


def _forget(path: Path) -> None:
    """Ignore the path of a written table; the task needs a function."""
