"""Traces widget: recorded and predicted responses of the selected neurons."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from traitlets import Bool, Dict, Enum, List, Tuple, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.spans import SPAN_CHOICES, shown_span, span_choices
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.traces import text as trace_words
from omnimouse_widgets.drawn.traces.options import TraceOptions
from omnimouse_widgets.drawn.traces.rows import (
    evidence_of,
    has_band,
    pin_results,
    trace_rows,
)
from omnimouse_widgets.drawn.traces.time_axis import move_over_span
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing
from omnimouse_widgets.jupyter.transport.trace_message import TraceMessage

NO_SELECTION: Final = (
    "Select neurons: Ctrl-click on the field, a row of the table,\n"
    "or in a cell: traces.selection = [4, 12]"
)
NO_SESSION: Final = "No session is open"
TEXTS: Final[dict[str, Any]] = {
    "common": [trace_words.COMMON_LABEL, trace_words.COMMON_TIP],
    "shape": [trace_words.SHAPE_LABEL, trace_words.SHAPE_TIP],
}


class Traces(TraceMessage):
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
    """

    _esm = script("trace_stack", "traces")
    _css = style()
    selection = Tuple().tag(sync=True)
    span = Enum(SPAN_CHOICES, "window").tag(sync=True)
    common_scale = Bool(False).tag(sync=True)
    as_large = Bool(False).tag(sync=True)
    progress = Unicode("", read_only=True).tag(sync=True)
    _texts = Dict(TEXTS).tag(sync=True)
    _spans: Any = List().tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(controller, **traits)
        state, pins, events = controller.state, controller.pins, controller.state.events
        self.bind_field("selection", controller.selection.select)
        self.bind("_spans", events.window, self._read_spans)
        self.bind(
            "span",
            [events.trace_span, events.window],
            lambda: shown_span(state.trace_span, state.spec),
            pins.choose_span,
        )
        self.bind_field("common_scale", partial(setattr, state, "common_scale"))
        self.bind_field("as_large", partial(setattr, state, "as_large"))
        self.bind("progress", pins.changed, lambda: pins.predictions.message)

    def drawings(self) -> list[Drawing]:
        """Return the drawing functions of rows, bar and cursor."""
        controller = self.controller
        events, pins = controller.state.events, controller.pins
        options = [events.selection, events.trace_span, events.common_scale]
        pinned = [events.pins, pins.changed, events.as_large]
        names = [events.predictor_name, events.baseline_name]
        results = controller.results.events
        return [
            Drawing(
                self._draw_rows,
                [*options, *pinned, controller.baseline.changed],
                [events.window, controller.results.changed],
                [events.mask],
            ),
            Drawing(
                self._draw_bar,
                [*pinned, *names, self.spec_changed, results.neuron_scores],
                # Without a mask there is no condition to pin.
                requests=[events.mask],
            ),
            *self.common_drawings(),
        ]

    def move_cursor(self, time_s: float) -> None:
        """Move the cursor to a time in seconds, and the window if necessary."""
        move_over_span(self.controller, time_s)

    # -- from the page ----------------------------------------------------------------
    def on_pin(self, content: dict[str, Any], _: Any) -> None:
        """Pin, show, rename, make current or unpin a condition, or stop predicting."""
        pins, slot = self.controller.pins, int(content.get("slot", 0))
        # Only these methods: a page must not call others by their names.
        actions: dict[str, Callable[[], object]] = {
            "pin": pins.pin_or_notify,
            "show": lambda: pins.show(slot, bool(content["is_shown"])),
            "rename": lambda: pins.rename(slot, str(content["name"])),
            "make_current": lambda: self.controller.pins.make_current(slot),
            "unpin": lambda: pins.unpin(slot),
            "stop": pins.predictions.stop,
        }
        actions[content["action"]]()

    def _read_spans(self) -> list[list[str]]:
        """Return label, name and tooltip of every span."""
        spec = self.controller.state.spec
        window = f"{spec.duration_s:.3g} s"
        return [
            [
                window if choice == "window" else choice,
                choice,
                trace_words.span_tip(choice, spec),
            ]
            for choice in SPAN_CHOICES
            if choice in span_choices(spec)
        ]

    # -- to the page ------------------------------------------------------------------
    def _draw_rows(self) -> None:
        # The number is read before the curves: they can then be newer, never older.
        state, request = self.controller.state, self.controller.results.shown_request
        look = TraceOptions(state.as_large, "common" if state.common_scale else "own")
        rows = trace_rows(self.controller, look)
        missing = NO_SESSION if state.window is None else NO_SELECTION
        self.show_rows(rows, look.scale, missing, request=request)

    def _draw_bar(self) -> None:
        controller, pins = self.controller, self.controller.pins
        state = controller.state
        signs = trace_words.legend_entries(
            trace_words.baseline_text(controller),
            is_large=state.as_large,
            spec=state.spec,
            evidence=evidence_of(controller.results),
            symbol=state.metric.symbol,
            has_band=has_band(controller.results, is_large=state.as_large),
        )
        pinned = trace_words.pin_signs(state.pins, pin_results(controller), pins.problem_of)
        self.add_if_changed(
            "bar",
            legend=signs,
            pinned=pinned,
            notice=trace_words.notice_text(pins),
            can_pin=pins.can_pin,
            pin_tip=trace_words.FULL_TIP if pins.is_full else trace_words.PIN_TIP,
            pins=[
                {
                    "slot": pin.slot,
                    "letter": pin.letter,
                    "name": pin.name,
                    "colour": palette.PINS[pin.slot],
                    "is_shown": pin.is_shown,
                    "text": trace_words.pin_text(pins, pin),
                }
                for pin in state.pins
            ],
        )
