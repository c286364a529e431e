"""Trials widget: the list of trials, and averages around their onsets by condition."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from traitlets import Dict, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.neurons.trials import (
    PLOT_TIP,
    TABLE_TIP,
    TIER_TIP,
    average_plot,
    current_trial,
    trial_table,
)
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part


class Trials(Part):
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

    _esm = script("trials")
    _css = style()
    INTERVAL_S = 0.1

    condition = Unicode("").tag(sync=True)
    tier = Unicode("").tag(sync=True)
    _tips = Dict({"list": TABLE_TIP, "plot": PLOT_TIP, "tier": TIER_TIP}).tag(sync=True)
    _axis = Unicode(palette.AXIS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(controller, **traits)
        averages, session = controller.trial_averages, controller.state.events.session
        signals = (averages.changed, session)
        self.bind("condition", signals, lambda: averages.condition, averages.choose)
        self.bind("tier", signals, lambda: averages.tier, averages.choose_tier)
        # Another recording has other conditions.
        self._link(session, self._follow)

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of list, current trial and averages."""
        controller, events = self._controller, self._controller.state.events
        averages = controller.trial_averages
        return (
            Drawing(self._draw_list, [events.session]),
            Drawing(
                self._draw_trial,
                [events.session, events.window, controller.navigation.trial_changed],
            ),
            Drawing(
                self._draw_averages,
                [
                    *(events.session, events.selection, averages.changed),
                    controller.neuron_info.focus_changed,
                ],
                [controller.results.changed],
            ),
        )

    def activate(self) -> None:
        """Predict the trials for the averages."""
        self._controller.trial_averages.show(True, self)

    def deactivate(self) -> None:
        """Predict no further trials."""
        self._controller.trial_averages.show(False, self)

    def _follow(self) -> None:
        if self._views:
            self.activate()

    # -- from the page ----------------------------------------------------------------
    def on_go(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Move the window to a trial."""
        self._controller.navigation.go_to_trial(int(content["trial"]))

    # -- to the page ------------------------------------------------------------------
    def _draw_list(self) -> None:
        table = trial_table(self._controller)
        names = list(self._controller.trial_averages.conditions)
        self.add_if_changed(
            "list",
            titles=table.titles,
            rows=table.rows,
            conditions=names,
            tiers=self._controller.trial_averages.tiers,
        )

    def _draw_trial(self) -> None:
        number, text = current_trial(self._controller)
        self.add_if_changed("trial", number=number, text=text)

    def _draw_averages(self) -> None:
        plot = average_plot(self._controller)
        lines = [
            np.stack([one.recorded, one.recorded_sem, one.predicted, one.predicted_sem])
            for one in plot.lines
        ]
        self.add_if_changed(
            "averages",
            [np.asarray(values, np.float32) for values in (plot.time_s, *lines)],
            labels=[line.label for line in plot.lines],
            colours=[line.colour for line in plot.lines],
            limits=plot.limits,
            unit=plot.unit,
            text=plot.text,
        )

    def __repr__(self) -> str:
        return "Run this cell to see the trials."
