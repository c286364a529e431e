"""Results of an evaluation: scores per session, condition and predictor."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from omnimouse_model.display import HasSummary, data_frame, interval_text
from omnimouse_model.metrics import (
    METRICS,
    Aggregate,
    AggregatePolicy,
    aggregate,
    overall_score,
)
from omnimouse_model.metrics.time_blocks import (
    CORRELATION_LIMITS,
    Estimate,
    jackknife,
    jackknife_gain,
)

if TYPE_CHECKING:
    import pandas

BASELINE = "linear-gaussian"
"""The predictor over which gains are reported."""

POOLED: Final = (
    "Pooled: about the means of the scored windows, because the predictor answers no "
    "window of the train tier, or the recording has none. Over few windows it is lower "
    "than a correlation about the means of the train tier: do not compare the two."
)
"""Reason of a score that is not centred."""


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Score over the samples of one group of stimuli.

    Attributes
    ----------
    group
        Name of the group, see `stimulus_groups`.
    value, ci_low, ci_high
        As in `Score`, over the samples of the group alone.
    n_samples
        Maximum number of scored samples per neuron.
    """

    group: str
    value: float
    ci_low: float
    ci_high: float
    n_samples: int
    per_neuron: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True)
class Score:
    """Score of one predictor in one condition of one session; see `Scores.metric`.

    Attributes
    ----------
    value
        Mean over neurons, weighted by number of scored samples; NaN if refused.
    ci_low, ci_high
        95 % interval of the score of these neurons in further windows, from leaving out
        blocks of time (see `jackknife`); NaN with fewer than 8 blocks, and for metrics
        of repeats.
    ceiling
        Score of the expected response on the same samples; known for simulated
        sessions, else NaN.
    neurons, per_neuron
        Target neurons, and their values of the metric (NaN: undefined).
    refusal
        Reason if there is no value, else "".
    note
        Adaptation of the strategy to a small population, and that the predictor reads
        nothing of what the strategy shows; else "".
    counts
        Scored samples of each neuron.
    groups
        Scores by group of stimuli, if requested.
    left_out
        float64 (n_blocks,): the score without each block of windows.
    centred, centred_left_out
        The same for correlations about fixed means: those of the train tier, for
        predictions over a fixed sample of its windows. Over few windows it is much
        less biased than `value`; NaN for other metrics.
    train_left_out
        float64 (n_windows,): the centred score without each window of this sample.
    centred_per_neuron
        Values of the neurons about the same means; empty for other metrics.
    slope_per_neuron
        Slope of recorded on predicted responses, 1 if calibrated; empty as above.
    metric
        Name of the metric.
    """

    session: str
    strategy: str
    predictor: str
    value: float
    ci_low: float
    ci_high: float
    ceiling: float
    n_windows: int
    neurons: np.ndarray = field(repr=False)
    per_neuron: np.ndarray = field(repr=False)
    refusal: str = ""
    note: str = ""
    counts: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    groups: tuple[GroupScore, ...] = ()
    left_out: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    centred: float = float("nan")
    centred_left_out: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    train_left_out: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    centred_per_neuron: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    slope_per_neuron: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    metric: str = "correlation"

    @property
    def centred_estimate(self) -> Estimate:
        """Centred score with its interval over time."""
        parts = self.centred_left_out, self.train_left_out
        return jackknife(self.centred, *parts, limits=CORRELATION_LIMITS)

    @property
    def is_pooled(self) -> bool:
        """Whether it is a correlation that has no centred score: see `POOLED`."""
        is_correlation = self.metric == "correlation" and not self.refusal
        return is_correlation and not np.isfinite(self.centred)

    @property
    def mouse(self) -> str:
        """Animal of the session: the first part of its id."""
        return self.session.partition("-")[0]

    @property
    def n_neurons(self) -> int:
        """Number of scored neurons: those with a recorded target, unless refused."""
        return int(np.count_nonzero(self.counts)) or len(self.neurons)

    def neurons_and_time(self) -> Estimate:
        """Return the score with its interval over further neurons and windows.

        Wider than `ci_low` to `ci_high`, which hold for these neurons. The variance
        between neurons is added; it contains some of that over time, so that the
        interval is slightly too wide with few windows.
        """
        values = self.per_neuron[np.isfinite(self.per_neuron)]
        between = float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
        return jackknife(
            self.value,
            self.left_out,
            unit="neurons and time",
            extra_variance=between,
            limits=METRICS[self.metric].limits,
        )


@dataclass(frozen=True, slots=True)
class BehaviorScore:
    """Correlation of one decoded channel over all samples of a session.

    If it was refused, the value is NaN and `refusal` is the reason. `ci_low` and
    `ci_high` as in `Score`.
    """

    session: str
    strategy: str
    predictor: str
    channel: str
    value: float
    n_windows: int
    refusal: str = ""
    ci_low: float = float("nan")
    ci_high: float = float("nan")


@dataclass(frozen=True, slots=True, repr=False)
class Scores(HasSummary):
    """All results of an evaluation.

    `metric` is the metric of the responses, see `metrics.named`; decoded behaviour is
    always scored by correlation.

    Examples
    --------
    >>> om.evaluate("last", session, "causal_response_25_behavior", max_windows=3)
    Scores: tier test; metric correlation; sessions 1; strategies 1; predictors 1
      last, causal_response_25_behavior: centred 0.371, pooled 0.229 (3 windows, \
40 neurons)
    """

    scores: tuple[Score, ...]
    behavior: tuple[BehaviorScore, ...]
    tier: str
    metric: str = "correlation"

    def _facts(self) -> dict[str, str]:
        names = {
            "sessions": {score.session for score in self.scores},
            "strategies": {score.strategy for score in self.scores},
            "predictors": {score.predictor for score in self.scores},
        }
        counts = {name: str(len(values)) for name, values in names.items()}
        return {"tier": self.tier, "metric": self.metric, **counts}

    def _lines(self) -> list[tuple[str, str]]:
        several = len({score.session for score in self.scores}) > 1
        lines = []
        rows: tuple[Score | BehaviorScore, ...] = (*self.scores, *self.behavior)
        for row in rows:
            parts = [row.predictor, row.strategy, *([row.session] if several else [])]
            sizes = f"{row.n_windows} windows"
            if isinstance(row, BehaviorScore):
                parts.append(row.channel)
            else:
                sizes += f", {row.n_neurons:,} neurons"
            value = interval_text(row.value, row.ci_low, row.ci_high)
            if isinstance(row, Score) and np.isfinite(row.centred):
                # First, because the user interface shows it.
                centred = row.centred_estimate
                text = interval_text(centred.value, centred.low, centred.high)
                value = f"centred {text}, pooled {value}"
            lines.append((", ".join(parts), row.refusal or f"{value} ({sizes})"))
        return lines

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return a pandas table of `rows()`; the column `unit` has the unit of `value`.

        Examples
        --------
        >>> strategy = "causal_response_25_behavior"
        >>> found = om.evaluate("last", session, strategy, max_windows=3)
        >>> found.to_dataframe()[["name", "unit"]].values.tolist()
        [['score', 'single-trial correlation']]
        """
        return data_frame(self.rows())

    def find(self, strategy: str, predictor: str, session: str | None = None) -> Score:
        """Return the score of a condition and a predictor, or raise `KeyError`."""
        for score in self._of(strategy, predictor):
            if session in (None, score.session):
                return score
        raise KeyError(f"No score of {predictor!r} in {strategy!r} for {session!r}.")

    def overall(self, strategy: str, predictor: str) -> float:
        """Return the mean over sessions weighted by neurons; NaN if one was refused."""
        scores = self._of(strategy, predictor)
        values = np.array([score.value for score in scores])
        return overall_score(values, np.array([s.n_neurons for s in scores]))

    def aggregate(
        self, strategy: str, predictor: str, policy: AggregatePolicy = "omnimouse"
    ) -> Aggregate:
        """Return the mean over sessions and neurons with its policy and exclusions."""
        scores = self._of(strategy, predictor)
        values = [score.per_neuron for score in scores]
        return aggregate(values, [score.counts for score in scores], policy)

    def interval(self, strategy: str, predictors: Sequence[str]) -> Estimate:
        """Return the mean over sessions with its 95 % interval.

        Of one mouse, blocks of time are left out, with neurons fixed; of several mice,
        each mouse in turn, with all of its sessions.

        Parameters
        ----------
        predictors
            One predictor, or several seeds (trainings) of one model that were scored on
            the same sessions. The result is NaN if one refused.
        """
        by_seed = [self._of(strategy, name) for name in predictors]
        # From [seed][session] to [session][seed].
        sessions = list(zip(*by_seed, strict=True))
        # A mean over the other sessions would not be comparable.
        if any(score.refusal for seeds in sessions for score in seeds):
            return jackknife(float("nan"), [])
        mice = [seeds[0].mouse for seeds in sessions]
        values = np.array([np.mean([s.value for s in seeds]) for seeds in sessions])
        weights = np.array([seeds[0].n_neurons for seeds in sessions])
        value, limits = overall_score(values, weights), METRICS[self.metric].limits
        if len(set(mice)) > 1:
            without_one_mouse = [np.array(mice) != mouse for mouse in dict.fromkeys(mice)]
            left_out = [overall_score(values[k], weights[k]) for k in without_one_mouse]
            return jackknife(value, left_out, unit="mice", min_units=2, limits=limits)
        if len(sessions) > 1:
            # Blocks of different sessions are left out one by one.
            left_out = []
            for place, seeds in enumerate(sessions):
                for part in _mean_left_out(seeds):
                    changed = np.where(np.arange(len(values)) == place, part, values)
                    left_out.append(overall_score(changed, weights))
            return jackknife(value, left_out, limits=limits)
        return jackknife(value, _mean_left_out(sessions[0]), limits=limits)

    def gain(self, score: Score, baseline: str) -> Estimate:
        """Return the paired difference of a score from a baseline, with its interval.

        Both are scored on the same neurons and windows, and the same blocks are left
        out of both. NaN if one of them refused.
        """
        other = self.find(score.strategy, baseline, score.session)
        both = ((one.value, one.left_out) for one in (score, other))
        return jackknife_gain(*both, limits=METRICS[self.metric].limits)

    def centred_gain(self, score: Score, baseline: str) -> Estimate:
        """Return the paired difference of a centred score from that of a baseline."""
        other = self.find(score.strategy, baseline, score.session)
        both = ((one.centred, one.centred_left_out, one.train_left_out) for one in (score, other))
        return jackknife_gain(*both, limits=CORRELATION_LIMITS)

    @property
    def baseline(self) -> str:
        """Baseline of the gains: `linear-gaussian` where it was scored, else ""."""
        names = {score.predictor for score in self.scores}
        return BASELINE if BASELINE in names else ""

    def _of(self, strategy: str, predictor: str) -> list[Score]:
        """Return the scores of a condition and a predictor in all sessions."""
        scores = [
            score
            for score in self.scores
            if (score.strategy, score.predictor) == (strategy, predictor)
        ]
        if not scores:
            raise KeyError(f"No score of {predictor!r} in {strategy!r}.")
        return scores

    def rows(self) -> list[dict[str, object]]:
        """Return rows of `--json`: `score`, `stimulus_score`, `behavior`, `overall`.

        A missing value is None. `overall` rows need two sessions or more.
        """
        rows = [
            self._row("score", score)
            | _details(score)
            | _centred(score.centred_estimate)
            | self._gain(score)
            for score in self.scores
        ]
        rows += [
            self._row("score", score)
            | _details(score)
            | _numbers(part.value, part.ci_low, part.ci_high)
            # The ceiling is computed over all samples, not by group.
            | {"name": "stimulus_score", "stimulus": part.group, "ceiling": None}
            | {"n_samples": part.n_samples}
            for score in self.scores
            for part in score.groups
        ]
        rows += [
            self._row("behavior", score)
            | {"unit": "correlation", "metric": "correlation", "channel": score.channel}
            | {"n_windows": score.n_windows, "refusal": score.refusal}
            | _numbers(score.value, score.ci_low, score.ci_high)
            for score in self.behavior
        ]
        return rows + self._overall_rows()

    def _row(self, name: str, score: Score | BehaviorScore) -> dict[str, object]:
        return {
            "name": name,
            "value": number_or_none(score.value),
            "unit": METRICS[self.metric].unit,
            "metric": self.metric,
            "predictor": score.predictor,
            "strategy": score.strategy,
            "session": score.session,
            "tier": self.tier,
        }

    def _gain(self, score: Score) -> dict[str, object]:
        names = ["gain", "gain_ci_low", "gain_ci_high"]
        names += [f"centred_{name}" for name in names]
        if not self.baseline or score.predictor == self.baseline:
            return {**dict.fromkeys(names), "baseline": None}
        gains = self.gain(score, self.baseline), self.centred_gain(score, self.baseline)
        numbers = [
            number_or_none(number) for gain in gains for number in (gain.value, gain.low, gain.high)
        ]
        return {**dict(zip(names, numbers, strict=True)), "baseline": self.baseline}

    def _overall_rows(self) -> list[dict[str, object]]:
        sessions = {score.session for score in self.scores}
        # With one session the row would repeat its score.
        if len(sessions) < 2:
            return []
        rows: list[dict[str, object]] = []
        # A dict keeps the order of the scores and drops repeats over sessions.
        by_task = {(s.strategy, s.predictor): s for s in self.scores}
        for (strategy, predictor), score in by_task.items():
            interval = self.interval(strategy, [predictor])
            mean = self.aggregate(strategy, predictor)
            row = self._row("overall", score)
            # The mean belongs to no single session.
            del row["session"]
            rows.append(
                row
                | _numbers(interval.value, interval.low, interval.high)
                | {
                    "n_sessions": len(sessions),
                    "n_neurons": mean.n_neurons,
                    "resampled": interval.unit,
                    "definition": mean.definition,
                }
            )
        return rows


def _mean_left_out(seeds: Sequence[Score]) -> np.ndarray:
    """Return the score without each block of time, averaged over seeds, (n_blocks,)."""
    return np.asarray(np.mean([score.left_out for score in seeds], axis=0))


def _details(score: Score) -> dict[str, object]:
    return {
        "n_neurons": score.n_neurons,
        "n_windows": score.n_windows,
        **_numbers(score.value, score.ci_low, score.ci_high),
        "resampled": "time",
        "ceiling": number_or_none(score.ceiling),
        "refusal": score.refusal,
        "note": score.note,
    }


def _centred(estimate: Estimate) -> dict[str, object]:
    names = ("centred", "centred_ci_low", "centred_ci_high")
    numbers = map(number_or_none, (estimate.value, estimate.low, estimate.high))
    return dict(zip(names, numbers, strict=True))


def _numbers(value: float, low: float, high: float) -> dict[str, object]:
    names = ("value", "ci_low", "ci_high")
    return dict(zip(names, map(number_or_none, (value, low, high)), strict=True))


def number_or_none(value: float) -> float | None:
    """Return a float, or None for NaN and infinity, which JSON does not allow."""
    return float(value) if np.isfinite(value) else None
