"""Scores widget: histogram of neuron scores, and scatter plot against a quantity.

The kernel computes the histogram and sends only bars and points. The figure is created
when a page first shows the widget.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from psygnal import SignalInstance
from traitlets import Dict, Enum, List, Tuple, Unicode, validate

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pin import LETTERS
from omnimouse_model.live.state import MAX_SELECTED
from omnimouse_model.masks.neuron_table import matching_neurons
from omnimouse_widgets.drawn.model.tier_score import tier_score_tip
from omnimouse_widgets.drawn.neurons.columns import columns_of
from omnimouse_widgets.drawn.neurons.score_distribution import (
    AGAINST,
    RANKS,
    Rank,
    ScoreDistribution,
    SecondQuantity,
    distribution_of,
    quantity_choices,
    second_quantity,
    spread,
    summary_text,
)
from omnimouse_widgets.jupyter.score_chart import BARS, POINTS, ScoreChart
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing
from omnimouse_widgets.jupyter.transport.plotly_widget import FigurePart

N_RANKED: Final = 16
"""Number of neurons that a button selects: the rows of traces that fit on screen."""
TOOLS: Final = ("rectangle", "lasso")
_NO_SCORES: Final = spread(np.empty(0, np.int64), np.empty(0))
CONSTANTS: Final[dict[str, Any]] = {
    "ranks": [
        [
            rank,
            rank.capitalize(),
            f"Select the {N_RANKED} neurons with the {rank} scores",
        ]
        for rank in RANKS
    ],
    "selectable": [BARS, POINTS],
}


class NeuronScores(FigurePart):
    """Histogram of neuron scores, and scatter plot of scores against a quantity.

    Clicks, rectangles and lassos in both plots select neurons, and both plots show the
    selected neurons in white. To place controls and figure in a box, use `widget`.

    Attributes
    ----------
    against
        Horizontal axis of the scatter plot: a quantity of the neurons ("depth",
        "ceiling", "mean", …, see `controller.colouring.choices`), or "A" to "D", the
        score under a pinned condition.
    filter
        Filter of the neurons, as in the table: `V1 depth<250`. In an `Explorer`, both
        filters are the same. An invalid filter raises an error.
    tool
        Tool of a drag: "rectangle" or "lasso".
    selection
        Indices of the selected neurons in the order of selection, at most 64.
    summary
        Number of scored neurons and their scores, as text; read-only.
    message
        Message if more than 64 neurons were picked; read-only.
    widget
        Controls above the figure, as an ipywidget.
    """

    _esm = script("scores")
    _css = style()
    INTERVAL_S = 0.25  # ten thousand points take plotly a tenth of a second

    against = Enum(AGAINST, "mean").tag(sync=True)
    filter = Unicode("").tag(sync=True)
    tool = Enum(TOOLS, "rectangle").tag(sync=True)
    selection = Tuple().tag(sync=True)
    summary = Unicode("", read_only=True)
    message = Unicode("", read_only=True).tag(sync=True)
    _choices: Any = List().tag(sync=True)
    _constants = Dict(CONSTANTS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self.chart: ScoreChart | None = None
        self._options_changed = SignalInstance()
        self._spread, self._across = _NO_SCORES, SecondQuantity("", np.empty(0))
        self._drawing = 0
        super().__init__(controller, **traits)
        events, colouring = controller.state.events, controller.colouring
        self.bind_field("selection", controller.selection.select)
        # `_select` sets `message` after `select`, so this does not clear it.
        self._link(events.selection, lambda: self.set_trait("message", ""))
        offered = (events.session, events.pins, colouring.changed)
        self.bind("_choices", offered, self._read_choices)
        scored = (events.session, controller.results.changed)
        self.bind("summary", scored, self._read_summary)
        self.observe(self._on_against, "against")
        self.observe(self._on_filter, "filter")
        self.observe(lambda _: self._options_changed.emit(), "tool")

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of bars with points and of the selection."""
        controller = self._controller
        events, changed = controller.state.events, controller.results.changed
        scored = [events.session, changed, events.pins, controller.pins.changed]
        options = [controller.colouring.changed, self._options_changed]
        return [
            Drawing(self._draw, [*scored, *options]),
            Drawing(self._draw_selection, [events.selection]),
            *super().drawings(),
        ]

    def activate(self) -> None:
        """Start reading the quantity of the horizontal axis if it is not loaded."""
        self._controller.colouring.draw(self, self._quantity)

    def deactivate(self) -> None:
        """Stop reading the quantity of the horizontal axis."""
        self._controller.colouring.draw(self, None)

    # -- what code may call -----------------------------------------------------------
    @property
    def spread(self) -> ScoreDistribution:
        """Scores of the neurons that pass the filter, and their histogram."""
        return distribution_of(self._controller, self.filter, self.against)

    def select_ranked(self, rank: Rank, n: int = N_RANKED) -> None:
        """Select the n neurons with the "lowest", "middle" or "highest" scores."""
        self._select(self.spread.ranked(rank, n))

    def select_between(self, low: float, high: float) -> None:
        """Select the neurons with scores in [low, high]."""
        self._select(self.spread.between(low, high))

    # -- from the page ----------------------------------------------------------------
    def on_rank(self, content: dict[str, Any], _: Any) -> None:
        """Select the neurons with the lowest, middle or highest scores."""
        self.select_ranked(content["rank"])

    def on_bar(self, content: dict[str, Any], _: Any) -> None:
        """Select the neurons of a bar."""
        self._select(self._spread.in_bar(int(content["bar"])))

    def on_pick(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Select the bars or points at the uint32 positions in the buffer."""
        spread, places = self._spread, np.frombuffer(buffers[0], np.uint32)
        if content["drawing"] != self._drawing:
            return  # positions in a drawing of other neurons
        if content["trace"] == BARS:
            bars = [spread.in_bar(int(bar)) for bar in np.sort(places)]
            # The empty array is for an empty `bars`, which numpy cannot concatenate.
            neurons = np.concatenate([*bars, _NO_SCORES.neurons])
        else:
            # Ascending scores: the controller selects the last 64, the highest scores.
            order = np.argsort(spread.scores[places], kind="stable")
            neurons = spread.neurons[places[order]]
        self._select(neurons, bool(content["add"]))

    # -- traits -----------------------------------------------------------------------
    @validate("filter")
    def _valid_filter(self, proposal: Any) -> str:
        text = str(proposal["value"]).strip()
        matching_neurons(text, columns_of(self.controller))  # raises if invalid
        return text

    @property
    def _quantity(self) -> Any:
        return None if self.against in LETTERS else self.against

    def _on_against(self, _: Any) -> None:
        if self._views:
            self.activate()
        self._choices = self._read_choices()
        self._options_changed.emit()

    def _on_filter(self, _: Any) -> None:
        self.set_trait("summary", self._read_summary())
        self._options_changed.emit()

    def _read_choices(self) -> list[list[str]]:
        return quantity_choices(self._controller, self.against)

    def _read_summary(self) -> str:
        return summary_text(self._controller, self.spread, self.filter)

    def _select(self, neurons: np.ndarray, add: bool = False) -> None:
        """Select the neurons; of more than 64, those with the highest scores."""
        self._controller.selection.select(neurons, add)
        n, n_max = len(neurons), MAX_SELECTED
        message = f"Of {n:,} the {n_max} with the highest scores are selected"
        self.set_trait("message", message if n > n_max else "")

    # -- to the page ------------------------------------------------------------------
    def _draw(self) -> None:
        controller = self._controller
        chart, spread = self._made_chart(), self.spread
        across = second_quantity(controller, self.against, spread.neurons)
        # The number identifies the neurons of a drawing. New scores of the same neurons
        # do not make a selection invalid that the page is about to send.
        if not np.array_equal(spread.neurons, self._spread.neurons):
            self._drawing += 1
        self._spread, self._across = spread, across
        is_old = controller.results.are_scores_old
        chart.set_tool(self.tool)
        if controller.state.session is not None:
            chart.show_names(controller.state.session.units.names[spread.neurons])
        missing = "" if len(spread.neurons) else self.summary
        chart.show_distribution(spread, across, is_old=is_old, missing=missing)
        chart.show_selection(controller.state.selection, across)
        bars = [spread.bar_text(bar) for bar in range(len(spread.counts))]
        symbol = spread.metric.symbol
        label = f"Histogram of {symbol}, and {symbol} against {across.label}. "
        label += self.summary
        self.add_message("scores", drawing=self._drawing, bars=bars, label=label)
        tip = tier_score_tip(controller.results.tier_score)
        self.add_if_changed("summary", text=self.summary, tip=tip)
        self.add_point_counts(chart.figure)

    def _draw_selection(self) -> None:
        chart = self._made_chart()
        chart.show_selection(self._controller.state.selection, self._across)
        self.add_point_counts(chart.figure)

    def _made_chart(self) -> ScoreChart:
        """Return the figure; it is created at the first drawing."""
        # On the drawing thread, because plotly takes long to import.
        if self.chart is None:
            self.chart = ScoreChart()
            self.add_figure(self.chart.figure)
        return self.chart
