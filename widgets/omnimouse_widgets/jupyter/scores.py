"""Scores widget: the panel *Scores* in a notebook, with traits."""

from typing import Any

from traitlets import Enum, Tuple, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.scores import (
    AGAINST,
    N_RANKED,
    TOOLS,
    Rank,
    ScoreDistribution,
    ScoresView,
)


class NeuronScores(RecordPart):
    """Histogram of neuron scores, and scatter plot of scores against a quantity.

    Clicks, rectangles and lassos in both plots select neurons, and both plots show the
    selected neurons in white.

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
    """

    INTERVAL_S = 0.25  # ten thousand points take a page a tenth of a second

    against = Enum(AGAINST, "mean").tag(sync=True)
    filter = Unicode("").tag(sync=True)
    tool = Enum([name for name, *_ in TOOLS], "rectangle").tag(sync=True)
    selection = Tuple().tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self.view = view = ScoresView.of(controller)
        super().__init__(view, controller, **traits)
        self.bind_field("selection", controller.selection.select)
        self.bind("against", view.changed, lambda: view.against, view.set_against)
        self.bind("filter", view.changed, lambda: view.filter, view.set_filter)
        self.bind("tool", view.changed, lambda: view.tool, view.set_tool)

    @property
    def spread(self) -> ScoreDistribution:
        """Scores of the neurons that pass the filter, and their histogram."""
        return self.view.spread

    @property
    def summary(self) -> str:
        """Number of scored neurons and their scores, as text."""
        return self.view.summary

    @property
    def message(self) -> str:
        """What is said if more than 64 neurons were picked."""
        return self.view.message

    def select_ranked(self, rank: Rank, n: int = N_RANKED) -> None:
        """Select the n neurons with the "lowest", "middle" or "highest" scores."""
        self.view.select_ranked(rank, n)

    def select_between(self, low: float, high: float) -> None:
        """Select the neurons with scores in [low, high]."""
        self.view.select(self.spread.between(low, high))

    def __repr__(self) -> str:
        return "Run this cell to see the scores."
