"""Background task: long work on its own thread, with progress and errors.

A new start stops the previous one, whose results and progress are then dropped. The
owner defines the work: opening a recording, listing a folder, checking a session.
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
"""Minimum seconds between progress messages; work can report thousands of shares."""


@runtime_checkable
class ReportProgress(Protocol):
    """Reports progress; raises `StoppedError` if the task was stopped."""

    def __call__(self, words: str, share: float | None = None) -> None:
        """Report a message, and the finished share (0-1) if it is known."""
        ...


class BackgroundTask(Generic[Request, Found]):
    """Background task that yields results to the drawing thread.

    Parameters
    ----------
    work
        `work(request, tell)` yields results; runs on the task's thread.
    take
        Receives each result on the drawing thread; an exception becomes `error`.
    post
        Runs a function on the drawing thread.
    synchronous
        Compute inside `start`: for scripts and tests.

    Attributes
    ----------
    changed
        Emitted on the drawing thread when `message` or `error` may have changed.
    message
        Progress message, "" when the task is idle.
    share
        Finished share (0-1), None if not known.
    error
        Error of the newest start, None without one.
    """

    changed = Signal()

    def __init__(
        self,
        work: Callable[[Request, ReportProgress], Iterator[Found]],
        take: Callable[[Found], None],
        post: Post = call_at_once,
        *,
        synchronous: bool = False,
    ) -> None:
        self.message = ""
        self.share: float | None = None
        self.error: Exception | None = None
        self._work, self._take, self._post = work, take, post
        self._engine = Engine(self._stages, post, synchronous=synchronous)
        self._engine.answered.connect(self._on_answer)
        self._newest = 0

    @property
    def is_busy(self) -> bool:
        """Whether the task runs."""
        return bool(self.message)

    def start(self, request: Request, words: str) -> None:
        """Start the work; an unfinished previous start is cancelled."""
        self._engine.cancel()
        # The number that `submit` will give: a synchronous engine answers inside
        # `submit`, and `_on_answer` compares with this number.
        self._newest = self._engine.newest + 1
        self.message, self.share, self.error = words, None, None
        self.changed.emit()
        self._engine.submit(request)

    def stop(self) -> None:
        """Stop the work at its next step; results yielded so far stay."""
        # No request has the number 0: answers that are still queued are ignored.
        self._engine.cancel()
        self._newest = 0
        if self.is_busy:
            self.message = ""
            self.changed.emit()

    def clear_error(self) -> None:
        """Clear the error."""
        if self.error is not None:
            self.error = None
            self.changed.emit()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the task is idle; False on timeout."""
        return self._engine.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop at the next step and end the thread."""
        self._engine.close(timeout_s)

    def _stages(self, request: Request, outdated: Outdated) -> Iterator[Found]:
        told_at = -TELL_EVERY_S

        def report(words: str, share: float | None = None) -> None:
            nonlocal told_at
            if outdated():
                raise StoppedError
            # Messages without a share, and the first and last share, are never skipped.
            is_on_the_way = share is not None and 0.0 < share < 1.0
            if is_on_the_way and monotonic() - told_at < TELL_EVERY_S:
                return
            told_at = monotonic()
            self._post(partial(self._tell, words, share, outdated))

        return self._work(request, report)

    # -- on the drawing thread --------------------------------------------------------
    def _tell(self, words: str, share: float | None, outdated: Outdated) -> None:
        if self.is_busy and not outdated():
            self.message, self.share = words, share
            self.changed.emit()

    def _on_answer(self, answer: Answer) -> None:
        if answer.number != self._newest:
            return
        if answer.kind == "stage":
            try:
                self._take(answer.value)
            # `take` calls listeners, such as views, which can raise any error. Later
            # results are still taken, and the error is shown at the end.
            except Exception as error:
                self.error = error
        else:
            self.message, self.error = "", self.error or answer.error
            self.changed.emit()


class HasBackgroundTask:
    """Mixin for a class with one background task `_task`: its progress and errors."""

    _task: BackgroundTask[Any, Any]

    @property
    def message(self) -> str:
        """Progress message, "" when the task is idle."""
        return self._task.message

    @property
    def is_busy(self) -> bool:
        """Whether the task runs."""
        return self._task.is_busy

    @property
    def error(self) -> Exception | None:
        """Error of the newest start, None without one."""
        return self._task.error

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the task is idle; False on timeout."""
        return self._task.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the task and end its thread."""
        self._task.close(timeout_s)
