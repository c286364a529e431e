"""Engine of live inference: one long-lived thread and one slot for the next request.

A new request replaces the waiting one and stops the later stages of the running one,
whose first stage is still shown. When no request arrives for a while, `call` may look
ahead until the next request. The engine does not depend on the type of requests: `call`
turns a request into values, `post` runs a function on the drawing thread.
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
"""Seconds without a request before looking ahead; during a stroke, requests are more
frequent than this."""


def call_at_once(function: Callable[[], None]) -> None:
    """Run a function on the calling thread; the `post` of tests and scripts."""
    function()


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of the engine about a request.

    `kind` is "stage" (with `value`), "done" (all stages finished), "stopped" or "error"
    (with `error`). `elapsed_ms` is the time since `submit`.
    """

    number: int
    kind: Kind
    value: Any = None
    error: Exception | None = None
    elapsed_ms: float = 0.0


# `since` is the time of `submit`, so that `elapsed_ms` includes the waiting time.
@dataclass(frozen=True, slots=True)
class _Asked:
    number: int
    request: Any
    since: float


class Engine:
    """Runs the newest request in stages on its own thread.

    Parameters
    ----------
    call
        `call(request, outdated)` yields one value per stage. It should check
        `outdated()` between steps and return or raise `StoppedError` when it is true.
        If it has `look_ahead(request, outdated)`, the engine calls that after a request
        when no other request arrives for `QUIET_S`.
    post
        Runs a function on the drawing thread; calls it directly by default.
    synchronous
        Compute inside `submit`, without a thread: for scripts and tests of views.
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
        # Numbers of the newest request submitted, cancelled and shown; they only grow.
        self._asked = 0
        self._stopped = 0
        self._shown = 0

    # -- from any thread ----------------------------------------------------------
    def submit(self, request: Any) -> int:
        """Submit a request, which replaces a waiting one; return its number."""
        with self._changed:
            if self._is_closed:
                raise RuntimeError("The engine is closed; make a new controller.")
            self._asked += 1
            asked = _Asked(self._asked, request, perf_counter())
            if not self._synchronous:
                # The thread starts with the first request: constructing a controller
                # costs nothing.
                self._waiting = asked
                self._start_thread()
                self._changed.notify_all()
        if self._synchronous:
            self._answer(asked)
        return asked.number

    def cancel(self) -> None:
        """Drop the waiting request, and stop the running one at its next check."""
        with self._changed:
            # All requests up to this number are cancelled; later ones are not.
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
        """Wait until no request runs or waits; False on timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.is_busy, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Cancel all requests and end the thread; call `call.close()` if it exists."""
        self.cancel()
        with self._changed:
            was_closed, self._is_closed = self._is_closed, True
            thread = self._thread
            self._changed.notify_all()
        # With a thread, `_loop` closes `call` on that thread, which owns its resources.
        if thread is None:
            if not was_closed:
                self._close_call()
        # A listener may close the engine from its own thread, which cannot join itself.
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
                # A view failed to draw or its window is gone; the thread must survive
                # for the next request.
                logger.exception("An answer could not be shown.")
            # Idle before looking ahead, so that `wait` does not wait for it.
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
        """Run `call.look_ahead` after `QUIET_S` without a request, until the next."""
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
            # The request itself succeeded. A lasting error is raised again, and shown,
            # when the neighbouring window is requested.
            logger.info("Looking ahead failed.", exc_info=True)

    def _answer(self, asked: _Asked) -> None:
        # Posted one by one while the request runs, not collected: the first stage must
        # be drawn before the next one is computed.
        for answer in self._answers(asked):
            self._post(partial(self._show, answer))

    def _answers(self, asked: _Asked) -> Iterator[Answer]:
        """Yield the answers to one request; an exception becomes an "error" answer."""
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
        """Whether a request is cancelled, or past its first stage with a newer one."""
        if number <= self._stopped:
            return True
        # The first stage always finishes: otherwise a continuous stroke, with requests
        # faster than predictions, would never show a result.
        return stages_given > 0 and self._asked > number

    def _close_call(self) -> None:
        close = getattr(self._call, "close", None)
        if close is not None:
            close()

    # -- on the drawing thread ------------------------------------------------------
    def _show(self, answer: Answer) -> None:
        """Emit an answer, unless a newer one was shown or it was cancelled.

        Checked again here because `post` may run this later.
        """
        if self._is_closed or answer.number < self._shown:
            return
        if answer.kind == "stage":
            if answer.number <= self._stopped:
                return
            self._shown = answer.number
        self.answered.emit(answer)
