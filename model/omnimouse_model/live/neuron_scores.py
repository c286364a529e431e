"""Score of each neuron on screen, and the windows that it was computed from."""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.analysis.evaluate.tier_score import TierScore


@dataclass(frozen=True, slots=True, eq=False)
class NeuronScores:
    """Score of each neuron over the window on screen, or over windows of a tier.

    Attributes
    ----------
    values
        float (P,): NaN without a score.
    n_windows, n_total
        Windows of the score, and windows of the tier; 1 and 0 for the window on screen.
    tier
        Name of the tier, "" for the window on screen.
    """

    values: np.ndarray
    n_windows: int = 1
    n_total: int = 0
    tier: str = ""

    @property
    def evidence(self) -> str:
        """Windows of the score, e.g. "over 48 of 172 test windows"."""
        if not self.tier:
            return "in this window"
        if self.n_windows == self.n_total:
            return f"over {self.n_total:,} {self.tier} windows"
        return f"over {self.n_windows:,} of {self.n_total:,} {self.tier} windows"


def scores_of_neurons(
    tier_score: TierScore | None, in_window: np.ndarray | None
) -> NeuronScores | None:
    """Return the scores over a tier where they are known, else those of the window.

    Correlations over a tier are about fixed means (`Score.centred_per_neuron`), because
    other correlations over few windows are too low.
    """
    score = None if tier_score is None else tier_score.score
    if tier_score is None or score is None or score.refusal:
        return None if in_window is None else NeuronScores(in_window)
    values = np.full(tier_score.mask.n_neurons, np.nan)
    is_centred = len(score.centred_per_neuron) > 0
    values[score.neurons] = score.centred_per_neuron if is_centred else score.per_neuron
    return NeuronScores(
        values, tier_score.n_windows, tier_score.n_total, tier_score.tier
    )
