"""One long piece of work off the thread that draws: its progress, and its end.

The newest wins: what came before is stopped and heard of no more. What the work is,
its owner says: opening a recording, looking through a folder, checking a session.
"""

from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from psygnal import Signal

from omnimouse_model.errors import StoppedError
from omnimouse_model.live.inference.engine import (
    Answer,
    Engine,
    Outdated,
    Post,
    call_at_once,
)

Request = TypeVar("Request")
Found = TypeVar("Found")
TELL_EVERY_S = 0.1
"""Of shares, which come by the thousand: the screen hears of few."""


@runtime_checkable
class Tell(Protocol):
    """Tells what is being done; raises `StoppedError` where it shall end."""

    def __call__(self, words: str, share: float | None = None) -> None:
        """In words, and the finished share of it where that is known."""
        ...


class Errand(Generic[Request, Found]):
    """Does work in a thread of its own, and hands over what it finds.

    Parameters
    ----------
    work
        `work(request, tell)` yields what it finds; called on that thread.
    take
        Given every find on the thread that draws; what it raises is the fault.
    post
        Hands a function to the thread that draws.
    synchronous
        Work inside `start`: for scripts and tests.

    Attributes
    ----------
    changed
        Emitted on the thread that draws when `words` or `fault` may have changed.
    words
        What is being done, "" when nothing is.
    share
        How much of it is done, None where that is not known.
    fault
        Why the newest failed, None where it did not.
    """

    changed = Signal()

    def __init__(
        self,
        work: Callable[[Request, Tell], Iterator[Found]],
        take: Callable[[Found], None],
        post: Post = call_at_once,
        *,
        synchronous: bool = False,
    ) -> None:
        self.words = ""
        self.share: float | None = None
        self.fault: Exception | None = None
        self._work, self._take, self._post = work, take, post
        self._engine = Engine(self._stages, post, synchronous=synchronous)
        self._engine.answered.connect(self._on_answer)
        self._newest = 0

    @property
    def is_busy(self) -> bool:
        """Whether something is being done."""
        return bool(self.words)

    def start(self, request: Request, words: str) -> None:
        """Begin; what came before and has not ended is given up."""
        self._engine.cancel()
        self._newest = self._engine.newest + 1
        self.words, self.share, self.fault = words, None, None
        self.changed.emit()
        self._engine.submit(request)

    def stop(self) -> None:
        """End it at its next step; what it found so far was handed over."""
        self._engine.cancel()
        self._newest = 0
        if self.is_busy:
            self.words = ""
            self.changed.emit()

    def forget_fault(self) -> None:
        """It was read, or does not matter any more."""
        if self.fault is not None:
            self.fault = None
            self.changed.emit()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is being done; False when the time is up."""
        return self._engine.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop for good, at the next step."""
        self._engine.close(timeout_s)

    def _stages(self, request: Request, outdated: Outdated) -> Iterator[Found]:
        told_at = -TELL_EVERY_S

        def tell(words: str, share: float | None = None) -> None:
            nonlocal told_at
            if outdated():
                raise StoppedError
            is_on_the_way = share is not None and 0.0 < share < 1.0
            if is_on_the_way and monotonic() - told_at < TELL_EVERY_S:
                return
            told_at = monotonic()
            self._post(partial(self._tell, words, share, outdated))

        return self._work(request, tell)

    # -- on the thread that draws -----------------------------------------------------
    def _tell(self, words: str, share: float | None, outdated: Outdated) -> None:
        if self.is_busy and not outdated():
            self.words, self.share = words, share
            self.changed.emit()

    def _on_answer(self, answer: Answer) -> None:
        if answer.number != self._newest:
            return
        if answer.kind == "stage":
            try:
                self._take(answer.value)
            except Exception as error:  # of whoever draws it
                self.fault = error
        else:
            self.words, self.fault = "", self.fault or answer.error
            self.changed.emit()


class HasErrand:
    """Whoever has one errand, `_errand`: how far it is, its fault, its end."""

    _errand: Errand[Any, Any]

    @property
    def words(self) -> str:
        """How far what is under way is, "" when nothing is."""
        return self._errand.words

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way."""
        return self._errand.is_busy

    @property
    def fault(self) -> Exception | None:
        """Why the newest failed, None where it did not."""
        return self._errand.fault

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is under way; False when the time is up."""
        return self._errand.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop for good."""
        self._errand.close(timeout_s)
