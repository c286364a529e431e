"""The question on screen as a point of the context curves: what it gives, its score."""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.analysis.contexts import inputs_label
from omnimouse_model.analysis.given import Given, given_by
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import TARGET
from omnimouse_model.metrics import session_score


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the mask on screen lies.

    Attributes
    ----------
    score
        Mean correlation of the selected neurons that it asks for, over its own target
        samples; NaN where it asks for none of them, or while there is no answer.
    n_scored
        How many neurons that is.
    is_old
        Whether the score answers an older question.
    """

    given: Given
    score: float
    n_scored: int
    is_old: bool

    @property
    def words(self) -> str:
        """Such as "r = 0.43 · 64 neurons · 10 samples before · video + behaviour"."""
        given = self.given
        old = " (older)" if self.is_old else ""
        said = [f"r = {self.score:.2f}{old}"] if self.n_scored else []
        said += [
            f"{given.neurons:,.0f} neurons",
            f"{given.history_samples:.0f} samples before",
            inputs_label(given.video, given.behavior),
        ]
        return " · ".join(said)


def mark_of(state: LiveState, results: Results) -> Mark | None:
    """Say where the question on screen lies; None while there is none."""
    mask, window = state.mask, state.window
    if mask is None or window is None:
        return None
    score, n_scored = float("nan"), 0
    if results.scores is not None and state.selection:
        neurons = np.array(state.selection, np.int64)
        valid = window.valid["responses"][:, None]
        counts = np.sum((mask.cells[:, neurons] == TARGET) & valid, axis=0)
        known = np.isfinite(results.scores[neurons]) & (counts > 0)
        n_scored = int(known.sum())
        score = session_score(results.scores[neurons][known], counts[known])
    return Mark(given_by(mask), score, n_scored, results.is_population_old)
