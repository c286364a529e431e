"""Latest predictions and scores for the window on screen, and whether they are fresh.

All values belong to the window on screen and the chosen predictor. They are cleared
when either changes, so a prediction is never drawn over another window; where two
windows overlap, predictions move with the samples (`inference.stream`).
"""

import operator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Literal

import numpy as np
from psygnal import Signal, SignalGroupDescriptor

from omnimouse_model.analysis.barcodes import LearnedNeurons
from omnimouse_model.analysis.counterfactual import WhatIf
from omnimouse_model.analysis.peri_event import PeriEventResponses
from omnimouse_model.analysis.sweep.live_sweep import TierCurves
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.errors import ConnectError, UnsupportedRequestError
from omnimouse_model.evaluation.tier_score import TierScore
from omnimouse_model.masks import Mask
from omnimouse_model.predict.compatibility import task_id
from omnimouse_model.predict.devices import DEVICES, Residence
from omnimouse_model.predict.predictor import Needs, Prediction, take_neurons

NOT_FITTED: Final = "Not fitted yet: a fit to this recording, in Fine-tuning, trains the model."
"""Why a model without weights cannot be asked."""


# -- score of each neuron on screen, and the windows that it was computed from --------
IN_WINDOW: Final = "in this window"
"""Evidence of a score of the window on screen."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoresOnScreen:
    """Score of each neuron over the window on screen, or over windows of a tier.

    Attributes
    ----------
    values
        float (P,): NaN without a score.
    tier
        Name of the tier, "" for the window on screen.
    evidence
        Windows of the scores in words.
    slopes
        float (P,): slope of recorded on predicted responses, 1 if calibrated; NaN
        where it is unknown. None for the window on screen.
    is_pooled
        Whether correlations are about the means of the scored windows.
    """

    values: np.ndarray
    tier: str = ""

    evidence: str = IN_WINDOW
    slopes: np.ndarray | None = None
    is_pooled: bool = False


def evidence(found: TierScore) -> str:
    """Return the windows of a score, e.g. "over 48 of 172 test windows".

    It ends with "pooled" if the score is not centred.
    """
    pooled = ", pooled" if found.score is not None and found.score.is_pooled else ""
    return f"over {windows_text(found)}{pooled}"


def windows_text(found: TierScore) -> str:
    """Return the windows of a score, e.g. "48 of 172 test windows"."""
    return f"{found.n_total:,} {found.tier} windows" if found.is_complete else found.windows


def scores_of_neurons(
    tier_score: TierScore | None, in_window: np.ndarray | None
) -> ScoresOnScreen | None:
    """Return the scores over a tier where they are known, else those of the window.

    Without train windows, correlations over a tier are pooled, which the evidence states.
    """
    score = None if tier_score is None else tier_score.score
    if tier_score is None or score is None or score.refusal:
        return None if in_window is None else ScoresOnScreen(in_window)
    values = np.full(tier_score.mask.n_neurons, np.nan)
    values[score.neurons] = score.per_neuron
    slopes = np.full(len(values), np.nan)
    if score.is_centred:
        slopes[score.neurons] = score.slope_per_neuron
    return ScoresOnScreen(values, tier_score.tier, evidence(tier_score), slopes, score.is_pooled)


# -- latest predictions for the window on screen, and whether they are up to date -----
Freshness = Literal["none", "running", "stale", "streamed", "stopped", "fresh", "error"]
"""State of a result; "streamed" is shown until a prediction with scores follows."""
NOT_SENT: Final = 0
"""Number of a request that will be sent later; numbers of an engine start at 1."""
_FRESHNESS: Final = (
    "freshness", "population_freshness", "sweep_freshness", "what_if_freshness",
)  # fmt: skip


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
    tier_score
        Score of the task on screen over the windows of a tier so far, or None. It does
        not depend on the window.
    tier_curves
        Context curves over the windows of a tier so far, or None. They depend neither
        on the window nor on the painted cells.
    neuron_scores
        Score of each neuron for display: from `tier_score`, else `scores`; read-only.
    what_if
        Prediction under the what-if edits of the state, or None.
    what_if_error
        Error message of the what-if for the user, or None.
    population_freshness, sweep_freshness, what_if_freshness
        The same states for `population` and `scores`, for `sweep`, and for `what_if`,
        which arrive later.
    is_awaited
        Whether the newest request has unfinished stages.
    is_cancelled
        Whether the user has stopped it, and the scores over a tier that follow it.
    shown_request, newest_request
        Numbers of the request whose result is shown, and of the newest request, as the
        engine counts them.
    error
        Error message of the newest request for the user, or None.
    is_refused
        Whether `error` says why the model cannot answer this task or recording.
    asked_host
        Host that the file of the model names, if `error` says that the user must allow it.
    needs
        Inputs and outputs of the loaded predictor. If `needs.withholds_video` is False,
        hidden frames can still inform a prediction.
    learned
        What the model has learned of the neurons of a session, or None.
    peri_event
        Responses of the selected neurons around the onsets of a tier's trials so far,
        or None. They do not depend on the window.
    devices
        Devices that a predictor can use on this machine, as far as known.
    residence
        Device and memory of the last loaded predictor, None before the first.
    elapsed_ms, took_ms
        Milliseconds from the request to the result `selected`, and those of its prediction
        alone, without loading, a fit and waiting.
    """

    # Identity, not equality: `==` on arrays is elementwise, and comparing whole
    # predictions costs more than a redraw.

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor(
        equality_operators=dict.fromkeys(
            (
                *("selected", "population", "scores", "behavior", "sweep"),
                *("what_if", "tier_score", "tier_curves", "neuron_scores"),
                *("learned", "peri_event"),
            ),
            operator.is_,
        )
    )
    changed: ClassVar[Signal] = Signal()

    selected: Prediction | None = None
    population: Prediction | None = None
    scores: np.ndarray | None = None
    behavior: np.ndarray | None = None
    sweep: ContextSweep | None = None
    tier_score: TierScore | None = None
    tier_curves: TierCurves | None = None
    neuron_scores: ScoresOnScreen | None = field(default=None, init=False)
    freshness: Freshness = "none"
    population_freshness: Freshness = "none"
    sweep_freshness: Freshness = "none"
    what_if: WhatIf | None = None
    what_if_freshness: Freshness = "none"
    what_if_error: str | None = None
    is_awaited: bool = False
    is_cancelled: bool = False
    shown_request: int = 0
    newest_request: int = 0
    error: str | None = None
    is_refused: bool = False
    asked_host: str = ""
    needs: Needs | None = None
    learned: LearnedNeurons | None = None
    peri_event: PeriEventResponses | None = None
    devices: tuple[str, ...] = DEVICES
    residence: Residence | None = None
    elapsed_ms: float | None = None
    took_ms: float | None = None

    def __post_init__(self) -> None:
        for signal in (self.events.scores, self.events.tier_score):
            signal.connect(self._set_neuron_scores)

    @property
    def is_old(self) -> bool:
        """Whether `selected` and `behavior` belong to an older request."""
        return self.selected is not None and self.freshness in ("stale", "stopped")

    @property
    def is_population_old(self) -> bool:
        """Whether `population` and `scores` belong to an older request."""
        return self.population is not None and self.population_freshness in ("stale", "stopped")

    @property
    def shown_scores(self) -> np.ndarray | None:
        """Score of each neuron for display (P,), NaN unknown; None before the first."""
        return None if self.neuron_scores is None else self.neuron_scores.values

    @property
    def are_scores_old(self) -> bool:
        """Whether `neuron_scores` belong to an older request."""
        # A score over a tier is removed as soon as the task changes.
        scores = self.neuron_scores
        return self.is_population_old and scores is not None and not scores.tier

    @property
    def is_answered(self) -> bool:
        """Whether all stages of the request, apart from the what-if, are finished."""
        # No sweep: not requested, or its first point is not computed yet.
        is_swept = self.sweep is None or self.sweep.is_complete
        return self.freshness == self.population_freshness == "fresh" and is_swept

    def has_curves_of(self, mask: Mask | None) -> bool:
        """Whether the curves over a tier are of this mask, and over enough windows."""
        curves = self.tier_curves
        return curves is not None and curves.is_shown and mask is not None and curves.is_of(mask)

    @property
    def has_tier_curves(self) -> bool:
        """Whether curves over a tier are shown, in place of those of the window."""
        return self.tier_curves is not None and self.tier_curves.is_shown

    @property
    def is_predicting(self) -> bool:
        """Whether a prediction on screen is awaited; live curves, which come last, are none."""
        is_edited = self.what_if_freshness in ("running", "stale")
        is_fresh = self.freshness == self.population_freshness == "fresh"
        return self.is_awaited and (is_edited or not is_fresh)

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

    # -- changes, on the drawing thread -----------------------------------------------
    def clear(self, *, keeps_tier_scores: bool = False) -> None:
        """Remove all predictions and scores, because they belong to another task.

        Scores and curves over a tier belong to all windows and can stay.
        """
        refined = (self.tier_score, self.tier_curves, self.peri_event)
        self._remove_predictions()
        if keeps_tier_scores:
            self.tier_score, self.tier_curves, self.peri_event = refined
        for name in _FRESHNESS:
            setattr(self, name, "none")
        self.changed.emit()

    def mark_requested(
        self, number: int, *, sweep: bool = False, what_if: bool = False, mask: Mask | None = None
    ) -> None:
        """Mark the results as older than request `number`, which may be `NOT_SENT`.

        `sweep` and `what_if` state whether the request includes these stages; a score
        over a tier stays if it is that of `mask`, or of a mask that the predictor
        cannot tell apart from it.
        """
        if self.tier_score is not None and self.tier_score.mask is not mask:
            self.tier_score = self._score_under(mask)
        if self.tier_curves is not None and (mask is None or not self.tier_curves.is_of(mask)):
            self.tier_curves = None
        if self.peri_event is not None and self.peri_event.mask is not mask:
            self.peri_event = None
        self.newest_request = number
        self.is_awaited, self.is_cancelled = True, False
        self.error = None
        self.freshness = _pending(self.selected)
        # Each stage has its own state: the traces can be fresh while the population's
        # colours still belong to the mask before.
        self.population_freshness = _pending(self.population)
        # A sweep does not depend on the painted mask: while it is requested, its points
        # stay on screen.
        if not sweep:
            self.sweep = None
        self.sweep_freshness = _pending(self.sweep) if sweep else "none"
        self._expect_what_if(what_if)
        self.changed.emit()

    def mark_edited(self, number: int) -> None:
        """Mark only the what-if as requested; the results without edits stay fresh."""
        # `freshness` and `population_freshness` do not change: an edit does not affect
        # the prediction of the recorded stimulus.
        self.newest_request = number
        self.is_awaited, self.is_cancelled = True, False
        self._expect_what_if(True)
        self.changed.emit()

    def mark_done(self) -> None:
        """Mark the newest request as finished."""
        if self.is_awaited:
            self.is_awaited = False
            self.changed.emit()

    def mark_stopped(self) -> None:
        """Mark unfinished stages as stopped; keep the displayed results."""
        self.is_awaited = False
        for name in _FRESHNESS:
            if getattr(self, name) in ("running", "stale"):
                setattr(self, name, "stopped")
        self.changed.emit()

    def mark_failed(self, error: Exception | None) -> None:
        """Remove the predictions, and set the error message of the newest request."""
        # An older prediction next to an error message would look like its result.
        self._remove_predictions()
        self.is_awaited = False
        # Some exceptions have no message, such as a bare `MemoryError`.
        self.error = str(error) or type(error).__name__
        self.is_refused = isinstance(error, UnsupportedRequestError)
        self.asked_host = error.code if isinstance(error, ConnectError) else ""
        self.freshness = self.population_freshness = "error"
        for name in ("sweep_freshness", "what_if_freshness"):
            if getattr(self, name) != "none":
                setattr(self, name, "error")
        self.changed.emit()

    def take_refined(
        self,
        tier_score: TierScore | None = None,
        tier_curves: TierCurves | None = None,
        peri_event: PeriEventResponses | None = None,
    ) -> None:
        """Take what is over more windows or trials of a tier; None leaves the old."""
        self.tier_score = tier_score or self.tier_score
        self.tier_curves = tier_curves or self.tier_curves
        self.peri_event = peri_event or self.peri_event
        self.changed.emit()

    def take_selected(self, selection: tuple[int, ...]) -> bool:
        """Take the selected neurons from a fresh population prediction.

        Return False if there is none or if it lacks one of the neurons.
        """
        if self.population is None or self.population_freshness != "fresh":
            return False
        selected = take_neurons(self.population, np.array(selection, np.int64))
        # The prediction has the targets only: a neuron that is no target must be
        # requested.
        if selected is None:
            return False
        self.selected = selected
        self.changed.emit()
        return True

    def _set_neuron_scores(self) -> None:
        self.neuron_scores = scores_of_neurons(self.tier_score, self.scores)

    def _score_under(self, mask: Mask | None) -> TierScore | None:
        """Return the score over a tier if another mask cannot change it."""
        found, needs = self.tier_score, self.needs
        # What reads responses has another task after each stroke; hashing both masks
        # would delay the stroke.
        if found is None or mask is None or needs is None or needs.sees_responses:
            return None
        is_same = task_id(needs, found.mask) == task_id(needs, mask)
        return replace(found, mask=mask) if is_same else None

    def _remove_predictions(self) -> None:
        self.selected = self.population = None
        self.scores = self.behavior = self.sweep = self.what_if = None
        self.tier_score = self.tier_curves = self.peri_event = None
        self.elapsed_ms = self.took_ms = None

    def _expect_what_if(self, is_requested: bool) -> None:
        self.what_if_error = None
        if not is_requested:
            self.what_if = None
        self.what_if_freshness = _pending(self.what_if) if is_requested else "none"


def _pending(result: object) -> Freshness:
    return "running" if result is None else "stale"
