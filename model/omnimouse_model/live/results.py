"""What views draw beside the recording: the latest predictions and how fresh they are.

Everything here belongs to the window on screen and to the predictor chosen: it is
cleared when either changes, so a prediction is never drawn over another window.
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
    """The latest answers; `changed` is emitted once after each update.

    Attributes
    ----------
    selected, population
        The selected neurons' prediction, and that of every neuron asked for.
    scores
        float32 (P,): single-trial correlation over the window's target samples, NaN
        where nothing was predicted.
    behavior
        float32 (40, C) decoded behaviour, z-scored, or None.
    freshness
        "none" nothing asked or shown, "running" asked and nothing shown yet, "stale"
        shown but a newer request is under way, "stopped" the newest request was
        cancelled and what is shown, if anything, is older, "fresh" shown and newest,
        "error" the newest request failed.
    sweep
        The live sweep of the selected neurons in the window, with the points there are
        so far (`is_complete` says whether all), or None.
    what_if
        The prediction under the edits of the state, beside `population`, or None.
    what_if_error
        Why there is none, in words for the user.
    population_freshness, sweep_freshness, what_if_freshness
        The same for `population` and `scores`, for `sweep`, and for `what_if`, which
        arrive later.
    is_awaited
        Whether anything more of the newest request's answer is still to come.
    shown, asked
        Numbers of the request that is shown and of the newest.
    error
        Why there is no answer, in words for the user.
    needs
        What the predictor that answered can see and predict; where its
        `withholds_video` is False, hidden frames can still inform a prediction.
    devices
        What a predictor can be asked to compute on here, as far as is known by now.
    residence
        Where the predictor that was loaded last computes, None before the first.
    elapsed_ms
        From the question to the answer of `selected`.
    """

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
    shown: int = 0
    asked: int = 0
    error: str | None = None
    needs: Needs | None = None
    devices: tuple[str, ...] = DEVICES
    residence: Residence | None = None
    elapsed_ms: float | None = None

    @property
    def age(self) -> tuple[int, int]:
        """Request number shown, and the newest asked."""
        return self.shown, self.asked

    @property
    def is_old(self) -> bool:
        """Whether `selected` and `behavior` answer an older question."""
        return self.selected is not None and self.freshness in ("stale", "stopped")

    @property
    def is_population_old(self) -> bool:
        """Whether `population` and `scores` answer an older question."""
        known = self.population is not None
        return known and self.population_freshness in ("stale", "stopped")

    @property
    def is_answered(self) -> bool:
        """Whether the question without edits is answered, to its last stage."""
        is_swept = self.sweep is None or self.sweep.is_complete
        return self.freshness == self.population_freshness == "fresh" and is_swept

    @property
    def was_stopped(self) -> bool:
        """Whether the newest question was given up before it was fully answered."""
        return "stopped" in (self.freshness, self.population_freshness)

    @property
    def notice(self) -> str:
        """What the user should know about the prediction shown, "" when nothing."""
        prediction = self.selected
        if prediction is None or prediction.status == "ok":
            return ""
        return prediction.status

    def clear(self) -> None:
        """Forget every answer."""
        self.selected = self.population = None
        self.scores = self.behavior = self.sweep = self.what_if = None
        self.elapsed_ms = None
