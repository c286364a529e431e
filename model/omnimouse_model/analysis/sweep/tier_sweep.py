"""Context curves over a tier, refined batch by batch of windows.

A curve of one window is dominated by noise. `TierSweep` adds the batches of windows
that `context_sweep` adds, in the same order: after the last one both have the same
scores. Targets are those of the painted mask, and its visible neurons are the pool: the
curves are of the question on screen, and are computed once for these neurons.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from omnimouse_model.analysis.sweep.cells import planned_cells, row_of
from omnimouse_model.analysis.sweep.contexts import SweepPlan, largest_context, too_large
from omnimouse_model.analysis.sweep.live_sweep import NEURONS, SEED, live_history
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.shard import Shard
from omnimouse_model.evaluation.tier_score import MAX_WINDOWS, PRELIMINARY, TierRun
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.selection import NeuronGroup, neurons_of
from omnimouse_model.predict.predictor import Predictor


@dataclass(frozen=True, slots=True, eq=False)
class TierCurves:
    """Context curves of the target neurons over the first windows of a tier.

    Attributes
    ----------
    sweep
        One row per context, over the windows that were added.
    n_windows, n_total
        Windows that were added, and windows that are added at most.
    per_neuron
        float32 (rows, P): score of each target neuron, NaN for all others.
    asked
        bool (2, P): targets and pool, see `asked_neurons`.
    """

    sweep: ContextSweep
    n_windows: int
    n_total: int
    per_neuron: np.ndarray
    asked: np.ndarray

    def is_of(self, mask: Mask) -> bool:
        """Return whether a mask has the same targets and pool."""
        return np.array_equal(np.stack(asked_neurons(mask)), self.asked)

    @property
    def tier(self) -> str:
        """Name of the tier."""
        return self.sweep.plan.tier

    @property
    def is_complete(self) -> bool:
        """Whether all windows were added."""
        return self.n_windows == self.n_total

    @property
    def is_shown(self) -> bool:
        """Whether enough windows were added for curves that are hardly biased."""
        return self.n_windows >= min(PRELIMINARY, self.n_total)

    def of_neurons(self, neurons: Sequence[int]) -> ContextSweep | None:
        """Return the mean curves of some neurons; None if none of them is a target.

        They have no interval.
        """
        scores = self.per_neuron[:, list(neurons)]
        is_known = np.isfinite(scores)
        if not is_known.any():
            return None
        rows = tuple(
            replace(
                row,
                n_neurons=int(known.sum()),
                score=float(values[known].mean()) if known.any() else float("nan"),
                ci_low=float("nan"),
                ci_high=float("nan"),
                ceiling=float("nan"),
            )
            for row, values, known in zip(self.sweep.rows, scores, is_known, strict=True)
        )
        return replace(self.sweep, rows=rows)


def asked_neurons(mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets of a mask's curves and their pool, bool (P,) each.

    The targets are the neurons with a scored sample, the pool those with a visible one;
    without visible neurons, all. Both are empty if the pool has no neuron that is no
    target: then held-out neurons are predicted from all others.
    """
    targets = np.asarray(scored_cells(mask).any(axis=0))
    pool = np.asarray(mask.visible.any(axis=0))
    if not pool.any():
        pool = np.ones_like(pool)
    if not (targets.any() and (pool & ~targets).any()):
        return np.zeros_like(targets), np.zeros_like(pool)
    return targets, pool


def is_of_mask(sweep: ContextSweep, session: Session, mask: Mask) -> bool:
    """Return whether a sweep asks what a mask asks: same recording, targets and pool."""
    plan = sweep.plan
    if sweep.sessions != (session.id,):
        return False
    for asked, chosen in zip(asked_neurons(mask), (plan.targets, plan.pool), strict=True):
        try:
            named = np.empty(0, int) if chosen is None else neurons_of(session, chosen)
        except ValueError:  # an area or a neuron that the session lacks
            return False
        # All neurons of the pool is the same as no pool.
        if chosen is None and plan.targets is not None:
            named = np.arange(session.n_neurons)
        if not np.array_equal(np.flatnonzero(asked), named):
            return False
    return True


def tier_plan(session: Session, spec: WindowSpec, tier: str, metric: str, mask: Mask) -> SweepPlan:
    """Return the plan of the curves of a mask: the contexts of a live sweep, in one draw."""
    has_behavior = spec.behavior is not None and bool(session.behavior_names)
    targets, pool = asked_neurons(mask)
    largest = largest_context(session.n_neurons, NEURONS)
    chosen: dict[str, Any] = {}
    if targets.any():
        largest = int((pool & ~targets).sum())
        shown = "visible neurons" if mask.visible.any() else "all others"
        chosen = {
            "targets": NeuronGroup.of(session, "target neurons", targets),
            "pool": NeuronGroup.of(session, shown, pool),
        }
    has_video = session.stimulus is not None and spec.video is not None
    return SweepPlan(
        neurons=(0, *(count for count in NEURONS if count <= largest)),
        history_samples=(0, *live_history(spec)),
        video=(False, True) if has_video else (False,),
        behavior=(True, False) if has_behavior else (False,),
        seeds=(SEED,),
        tier=tier,
        max_windows=MAX_WINDOWS,
        metric=metric,
        rate_hz=spec.response_rate_hz,
        **chosen,
    )


class TierSweep(TierRun[TierCurves]):
    """Computation of `TierCurves`, which can be interrupted and continued.

    Parameters
    ----------
    predictor, session
        Who predicts, and the recording.
    plan
        See `tier_plan`.
    """

    def __init__(self, predictor: Predictor, session: Session, plan: SweepPlan) -> None:
        self._predictor, self._plan = predictor, plan
        self._cells = list(planned_cells(plan, [session], predictor.needs.spec))
        self._reasons = [too_large(cell.context, cell.draw) for cell in self._cells]
        shard = Shard(
            (predictor,),
            session,
            tuple(
                cell.condition
                for cell, reason in zip(self._cells, self._reasons, strict=True)
                if not reason
            ),
            plan.tier,
            self._cells[0].starts,
            metric=plan.metric,
            centred=plan.centred,
            ceiling=False,
        )
        super().__init__(shard)

    def result(self) -> TierCurves:
        """Return the curves over the windows that were added."""
        found, shard = self._scores.scores(), self._scores.shard
        scores, name = iter(found.scores), self._predictor.predictor_id
        n_neurons = shard.session.n_neurons
        per_neuron = np.full((len(self._cells), n_neurons), np.nan, np.float32)
        rows = []
        for number, cell in enumerate(self._cells):
            reason = self._reasons[number]
            score = None if reason else next(scores)
            rows.append(row_of(cell, name, found, score, reason))
            if score is not None and not score.refusal:
                per_neuron[number, score.neurons] = score.per_neuron
        return TierCurves(
            ContextSweep(self._plan, name, (shard.session.id,), tuple(rows)),
            self.n_windows,
            len(shard.starts),
            per_neuron,
            self._asked(),
        )

    def _asked(self) -> np.ndarray:
        """Return the neurons of the plan's targets and pool, bool (2, P)."""
        session = self._scores.shard.session
        asked = np.zeros((2, session.n_neurons), bool)
        for row, group in zip(asked, (self._plan.targets, self._plan.pool), strict=True):
            if group is not None:
                row[neurons_of(session, group)] = True
        return asked
