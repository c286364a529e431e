"""Client of the engine: make requests from the state, apply answers to the results."""

import threading
from collections.abc import Callable

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.inference.apply import (
    apply_answer,
    forget_what_if,
    mark_asked,
    mark_cancelled,
    mark_edited,
)
from omnimouse_model.live.inference.engine import Answer, Engine
from omnimouse_model.live.inference.pinned_stages import PinRequest
from omnimouse_model.live.inference.stages import LiveRequest, LoadRequest, Stage
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.predict.devices import Residence
from omnimouse_model.predict.predictor import (
    Needs,
    Prediction,
    Predictor,
    is_served,
)


class LiveClient:
    """Client that sends the screen's state to an engine and applies current answers.

    Parameters
    ----------
    sweeps
        Whether the live sweep is asked for, too, where it is shown, and what-ifs.
    on_spec
        Called with the spec of the predictor when it is not that of the window on
        screen; without it, the predictor predicts the same time span at its own rates.

    Attributes
    ----------
    predictor
        Predictor, or a name or file that loads it; None if none is chosen.
    step_s
        Latest step of the window in seconds, signed; used to look ahead.
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
        self._engine = engine
        self._state = state
        self._results = results
        self._lock = lock
        self._sweeps = sweeps
        self._on_spec = on_spec
        self.predictor: str | Predictor | None = state.predictor_name or None
        self._quickest: tuple[Session | None, float] = (None, np.inf)
        self.step_s: float | None = None
        engine.answered.connect(self._take)

    def ask(self, unedited: Prediction | None = None) -> None:
        """Send a request for the screen's state; without a session, only load.

        With `unedited`, the known prediction without edits, request only the what-if.
        """
        state = self._state
        if self.predictor is None:
            return
        if state.session is None or state.window is None or state.mask is None:
            if isinstance(self.predictor, str):
                # No prediction is awaited, so the results are not marked as running.
                self._results.newest_request = self._engine.newest + 1
                self._engine.submit(LoadRequest(self.predictor, state.device))
            return
        request = LiveRequest(
            state.session,
            state.window,
            state.mask,
            state.selection,
            self.predictor,
            state.device,
            state.sweep_shown and self._sweeps,
            step_s=self.step_s,
            edits=state.edits if self._sweeps else (),
            unedited=unedited,
            maps=self._on_spec is None,
        )
        # Mark before `submit`: a synchronous engine applies its answers inside
        # `submit`, and the marks must not overwrite them.
        newest = self._engine.newest + 1
        if unedited is None:
            sweep, is_edited = request.has_sweep, bool(request.edits)
            mark_asked(self._results, newest, sweep=sweep, what_if=is_edited)
        else:
            mark_edited(self._results, newest)
        self._engine.submit(request)

    @property
    def state(self) -> LiveState:
        """Live state."""
        return self._state

    @property
    def needs(self) -> Needs | None:
        """Inputs and outputs of the predictor, None before it is loaded."""
        return self._results.needs

    @property
    def residence(self) -> Residence | None:
        """Device and memory of the predictor, None before it is loaded."""
        return self._results.residence

    @property
    def is_awaited(self) -> bool:
        """Whether the newest request has unfinished stages."""
        return self._results.is_awaited

    @property
    def population_s(self) -> float | None:
        """Shortest time of a population prediction of this session, in seconds.

        None before the first one. Predictions of less than half of the neurons are not
        counted; the time to load the predictor is not included.
        """
        session, seconds = self._quickest
        return seconds if session is self._state.session and seconds < np.inf else None

    def ask_what_if(self) -> None:
        """Request the what-if alone, if everything else is answered."""
        results = self._results
        if not results.is_answered:
            self.ask()
        elif self._state.edits:
            self.ask(results.population)
        else:
            self._engine.cancel()
            forget_what_if(results)
            mark_cancelled(results)

    def stop(self) -> None:
        """Cancel running and waiting requests; keep the displayed results."""
        self._engine.cancel()
        mark_cancelled(self._results)

    def forget(self) -> None:
        """Clear all results, because they belong to another window."""
        self._results.clear()
        self._results.freshness = self._results.population_freshness = "none"
        self._results.sweep_freshness = self._results.what_if_freshness = "none"
        self._results.changed.emit()

    def give_up(self) -> None:
        """Cancel all requests and clear all results."""
        self._engine.cancel()
        self.forget()

    def choose(self, predictor: str | Predictor | None) -> None:
        """Choose another predictor, or the same one on another device."""
        self.give_up()
        self.predictor, self._quickest = predictor, (None, np.inf)
        self._results.needs = self._results.residence = None

    def _take(self, answer: Answer) -> None:
        with self._lock:
            if isinstance(answer.value, Stage) and answer.value.name == "population":
                self._time(answer.value)
            apply_answer(self._results, answer, self._is_on_screen)
            self._follow_spec(answer)

    def _follow_spec(self, answer: Answer) -> None:
        """Report the spec of a predictor that cannot read the window on screen."""
        stage, window = answer.value, self._state.window
        if self._on_spec is None or window is None or not isinstance(stage, Stage):
            return
        if stage.needs is None or not self._is_on_screen(stage.request):
            return
        if not is_served(stage.needs.spec, window.spec):
            self._on_spec(stage.needs.spec)

    def _time(self, stage: Stage) -> None:
        """Record the time of a population prediction."""
        request, prediction = stage.request, stage.prediction
        if not isinstance(request, LiveRequest) or prediction is None:
            return
        # Few neurons take less time; their time would make a sweep look too fast.
        is_of_most = 2 * len(prediction.neurons) >= request.session.n_neurons
        state = self._state
        is_asked_here = (request.session, request.device) == (
            state.session,
            state.device,
        )
        if is_of_most and is_asked_here and request.predictor is self.predictor:
            known = np.inf if self.population_s is None else self.population_s
            self._quickest = request.session, min(known, stage.took_s)

    def _is_on_screen(self, request: LiveRequest | LoadRequest | PinRequest) -> bool:
        # The engine is shared with `Pins`, which applies the answers to `PinRequest`.
        if isinstance(request, PinRequest):
            return False
        # Identity: windows and predictors are replaced, never changed.
        if request.predictor is not self.predictor:
            return False
        return isinstance(request, LoadRequest) or request.window is self._state.window
