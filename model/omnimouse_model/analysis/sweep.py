"""Context sweeps: score as a function of how much context is given.

Each row is an ordinary evaluation of one mask, so a sweep scores as `evaluate` does.
Rows come draw by draw: the whole curve first, then its error bars.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.analysis.conditions import Condition
from omnimouse_model.analysis.contexts import (
    Context,
    Draw,
    context_mask,
    held_out_draw,
    inputs_label,
    largest_context,
    too_large,
)
from omnimouse_model.analysis.evaluate import (
    CHUNK,
    Cancelled,
    Progress,
    evaluate,
    scored_starts,
)
from omnimouse_model.analysis.scores import Score, Scores
from omnimouse_model.analysis.sweep_file import SweepFile, row_key
from omnimouse_model.analysis.sweep_plan import SweepPlan
from omnimouse_model.analysis.sweep_table import ContextSweep, SweepRow
from omnimouse_model.data.session import Session
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor

CELLS_TOGETHER = 16
"""Rows that one pass over many windows answers; bounds memory, and what is lost."""


def context_sweep(
    predictor: Predictor,
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
        A file that rows are added to as they are finished. Where it is there already
        the sweep goes on, exactly as if it had not stopped.
    about
        Notes that a new results file begins with, such as a name; plain JSON values.
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
    """
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
        file = SweepFile(Path(results), definition, about or {})
        run.rows = {k: row for k, row in file.rows.items() if k in run.cells}
    for found in run.parts():
        if file is not None:
            for key, row in found.items():
                file.add(key, row)
        on_part(run.sweep)
    return run.sweep


@dataclass(frozen=True, slots=True, eq=False)
class _Cell:
    """One row to be: a context under a draw of a session's neurons."""

    session: Session
    starts: np.ndarray
    context: Context
    seed: int
    draw: Draw

    @property
    def condition(self) -> Condition:
        inputs = inputs_label(self.context.video, self.context.behavior)
        name = f"{self.context.label} with {inputs}, draw {self.seed}"
        return Condition(name, self.mask)

    def mask(self, session: Session) -> Mask:
        return context_mask(self.context, self.draw)


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
        self.cells = {_key(predictor, c): c for c in _cells(plan, sessions)}
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
            try:
                found = self._answered(keys)
            except Cancelled:
                return
            self.rows |= found
            yield found

    def _batches(self) -> Iterator[list[str]]:
        """Rows to compute together: one by one while their windows are few.

        The predictor keeps what it knows of a chunk's windows, so a few windows are
        encoded once for all rows. Many would be encoded again for every row; they go
        chunk by chunk, each through several rows.
        """
        for session in self.sessions:
            missing = iter(
                key
                for key, cell in self.cells.items()
                if cell.session.id == session and key not in self.rows
            )
            while first := next(missing, None):
                few = len(self.cells[first].starts) <= CHUNK
                yield [first, *islice(missing, 0 if few else CELLS_TOGETHER - 1)]

    def _answered(self, keys: list[str]) -> dict[str, SweepRow]:
        cells = {key: self.cells[key] for key in keys}
        reasons = {key: too_large(c.context, c.draw) for key, c in cells.items()}
        asked = {key: cell for key, cell in cells.items() if not reasons[key]}
        scores = self._scores(list(asked.values())) if asked else iter(())
        name = self.predictor.predictor_id
        return {
            key: _refused(cell, name, reasons[key]) if reasons[key] else next(scores)
            for key, cell in cells.items()
        }

    def _scores(self, cells: list[_Cell]) -> Iterator[SweepRow]:
        session = cells[0].session
        before = sum(len(self.cells[key].starts) for key in self.rows)
        conditions = [cell.condition for cell in cells]
        where = f"{session.id}: {conditions[0].name}"

        def progress(done: int, total: int, what: str) -> None:
            self._progress(before + done, self._total, where)

        found = evaluate(
            self.predictor,
            session,
            conditions,
            tier=self.plan.tier,
            max_windows=self.plan.max_windows,
            progress=progress,
            cancelled=self._cancelled,
        )
        return iter(
            [
                _row(cell, score, found)
                for cell, score in zip(cells, found.scores, strict=True)
            ]
        )


def _cells(plan: SweepPlan, sessions: Sequence[Session]) -> Iterator[_Cell]:
    for session in sessions:
        starts = scored_starts(session, plan.tier, plan.max_windows)
        largest = largest_context(session.n_neurons, plan.neurons)
        for seed in plan.seeds:
            draw = held_out_draw(session.n_neurons, largest, seed)
            make = partial(_Cell, session, starts, seed=seed, draw=draw)
            yield from (make(context=context) for context in plan.contexts)


def _row(cell: _Cell, score: Score, found: Scores) -> SweepRow:
    decoded = {
        behavior.channel: behavior.value
        for behavior in found.behavior
        if behavior.strategy == score.strategy and not behavior.refusal
    }
    return SweepRow(
        session=score.session,
        predictor=score.predictor,
        context=cell.context,
        seed=cell.seed,
        n_neurons=score.n_neurons,
        n_windows=score.n_windows,
        score=score.value,
        ci_low=score.ci_low,
        ci_high=score.ci_high,
        ceiling=score.ceiling,
        decoded=decoded,
        refusal=score.refusal,
    )


def _refused(cell: _Cell, predictor: str, reason: str) -> SweepRow:
    nothing = float("nan")
    return SweepRow(
        session=cell.session.id,
        predictor=predictor,
        context=cell.context,
        seed=cell.seed,
        n_neurons=len(cell.draw.targets),
        n_windows=0,
        score=nothing,
        ci_low=nothing,
        ci_high=nothing,
        refusal=reason,
    )


def _key(predictor: Predictor, cell: _Cell) -> str:
    return row_key(
        predictor=predictor.predictor_id,
        session=[cell.session.id, cell.session.fingerprint],
        context=asdict(cell.context),
        seed=cell.seed,
        targets=cell.draw.targets.tolist(),
        starts=cell.starts.tolist(),
    )


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
