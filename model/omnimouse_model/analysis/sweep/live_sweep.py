"""Live sweeps: scores as a function of context, in one window and over a tier.

That of a window is of the selected neurons. It has few contexts and one prediction for
each, so that the curve grows on the screen. The video of the window is encoded once, and
earlier requests share the encoding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from omnimouse_model.analysis.sweep.contexts import (
    STORED,
    Context,
    Draw,
    SweepPlan,
    context_mask,
    history_end,
    largest_context,
    too_large,
    unread_inputs,
)
from omnimouse_model.analysis.sweep.run import planned_cells, row_of
from omnimouse_model.analysis.sweep.table import ContextSweep, SweepRow
from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ, WindowSpec, default_spec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.running_score import window_scores
from omnimouse_model.evaluation.shard import Shard
from omnimouse_model.evaluation.tier_score import MAX_WINDOWS, PRELIMINARY, TierRun
from omnimouse_model.masks import TARGET, HasNeurons, Mask, scored_cells
from omnimouse_model.masks.cells import count_neurons, recording_rate
from omnimouse_model.masks.selection import NeuronGroup, neurons_of
from omnimouse_model.metrics import StreamingCorrelation, bootstrap_interval, session_score
from omnimouse_model.predict.predictor import Prediction, Predictor, Request, predictions_of
from omnimouse_model.progress import stop_if

NEURONS = (16, 64, 256, 1024)
SEED = 0
SEEDS = (0, 1, 2)
"""Seeds of the draws in the sweep that the live engine updates."""
RESAMPLES = 200
"""Sufficient for a displayed interval: a point takes about 50 ms in total."""


def live_history(spec: WindowSpec) -> tuple[int, ...]:
    """Return the histories of a live sweep: 1/3 and 5/6 of the history of a window.

    OmniMouse: 10 and 25 samples.
    """
    # Targets are the second half of the window, so history has the first half at most.
    half = spec.n_samples // 2
    histories = (half // 3, min(5 * half // 6, history_end(spec)))
    return tuple(sorted({history for history in histories if history > 0}))


def live_plan(
    n_neurons: int,
    n_targets: int,
    *,
    video: Sequence[bool] = (False, True),
    behavior: bool | Sequence[bool] = True,
    seeds: Sequence[int] = (SEED,),
    spec: WindowSpec | None = None,
    metric: str = "correlation",
) -> SweepPlan:
    """Return the plan of a live sweep: no context, history, and available neurons.

    Each is repeated for each choice of video and behaviour.
    """
    spec = spec or default_spec()
    # Targets are never in a context.
    n_others = n_neurons - n_targets
    return SweepPlan(
        neurons=(0, *(count for count in NEURONS if count <= n_others)),
        history_samples=(0, *live_history(spec)),
        video=tuple(video),
        behavior=(behavior,) if isinstance(behavior, bool) else tuple(behavior),
        seeds=tuple(seeds),
        # A live sweep has one window, chosen by the user, and no tier.
        tier="",
        max_windows=1,
        metric=metric,
        rate_hz=spec.response_rate_hz,
    )


def live_draw(session: HasNeurons | int, targets: np.ndarray, seed: int = SEED) -> Draw:
    """Return a draw with fixed targets; the seed gives the order of the others."""
    permuted = np.random.default_rng(seed).permutation(count_neurons(session))
    others = permuted[~np.isin(permuted, targets)]
    return Draw(targets, others, recording_rate(session, RESPONSE_RATE_HZ))


def live_sweep(
    predictor: Predictor,
    window: Window,
    neurons: np.ndarray,
    *,
    behavior: bool | Sequence[bool] = True,
    seeds: Sequence[int] = (SEED,),
    metric: str = "correlation",
    finished: ContextSweep | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[ContextSweep]:
    """Yield the scores of some neurons in one window, context by context.

    The whole curve of the first draw is computed first, then the other draws. Without a
    video in the session there are only contexts without video.

    Parameters
    ----------
    neurons
        int64 (n,): targets in the last second; never in a context.
    behavior
        Whether behaviour is visible, or both values in order.
    seeds
        Seeds of the draws of context neurons. A context without neurons is the same in
        every draw, and computed once.
    metric
        Name of the metric of the scores, see `window_scores`.
    finished
        The same sweep with its finished rows: only missing rows are computed.
    cancelled
        Polled before every point.

    Yields
    ------
    ContextSweep
        All points so far, finished points first; the last sweep is complete.

    Raises
    ------
    StoppedError
        `cancelled()` returned true.
    ValueError
        The window is edited: its responses were not recorded.
    """
    if window.edits:
        raise ValueError(
            "There are no recorded responses to an edited window: remove the edits, "
            "then run the sweep."
        )
    session, sweep = window.session, finished
    if sweep is None:
        has_video = session.stimulus is not None and window.spec.video is not None
        plan = live_plan(
            session.n_neurons,
            len(neurons),
            video=(False, True) if has_video else (False,),
            behavior=behavior,
            seeds=seeds,
            spec=window.spec,
            metric=metric,
        )
        name, unread = predictor.predictor_id, unread_inputs(predictor.needs)
        sweep = ContextSweep(plan, name, (session.id,), unread=unread)
    if sweep.rows:
        yield sweep
    rows = {(row.seed, row.context): row for row in sweep.rows}
    first_seed = sweep.plan.seeds[0]
    draws = {seed: live_draw(session, neurons, seed) for seed in sweep.plan.seeds}
    cells = [(seed, c) for seed in sweep.plan.seeds for c in sweep.plan.contexts]
    cells = [cell for cell in cells if cell not in rows]
    # Without drawn neurons, a context is that of the first draw, whose row is copied.
    computed = {(seed, c) for seed, c in cells if c.neurons or seed == first_seed}
    # Masks whose twin with video follows: both share their cells, of which a transformer
    # then finds the tokens once.
    made: dict[tuple[int, Context], Mask] = {}
    is_twice = len(sweep.plan.video) > 1

    def mask_of(seed: int, context: Context) -> Mask:
        key = seed, replace(context, video=False)
        mask = made.pop(key, None)
        if mask is None:
            mask = context_mask(key[1], draws[seed], window.spec)
        if context.video:
            return mask.with_frames(True)
        if is_twice:
            made[key] = mask
        return mask

    # Each when it is asked for: all of them take seconds for 40,000 neurons.
    masks = (mask_of(seed, context) for seed, context in cells if (seed, context) in computed)
    results = _results(predictor, window, masks, neurons, cancelled)
    for seed, context in cells:
        if (seed, context) in computed:
            row = SweepRow(window.session.id, sweep.predictor, context, seed, len(neurons))
            row = _with_score(row, window, *next(results), metric)
        else:
            row = replace(rows[first_seed, context], seed=seed)
        rows[seed, context] = row
        sweep = replace(sweep, rows=(*sweep.rows, row))
        # Copies take no time: they appear with the next computed point, or at the end.
        if (seed, context) in computed or sweep.is_complete:
            yield sweep


def _results(
    predictor: Predictor,
    window: Window,
    masks: Iterator[Mask],
    neurons: np.ndarray,
    cancelled: Callable[[], bool],
) -> Iterator[tuple[Mask, Prediction | str]]:
    """Yield a prediction or a refusal per mask; all in one call, to use a GPU well."""
    if predictor.needs.is_stored:
        yield from ((mask, STORED) for mask in masks)
        return
    asked: list[Mask] = []

    def requests(masks: Iterator[Mask]) -> Iterator[Request]:
        while True:
            stop_if(cancelled)
            if (mask := next(masks, None)) is None:
                return
            asked.append(mask)
            yield window, mask, neurons

    while True:
        try:
            for prediction in predictions_of(predictor, requests(masks), cancelled):
                yield asked.pop(0), prediction
            return
        # A refusal ends `predict_many`: skip that mask and request the rest again.
        except UnsupportedRequestError as refusal:
            masks, asked = chain(asked, masks), []
            # Not of `asked`: some refuse before they ask for a request.
            if (mask := next(masks, None)) is None:
                return
            yield mask, str(refusal)


def _with_score(
    row: SweepRow, window: Window, mask: Mask, result: Prediction | str, metric: str
) -> SweepRow:
    """Return a row with its score, or with the reason of a refusal."""
    if isinstance(result, str):
        return replace(row, refusal=result)
    truth, valid = window.stream("responses")
    # No target is within 5 samples after a visible sample of the same neuron, so
    # the predictor predicts all targets.
    valid = valid & result.valid
    cells = (mask.cells[:, result.neurons] == TARGET) & valid[:, None]
    scored = StreamingCorrelation(mask.n_samples, len(result.neurons))
    scored.update(result.responses, truth[:, result.neurons], cells)
    sums = scored.moments()
    values = sums.pearson()
    if metric != "correlation":
        values = window_scores(result, window, metric)[result.neurons]
    low, high = bootstrap_interval(values, sums.count, n_resamples=RESAMPLES)
    return replace(
        row,
        n_neurons=len(result.neurons),
        n_windows=1,
        score=session_score(values, sums.count),
        ci_low=low,
        ci_high=high,
    )


# -- context curves over a tier, refined batch by batch of windows --------------------
# A curve of one window is dominated by noise. `TierSweep` adds the batches of windows
# that `context_sweep` adds, in the same order: after the last one both have the same
# scores. Targets are those of the painted mask, and its visible neurons are the pool: the
# curves are of the question on screen, and are computed once for these neurons.
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
        return np.array_equal(asked_neurons(mask), self.asked)

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


def scored_and_visible(mask: Mask) -> np.ndarray:
    """Return the neurons with a scored sample and those with a visible one, bool (2, P).

    The array is read-only.
    """

    def find() -> np.ndarray:
        found = np.stack([scored_cells(mask).any(axis=0), mask.visible.any(axis=0)])
        found.flags.writeable = False
        return found

    # A form of settings asks for each of its fields at each redraw.
    return cached(mask, "scored and visible", find)


def asked_neurons(mask: Mask) -> np.ndarray:
    """Return the targets of a mask's curves and their pool, bool (2, P).

    The targets are the neurons with a scored sample, the pool those with a visible one;
    without visible neurons, all. Both are empty if the pool has no neuron that is no
    target: then held-out neurons are predicted from all others.
    """
    targets, pool = scored_and_visible(mask)
    if not pool.any():
        pool = np.ones_like(pool)
    has_curves = targets.any() and (pool & ~targets).any()
    return np.stack([targets, pool]) & has_curves


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

    def _result(self) -> TierCurves:
        running, shard = self._scores.running, self._scores.shard
        scores = (score for one in running for score in one.scores())
        behavior = [score for one in running for score in one.behavior_scores()]
        name, unread = self._predictor.predictor_id, unread_inputs(self._predictor.needs)
        n_neurons = shard.session.n_neurons
        per_neuron = np.full((len(self._cells), n_neurons), np.nan, np.float32)
        rows = []
        for number, cell in enumerate(self._cells):
            reason = self._reasons[number]
            score = None if reason else next(scores)
            rows.append(row_of(cell, name, score, behavior, reason))
            if score is not None and not score.refusal:
                per_neuron[number, score.neurons] = score.per_neuron
        return TierCurves(
            ContextSweep(self._plan, name, (shard.session.id,), tuple(rows), unread),
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
