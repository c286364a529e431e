"""Requests from the state to the engines, and their answers in the results.

The baseline receives each request after the main predictor has answered. It has its own
engine and, with worker processes, its own process, so that fitting it to a session does
not delay the main predictor.
"""

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from psygnal import Signal

from omnimouse_model.data.hub.servers import allow_connections
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.inference.engine import Answer, Engine, Execution
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.inference.stages import Stage, StageRunner
from omnimouse_model.live.inference.stream import LiveRequest, LoadRequest, moved_prediction
from omnimouse_model.live.inference.tier_results import ScoreStore
from omnimouse_model.live.inference.workers import WorkerWatch
from omnimouse_model.live.results import NOT_SENT, Freshness, Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.predictor import Prediction, Predictor, is_served, take_neurons


class LiveClient:
    """Client that sends the screen's state to an engine and applies current answers.

    Parameters
    ----------
    sweeps
        Whether the live sweep and what-ifs are requested, where they are shown.

    Attributes
    ----------
    state, results
        Live state that requests are made of; results that answers are applied to.
    predictor
        Predictor, or a name or file that loads it; None if none is chosen.
    step_s
        Latest step of the window in seconds, signed; used to prefetch.
    on_spec
        Called with the spec of the predictor when it is not that of the window on
        screen; without it, the predictor predicts the same time span at its own rates.
    """

    def __init__(
        self,
        engine: Engine,
        state: LiveState,
        results: Results,
        lock: threading.RLock,
        *,
        sweeps: bool = True,
    ) -> None:
        self.state, self.results = state, results
        self.predictor: str | Predictor | None = state.predictor_name or None
        self.step_s: float | None = None
        self.on_spec: Callable[[WindowSpec], None] | None = None
        self._engine = engine
        self._lock = lock
        self._sweeps = sweeps
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
            sweeps_window=not self.results.has_curves_of(state.mask),
            step_s=self.step_s,
            # The baseline is compared with the recorded stimulus only.
            edits=state.edits if self._sweeps else (),
            unedited=unedited,
            maps_to_predictor_spec=self.on_spec is None,
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
        if stage.needs is not None and not stage.needs.is_fitted:
            # Not known before the fit: no view tells them, and the mask stays.
            stage = replace(stage, needs=None)
        if stage.name == "learned":
            self.results.learned = stage.learned
            return
        if stage.name in ("tier_score", "tier_curves", "peri_event"):
            # Of a request that is no longer the newest: another task, or repeated.
            if answer.number == self.results.newest_request:
                refined = (stage.tier_score, stage.tier_curves, stage.peri_event)
                self.results.take_refined(*refined)
            return
        apply_stage(self.results, answer, stage)
        # The window on screen may have to follow the spec of a predictor just loaded.
        window = self.state.window
        if self.on_spec is None or window is None or stage.needs is None:
            return
        if not is_served(stage.needs.spec, window.spec):
            self.on_spec(stage.needs.spec)

    def _time(self, request: LiveRequest, prediction: Prediction, took_s: float) -> None:
        """Record the time of a population prediction."""
        # Few neurons take less time; their time would make a sweep look too fast.
        is_of_most = 2 * len(prediction.neurons) >= request.session.n_neurons
        current_choice = self.state.session, self.state.device
        is_current = (request.session, request.device) == current_choice
        if is_of_most and is_current and request.predictor is self.predictor:
            # The shortest time: others include loading, compiling or a busy machine.
            fastest_s = np.inf if self.population_s is None else self.population_s
            needs, is_first = self.results.needs, self._fastest[0] is not request.session
            # The first one of a model without weights may have fitted it to the session.
            is_of_fit = is_first and needs is not None and needs.fits > 0
            self._fastest = request.session, np.inf if is_of_fit else min(fastest_s, took_s)

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
        # Its needs are last: they may choose another model, and the estimate of a fine-tuning
        # then asks where this one was.
        results.devices, results.residence = stage.devices, stage.residence
        results.needs = stage.needs
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
        results.elapsed_ms, results.took_ms = answer.elapsed_ms, stage.took_s * 1e3
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


class BaselineClient:
    """Requests of the baseline predictor, for the same window and mask.

    Parameters
    ----------
    main_results
        Results of the main predictor; the baseline runs when they are complete.
    store
        As in `StageRunner`.

    Attributes
    ----------
    results
        Results of the baseline.
    """

    def __init__(
        self,
        state: LiveState,
        main_results: Results,
        load: Load,
        lock: threading.RLock,
        execution: Execution,
        store: ScoreStore | None = None,
    ) -> None:
        self.results = Results()
        self._state, self._main_results, self._lock = state, main_results, lock
        self._load, self._execution, self._store = load, execution, store
        self._engine: Engine | None = None
        self._client: LiveClient | None = None
        self._requested: tuple[Window | None, Mask | None] = (None, None)
        self._is_due = False

    def choose(self, name: str) -> None:
        """Choose the baseline by a name for `load`; "" removes it.

        A baseline with the name of the model has no results: the model gives them.
        """
        # Do not wait for the old baseline: its thread ends after its current step.
        self.close(0.0)
        if name:
            runner = StageRunner(self._load, self._store)
            self._engine = Engine(runner, self._execution)
            self._client = LiveClient(
                self._engine, self._state, self.results, self._lock, sweeps=False
            )
            self._client.choose(name)
            # Results over another window must not be drawn for an instant; the main
            # results are cleared by the navigation.
            self._state.events.window.connect(self._reset)
            self._main_results.changed.connect(self._send_if_due)
            self.follow()

    def follow(self, *, again: bool = False) -> None:
        """Schedule a request for the screen's state, if it is new or `again` is true.

        Call it after each request to the main predictor. The baseline's older results
        are marked as stale; the request is sent when the main predictor has finished.
        """
        window, mask = self._state.window, self._state.mask
        if self._client is None or window is None or mask is None:
            return
        if not self._state.compared_baseline:
            self._reset()
            return
        # Identity is sufficient, because windows and masks are immutable.
        is_requested = window is self._requested[0] and mask is self._requested[1]
        if is_requested and not again and not self._is_due:
            return
        if not self._is_due:
            self.results.mark_requested(NOT_SENT, mask=mask)
        self._is_due = True
        self._send_if_due()

    def stop(self) -> None:
        """Cancel running and scheduled requests; keep the displayed results."""
        self._is_due = False
        if self._client is not None and self.results.is_awaited:
            self._client.stop()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until all requests are finished; False on timeout."""
        return self._engine is None or self._engine.wait(timeout_s)

    def run_idle_work(self) -> None:
        """Score the whole tier now; see `Engine.run_idle_work`."""
        if self._engine is not None:
            self._engine.run_idle_work()

    def close(self, timeout_s: float) -> None:
        """Remove the baseline and end its engine and process."""
        self._reset()
        if self._engine is not None:
            self._state.events.window.disconnect(self._reset)
            self._main_results.changed.disconnect(self._send_if_due)
            self._engine.close(timeout_s)
        self._engine = self._client = None
        # The next baseline has a new engine, whose numbers start at 1 again.
        self.results.newest_request = self.results.shown_request = 0

    def _reset(self) -> None:
        """Clear the results, because they belong to the previous window."""
        self._requested, self._is_due = (None, None), False
        if self._client is not None:
            # A baseline that was due for the previous window is not awaited any more.
            self.results.is_awaited, self.results.error = False, None
            self._client.reset()

    def _send_if_due(self) -> None:
        if self._is_due and self._client is not None:
            # The main predictor has the processor first: its traces follow the brush.
            if self._main_results.is_awaited:
                return
            self._is_due = False
            self._requested = (self._state.window, self._state.mask)
            self._client.send()


class Requests:
    """Requests to the main predictor and to its baseline; waiting, cancelling, closing.

    Parameters
    ----------
    load
        Makes a predictor from a name and a device, on the thread of an engine.
    store
        As in `StageRunner`.
    workers
        Watch over the processes of the predictors.

    Attributes
    ----------
    engine, client
        Engine and client of the main predictor.
    baseline
        Client of the baseline.
    cancelled
        Emitted by `cancel`, before anything is cancelled.
    """

    cancelled = Signal()

    def __init__(
        self,
        state: LiveState,
        results: Results,
        load: Load,
        lock: threading.RLock,
        execution: Execution,
        store: ScoreStore | None,
        workers: WorkerWatch,
    ) -> None:
        self.engine = Engine(StageRunner(load, store), execution)
        self.client = LiveClient(self.engine, state, results, lock)
        self.baseline = BaselineClient(state, results, load, lock, execution, store)
        self._state, self._results, self._lock = state, results, lock
        self._workers = workers
        # Several panels can show the live sweep: the last one that closes stops it.
        self._sweep_viewers: set[object] = set()

    def send(self) -> None:
        """Request the task on screen, also from the baseline if it is new."""
        with self._lock:
            self.client.send()
            self.baseline.follow()

    def send_again(self) -> None:
        """Send the current request again, after an error or a cancel."""
        with self._lock:
            self.client.send()
            self.baseline.follow(again=True)

    def connect(self) -> None:
        """Allow the server that the file of the model names, and request again."""
        if self._results.asked_host:
            allow_connections([self._results.asked_host])
            # Processes know the servers that were allowed when they started.
            self._workers.end()
            self.send_again()

    def score_tier(self, is_on: bool) -> None:
        """Turn the score over the test tier on or off; idle time is used for it."""
        with self._lock:
            self._state.scores_tier = is_on
            # The running score belongs to the last request, which this one replaces.
            self.send_again()

    def finish_scores(self) -> None:
        """Score the rest of the tier now, if the engines are synchronous.

        Engines with threads score it between requests; then this does nothing.
        """
        # First, so that all scores precede the curves.
        self.baseline.run_idle_work()
        self.engine.run_idle_work()

    def show_sweep(self, is_shown: bool = True, viewer: object = None) -> None:
        """Show or hide the live sweep for one viewer.

        The sweep is computed after each answer while at least one viewer shows it. It
        stops when the last viewer hides it and later continues from its last point.
        """
        with self._lock:
            viewers = self._sweep_viewers
            (viewers.add if is_shown else viewers.discard)(viewer)
            if self._state.sweep_shown == bool(viewers):
                return
            self._state.sweep_shown = bool(viewers)
            if viewers:
                self.client.send()
            # Only if the sweep alone is still running: the predictions themselves must
            # not be computed again because a panel was closed.
            elif self._results.population_freshness == "fresh":
                self.client.drop_rest()

    def cancel(self) -> None:
        """Cancel running and waiting requests, also of the baseline; results stay."""
        with self._lock:
            self.cancelled.emit()
            # Before the main request: its end would start a baseline that is still due.
            self.baseline.stop()
            self.client.stop()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all requests are finished; False on timeout."""
        return self.engine.wait(timeout_s) and self.baseline.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """End both engines and their processes."""
        # A panel that is hidden later asks for nothing.
        self._sweep_viewers.clear()
        self._state.sweep_shown = False
        self.baseline.close(timeout_s)
        self.engine.close(timeout_s)
