"""What-if widget: the panel *What if* in a notebook, with traits."""

from typing import Any

from traitlets import Int, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.what_if import WhatIfView


class WhatIf(RecordPart):
    """Edits of stimulus and behaviour, and the predictions without and with them.

    In code: `explorer.controller.stimulus_edits` adds and removes edits.

    Attributes
    ----------
    edits
        Description of the edits, such as "mirrored"; read-only.
    status
        Age of the prediction with the edits, as text; read-only.
    height
        Height of the predictions in CSS pixels; rows that do not fit can be scrolled to.
    """

    edits = Unicode("").tag(sync=True)
    status = Unicode("").tag(sync=True)
    height = Int(240, min=80).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        panel, edits = WhatIfView.of(controller), controller.stimulus_edits
        super().__init__(panel, controller, **traits)
        signals = (controller.state.events.edits, controller.results.changed)
        self.bind("edits", signals, lambda: edits.text)
        self.bind("status", signals, lambda: panel.status)

    def __repr__(self) -> str:
        return "Run this cell to edit the stimulus."
