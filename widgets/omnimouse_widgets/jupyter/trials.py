"""Trials and repeats widgets: the panels *Trials* and *Repeats*, with traits."""

from typing import Any

from traitlets import Int, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.repeats import RepeatsView
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


class Repeats(RecordPart):
    """All repeats of the clip on screen; a press moves the window to that time.

    The responses are read while a page shows this part.

    Attributes
    ----------
    clip
        Number of the clip in the window, from 0; None if it has no repeats. Set it to go
        to the first repeat of another clip.
    repeat
        Number of the repeat in the window, from 0, or None. Set it to go to the same
        moment of another repeat.
    """

    clip = Int(None, allow_none=True).tag(sync=True)
    repeat = Int(None, allow_none=True).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(RepeatsView.of(controller), controller, **traits)
        clips, events = controller.repeats, controller.state.events
        signals = (events.session, events.window)

        def number() -> int | None:
            return None if clips.clip is None else clips.clips.index(clips.clip)

        # None is no place to go to: the trait returns to the one on screen.
        self.bind("clip", signals, number, lambda to: None if to is None else clips.go_to_clip(to))
        self.bind(
            "repeat",
            signals,
            lambda: clips.repeat,
            lambda to: None if to is None else clips.go_to(to),
        )

    def __repr__(self) -> str:
        return "Run this cell to see the repeats."
