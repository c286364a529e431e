"""Context sweeps: score as a function of how much context is given.

Each row is an ordinary evaluation of one mask, so a sweep scores as `evaluate` does.
Rows come draw by draw: the whole curve first, then its error bars.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.evaluate.dask_map import (
    at_work,
    held_predictor,
    held_session,
    made_predictor,
    spread,
    travelling,
)
from omnimouse_model.analysis.evaluate.evaluate import CHUNK, Cancelled, Progress
from omnimouse_model.analysis.evaluate.results_store import ResultsFile
from omnimouse_model.analysis.sweep.cells import (
    Cell,
    answered,
    cell_key,
    planned_cells,
)
from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.analysis.sweep.store import SWEEP
from omnimouse_model.analysis.sweep.table import ContextSweep, SweepRow
from omnimouse_model.data.session import Session
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.worker.server import Source

CELLS_TOGETHER = 16
"""Rows that one pass over many windows answers; bounds memory, and what is lost."""


def context_sweep(
    predictor: Predictor | Source | Path,
    sessions: Session | Sequence[Session],
    *,
    neurons: Sequence[int] = (),
    history_samples: Sequence[int] = (),
    video: Sequence[bool] = (True,),
    behavior: Sequence[bool] = (True,),
    seeds: int | Sequence[int] = 5,
    tier: str = "test",
    grid: bool = False,
    max_windows: int | None = None,
    results: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    progress: Progress = lambda done, total, what: None,
    cancelled: Callable[[], bool] = lambda: False,
    on_part: Callable[[ContextSweep], None] = lambda sweep: None,
) -> ContextSweep:
    """Score a predictor under more and more context, on the same targets.

    For every draw a held-out set of neurons is asked for in the last second of each
    window, the same along every curve and never in a context; contexts of one draw are
    nested. `contexts.Context` defines what is given.

    Parameters
    ----------
    predictor
        A predictor, or its name or path; with a scheduler one of the latter, since it
        is loaded there.
    neurons, history_samples
        Values of the two axes: other neurons seen in the asked second (0, 16, …), and
        samples of everyone's history before it (0, or 10 to 25).
    video, behavior
        With and without: `[True, False]` makes a curve of each.
    seeds
        Draws of neurons: how many, or which. Error bars are over them.
    tier
        "test" is every test tier a session has.
    grid
        Ask for every combination of neurons and history, not for one curve of each.
    max_windows
        Take at most this many windows of a session, spread over it.
    results
        A file that rows are added to as they are finished, by several sweeps at once
        if need be. Where it is there already the sweep goes on, exactly as if it had
        not stopped.
    about
        Notes that a new results file begins with, such as a name; plain JSON values.
    scheduler
        Spread the rows over the workers of a Dask scheduler: "local", "local:4" or an
        address, see `spreading.spread`. The rows are the same, whoever computed them.
    device
        Where a predictor that is loaded by its name computes.
    cancelled
        Polled between steps; once true, what there is is returned.
    on_part
        Called with everything there is after each new row, or every few.

    Returns
    -------
    ContextSweep
        Not `is_complete` if it was cancelled. What a predictor or a small population
        cannot serve is a row without a score that says why.

    Raises
    ------
    ValueError
        For values that no context can have, and sessions without a window of the tier.
    ResultsFileError
        Where `results` is of another sweep, or damaged.
    WorkerError
        The scheduler, or its workers, failed; finished rows are in `results`.

    Examples
    --------
    >>> sweep = om.context_sweep(
    ...     "last", session, history_samples=[10, 20], seeds=2, max_windows=4
    ... )
    >>> curve = sweep.curve("history_samples")
    >>> curve.values, [round(point.score, 2) for point in curve.points]
    ((10, 20), [0.25, 0.25])
    """
    source = predictor
    predictor = made_predictor(predictor, device)
    recordings = [sessions] if isinstance(sessions, Session) else list(sessions)
    plan = SweepPlan(
        neurons=tuple(neurons),
        history_samples=tuple(history_samples),
        video=tuple(video),
        behavior=tuple(behavior),
        seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
        tier=tier,
        max_windows=max_windows,
        grid=grid,
    )
    _check_names(recordings)
    run = _Run(predictor, plan, recordings, progress, cancelled)
    file = None
    if results is not None:
        definition = _definition(predictor, plan, recordings)
        file = ResultsFile(SWEEP, Path(results), definition, about or {})
        run.rows = {k: row for k, row in file.rows.items() if k in run.cells}
    parts = run.parts()
    if scheduler is not None:
        parts = run.parts_on(scheduler, travelling(source), device)
    for found in parts:
        if file is not None:
            for key, row in found.items():
                file.add(key, row)
        on_part(run.sweep)
    return run.sweep


class _Run:
    """The cells of a sweep in their order, and the rows there are."""

    def __init__(
        self,
        predictor: Predictor,
        plan: SweepPlan,
        sessions: list[Session],
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        self.predictor = predictor
        self.plan = plan
        self.sessions = tuple(session.id for session in sessions)
        self.cells = {cell_key(predictor, c): c for c in planned_cells(plan, sessions)}
        self.rows: dict[str, SweepRow] = {}
        self._progress = progress
        self._cancelled = cancelled
        self._total = sum(len(cell.starts) for cell in self.cells.values())

    @property
    def sweep(self) -> ContextSweep:
        """Everything there is, in the order in which it was to come."""
        rows = tuple(self.rows[key] for key in self.cells if key in self.rows)
        return ContextSweep(self.plan, self.predictor.predictor_id, self.sessions, rows)

    def parts(self) -> Iterator[dict[str, SweepRow]]:
        """Compute what is missing, a few rows at a time, until done or cancelled."""
        for keys in self._batches():
            if self._cancelled():
                return
            before = sum(len(self.cells[key].starts) for key in self.rows)
            cells = [self.cells[key] for key in keys]
            where = f"{cells[0].session.id}: {cells[0].condition.name}"
            try:
                found = answered(
                    self.predictor,
                    cells,
                    self.plan,
                    partial(self._tell, before, where),
                    self._cancelled,
                )
            except Cancelled:
                return
            yield self._taken(keys, found)

    def parts_on(
        self, scheduler: str, source: Source, device: str
    ) -> Iterator[dict[str, SweepRow]]:
        """The same on a scheduler's workers, in the order in which they finish."""
        from torch import get_num_threads

        batches = self._batches()
        pieces = [
            _Piece(source, device, get_num_threads(), self.plan, tuple(cells))
            for cells in ([self.cells[key] for key in keys] for keys in batches)
        ]
        for number, found in spread(_at_work, pieces, scheduler, self._cancelled):
            yield self._taken(batches[number], found)
            done = sum(len(self.cells[key].starts) for key in self.rows)
            self._progress(done, self._total, f"on {scheduler}")

    def _taken(self, keys: list[str], found: list[SweepRow]) -> dict[str, SweepRow]:
        part = dict(zip(keys, found, strict=True))
        self.rows |= part
        return part

    def _tell(self, before: int, where: str, done: int, total: int, what: str) -> None:
        self._progress(before + done, self._total, where)

    def _batches(self) -> list[list[str]]:
        """Rows to compute together: one by one while their windows are few.

        The predictor keeps what it knows of a chunk's windows, so a few windows are
        encoded once for all rows. Many would be encoded again for every row; they go
        chunk by chunk, each through several rows.
        """
        found: list[list[str]] = []
        for session in self.sessions:
            missing = [
                key
                for key, cell in self.cells.items()
                if cell.session.id == session and key not in self.rows
            ]
            while missing:
                few = len(self.cells[missing[0]].starts) <= CHUNK
                together = 1 if few else CELLS_TOGETHER
                found.append(missing[:together])
                missing = missing[together:]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Rows to be that a worker computes, and by which predictor."""

    source: Source
    device: str
    threads: int
    plan: SweepPlan
    cells: tuple[Cell, ...]


def _at_work(piece: _Piece) -> list[SweepRow]:
    """What a worker does with a piece."""
    with at_work(piece.threads):
        session = held_session(piece.cells[0].session)
        cells = [replace(cell, session=session) for cell in piece.cells]
        predictor = held_predictor(piece.source, piece.device)
        return answered(predictor, cells, piece.plan)


def _definition(
    predictor: Predictor, plan: SweepPlan, sessions: Sequence[Session]
) -> dict[str, object]:
    recordings = [[session.id, session.fingerprint] for session in sessions]
    return {
        "predictor": predictor.predictor_id,
        "sessions": recordings,
        **asdict(plan),
    }


def _check_names(sessions: Sequence[Session]) -> None:
    names = [session.id for session in sessions]
    if not names:
        raise ValueError("A sweep needs a session.")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Session {name!r} is given more than once.")
