"""Scores of neurons as a distribution, and against any other number of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons.colour_by import QUANTITIES
from omnimouse_model.live.pin import LETTERS
from omnimouse_model.live.state import ColourBy
from omnimouse_model.masks.neuron_table import kept_rows
from omnimouse_widgets.drawn.neurons.columns import OLDER, columns_of

Rank = Literal["lowest", "middle", "highest"]
RANKS: Final[tuple[Rank, ...]] = get_args(Rank)
BIN_WIDTH: Final = 0.05
ABSENT: Final = ("state", "score")
"""What is no number beside the score."""
AGAINST: Final = (*(q.name for q in QUANTITIES if q.name not in ABSENT), *LETTERS)
"""What a score can be drawn against: a number of the neurons, or a pinned condition."""
WITHOUT_ORDER: Final = ("area", "plane")
"""Of these many neurons have the same: they are drawn side by side."""
_GOLDEN: Final = 0.618034
_SPREAD: Final = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """The scores on screen.

    Attributes
    ----------
    neurons
        int64 (n,): those that have a score and are kept by the filter, as stored.
    scores
        float64 (n,).
    edges, counts
        (b + 1,) and (b,): of the histogram's bars, none where nothing is scored.
    """

    neurons: np.ndarray
    scores: np.ndarray
    edges: np.ndarray
    counts: np.ndarray

    @property
    def places(self) -> np.ndarray:
        """The middle of each bar."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)

    def counts_of(self, neurons: Sequence[int]) -> np.ndarray:
        """How many of some neurons are in each bar."""
        among = self.scores[np.isin(self.neurons, neurons)]
        return _counts(among, self.edges)

    def in_bar(self, number: int) -> np.ndarray:
        """Neurons of a bar, from its lowest score up."""
        return self._ordered(_bars(self.scores, self.edges) == number)

    def between(self, low: float, high: float) -> np.ndarray:
        """Neurons with a score from one to the other, from the lowest up."""
        return self._ordered((self.scores >= low) & (self.scores <= high))

    def ranked(self, rank: Rank, n: int) -> np.ndarray:
        """The n neurons with the lowest, middle or highest scores, from lowest up."""
        order = self._ordered(np.ones(len(self.scores), bool))
        left = max(len(order) - n, 0)
        first = {"lowest": 0, "middle": left // 2, "highest": left}[rank]
        return order[first : first + n]

    def bar_words(self, number: int) -> str:
        """Such as "r 0.40 to 0.45: 37 neurons"."""
        low, high = self.edges[number : number + 2] + 0.0
        return f"r {low:.2f} to {high:.2f}: {_neurons(int(self.counts[number]))}"

    def _ordered(self, is_in: np.ndarray) -> np.ndarray:
        found = np.flatnonzero(is_in)
        order = np.argsort(self.scores[found], kind="stable")
        return np.asarray(self.neurons[found[order]])


@dataclass(frozen=True, slots=True, eq=False)
class Across:
    """The other number of the neurons of a `Spread`.

    Attributes
    ----------
    label
        Of its axis.
    values
        float (n,), NaN unknown.
    words
        Names of the values 0, 1, … where it has no order; () for numbers.
    is_score
        Whether it is counted as the score is: the line of identity means something.
    why
        Why none is known, "" where some are.
    """

    label: str
    values: np.ndarray
    words: tuple[str, ...] = ()
    is_score: bool = False
    why: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it is known of any neuron."""
        return bool(np.isfinite(self.values).any())


def spread_of(controller: Controller, text: str = "") -> Spread:
    """Scores in the window on screen, of the neurons that a filter keeps."""
    scores = controller.results.scores
    columns = columns_of(controller)
    if scores is None or len(columns["id"]) != len(scores):
        return spread(np.empty(0, np.int64), np.empty(0))
    kept = kept_rows(text, columns)
    known = kept[np.isfinite(scores[kept])]
    return spread(known, scores[known].astype(float))


def spread(neurons: np.ndarray, scores: np.ndarray) -> Spread:
    """Scores of some neurons with their histogram."""
    edges = score_bins([scores]) if len(scores) else np.zeros(1)
    return Spread(neurons, scores, edges, _counts(scores, edges))


def score_bins(each: Sequence[np.ndarray]) -> np.ndarray:
    """Edges of bins of 0.05 around every score, on the same grid for all."""
    low = np.floor(min(values.min() for values in each) / BIN_WIDTH)
    high = np.floor(max(values.max() for values in each) / BIN_WIDTH) + 1
    return np.arange(low, high + 1) * BIN_WIDTH


def across_of(controller: Controller, against: str, neurons: np.ndarray) -> Across:
    """What the scores of some neurons are drawn against, one of `AGAINST`."""
    if against in LETTERS:
        return _pinned(controller, LETTERS.index(against), neurons)
    name = cast(ColourBy, against)
    scale = controller.colouring.scale_of(name)
    if scale is None:
        return Across(against, np.full(len(neurons), np.nan))
    quantity = scale.quantity
    values = scale.values[neurons].astype(float)
    if against in WITHOUT_ORDER:
        values = values + _SPREAD * ((neurons * _GOLDEN) % 1.0 - 0.5)
    unit = f" ({quantity.unit})" if quantity.unit not in ("", "r") else ""
    why = controller.colouring.words_of(name)
    is_score = quantity.unit == "r"
    return Across(quantity.label + unit, values, scale.words, is_score, why)


def against_choices(controller: Controller, chosen: str) -> list[list[str]]:
    """Name, label and explanation of what there is; what is chosen among them."""
    known = [q for q in controller.colouring.choices if q.name not in ABSENT]
    found = [[q.name, q.label, q.explanation] for q in known]
    found += [
        [pin.letter, f"{pin.letter} {pin.name}", "Score under a pinned condition"]
        for pin in controller.state.pins
    ]
    if chosen not in [name for name, *_ in found]:
        found.append([chosen, _label_of(chosen), "Not known here"])
    return found


def summary_words(controller: Controller, spread: Spread, text: str = "") -> str:
    """How many were scored and how well, or why there is nothing to see."""
    state, results = controller.state, controller.results
    if state.session is None:
        return "No session is open"
    among = f" that the filter keeps ({text})" if text else ""
    if not len(spread.neurons):
        if results.freshness == "error":
            return f"No answer: {results.error}"
        if results.scores is None and results.is_awaited:
            return "◌ asked"
        return f"No neuron{among} has a score: paint targets, and choose a model"
    scores = spread.scores
    old = f"{OLDER} of an older question · " if results.is_population_old else ""
    mean, median = (round(float(of(scores)), 2) + 0.0 for of in (np.mean, np.median))
    return (
        f"{old}{_neurons(len(scores))}{among} · mean r {mean:.2f} · "
        f"median {median:.2f} · {np.mean(scores > 0):.0%} above 0"
    )


# -- within ---------------------------------------------------------------------------
def _bars(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """In which bar each is; an edge belongs to the bar above it."""
    at = np.searchsorted(edges, scores, "right") - 1
    return np.asarray(np.clip(at, 0, len(edges) - 2))


def _counts(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.bincount(_bars(scores, edges), minlength=len(edges) - 1)


def _neurons(n: int) -> str:
    return f"{n:,} neuron{'s' * (n != 1)}"


def _label_of(name: str) -> str:
    labels = {quantity.name: quantity.label for quantity in QUANTITIES}
    return labels.get(cast(ColourBy, name), f"Pinned {name}")


def _pinned(controller: Controller, slot: int, neurons: np.ndarray) -> Across:
    """Scores in the same window under a pinned condition."""
    pins, unknown = controller.pins, np.full(len(neurons), np.nan)
    letter = LETTERS[slot]
    pin = next((one for one in pins.pinned if one.slot == slot), None)
    if pin is None:
        why = f"Nothing is pinned as {letter}: pin a condition under Traces"
        return Across(_label_of(letter), unknown, why=why)
    label = f"r, {letter} {pin.name}"
    answer = pins.windows.get(slot)
    if answer is None:
        why = pins.why_silent(pin) or pins.words
        why = why or ("" if pin.is_shown else f"{letter} is not shown under Traces")
        return Across(label, unknown, is_score=True, why=why)
    if answer.scores is None:
        why = answer.error or f"{letter} asks nothing"
        return Across(label, unknown, is_score=True, why=why)
    return Across(label, answer.scores[neurons].astype(float), is_score=True)
