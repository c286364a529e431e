"""Parts that show recorded and predicted values: one panel each, with traits."""

from functools import partial
from typing import Any

import numpy as np
from traitlets import Bool, Enum, Int, Tuple, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons.colour_by import PREDICTORS
from omnimouse_model.live.pin import SPAN_CHOICES, shown_span
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.behavior import BehaviorView, behavior_text
from omnimouse_widgets.views.neuron import NeuronView
from omnimouse_widgets.views.neurons import NeuronsView
from omnimouse_widgets.views.repeats import RepeatsView
from omnimouse_widgets.views.scores import (
    AGAINST,
    N_RANKED,
    TOOLS,
    Rank,
    ScoreDistribution,
    ScoresView,
)
from omnimouse_widgets.views.text.model import MODES, freshness_text
from omnimouse_widgets.views.traces import TracesView
from omnimouse_widgets.views.trials import TrialsView
from omnimouse_widgets.views.what_if import WhatIfView


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
    progress = Unicode("", read_only=True)
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

    PURPOSE = "see behaviour"

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

    PURPOSE = "see the neurons"

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
        columns = controller.colouring.changed
        self.bind("shown", (changed, events.session, events.mask, columns), self._n_shown)

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


class NeuronScores(RecordPart):
    """Histogram of neuron scores, and scatter plot of scores against a quantity.

    Clicks, rectangles and lassos in both plots select neurons, and both plots show the
    selected neurons in white.

    Attributes
    ----------
    predictor
        What the scores are of: "model", "baseline", or "A" to "D", a pinned condition.
    against
        Horizontal axis of the scatter plot: a quantity of the neurons ("depth",
        "ceiling", "mean", …, see `controller.colouring.choices`), or the score of another
        predictor ("model", "baseline", "A" to "D"). The colour `difference` is that of the
        two predictors.
    filter
        Filter of the neurons, as in the table: `V1 depth<250`. In an `Explorer`, both
        filters are the same. An invalid filter raises an error.
    tool
        Tool of a drag: "rectangle" or "lasso".
    selection
        Indices of the selected neurons in the order of selection, at most 64.
    """

    PURPOSE = "see the scores"
    INTERVAL_S = 0.25  # ten thousand points take a page a tenth of a second

    predictor = Enum(PREDICTORS, "model").tag(sync=True)
    against = Enum(AGAINST, "mean").tag(sync=True)
    filter = Unicode("").tag(sync=True)
    tool = Enum([name for name, *_ in TOOLS], "rectangle").tag(sync=True)
    selection = Tuple().tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self.view = view = ScoresView.of(controller)
        super().__init__(view, controller, **traits)
        self.bind_field("selection", controller.selection.select)
        compared = controller.state.events.compared
        self.bind("predictor", compared, lambda: view.predictor, view.set_predictor)
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


class Neuron(RecordPart):
    """Receptive field, direction tuning and repeats of the neuron in focus.

    The numbers are computed from the recording while a page shows this part. In code:
    `explorer.controller.neuron_info.current`.

    Attributes
    ----------
    part
        What is shown: "field", "tuning", "repeats", … ("spikes" first, if there are spikes);
        "" without a neuron in focus.
    clip
        Number of the clip whose repeats are shown, from 0.
    """

    PURPOSE = "see the neuron"

    part = Unicode("").tag(sync=True)
    clip = Int(0, min=0).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        panel = NeuronView.of(controller)
        super().__init__(panel, controller, **traits)
        info = controller.neuron_info
        signals = [panel.changed, info.changed, info.focus_changed, controller.laboratory.changed]
        signals += [controller.state.events.session, controller.results.events.learned]
        self.bind("part", signals, lambda: panel.part, panel.show_part)
        self.bind("clip", panel.changed, lambda: panel.clip, panel.show_clip)


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

    PURPOSE = "see the trials"

    condition = Unicode("").tag(sync=True)
    tier = Unicode("").tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(TrialsView.of(controller), controller, **traits)
        averages = controller.trial_averages
        signals = (averages.changed, controller.state.events.session)
        self.bind("condition", signals, lambda: averages.condition, averages.choose)
        self.bind("tier", signals, lambda: averages.tier, averages.choose_tier)


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

    PURPOSE = "see the repeats"

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

    PURPOSE = "edit the stimulus"

    edits = Unicode("").tag(sync=True)
    status = Unicode("").tag(sync=True)
    height = Int(240, min=80).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        panel, edits = WhatIfView.of(controller), controller.stimulus_edits
        super().__init__(panel, controller, **traits)
        signals = (controller.state.events.edits, controller.results.changed)
        self.bind("edits", signals, lambda: edits.text)
        self.bind("status", signals, lambda: panel.status)


class ResultParts:
    """Names of these parts in an `Explorer`, for type checkers."""

    traces: Traces
    behavior: BehaviorDecoder
    table: NeuronTable
    neuron_scores: NeuronScores
    neuron: Neuron
    trials: Trials
    repeats: Repeats
    what_if: WhatIf
