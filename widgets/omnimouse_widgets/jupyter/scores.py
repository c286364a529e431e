"""Scores widget: histogram of neuron scores, and scatter plot against a quantity.

The kernel computes the histogram and sends only bars and points. The figure is created
when a page first shows the widget.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from ipywidgets import Layout, VBox
from psygnal import SignalInstance
from traitlets import Dict, Enum, List, Tuple, Unicode, validate

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pin import LETTERS
from omnimouse_model.live.state import MAX_SELECTED
from omnimouse_model.masks.neuron_table import matching_neurons
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
from omnimouse_widgets.jupyter.transport.part import Drawn, Part

RANKED: Final = 16
"""Number of neurons that a button selects: the rows of traces that fit on screen."""
TOOLS: Final = ("rectangle", "lasso")
_NOTHING: Final = spread(np.empty(0, np.int64), np.empty(0))
LOOK: Final[dict[str, Any]] = {
    "ranks": [
        [rank, rank.capitalize(), f"Select the {RANKED} neurons with the {rank} scores"]
        for rank in RANKS
    ],
    "picked": [BARS, POINTS],
}


class NeuronScores(Part):
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
    told
        Message if more than 64 neurons were picked; read-only.
    widget
        Controls above the figure, as an ipywidget.
    """

    _esm = script("scores")
    _css = style()
    REST_S = 0.25  # ten thousand points take plotly a tenth of a second

    against = Enum(AGAINST, "mean").tag(sync=True)
    filter = Unicode("").tag(sync=True)
    tool = Enum(TOOLS, "rectangle").tag(sync=True)
    selection = Tuple().tag(sync=True)
    summary = Unicode("", read_only=True)
    told = Unicode("", read_only=True).tag(sync=True)
    _choices: Any = List().tag(sync=True)
    _look = Dict(LOOK).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self.chart: ScoreChart | None = None
        self._look_changed = SignalInstance()
        self._spread, self._across = _NOTHING, SecondQuantity("", np.empty(0))
        self._drawing = 0
        super().__init__(controller, **traits)
        full = Layout(width="100%", overflow="hidden")
        self.widget = VBox([self], layout=full)
        state, events = controller.state, controller.state.events
        self.bind(
            "selection",
            events.selection,
            lambda: state.selection,
            controller.select,
        )
        colouring = controller.colouring
        # `_select` sets `told` after `select`, so this does not clear its message.
        self._link(events.selection, lambda: self.set_trait("told", ""))
        offered = (events.session, events.pins, colouring.changed)
        self.bind("_choices", offered, self._read_choices)
        answered = (events.session, controller.results.changed)
        self.bind("summary", answered, self._read_summary)
        self.observe(self._on_against, "against")
        self.observe(self._on_filter, "filter")
        self.observe(lambda _: self._look_changed.emit(), "tool")

    def parts(self) -> Sequence[Drawn]:
        """Return the drawing functions of bars with points and of the selection."""
        controller = self._controller
        events, changed = controller.state.events, controller.results.changed
        asked = [events.session, changed, events.pins, controller.pins.changed]
        return [
            Drawn(
                self._draw, [*asked, controller.colouring.changed, self._look_changed]
            ),
            Drawn(self._draw_selection, [events.selection]),
        ]

    def seen(self) -> None:
        """Start reading the quantity of the horizontal axis if it is not loaded."""
        self._controller.colouring.draw(self, self._quantity)

    def left(self) -> None:
        """Stop reading the quantity of the horizontal axis."""
        self._controller.colouring.draw(self, None)

    # -- what code may call -----------------------------------------------------------
    @property
    def spread(self) -> ScoreDistribution:
        """Scores of the neurons that pass the filter, and their histogram."""
        return distribution_of(self._controller, self.filter)

    def select_ranked(self, rank: Rank, n: int = RANKED) -> None:
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
            found = [spread.in_bar(int(bar)) for bar in np.sort(places)]
            # The empty array is for an empty `found`, which numpy cannot concatenate.
            neurons = np.concatenate([*found, _NOTHING.neurons])
        else:
            # Ascending scores: the controller selects the last 64, the highest scores.
            order = np.argsort(spread.scores[places], kind="stable")
            neurons = spread.neurons[places[order]]
        self._select(neurons, bool(content["add"]))

    # -- within -----------------------------------------------------------------------
    @validate("filter")
    def _known_filter(self, proposal: Any) -> str:
        text = str(proposal["value"]).strip()
        matching_neurons(text, columns_of(self.controller))
        return text

    @property
    def _quantity(self) -> Any:
        return None if self.against in LETTERS else self.against

    def _on_against(self, _: Any) -> None:
        if self._views:
            self.seen()
        self._choices = self._read_choices()
        self._look_changed.emit()

    def _on_filter(self, _: Any) -> None:
        self.set_trait("summary", self._read_summary())
        self._look_changed.emit()

    def _read_choices(self) -> list[list[str]]:
        return quantity_choices(self._controller, self.against)

    def _read_summary(self) -> str:
        return summary_text(self._controller, self.spread, self.filter)

    def _select(self, neurons: np.ndarray, is_more: bool = False) -> None:
        """Select the neurons; of more than 64, those with the highest scores."""
        self._controller.select(neurons, is_more)
        n, most = len(neurons), MAX_SELECTED
        words = f"Of {n:,} the {most} with the highest scores are selected"
        self.set_trait("told", words if n > most else "")

    # -- to the page ------------------------------------------------------------------
    def _draw(self) -> None:
        controller = self._controller
        chart = self._made_chart()
        found = self.spread
        across = second_quantity(controller, self.against, found.neurons)
        # The number identifies the neurons of a drawing. New scores of the same neurons
        # do not make a selection invalid that the page is about to send.
        if not np.array_equal(found.neurons, self._spread.neurons):
            self._drawing += 1
        self._spread, self._across = found, across
        is_old = controller.results.is_population_old
        chart.use(self.tool)
        if controller.state.session is not None:
            chart.show_names(controller.state.session.units.names[found.neurons])
        chart.show_spread(found, across, is_old=is_old)
        chart.show_selection(controller.state.selection, across)
        words = [found.bar_text(bar) for bar in range(len(found.counts))]
        label = f"Histogram of r, and r against {across.label}. {self.summary}"
        self.show("scores", drawing=self._drawing, bars=words, label=label)
        self.keep("summary", words=self.summary)

    def _draw_selection(self) -> None:
        self._made_chart().show_selection(
            self._controller.state.selection, self._across
        )
        self.show("selected")

    def _made_chart(self) -> ScoreChart:
        """Return the figure; it is created at the first drawing."""
        # On the drawing thread, because plotly takes long to import.
        if self.chart is None:
            self.chart = ScoreChart()
            self.widget.children = (self, self.chart.figure)
        return self.chart

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Display `widget`, which includes the figure."""
        return self.widget._repr_mimebundle_(**options)

    def close(self) -> None:
        """Remove controls and figure from every page."""
        super().close()
        if self.chart is not None:
            self.chart.figure.close()
        self.widget.close()
