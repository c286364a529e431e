"""Context sweeps: score as a function of the visible context.

Each row is the result of `evaluate` for one mask. Rows are computed draw by draw: the
first draw gives the whole curve, later draws its error bars.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.evaluate.dask_map import (
    cached_predictor,
    cached_session,
    map_pieces,
    picklable_source,
    resolve_predictor,
    run_alone,
)
from omnimouse_model.analysis.evaluate.evaluate import CHUNK, Cancelled, Progress
from omnimouse_model.analysis.evaluate.results_store import ResultsFile
from omnimouse_model.analysis.sweep.cells import (
    Cell,
    cell_key,
    planned_cells,
    score_cells,
)
from omnimouse_model.analysis.sweep.contexts import check_history
from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.analysis.sweep.store import SWEEP
from omnimouse_model.analysis.sweep.table import ContextSweep, SweepRow
from omnimouse_model.data.session import Session
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.worker.server import Source

CELLS_TOGETHER = 16
"""Rows per pass over many windows; bounds memory, and the loss on interruption."""


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
    metric: str = "correlation",
    results: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    progress: Progress = lambda done, total, what: None,
    cancelled: Callable[[], bool] = lambda: False,
    on_part: Callable[[ContextSweep], None] = lambda sweep: None,
) -> ContextSweep:
    """Score a predictor as a function of context, on the same targets.

    For each draw, the targets are a held-out set of neurons in the last second of each
    window. They are the same along every curve and never in a context. Contexts of one
    draw are nested. See `contexts.Context` for the definition of a context.

    Parameters
    ----------
    predictor
        A predictor, or its name, path or factory. A scheduler needs one of the latter,
        because its workers load the predictor.
    neurons, history_samples
        Values of the two axes: other neurons visible in the target second (0, 16, …),
        and samples of history of all neurons before it (0, or 10 to 25).
    video, behavior
        Whether visible; `[True, False]` gives one curve for each.
    seeds
        Draws of neurons: their number, or their seeds. Error bars are over draws.
    tier
        "test" stands for all test tiers of a session.
    grid
        Evaluate all combinations of neurons and history, not one curve of each.
    max_windows
        Maximum number of windows per session, spread evenly over it.
    metric
        Name of the score of responses, as in `evaluate`.
    results
        File to which finished rows are added; several sweeps may write it at once. If
        it exists, the sweep continues from it, with the same result as without a stop.
    about
        Notes for the header of a new results file, such as a name; JSON values.
    scheduler
        Distribute the rows over the workers of a Dask scheduler: "local", "local:4" or
        an address, see `dask_map.map_pieces`. The rows do not depend on the worker.
    device
        Device of a predictor that is loaded by name.
    cancelled
        Polled between steps; once true, the finished rows are returned.
    on_part
        Called with all finished rows after each new row or batch of rows.

    Returns
    -------
    ContextSweep
        Not `is_complete` if it was cancelled. A context that the predictor or a small
        population does not support gives a row without a score and with the reason.

    Raises
    ------
    ValueError
        A value is invalid for a context, or a session has no window of the tier.
    ResultsFileError
        The results file belongs to another sweep, or is damaged.
    WorkerError
        The scheduler or its workers failed; finished rows are in `results`.

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
    predictor = resolve_predictor(predictor, device)
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
        metric=metric,
    )
    _check_names(recordings)
    for history in plan.history_samples:
        check_history(history, predictor.needs.spec)
    run = _Run(predictor, plan, recordings, progress, cancelled)
    file = None
    if results is not None:
        definition = _definition(predictor, plan, recordings)
        file = ResultsFile(SWEEP, Path(results), definition, about or {})
        # Only rows whose key matches a planned cell: a recording may have changed.
        run.rows = {k: row for k, row in file.rows.items() if k in run.cells}
    parts = run.parts()
    if scheduler is not None:
        parts = run.parts_on(scheduler, picklable_source(source), device)
    for found in parts:
        if file is not None:
            for key, row in found.items():
                file.add(key, row)
        on_part(run.sweep)
    return run.sweep


class _Run:
    """Cells of a sweep in order, and the finished rows."""

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
        cells = planned_cells(plan, sessions, predictor.needs.spec)
        self.cells = {cell_key(predictor, cell, plan.metric): cell for cell in cells}
        self.rows: dict[str, SweepRow] = {}
        self._progress = progress
        self._cancelled = cancelled
        self._total = sum(len(cell.starts) for cell in self.cells.values())

    @property
    def sweep(self) -> ContextSweep:
        """The sweep with all finished rows, in planned order."""
        rows = tuple(self.rows[key] for key in self.cells if key in self.rows)
        return ContextSweep(self.plan, self.predictor.predictor_id, self.sessions, rows)

    def parts(self) -> Iterator[dict[str, SweepRow]]:
        """Compute the missing rows, a few at a time, until done or cancelled."""
        for keys in self._batches():
            if self._cancelled():
                return
            # Includes rows from the results file, so that progress does not restart at
            # 0.
            before = sum(len(self.cells[key].starts) for key in self.rows)
            cells = [self.cells[key] for key in keys]
            where = f"{cells[0].session.id}: {cells[0].condition.name}"
            try:
                found = score_cells(
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
        """Compute the missing rows on a scheduler, in the order of completion."""
        # Workers use the same number of threads, so that sums round equally.
        from torch import get_num_threads

        batches = self._batches()
        pieces = [
            _Piece(source, device, get_num_threads(), self.plan, tuple(cells))
            for cells in ([self.cells[key] for key in keys] for keys in batches)
        ]
        for number, found in map_pieces(_at_work, pieces, scheduler, self._cancelled):
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
        """Return the keys of rows to compute together; single rows if windows are few.

        A predictor caches the encoded windows of one chunk, so a few windows are
        encoded once for all rows. More windows than a chunk would be encoded again for
        each row. Each chunk is then used for several rows in turn.
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
    """Cells for one worker, with the source of the predictor."""

    source: Source
    device: str
    threads: int
    plan: SweepPlan
    cells: tuple[Cell, ...]


def _at_work(piece: _Piece) -> list[SweepRow]:
    """Compute the rows of a piece on a worker."""
    with run_alone(piece.threads):
        # All cells of a piece belong to one session, see `_Run._batches`.
        session = cached_session(piece.cells[0].session)
        cells = [replace(cell, session=session) for cell in piece.cells]
        predictor = cached_predictor(piece.source, piece.device)
        return score_cells(predictor, cells, piece.plan)


def _definition(
    predictor: Predictor, plan: SweepPlan, sessions: Sequence[Session]
) -> dict[str, object]:
    values = asdict(plan)
    # Absent for correlations, so that existing results files are continued.
    if plan.metric == "correlation":
        del values["metric"]
    recordings = [[session.id, session.fingerprint] for session in sessions]
    return {
        "predictor": predictor.predictor_id,
        "sessions": recordings,
        **values,
    }


def _check_names(sessions: Sequence[Session]) -> None:
    # Rows and curves identify a session by its id.
    names = [session.id for session in sessions]
    if not names:
        raise ValueError("A sweep needs a session.")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Session {name!r} is given more than once.")
