"""Order of the open session's neurons by similarity, computed on request.

It is computed in the background and cached for the latest recordings.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.tuning.neuron_order import similarity_order
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.state import LiveState

_KEPT = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    session: Session
    order: np.ndarray


class SimilarityOrder(HasBackgroundTask):
    """Order of the session's neurons by similarity; `controller.similarity`.

    Parameters
    ----------
    state
        Live state.
    execution
        Threads of the work and of its results.

    Attributes
    ----------
    changed
        Emitted on the drawing thread when an attribute may have changed.
    """

    changed = Signal()

    def __init__(self, state: LiveState, execution: Execution = IN_THREADS) -> None:
        self._state = state
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()
        self._under_way: Session | None = None
        self._given_up: Session | None = None
        self._task = BackgroundTask(_ordered, self._take, execution)
        self._task.changed.connect(self._on_errand)

    @property
    def order(self) -> np.ndarray | None:
        """int (P,): neuron of each row, None if not computed yet."""
        session = self._state.session
        return None if session is None else self._kept.get(session.fingerprint)

    @property
    def is_stopped(self) -> bool:
        """Whether the user stopped the computation; `retry` restarts it."""
        return self._given_up is not None and self._given_up is self._state.session

    def request(self) -> None:
        """Start the computation, unless it is done, running or stopped by the user."""
        session = self._state.session
        if session is None or self.order is not None or self.is_stopped:
            return
        if session is not self._under_way:
            self._under_way = session
            self._task.start(session, "Comparing neurons")

    def pause(self) -> None:
        """Stop the computation because no view needs it; `request` restarts it."""
        if self.is_busy:
            self._under_way = None
            self._task.stop()

    def stop(self) -> None:
        """Stop the computation until `retry` or another recording."""
        self._given_up = self._state.session
        self.pause()

    def retry(self) -> None:
        """Start the computation after a stop or an error."""
        self._given_up = self._under_way = None
        self._task.clear_error()
        self.request()

    def _take(self, found: _Found) -> None:
        self._kept[found.session.fingerprint] = found.order
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        self.changed.emit()

    def _on_errand(self) -> None:
        # After an error, `_under_way` stays: `request` must not retry at every redraw.
        if not self.is_busy and self.error is None:
            self._under_way = None
        self.changed.emit()


def _ordered(session: Session, report: ReportProgress) -> Iterator[_Found]:
    def tell_share(share: float) -> None:
        report(f"Comparing neurons: {100 * share:.0f} %")

    yield _Found(session, similarity_order(session, tell_share))
