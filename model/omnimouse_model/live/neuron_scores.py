"""Score of each neuron on screen, and the windows that it was computed from."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from omnimouse_model.analysis.evaluate.tier_score import TierScore

IN_WINDOW: Final = "in this window"
"""Evidence of a score of the window on screen."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoresOnScreen:
    """Score of each neuron over the window on screen, or over windows of a tier.

    Attributes
    ----------
    values
        float (P,): NaN without a score.
    tier
        Name of the tier, "" for the window on screen.
    evidence
        Windows of the scores in words.
    slopes
        float (P,): slope of recorded on predicted responses, 1 if calibrated; NaN
        where it is unknown. None for the window on screen.
    is_pooled
        Whether correlations are about the means of the scored windows.
    """

    values: np.ndarray
    tier: str = ""

    evidence: str = IN_WINDOW
    slopes: np.ndarray | None = None
    is_pooled: bool = False


def evidence(found: TierScore) -> str:
    """Return the windows of a score, e.g. "over 48 of 172 test windows".

    It ends with "pooled" if the score is not centred.
    """
    pooled = ", pooled" if found.score is not None and found.score.is_pooled else ""
    return f"over {windows_text(found)}{pooled}"


def windows_text(found: TierScore) -> str:
    """Return the windows of a score, e.g. "48 of 172 test windows"."""
    n_windows = "" if found.is_complete else f"{found.n_windows:,} of "
    return f"{n_windows}{found.n_total:,} {found.tier} windows"


def scores_of_neurons(
    tier_score: TierScore | None, in_window: np.ndarray | None
) -> ScoresOnScreen | None:
    """Return the scores over a tier where they are known, else those of the window.

    Without train windows, correlations over a tier are pooled, which the evidence states.
    """
    score = None if tier_score is None else tier_score.score
    if tier_score is None or score is None or score.refusal:
        return None if in_window is None else ScoresOnScreen(in_window)
    values = np.full(tier_score.mask.n_neurons, np.nan)
    values[score.neurons] = score.per_neuron
    slopes = np.full(len(values), np.nan)
    if score.is_centred:
        slopes[score.neurons] = score.slope_per_neuron
    return ScoresOnScreen(values, tier_score.tier, evidence(tier_score), slopes, score.is_pooled)
