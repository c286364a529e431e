"""Mask on screen as a point of the context curves: its context and its score."""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.analysis.sweep.context_of_mask import (
    ContextAmount,
    measure_context,
)
from omnimouse_model.analysis.sweep.contexts import inputs_label
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import TARGET
from omnimouse_model.metrics import session_score


@dataclass(frozen=True, slots=True)
class CurrentPoint:
    """Position of the mask on screen on the context curves.

    Attributes
    ----------
    context
        Context that the mask gives to the predictor.
    score
        Mean correlation, over target samples, of the selected target neurons, or of all
        target neurons if none is selected; NaN without a score.
    n_scored
        Number of these neurons.
    is_of_selected
        Whether they are the selected neurons, as in the live curves.
    is_old
        Whether the score belongs to an older request.
    problem
        Why there is no score, "" if there is one.
    """

    context: ContextAmount
    score: float
    n_scored: int
    is_of_selected: bool
    is_old: bool
    problem: str = ""

    @property
    def text(self) -> str:
        """Text such as "r = 0.43 · 64 neurons · 10 samples before · video"."""
        given = self.context
        return " · ".join(
            [
                self.score_text,
                f"{given.neurons:,.0f} neurons",
                f"{given.history_samples:.0f} samples before",
                inputs_label(given.video, given.behavior),
            ]
        )

    @property
    def score_text(self) -> str:
        """Text such as "r = 0.43", or why there is no score."""
        if self.problem:
            return f"not marked: {self.problem}"
        old = " (older)" if self.is_old else ""
        whose = f" of {self.n_scored:,} asked, none selected"
        return f"r = {self.score:.2f}{old}{'' if self.is_of_selected else whose}"


def current_point(state: LiveState, results: Results) -> CurrentPoint | None:
    """Return the mark of the mask on screen; None without a mask or window."""
    mask, window = state.mask, state.window
    if mask is None or window is None:
        return None
    given, is_old = measure_context(mask), results.is_population_old
    # Target samples without a valid recording are not scored; (time, 1).
    valid = window.valid["responses"][:, None]
    counts = np.sum((mask.cells == TARGET) & valid, axis=0)
    known = counts > 0
    if results.scores is not None:
        known &= np.isfinite(results.scores)
    if results.scores is None or not known.any():
        why = _why_not(results, is_asked=bool(mask.target.any()))
        return CurrentPoint(given, float("nan"), 0, False, is_old, why)
    is_selected = np.zeros_like(known)
    is_selected[list(state.selection)] = True
    is_of_selected = bool((known & is_selected).any())
    scored = known & is_selected if is_of_selected else known
    # The same average as a sweep's points, so that mark and curves are comparable.
    score = session_score(results.scores[scored], counts[scored])
    return CurrentPoint(given, score, int(scored.sum()), is_of_selected, is_old)


def _why_not(results: Results, *, is_asked: bool) -> str:
    """Return why the mask on screen has no score."""
    if not is_asked:
        return "no neuron is asked"
    if results.error is not None:
        return "no answer"
    if results.population is not None and not results.is_population_old:
        return "no asked neuron has a score in this window"
    return "the answer is awaited" if results.is_awaited else "it was not answered"
