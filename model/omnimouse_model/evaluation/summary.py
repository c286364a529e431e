"""Summaries of the scores of neurons: over all of them, common ones, and by brain area."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.units import Units


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """Number, mean, median and quartiles of finite scores; NaN without scores."""

    n: int
    mean: float
    median: float
    low: float
    high: float


def score_summary(scores: np.ndarray | None) -> ScoreSummary:
    """Return the summary of scores, without NaN."""
    finite = np.empty(0) if scores is None else scores[np.isfinite(scores)]
    if not finite.size:
        return ScoreSummary(0, *(float("nan"),) * 4)
    low, median, high = (float(v) for v in np.percentile(finite, (25, 50, 75)))
    # Scores may be float32; sum them in float64.
    mean = float(np.mean(finite, dtype=np.float64))
    return ScoreSummary(len(finite), mean, median, low, high)


def common_scores(
    each: Sequence[np.ndarray | None],
) -> tuple[np.ndarray | None, ...]:
    """Return the scores of the neurons with a score in all conditions; NaN elsewhere.

    Conditions are comparable over the same neurons only. A condition without any score
    does not restrict the neurons.
    """
    scored = [s for s in each if s is not None and np.isfinite(s).any()]
    # `False` broadcasts to NaN for all neurons if no condition has a score.
    shared = np.all([np.isfinite(s) for s in scored], axis=0) if scored else False
    return tuple(None if s is None else np.where(shared, s, np.nan) for s in each)


def scores_by_area(scores: np.ndarray, units: Units) -> tuple[tuple[str, ScoreSummary], ...]:
    """Return summaries by area, sorted by name with "" last; () without areas."""
    if units.area is None:
        return ()
    areas = units.area.astype(str)
    names = sorted(set(areas.tolist()), key=lambda name: (name == "", name))
    summaries = ((name, score_summary(scores[areas == name])) for name in names)
    return tuple((name, summary) for name, summary in summaries if summary.n)
