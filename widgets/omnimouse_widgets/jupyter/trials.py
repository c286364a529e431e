"""Trials widget: the panel *Trials* in a notebook, with traits."""

from typing import Any

from traitlets import Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.trials import TrialsView


class Trials(RecordPart):
    """List of trials with their conditions, and averages of the neuron in focus.

    Trials of one tier are averaged around their onsets. They are predicted under the
    task on screen while a page shows this part and no other request arrives.

    Attributes
    ----------
    condition
        Column of the trials whose labels are compared, for example "choice".
    tier
        Tier of the averaged trials; by default that of the scores.
    """

    condition = Unicode("").tag(sync=True)
    tier = Unicode("").tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(TrialsView.of(controller), controller, **traits)
        averages = controller.trial_averages
        signals = (averages.changed, controller.state.events.session)
        self.bind("condition", signals, lambda: averages.condition, averages.choose)
        self.bind("tier", signals, lambda: averages.tier, averages.choose_tier)

    def __repr__(self) -> str:
        return "Run this cell to see the trials."
