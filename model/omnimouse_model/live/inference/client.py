"""Client of the engine: make requests from the state, apply answers to the results."""

import threading
from collections.abc import Callable

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.inference.engine import Answer, Engine
from omnimouse_model.live.inference.overlap import moved_prediction
from omnimouse_model.live.inference.request import LiveRequest, LoadRequest
from omnimouse_model.live.inference.stages import Stage
from omnimouse_model.live.results import Freshness, Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import scored_cells
from omnimouse_model.predict.capabilities import take_neurons
from omnimouse_model.predict.predictor import Prediction, Predictor, is_served


class LiveClient:
    """Client that sends the screen's state to an engine and applies current answers.

    Parameters
    ----------
    sweeps
        Whether the live sweep and what-ifs are requested, where they are shown.
    on_spec
        Called with the spec of the predictor when it is not that of the window on
        screen; without it, the predictor predicts the same time span at its own rates.

    Attributes
    ----------
    state, results
        Live state that requests are made of; results that answers are applied to.
    predictor
        Predictor, or a name or file that loads it; None if none is chosen.
    step_s
        Latest step of the window in seconds, signed; used to prefetch.
    """

    def __init__(
        self,
        engine: Engine,
        state: LiveState,
        results: Results,
        lock: threading.RLock,
        *,
        sweeps: bool = True,
        on_spec: Callable[[WindowSpec], None] | None = None,
    ) -> None:
        self.state, self.results = state, results
        self.predictor: str | Predictor | None = state.predictor_name or None
        self.step_s: float | None = None
        self._engine = engine
        self._lock = lock
        self._sweeps = sweeps
        self._on_spec = on_spec
        self._fastest: tuple[Session | None, float] = (None, np.inf)
        self._sent: tuple[Window | None, str | Predictor | None] = (None, None)

    # -- requests ---------------------------------------------------------------------
    @property
    def is_up_to_date(self) -> bool:
        """Whether the newest request is of the window and predictor on screen."""
        window, predictor = self._sent
        if self.predictor is None:
            return True
        return window is self.state.window and predictor is self.predictor

    def send(self, unedited: Prediction | None = None) -> None:
        """Send a request for the screen's state; without a session, only load.

        With `unedited`, the known prediction without edits, request only the what-if.
        """
        state = self.state
        if self.predictor is None:
            return
        # Loading a model takes seconds: it begins while the user still looks for a
        # recording.
        if state.session is None or state.window is None or state.mask is None:
            if isinstance(self.predictor, str):
                self._load(self.predictor)
            return
        request = LiveRequest(
            state.session,
            state.window,
            state.mask,
            state.selection,
            self.predictor,
            state.device,
            state.sweep_shown and self._sweeps,
            sweeps_window=not self.results.has_tier_curves,
            step_s=self.step_s,
            # The baseline is compared with the recorded stimulus only.
            edits=state.edits if self._sweeps else (),
            unedited=unedited,
            maps_to_predictor_spec=self._on_spec is None,
            metric=state.metric.name,
            scores_tier=state.scores_tier,
            peri_event=state.peri_event_shown and self._sweeps,
            trial_tier=state.trial_tier,
        )
        # The lock, which `_take` needs too: no answer is applied before its number is
        # known.
        with self._lock:
            number = self._engine.submit(request, self._take)
            self._sent = (state.window, self.predictor)
            if unedited is None:
                sweep, what_if = request.has_sweep, bool(request.edits)
                self.results.mark_requested(number, sweep=sweep, what_if=what_if, mask=state.mask)
            else:
                self.results.mark_edited(number)
        self._engine.start()

    def _load(self, name: str) -> None:
        with self._lock:
            # No prediction is awaited, so the results are not marked as running.
            request = LoadRequest(name, self.state.device)
            self.results.newest_request = self._engine.submit(request, self._take)
        self._engine.start()

    def send_what_if(self) -> None:
        """Request the what-if alone, if everything else is answered."""
        # Without a finished prediction there is nothing that the edited one could be
        # compared with.
        if not self.results.is_answered:
            self.send()
        elif self.state.edits:
            self.send(self.results.population)
        else:
            self.drop_rest()

    def drop_rest(self) -> None:
        """End computations whose result is not shown any more.

        The request is sent again without it: scores over a tier continue after it,
        whereas nothing follows a request that is cancelled.
        """
        if not self.results.is_cancelled:
            self.send()

    def stop(self) -> None:
        """Cancel running and waiting requests; keep the displayed results."""
        self._engine.cancel()
        self.results.is_cancelled = True
        self.results.mark_stopped()

    def reset(self) -> None:
        """Cancel running and waiting requests; clear the results."""
        self._engine.cancel()
        self.results.clear()

    def choose(self, predictor: str | Predictor | None) -> None:
        """Choose another predictor, None, or the same one on another device."""
        # A waiting request is dropped without an answer.
        self.results.is_awaited = False
        self.reset()
        # Times of another model or device say nothing about this one.
        self.predictor, self._fastest = predictor, (None, np.inf)
        self.results.needs = self.results.residence = None
        self.results.learned = None

    def moved_predictions(self, window: Window) -> tuple[Prediction | None, Prediction | None]:
        """Return selected and population predictions moved to an overlapping window."""
        before, mask, results = self.state.window, self.state.mask, self.results
        if before is None or mask is None:
            return None, None
        found = (results.selected, results.population)
        moved = [one and moved_prediction(one, before, window, mask) for one in found]
        return moved[0], moved[1]

    # -- answers, on the drawing thread -----------------------------------------------
    @property
    def population_s(self) -> float | None:
        """Shortest time of a population prediction of this session, in seconds.

        None before the first one. Predictions of less than half of the neurons are not
        counted; the time to load the predictor is not included.
        """
        session, seconds = self._fastest
        return seconds if session is self.state.session and seconds < np.inf else None

    def _take(self, answer: Answer) -> None:
        with self._lock:
            if answer.kind == "stage":
                self._take_stage(answer, answer.value)
            # Errors and ends of older requests must not end the wait for the newest.
            elif answer.number != self.results.newest_request:
                return
            elif answer.kind == "error":
                self.results.mark_failed(answer.error)
            elif answer.kind == "stopped":
                self.results.mark_stopped()
            else:
                self.results.mark_done()

    def _take_stage(self, answer: Answer, stage: Stage) -> None:
        request = answer.request
        if stage.name == "population" and stage.prediction is not None:
            self._time(request, stage.prediction, stage.took_s)
        if not self._is_on_screen(request) or stage.name == "begun":
            return
        if stage.name == "learned":
            self.results.learned = stage.learned
            return
        if stage.name == "peri_event":
            if answer.number == self.results.newest_request:
                self.results.peri_event = stage.peri_event
                self.results.changed.emit()
            return
        if stage.name in ("tier_score", "tier_curves"):
            # Of a request that is no longer the newest: another task, or repeated.
            if answer.number == self.results.newest_request:
                self.results.take_refined(stage.tier_score, stage.tier_curves)
            return
        apply_stage(self.results, answer, stage)
        # The window on screen may have to follow the spec of a predictor just loaded.
        window = self.state.window
        if self._on_spec is None or window is None or stage.needs is None:
            return
        if not is_served(stage.needs.spec, window.spec):
            self._on_spec(stage.needs.spec)

    def _time(self, request: LiveRequest, prediction: Prediction, took_s: float) -> None:
        """Record the time of a population prediction."""
        # Few neurons take less time; their time would make a sweep look too fast.
        is_of_most = 2 * len(prediction.neurons) >= request.session.n_neurons
        current_choice = self.state.session, self.state.device
        is_current = (request.session, request.device) == current_choice
        if is_of_most and is_current and request.predictor is self.predictor:
            # The shortest time: others include loading, compiling or a busy machine.
            fastest_s = np.inf if self.population_s is None else self.population_s
            self._fastest = request.session, min(fastest_s, took_s)

    def _is_on_screen(self, request: LiveRequest | LoadRequest) -> bool:
        # Identity: windows and predictors are replaced, never changed.
        if request.predictor is not self.predictor:
            return False
        return isinstance(request, LoadRequest) or request.window is self.state.window


def apply_stage(results: Results, answer: Answer, stage: Stage) -> None:
    """Write one stage to the results, as stale if a newer request waits."""
    # An older result is still shown, because it is better than none during a stroke.
    is_newest = answer.number == results.newest_request
    freshness: Freshness = "fresh" if is_newest else "stale"
    results.shown_request = answer.number
    # A result means that the error of an earlier request is solved.
    results.error = None
    if stage.needs is not None:
        results.needs, results.devices = stage.needs, stage.devices
        results.residence = stage.residence
    if stage.name == "nothing":
        results.clear()
        return
    if stage.name == "streamed" and stage.prediction is not None:
        request = answer.request
        targets = np.flatnonzero(scored_cells(request.mask).any(axis=0))
        results.population = take_neurons(stage.prediction, targets)
        selection = np.array(request.selection, np.int64)
        results.selected = take_neurons(stage.prediction, selection)
        # The prediction of the window, which has scores, is still to come.
        results.freshness = results.population_freshness = "streamed"
        results.elapsed_ms = answer.elapsed_ms
    elif stage.name == "selected" and stage.prediction is not None:
        results.selected = stage.prediction
        results.behavior = stage.prediction.behavior
        results.freshness = freshness
        results.elapsed_ms = answer.elapsed_ms
    elif stage.name == "population":
        results.population = stage.prediction
        results.scores = stage.scores
        results.population_freshness = freshness
    elif stage.name == "sweep":
        results.sweep = stage.sweep
        results.sweep_freshness = freshness
    elif stage.name == "what_if":
        results.what_if = stage.what_if
        results.what_if_error = stage.error or None
        results.what_if_freshness = "error" if stage.error else freshness
    results.changed.emit()
