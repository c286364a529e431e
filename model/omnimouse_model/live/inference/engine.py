"""Live inference: one long-lived thread, one waiting slot, newest next.

The running request finishes and is shown; a newer one replaces what still waits and
stops the later stages of the running one. Where nothing waits for a while, `call` may
look ahead, and gives way at once. The engine does not know what a request is: `call`
turns one into answers, `post` runs a function on the thread that draws.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Literal

from psygnal import Signal

from omnimouse_model.errors import StoppedError

logger = logging.getLogger(__name__)

Post = Callable[[Callable[[], None]], None]
Outdated = Callable[[], bool]
Kind = Literal["stage", "done", "stopped", "error"]
Call = Callable[[Any, Outdated], Iterator[Any]]
QUIET_S = 0.15
"""Nothing was asked for so long: the user looks. A stroke asks far more often."""


def call_at_once(function: Callable[[], None]) -> None:
    """Run a function on the calling thread: the `post` of tests and scripts."""
    function()


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing the engine has to say about a request.

    `kind` is "stage" (a value), "done" (all stages given), "stopped" or "error".
    """

    number: int
    kind: Kind
    value: Any = None
    error: Exception | None = None
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class _Asked:
    number: int
    request: Any
    since: float


class Engine:
    """Answers the newest request, in stages, on a thread of its own.

    Parameters
    ----------
    call
        `call(request, outdated)` yields one value per stage. It should ask
        `outdated()` between steps, and end or raise `StoppedError` when it is true.
        Where it has `look_ahead(request, outdated)`, that is called when all is
        answered and nothing more was asked for a while.
    post
        Hands a function to the thread that draws; direct by default.
    synchronous
        Answer inside `submit`, without a thread: for scripts and tests of views.
    """

    answered = Signal(Answer)

    def __init__(
        self, call: Call, post: Post = call_at_once, *, synchronous: bool = False
    ) -> None:
        self._call = call
        self._post = post
        self._synchronous = synchronous
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._waiting: _Asked | None = None
        self._is_running = False
        self._is_closed = False
        self._asked = 0
        self._stopped = 0
        self._shown = 0

    # -- from any thread ----------------------------------------------------------
    def submit(self, request: Any) -> int:
        """Ask; replaces a request that still waits. Returns the request's number."""
        with self._changed:
            if self._is_closed:
                raise RuntimeError("The engine is closed; make a new controller.")
            self._asked += 1
            asked = _Asked(self._asked, request, perf_counter())
            if not self._synchronous:
                self._waiting = asked
                self._start_thread()
                self._changed.notify_all()
        if self._synchronous:
            self._answer(asked)
        return asked.number

    def cancel(self) -> None:
        """Drop the waiting request and stop the running one at its next check."""
        with self._changed:
            self._waiting = None
            self._stopped = self._asked
            self._changed.notify_all()

    @property
    def is_busy(self) -> bool:
        """Whether a request runs or waits."""
        return self._is_running or self._waiting is not None

    @property
    def newest(self) -> int:
        """Number of the newest request."""
        return self._asked

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing runs or waits; False when the time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.is_busy, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop, and end the thread; `call.close()` is called if there is one."""
        self.cancel()
        with self._changed:
            was_closed, self._is_closed = self._is_closed, True
            thread = self._thread
            self._changed.notify_all()
        if thread is None:
            if not was_closed:
                self._close_call()
        elif thread is not threading.current_thread():
            thread.join(timeout_s)

    # -- on the engine's thread -----------------------------------------------------
    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._loop, name="omnimouse-engine", daemon=True
            )
            self._thread.start()

    def _loop(self) -> None:
        while (asked := self._next()) is not None:
            try:
                self._answer(asked)
            except Exception:
                # A view failed to draw, or its window is gone: the next one goes on.
                logger.exception("An answer could not be shown.")
            with self._changed:
                self._is_running = False
                self._changed.notify_all()
            self._look_ahead(asked)
        self._close_call()

    def _next(self) -> _Asked | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._waiting is not None)
            if self._is_closed:
                return None
            asked, self._waiting = self._waiting, None
            self._is_running = True
            return asked

    def _look_ahead(self, asked: _Asked) -> None:
        """Get ready for what may be asked next, until something is."""
        look_ahead = getattr(self._call, "look_ahead", None)
        if look_ahead is None:
            return

        def outdated() -> bool:
            is_next = self._waiting is not None or self._is_closed
            return is_next or asked.number <= self._stopped

        with self._changed:
            if self._changed.wait_for(outdated, QUIET_S):
                return
        try:
            look_ahead(asked.request, outdated)
        except StoppedError:
            pass
        except Exception:
            # The question itself was answered; a fault here shows when it is asked.
            logger.info("Looking ahead failed.", exc_info=True)

    def _answer(self, asked: _Asked) -> None:
        for answer in self._answers(asked):
            self._post(partial(self._show, answer))

    def _answers(self, asked: _Asked) -> Iterator[Answer]:
        """All there is to say about one request; faults become answers too."""
        given = 0

        def outdated() -> bool:
            return self._is_outdated(asked.number, given)

        def made(kind: Kind, value: Any = None, error: Any = None) -> Answer:
            elapsed_ms = (perf_counter() - asked.since) * 1e3
            return Answer(asked.number, kind, value, error, elapsed_ms)

        try:
            for value in self._call(asked.request, outdated):
                yield made("stage", value)
                given += 1
                if outdated():
                    break
        except StoppedError:
            pass
        except Exception as error:
            logger.info("Request %d failed.", asked.number, exc_info=True)
            yield made("error", error=error)
            return
        yield made("stopped" if outdated() else "done")

    def _is_outdated(self, number: int, stages_given: int) -> bool:
        """Cancelled; or at a later stage while something newer waits."""
        if number <= self._stopped:
            return True
        return stages_given > 0 and self._asked > number

    def _close_call(self) -> None:
        close = getattr(self._call, "close", None)
        if close is not None:
            close()

    # -- on the thread that draws ---------------------------------------------------
    def _show(self, answer: Answer) -> None:
        """Age is checked here again: something newer may have been shown meanwhile."""
        if self._is_closed or answer.number < self._shown:
            return
        if answer.kind == "stage":
            if answer.number <= self._stopped:
                return
            self._shown = answer.number
        self.answered.emit(answer)
