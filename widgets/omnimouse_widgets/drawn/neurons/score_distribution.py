"""Distribution of neuron scores, and scores against another quantity."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, cast, get_args

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neuron_scores import IN_WINDOW, ScoresOnScreen
from omnimouse_model.live.neurons.quantities import QUANTITIES
from omnimouse_model.live.pin import LETTERS
from omnimouse_model.live.state import ColourBy
from omnimouse_model.masks.neuron_table import matching_neurons
from omnimouse_model.metrics.named import METRICS, Metric
from omnimouse_widgets.drawn.model.tier_score import shown_tier_score_lines
from omnimouse_widgets.drawn.neurons.columns import OLDER, columns_of

Rank = Literal["lowest", "middle", "highest"]
RANKS: Final[tuple[Rank, ...]] = get_args(Rank)
BIN_WIDTH: Final = 0.05
MAX_BINS: Final = 60
ABSENT: Final = ("state", "score")
"""Quantities that a score is not drawn against."""
AGAINST: Final = (*(q.name for q in QUANTITIES if q.name not in ABSENT), *LETTERS)
"""Axes for a score: a quantity of the neurons, or a pinned condition."""
WITHOUT_ORDER: Final = ("area", "plane")
"""Categorical quantities; their points are spread horizontally."""
# Multiples of the golden ratio modulo 1 fill an interval evenly. The spread is thus
# fixed for each neuron, and no random numbers are needed.
_GOLDEN: Final = 0.618034
_SPREAD: Final = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class ScoreDistribution:
    """Scores of the displayed neurons and their histogram.

    Attributes
    ----------
    neurons
        int64 (n,): neurons with a score that pass the filter, in stored order.
    scores
        float64 (n,).
    edges, counts
        (b + 1,) and (b,): histogram bars; no bars without scores.
    metric
        Metric of the scores.
    evidence
        Windows of the scores, see `ScoresOnScreen.evidence`.
    """

    neurons: np.ndarray
    scores: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    metric: Metric = METRICS["correlation"]
    evidence: str = IN_WINDOW

    @property
    def places(self) -> np.ndarray:
        """Middle of each bar."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)

    def counts_of(self, neurons: Sequence[int]) -> np.ndarray:
        """Return the number of the given neurons in each bar."""
        among = self.scores[np.isin(self.neurons, neurons)]
        return _counts(among, self.edges)

    def in_bar(self, number: int) -> np.ndarray:
        """Return the neurons of a bar by ascending score."""
        return self._ordered(_bars(self.scores, self.edges) == number)

    def between(self, low: float, high: float) -> np.ndarray:
        """Return the neurons with scores in [low, high] by ascending score."""
        return self._ordered((self.scores >= low) & (self.scores <= high))

    def ranked(self, rank: Rank, n: int) -> np.ndarray:
        """Return the n lowest, middle or highest scored neurons by ascending score."""
        order = self._ordered(np.ones(len(self.scores), bool))
        last = max(len(order) - n, 0)
        first = {"lowest": 0, "middle": last // 2, "highest": last}[rank]
        return order[first : first + n]

    def bar_text(self, number: int) -> str:
        """Return e.g. "r 0.40 to 0.45: 37 neurons"."""
        low, high = self.edges[number : number + 2]
        count = _neurons(int(self.counts[number]))
        return f"{self.metric.symbol} {low:z.2f} to {high:z.2f}: {count}"

    def _ordered(self, is_in: np.ndarray) -> np.ndarray:
        indices = np.flatnonzero(is_in)
        order = np.argsort(self.scores[indices], kind="stable")
        return np.asarray(self.neurons[indices[order]])


@dataclass(frozen=True, slots=True, eq=False)
class SecondQuantity:
    """A second quantity of the neurons of a `ScoreDistribution`.

    Attributes
    ----------
    label
        Label of the axis.
    values
        float (n,), NaN unknown.
    categories
        Names of the values 0, 1, … of a categorical quantity; () for numbers.
    is_score
        Whether the quantity is a score, so that an identity line is meaningful.
    problem
        Why no value is known, or "".
    """

    label: str
    values: np.ndarray
    categories: tuple[str, ...] = ()
    is_score: bool = False
    problem: str = ""

    @property
    def is_known(self) -> bool:
        """Whether any neuron has a value."""
        return bool(np.isfinite(self.values).any())


def distribution_of(controller: Controller, text: str = "", against: str = "") -> ScoreDistribution:
    """Return the scores on screen of the neurons passing a filter.

    A pinned condition has scores of the window alone, so that they are drawn `against`
    scores of the window.
    """
    results = controller.results
    scores = results.neuron_scores
    if against in LETTERS:
        scores = None if results.scores is None else ScoresOnScreen(results.scores)
    columns = columns_of(controller)
    # Scores of another number of neurons belong to another session.
    if scores is None or len(columns["id"]) != len(scores.values):
        return spread(np.empty(0, np.int64), np.empty(0))
    neurons = matching_neurons(text, columns)
    neurons = neurons[np.isfinite(scores.values[neurons])]
    values = scores.values[neurons].astype(float)
    found = spread(neurons, values, controller.state.metric)
    return replace(found, evidence=scores.evidence)


def spread(
    neurons: np.ndarray, scores: np.ndarray, metric: Metric = METRICS["correlation"]
) -> ScoreDistribution:
    """Return scores of some neurons with their histogram."""
    edges = score_bins([scores]) if len(scores) else np.zeros(1)
    return ScoreDistribution(neurons, scores, edges, _counts(scores, edges), metric)


def score_bins(each: Sequence[np.ndarray]) -> np.ndarray:
    """Return edges of equal bins that cover all scores on one grid.

    Bins are 0.05 wide. Scores without bounds, such as bits per spike, may need wider
    ones.
    """
    lowest = min(values.min() for values in each)
    highest = max(values.max() for values in each)
    width = BIN_WIDTH
    while (highest - lowest) / width > MAX_BINS:
        width *= 2
    low, high = np.floor(lowest / width), np.ceil(highest / width)
    # The quotients are rounded.
    low, high = low - (low * width > lowest), high + (high * width < highest)
    # The highest score may be the last edge: a correlation of 1 needs no bar above 1.
    low = min(low, high - 1)
    # Integer multiples of the width: cumulative sums would accumulate rounding errors,
    # and 0 would not be an edge.
    return np.arange(low, high + 1) * width


def second_quantity(controller: Controller, against: str, neurons: np.ndarray) -> SecondQuantity:
    """Return the second quantity of some neurons; `against` is one of `AGAINST`."""
    if against in LETTERS:
        return _pinned(controller, LETTERS.index(against), neurons)
    name = cast(ColourBy, against)
    scale = controller.colouring.scale_of(name)
    if scale is None:
        return SecondQuantity(against, np.full(len(neurons), np.nan))
    quantity = scale.quantity
    values = scale.values[neurons].astype(float)
    if against in WITHOUT_ORDER:
        values = values + _SPREAD * ((neurons * _GOLDEN) % 1.0 - 0.5)
    unit = f" ({quantity.unit})" if quantity.unit not in ("", "r") else ""
    problem = controller.colouring.message_of(name)
    # Ceilings are correlations: they bound no other metric.
    is_score = quantity.unit == "r" == controller.state.metric.symbol
    return SecondQuantity(quantity.label + unit, values, scale.categories, is_score, problem)


def quantity_choices(controller: Controller, chosen: str) -> list[list[str]]:
    """Return name, label and explanation of all choices, including `chosen`."""
    quantities = [q for q in controller.colouring.choices if q.name not in ABSENT]
    choices = [[q.name, q.label, q.explanation] for q in quantities]
    choices += [
        [pin.letter, f"{pin.letter} {pin.name}", "Score under a pinned condition"]
        for pin in controller.state.pins
    ]
    if chosen not in [name for name, *_ in choices]:
        choices.append([chosen, _label_of(chosen), "Not known here"])
    return choices


def summary_text(controller: Controller, spread: ScoreDistribution, text: str = "") -> str:
    """Return the score of the population, and how those of the neurons are spread.

    Without scores, return the reason.
    """
    state, results = controller.state, controller.results
    if state.session is None:
        return "No session is open"
    among = f" that the filter keeps ({text})" if text else ""
    if not len(spread.neurons):
        if results.freshness == "error":
            return f"No prediction: {results.error}"
        if results.neuron_scores is None and results.is_awaited:
            return "◌ predicting…"
        return f"No neuron{among} has a score: paint targets, and choose a model"
    scores = spread.scores
    old = f"{OLDER} of a previous mask · " if results.are_scores_old else ""
    mean_text = state.metric.text(float(scores.mean()), equals=" ")
    low, median, high = np.percentile(scores, [25, 50, 75])
    # The mean of neurons that were selected by the same score is biased upwards.
    bias = " · ⚠ selected by this score: biased" if "score" in text.lower() else ""
    in_tier = " · ".join(shown_tier_score_lines(controller))
    return (
        (f"{in_tier} — " if in_tier else "")
        + f"{old}{_neurons(len(scores))}{among} {spread.evidence} · mean {mean_text} · "
        f"median {median:z.2f}, quartiles {low:z.2f} and {high:z.2f} · "
        f"{np.mean(scores > 0):z.0%} above 0{bias}"
    )


# -- within ---------------------------------------------------------------------------
def _bars(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bar of each score; an edge belongs to the bar above it.

    The last edge, which may be the highest score, belongs to the last bar.
    """
    at = np.searchsorted(edges, scores, "right") - 1
    return np.asarray(np.clip(at, 0, len(edges) - 2))


def _counts(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.bincount(_bars(scores, edges), minlength=len(edges) - 1)


def _neurons(n: int) -> str:
    return f"{n:,} neuron{'s' * (n != 1)}"


def _label_of(name: str) -> str:
    labels = {quantity.name: quantity.label for quantity in QUANTITIES}
    return labels.get(cast(ColourBy, name), f"Pinned {name}")


def _pinned(controller: Controller, slot: int, neurons: np.ndarray) -> SecondQuantity:
    """Return scores in the same window under a pinned condition."""
    pins, unknown = controller.pins, np.full(len(neurons), np.nan)
    letter = LETTERS[slot]
    pin = next((p for p in controller.state.pins if p.slot == slot), None)
    if pin is None:
        problem = f"Nothing is pinned as {letter}: pin a condition under Traces"
        return SecondQuantity(_label_of(letter), unknown, problem=problem)
    label = f"{controller.state.metric.symbol}, {letter} {pin.name}"
    answer = pins.predictions.windows.get(slot)
    if answer is None:
        problem = pins.problem_of(pin) or pins.predictions.message
        problem = problem or ("" if pin.is_shown else f"{letter} is not shown under Traces")
        return SecondQuantity(label, unknown, is_score=True, problem=problem)
    if answer.scores is None:
        problem = answer.error or f"{letter} has no target"
        return SecondQuantity(label, unknown, is_score=True, problem=problem)
    return SecondQuantity(label, answer.scores[neurons].astype(float), is_score=True)
