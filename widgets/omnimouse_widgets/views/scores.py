"""Panel *Scores*: distribution of the scores of neurons, and scores against a quantity.

The file is long because a panel is one file: its content, actions and texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, cast, get_args

import numpy as np
from psygnal import Signal

from omnimouse_model.display import number_text
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.neurons.colour_by import PREDICTORS, Colouring
from omnimouse_model.live.neurons.planes import Selection
from omnimouse_model.live.neurons.quantities import QUANTITIES
from omnimouse_model.live.pin import LETTERS
from omnimouse_model.live.pins import Pins
from omnimouse_model.live.results import IN_WINDOW, Results
from omnimouse_model.live.state import COMPARED, MAX_SELECTED, ColourBy, Compared, LiveState
from omnimouse_model.masks.neuron_table import matching_neurons
from omnimouse_model.metrics.named import METRICS, Metric
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.neurons import OLDER, columns_of
from omnimouse_widgets.views.text.model import failure_text
from omnimouse_widgets.views.text.tier_score import (
    SCORING,
    no_score_text,
    shown_score_tip,
    shown_tier_score_lines,
)

Rank = Literal["lowest", "middle", "highest"]
RANKS: Final[tuple[Rank, ...]] = get_args(Rank)
BIN_WIDTH: Final = 0.05
MAX_BINS: Final = 60
ABSENT: Final = ("state", "score")
"""Quantities that a score is not drawn against."""
AGAINST: Final = (*(q.name for q in QUANTITIES if q.name not in ABSENT), "model", *LETTERS)
"""Axes for a score: a quantity of the neurons, or the score of another predictor."""
WITHOUT_ORDER: Final = ("area", "plane", "source")
"""Categorical quantities; their points are spread horizontally."""
# Multiples of the golden ratio modulo 1 fill an interval evenly. The spread is thus
# fixed for each neuron, and no random numbers are needed.
_GOLDEN: Final = 0.618034
_SPREAD: Final = 0.6
NO_SCORE: Final = "No neuron that the filter keeps has a score"
LEAST_SPREAD: Final = 4
"""Neurons from which on the spread of their scores is told."""
N_RANKED: Final = 16
"""Number of neurons that a button selects: the rows of traces that fit on screen."""
NEAR: Final = 0.03
"""Largest distance of a press from a point, as a share of the axes."""
MOST_TIPS: Final = 2000
"""Points that have a tip each; of more, a tip each is a large message."""
SELECT_TIP: Final = "Press or drag: select neurons; Shift or Ctrl adds them"
TOOLS: Final[tuple[tuple[record.Outline, str, str], ...]] = (
    ("rectangle", "Select: box", "A drag selects the marks inside a rectangle"),
    ("lasso", "Select: lasso", "A drag selects the marks inside an outline"),
)


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
        return f"{self.metric.symbol} {number_text(low)} to {number_text(high)}: {count}"

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


def distribution_of(
    state: LiveState,
    results: Results,
    colouring: Colouring,
    text: str = "",
    against: str = "",
    predictor: str = "model",
) -> ScoreDistribution:
    """Return the scores of a predictor on screen, of the neurons passing a filter.

    They are over the same windows as those that they are drawn `against`.
    """
    scores = colouring.scores_of(predictor, against)
    is_of_screen = predictor == "model" and against not in LETTERS
    if is_of_screen and scores is not None and not scores.tier:
        # One window is dominated by noise: its histogram would be about zero.
        scores = None if no_score_text(state, results) == SCORING else scores
    columns = columns_of(state, results, colouring)
    # Scores of another number of neurons belong to another session.
    if scores is None or len(columns["id"]) != len(scores.values):
        return spread(np.empty(0, np.int64), np.empty(0))
    neurons = matching_neurons(text, columns)
    neurons = neurons[np.isfinite(scores.values[neurons])]
    values = scores.values[neurons].astype(float)
    found = spread(neurons, values, state.metric)
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


def second_quantity(
    state: LiveState,
    colouring: Colouring,
    against: str,
    neurons: np.ndarray,
    predictor: str = "model",
) -> SecondQuantity:
    """Return what scores of a predictor are drawn against; `against` is one of `AGAINST`."""
    if against in PREDICTORS:
        pair = colouring.scores_of_pair((predictor, against))
        unknown = np.full(len(neurons), np.nan)
        values = unknown if pair is None else pair[1].values[neurons].astype(float)
        # The menu names the condition of a pin; on the axis it would be cut.
        name = f"pin {against}" if against.isupper() else colouring.name_of(against)
        label = f"{state.metric.symbol}, {name}"
        problem = colouring.message_of_pair((predictor, against)) if pair is None else ""
        return SecondQuantity(label, values, is_score=True, problem=problem)
    name = cast(ColourBy, against)
    scale = colouring.scale_of(name)
    if scale is None:
        return SecondQuantity(against, np.full(len(neurons), np.nan))
    quantity = scale.quantity
    values = scale.values[neurons].astype(float)
    if against in WITHOUT_ORDER:
        values = values + _SPREAD * ((neurons * _GOLDEN) % 1.0 - 0.5)
    unit = f" ({quantity.unit})" if quantity.unit not in ("", "r") else ""
    problem = colouring.message_of(name)
    # Ceilings are correlations: they bound no other metric.
    is_score = quantity.unit == "r" == state.metric.symbol
    # The unit has the place of a word that the menu above the plot has.
    label = quantity.label.removesuffix(" response") if unit else quantity.label
    return SecondQuantity(label + unit, values, scale.categories, is_score, problem)


def predictor_choices(state: LiveState, colouring: Colouring, chosen: str) -> list[list[str]]:
    """Return name, label and explanation of the predictors with scores, and of `chosen`."""
    names = ["model", *(["baseline"] if state.compared_baseline else [])]
    names += [pin.letter for pin in state.pins]
    names += [] if chosen in names else [chosen]
    tips = {"model": "The model on screen", "baseline": "The baseline"}
    tip = "Score under a pinned condition"
    return [[name, colouring.name_of(name), tips.get(name, tip)] for name in names]


def quantity_choices(
    state: LiveState, colouring: Colouring, chosen: str, predictor: str
) -> list[list[str]]:
    """Return name, label and explanation of all axes for a predictor, including `chosen`."""
    quantities = [q for q in colouring.choices if q.name not in (*ABSENT, *COMPARED)]
    choices = [[q.name, q.label, q.explanation] for q in quantities]
    others = [one for one in predictor_choices(state, colouring, "model") if one[0] != predictor]
    for name, label, tip in others:
        # Where there is no room, a box leaves out what follows the dot, and keeps the letter.
        short = label.replace(f"{name} ", f"{name} · ", 1) if name in LETTERS else label
        choices.append([name, f"Score of {short}", tip])
    if chosen not in [name for name, *_ in choices]:
        labels = {quantity.name: quantity.label for quantity in QUANTITIES}
        label = labels.get(cast(ColourBy, chosen), colouring.name_of(chosen))
        choices.append([chosen, label, "Not known now"])
    return choices


def summary_text(
    state: LiveState, results: Results, spread: ScoreDistribution, text: str = ""
) -> str:
    """Return how the scores of the neurons are spread.

    Without scores, return the reason.
    """
    if state.session is None:
        return record.NO_SESSION
    among = f" that the filter keeps ({text})" if text else ""
    if not len(spread.neurons):
        if results.freshness == "error":
            return failure_text(state, results)
        # A mask that only decodes behaviour is scored, too, but none of its neurons.
        is_due = no_score_text(state, results) == SCORING and state.open_mask.target.any()
        if is_due and (results.neuron_scores is None or not results.neuron_scores.tier):
            return SCORING
        return f"No neuron{among} has a score: paint targets, and choose a model"
    scores = spread.scores
    old = f"{OLDER} of a previous mask · " if results.are_scores_old else ""
    mean_text = state.metric.text(float(scores.mean()), equals=" ")
    told = [f"{old}{_neurons(len(scores))}{among} {spread.evidence}"]
    told.append(mean_text if len(scores) == 1 else f"mean {mean_text}")
    # Of fewer, quartiles and a share would be the neurons themselves.
    if len(scores) >= LEAST_SPREAD:
        low, median, high = np.percentile(scores, [25, 50, 75])
        median, low, high = map(number_text, (median, low, high))
        told.append(f"median {median}, quartiles {low} and {high}")
        told.append(f"{100 * np.mean(scores > 0):z.0f} % above 0")
    # The mean of neurons that were selected by the same score is biased upwards.
    if "score" in text.lower():
        told.append("⚠ selected by this score: biased")
    return " · ".join(told)


class ScoresView(OfController):
    """Histogram of the scores, and scatter plot of scores against a quantity.

    Presses and drags in both plots select neurons; both show the selected ones in white.

    Attributes
    ----------
    against
        Horizontal axis of the scatter plot: one of `AGAINST`.
    filter
        Filter of the neurons, as in the table.
    tool
        Outline of a drag: "rectangle" or "lasso".
    message
        What is said if more neurons were picked than are selected.
    """

    name = "scores"
    changed = Signal()

    def __init__(
        self,
        state: LiveState,
        results: Results,
        baseline: Results,
        selection: Selection,
        colouring: Colouring,
        pins: Pins,
    ) -> None:
        self._state, self._results, self._baseline = state, results, baseline
        self._selection, self._colouring, self._pins = selection, colouring, pins
        self.against, self.filter = "mean", ""
        self.tool: record.Outline = "rectangle"
        self.message = ""
        self._bar = -1
        self._shown: tuple[ScoreDistribution, SecondQuantity] = (
            spread(np.empty(0, np.int64), np.empty(0)),
            SecondQuantity("", np.empty(0)),
        )

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: controls, summary, plots, and the selected neurons."""
        events = self._state.events
        scored = [self.changed, events.session, self._results.changed, events.pins,
                  events.compared, self._pins.changed, self._colouring.changed]  # fmt: skip
        return [
            record.Block(tuple, [self.changed], follow=self._follow),
            record.Block(self._controls, scored, grows=True),
            record.Block(self._plots, scored, grows=True),
            record.Block(self._selected, [*scored, events.selection]),
            record.Block(self._bars, [*scored, events.selection]),
        ]

    def _follow(self, is_visible: bool) -> None:
        """Read the quantity of the horizontal axis while the panel is visible."""
        is_of_pair = self.against in PREDICTORS or self.predictor != "model"
        quantity = "difference" if is_of_pair else cast(ColourBy, self.against)
        self._colouring.draw(self, quantity if is_visible else None)

    # -- what the user does -----------------------------------------------------------
    @property
    def predictor(self) -> Compared:
        """What the scores are of: one of `PREDICTORS`."""
        return self._state.compared[0]

    @property
    def spread(self) -> ScoreDistribution:
        """Scores of the neurons that pass the filter, and their histogram."""
        return distribution_of(
            self._state, self._results, self._colouring, self.filter, self.against, self.predictor
        )

    @property
    def summary(self) -> str:
        """Number of scored neurons and their scores, or why there are none."""
        found = self.spread
        if self.predictor in LETTERS and not len(found.neurons):
            return self._colouring.problem_of_pin(self.predictor) or NO_SCORE
        return summary_text(self._state, self._results, found, self.filter)

    def set_against(self, name: str) -> None:
        """Choose the horizontal axis; that of a predictor is compared in colours, too."""
        self.against = name
        self._compare(self.predictor)

    def set_predictor(self, name: str) -> None:
        """Choose the predictor of the scores."""
        if name == self.against:
            self.against = self.predictor
        self._compare(cast(Compared, name))

    def _compare(self, first: Compared) -> None:
        is_of_pair = self.against in PREDICTORS
        before, second = self._state.compared
        second = cast(Compared, self.against) if is_of_pair else second
        # Beside itself, a score says nothing: the two are exchanged.
        self._colouring.compare(first, before if second == first else second)
        self.changed.emit()

    def set_filter(self, text: str) -> None:
        """Set the filter.

        Raises
        ------
        ValueError
            It is not valid; nothing changes.
        """
        matching_neurons(text.strip(), columns_of(self._state, self._results, self._colouring))
        self.filter = text.strip()
        self.changed.emit()

    def set_tool(self, name: str) -> None:
        """Choose the outline of a drag."""
        self.tool = cast(record.Outline, name)
        self.changed.emit()

    def select_ranked(self, rank: Rank, n: int = N_RANKED) -> None:
        """Select the n neurons with the lowest, middle or highest scores."""
        self.select(self.spread.ranked(rank, n))

    def select(self, neurons: np.ndarray, *, is_added: bool = False) -> None:
        """Select the neurons; of more than 64, those with the highest scores."""
        self._selection.select(neurons, is_added)
        n = len(neurons)
        text = f"Of {n:,} the {MAX_SELECTED} with the highest scores are selected"
        self.message = text if n > MAX_SELECTED else ""
        self.changed.emit()

    def _select_bars(self, outline: np.ndarray, is_added: bool) -> None:
        found = self.spread
        ends = np.array([outline[:, 0].min(), outline[:, 0].max()])
        first, last = _bars(ends, found.edges)
        bars = [found.in_bar(bar) for bar in range(int(first), int(last) + 1)]
        self._bar = int(first)
        self.select(np.concatenate(bars), is_added=is_added)

    def _select_points(self, outline: np.ndarray, is_added: bool) -> None:
        found, across = self._shown
        points = np.stack([across.values, found.scores], axis=1)
        known = np.flatnonzero(np.isfinite(points).all(axis=1))
        if len(outline) == 1:
            span = np.maximum(np.ptp(points[known], axis=0), 1e-12)
            distance = np.abs((points[known] - outline) / span).max(axis=1)
            nearest = int(np.argmin(distance))
            picked = known[[nearest]] if distance[nearest] <= NEAR else known[:0]
        else:
            picked = known[_inside(points[known], outline)]
        order = np.argsort(found.scores[picked], kind="stable")
        self.select(found.neurons[picked[order]], is_added=is_added)

    def _step_bar(self, by: int) -> None:
        """Select the neurons of the next bar that has some."""
        found = self.spread
        bars = np.flatnonzero(found.counts)
        later = bars[bars > self._bar] if by > 0 else bars[bars < self._bar][::-1]
        if len(later):
            self._bar = int(later[0])
            self.select(found.in_bar(self._bar))

    # -- content ----------------------------------------------------------------------
    def _controls(self) -> Sequence[record.Item | record.Row]:
        of = predictor_choices(self._state, self._colouring, self.predictor)
        choices = quantity_choices(self._state, self._colouring, self.against, self.predictor)
        is_known, summary = len(self.spread.scores) > 0, self.summary
        reason = "" if is_known else summary
        tip = "\n".join(
            shown_tier_score_lines(self._state, self._results, self._baseline, self._colouring)
        )
        tip = f"{tip}\n{shown_score_tip(self._state, self._results, self._colouring)}".strip()
        return [
            record.Row(
                "controls",
                (
                    record.Choice("predictor", "Scores of", "Whose scores are drawn",
                                  tuple((each[0], f"Scores of {each[1]}", each[2]) for each in of),
                                  self.predictor, self.set_predictor),
                    record.Choice("against", "Against", "Horizontal axis of the scatter plot",
                                  tuple((each[0], f"x: {each[1]}", each[2])
                                        for each in choices),
                                  self.against, self.set_against),
                ),
                wide="against"
            ),
            # Beside the buttons, it would take more lines than both have below each other.
            # Without scores, the reason stands in the place of the plots.
            record.Text("summary", summary if is_known else " ", "quiet", tip),
            record.Row(
                "selection",
                tuple(
                    record.Action(rank, rank.capitalize(),
                                  f"Select the {N_RANKED} neurons with the {rank} scores",
                                  partial(self.select_ranked, rank), reason)
                    for rank in RANKS
                )
            ),
            record.Text("message", self.message, "quiet"),
        ]  # fmt: skip

    def _plots(self) -> Sequence[record.Item | record.Row]:
        found = self.spread
        across = second_quantity(
            self._state, self._colouring, self.against, found.neurons, self.predictor
        )
        self._shown = found, across
        if not len(found.neurons):
            return [record.Message("histogram", "Scores", self.summary)]
        is_old = self._results.are_scores_old
        return [
            record.Row(
                "plots", (self._histogram(found, is_old), self._scatter(found, across, is_old))
            )
        ]

    def _histogram(self, found: ScoreDistribution, is_old: bool) -> record.Curves:
        symbol, most = found.metric.symbol, float(found.counts.max())
        mean = float(found.scores.mean())
        bars = record.Line("", palette.VISIBLE_RING, found.places, found.counts.astype(float), "",
                           bar=_bar_width(found), is_pale=is_old)  # fmt: skip
        text = f"mean {number_text(mean)}{'' if found.evidence != IN_WINDOW else f' {IN_WINDOW}'}"
        line = record.Line(text, palette.CURSOR, np.full(2, mean), np.array([0.0, most]), "",
                           dash="dashed")  # fmt: skip
        limits = float(found.edges[0]), float(found.edges[-1]), 0.0, 1.05 * most
        return record.Curves(
            "histogram", f"Histogram of {symbol}: {self.summary}", (bars, line), symbol, "neurons",
            None, limits=limits, tip=SELECT_TIP, outline=self.tool, select=self._select_bars,
        )  # fmt: skip

    def _scatter(
        self, found: ScoreDistribution, across: SecondQuantity, is_old: bool
    ) -> record.Plot:
        symbol = found.metric.symbol
        label = f"{symbol} against {across.label}"
        known = np.isfinite(across.values)
        if not known.any():
            return record.Message("scatter", label, across.problem or f"◌ reading {across.label}")
        ids = columns_of(self._state, self._results, self._colouring)["id"][found.neurons]
        tips = () if len(ids) > MOST_TIPS else tuple(
            f"unit {name:z.0f}\n{found.metric.text(score)}"
            for name, score in zip(ids[known], found.scores[known], strict=True)
        )  # fmt: skip
        points = record.Line("", palette.VISIBLE_RING, across.values[known], found.scores[known],
                             "o", tips=tips, dash="none", is_pale=is_old)  # fmt: skip
        lines = [points]
        if across.is_score:
            both = np.concatenate([found.scores, across.values[known]])
            ends = np.array([both.min(), both.max()])
            lines.insert(0, record.Line("", palette.CURSOR, ends, ends, "", dash="dashed"))
        # Each category with its neurons; those of one lie within 0.5 of its place.
        counts = np.bincount(np.rint(across.values[known]).astype(int), minlength=1)
        ticks = tuple(
            (float(at), f"{name} ({counts[at] if at < len(counts) else 0:,})")
            for at, name in enumerate(across.categories)
        )
        axis = f"{across.label} (neurons)" if ticks else across.label
        note = "" if known.all() else f"{known.sum():,} of {len(known):,} known"
        # Of a quantity that is being computed for all neurons, this is told, too.
        if note and across.problem and self._colouring.n_so_far is not None:
            note += ", computing"
        return record.Curves(
            "scatter", label, tuple(lines), axis, symbol, ticks or None, title=note,
            tip=SELECT_TIP, outline=self.tool, select=self._select_points,
        )  # fmt: skip

    def _selected(self) -> Sequence[record.Item]:
        """Return the selected neurons over both plots."""
        (found, across), colour = self._shown, palette.SELECTED
        chosen = self._state.selection
        counts = found.counts_of(chosen) if len(found.scores) else np.zeros(0)
        is_chosen = np.isin(found.neurons, chosen) & np.isfinite(across.values)
        return [
            record.Overlay("selected bars", "histogram", colour, found.places, counts.astype(float),
                           bar=_bar_width(found)),
            record.Overlay("selected points", "scatter", colour, across.values[is_chosen],
                           found.scores[is_chosen], symbol="o"),
        ]  # fmt: skip

    def _bars(self) -> Sequence[record.Item | record.Row]:
        found = self.spread
        is_bar = 0 <= self._bar < len(found.counts)
        text = found.bar_text(self._bar) if is_bar else "← → neurons of a bar"
        reason = "" if len(found.counts) else self.summary
        return [
            record.Row(
                "bars",
                (
                    record.Action("lower_bar", "◂", "Select the neurons of the bar before (←)",
                                  partial(self._step_bar, -1), reason, "Left"),
                    record.Action("higher_bar", "▸", "Select the neurons of the next bar (→)",
                                  partial(self._step_bar, 1), reason, "Right"),
                    record.Text("bar", text, "quiet", is_line=True),
                    record.Choice("tool", "Select", "Outline of a drag in a plot",
                                  cast(tuple[tuple[str, str, str], ...], TOOLS),
                                  self.tool, self.set_tool),
                ),
                wide="bar"
            )
        ]  # fmt: skip


# -- within ---------------------------------------------------------------------------
def _bars(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the histogram bar of each score; a score on an edge is in the bar above it.

    The last edge, which may be the highest score, belongs to the last bar.
    """
    at = np.searchsorted(edges, scores, "right") - 1
    return np.asarray(np.clip(at, 0, len(edges) - 2))


def _counts(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.bincount(_bars(scores, edges), minlength=len(edges) - 1)


def _bar_width(found: ScoreDistribution) -> float:
    return 0.92 * float(found.edges[1] - found.edges[0]) if len(found.counts) else 1.0


def _inside(points: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Return which points (n, 2) lie inside an outline, by the crossings of a ray."""
    is_inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (points[:, 1] < y0) != (points[:, 1] < y1)
        is_inside ^= crosses & (points[:, 0] < x0 + (points[:, 1] - y0) / (y1 - y0) * (x1 - x0))
    return is_inside


def _neurons(n: int) -> str:
    return f"{n:,} neuron{'s' * (n != 1)}"
