"""Compute the predictions of a request in stages; runs on the engine's thread.

Stages: selected neurons, whole population, what-if (if there are edits), live sweep
point by point (if shown). Newer requests and cancels take effect between stages. The
population stage reuses the encoding of the first stage. A sweep does not depend on the
painted mask, so an interrupted sweep continues from its last point.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Literal

import numpy as np

from omnimouse_model.analysis.evaluate.stitching import window_scores
from omnimouse_model.analysis.in_silico.counterfactual import WhatIf, what_if
from omnimouse_model.analysis.sweep.live_sweep import SEEDS, live_sweep
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.live.inference.pinned_stages import (
    PinnedStageRunner,
    PinRequest,
    PinStage,
)
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.capabilities import (
    Closable,
    Interruptible,
    Prefetcher,
    decode_in_parts,
    stop_if,
    take_neurons,
)
from omnimouse_model.predict.devices import (
    DEVICES,
    Residence,
    devices_of,
    residence_of,
)
from omnimouse_model.predict.predictor import (
    Needs,
    Prediction,
    Predictor,
    is_served,
)
from omnimouse_model.predict.same_span import predict_same_span, window_of

Load = Callable[[str, Session | None, str], Predictor]
"""`load(name, session or None, device)` makes a predictor."""


def name_of(predictor: Predictor) -> str:
    """Return a predictor's name, or its id if it has no name."""
    # `predictor_id` of a predictor that loads later would load it here; its `name`
    # does not.
    return str(getattr(predictor, "name", None) or predictor.predictor_id)


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """Snapshot of the state that a prediction depends on.

    `predictor` is a name for `load`, or a predictor; `sweep` asks for a live sweep too.
    With `maps` a predictor of another spec predicts the same time span; without, the
    answer is its needs alone, so that the window can be changed to its spec.
    `step_s` is how far the user steps, in the direction of the latest step. With
    `edits` their what-if is asked too; where `unedited`, the answer without them, is
    known, nothing but that.
    """

    session: Session
    window: Window
    mask: Mask
    selection: tuple[int, ...]
    predictor: str | Predictor
    device: str = "auto"
    sweep: bool = False
    step_s: float | None = None
    edits: tuple[Edit, ...] = ()
    unedited: Prediction | None = None
    maps: bool = False

    @property
    def has_sweep(self) -> bool:
        """Whether a sweep is requested and at least one neuron is selected."""
        return self.sweep and bool(self.selection)


def step_between(before: Window | None, after: Window) -> float:
    """How far, and which way, the user steps; a jump says nothing about that."""
    longest_s = after.spec.duration_s
    if before is None or before.session is not after.session:
        return longest_s
    step_s = after.start_s - before.start_s
    return step_s if round(abs(step_s), 2) <= longest_s else longest_s


def next_start(window: Window, n: int) -> float:
    """Return the start of the window `n` steps on, in seconds on the session clock.

    A step is the duration of the window, or a trial for windows aligned to trials.
    """
    if window.spec.align == "grid":
        return window.start_s + n * window.spec.duration_s
    starts = window.session.window_starts(None, spec=window.spec)
    here = int(np.argmin(np.abs(starts - window.start_s)))
    return float(starts[min(max(here + n, 0), len(starts) - 1)])


def neighbours(window: Window, step_s: float | None) -> tuple[Window, ...]:
    """The windows a step on and a step back, as far as the session has them."""
    if step_s is None:
        step_s = window.spec.duration_s
    starts = (window.start_s + step_s, window.start_s - step_s)
    found = (window.session.window(start_s, window.spec) for start_s in starts)
    return tuple(near for near in found if near.key != window.key)


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Request to load a predictor before a session is open.

    Starting a worker process takes seconds.
    """

    predictor: str
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Stage:
    """Result of one stage of a request.

    Attributes
    ----------
    name
        "loaded" and "nothing" (no targets) have no prediction. "begun" has no content;
        it lets the engine check for newer requests.
    prediction
        Prediction of the stage "selected" or "population", else None.
    scores
        float (P,), with the population.
    sweep
        All points computed so far; there is one stage per point.
    fault
        Error message of a what-if that could not be predicted.
    took_s
        With the population: seconds from encoding to the last decoded part.
    """

    name: Literal[
        "loaded", "begun", "selected", "population", "what_if", "sweep", "nothing"
    ]
    request: LiveRequest | LoadRequest
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    needs: Needs | None = None
    devices: tuple[str, ...] = DEVICES
    residence: Residence | None = None
    sweep: ContextSweep | None = None
    what_if: WhatIf | None = None
    fault: str = ""
    took_s: float = 0.0


class StageRunner:
    """`call` of the engine: keeps the predictor loaded and the session prepared."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._name = ("", "")
        self._loaded: Predictor | None = None
        self._told: dict[str, Any] = {}
        self._prepared: tuple[Any, Any] = (None, None)
        self._asked: Predictor | None = None
        self._swept: tuple[Any, ContextSweep | None] = (None, None)
        self._pinned = PinnedStageRunner(load, self._kept)

    def __call__(
        self,
        request: LiveRequest | LoadRequest | PinRequest,
        outdated: Callable[[], bool],
    ) -> Iterator[Stage | PinStage]:
        """Yield the stages of a request; see the module's docstring."""
        if isinstance(request, PinRequest):
            yield from self._pinned.stages(request, outdated)
            return
        try:
            yield from self._stages(request, outdated)
        finally:
            # The predictor is reused by later requests, which must not be stopped by
            # the `outdated` of this one.
            if isinstance(self._asked, Interruptible):
                self._asked.stop_when(lambda: False)

    def _stages(
        self, request: LiveRequest | LoadRequest, outdated: Callable[[], bool]
    ) -> Iterator[Stage]:
        if isinstance(request, LoadRequest):
            self._predictor(request, None, outdated)
            yield Stage("loaded", request, **self._told)
            return
        predictor = self._predictor(request, request.session, outdated)
        mask = request.mask
        asked = np.flatnonzero(scored_cells(mask).any(axis=0))
        if not len(asked) and not mask.has_behavior_target:
            yield Stage("nothing", request, **self._told)
            return
        try:
            self._prepare(predictor, request.session)
        except ValueError:
            # The session does not fit the predictor: report the predictor's needs, so
            # that views can explain the error.
            yield Stage("loaded", request, **self._told)
            raise
        if request.unedited is not None:
            # The engine replaces a running request only after its first stage. Without
            # this empty stage, a drag of an edit slider would compute every value.
            yield Stage("begun", request)
            yield self._what_if(predictor, request, request.unedited, outdated)
            return
        if not is_served(predictor.needs.spec, request.window.spec):
            if request.maps:
                yield from self._mapped(predictor, request, asked, outdated)
            else:
                yield Stage("loaded", request, **self._told)
            return
        since = perf_counter()
        encoded = predictor.encode(request.window, mask)
        stop_if(outdated)
        selection = np.array(request.selection, np.int64)
        # A few neurons decode much faster than thousands: their traces follow the
        # brush while the rest of the population is decoded.
        first = predictor.decode(encoded, selection)
        yield Stage("selected", request, first, **self._told)
        whole = decode_in_parts(predictor, encoded, asked, outdated)
        # Both stages have the same behaviour, however the population is divided.
        whole = replace(whole, behavior=first.behavior)
        took_s = perf_counter() - since
        scores = window_scores(whole, request.window)
        yield Stage("population", request, whole, scores, took_s=took_s)
        if request.edits:
            yield self._what_if(predictor, request, whole, outdated)
        if request.has_sweep:
            yield from self._sweep(predictor, request, outdated)

    def _mapped(
        self,
        predictor: Predictor,
        request: LiveRequest,
        asked: np.ndarray,
        outdated: Callable[[], bool],
    ) -> Iterator[Stage]:
        """Predict the same time span at the rates of another spec."""
        since = perf_counter()
        found = predict_same_span(
            predictor, request.window, request.mask, asked, outdated
        )
        selection = np.array(request.selection, np.int64)
        first = take_neurons(found, selection[np.isin(selection, asked)])
        yield Stage("selected", request, first, **self._told)
        span = window_of(request.window, predictor.needs.spec)
        scores = window_scores(found, span)
        took_s = perf_counter() - since
        yield Stage("population", request, found, scores, took_s=took_s)

    def look_ahead(
        self,
        request: LiveRequest | LoadRequest | PinRequest,
        outdated: Callable[[], bool],
    ) -> None:
        """Prefetch the neighbouring windows, if the predictor supports it."""
        predictor = self._asked
        if isinstance(request, LoadRequest) or not isinstance(predictor, Prefetcher):
            return
        # Not prepared for this session, for example because `prepare` failed.
        if self._prepared[1] is not request.session:
            return
        if isinstance(predictor, Interruptible):
            predictor.stop_when(outdated)
        try:
            if not is_served(predictor.needs.spec, request.window.spec):
                return
            for window in neighbours(request.window, request.step_s):
                stop_if(outdated)
                predictor.prefetch(window, request.mask)
        finally:
            if isinstance(predictor, Interruptible):
                predictor.stop_when(lambda: False)

    def close(self) -> None:
        """Release the loaded predictors."""
        loaded, self._loaded, self._name = self._loaded, None, ("", "")
        self._prepared = self._swept = (None, None)
        if isinstance(loaded, Closable):
            loaded.close()
        self._pinned.close()

    def _what_if(
        self,
        predictor: Predictor,
        request: LiveRequest,
        unedited: Prediction,
        outdated: Callable[[], bool],
    ) -> Stage:
        """Predict under the edits; a `ValueError` becomes the stage's `fault`."""
        stop_if(outdated)
        try:
            found = what_if(
                predictor,
                request.window,
                request.mask,
                request.edits,
                unedited.neurons,
                unedited=unedited,
                outdated=outdated,
            )
        except ValueError as refusal:
            return Stage("what_if", request, fault=str(refusal))
        return Stage("what_if", request, what_if=found)

    def _sweep(
        self, predictor: Predictor, request: LiveRequest, outdated: Callable[[], bool]
    ) -> Iterator[Stage]:
        # The screen's choice of behaviour first; the plan keeps this order.
        given = request.mask.has_visible_behavior
        reads = request.window.spec.behavior is not None
        both = reads and bool(request.session.behavior_names)
        window, selection = request.window, request.selection
        # A sweep makes its own masks, so the painted mask is not part of the key.
        question = (predictor.predictor_id, window.key, selection)
        known = self._swept[1] if self._swept[0] == question else None
        for found in live_sweep(
            predictor,
            window,
            np.array(selection, np.int64),
            behavior=(given, not given) if both else False,
            seeds=SEEDS,
            known=known,
            outdated=outdated,
        ):
            self._swept = (question, found)
            yield Stage("sweep", request, sweep=found)

    def _predictor(
        self,
        request: LiveRequest | LoadRequest,
        session: Session | None,
        outdated: Callable[[], bool],
    ) -> Predictor:
        predictor = request.predictor
        if isinstance(predictor, str):
            predictor = self._named(predictor, session, request.device)
        self._asked = predictor
        if isinstance(predictor, Interruptible):
            predictor.stop_when(outdated)
        # Reading `needs` makes a worker process load the model; a load error is raised
        # here.
        self._told = {
            "needs": predictor.needs,
            "devices": devices_of(predictor),
            "residence": residence_of(predictor),
        }
        return predictor

    def _named(self, name: str, session: Session | None, device: str) -> Predictor:
        if self._loaded is None or self._name != (name, device):
            # Release the old predictor first: two models may not fit in GPU memory.
            self.close()
            self._loaded = self._load(name, session, device)
            self._name = (name, device)
        return self._loaded

    def _kept(self, name: str, device: str) -> Predictor | None:
        """Return the loaded predictor if it has this name and device, else None."""
        return self._loaded if self._name == (name, device) else None

    def _prepare(self, predictor: Predictor, session: Session) -> None:
        known_predictor, known_session = self._prepared
        if known_predictor is not predictor or known_session is not session:
            # Reset first: if `prepare` fails, it must be called again next time.
            self._prepared = (None, None)
            predictor.prepare(session)
            self._prepared = (predictor, session)
