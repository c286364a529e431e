"""Order of the open session's neurons by similarity, computed in the background."""

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from omnimouse_model.analysis.tuning.neuron_order import similarity_order
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
    percent_job,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.state import LiveState

_CACHE_SIZE = 8
"""Recordings whose order is kept, so that going back to one computes nothing."""


class SimilarityOrder(HasBackgroundTask):
    """Order of the session's neurons by similarity; starts when a view requests it."""

    def __init__(self, state: LiveState, execution: Execution = IN_THREADS) -> None:
        self._state = state
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()
        # The session that is computed or has failed, and the one stopped by the user.
        self._computed: Session | None = None
        self._stopped: Session | None = None
        self._task = BackgroundTask(_compute, self._take, execution)
        self._task.changed.connect(self._on_task)

    @property
    def order(self) -> np.ndarray | None:
        """int (P,): neuron of each row, None if not computed yet."""
        session = self._state.session
        return None if session is None else self._cache.get(session.fingerprint)

    @property
    def is_stopped(self) -> bool:
        """Whether the user stopped the computation; `retry` restarts it."""
        return self._stopped is not None and self._stopped is self._state.session

    def request(self) -> None:
        """Start the computation, unless it is done, running or stopped by the user."""
        session = self._state.session
        if session is None or self.order is not None or self.is_stopped:
            return
        if session is not self._computed:
            self._computed = session
            self._task.start(session, "Comparing neurons")

    def pause(self) -> None:
        """Stop the computation because no view needs it; `request` restarts it."""
        if self.is_busy:
            self._computed = None
            self._task.stop()

    def stop(self) -> None:
        """Stop the computation until `retry` or another recording."""
        # Per session: another recording starts without asking again.
        self._stopped = self._state.session
        self.pause()

    def retry(self) -> None:
        """Start the computation after a stop or an error."""
        self._stopped = self._computed = None
        self._task.clear_error()
        self.request()

    def _take(self, result: tuple[Session, np.ndarray]) -> None:
        session, order = result
        self._cache[session.fingerprint] = order
        while len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        self.changed.emit()

    def _on_task(self) -> None:
        # After an error, `_computed` stays: `request` must not retry at every redraw.
        if not self.is_busy and self.error is None:
            self._computed = None


def _compute(session: Session, report: ReportProgress) -> Iterator[tuple[Session, np.ndarray]]:
    yield session, similarity_order(session, percent_job(report, "Comparing neurons"))
