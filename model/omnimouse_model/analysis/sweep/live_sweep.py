"""Live sweep: scores of the selected neurons in one window as a function of context.

It has few contexts and one prediction for each, so that the curve grows on the screen.
The video of the window is encoded once, and earlier requests share the encoding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from omnimouse_model.analysis.sweep.contexts import (
    STORED,
    Draw,
    SweepPlan,
    context_mask,
    history_end,
)
from omnimouse_model.analysis.sweep.table import ContextSweep, SweepRow
from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ, WindowSpec, default_spec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.window_scores import window_scores
from omnimouse_model.masks import TARGET, HasNeurons, Mask
from omnimouse_model.masks.cells import count_neurons, recording_rate
from omnimouse_model.metrics import (
    StreamingCorrelation,
    bootstrap_interval,
    session_score,
)
from omnimouse_model.predict.predictor import Prediction, Predictor

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
    sweep = finished or _empty_sweep(predictor, window, len(neurons), behavior, seeds, metric)
    if sweep.rows:
        yield sweep
    rows = {(row.seed, row.context): row for row in sweep.rows}
    first_seed = sweep.plan.seeds[0]
    session = window.session
    draws = {seed: live_draw(session, neurons, seed) for seed in sweep.plan.seeds}
    cells = [(seed, c) for seed in sweep.plan.seeds for c in sweep.plan.contexts]
    cells = [cell for cell in cells if cell not in rows]
    # Without drawn neurons, a context is that of the first draw, whose row is copied.
    masks = {
        (seed, context): context_mask(context, draws[seed], window.spec)
        for seed, context in cells
        if context.neurons or seed == first_seed
    }
    results = _results(predictor, window, list(masks.values()), neurons, cancelled)
    for seed, context in cells:
        if (seed, context) in masks:
            row = SweepRow(window.session.id, sweep.predictor, context, seed, len(neurons))
            row = _with_score(row, window, masks[seed, context], next(results), metric)
        else:
            row = replace(rows[first_seed, context], seed=seed)
        rows[seed, context] = row
        sweep = replace(sweep, rows=(*sweep.rows, row))
        # Copies take no time: they appear with the next computed point, or at the end.
        if (seed, context) in masks or sweep.is_complete:
            yield sweep


def _empty_sweep(
    predictor: Predictor,
    window: Window,
    n_targets: int,
    behavior: bool | Sequence[bool],
    seeds: Sequence[int],
    metric: str,
) -> ContextSweep:
    """Return a live sweep of a window without rows."""
    session = window.session
    has_video = session.stimulus is not None and window.spec.video is not None
    plan = live_plan(
        session.n_neurons,
        n_targets,
        video=(False, True) if has_video else (False,),
        behavior=behavior,
        seeds=seeds,
        spec=window.spec,
        metric=metric,
    )
    return ContextSweep(plan, predictor.predictor_id, (session.id,))


def _results(
    predictor: Predictor,
    window: Window,
    masks: list[Mask],
    neurons: np.ndarray,
    cancelled: Callable[[], bool],
) -> Iterator[Prediction | str]:
    """Yield a prediction or a refusal per mask; all in one call, to use a GPU well."""
    if predictor.needs.is_stored:
        yield from [STORED] * len(masks)
        return
    while masks:
        requests = [(window, mask, neurons) for mask in masks]
        try:
            for prediction in predictor.predict_many(requests, cancelled):
                masks = masks[1:]
                yield prediction
            return
        # A refusal ends `predict_many`: skip that mask and request the rest again.
        except UnsupportedRequestError as refusal:
            masks = masks[1:]
            yield str(refusal)


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
