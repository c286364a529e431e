"""The order of the open session's neurons by similarity, when somebody wants it.

Computed off the thread that draws; kept for the recordings opened last.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.tuning.neuron_order import similarity_order
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import Errand, HasErrand, Tell
from omnimouse_model.live.inference.engine import Post, call_at_once
from omnimouse_model.live.state import LiveState

_KEPT = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    session: Session
    order: np.ndarray


class Similarity(HasErrand):
    """Orders the neurons on screen; `controller.similarity`.

    Parameters
    ----------
    state
        What is on screen.
    post
        Hands a function to the thread that draws.
    synchronous
        Compute at once: for scripts and tests.

    Attributes
    ----------
    changed
        Emitted on the thread that draws when anything here may have changed.
    """

    changed = Signal()

    def __init__(
        self, state: LiveState, post: Post = call_at_once, *, synchronous: bool = False
    ) -> None:
        self._state = state
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()
        self._under_way: Session | None = None
        self._given_up: Session | None = None
        self._errand = Errand(_ordered, self._take, post, synchronous=synchronous)
        self._errand.changed.connect(self._on_errand)

    @property
    def order(self) -> np.ndarray | None:
        """int (P,): the neuron of each row, None where it is not known yet."""
        session = self._state.session
        return None if session is None else self._kept.get(session.fingerprint)

    @property
    def is_given_up(self) -> bool:
        """Whether it was stopped, so that `again` is needed."""
        return self._given_up is not None and self._given_up is self._state.session

    def want(self) -> None:
        """Have it computed, where it is not known, nor under way, nor given up."""
        session = self._state.session
        if session is None or self.order is not None or self.is_given_up:
            return
        if session is not self._under_way:
            self._under_way = session
            self._errand.start(session, "Comparing neurons")

    def let_be(self) -> None:
        """Nobody looks at it any more: what runs ends, and may begin again."""
        if self.is_busy:
            self._under_way = None
            self._errand.stop()

    def stop(self) -> None:
        """Give it up until `again`, or another recording."""
        self._given_up = self._state.session
        self.let_be()

    def again(self) -> None:
        """Compute it: after a stop, or a fault."""
        self._given_up = self._under_way = None
        self._errand.forget_fault()
        self.want()

    def _take(self, found: _Found) -> None:
        self._kept[found.session.fingerprint] = found.order
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        self.changed.emit()

    def _on_errand(self) -> None:
        if not self.is_busy and self.fault is None:
            self._under_way = None
        self.changed.emit()


def _ordered(session: Session, tell: Tell) -> Iterator[_Found]:
    def tell_share(share: float) -> None:
        tell(f"Comparing neurons: {100 * share:.0f} %")

    yield _Found(session, similarity_order(session, tell_share))
