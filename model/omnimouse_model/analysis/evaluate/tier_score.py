"""Score of one task over a tier, refined batch by batch of windows.

A score of one window is dominated by noise. `TierScoring` adds the batches of windows
that `evaluate` adds, in the same order: after the last one both have the same bits.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from omnimouse_model.analysis.evaluate.conditions import Condition
from omnimouse_model.analysis.evaluate.results import BehaviorScore, Score
from omnimouse_model.analysis.evaluate.shard import Shard
from omnimouse_model.analysis.evaluate.shard_sums import Arrays, Facts
from omnimouse_model.analysis.evaluate.tier_run import TierRun
from omnimouse_model.analysis.evaluate.tier_windows import scored_starts, tier_starts
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.metrics import METRICS, Metric
from omnimouse_model.metrics.time_blocks import (
    Estimate,
    jackknife,
    jackknife_gain,
)
from omnimouse_model.predict.predictor import Predictor

PRELIMINARY = 24
"""With fewer windows, the score is biased by more than .02, or its interval is too
narrow where few seconds have most of the variance of the responses."""
Steps = dict[int, tuple[float, np.ndarray, np.ndarray]]
"""Number of windows -> the score, and the score without each block of time and each
window of the train tier."""
MAX_WINDOWS = 2_000
"""Most windows of a live score: further ones hardly change it. Of a longer tier they
are those of `evaluate(..., max_windows=MAX_WINDOWS)`."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TierScore:
    """Score of a task over the first windows of a tier, in the order of `evaluate`.

    Attributes
    ----------
    mask
        Task of the windows.
    tier
        Name of the tier.
    score
        Score of the responses; None if no response is a target.
    behavior
        One score per decoded channel.
    n_windows, n_total
        Windows that were added, and windows that are scored at most.
    steps
        See `Steps`.
    window_scores
        Start of each window that was added -> centred score of this window alone.
    """

    mask: Mask
    tier: str
    score: Score | None
    behavior: tuple[BehaviorScore, ...]
    n_windows: int
    n_total: int
    steps: Steps = field(repr=False)
    window_scores: dict[float, float] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        windows = f"over {self.n_windows} of {self.n_total} {self.tier} windows"
        if self.score is None:
            decoded = ", ".join(f"{one.channel} {one.value:z.2f}" for one in self.behavior)
            return f"decoded r: {decoded} {windows}"
        if self.score.refusal:
            return f"no score: {self.score.refusal}"
        now = self.estimate
        interval = f" [{now.low:z.2f}, {now.high:z.2f}]" if np.isfinite(now.low) else ""
        preliminary = ", preliminary" if self.is_preliminary else ""
        return f"{METRICS[self.score.metric].text(now.value)}{interval} {windows}{preliminary}"

    @property
    def estimate(self) -> Estimate:
        """The score with its interval over time; NaN if there is none.

        A preliminary score has no interval: it would be too narrow.
        """
        if self.score is None or self.n_windows not in self.steps:
            return jackknife(float("nan"), [])
        value, left_out, train_left_out = self.steps[self.n_windows]
        if self.is_preliminary:
            return jackknife(value, [])
        limits = METRICS[self.score.metric].limits
        return jackknife(value, left_out, train_left_out, limits=limits)

    @property
    def is_preliminary(self) -> bool:
        """Whether too few windows were added for an unbiased score."""
        return self.n_windows < min(PRELIMINARY, self.n_total)

    @property
    def is_complete(self) -> bool:
        """Whether all windows were added."""
        return self.n_windows == self.n_total

    def gain(self, baseline: "TierScore") -> tuple[Estimate, int]:
        """Return the score minus that of a baseline, and the number of windows.

        Both are over the windows that both have; NaN and 0 if there are none.
        """
        common = self.steps.keys() & baseline.steps.keys()
        one, other = self.score, baseline.score
        if not common or one is None or other is None or one.is_centred != other.is_centred:
            return jackknife(float("nan"), []), 0
        n_windows = max(common)
        both = self.steps[n_windows], baseline.steps[n_windows]
        return jackknife_gain(*both, limits=METRICS[one.metric].limits), n_windows


def scored_tier(session: Session, spec: WindowSpec = OMNIMOUSE) -> str:
    """Return the tier of live scores: test, else validation, else "" for none."""
    for tier in ("test", "validation"):
        if len(tier_starts(session, tier, spec)):
            return tier
    return ""


def has_tier_score(session: Session, spec: WindowSpec, metric: Metric) -> bool:
    """Return whether a recording has a tier for live scores, and a metric has values.

    A metric of repeats has no value over a sample of the windows.
    """
    return metric.per_neuron is not None and bool(scored_tier(session, spec))


def has_scored_targets(mask: Mask) -> bool:
    """Return whether a mask has a target, of responses or behaviour, with a score."""
    return mask.has_behavior_target or bool(scored_cells(mask).any())


class TierScoring(TierRun[TierScore]):
    """Computation of a `TierScore`, which can be interrupted and continued.

    Parameters
    ----------
    predictor, session, mask
        Who predicts, and the task.
    tier, metric
        As in `evaluate`.
    """

    def __init__(
        self,
        predictor: Predictor,
        session: Session,
        mask: Mask,
        tier: str = "test",
        metric: str = "correlation",
    ) -> None:
        starts = scored_starts(session, tier, MAX_WINDOWS, predictor.needs.spec)
        shard = Shard(
            (predictor,),
            session,
            (Condition.of(mask),),
            tier,
            starts,
            metric=metric,
            centred=True,
            ceiling=False,
        )
        super().__init__(shard)
        self._mask = mask
        self._steps: Steps = {}
        self._by_window: dict[float, float] = {}
        self._scores.running[0].by_window = self._by_window

    def sums(self) -> tuple[Facts, Arrays]:
        """Return the state as JSON values and arrays, for `restore`."""
        facts, arrays = super().sums()
        arrays |= step_arrays(self._steps)
        arrays["windows"] = np.array(list(self._by_window.items()), np.float64)
        return facts, arrays

    def restore(self, facts: Facts, arrays: Arrays) -> None:
        """Go on from the sums of an earlier process; see `TierRun.restore`."""
        super().restore(facts, arrays)
        self._by_window.update(dict(arrays["windows"].reshape(-1, 2).tolist()))
        self._steps = steps_of(arrays)

    def result(self) -> TierScore:
        """Return the score over the windows that were added."""
        found, shard = self._scores.scores(), self._scores.shard
        n_windows = self.n_windows
        score = found.scores[0] if found.scores else None
        if score is not None and not score.refusal:
            self._steps[n_windows] = score.value, score.left_out, score.train_left_out
        return TierScore(
            self._mask,
            shard.tier,
            score,
            found.behavior,
            n_windows,
            len(shard.starts),
            dict(self._steps),
            {k: v for k, v in self._by_window.items() if np.isfinite(v)},
        )


def step_arrays(steps: Steps) -> Arrays:
    """Return the score after each number of windows, as arrays to store."""
    # Ragged: early steps have fewer blocks of time.
    left_out = [part for step in steps.values() for part in step[1:]]
    return {
        "steps": np.array(list(steps), np.int64),
        "values": np.array([step[0] for step in steps.values()], np.float64),
        "sizes": np.array([len(rest) for rest in left_out], np.int64),
        "rest": np.concatenate([np.zeros(0), *left_out]),
    }


def steps_of(arrays: Arrays) -> Steps:
    """Return the scores that are in arrays of `step_arrays`."""
    ends = [0, *np.cumsum(arrays["sizes"]).tolist()]
    parts = [arrays["rest"][start:stop] for start, stop in pairwise(ends)]
    numbers, values = arrays["steps"].tolist(), arrays["values"].tolist()
    return {
        number: (value, rest, of_train)
        for number, value, rest, of_train in zip(
            numbers, values, parts[::2], parts[1::2], strict=True
        )
    }
