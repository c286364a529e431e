"""A baseline beside the predictor: asked the same, once the predictor has answered.

It has an engine of its own, and where predictors do, a process: fitting it to a
session delays no answer of the predictor, and its refusals are its own. While the
user paints it waits; what it answered then is older.
"""

import threading
from collections.abc import Callable

from omnimouse_model.data.window import Window
from omnimouse_model.live.inference.apply import mark_asked
from omnimouse_model.live.inference.client import Asking
from omnimouse_model.live.inference.engine import Engine
from omnimouse_model.live.inference.stages import Answering, Load
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask


class Beside:
    """Asks a baseline what the predictor was asked.

    Parameters
    ----------
    state
        What is on screen.
    answers
        The predictor's own; the baseline is asked when nothing more of them is awaited.
    make_engine
        Makes an engine for a baseline, and for nothing else.
    lock
        Held while results change.

    Attributes
    ----------
    results
        The baseline's; `population` and `scores` of all that was asked.
    """

    def __init__(
        self,
        state: LiveState,
        answers: Results,
        make_engine: Callable[[Answering], Engine],
        load: Load,
        lock: threading.RLock,
    ) -> None:
        self.results = Results()
        self._state, self._answers, self._lock = state, answers, lock
        self._make_engine, self._load = make_engine, load
        self._engine: Engine | None = None
        self._asking: Asking | None = None
        self._asked: tuple[Window | None, Mask | None] = (None, None)
        self._is_due = False

    def choose(self, name: str) -> None:
        """Ask this one from now on, by a name for `load`; nobody for ""."""
        self.close(0.0)
        if name:
            self._engine = self._make_engine(Answering(self._load))
            self._asking = Asking(
                self._engine, self._state, self.results, self._lock, sweeps=False
            )
            self._asking.choose(name)
            self._state.events.window.connect(self._forget)
            self._answers.changed.connect(self._ask_if_due)
            self.follow()

    def follow(self, *, again: bool = False) -> None:
        """Ask what is on screen now, if that was not asked or `again`, in its turn.

        To be called when the predictor was asked: until that has answered, what the
        baseline answered before is older.
        """
        question = (self._state.window, self._state.mask)
        if self._engine is None or question[0] is None or question[1] is None:
            return
        is_known = question[0] is self._asked[0] and question[1] is self._asked[1]
        if is_known and not again and not self._is_due:
            return
        if not self._is_due:
            mark_asked(self.results, self._engine.newest + 1)
        self._is_due = True
        self._ask_if_due()

    def stop(self) -> None:
        """Stop what it computes and what it would be asked; what is shown stays."""
        self._is_due = False
        if self._asking is not None and self.results.is_awaited:
            self._asking.stop()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until all that it was asked is answered; False when the time is up."""
        return self._engine is None or self._engine.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Let the baseline and its process go."""
        self._forget()
        if self._engine is not None:
            self._state.events.window.disconnect(self._forget)
            self._answers.changed.disconnect(self._ask_if_due)
            self._engine.close(timeout_s)
        self._engine = self._asking = None
        self.results.asked = self.results.shown = 0

    def _forget(self) -> None:
        """Its answers belong to the window that was on screen."""
        self._asked, self._is_due = (None, None), False
        if self._asking is not None:
            self.results.is_awaited, self.results.error = False, None
            self._asking.give_up()

    def _ask_if_due(self) -> None:
        if self._is_due and self._asking is not None and not self._answers.is_awaited:
            self._is_due = False
            self._asked = (self._state.window, self._state.mask)
            self._asking.ask()
