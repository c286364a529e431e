"""Baseline predictor: receives each request after the main predictor has answered.

It has its own engine and, with worker processes, its own process, so that fitting it
to a session does not delay the main predictor. While the main predictor computes, the
baseline's older results are marked as stale and no new request is sent to it.
"""

import threading
from collections.abc import Callable

from omnimouse_model.data.window import Window
from omnimouse_model.live.inference.apply import mark_asked
from omnimouse_model.live.inference.client import LiveClient
from omnimouse_model.live.inference.engine import Engine
from omnimouse_model.live.inference.stages import Load, StageRunner
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask


class BaselineClient:
    """Requests of the baseline predictor, for the same window and mask.

    Parameters
    ----------
    state
        Live state.
    answers
        Results of the main predictor; the baseline runs when they are complete.
    make_engine
        Makes the engine of a baseline.
    load
        Makes a predictor from its name.
    lock
        Held while results change.

    Attributes
    ----------
    results
        Results of the baseline.
    """

    def __init__(
        self,
        state: LiveState,
        answers: Results,
        make_engine: Callable[[StageRunner], Engine],
        load: Load,
        lock: threading.RLock,
    ) -> None:
        self.results = Results()
        self._state, self._answers, self._lock = state, answers, lock
        self._make_engine, self._load = make_engine, load
        self._engine: Engine | None = None
        self._client: LiveClient | None = None
        self._asked: tuple[Window | None, Mask | None] = (None, None)
        self._is_due = False

    def choose(self, name: str) -> None:
        """Choose the baseline by a name for `load`; "" removes it."""
        # Do not wait for the old baseline: its thread ends after its current step.
        self.close(0.0)
        if name:
            self._engine = self._make_engine(StageRunner(self._load))
            self._client = LiveClient(
                self._engine, self._state, self.results, self._lock, sweeps=False
            )
            self._client.choose(name)
            self._state.events.window.connect(self._forget)
            self._answers.changed.connect(self._ask_if_due)
            self.follow()

    def follow(self, *, again: bool = False) -> None:
        """Schedule a request for the screen's state, if it is new or `again` is true.

        Call it after each request to the main predictor. The baseline's older results
        are marked as stale; the request is sent when the main predictor has finished.
        """
        question = (self._state.window, self._state.mask)
        if self._engine is None or question[0] is None or question[1] is None:
            return
        # Identity is sufficient, because windows and masks are immutable.
        is_known = question[0] is self._asked[0] and question[1] is self._asked[1]
        if is_known and not again and not self._is_due:
            return
        if not self._is_due:
            mark_asked(self.results, self._engine.newest + 1)
        self._is_due = True
        self._ask_if_due()

    def stop(self) -> None:
        """Cancel running and scheduled requests; keep the displayed results."""
        self._is_due = False
        if self._client is not None and self.results.is_awaited:
            self._client.stop()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until all requests are finished; False on timeout."""
        return self._engine is None or self._engine.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Remove the baseline and end its engine and process."""
        self._forget()
        if self._engine is not None:
            self._state.events.window.disconnect(self._forget)
            self._answers.changed.disconnect(self._ask_if_due)
            self._engine.close(timeout_s)
        self._engine = self._client = None
        # The next baseline has a new engine, whose numbers start at 1 again.
        self.results.newest_request = self.results.shown_request = 0

    def _forget(self) -> None:
        """Clear the results, because they belong to the previous window."""
        self._asked, self._is_due = (None, None), False
        if self._client is not None:
            self.results.is_awaited, self.results.error = False, None
            self._client.give_up()

    def _ask_if_due(self) -> None:
        if self._is_due and self._client is not None and not self._answers.is_awaited:
            self._is_due = False
            self._asked = (self._state.window, self._state.mask)
            self._client.ask()
