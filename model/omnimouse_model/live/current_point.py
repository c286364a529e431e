"""Live curves, and the mask on screen as a point of them: its context and its score."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from omnimouse_model.analysis.sweep.contexts import (
    ContextAmount,
    inputs_label,
    measure_context,
    unread_inputs,
)
from omnimouse_model.analysis.sweep.live_sweep import TierCurves
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.data.session import Window
from omnimouse_model.display import count
from omnimouse_model.evaluation.tier_score import PRELIMINARY, TierScore
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import TARGET, Mask
from omnimouse_model.metrics import session_score
from omnimouse_model.metrics.named import Metric

# -- context curves that are computed live, with their names on screen ----------------
WINDOW_SWEEP: Final = "selected neurons, this window only"
"""Name on screen of the curves of the selected neurons in one window."""


def live_sweeps(state: LiveState, results: Results) -> dict[str, ContextSweep]:
    """Return name -> context curves that are computed live, at most two.

    Over a tier: all held-out neurons, then the selected ones of them. Before: the
    selected neurons in the window.
    """
    curves = results.tier_curves
    if curves is None or not curves.is_shown:
        return {} if results.sweep is None else {WINDOW_SWEEP: results.sweep}
    named = {f"{curves.tier} part": curves.sweep}
    selected = selected_sweep(curves, state.selection)
    if selected is None:
        return named
    n, of = max(row.n_neurons for row in selected.rows), len(state.selection)
    return named | {f"{n} of {count(of, 'selected neuron')}, the targets": selected}


@lru_cache(maxsize=4)
def selected_sweep(curves: TierCurves, selection: tuple[int, ...]) -> ContextSweep | None:
    """Return the curves of the selected neurons, the same object in each drawing."""
    return curves.of_neurons(selection)


# -- mask on screen as a point of the context curves: its context and its score -------
@dataclass(frozen=True, slots=True)
class CurrentPoint:
    """Position of the mask on screen on the context curves.

    Attributes
    ----------
    context
        Context that the mask gives to the predictor.
    metric
        Metric of the score.
    score
        Over a tier, beside its curves and as soon as the bar has one: that of the bar, over
        its windows so far. Else, in this window: mean, over target samples, of
        the selected target neurons, or of all if none is selected. NaN without a score.
    n_scored, n_windows
        Number of these neurons, and of the windows.
    is_of_sample
        Whether these neurons are a sample of the targets.
    is_comparable
        Whether neurons and windows are those of the curves: the mask's targets over a tier,
        the selected ones in a window.
    is_old
        Whether the score belongs to an older request.
    problem
        Why there is no score, "" if there is one.
    unread
        Inputs that the predictor does not read: no text names them.
    """

    context: ContextAmount
    metric: Metric
    score: float
    n_scored: int
    is_comparable: bool
    is_old: bool
    problem: str = ""
    n_windows: int = 1
    is_of_sample: bool = False
    unread: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Text such as "r = 0.43 in this window · 64 visible neurons · 10 samples before"."""
        context = self.context
        n_before = round(context.history_samples)
        before = f"{n_before} sample{'s' * (n_before != 1)}"
        return " · ".join(
            [
                self.score_text,
                *([f"{self.n_scored:,} targets"] if self.n_windows > 1 else []),
                f"{context.neurons:z,.0f} visible neurons",
                f"{before} before",
                inputs_label(context.video, context.behavior, self.unread),
            ]
        )

    @property
    def score_text(self) -> str:
        """Text such as "r = 0.43", or why there is no score."""
        if self.problem:
            return self.problem
        old, scope = " (older)" if self.is_old else "", ""
        if self.n_windows > 1:
            scope = f" over {self.n_windows:,} windows{', sample of targets' * self.is_of_sample}"
        elif self.is_comparable:
            scope = " in this window"
        else:
            scope = f" in this window, of all {self.n_scored:,} targets"
        return f"{self.metric.text(self.score)}{old}{scope}"


def current_point(state: LiveState, results: Results) -> CurrentPoint | None:
    """Return the mark of the mask on screen; None without a mask or window."""
    mask, window = state.mask, state.window
    if mask is None or window is None:
        return None
    context = measure_context(mask)
    point = _point_over_tier(state, results, context)
    if point is None:
        point = _point_in_window(state, results, context, mask, window)
    needs = results.needs
    return point if needs is None else replace(point, unread=unread_inputs(needs))


def _point_in_window(
    state: LiveState, results: Results, context: ContextAmount, mask: Mask, window: Window
) -> CurrentPoint:
    is_old = results.is_population_old
    # Target samples without a valid recording are not scored; (time, 1).
    valid = window.valid["responses"][:, None]
    counts = np.sum((mask.cells == TARGET) & valid, axis=0)
    is_scored = counts > 0
    if results.scores is not None:
        is_scored &= np.isfinite(results.scores)
    if results.scores is None or not is_scored.any():
        problem = _score_problem(results, has_target=bool(mask.target.any()))
        return CurrentPoint(context, state.metric, float("nan"), 0, False, is_old, problem)
    # The live curves are of the selected neurons: the mark is comparable with them only
    # if it is of the same ones.
    is_selected = np.zeros_like(is_scored)
    is_selected[list(state.selection)] = True
    is_comparable = bool((is_scored & is_selected).any())
    scored = is_scored & is_selected if is_comparable else is_scored
    # The same average as a sweep's points, so that mark and curves are comparable.
    score = session_score(results.scores[scored], counts[scored])
    n_scored = int(scored.sum())
    return CurrentPoint(context, state.metric, score, n_scored, is_comparable, is_old)


def _point_over_tier(
    state: LiveState, results: Results, context: ContextAmount
) -> CurrentPoint | None:
    """Return the mark beside curves over a tier, or with the score of the bar.

    None without targets, or without such curves before the bar has a score.
    """
    mask, curves, found = state.mask, results.tier_curves, results.tier_score
    has_curves = curves is not None and curves.is_shown
    n_total = curves.n_total if curves is not None else 0 if found is None else found.n_total
    if not n_total or mask is None or not mask.target.any():
        return None
    score = None if found is None else found.score
    n_windows = 0 if found is None else found.n_windows
    least, problem = min(PRELIMINARY, n_total), ""
    if not has_curves and (score is None or score.refusal or n_windows < least):
        return None
    if score is not None and score.refusal:
        problem = score.refusal
    # As for the curves: over few windows, the score is biased.
    elif score is None or n_windows < least:
        paused = "" if state.scores_tier else ", paused"
        problem = f"{n_windows} of {least} windows are scored{paused}"
    return CurrentPoint(
        context,
        state.metric,
        float("nan") if score is None or problem else score.value,
        0 if score is None else score.n_neurons,
        is_comparable=_is_of_curves(curves, mask, found),
        is_old=False,
        problem=problem,
        n_windows=n_windows,
        is_of_sample=found is not None and found.sample is not None,
    )


def _is_of_curves(curves: TierCurves | None, mask: Mask, found: TierScore | None) -> bool:
    """Return whether a mask's score over a tier is of the question and windows of its curves."""
    # Curves are of all targets.
    if curves is None or found is None or found.sample is not None:
        return False
    # Beside a mask without a pool, the curves are of held-out neurons.
    is_same = curves.n_windows == found.n_windows and curves.is_of(mask)
    return is_same and bool(curves.asked.any())


def _score_problem(results: Results, *, has_target: bool) -> str:
    """Return why the mask on screen has no score."""
    if not has_target:
        return "the mask has no target neuron"
    if results.error is not None:
        return "the prediction failed"
    if results.population is not None and not results.is_population_old:
        return "no target has a score in this window"
    if results.is_awaited:
        return "the prediction is not finished"
    return "the prediction was not computed"
