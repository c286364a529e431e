"""Latest predictions for the window on screen, and whether they are up to date.

All values belong to the window on screen and the chosen predictor. They are cleared
when either changes, so a prediction is never drawn over another window.
"""

import operator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from psygnal import Signal, SignalGroupDescriptor

from omnimouse_model.analysis.in_silico.counterfactual import WhatIf
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.predict.devices import DEVICES, Residence
from omnimouse_model.predict.predictor import Needs, Prediction

Freshness = Literal["none", "running", "stale", "stopped", "fresh", "error"]


@dataclass(eq=False)
class Results:
    """Latest results of one predictor; `changed` is emitted once after each update.

    Attributes
    ----------
    selected, population
        Predictions of the selected neurons, and of all target neurons.
    scores
        float32 (P,): single-trial correlation over the window's target samples, NaN
        without a prediction.
    behavior
        float32 (40, C) decoded behaviour, z-scored, or None.
    freshness
        State of `selected` and `behavior`. "none": no request. "running": requested, no
        result yet. "stale": a result is shown and a newer request is running.
        "stopped": the newest request was cancelled; a result shown is older. "fresh":
        the result of the newest request is shown. "error": the newest request failed.
    sweep
        Live sweep of the selected neurons in the window with the points computed so
        far, or None.
    what_if
        Prediction under the what-if edits of the state, or None.
    what_if_error
        Error message of the what-if for the user, or None.
    population_freshness, sweep_freshness, what_if_freshness
        The same states for `population` and `scores`, for `sweep`, and for `what_if`,
        which arrive later.
    is_awaited
        Whether the newest request has unfinished stages.
    shown_request, newest_request
        Numbers of the request whose result is shown, and of the newest request.
    error
        Error message of the newest request for the user, or None.
    needs
        Inputs and outputs of the loaded predictor. If `needs.withholds_video` is False,
        hidden frames can still inform a prediction.
    devices
        Devices that a predictor can use on this machine, as far as known.
    residence
        Device and memory of the last loaded predictor, None before the first.
    elapsed_ms
        Milliseconds from the request to the result `selected`.
    """

    # Identity, not equality: `==` on arrays is elementwise, and comparing whole
    # predictions costs more than a redraw.

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor(
        equality_operators=dict.fromkeys(
            ("selected", "population", "scores", "behavior", "sweep", "what_if"),
            operator.is_,
        )
    )
    changed: ClassVar[Signal] = Signal()

    selected: Prediction | None = None
    population: Prediction | None = None
    scores: np.ndarray | None = None
    behavior: np.ndarray | None = None
    sweep: ContextSweep | None = None
    freshness: Freshness = "none"
    population_freshness: Freshness = "none"
    sweep_freshness: Freshness = "none"
    what_if: WhatIf | None = None
    what_if_freshness: Freshness = "none"
    what_if_error: str | None = None
    is_awaited: bool = False
    shown_request: int = 0
    newest_request: int = 0
    error: str | None = None
    needs: Needs | None = None
    devices: tuple[str, ...] = DEVICES
    residence: Residence | None = None
    elapsed_ms: float | None = None

    @property
    def request_numbers(self) -> tuple[int, int]:
        """Numbers of the request shown and of the newest request."""
        return self.shown_request, self.newest_request

    @property
    def is_old(self) -> bool:
        """Whether `selected` and `behavior` belong to an older request."""
        return self.selected is not None and self.freshness in ("stale", "stopped")

    @property
    def is_population_old(self) -> bool:
        """Whether `population` and `scores` belong to an older request."""
        known = self.population is not None
        return known and self.population_freshness in ("stale", "stopped")

    @property
    def is_answered(self) -> bool:
        """Whether all stages of the request, apart from the what-if, are finished."""
        # No sweep: not requested, or its first point is not computed yet.
        is_swept = self.sweep is None or self.sweep.is_complete
        return self.freshness == self.population_freshness == "fresh" and is_swept

    @property
    def was_stopped(self) -> bool:
        """Whether the newest request was cancelled before all its stages finished."""
        return "stopped" in (self.freshness, self.population_freshness)

    @property
    def notice(self) -> str:
        """Message about the shown prediction for the user, "" if it is normal."""
        prediction = self.selected
        if prediction is None or prediction.status == "ok":
            return ""
        return prediction.status

    def clear(self) -> None:
        """Remove all predictions and scores; freshness and numbers stay."""
        self.selected = self.population = None
        self.scores = self.behavior = self.sweep = self.what_if = None
        self.elapsed_ms = None
