"""Neuron widget: the panel *Neuron* in a notebook, with a trait."""

from typing import Any

from traitlets import Int

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.neuron import NeuronView


class Neuron(RecordPart):
    """Receptive field, direction tuning and repeats of the neuron in focus.

    The numbers are computed from the recording while a page shows this part. In code:
    `explorer.controller.neuron_info.current`.

    Attributes
    ----------
    clip
        Number of the clip whose repeats are shown, from 0.
    """

    clip = Int(0, min=0).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        panel = NeuronView.of(controller)
        super().__init__(panel, controller, **traits)
        self.bind("clip", panel.changed, lambda: panel.clip, panel.show_clip)

    def __repr__(self) -> str:
        return "Run this cell to see the neuron."
