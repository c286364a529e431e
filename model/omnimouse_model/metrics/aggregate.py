"""Averages of scores over neurons, sessions and channels, with policies for undefined values.

Values are strict correlations: NaN where undefined. `counts` is the number of scored
samples of each neuron. It distinguishes a constant neuron (samples, but no correlation)
from a neuron without scored samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

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


def behavior_groups(correlations: Mapping[str, float]) -> dict[str, float]:
    """Average the correlations of decoded channels within the groups of the paper.

    "location" is the mean of pupil x and y, "size" of pupil size and its change,
    "average" the mean of the three groups.
    """
    groups = {
        group: sum(correlations[channel] for channel in channels) / len(channels)
        for group, channels in BEHAVIOR_GROUPS.items()
    }
    # The paper's average is over the three groups, not over the five channels: running
    # alone weighs as much as both pupil positions together.
    return groups | {"average": sum(groups.values()) / 3}
