"""Baseline predictor: receives each request after the main predictor has answered.

It has its own engine and, with worker processes, its own process, so that fitting it
to a session does not delay the main predictor. While the main predictor computes, the
baseline's older results are marked as stale and no new request is sent to it.
"""

import threading

from omnimouse_model.data.window import Window
from omnimouse_model.live.inference.client import LiveClient
from omnimouse_model.live.inference.engine import Engine, Execution
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.inference.score_store import ScoreStore
from omnimouse_model.live.inference.stages import StageRunner
from omnimouse_model.live.results import NOT_SENT, Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask


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
            # results are cleared by the controller.
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
