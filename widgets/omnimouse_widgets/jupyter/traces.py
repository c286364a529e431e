"""Traces widget: the panel *Traces* in a notebook, with traits."""

from functools import partial
from typing import Any

from traitlets import Bool, Enum, Int, Tuple, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pin import SPAN_CHOICES, shown_span
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.text.model import freshness_text
from omnimouse_widgets.views.traces import TracesView


class Traces(RecordPart):
    """Up to 64 rows of recorded, predicted and pinned curves.

    Attributes
    ----------
    selection
        Indices of the shown neurons in the order of selection.
    span
        Displayed part of the session: "window", "10 s", "30 s" or "trial".
    common_scale
        Whether all rows have the same scale.
    as_large
        Whether predictions are scaled to the amplitude of the recording.
    progress
        Current prediction for the span and the pins, as text, or ""; read-only.
    cursor
        Sample of the window at the cursor, from 0.
    height
        Height of the plot in CSS pixels; rows that do not fit can be scrolled to.
    status
        Age and duration of the prediction, as text; read-only.
    """

    # At most 20 drawings per second: each one sends all rows, up to 64, again.
    INTERVAL_S = 0.05
    AHEAD = 3

    selection = Tuple().tag(sync=True)
    span = Enum(SPAN_CHOICES, "window").tag(sync=True)
    common_scale = Bool(False).tag(sync=True)
    as_large = Bool(False).tag(sync=True)
    progress = Unicode("", read_only=True).tag(sync=True)
    status = Unicode("", read_only=True)
    cursor = Int(0).tag(sync=True)
    height = Int(360, min=80).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._results = controller.results
        super().__init__(TracesView.of(controller), controller, **traits)
        state, pins, events = controller.state, controller.pins, controller.state.events
        self.bind_field("selection", controller.selection.select)
        self.bind(
            "span",
            [events.trace_span, events.window],
            lambda: shown_span(state.trace_span, state.spec),
            pins.choose_span,
        )
        self.bind_field("common_scale", partial(setattr, state, "common_scale"))
        self.bind_field("as_large", partial(setattr, state, "as_large"))
        self.bind("progress", pins.changed, lambda: pins.predictions.message)
        self.bind("status", controller.results.changed, self._freshness)
        self.bind_field("cursor", controller.navigation.set_cursor)

    def is_awaiting(self) -> bool:
        """Return whether the prediction of the selected neurons is still to come."""
        return self._results.freshness in ("stale", "running")

    def _freshness(self) -> str:
        sign, _, text = freshness_text(self._results, is_long=False)
        return f"{sign} {text}"
