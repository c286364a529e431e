"""Context sweeps: score as a function of the visible context.

Each row is the result of `evaluate` for one mask. Rows are computed draw by draw: the
first draw gives the whole curve, later draws its s.e.m.
"""

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.analysis.evaluate import Model, Sessions, evaluate, listed_sessions
from omnimouse_model.analysis.sweep.contexts import (
    STORED,
    Context,
    Draw,
    SweepPlan,
    check_history,
    chosen_draw,
    context_mask,
    inputs_label,
    largest_context,
    plain_values,
    too_large,
    unread_inputs,
)
from omnimouse_model.analysis.sweep.table import POOLS, SWEEP, UNREAD, ContextSweep, SweepRow
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ, WindowSpec
from omnimouse_model.display import count
from omnimouse_model.errors import MaskError, ResultsFileError, UnsupportedRequestError
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.results import BehaviorScore, Score
from omnimouse_model.evaluation.results_store import ResultsFile, row_key
from omnimouse_model.evaluation.shard import BATCH, n_centring
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.inference.dask_map import TaskPredictor, map_pieces
from omnimouse_model.inference.registry import resolve_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import NeuronGroup, Neurons, neurons_of
from omnimouse_model.predict.predictor import Predictor, fits_of
from omnimouse_model.progress import QUIET, CallbackJob, Job, name_steps, shows_progress


# -- cells (planned rows) of a sweep, and their evaluation in one pass ----------------
@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A planned row: a context with one draw of a session's neurons."""

    session: Session
    starts: np.ndarray
    context: Context
    seed: int
    draw: Draw
    spec: WindowSpec

    @property
    def is_drawn(self) -> bool:
        """Whether draws differ: not those of the same targets with none or all of a pool."""
        return self.draw.is_held_out or 0 < self.context.neurons < len(self.draw.others)

    @property
    def condition(self) -> Condition:
        """Condition of the evaluation; its name is unique in a sweep."""
        inputs = inputs_label(self.context.video, self.context.behavior)
        name = f"{self.context.label} with {inputs}, draw {self.seed}"
        return Condition(name, self.mask)

    def mask(self, session: Session) -> Mask:
        """Return the mask with the context visible and the targets hidden."""
        return context_mask(self.context, self.draw, self.spec)


def planned_cells(plan: SweepPlan, sessions: Sequence[Session], spec: WindowSpec) -> Iterator[Cell]:
    """Yield all cells in the order of their rows."""
    for session in sessions:
        starts = scored_starts(session, plan.tier, plan.max_windows, spec)
        chosen = {
            name: None if choice is None else neurons_of(session, choice)
            for name, choice in (("targets", plan.targets), ("pool", plan.pool))
        }
        # One value for the whole session, so that all contexts have the same targets.
        largest = largest_context(session.n_neurons, plan.neurons)
        for seed in plan.seeds:
            draw = chosen_draw(session, seed, largest=largest, **chosen)
            make = partial(Cell, session, starts, seed=seed, draw=draw, spec=spec)
            yield from (make(context=context) for context in plan.contexts)


def row_of(
    cell: Cell, predictor: str, score: Score | None, behavior: Sequence[BehaviorScore], reason: str
) -> SweepRow:
    """Return the row of a cell; without a score it has the reason.

    `behavior` are scores of decoded behaviour, also those of other cells.
    """
    row = SweepRow(
        session=cell.session.id,
        predictor=predictor,
        context=cell.context,
        seed=cell.seed,
        n_neurons=len(cell.draw.targets),
        refusal=reason,
    )
    if score is None:
        return row
    return replace(
        row,
        n_neurons=score.n_neurons,
        n_windows=score.n_windows,
        score=score.value,
        ci_low=score.ci_low,
        ci_high=score.ci_high,
        ceiling=score.ceiling,
        decoded={
            decoded.channel: decoded.value
            for decoded in behavior
            if decoded.strategy == score.strategy and not decoded.refusal
        },
        refusal=score.refusal,
    )


def cell_key(predictor: Predictor, cell: Cell, plan: SweepPlan) -> str:
    """Return a hash of all facts that the row of a cell depends on."""
    return row_key(
        # Absent for pooled correlations, so that existing results files are continued.
        **({} if plan.metric == "correlation" else {"metric": plan.metric}),
        **({"centred": True} if plan.centred else {}),
        **({} if cell.draw.pool is None else {"pool": cell.draw.pool.tolist()}),
        predictor=predictor.predictor_id,
        session=[cell.session.id, cell.session.fingerprint],
        context=asdict(cell.context),
        seed=cell.seed,
        # Targets and not only the seed: they also depend on the largest context of the
        # plan.
        targets=cell.draw.targets.tolist(),
        starts=cell.starts.tolist(),
    )


def score_cells(
    predictor: Predictor, cells: Sequence[Cell], plan: SweepPlan, job: Job = QUIET
) -> list[SweepRow]:
    """Return the rows of cells of one session, from one pass over its windows."""
    reasons = [too_large(cell.context, cell.draw) for cell in cells]
    possible = [cell for cell, why in zip(cells, reasons, strict=True) if not why]
    scores: Iterator[Score] = iter(())
    behavior: Sequence[BehaviorScore] = ()
    if possible:
        results = evaluate(
            predictor,
            possible[0].session,
            [cell.condition for cell in possible],
            tier=plan.tier,
            max_windows=plan.max_windows,
            metric=plan.metric,
            centred=plan.centred,
            job=job,
        )
        # One score per condition, in order, for one predictor and session.
        scores, behavior = iter(results.scores), results.behavior
    name = predictor.predictor_id
    return [
        row_of(cell, name, None if why else next(scores), behavior, why)
        for cell, why in zip(cells, reasons, strict=True)
    ]


CELLS_TOGETHER = 16
"""Rows per pass over many windows; bounds memory, and the loss on interruption."""


@shows_progress
def context_sweep(
    predictor: "Model",
    sessions: "Sessions",
    *,
    neurons: Sequence[int] = (),
    history_samples: Sequence[int] = (),
    video: Sequence[bool] = (True,),
    behavior: Sequence[bool] = (True,),
    targets: Neurons | None = None,
    pool: Neurons | None = None,
    seeds: int | Sequence[int] = 5,
    tier: str = "test",
    grid: bool = False,
    metric: str | None = None,
    centred: bool = True,
    max_windows: int | None = None,
    results: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    connect: Collection[str] = (),
    job: Job = QUIET,
    on_part: Callable[[ContextSweep], None] = lambda sweep: None,
) -> ContextSweep:
    """Score a predictor as a function of context, on the same targets.

    Examples
    --------
    >>> sweep = om.context_sweep(
    ...     "last", session, history_samples=[10, 20], seeds=2, max_windows=4
    ... )
    >>> curve = sweep.curve("history_samples")
    >>> curve.values, [round(point.score, 2) for point in curve.points]
    ((10, 20), [0.33, 0.33])

    How many V1 neurons predict RL?

    >>> sweep = om.context_sweep(
    ...     "mean", session, neurons=[0, 4], targets="RL", pool="V1", seeds=1, max_windows=4
    ... )
    >>> sweep.plan.targets_name, sweep.plan.pool_name, sweep.rows[0].n_neurons
    ('RL', 'V1', 4)

    Notes
    -----
    The targets are neurons in the last second of each window: those that are chosen, or
    for each draw a held-out set. They are the same along every curve, and in that
    second never in a context. Contexts of one draw are nested. Without visible neurons, or
    with all of a pool, nothing is drawn of chosen targets: such a context is computed once,
    and is one draw.
    See `contexts.Context` for the definition of a context.

    Parameters
    ----------
    predictor
        A predictor, or its name, path or factory. A scheduler needs one of the latter,
        because its workers load the predictor.
    sessions
        One or several, as in `evaluate`.
    neurons, history_samples
        Values of the two axes: other neurons visible in the target second (0, 16, …),
        and samples of history of all neurons before it (0, or 10 to 25).
    video, behavior
        Whether visible; `[True, False]` gives one curve for each.
    targets
        Neurons that are predicted: an area, a `NeuronGroup`, indices or a bool for each
        neuron. By default a held-out set, or all neurons outside the pool.
    pool
        Neurons that may be shown, in the target second and as history; by default all
        of them but the targets, whose history is shown too.
    seeds
        Draws of neurons: their number, or their seeds. The s.e.m. is over draws.
    tier
        "test" stands for all test tiers of a session.
    grid
        Evaluate all combinations of neurons and history, not one curve of each.
    max_windows
        Maximum number of windows per session, spread evenly over it.
    metric
        Name of the score of responses, as in `evaluate`; by default that of the
        predictor's spec.
    centred
        Correlations about the means of the train tier, as in every score; False for
        pooled ones, see `SweepPlan`.
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
    connect
        Hosts from which members of an ensemble may be downloaded; see `load_predictor`.
    job
        Progress and stop request; see `progress.Job`.
    on_part
        Called with all finished rows: those of a results file first, then after each new row or
        batch of rows.

    Returns
    -------
    ContextSweep
        Not `is_complete` if it was cancelled. A context that the predictor or a small
        recording does not support gives a row without a score and with the reason.

    Raises
    ------
    ValueError
        A value is invalid for a context, or a session has no window of the tier.
    MaskError
        A session lacks the targets or the pool, or no session has as many neurons beside
        chosen targets, or in a chosen pool, as a context.
    UnsupportedRequestError
        The predictor is a file of predictions, which do not depend on the context.
    ResultsFileError
        The results file belongs to another sweep, or is damaged.
    WorkerError
        The scheduler or its workers failed; finished rows are in `results`.
    """
    # The source is kept, because workers load the predictor from it.
    source = predictor
    predictor = resolve_predictor(predictor, device, connect)
    if predictor.needs.is_stored:
        raise UnsupportedRequestError(f"{predictor.predictor_id}: {STORED}")
    recordings = listed_sessions(sessions)
    draws = range(seeds) if isinstance(seeds, int | np.integer) else seeds
    asked = SweepPlan(
        neurons=plain_values("neurons", neurons),
        history_samples=plain_values("history_samples", history_samples),
        video=plain_values("video", video),
        behavior=plain_values("behavior", behavior),
        seeds=plain_values("seeds", draws),
        tier=tier,
        max_windows=max_windows,
        grid=grid,
        targets=_choice("targets", targets, recordings),
        pool=_choice("pool", pool, recordings),
        metric=metric or predictor.needs.spec.metric,
        centred=centred,
        rate_hz=predictor.needs.spec.response_rate_hz,
    )
    plan = asked.of(recordings)
    # Errors of the plan appear before the first prediction.
    _check_names(recordings)
    for history in plan.history_samples:
        check_history(history, predictor.needs.spec)
    run = _Run(predictor, plan, recordings, job)
    # A file of an older version may have planned more: its other rows can be finished.
    if results is None or not Path(results).exists():
        check_pool(run.cells.values())
    file = None
    if results is not None:
        definition = _definition(predictor, plan, recordings)
        own = {UNREAD: run.sweep.unread, POOLS: dict(run.sweep.pools)}
        notes = {**(about or {}), **{name: note for name, note in own.items() if note}}
        try:
            file = ResultsFile(SWEEP, Path(results), definition, notes)
        except ResultsFileError:
            if asked == plan:
                raise
            # Files of older versions name a pool of all neurons.
            definition = _definition(predictor, asked, recordings)
            file = ResultsFile(SWEEP, Path(results), definition, notes)
        # Only rows whose key matches a planned cell: a recording may have changed.
        run.rows = {k: row for k, row in file.rows.items() if k in run.cells}
        # Files of older versions do not tell the sizes of pools, which the plan's points need.
        on_part(run.sweep)
    model = TaskPredictor.of(source, device, predictor, scheduler, connect)
    for part in run.parts(model, scheduler):
        if file is not None:
            for key, row in part.items():
                file.add(key, row)
        run.rows |= part
        on_part(run.sweep)
    reasons = {row.refusal for row in run.sweep.rows}
    if reasons and "" not in reasons:
        warnings.warn(
            f"{predictor.predictor_id} answers none of these contexts: "
            f"{'; '.join(sorted(reasons))}",
            stacklevel=3,
        )
    return run.sweep


class _Run:
    """Cells of a sweep in order, and the finished rows."""

    def __init__(
        self, predictor: Predictor, plan: SweepPlan, sessions: list[Session], job: Job
    ) -> None:
        self.predictor, self.plan = predictor, plan
        self.sessions = tuple(session.id for session in sessions)
        cells = planned_cells(plan, sessions, predictor.needs.spec)
        # In planned order, which rows and tables follow.
        self.cells = {cell_key(predictor, cell, plan): cell for cell in cells}
        self._pools = pool_sizes(self.cells.values())
        # Where nothing is drawn, one draw is all of them.
        firsts: dict[object, str] = {}
        self._first = {
            key: key if cell.is_drawn else firsts.setdefault((cell.session.id, cell.context), key)
            for key, cell in self.cells.items()
        }
        self.rows: dict[str, SweepRow] = {}
        self._job = job
        spec, metric = predictor.needs.spec, plan.metric
        self._n_train = {
            each.id: n_centring(each, spec, metric, is_centred=plan.centred) for each in sessions
        }

    @property
    def sweep(self) -> ContextSweep:
        """The sweep with all finished rows, in planned order."""
        rows = tuple(self.rows[key] for key in self.cells if key in self.rows)
        name, unread = self.predictor.predictor_id, unread_inputs(self.predictor.needs)
        return ContextSweep(self.plan, name, self.sessions, rows, unread, self._pools)

    def parts(
        self, predictor: TaskPredictor, scheduler: str | None
    ) -> Iterator[dict[str, SweepRow]]:
        """Compute the missing rows, a few at a time, until done or cancelled."""
        if others := self._same_rows(self.rows):
            yield others
        batches = self._batches()
        pieces = [(predictor, self.plan, [self.cells[key] for key in keys]) for keys in batches]
        # Includes rows of the results file, so that progress does not restart at 0.
        before, total = self._n_predictions(self.rows), self._n_predictions(self.cells)
        job = CallbackJob(
            lambda done, _, text: self._job.progress(int(before + done), total, text),
            self._job.cancelled,
        )
        sizes = [self._n_predictions(keys) for keys in batches]
        for number, rows in map_pieces(_score, pieces, scheduler, job, sizes):
            part = dict(zip(batches[number], rows, strict=True))
            yield part | self._same_rows(part)

    def _same_rows(self, rows: Mapping[str, SweepRow]) -> dict[str, SweepRow]:
        """Return the missing rows of other draws that are the same as some rows."""
        found = {self._first[key]: row for key, row in rows.items()}
        return {
            key: replace(found[first], seed=self.cells[key].seed)
            for key, first in self._first.items()
            if first in found and key not in self.rows and key not in rows
        }

    def _n_predictions(self, keys: Iterable[str]) -> int:
        cells = [self.cells[key] for key in {self._first[key] for key in keys}]
        return sum(len(cell.starts) + self._n_train[cell.session.id] for cell in cells)

    def _batches(self) -> list[list[str]]:
        """Return the keys of rows to compute together; single rows if windows are few.

        A predictor caches the encoded windows of one chunk, so a few windows are
        encoded once for all rows. More windows than a chunk would be encoded again for
        each row. Each chunk is then used for several rows in turn: first for those of the
        first draw, which are a whole curve.
        """
        batches: list[list[str]] = []
        for session in self.sessions:
            missing = [
                key
                for key, cell in self.cells.items()
                if cell.session.id == session and key not in self.rows and self._first[key] == key
            ]
            while missing:
                is_few = len(self.cells[missing[0]].starts) <= BATCH
                size = 1 if is_few else CELLS_TOGETHER
                seed = self.cells[missing[0]].seed
                n_first = sum(self.cells[key].seed == seed for key in missing)
                if seed == self.plan.seeds[0]:
                    size = min(size, n_first)
                batches.append(missing[:size])
                missing = missing[size:]
        return batches


def _score(piece: tuple[TaskPredictor, SweepPlan, list[Cell]], job: Job) -> list[SweepRow]:
    """Compute the rows of cells of one session, here or on a worker."""
    predictor, plan, cells = piece
    step = f"{cells[0].session.id}: {_names(cells)}"
    with predictor.loaded(cells[0].session) as (loaded, session):
        own = [replace(cell, session=session) for cell in cells]
        return score_cells(loaded, own, plan, name_steps(job, step))


def _names(cells: Sequence[Cell]) -> str:
    """Return the cells that are computed together: "5 contexts of draw 0"."""
    if len(cells) == 1:
        return cells[0].condition.name
    contexts, seeds = (
        dict.fromkeys(values) for values in zip(*((c.context, c.seed) for c in cells), strict=True)
    )
    draws = ", ".join(map(str, seeds))
    return f"{count(len(contexts), 'context')} of draw{'s' * (len(seeds) > 1)} {draws}"


def _definition(
    predictor: Predictor, plan: SweepPlan, sessions: Sequence[Session]
) -> dict[str, object]:
    recordings = [[session.id, session.fingerprint] for session in sessions]
    # Absent where they are the usual ones: existing results files are continued.
    usual = {
        "metric": "correlation",
        "rate_hz": RESPONSE_RATE_HZ,
        "centred": False,
        "targets": None,
        "pool": None,
    }
    values = {
        name: value
        for name, value in asdict(plan).items()
        if name not in usual or usual[name] != value
    }
    return {
        "predictor": predictor.predictor_id,
        **fits_of(predictor),
        "sessions": recordings,
        **values,
    }


def _choice(
    name: str, neurons: Neurons | None, sessions: Sequence[Session]
) -> str | NeuronGroup | None:
    """Return an area or a group as it is, and indices of one session as a group."""
    if neurons is None or isinstance(neurons, str | NeuronGroup):
        return neurons
    if len(sessions) > 1:
        raise ValueError(
            f"{name}: indices belong to one session, and there are {len(sessions)}; give an "
            "area, or a NeuronGroup of neurons that all of them have."
        )
    group = NeuronGroup.of(sessions[0], name, neurons)
    return replace(group, name=f"{len(group.ids):,} chosen neurons")


def pool_sizes(cells: Iterable[Cell]) -> tuple[tuple[str, int], ...]:
    """Return each session with a chosen pool, and the number of its neurons but the targets."""
    chosen = (cell for cell in cells if not cell.draw.is_held_out)
    return tuple({cell.session.id: len(cell.draw.others) for cell in chosen}.items())


def check_pool(cells: Iterable[Cell]) -> None:
    """Refuse contexts with more neurons than a choice of the caller has in any session."""
    chosen = [cell for cell in cells if not cell.draw.is_held_out]
    most = max((len(cell.draw.others) for cell in chosen), default=0)
    for cell in chosen:
        if cell.context.neurons > most:
            raise MaskError(f"neurons: {too_large(cell.context, cell.draw)}")


def _check_names(sessions: Sequence[Session]) -> None:
    # Rows and curves identify a session by its id.
    names = [session.id for session in sessions]
    if not names:
        raise ValueError("A sweep needs a session.")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Session {name!r} is listed more than once.")
