"""Scores of many neurons in a few numbers: all of them, and those of each area."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.units import Units


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """Mean, median and quartiles of the scores there are; NaN where there are none."""

    n: int
    mean: float
    median: float
    low: float
    high: float


def score_summary(scores: np.ndarray | None) -> ScoreSummary:
    """Summarise scores; what has none (NaN) is left out."""
    known = np.empty(0) if scores is None else scores[np.isfinite(scores)]
    if not known.size:
        return ScoreSummary(0, *(float("nan"),) * 4)
    low, median, high = (float(v) for v in np.percentile(known, (25, 50, 75)))
    mean = float(np.mean(known, dtype=np.float64))
    return ScoreSummary(len(known), mean, median, low, high)


def common_scores(
    each: Sequence[np.ndarray | None],
) -> tuple[np.ndarray | None, ...]:
    """Keep the scores of the neurons that every one has; NaN elsewhere.

    Conditions are only compared over the same neurons. One without any score has no
    say in who they are, and stays as it is.
    """
    scored = [s for s in each if s is not None and np.isfinite(s).any()]
    shared = np.all([np.isfinite(s) for s in scored], axis=0) if scored else False
    return tuple(None if s is None else np.where(shared, s, np.nan) for s in each)


def scores_by_area(
    scores: np.ndarray, units: Units
) -> tuple[tuple[str, ScoreSummary], ...]:
    """Summaries by area in the order of their names, "" last; () without areas."""
    if units.area is None:
        return ()
    areas = units.area.astype(str)
    names = sorted(set(areas.tolist()), key=lambda name: (name == "", name))
    found = ((name, score_summary(scores[areas == name])) for name in names)
    return tuple((name, summary) for name, summary in found if summary.n)
