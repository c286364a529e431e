"""The live sweep: the selected neurons of one window under more and more context.

A few contexts, each a single question, so that the curve grows while one looks at it.
The window's video is encoded once, for whatever was asked of it before too.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from omnimouse_model.analysis.contexts import Context, Draw, context_mask
from omnimouse_model.analysis.sweep_plan import SweepPlan
from omnimouse_model.analysis.sweep_table import ContextSweep, SweepRow
from omnimouse_model.data.windows import Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import N_SAMPLES, TARGET, Mask
from omnimouse_model.metrics import (
    StreamingCorrelation,
    bootstrap_interval,
    session_score,
)
from omnimouse_model.predict.parts import stop_if
from omnimouse_model.predict.predictor import Prediction, Predictor

HISTORY = (10, 25)
NEURONS = (16, 64, 256, 1024)
SEED = 0
RESAMPLES = 200
"""Enough for an interval that is only looked at: a point takes some 50 ms in all."""


def live_plan(n_neurons: int, n_targets: int, *, behavior: bool = True) -> SweepPlan:
    """Plan a live sweep: none, history, and neurons as far as the session has them.

    Each without and with video; behaviour as it is in the question on screen.
    """
    room = n_neurons - n_targets
    return SweepPlan(
        neurons=(0, *(count for count in NEURONS if count <= room)),
        history_samples=(0, *HISTORY),
        video=(False, True),
        behavior=(behavior,),
        seeds=(SEED,),
        tier="",
        max_windows=1,
    )


def live_draw(n_neurons: int, targets: np.ndarray) -> Draw:
    """Targets as given, and the others in an order that is always the same."""
    permuted = np.random.default_rng(SEED).permutation(n_neurons)
    return Draw(targets, permuted[~np.isin(permuted, targets)])


def live_sweep(
    predictor: Predictor,
    window: Window,
    neurons: np.ndarray,
    *,
    behavior: bool = True,
    known: ContextSweep | None = None,
    outdated: Callable[[], bool] = lambda: False,
) -> Iterator[ContextSweep]:
    """Score some neurons in one window under each context, point by point.

    Parameters
    ----------
    neurons
        int64 (n,): whose last second is asked; never in a context themselves.
    behavior
        Whether behaviour is given.
    known
        The same sweep as far as it came before: only what is missing is computed.
    outdated
        Asked before every point.

    Yields
    ------
    ContextSweep
        All points so far, first what is known; the last one is complete.

    Raises
    ------
    StoppedError
        Once `outdated()` is true.
    ValueError
        For an edited window: there is no truth to score.
    """
    session = window.session
    if window.edits:
        raise ValueError("An edited window has no truth to score: sweep the recorded.")
    plan = live_plan(session.n_neurons, len(neurons), behavior=behavior)
    sweep = known or ContextSweep(plan, predictor.predictor_id, (session.id,))
    if sweep.rows:
        yield sweep
    draw = live_draw(session.n_neurons, neurons)
    points = [(c, context_mask(c, draw)) for c in plan.contexts[len(sweep.rows) :]]
    answers = _answers(predictor, window, [m for _, m in points], neurons, outdated)
    for (context, mask), answer in zip(points, answers, strict=True):
        row = _scored(predictor, window, context, mask, neurons, answer)
        sweep = replace(sweep, rows=(*sweep.rows, row))
        yield sweep


def _answers(
    predictor: Predictor,
    window: Window,
    masks: list[Mask],
    neurons: np.ndarray,
    outdated: Callable[[], bool],
) -> Iterator[Prediction | str]:
    """An answer for each mask, or why it is refused; asked together, for a GPU."""
    while masks:
        requests = [(window, mask, neurons) for mask in masks]
        try:
            for prediction in predictor.predict_many(requests, outdated):
                masks = masks[1:]
                yield prediction
            stop_if(outdated)
            return
        except UnsupportedRequestError as refusal:
            masks = masks[1:]
            yield str(refusal)


def _scored(
    predictor: Predictor,
    window: Window,
    context: Context,
    mask: Mask,
    neurons: np.ndarray,
    answer: Prediction | str,
) -> SweepRow:
    """One point; it has no score where the predictor refused."""
    scored = StreamingCorrelation(N_SAMPLES, len(neurons))
    if not isinstance(answer, str):
        truth, valid = window.stream("responses")
        # no target follows a visible sample, so every one of them is asked
        cells = (mask.cells[:, neurons] == TARGET) & valid[:, None]
        scored.update(answer.responses, truth[:, neurons], cells)
    found = scored.moments()
    values = found.pearson()
    low, high = bootstrap_interval(values, found.count, n_resamples=RESAMPLES)
    return SweepRow(
        session=window.session.id,
        predictor=predictor.predictor_id,
        context=context,
        seed=SEED,
        n_neurons=len(neurons),
        n_windows=0 if isinstance(answer, str) else 1,
        score=session_score(values, found.count),
        ci_low=low,
        ci_high=high,
        refusal=answer if isinstance(answer, str) else "",
    )
