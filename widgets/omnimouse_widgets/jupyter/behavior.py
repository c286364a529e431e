"""Behaviour widget: the panel *Behaviour* in a notebook, with traits."""

from typing import Any

from traitlets import Bool, Enum, Int, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.behavior import MODES, BehaviorView, behavior_text


class BehaviorDecoder(RecordPart):
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
    cursor
        Sample of the window at the cursor, from 0.
    height
        Height of the plot in CSS pixels; rows that do not fit can be scrolled to.
    """

    mode = Enum((*MODES, "mixed"), "hidden").tag(sync=True)
    description = Unicode("", read_only=True).tag(sync=True)
    has_behavior = Bool(False, read_only=True).tag(sync=True)
    cursor = Int(0).tag(sync=True)
    height = Int(360, min=80).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        panel, state = BehaviorView.of(controller), controller.state
        super().__init__(panel, controller, **traits)
        events, changed = state.events, controller.results.changed
        self.bind("mode", events.mask, self._mode, controller.editor.set_behavior)
        described = (events.mask, changed)
        self.bind("description", described, lambda: behavior_text(state, controller.results))
        self.bind("has_behavior", (events.session, events.window), lambda: panel.has_behavior)
        self.bind_field("cursor", controller.navigation.set_cursor)

    def _mode(self) -> str:
        mask = self._state.mask
        return "hidden" if mask is None else mask.behavior_mode

    def __repr__(self) -> str:
        return "Run this cell to see behaviour."
