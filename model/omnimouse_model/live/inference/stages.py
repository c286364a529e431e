"""Compute the predictions of a request in stages; runs on the engine's thread.

Stages: streamed population (if the window slides forward, for predictors with a state),
selected neurons, whole population, what-if (if there are edits), live sweep point by
point (if shown). Newer requests and cancels take effect between stages. The
population stage reuses the encoding of the first stage. A sweep does not depend on the
painted mask, so an interrupted sweep continues from its last point.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter, sleep
from typing import Any, Literal

import numpy as np

from omnimouse_model.analysis.barcodes import LearnedNeurons, key_of, learned_neurons
from omnimouse_model.analysis.counterfactual import WhatIf, what_if
from omnimouse_model.analysis.peri_event import PeriEvent, PeriEventResponses
from omnimouse_model.analysis.sweep.live_sweep import SEEDS, TierCurves, live_sweep
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.running_score import window_scores
from omnimouse_model.evaluation.tier_score import TierScore, scored_tier
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.live.inference.pinned_stages import Load, PinnedStageRunner, PinRequest
from omnimouse_model.live.inference.stream import LiveRequest, LoadRequest, Stream, neighbours
from omnimouse_model.live.inference.tier_results import MAX_SCORE_BYTES, ScoreStore, TierResults
from omnimouse_model.live.pin import PinResult
from omnimouse_model.masks import scored_cells
from omnimouse_model.predict.compatibility import predict_same_span, window_of
from omnimouse_model.predict.devices import (
    DEVICES,
    MemoryCache,
    Residence,
    devices_of,
    residence_of,
)
from omnimouse_model.predict.predictor import (
    Closable,
    Needs,
    Prediction,
    Predictor,
    Prefetcher,
    decoded,
    is_served,
    of_family,
    take_neurons,
)
from omnimouse_model.progress import Cancelled, stop_if

STREAMED_S = 0.25
"""Time for which a streamed prediction is shown before the window's is computed.

While a window slides, its next position is requested meanwhile, and the processor is
free for it.
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """Result of one stage of a request.

    Attributes
    ----------
    name
        "loaded" and "nothing" (no targets) have no prediction. "begun" has no content;
        it lets the engine check for newer requests. "streamed" comes before the
        prediction of a window that slides forward, and is not scored.
    prediction
        Prediction of the stage "selected", "population" or "streamed", else None.
    scores
        float (P,), with the population.
    needs, devices, residence
        Description of the predictor; `needs` is None if it was sent before.
    sweep
        All points computed so far; there is one stage per point.
    tier_score
        Score of the task over a tier, so far.
    tier_curves
        Context curves over a tier, so far.
    learned
        What the model has learned of the session's neurons.
    peri_event
        Responses of the selected neurons around the onsets of trials, so far.
    error
        Error message of a what-if that could not be predicted.
    took_s
        With the selected neurons, and with the population: seconds from encoding to the
        last decoded part.
    """

    name: Literal[
        "loaded", "begun", "selected", "population", "what_if", "sweep", "nothing",
        "tier_score", "tier_curves", "learned", "streamed", "peri_event",
    ]  # fmt: skip
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    needs: Needs | None = None
    devices: tuple[str, ...] = DEVICES
    residence: Residence | None = None
    sweep: ContextSweep | None = None
    what_if: WhatIf | None = None
    tier_score: TierScore | None = None
    tier_curves: TierCurves | None = None
    learned: LearnedNeurons | None = None
    peri_event: PeriEventResponses | None = None
    error: str = ""
    took_s: float = 0.0


class StageRunner:
    """`call` of the engine: holds the loaded predictor and the prepared session.

    Parameters
    ----------
    load
        Makes a predictor from a name, for a session and a device.
    store
        Where complete scores are stored; None for memory alone.
    """

    def __init__(self, load: Load, store: ScoreStore | None = None) -> None:
        self._load = load
        self._name = ("", "")
        self._loaded: Predictor | None = None
        self._predictor: Predictor | None = None
        self._prepared: tuple[Any, Any] = (None, None)
        self._sweep: tuple[Any, ContextSweep | None] = (None, None)
        self._learned: LearnedNeurons | None = None
        self._prefetched: tuple[object, ...] = ()
        self._stream = Stream()
        self._tiers = TierResults(store)
        self._pinned = PinnedStageRunner(load, self._loaded_as, self._tiers)
        self._peri_events = MemoryCache[PeriEvent](MAX_SCORE_BYTES, lambda events: events.n_bytes)

    def __call__(
        self, request: LiveRequest | LoadRequest | PinRequest, cancelled: Cancelled
    ) -> Iterator[Stage | PinResult | None]:
        """Yield the stages of a request; see the module's docstring."""
        if isinstance(request, PinRequest):
            yield from self._pinned.stages(request, cancelled)
            return
        if isinstance(request, LoadRequest):
            yield _described("loaded", self._load_for(request, None, cancelled))
            return
        predictor = self._load_for(request, request.session, cancelled)
        mask = request.mask
        targets = np.flatnonzero(scored_cells(mask).any(axis=0))
        if not len(targets) and not mask.has_behavior_target:
            yield _described("nothing", predictor)
            return
        try:
            self._prepare(predictor, request.session, cancelled)
            yield from self._answer(predictor, request, targets, cancelled)
        except ValueError:
            # The model cannot answer, for example because it does not know the session:
            # report its needs, so that views can explain the error and offer a fine-tuning.
            yield _described("loaded", predictor)
            raise

    def _answer(
        self, predictor: Predictor, request: LiveRequest, targets: np.ndarray, cancelled: Cancelled
    ) -> Iterator[Stage]:
        if request.unedited is not None:
            # The engine replaces a running request only after its first stage. Without
            # this empty stage, a drag of an edit slider would compute every value.
            yield Stage("begun")
            yield _predict_edits(predictor, request, request.unedited, cancelled)
        elif is_served(predictor.needs.spec, request.window.spec):
            yield from self._predict(predictor, request, targets, cancelled)
        elif request.maps_to_predictor_spec:
            yield from _predict_mapped(predictor, request, targets, cancelled)
            yield from map(_of_tier, self._tiers.known(predictor, request))
        else:
            yield _described("loaded", predictor)

    def _predict(
        self, predictor: Predictor, request: LiveRequest, targets: np.ndarray, cancelled: Cancelled
    ) -> Iterator[Stage]:
        if not request.edits:
            streamed = self._stream.follow(predictor, request.window, request.mask, cancelled)
            if streamed is not None:
                yield _described("streamed", predictor, streamed)
                _wait(STREAMED_S, cancelled)
        since = perf_counter()
        with of_family(predictor.predictor_id, cancelled):
            encoded = predictor.encode(request.window, request.mask, cancelled)
        # A few neurons decode much faster than thousands: their traces follow the
        # brush while the rest of the population is decoded.
        # An empty selection is decoded too: the decoded behaviour comes with this
        # stage.
        selection = np.array(request.selection, np.int64)
        selected = decoded(predictor, encoded, selection, cancelled)
        yield _described("selected", predictor, selected, perf_counter() - since)
        population = decoded(predictor, encoded, targets, cancelled)
        # Both stages have the same behaviour, however the population is divided.
        population = replace(population, behavior=selected.behavior)
        took_s = perf_counter() - since
        scores = window_scores(population, request.window, request.metric)
        yield Stage("population", population, scores, took_s=took_s)
        yield from map(_of_tier, self._tiers.known(predictor, request))
        # After the population, which the what-if is compared with.
        if request.edits:
            yield _predict_edits(predictor, request, population, cancelled)
        # Last, because it takes the longest and any newer request ends it.
        if request.has_sweep:
            yield from self._sweep_context(predictor, request, cancelled)

    def when_idle(
        self, request: LiveRequest | LoadRequest | PinRequest, cancelled: Cancelled
    ) -> Iterator[Stage]:
        """Prefetch the neighbouring windows; then yield scores over a tier.

        Before, what the model has learned of the neurons.

        First those of the task, then those of the context curves. What is known from an
        earlier request is yielded first, and is then refined. Averages around onsets of
        trials come before the scores.
        """
        predictor = self._predictor
        # Not prepared for this session, for example because `prepare` failed.
        if not isinstance(request, LiveRequest) or predictor is None:
            return
        if self._prepared[1] is not request.session:
            return
        if not is_served(predictor.needs.spec, request.window.spec):
            if request.maps_to_predictor_spec:
                yield from map(_of_tier, self._tiers.refined(predictor, request, cancelled))
            return
        learned = self._learned_of(predictor, request.session, cancelled)
        if not learned.is_empty:
            yield Stage("learned", learned=learned)
        yield from map(_of_tier, self._tiers.known(predictor, request))
        # Before the scores, which can take minutes: a viewer waits for it.
        events = self._peri_event(predictor, request)
        if events is not None:
            for found in events.refine(cancelled):
                self._prefetched = ()
                # An equal mask of an earlier request may have begun them, but views
                # compare masks by identity.
                now = replace(found, mask=request.mask)
                yield Stage("peri_event", peri_event=now)
        if isinstance(predictor, Prefetcher):
            windows = neighbours(request.window, request.step_s)
            mask = request.mask
            what = predictor, mask.frames.tobytes(), mask.behavior
            asked = *what, *(window.key for window in windows)
            # Those of the request before, whose mask may differ in its cells, are there, if
            # no windows of a tier have taken their place.
            if asked != self._prefetched:
                for window in windows:
                    stop_if(cancelled)
                    predictor.prefetch(window, mask, cancelled)
                self._prefetched = asked
        for refined in self._tiers.refined(predictor, request, cancelled):
            self._prefetched = ()
            yield _of_tier(refined)

    def _learned_of(
        self, predictor: Predictor, session: Session, cancelled: Cancelled
    ) -> LearnedNeurons:
        known = self._learned
        same = (key_of(session), predictor.predictor_id)
        if known is None or (known.session_key, known.predictor_id) != same:
            self._learned = known = learned_neurons(predictor, session, cancelled)
        return known

    def _peri_event(self, predictor: Predictor, request: LiveRequest) -> PeriEvent | None:
        """Return the averages over trials, which earlier requests may have begun."""
        session, spec, mask = request.session, predictor.needs.spec, request.mask
        tier = request.trial_tier or scored_tier(session, spec)
        if not (request.peri_event and request.selection and tier):
            return None
        neurons = np.unique(np.array(request.selection, np.int64))
        key = (
            *("peri_event", predictor.predictor_id, session.fingerprint),
            *(mask.mask_id, neurons.tobytes(), tier),
        )
        return self._peri_events.get(
            key, lambda: PeriEvent(predictor, session, mask, neurons, tier)
        )

    def close(self) -> None:
        """Release the loaded predictors."""
        loaded, self._loaded, self._name = self._loaded, None, ("", "")
        self._prepared = self._sweep = (None, None)
        self._learned = self._predictor = None
        self._prefetched = ()
        try:
            # They hold the predictor, whose process a later score would start again.
            self._tiers.forget_unfinished()
        finally:
            self._peri_events.clear()
            self._stream = Stream()
            if isinstance(loaded, Closable):
                loaded.close()
            self._pinned.close()

    def _sweep_context(
        self, predictor: Predictor, request: LiveRequest, cancelled: Cancelled
    ) -> Iterator[Stage]:
        # The screen's choice of behaviour first; the plan keeps this order.
        is_visible = request.mask.has_visible_behavior
        reads_behavior = request.window.spec.behavior is not None
        both = reads_behavior and bool(request.session.behavior_names)
        window, selection = request.window, request.selection
        # A sweep makes its own masks, so the painted mask is not part of the key.
        key = (predictor.predictor_id, window.key, selection)
        known = self._sweep[1] if self._sweep[0] == key else None
        for sweep in live_sweep(
            predictor,
            window,
            np.array(selection, np.int64),
            behavior=(is_visible, not is_visible) if both else False,
            seeds=SEEDS,
            metric=request.metric,
            finished=known,
            cancelled=cancelled,
        ):
            self._sweep = (key, sweep)
            yield Stage("sweep", sweep=sweep)

    def _load_for(
        self, request: LiveRequest | LoadRequest, session: Session | None, cancelled: Cancelled
    ) -> Predictor:
        predictor = request.predictor
        if isinstance(predictor, str):
            predictor = self._load_named(predictor, request.device)
        self._predictor = predictor
        # A load error is raised here.
        if isinstance(predictor, WorkerPredictor):
            predictor.load_model(None, cancelled)
        return predictor

    def _load_named(self, name: str, device: str) -> Predictor:
        if self._loaded is None or self._name != (name, device):
            # Release the old predictor first: two models may not fit in GPU memory.
            self.close()
            self._loaded = self._load(name, device)
            self._name = (name, device)
        return self._loaded

    def _loaded_as(self, name: str, device: str) -> Predictor | None:
        """Return the loaded predictor if it has this name and device, else None."""
        return self._loaded if self._name == (name, device) else None

    def _prepare(self, predictor: Predictor, session: Session, cancelled: Cancelled) -> None:
        prepared_predictor, prepared_session = self._prepared
        if prepared_predictor is not predictor or prepared_session is not session:
            # Reset first: if `prepare` fails, it must be called again next time.
            self._prepared = (None, None)
            if isinstance(predictor, WorkerPredictor):
                predictor.load_model(session, cancelled)
            else:
                with of_family(predictor.predictor_id, cancelled):
                    predictor.prepare(session)
            self._prepared = (predictor, session)


def _wait(seconds: float, cancelled: Cancelled) -> None:
    """Wait; raise `StoppedError` as soon as the request is cancelled."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        stop_if(cancelled)
        sleep(0.005)


def _described(
    name: Literal["loaded", "nothing", "selected", "streamed"],
    predictor: Predictor,
    prediction: Prediction | None = None,
    took_s: float = 0.0,
) -> Stage:
    """Return a stage with the description of its predictor."""
    return Stage(
        name,
        prediction,
        took_s=took_s,
        needs=predictor.needs,
        devices=devices_of(predictor),
        residence=residence_of(predictor),
    )


def _of_tier(found: TierScore | TierCurves) -> Stage:
    """Return the stage of a score or of curves over a tier."""
    if isinstance(found, TierScore):
        return Stage("tier_score", tier_score=found)
    return Stage("tier_curves", tier_curves=found)


def _predict_mapped(
    predictor: Predictor, request: LiveRequest, targets: np.ndarray, cancelled: Cancelled
) -> Iterator[Stage]:
    """Predict the same time span at the rates of another spec."""
    since = perf_counter()
    population = predict_same_span(predictor, request.window, request.mask, targets, cancelled)
    selection = np.array(request.selection, np.int64)
    # The whole population is predicted at once here: a mapped prediction has no
    # encoding that could be reused.
    selected = take_neurons(population, selection[np.isin(selection, targets)])
    yield _described("selected", predictor, selected, perf_counter() - since)
    span = window_of(request.window, predictor.needs.spec)
    scores = window_scores(population, span, request.metric)
    yield Stage("population", population, scores, took_s=perf_counter() - since)


def _predict_edits(
    predictor: Predictor, request: LiveRequest, unedited: Prediction, cancelled: Cancelled
) -> Stage:
    """Predict under the edits; a `ValueError` becomes the stage's `error`."""
    stop_if(cancelled)
    try:
        result = what_if(
            predictor,
            request.window,
            request.mask,
            request.edits,
            unedited.neurons,
            unedited=unedited,
            cancelled=cancelled,
        )
    except ValueError as error:
        return Stage("what_if", error=str(error))
    return Stage("what_if", what_if=result)
