"""From the state to the engine, and from its answers to the results."""

import threading

from omnimouse_model.live.answering import WINDOW_S, LiveRequest, LoadRequest
from omnimouse_model.live.applying import apply_answer, mark_asked, mark_cancelled
from omnimouse_model.live.engine import Answer, Engine
from omnimouse_model.live.pinned import PinRequest
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.predict.predictor import Predictor


class Asking:
    """Asks what is on screen, and takes over the answers that still belong to it.

    Parameters
    ----------
    sweeps
        Whether the live sweep is asked for, too, where it is shown.

    Attributes
    ----------
    predictor
        Who is asked: a name, a file, or a predictor; None while nobody is chosen.
    step_s
        How far the user stepped last, to be ready for the next step.
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
        self._engine = engine
        self._state = state
        self._results = results
        self._lock = lock
        self._sweeps = sweeps
        self.predictor: str | Predictor | None = state.predictor_name or None
        self.step_s = WINDOW_S
        engine.answered.connect(self._take)

    def ask(self) -> None:
        """Ask for what is on screen; without a session a named predictor loads."""
        state = self._state
        if self.predictor is None:
            return
        if state.session is None or state.window is None or state.mask is None:
            if isinstance(self.predictor, str):
                self._results.asked = self._engine.newest + 1
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
        )
        newest = self._engine.newest + 1
        mark_asked(self._results, newest, sweep=request.has_sweep)
        self._engine.submit(request)

    @property
    def state(self) -> LiveState:
        """What is on screen."""
        return self._state

    @property
    def is_awaited(self) -> bool:
        """Whether anything that is on screen is still to be answered."""
        return self._results.is_awaited

    def stop(self) -> None:
        """Stop what runs and drop what waits; what is shown stays."""
        self._engine.cancel()
        mark_cancelled(self._results)

    def forget(self) -> None:
        """Forget every answer: they belong to another window."""
        self._results.clear()
        self._results.freshness = self._results.population_freshness = "none"
        self._results.sweep_freshness = "none"
        self._results.changed.emit()

    def give_up(self) -> None:
        """Forget every answer and stop what runs: nobody waits for it any more."""
        self._engine.cancel()
        self.forget()

    def choose(self, predictor: str | Predictor | None) -> None:
        """Ask somebody else, or the same elsewhere, from now on."""
        self.give_up()
        self.predictor = predictor
        self._results.needs = None

    def _take(self, answer: Answer) -> None:
        with self._lock:
            apply_answer(self._results, answer, self._is_on_screen)

    def _is_on_screen(self, request: LiveRequest | LoadRequest | PinRequest) -> bool:
        if isinstance(request, PinRequest):  # of the pins, which take it
            return False
        if request.predictor is not self.predictor:
            return False
        return isinstance(request, LoadRequest) or request.window is self._state.window
