"""Behaviour widget: recorded and decoded behaviour for each channel."""

from typing import Any, get_args

from traitlets import Bool, Enum, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import BehaviorMode
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing
from omnimouse_widgets.jupyter.transport.trace_message import TraceMessage
from omnimouse_widgets.views.behavior import BehaviorView, behavior_text


class BehaviorDecoder(TraceMessage):
    """Curves of recorded and decoded behaviour: one row per channel, with correlation.

    Attributes
    ----------
    mode
        Use of behaviour in the mask: "visible" (input of the predictor), "target" (to
        be predicted) or "hidden".
    description
        Description of the use of behaviour in the current request; read-only.
    has_behavior
        Whether the recording has behaviour; read-only.
    """

    _esm = script("trace_stack", "behavior")
    _css = style()
    mode = Enum((*get_args(BehaviorMode), "mixed"), "hidden").tag(sync=True)
    description = Unicode("", read_only=True).tag(sync=True)
    has_behavior = Bool(False, read_only=True).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._view = BehaviorView.of(controller)
        super().__init__(controller, **traits)
        events, results = controller.state.events, controller.results
        self.bind("mode", events.mask, self._mode, controller.editor.set_behavior)
        described = (events.mask, results.changed)
        self.bind("description", described, lambda: behavior_text(controller))
        opened = (events.session, events.window)
        self.bind("has_behavior", opened, self._has_behavior)

    def drawings(self) -> list[Drawing]:
        """Return the drawing functions of rows, legend and cursor."""
        events, results = self.controller.state.events, self.controller.results
        # The legend is constant: it has no signals and is drawn once for each page.
        return [
            Drawing(self._draw_rows, [], [events.window, results.changed], [events.mask]),
            Drawing(self._draw_legend),
            *self.common_drawings(),
        ]

    def _mode(self) -> str:
        mask = self.controller.state.mask
        return "hidden" if mask is None else mask.behavior_mode

    def _has_behavior(self) -> bool:
        state = self.controller.state
        return state.session is not None and bool(state.session.behavior_names)

    # -- to the page ------------------------------------------------------------------
    def _draw_rows(self) -> None:
        traces = self._view.traces()
        self.show_rows(traces.rows, "own", traces.missing)

    def _draw_legend(self) -> None:
        self.add_if_changed("legend", legend=self._view.legend().signs)
