"""Score of one task over a tier, refined batch by batch of windows.

A score of one window is dominated by noise. `TierScoring` adds the batches of windows
that `evaluate` adds, in the same order: after the last one both have the same bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import interval_text
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.results import BehaviorScore, Score
from omnimouse_model.evaluation.shard import Shard, ShardRun, ShardScores
from omnimouse_model.evaluation.tier_windows import scored_starts, tier_starts
from omnimouse_model.masks import HIDDEN, Mask, scored_cells
from omnimouse_model.metrics import METRICS, Metric
from omnimouse_model.metrics.correlation import Moments
from omnimouse_model.metrics.time_blocks import (
    BlockSums,
    Centres,
    Estimate,
    jackknife,
    jackknife_gain,
)
from omnimouse_model.predict.compatibility import over_span
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, CallbackJob

# -- sums of an unfinished shard as arrays, from which a later process goes on --------
# For shards of live scores: groups of stimuli, repeats and ceilings have no sums here.
Facts = dict[str, Any]  # Any: whatever JSON holds
Arrays = dict[str, np.ndarray]


def shard_sums(scores: ShardScores) -> tuple[list[Facts], Arrays]:
    """Return JSON values of each running score, and the arrays of all of them."""
    facts: list[Facts] = []
    arrays = {"added": np.array(sorted(scores.added), np.int64).reshape(-1, 2)}
    for place, score in enumerate(scores.running):
        facts.append(
            {
                "n_windows": score.n_windows,
                "refusal": score.refusal,
                "behavior_refusals": score.behavior_refusals,
            }
        )
        parts = _block_arrays(score.blocks, "responses")
        parts |= _block_arrays(score.behavior, "behavior")
        if score.centres is not None:
            for one in fields(Centres):
                parts[f"centres_{one.name}"] = getattr(score.centres, one.name)
        arrays |= {f"{place}_{name}": array for name, array in parts.items()}
    return facts, arrays


def restore_sums(scores: ShardScores, facts: list[Facts], arrays: Arrays) -> None:
    """Put stored sums into the empty scores of the same shard.

    Raises
    ------
    KeyError, ValueError
        The sums are of another shard.
    """
    for place, (score, of_score) in enumerate(zip(scores.running, facts, strict=True)):
        prefix = f"{place}_"
        parts = {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        score.blocks = _block_sums(parts, "responses", len(score.neurons))
        score.behavior = _block_sums(parts, "behavior", len(score.channels))
        score.n_windows = int(of_score["n_windows"])
        # It may have been refused now, before the first window.
        score.refusal = score.refusal or str(of_score["refusal"])
        score.behavior_refusals = dict(of_score["behavior_refusals"])
        if "centres_prediction" in parts:
            score.centres = Centres(
                **{one.name: parts[f"centres_{one.name}"] for one in fields(Centres)}
            )
    scores.added = {(batch, group) for batch, group in arrays["added"].tolist()}


def _block_arrays(sums: BlockSums, name: str) -> Arrays:
    """Return block numbers (b,), counts (b, n) and the other sums (b, 6, n)."""
    parts = list(sums.blocks.values())
    if not parts:
        return {}
    return {
        f"{name}_blocks": np.array(list(sums.blocks), np.int64),
        f"{name}_counts": np.stack([found.count for found, _ in parts]),
        f"{name}_sums": np.stack(
            [
                np.stack([*(getattr(found, one.name) for one in fields(found)[1:]), total])
                for found, total in parts
            ]
        ),
    }


def _block_sums(arrays: Arrays, name: str, n_columns: int) -> BlockSums:
    sums = BlockSums()
    if f"{name}_blocks" not in arrays:
        return sums
    blocks = arrays[f"{name}_blocks"].tolist()
    counts, others = arrays[f"{name}_counts"], arrays[f"{name}_sums"]
    expected = (len(blocks), n_columns), (len(blocks), 6, n_columns)
    if (counts.shape, others.shape) != expected:
        raise ValueError(
            f"{name}: sums of shape {counts.shape} and {others.shape}; expected "
            f"{expected[0]} and {expected[1]}."
        )
    for block, count, (*moments, total) in zip(blocks, counts, others, strict=True):
        sums.blocks[block] = Moments(count, *moments), total
    return sums


# -- computation over the windows of a tier that is interrupted, continued and stored -
Result = TypeVar("Result")


class TierRun(ABC, Generic[Result]):
    """Running score sums over batches of windows, in the order in which `evaluate` adds them.

    Parameters
    ----------
    shard
        Predictors, recording, conditions and windows.
    """

    def __init__(self, shard: Shard) -> None:
        self._scores = ShardScores(shard, ShardRun(0, QUIET))
        self._n_added = 0
        self._found: tuple[int, Result] | None = None

    def result(self) -> Result:
        """Return the result over the windows that were added."""
        # Asked for with each window on screen, of which few add to the sums.
        if self._found is None or self._found[0] != self._n_added:
            self._found = self._n_added, self._result()
        return self._found[1]

    @abstractmethod
    def _result(self) -> Result:
        """Find the result from the sums."""

    @property
    def n_added(self) -> int:
        """Number of batches of windows that were added."""
        return self._n_added

    @property
    def has_windows(self) -> bool:
        """Whether any window was added."""
        return self._n_added > 0

    @property
    def n_windows(self) -> int:
        """Number of windows that were added."""
        return sum(map(len, self._scores.batches[: self._n_added]))

    @property
    def is_whole(self) -> bool:
        """Whether the sums have whole batches; see `ShardScores`."""
        return self._scores.is_whole

    @property
    def n_bytes(self) -> int:
        """Upper limit of the memory of the sums, in bytes."""
        return self._scores.n_bytes

    def sums(self) -> tuple[Facts, Arrays]:
        """Return the state as JSON values and arrays, for `restore`."""
        running, arrays = shard_sums(self._scores)
        return {"n_added": self._n_added, "running": running}, arrays

    def restore(self, facts: Facts, arrays: Arrays) -> None:
        """Go on from the sums of an earlier process.

        Raises
        ------
        KeyError, ValueError
            They are of another task.
        """
        restore_sums(self._scores, facts["running"], arrays)
        self._n_added = int(facts["n_added"])

    def refine(
        self, cancelled: Callable[[], bool], n_windows: int | float = np.inf
    ) -> Iterator[Result]:
        """Yield the result after each further batch of windows, up to `n_windows`.

        Raises
        ------
        StoppedError
            `cancelled()` returned true; a later call continues.
        """
        self._scores.run.job = CallbackJob(cancelled=cancelled)
        while self._n_added < len(self._scores.batches) and self.n_windows < n_windows:
            self._scores.add(self._n_added)
            self._n_added += 1
            yield self.result()


# -- score of one task over a tier, refined batch by batch of windows -----------------
PRELIMINARY = 24
"""With fewer windows, the score is biased by more than .02, or its interval is too
narrow where few seconds have most of the variance of the responses."""
SAMPLE = 1_024
"""Targets of the first score of a task that has more than twice as many: a network decodes
each target, so that a score of 10,000 takes as many times longer."""
Steps = dict[int, tuple[float, np.ndarray, np.ndarray]]
"""Number of windows -> the score, and the score without each block of time and each
window of the train tier."""
MAX_WINDOWS = 2_000
"""Most windows of a live score: further ones hardly change it. Of a longer tier they
are those of `evaluate(..., max_windows=MAX_WINDOWS)`."""


class Sample(NamedTuple):
    """Number of targets of which `SAMPLE` are scored, and windows in which all were so far."""

    n_targets: int
    n_windows: int


def sampled(mask: Mask) -> Mask | None:
    """Return a mask with `SAMPLE` of its targets, drawn by a fixed seed; None if it has few.

    Masks of one recording share their sample as far as its neurons are their targets, so that
    a score can be compared with that of another mask or predictor. The others are hidden, which
    changes no prediction.
    """
    is_scored = np.asarray(scored_cells(mask).any(axis=0))
    if np.count_nonzero(is_scored) <= 2 * SAMPLE:
        return None
    order = np.random.default_rng(0).permutation(mask.n_neurons)
    is_left_out = np.ones(mask.n_neurons, bool)
    is_left_out[order[is_scored[order]][:SAMPLE]] = False
    cells = np.where(mask.target & is_left_out, np.uint8(HIDDEN), mask.cells)
    return replace(mask, cells=cells)


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
    sample
        Of many targets, the first score is of a sample; None if it is of all.
    sample_steps
        `steps` of the sample, also beside those of all; empty of few targets.
    """

    mask: Mask
    tier: str
    score: Score | None
    behavior: tuple[BehaviorScore, ...]
    n_windows: int
    n_total: int
    steps: Steps = field(repr=False)
    window_scores: dict[float, float] = field(default_factory=dict, repr=False)
    sample: Sample | None = None
    sample_steps: Steps = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        windows = f"over {self.windows}"
        if self.score is None:
            decoded = ", ".join(f"{one.channel} {one.value:z.2f}" for one in self.behavior)
            return f"decoded r: {decoded} {windows}"
        if self.score.refusal:
            return f"no score: {self.score.refusal}"
        now = self.estimate
        shown = interval_text(now.value, now.low, now.high, 2)
        preliminary = ", preliminary" if self.is_preliminary else ""
        return f"{METRICS[self.score.metric].named(shown)} {windows}{preliminary}"

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
        """Whether all windows were added, with all targets."""
        return self.n_windows == self.n_total and self.sample is None

    @property
    def windows(self) -> str:
        """Windows, and targets if these are a sample, e.g. "48 of 172 test windows"."""
        if self.sample is None:
            return f"{self.n_windows:,} of {self.n_total:,} {self.tier} windows"
        of = f"{SAMPLE:,} of {self.sample.n_targets:,} targets"
        return f"{self.n_windows:,} {self.tier} windows, {of}"

    def is_ahead_of(self, baseline: "TierScore") -> bool:
        """Whether it is of all targets, and a baseline, and so the gain, still of a sample."""
        return self.sample is None and baseline.sample is not None

    def gain(self, baseline: "TierScore") -> tuple[Estimate, int]:
        """Return the score minus that of a baseline, and the number of windows.

        Both are over the windows that both have; NaN and 0 if there are none. If one is of a
        sample of the targets, so is the gain: see `is_ahead_of`. A preliminary gain has no
        interval.
        """
        n_windows, (own, others) = steps_in_common([self, baseline])
        one, other = self.score, baseline.score
        if not n_windows or one is None or other is None or one.is_centred != other.is_centred:
            return jackknife(float("nan"), []), 0
        gain = jackknife_gain(own[n_windows], others[n_windows], limits=METRICS[one.metric].limits)
        # As that of a score, its interval would be too narrow.
        if n_windows < min(PRELIMINARY, self.n_total):
            gain = jackknife(gain.value, [])
        return gain, n_windows


def steps_in_common(scores: Sequence[TierScore]) -> tuple[int, list[Steps]]:
    """Return the most windows that all scores have, 0 for none, and the steps of each.

    If any is of a sample of the targets, the steps are those of the samples.
    """
    is_sampled = any(score.sample is not None for score in scores)
    steps = [score.sample_steps if is_sampled else score.steps for score in scores]
    common = set.intersection(*(set(one) for one in steps)) if steps else set()
    return max(common, default=0), steps


def scored_tier(session: Session, spec: WindowSpec) -> str:
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

    Of many targets, a sample is scored first, see `sampled`: its score is the result until
    that of all targets is no longer preliminary.

    Parameters
    ----------
    predictor, session, mask
        Who predicts, and the task.
    tier, metric
        As in `evaluate`.
    span
        Windows whose seconds the predictor is scored on, whatever its own are; None for
        its own.
    """

    def __init__(
        self,
        predictor: Predictor,
        session: Session,
        mask: Mask,
        tier: str = "test",
        metric: str = "correlation",
        span: WindowSpec | None = None,
    ) -> None:
        starts = scored_starts(session, tier, MAX_WINDOWS, span or predictor.needs.spec)
        if span is not None:
            predictor = over_span(predictor, span)
        shard = Shard(
            (predictor,),
            session,
            (Condition.of(mask),),
            tier,
            starts,
            metric=metric,
            centred=True,
            ceiling=False,
            span=span,
        )
        super().__init__(shard)
        self._mask = mask
        self._steps: Steps = {}
        self._by_window: dict[float, float] = {}
        self._scores.running[0].by_window = self._by_window
        task = sampled(mask)
        self._sample = (
            None if task is None else TierScoring(predictor, session, task, tier, metric, span)
        )

    @property
    def _is_of_sample(self) -> bool:
        """Whether the score of all targets is preliminary, and that of a sample comes first."""
        n_least = min(PRELIMINARY, len(self._scores.shard.starts))
        return self._sample is not None and self.n_windows < n_least

    @property
    def has_windows(self) -> bool:
        """Whether `result` is of any window."""
        if self._sample is not None and self._is_of_sample:
            return self._sample.has_windows
        return super().has_windows

    @property
    def is_whole(self) -> bool:
        """Whether no batch of windows is half added, to the sums or to those of the sample."""
        return super().is_whole and (self._sample is None or self._sample.is_whole)

    @property
    def n_bytes(self) -> int:
        """Upper limit of the memory of the sums, in bytes."""
        return super().n_bytes + (0 if self._sample is None else self._sample.n_bytes)

    def refine(
        self, cancelled: Callable[[], bool], n_windows: int | float = np.inf
    ) -> Iterator[TierScore]:
        """Yield the score after each further batch of windows; see `TierRun.refine`."""
        # Also where the sums of an earlier process begin with some windows of all targets.
        if self._sample is not None and self._is_of_sample:
            for _ in self._sample.refine(cancelled, min(PRELIMINARY, n_windows)):
                yield self.result()
        yield from super().refine(cancelled, n_windows)

    def result(self) -> TierScore:
        """Return the score of all targets; that of the sample while it is preliminary."""
        if self._sample is None:
            return super().result()
        first = self._sample.result()
        if not self._is_of_sample:
            return replace(super().result(), sample_steps=first.steps)
        n_targets = np.count_nonzero(scored_cells(self._mask).any(axis=0))
        sample = Sample(int(n_targets), self.n_windows)
        return replace(first, mask=self._mask, sample=sample, sample_steps=first.steps)

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

    def _result(self) -> TierScore:
        running, shard, n_windows = self._scores.running[0], self._scores.shard, self.n_windows
        score = next(iter(running.scores()), None)
        if n_windows and score is not None and not score.refusal:
            self._steps[n_windows] = score.value, score.left_out, score.train_left_out
        return TierScore(
            self._mask,
            shard.tier,
            score,
            tuple(running.behavior_scores()),
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
