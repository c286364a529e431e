"""Cells (planned rows) of a sweep, and their evaluation in one pass."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.analysis.sweep.contexts import (
    Context,
    Draw,
    SweepPlan,
    chosen_draw,
    context_mask,
    inputs_label,
    largest_context,
    too_large,
)
from omnimouse_model.analysis.sweep.table import SweepRow
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.results import Score, Scores
from omnimouse_model.evaluation.results_store import row_key
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import neurons_of
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, Job


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
    cell: Cell, predictor: str, results: Scores | None, score: Score | None, reason: str
) -> SweepRow:
    """Return the row of a cell; without a score it has the reason."""
    if results is None or score is None:
        return SweepRow(
            session=cell.session.id,
            predictor=predictor,
            context=cell.context,
            seed=cell.seed,
            n_neurons=len(cell.draw.targets),
            refusal=reason,
        )
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
        decoded={
            behavior.channel: behavior.value
            for behavior in results.behavior
            # `results` holds the behaviour scores of all cells of the pass.
            if behavior.strategy == score.strategy and not behavior.refusal
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
    predictor: Predictor,
    cells: Sequence[Cell],
    plan: SweepPlan,
    job: Job = QUIET,
) -> list[SweepRow]:
    """Return the rows of cells of one session, from one pass over its windows."""
    reasons = [too_large(cell.context, cell.draw) for cell in cells]
    possible = [cell for cell, why in zip(cells, reasons, strict=True) if not why]
    results = None
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
    # `evaluate` returns one score per condition, in order, for one predictor and
    # session.
    scores = iter(results.scores if results is not None else ())
    name = predictor.predictor_id
    return [
        row_of(cell, name, results, None if why else next(scores), why)
        for cell, why in zip(cells, reasons, strict=True)
    ]
