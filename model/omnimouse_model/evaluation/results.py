"""Results of an evaluation: scores per session, condition and predictor.

The file is long because scores, their table and their text are one result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from omnimouse_model.data.neurons import Units
from omnimouse_model.display import (
    HasSummary,
    data_frame,
    interval_text,
    is_no_difference,
    number_text,
)
from omnimouse_model.evaluation.results_store import number
from omnimouse_model.metrics import METRICS, Aggregate, AggregatePolicy, aggregate, overall_score
from omnimouse_model.metrics.time_blocks import (
    CORRELATION_LIMITS,
    NO_LIMITS,
    Estimate,
    jackknife,
    jackknife_gain,
    student_quantile,
)
from omnimouse_model.storage.tables import write_table

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
CEILING: Final = (
    "of the same target neurons and samples, from the simulator's expected response; with "
    "any visible neurons, all that neurons share counts as known: it is equal for few and many"
)
"""What a ceiling is, and why it does not rise with the number of visible neurons."""


_NOTES = {
    "score": (
        "single-trial Pearson correlation about the means of the train tier, or the "
        "value of the metric that `metric` names, over all scored samples of all "
        "windows, null where it is undefined"
    ),
    "ci_low": "lower end of the 95 % interval of the score over time",
    "ci_high": "upper end of the 95 % interval of the score over time",
    "pooled": "the correlation about the means of the scored windows, as published",
    "n_samples": "samples that it was scored on",
    "status": "ok, constant (scored, but prediction or recording never changed), empty",
    "stimulus": "empty for all samples, else those under this kind of stimulus alone",
}
"""Meaning of the columns of `neuron_columns`, in files."""


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

    *The* score is the mean over neurons, weighted by number of scored samples. Its
    correlations are about fixed means, those of the train tier, so that few windows
    give hardly lower values than many. Correlations about the means of the scored
    windows, as published, are always called pooled.

    Attributes
    ----------
    value, ci_low, ci_high
        The score, NaN if refused, and its 95 % interval for these neurons in further
        windows, from leaving out blocks of time (see `jackknife`); NaN with fewer than
        8 blocks, and for metrics of repeats.
    ceiling
        Score of the expected response on the same samples, see `CEILING`; known for
        simulated sessions, else NaN.
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
    left_out, train_left_out
        float64 (n_blocks,), (n_windows,): the score without each block of windows, and
        without each of the train windows that give the mean predictions.
    error_per_neuron
        Standard error over time of each of `per_neuron`; NaN with fewer than 8 blocks.
    pooled, pooled_ci_low, pooled_ci_high, pooled_per_neuron, pooled_left_out
        The same of the pooled correlation; of other metrics NaN and empty.
    slope_per_neuron
        Slope of recorded on predicted responses about the same means as the centred
        correlation, 1 if calibrated; empty of pooled scores.
    metric
        Name of the metric.
    is_centred
        Whether the score is a correlation about the means of the train tier.
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
    train_left_out: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    error_per_neuron: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    pooled: float = float("nan")
    pooled_ci_low: float = float("nan")
    pooled_ci_high: float = float("nan")
    pooled_per_neuron: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    pooled_left_out: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    slope_per_neuron: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    metric: str = "correlation"
    is_centred: bool = False

    @property
    def is_pooled(self) -> bool:
        """Whether it is a correlation that is not centred: see `POOLED`."""
        return self.metric == "correlation" and not self.refusal and not self.is_centred

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
            self.train_left_out,
            unit="neurons and time",
            extra_variance=between,
            limits=METRICS[self.metric].limits,
        )


@dataclass(frozen=True, slots=True)
class BehaviorScore:
    """Correlation of one decoded channel over all samples of a session.

    If it was refused, the value is NaN and `refusal` is the reason. `ci_low`, `ci_high`
    and `left_out` as in `Score`.
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
    left_out: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    def gain(self, other: "BehaviorScore") -> Estimate:
        """Return this correlation minus another one of the same channel and windows."""
        both = (self.value, self.left_out), (other.value, other.left_out)
        return jackknife_gain(*both, limits=CORRELATION_LIMITS)


# -- a score, or a difference of scores, over sessions ---------------------------------
class SessionPart(NamedTuple):
    """A value of one session, and the same without each block, as in `Score`."""

    value: float
    left_out: np.ndarray
    train_left_out: np.ndarray
    mouse: str
    weight: float = 1.0


def over_sessions(
    parts: Sequence[SessionPart],
    *,
    limits: tuple[float, float] = NO_LIMITS,
    is_extended: bool = True,
) -> Estimate:
    """Return the weighted mean over sessions with its 95 % interval.

    Of one mouse, blocks of time are left out, with neurons fixed; of several mice, each
    mouse in turn, with all of its sessions.

    Parameters
    ----------
    limits, is_extended
        As in `jackknife`.
    """
    mice = np.array([part.mouse for part in parts])
    values = np.array([part.value for part in parts])
    weights = np.array([part.weight for part in parts])
    value = overall_score(values, weights)
    if len(parts) == 1:
        # The train windows of a session, too: its mean prediction varies with them.
        _, left_out, train_left_out, *_ = parts[0]
        return jackknife(value, left_out, train_left_out, limits=limits, is_extended=is_extended)
    if len(set(mice.tolist())) > 1:
        kept = [mice != mouse for mouse in dict.fromkeys(mice.tolist())]
        rest = [overall_score(values[k], weights[k]) for k in kept]
        return jackknife(
            value, rest, unit="mice", min_units=2, limits=limits, is_extended=is_extended
        )
    # Blocks of different sessions are left out one by one.
    rest = []
    for place, part in enumerate(parts):
        for without in part.left_out:
            changed = np.where(np.arange(len(values)) == place, without, values)
            rest.append(overall_score(changed, weights))
    return jackknife(value, rest, limits=limits, is_extended=is_extended)


@dataclass(frozen=True, slots=True, repr=False)
class Scores(HasSummary):
    """All results of an evaluation.

    `metric` is the metric of the responses, see `metrics.named`; decoded behaviour is
    always scored by correlation. `units` are those of the sessions, by id.

    Examples
    --------
    >>> om.evaluate("last", session, "causal_response_25_behavior", max_windows=3)
    Scores: tier test; metric correlation; sessions 1; strategies 1; predictors 1
      last, causal_response_25_behavior: 0.371, pooled 0.229 (3 windows, 40 neurons)
    """

    scores: tuple[Score, ...]
    behavior: tuple[BehaviorScore, ...]
    tier: str
    metric: str = "correlation"
    units: Mapping[str, Units] = field(default_factory=dict, repr=False, compare=False)

    def _all(self) -> tuple[Score | BehaviorScore, ...]:
        return (*self.scores, *self.behavior)

    def _facts(self) -> dict[str, str]:
        rows = self._all()
        names = {
            "sessions": {row.session for row in rows},
            "strategies": {row.strategy for row in rows},
            "predictors": {row.predictor for row in rows},
        }
        counts = {name: str(len(values)) for name, values in names.items()}
        has_intervals = any(np.isfinite(row.ci_low) for row in rows)
        intervals = {"intervals": "95 % over time"} if has_intervals else {}
        return {"tier": self.tier, "metric": self.metric, **counts, **intervals}

    def _lines(self) -> list[tuple[str, str]]:
        several = len({row.session for row in self._all()}) > 1
        lines = []
        for row in self._all():
            parts = [row.predictor, row.strategy, *([row.session] if several else [])]
            sizes = f"{row.n_windows} windows"
            if isinstance(row, BehaviorScore):
                parts.append(row.channel)
            else:
                sizes += f", {row.n_neurons:,} neurons"
            value = interval_text(row.value, row.ci_low, row.ci_high)
            if isinstance(row, Score) and self.baseline not in ("", row.predictor):
                gain = self.gain(row, self.baseline)
                if is_no_difference(gain.low, gain.high):
                    value += f", no difference from {self.baseline}"
                elif np.isfinite(gain.value):
                    told = interval_text(gain.value, gain.low, gain.high)
                    value += f", gain over {self.baseline} {told}"
            if isinstance(row, Score) and row.is_centred:
                value += f", pooled {number_text(row.pooled, 3)}"
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

    def neurons(self) -> "pandas.DataFrame":
        """Return a pandas table with one row per neuron, condition and predictor.

        Columns: `session`, `tier`, `metric`, `strategy`, `predictor`, `stimulus` (""
        for all samples), `neuron` (index), `unit_id`, `area`, `plane`, `depth_um`,
        `score` with `ci_low` and `ci_high` (95 % over time; NaN with fewer than 8
        blocks), `pooled`, `n_samples`, `status`.

        Examples
        --------
        >>> strategy = "causal_response_25_behavior"
        >>> table = om.evaluate("last", session, strategy, max_windows=3).neurons()
        >>> len(table), table.score.idxmax()
        (40, 2)
        """
        return data_frame(neuron_columns(self))

    def find(self, strategy: str, predictor: str, session: str | None = None) -> Score:
        """Return the score of a condition and a predictor, or raise `KeyError`."""
        for score in self._of(strategy, predictor):
            if session in (None, score.session):
                return score
        raise KeyError(f"No score of {predictor!r} in {strategy!r} for {session!r}.")

    def overall(self, strategy: str, predictor: str, *, pooled: bool = False) -> float:
        """Return the mean over sessions weighted by neurons; NaN if one was refused.

        `pooled` correlations are for comparison with published numbers.
        """
        scores = self._of(strategy, predictor)
        values = np.array([score.pooled if pooled else score.value for score in scores])
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
        parts = [
            SessionPart(
                float(np.mean([score.value for score in seeds])),
                np.mean([score.left_out for score in seeds], axis=0),
                np.mean([score.train_left_out for score in seeds], axis=0),
                seeds[0].mouse,
                seeds[0].n_neurons,
            )
            for seeds in sessions
        ]
        return over_sessions(parts, limits=METRICS[self.metric].limits)

    def gain(self, score: Score, baseline: str, *, pooled: bool = False) -> Estimate:
        """Return the paired difference of a score from a baseline, with its interval.

        Both are scored on the same neurons and windows, and the same blocks are left
        out of both. NaN if one of them refused or has no score, or only one is centred.

        Raises
        ------
        KeyError
            The baseline has no scores at all; the message lists the predictors.
        """
        wanted = score.session, score.strategy, baseline
        found = (s for s in self.scores if (s.session, s.strategy, s.predictor) == wanted)
        # In a task of behaviour, a model of windows without it is refused, and has a row.
        if (other := next(found, None)) is None:
            names = dict.fromkeys(s.predictor for s in self.scores)
            if baseline not in names:
                raise KeyError(f"No score of {baseline!r}; there are {', '.join(names)}.")
            return jackknife(float("nan"), [])
        if pooled:
            both = [(one.pooled, one.pooled_left_out) for one in (score, other)]
            return jackknife_gain(*both, limits=CORRELATION_LIMITS)
        if score.is_centred != other.is_centred:
            return jackknife(float("nan"), [])
        parts = [(one.value, one.left_out, one.train_left_out) for one in (score, other)]
        return jackknife_gain(*parts, limits=METRICS[self.metric].limits)

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
        metric = METRICS[self.metric]

        def row(name: str, score: Score | BehaviorScore) -> dict[str, object]:
            return {
                "name": name,
                "value": number_or_none(score.value),
                "unit": metric.unit,
                "metric": self.metric,
                "predictor": score.predictor,
                "strategy": score.strategy,
                "session": score.session,
                "tier": self.tier,
            }

        def of_responses(name: str, score: Score) -> dict[str, object]:
            return {
                **row(name, score),
                "n_neurons": score.n_neurons,
                "n_windows": score.n_windows,
                **interval_row(score.value, score.ci_low, score.ci_high),
                "resampled": "time",
                "ceiling": number_or_none(score.ceiling),
                "refusal": score.refusal,
                "note": score.note,
            }

        rows = [
            of_responses("score", score)
            | interval_row(score.pooled, score.pooled_ci_low, score.pooled_ci_high, "pooled")
            | self._gain(score)
            for score in self.scores
        ]
        rows += [
            of_responses("stimulus_score", score)
            | interval_row(part.value, part.ci_low, part.ci_high)
            # The ceiling is computed over all samples, not by group.
            | {"stimulus": part.group, "ceiling": None, "n_samples": part.n_samples}
            for score in self.scores
            for part in score.groups
        ]
        rows += [
            row("behavior", score)
            | {"unit": "correlation", "metric": "correlation", "channel": score.channel}
            | {"n_windows": score.n_windows, "refusal": score.refusal}
            | interval_row(score.value, score.ci_low, score.ci_high)
            for score in self.behavior
        ]
        sessions = {score.session for score in self.scores}
        # With one session an overall row would repeat its score. A dict keeps the order of
        # the scores and drops repeats over sessions.
        tasks = dict.fromkeys((s.strategy, s.predictor) for s in self.scores)
        for strategy, predictor in tasks if len(sessions) > 1 else ():
            interval = self.interval(strategy, [predictor])
            mean = self.aggregate(strategy, predictor)
            rows.append(
                {
                    "name": "overall",
                    "value": number_or_none(interval.value),
                    "unit": metric.unit,
                    "metric": self.metric,
                    "predictor": predictor,
                    "strategy": strategy,
                    "tier": self.tier,
                    **interval_row(interval.value, interval.low, interval.high),
                    "n_sessions": len(sessions),
                    "n_neurons": mean.n_neurons,
                    "resampled": interval.unit,
                    "definition": mean.definition,
                }
            )
        return rows

    def _gain(self, score: Score) -> dict[str, object]:
        kinds = {"gain": False, "pooled_gain": True}
        if not self.baseline or score.predictor == self.baseline:
            names = [f"{kind}{end}" for kind in kinds for end in ("", "_ci_low", "_ci_high")]
            return {**dict.fromkeys(names), "baseline": None}
        row: dict[str, object] = {}
        for kind, is_pooled in kinds.items():
            gain = self.gain(score, self.baseline, pooled=is_pooled)
            row |= interval_row(gain.value, gain.low, gain.high, kind)
        return row | {"baseline": self.baseline}


def interval_row(value: float, low: float, high: float, name: str = "") -> dict[str, object]:
    """Return a value and the ends of its interval by column of `--json`; `name` is their prefix."""
    names = (name, f"{name}_ci_low", f"{name}_ci_high") if name else ("value", "ci_low", "ci_high")
    return dict(zip(names, map(number_or_none, (value, low, high)), strict=True))


def number_or_none(value: float | np.floating[Any]) -> float | None:
    """Return a float, or None for NaN and infinity, which JSON does not allow."""
    return float(value) if np.isfinite(value) else None


def json_values(value: Any) -> Any:
    """Return dataclasses, mappings, lists and arrays as JSON values; NaN as in `number_or_none`."""
    if is_dataclass(value):
        value = {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, Mapping):
        return {name: json_values(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [json_values(one) for one in value]
    return number_or_none(value) if isinstance(value, float | np.floating) else value


_OLD = ("centred", "centred_left_out", "centred_per_neuron")
"""Fields of older rows, whose keys no shard has: they can be read, and are not used."""


def score_arguments(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a kind of score from its JSON values, also from a part of them."""
    kinds = {one.name: one.type for one in fields(kind)}

    def parsed(name: str, value: Any) -> Any:
        if kinds.get(name) is np.ndarray:
            numbers = np.array([number(one) for one in value], np.float64)
            # Older files hold whole numbers as floats, too.
            return numbers.astype(np.int64) if name in ("counts", "neurons") else numbers
        if name == "groups":
            return tuple(GroupScore(**score_arguments(GroupScore, one)) for one in value)
        return number(value) if kinds.get(name) is float else value

    return {name: parsed(name, value) for name, value in values.items() if name not in _OLD}


# -- table of neurons ------------------------------------------------------------
def neuron_columns(results: Scores) -> dict[str, np.ndarray]:
    """Return columns, one row per session, strategy, predictor, stimulus and neuron."""
    parts = [
        part for score in results.scores if not score.refusal for part in _parts(score, results)
    ]
    names = parts[0] if parts else {}
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def write_neurons(results: Scores, path: str | Path) -> Path:
    """Write `neuron_columns` as Parquet if the name ends so, otherwise as CSV.

    Examples
    --------
    >>> last = om.load_predictor("last")
    >>> found = om.evaluate(last, session, "causal_response_25_behavior", max_windows=3)
    >>> om.write_neurons(found, "neurons.parquet").name
    'neurons.parquet'

    Raises
    ------
    ExportError
        pyarrow is missing.
    """
    return write_table(path, neuron_columns(results), _NOTES)


def _parts(score: Score, results: Scores) -> list[dict[str, np.ndarray]]:
    n = len(score.neurons)
    unknown = np.full(n, np.nan)
    pooled = score.pooled_per_neuron if len(score.pooled_per_neuron) else unknown
    error = score.error_per_neuron if len(score.error_per_neuron) else unknown
    width = student_quantile(max(len(score.left_out) - 1, 1)) * error
    each = [("", score.per_neuron, width, pooled, score.counts)]
    each += [(g.group, g.per_neuron, unknown, unknown, g.counts) for g in score.groups]
    where = _facts_of(results.units.get(score.session), score.neurons)
    lowest, highest = METRICS[score.metric].limits
    parts = []
    # One part for all samples (stimulus ""), and one per group of stimuli.
    for stimulus, values, half, of_pooled, counts in each:
        status = np.where(counts == 0, "empty", np.where(np.isnan(values), "constant", "ok"))
        parts.append(
            {
                "session": np.full(n, score.session),
                "tier": np.full(n, results.tier),
                "metric": np.full(n, results.metric),
                "strategy": np.full(n, score.strategy),
                "predictor": np.full(n, score.predictor),
                "stimulus": np.full(n, stimulus),
                "neuron": score.neurons,
                **where,
                "score": values,
                "ci_low": np.maximum(values - half, lowest),
                "ci_high": np.minimum(values + half, highest),
                "pooled": of_pooled,
                "n_samples": np.asarray(counts, np.int64),
                "status": status,
            }
        )
    return parts


def _facts_of(units: Units | None, neurons: np.ndarray) -> dict[str, np.ndarray]:
    """Return name, area, plane and depth of neurons; unknown without their units."""
    n = len(neurons)
    if units is None:
        nothing, unknown = np.full(n, ""), np.full(n, np.nan)
        return {"unit_id": neurons, "area": nothing, "plane": np.full(n, -1), "depth_um": unknown}
    areas = np.full(len(units), "") if units.area is None else units.area.astype(str)
    return {
        "unit_id": np.asarray(units.names)[neurons],
        "area": areas[neurons],
        "plane": np.asarray(units.plane)[neurons],
        "depth_um": np.asarray(units.xyz_um)[neurons, 2],
    }
