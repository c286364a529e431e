"""Tables of tasks: measured and published scores of the OmniMouse paper, and summaries.

This module gives the data only and draws nothing. NaN marks a task that a predictor
does not support or that was not evaluated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from omnimouse_model.data.units import Units
from omnimouse_model.evaluation.results import Scores
from omnimouse_model.metrics import behavior_groups

NaN = float("nan")
TASKS = MappingProxyType(
    {
        "fcst": "test/causal_response_25_behavior",
        "fcst+S": "test/causal_response_25_video_behavior",
        "pop 256": "test_additional/population_256_response_behavior",
        "pop 1024": "test/population_1024_response_behavior",
        "pop+S": "test_additional/population_256_response_video_behavior",
        "stim": "test/video_behavior",
    }
)
"""Official mask of each response column."""
DECODING = "test/all_response_only"
"""Mask of behaviour decoding: all responses visible, no video."""
BEHAVIOR = MappingProxyType(
    {
        "behav avg": "average",
        "loc": "location",
        "size": "size",
        "run": "running",
    }
)
"""Group of channels of each behaviour column, see `behavior_groups`."""
COLUMNS = (*TASKS, *BEHAVIOR)
STRATEGIES = (*TASKS.values(), DECODING)
"""Strategies to evaluate for the whole table."""


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One model and its value per column (NaN: none); see `COLUMNS`.

    `source` is "measured", or the publication with these values.
    """

    model: str
    values: dict[str, float]
    source: str = "measured"
    n_sessions: int = 0


def paper_table(scores: Scores) -> tuple[PaperRow, ...]:
    """Return one row per predictor from an evaluation of `STRATEGIES`.

    Responses: pooled correlations as published, mean over sessions weighted by number
    of neurons. Behaviour: means over sessions of the groups of channels.

    Examples
    --------
    >>> last = om.load_predictor("last")
    >>> found = om.evaluate(last, session, "test/causal_response_25_behavior")
    >>> row = om.paper_table(found)[0]
    >>> row.model, round(row.values["fcst"], 2), row.values["stim"]
    ('last', 0.18, nan)
    """
    # In order of appearance; a predictor may have scores of behaviour only.
    names = dict.fromkeys(
        [score.predictor for score in scores.scores]
        + [score.predictor for score in scores.behavior]
    )
    sessions = {score.session for score in scores.scores}
    sessions |= {score.session for score in scores.behavior}
    rows = []
    for name in names:
        values = {at: _response(scores, task, name) for at, task in TASKS.items()}
        groups = _behavior(scores, name)
        values |= {column: groups[group] for column, group in BEHAVIOR.items()}
        rows.append(PaperRow(name, values, n_sessions=len(sessions)))
    return tuple(rows)


def _response(scores: Scores, strategy: str, predictor: str) -> float:
    # A task that was not evaluated is an empty cell of the table, not an error.
    try:
        return scores.overall(strategy, predictor, pooled=True)
    except KeyError:
        return NaN


def _behavior(scores: Scores, predictor: str) -> dict[str, float]:
    """Return the mean over sessions of each group; NaN if a channel is missing."""
    by_session: dict[str, dict[str, float]] = {}
    for score in scores.behavior:
        if (score.strategy, score.predictor) == (DECODING, predictor):
            by_session.setdefault(score.session, {})[score.channel] = score.value
    # A missing channel becomes NaN and makes its group and the average NaN, instead of
    # a mean over fewer channels that is not comparable.
    names = ("pupil_x", "pupil_y", "pupil_size", "pupil_dsize", "running")
    each = [
        behavior_groups({name: channels.get(name, NaN) for name in names})
        for channels in by_session.values()
    ]
    return {
        group: float(np.mean([groups[group] for groups in each])) if each else NaN
        for group in BEHAVIOR.values()
    }


def _printed(model: str, sessions: int, *numbers: float) -> PaperRow:
    model = f"OmniMouse-{model}" if model[0].isdigit() else model
    # The published table has no column "stim", which stays NaN.
    columns = ("fcst", "fcst+S", "pop 256", "pop 1024", "pop+S", *BEHAVIOR)
    values = dict.fromkeys(COLUMNS, NaN) | dict(zip(columns, numbers, strict=True))
    return PaperRow(model, values, "OmniMouse paper", sessions)


PRINTED: tuple[PaperRow, ...] = (
    _printed("MtM", 8, 0.12, NaN, 0.07, 0.21, NaN, NaN, NaN, NaN, NaN),
    _printed("Latent model", 8, NaN, 0.18, NaN, NaN, 0.16, NaN, NaN, NaN, NaN),
    _printed("CEBRA", 8, NaN, NaN, NaN, NaN, NaN, 0.53, 0.52, 0.55, 0.51),
    _printed("POYO+", 8, NaN, NaN, NaN, NaN, NaN, 0.55, 0.56, 0.63, 0.47),
    _printed("5M", 8, 0.18, 0.30, 0.25, 0.34, 0.27, 0.59, 0.68, 0.66, 0.44),
    _printed("1M", 323, 0.18, 0.33, 0.27, 0.36, 0.35, 0.68, 0.75, 0.73, 0.55),
    _printed("5M", 323, 0.22, 0.34, 0.28, 0.37, 0.35, 0.69, 0.76, 0.74, 0.57),
    _printed("20M", 323, 0.23, 0.35, 0.29, 0.38, 0.37, 0.75, 0.78, 0.75, 0.73),
    _printed("80M", 323, 0.25, 0.36, 0.29, 0.39, 0.37, 0.77, 0.80, 0.76, 0.75),
    _printed("300M", 323, 0.25, 0.36, 0.30, 0.39, 0.37, 0.76, 0.80, 0.76, 0.73),
)
"""Published values; a later summary has fcst+S .25 (5M, 8 sessions) and .34 (80M)."""


# -- summary statistics of neuron scores: over all neurons and by brain area ----------
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
