"""Stored scores of a recording, which choose the first neurons and the first window.

A new view shows the best, a median and the worst predicted neuron, and a window of
median score. It needs scores before the first prediction: those of the demo are
shipped, those of other recordings are stored when a tier is complete.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.evaluation.tier_score import TierScore
from omnimouse_model.masks import Mask
from omnimouse_model.storage.trees import decode, read_json

SHIPPED: Final = Path(__file__).parent / "demo_scores.json"
"""Scores of the demo session; `python -m tests.acceptance.first_scores` writes them."""
MIN_SHARE: Final = 0.25
"""Share of the neurons that must have a score, so that a small mask is not stored."""


@dataclass(frozen=True, slots=True)
class FirstScores:
    """Scores of the neurons of a recording, and the window that is shown first.

    Attributes
    ----------
    session, n_neurons
        Id of the recording, and number of its neurons.
    tier
        Tier of the scores.
    start_s
        Start of the first window, in s on the session clock: the tier's window whose
        score is the median.
    best, median, worst
        Index of a neuron each.
    predictor, mask_id
        Name or file of the predictor of the scores, and id of their mask; "" if an
        older version stored them.
    """

    session: str
    n_neurons: int
    tier: str
    start_s: float
    best: int
    median: int
    worst: int
    predictor: str = ""
    mask_id: str = ""

    @property
    def neurons(self) -> tuple[int, ...]:
        """The neurons, from the best to the worst."""
        return tuple(self.ranks)

    @property
    def ranks(self) -> dict[int, str]:
        """Rank of each neuron in words, from the best to the worst."""
        return {self.best: "best", self.median: "median", self.worst: "worst"}

    def ranks_for(self, predictor_name: str, mask: Mask | None) -> dict[int, str]:
        """Return the ranks if the scores are of this predictor and mask, else none."""
        is_same = mask is not None and self.mask_id == mask.mask_id
        return self.ranks if is_same and self.predictor == predictor_name else {}


def first_scores(session: Session, found: TierScore, predictor_name: str) -> FirstScores | None:
    """Return the first neurons and window by a complete score; None for few targets."""
    score = found.score
    if score is None or not found.window_scores:
        return None
    values = score.per_neuron
    is_known = np.isfinite(values)
    if is_known.sum() < max(3, MIN_SHARE * session.n_neurons):
        return None
    neurons, values = score.neurons[is_known], values[is_known]
    order = neurons[np.argsort(-values, kind="stable")].tolist()
    starts = sorted(found.window_scores, key=lambda start: found.window_scores[start])
    return FirstScores(
        session.id,
        session.n_neurons,
        found.tier,
        starts[len(starts) // 2],
        order[0],
        order[len(order) // 2],
        order[-1],
        predictor_name,
        found.mask.mask_id,
    )


def shipped_scores(session: Session) -> FirstScores | None:
    """Return the scores of the demo session; None for other recordings."""
    return read_scores(SHIPPED, session)


def read_scores(path: Path, session: Session) -> FirstScores | None:
    """Return the scores in a file; None if it is missing or of another recording."""
    try:
        found = decode(FirstScores, read_json(path), path)
    except SessionFormatError:  # missing, damaged, of another version
        return None
    neurons = (found.best, found.median, found.worst)
    is_same = (found.session, found.n_neurons) == (session.id, session.n_neurons)
    is_valid = all(0 <= neuron < session.n_neurons for neuron in neurons) and found.start_s >= 0
    return found if is_same and is_valid else None
