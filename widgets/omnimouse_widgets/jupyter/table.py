"""Neuron table widget: the panel *Neurons* in a notebook, with traits."""

from typing import Any

import numpy as np
from traitlets import Bool, Int, Tuple, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.neurons import NeuronsView


class NeuronTable(RecordPart):
    """Table of the neurons, with sorting and a filter.

    Attributes
    ----------
    filter
        Words and comparisons that must all hold: `V1 target depth<250`; see
        `omnimouse_model.masks.neuron_table`. An invalid filter raises an error.
    sort_by, descending
        Column for sorting, or a property of joined tables, and whether the largest
        value comes first.
    selection
        Indices of the selected neurons in the order of selection, at most 64.
    shown
        Number of neurons that pass the filter; read-only.
    height
        Height of the rows in CSS pixels.
    """

    filter = Unicode("").tag(sync=True)
    sort_by = Unicode("id").tag(sync=True)
    descending = Bool(False).tag(sync=True)
    selection = Tuple().tag(sync=True)
    shown = Int(0, read_only=True).tag(sync=True)
    height = Int(320, min=80).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self.view = view = NeuronsView.of(controller)
        super().__init__(view, controller, **traits)
        changed, events = view.changed, controller.state.events
        self.bind_field("selection", controller.selection.select)
        self.bind("filter", changed, lambda: view.filter, view.set_filter)
        self.bind("sort_by", changed, lambda: view.sort_by, self._sort)
        self.bind("descending", changed, lambda: view.is_descending, self._turn)
        self.bind("shown", (changed, events.session, events.mask), self._n_shown)

    def _sort(self, name: str) -> None:
        self.view.set_order(name, is_descending=self.descending)

    def _turn(self, is_descending: bool) -> None:
        self.view.set_order(self.view.sort_by, is_descending=is_descending)

    def _n_shown(self) -> int:
        session = self._state.session
        # Without a filter, a stroke need not read all columns.
        if session is None or self.view.filter:
            return len(self.view.neurons)
        return session.n_neurons

    @property
    def neurons(self) -> np.ndarray:
        """Neurons that pass the filter, in the order of the rows."""
        return self.view.neurons

    def paint(self, code: int | None = None) -> None:
        """Paint every neuron that passes the filter, as one undo step.

        `code` is 0 hidden, 1 visible or 2 target; it defaults to that of the brush.
        """
        self.view.paint(code)

    def __repr__(self) -> str:
        return "Run this cell to see the neurons."
