"""Metrics by name, accuracy of choices, averages over neurons and sessions, summaries.

`evaluate` and context sweeps take the names of `METRICS`. Values are computed per neuron
from float64 sums over windows (moments of the prediction r and the recording y, and for
counts the gain in Poisson log likelihood), CC_norm from the repeats of stimuli.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Bool, Shaped

from omnimouse_model.display import number_text
from omnimouse_model.metrics.correlation import Moments, Status
from omnimouse_model.metrics.information import ZERO_RATE, Number
from omnimouse_model.metrics.time_blocks import CORRELATION_LIMITS, NO_LIMITS

PerNeuron = Callable[[Moments, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of responses.

    Attributes
    ----------
    unit, definition
        Unit of its values, and one sentence with the formula.
    symbol
        Short name on plots and beside numbers.
    per_neuron
        Value (n,) from moments and Poisson gains in nats (n,); NaN where undefined.
        None for a metric of repeats, which needs all repeats of a stimulus together.
    needs
        "counts" (recorded spike times), "repeats" of stimuli, or "" for any recording.
    direction
        Whether higher or lower values are better.
    limits
        Smallest and largest possible value; no interval goes beyond them.
    """

    name: str
    unit: str
    definition: str
    per_neuron: PerNeuron | None
    symbol: str
    needs: Literal["", "counts", "repeats"] = ""
    direction: Literal["higher", "lower"] = "higher"
    limits: tuple[float, float] = NO_LIMITS

    def text(self, value: float, digits: int = 2, equals: str = " = ") -> str:
        """Return a value with its symbol, for example "r = 0.43".

        `equals` stands between symbol and value where the symbol comes first.

        Examples
        --------
        >>> from omnimouse_model.metrics.named import METRICS
        >>> METRICS["correlation"].text(0.431), METRICS["bits_per_spike"].text(0.2)
        ('r = 0.43', '0.20 bits/spike')
        """
        return self.named(number_text(value, digits), equals)

    def named(self, number: str, equals: str = " = ") -> str:
        """Return a number, as text, with the symbol of the metric."""
        # A unit follows its number, the name of a quantity precedes it.
        if self.unit == self.symbol.replace("/", " per "):
            return f"{number} {self.symbol}"
        return f"{self.symbol}{equals}{number}"


def _pearson(sums: Moments, gain: np.ndarray) -> np.ndarray:
    return sums.pearson()


def _explained(sums: Moments, gain: np.ndarray) -> np.ndarray:
    """Return 1 - SSE / SST; NaN for a constant or missing recording."""
    # SSE from the moments: the squared deviations of r - y from its mean, and the
    # difference of the means.
    offset = sums.mean_prediction - sums.mean_target
    error = sums.square_prediction + sums.square_target - 2 * sums.product
    error = error + sums.count * offset**2
    is_moving = ~np.isin(sums.status(), ["empty", "constant_target"])
    total = np.where(is_moving, sums.square_target, 1.0)
    return np.where(is_moving, 1 - error / total, np.nan)


def _bits(sums: Moments, gain: np.ndarray) -> np.ndarray:
    """Return the gain in bits per recorded spike; NaN for a silent neuron."""
    # The moments hold counts per bin, so count times mean is the number of spikes.
    spikes = sums.count * sums.mean_target
    is_active = spikes > 0
    bits = gain / (np.where(is_active, spikes, 1) * np.log(2))
    return np.where(is_active, bits, np.nan)


def poisson_gain(rates: np.ndarray, counts: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return the Poisson log likelihood of rates minus that of a null rate, in nats.

    All in counts per bin. Rates of 0 become 1e-9; the factorial terms cancel.
    """
    rates = np.where(rates == 0, ZERO_RATE, np.asarray(rates, np.float64))
    null = np.where(null == 0, ZERO_RATE, np.asarray(null, np.float64))
    return np.asarray(counts * np.log(rates / null) - (rates - null))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "correlation",
            "single-trial correlation",
            "cov(r, y) / (sd(r) sd(y)) over all scored samples of a neuron, without "
            "averaging over repeats (no unit, -1 to 1, higher is better)",
            _pearson,
            "r",
            limits=CORRELATION_LIMITS,
        ),
        Metric(
            "cc_norm",
            "normalised correlation",
            "CC_abs / CC_max over the repeated stimuli: correlation of the means over "
            "repeats, divided by that of a perfect prediction; neurons without a "
            "ceiling are left out (no unit, 1 is perfect, higher is better)",
            None,
            "CC_norm",
            needs="repeats",
        ),
        Metric(
            "fve",
            "fraction of variance explained",
            "1 - sum (y - r)^2 / sum (y - mean y)^2 over all scored samples of a "
            "neuron (no unit, at most 1, higher is better)",
            _explained,
            "FVE",
            limits=(-np.inf, 1.0),
        ),
        Metric(
            "bits_per_spike",
            "bits per spike",
            "(L(r) - L(m)) / (n_spikes ln 2) with L the sum of y ln(r) - r, r and y in "
            "counts per bin, and m the mean rate of the neuron over the train tier "
            "(bits per spike, higher is better)",
            _bits,
            "bits/spike",
            needs="counts",
        ),
    )
}
"""All metrics, in the order in which they are listed for the user."""


def named_metric(name: str) -> Metric:
    """Return a metric by its name; raise ValueError for an unknown name.

    Examples
    --------
    >>> from omnimouse_model.metrics import named_metric
    >>> named_metric("fve").unit
    'fraction of variance explained'
    """
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}; there are {', '.join(METRICS)}.")
    return METRICS[name]


# -- accuracy of decoded choices of trials --------------------------------------------
Z_95: Final = 1.959964
"""Quantile 0.975 of the normal distribution."""


def accuracy(
    chosen: Shaped[np.ndarray, " trial"], target: Shaped[np.ndarray, " trial"], *, balanced: bool
) -> Number:
    """Share of correct choices, plain or balanced over the true choices.

    Balanced accuracy is the mean of the shares of each true choice. The two differ
    strongly if one choice is rare, so state which one a value is.
    """
    chosen, target = np.asarray(chosen), np.asarray(target)
    if not len(target):
        return Number(float("nan"), Status.EMPTY)
    right = chosen == target
    if not balanced:
        return Number(float(right.mean()), Status.OK)
    shares = [right[target == choice].mean() for choice in np.unique(target)]
    return Number(float(np.mean(shares)), Status.OK)


def accuracy_interval(right: Bool[np.ndarray, " trial"]) -> tuple[float, float]:
    """Return the 95 % interval of a share of correct choices, after Wilson (1927).

    A bootstrap gives a share of 1 an interval without width.

    Parameters
    ----------
    right
        Whether the choice of each trial is correct; one or more trials.

    Examples
    --------
    >>> from omnimouse_model.metrics.named import accuracy_interval
    >>> low, high = accuracy_interval(np.ones(30, bool))
    >>> round(low, 3), round(high, 3)
    (0.886, 1.0)
    """
    n, share = len(right), float(right.mean())
    square = Z_95**2 / n
    centre = share + square / 2
    half = Z_95 * sqrt(share * (1 - share) / n + square / (4 * n))
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    # Rounding can take a share of 0 or 1 over the edge.
    return max(0.0, low), min(1.0, high)


# -- averages over neurons and sessions, with policies for undefined values -----------
# Values are strict correlations: NaN where undefined. `counts` is the number of scored
# samples of each neuron. It distinguishes a constant neuron (samples, but no correlation)
# from a neuron without scored samples.
AggregatePolicy = Literal["omnimouse", "sensorium", "strict", "mice"]
POLICIES: dict[AggregatePolicy, str] = {
    "omnimouse": (
        "mean over neurons weighted by their scored samples (a constant neuron is 0), "
        "then over sessions weighted by neurons"
    ),
    "sensorium": "mean over all neurons of all sessions (a constant neuron is 0)",
    "strict": "mean over all neurons of all sessions (a constant neuron is left out)",
    "mice": "mean over sessions of each one's mean (a constant neuron is 0)",
}
"""Description of each policy, to be printed beside its number."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An average over neurons, with its policy and the number of excluded neurons.

    Attributes
    ----------
    value
        NaN if no neuron counts.
    n_neurons, n_excluded
        Neurons that count, and neurons that were left out.
    """

    value: float
    policy: AggregatePolicy
    n_neurons: int
    n_excluded: int

    @property
    def definition(self) -> str:
        """Description of the policy, with the number of excluded neurons."""
        return f"{POLICIES[self.policy]}; {self.n_excluded} neurons left out"


def aggregate(
    values: Sequence[np.ndarray],
    counts: Sequence[np.ndarray] | None = None,
    policy: AggregatePolicy = "omnimouse",
) -> Aggregate:
    """Average the neurons of several sessions.

    Parameters
    ----------
    values
        (neuron,) correlations of each session, NaN where undefined.
    counts
        Scored samples of each neuron; if None, every neuron counts as scored.
    """
    if counts is None:
        counts = [np.ones(len(scores)) for scores in values]
    counted = [_counted(v, c, policy) for v, c in zip(values, counts, strict=True)]
    n_counted = sum(len(scores) for scores, _ in counted)
    n_excluded = sum(len(scores) for scores in values) - n_counted
    return Aggregate(_value(counted, policy), policy, n_counted, n_excluded)


def _counted(
    values: np.ndarray, counts: np.ndarray, policy: AggregatePolicy
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values and weights of the neurons that count."""
    values = np.asarray(values, np.float64)
    # A neuron without scored samples never counts. A constant neuron has samples, but
    # no correlation: it scores 0, except under the policy that leaves it out.
    counted = np.asarray(counts) > 0
    if policy == "strict":
        counted &= np.isfinite(values)
    return np.nan_to_num(values[counted]), np.asarray(counts, np.float64)[counted]


def _value(counted: list[tuple[np.ndarray, np.ndarray]], policy: AggregatePolicy) -> float:
    # A session without counted neurons has no mean of its own; left in, it would turn
    # the mean over sessions into NaN.
    sessions = [(values, weights) for values, weights in counted if len(values)]
    if not sessions:
        return float("nan")
    if policy in ("sensorium", "strict"):
        return float(np.concatenate([values for values, _ in sessions]).mean())
    if policy == "mice":
        return float(np.mean([values.mean() for values, _ in sessions]))
    # Policy omnimouse: the official evaluation weighs twice, neurons by their samples
    # and then sessions by their neurons.
    means = np.array([np.average(values, weights=w) for values, w in sessions])
    return overall_score(means, np.array([len(values) for values, _ in sessions]))


def session_score(values: np.ndarray, counts: np.ndarray) -> float:
    """Mean over neurons weighted by their scored samples (policy "omnimouse").

    An undefined neuron scores 0 and keeps its weight. NaN if no sample was scored.
    """
    total = float(np.sum(counts))
    return float(np.nan_to_num(values) @ counts / total) if total else float("nan")


def overall_score(scores: np.ndarray, n_neurons: np.ndarray) -> float:
    """Mean over sessions weighted by their number of neurons (policy "omnimouse")."""
    return float(np.average(scores, weights=n_neurons))


# -- averages of decoded behaviour over the channel groups of the paper ---------------
BEHAVIOR_GROUPS: Final = MappingProxyType(
    {
        "location": ("pupil_x", "pupil_y"),
        "size": ("pupil_size", "pupil_dsize"),
        "running": ("running",),
    }
)
"""Decoded channels of each group over which the paper averages."""


def behavior_groups(correlations: Mapping[str, Any]) -> dict[str, Any]:
    """Average the correlations of decoded channels within the groups of the paper.

    "location" is the mean of pupil x and y, "size" of pupil size and its change,
    "average" the mean of the three groups. Values are numbers, or arrays of them.
    """
    groups = {
        group: sum(correlations[channel] for channel in channels) / len(channels)
        for group, channels in BEHAVIOR_GROUPS.items()
    }
    # The paper's average is over the three groups, not over the five channels: running
    # alone weighs as much as both pupil positions together.
    return groups | {"average": sum(groups.values()) / 3}


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


def common_scores(each: Sequence[np.ndarray | None]) -> tuple[np.ndarray | None, ...]:
    """Return the scores of the neurons with a score in all conditions; NaN elsewhere.

    Conditions are comparable over the same neurons only. A condition without any score
    does not restrict the neurons.
    """
    scored = [s for s in each if s is not None and np.isfinite(s).any()]
    # `False` broadcasts to NaN for all neurons if no condition has a score.
    shared = np.all([np.isfinite(s) for s in scored], axis=0) if scored else False
    return tuple(None if s is None else np.where(shared, s, np.nan) for s in each)


def scores_by_area(
    scores: np.ndarray, area: np.ndarray | None
) -> tuple[tuple[str, ScoreSummary], ...]:
    """Return summaries by area, sorted by name with "" last; () without areas."""
    if area is None:
        return ()
    areas = area.astype(str)
    names = sorted(set(areas.tolist()), key=lambda name: (name == "", name))
    summaries = ((name, score_summary(scores[areas == name])) for name in names)
    return tuple((name, summary) for name, summary in summaries if summary.n)
