"""Engine of live inference: one long-lived thread and one slot for the next request.

A new request replaces the waiting one and stops the later stages of the running one,
whose first stage is still shown. When no request arrives for a while, `call` may do
further work for the last ones until the next. Several callers can share an engine: each
passes the function that receives the answers to its own requests. The engine does not
depend on the type of requests: `call` turns a request into values, `post` runs a
function on the drawing thread.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Final, Literal

from omnimouse_model.errors import StoppedError
from omnimouse_model.predict.predictor import of_family
from omnimouse_model.progress import Cancelled, is_called

logger = logging.getLogger(__name__)

Post = Callable[[Callable[[], None]], None]
AnswerKind = Literal["stage", "done", "stopped", "error"]
Call = Callable[[Any, Cancelled], Iterator[Any]]
LOOK_S = 0.02
"""Seconds between checks whether other work has ended; much shorter than a prediction."""
QUIET_S = 0.15
"""Seconds without a request before idle work; during a stroke, requests are more
frequent than this."""


def _step(values: Iterator[Any]) -> Any:
    """Return the next value; what would end the thread, such as `SystemExit`, is an error."""
    with of_family("The computation", lambda: True):
        return next(values)


def call_at_once(function: Callable[[], None]) -> None:
    """Run a function on the calling thread; the `post` of tests and scripts."""
    function()


@dataclass(frozen=True, slots=True)
class Execution:
    """Threads on which work runs and its results arrive.

    Attributes
    ----------
    post
        Runs a function on the drawing thread; calls it directly by default.
    synchronous
        Compute at once on the calling thread: for scripts and tests.
    """

    post: Post = call_at_once
    synchronous: bool = False


IN_THREADS: Final = Execution()
"""Work on threads of its own, and results there too."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of the engine about a request.

    `kind` is "stage" (with `value`), "done" (all stages finished), "stopped" or "error"
    (with `error`). `elapsed_ms` is the time since `submit`.
    """

    number: int
    request: Any
    kind: AnswerKind
    value: Any = None
    error: Exception | None = None
    elapsed_ms: float = 0.0


OnAnswer = Callable[[Answer], None]


# `since` is the time of `submit`, so that `elapsed_ms` includes the waiting time.
@dataclass(frozen=True, slots=True)
class _Submission:
    number: int
    request: Any
    on_answer: OnAnswer
    since: float


class Engine:
    """Runs the newest request in stages on its own thread.

    Parameters
    ----------
    call
        `call(request, cancelled)` yields one value per stage. It should check
        `cancelled()` between steps and return or raise `StoppedError` when it is true.
        If it has `when_idle(request, cancelled)`, the engine iterates over that when no
        request arrives for `QUIET_S`, for the last request of each caller, the newest
        first; its values are stages, too.
    execution
        Threads of the requests and of the answers; a synchronous engine computes
        inside `start`.
    """

    def __init__(self, call: Call, execution: Execution = IN_THREADS) -> None:
        self._call = call
        self._when_idle: Call | None = getattr(call, "when_idle", None)
        self._post = execution.post
        self._synchronous = execution.synchronous
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._waiting: _Submission | None = None
        self._is_running = False
        self._is_closed = False
        # Numbers of the newest request submitted and cancelled; they only grow.
        self._newest = 0
        self._cancelled = 0
        # One request that its caller dropped.
        self._dropped = 0
        # Per caller: a result of one caller does not make those of another too old.
        self._newest_shown: dict[OnAnswer, int] = {}
        # Idle work is for the last request of each caller: one caller's requests follow
        # those of another, which must not end its idle work.
        self._answered: dict[OnAnswer, _Submission] = {}

    # -- from any thread ----------------------------------------------------------
    def submit(self, request: Any, on_answer: OnAnswer) -> int:
        """Store the next request to run and return its number; drop one that waits.

        `on_answer` receives the answers on the drawing thread. The caller stores the
        number and then calls `start`. If another request runs, the engine may begin
        before that: a caller that compares numbers calls `submit` under a lock that
        `on_answer` takes.
        """
        with self._changed:
            if self._is_closed:
                raise RuntimeError("The engine is closed; make a new controller.")
            self._newest += 1
            since = perf_counter()
            self._waiting = _Submission(self._newest, request, on_answer, since)
            return self._newest

    def start(self) -> None:
        """Start the waiting request; a synchronous engine computes it here."""
        # Separate from `submit`: the caller knows the number before an answer, and
        # marks its results before the computation competes for the interpreter lock.
        if not self._synchronous:
            with self._changed:
                # The thread starts with the first request: constructing a controller
                # costs nothing.
                self._start_thread()
                self._changed.notify_all()
        elif self._waiting is not None:
            submission, self._waiting = self._waiting, None
            self._answer(submission)
            self._note_answered(submission)

    def run_idle_work(self) -> None:
        """Run all idle work now, if the engine is synchronous: it has no thread."""
        if self._synchronous:
            self._work_when_idle()

    def cancel(self) -> None:
        """Drop the waiting request, and stop the running one at its next check."""
        with self._changed:
            # All requests up to this number are cancelled; later ones are not.
            self._waiting = None
            self._cancelled = self._newest
            self._changed.notify_all()

    def drop(self, number: int) -> None:
        """Drop one request, running or waiting; idle work for the others goes on."""
        with self._changed:
            self._dropped = number
            if self._waiting is not None and self._waiting.number == number:
                self._waiting = None
            self._changed.notify_all()

    @property
    def is_busy(self) -> bool:
        """Whether a request runs or waits."""
        return self._is_running or self._waiting is not None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until no request runs or waits; False on timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.is_busy, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Cancel all requests and end the thread; call `call.close()` if it exists."""
        self.cancel()
        with self._changed:
            was_closed, self._is_closed = self._is_closed, True
            # The thread must not be joined under the lock that it needs to end.
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
            self._thread = threading.Thread(target=self._loop, name="omnimouse-engine", daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        while (submission := self._next()) is not None:
            try:
                self._answer(submission)
            except Exception:
                # A view failed to draw or its window is gone; the thread must survive
                # for the next request.
                logger.exception("A result could not be shown.")
            # Idle before the idle work, so that `wait` does not wait for it.
            with self._changed:
                self._is_running = False
                self._changed.notify_all()
            self._note_answered(submission)
            with self._changed:
                is_quiet = not self._changed.wait_for(self._is_next, QUIET_S)
            if is_quiet:
                self._work_when_idle()
        self._close_call()

    def _next(self) -> _Submission | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._waiting is not None)
            if self._is_closed:
                return None
            submission, self._waiting = self._waiting, None
            self._is_running = True
            return submission

    def _note_answered(self, submission: _Submission) -> None:
        """Make a request the newest one that has idle work."""
        self._answered.pop(submission.on_answer, None)
        self._answered[submission.on_answer] = submission

    def _is_next(self) -> bool:
        return self._waiting is not None or self._is_closed

    def _work_when_idle(self) -> None:
        """Post the values of `call.when_idle` for the last request of each caller.

        The newest request comes first; a new one ends the work.
        """
        if (when_idle := self._when_idle) is None:
            return
        waiting, has_yielded = [*self._answered.values()], False

        def cancelled() -> bool:
            nonlocal has_yielded
            # Unlike a request, this work ends at once, also in its first stage.
            if self._is_next() or self._is_stopped(waiting[-1].number):
                return True
            has_yielded = has_yielded or is_called()
            return has_yielded

        while waiting:
            last, has_yielded = waiting[-1], False
            try:
                values = iter(() if cancelled() else when_idle(last.request, cancelled))
                while True:
                    value = _step(values)
                    if cancelled():
                        break
                    answer = Answer(last.number, last.request, "stage", value)
                    self._pass_on(answer, last.on_answer)
            except (StopIteration, StoppedError):
                pass
            except Exception:
                # The request itself succeeded. A lasting error is raised again, and
                # shown, by the next request.
                logger.info("Work between requests failed.", exc_info=True)
            if not has_yielded:
                waiting.pop()
                continue
            # Work that has ended for a call of the user goes on after the call.
            with self._changed:
                while is_called() and not self._is_next():
                    self._changed.wait(LOOK_S)

    def _answer(self, submission: _Submission) -> None:
        """Post the answers to one request; an exception becomes an "error" answer."""
        number, request = submission.number, submission.request
        n_stages = 0

        def cancelled() -> bool:
            return self._is_outdated(number, n_stages)

        def post(kind: AnswerKind, value: Any = None, error: Any = None) -> None:
            elapsed_ms = (perf_counter() - submission.since) * 1e3
            answer = Answer(number, request, kind, value, error, elapsed_ms)
            self._pass_on(answer, submission.on_answer)

        stages: Iterator[Any] | None = None
        while True:
            # Each stage is posted while the request runs: the first one must be drawn
            # before the next one is computed. What a synchronous listener raises is no
            # failure of the request.
            try:
                stages = iter(self._call(request, cancelled)) if stages is None else stages
                value = _step(stages)
            except (StopIteration, StoppedError):
                break
            except Exception as error:
                logger.info("Request %d failed.", number, exc_info=True)
                post("error", error=error)
                return
            post("stage", value)
            n_stages += 1
            if cancelled():
                break
        # A request that a newer one replaced after its first stage is stopped, not
        # done: its caller must not treat it as complete.
        post("stopped" if cancelled() else "done")

    def _pass_on(self, answer: Answer, on_answer: OnAnswer) -> None:
        # Work that ends after `close` may find the front end without its event loop.
        if not self._is_closed:
            self._post(partial(self._deliver, answer, on_answer))

    def _is_stopped(self, number: int) -> bool:
        """Whether a request is cancelled or dropped."""
        return number <= self._cancelled or number == self._dropped

    def _is_outdated(self, number: int, n_stages: int) -> bool:
        """Whether a request is cancelled, or past its first stage with a newer one."""
        if self._is_stopped(number):
            return True
        # The first stage always finishes: otherwise a continuous stroke, with requests
        # faster than predictions, would never show a result.
        return n_stages > 0 and self._newest > number

    def _close_call(self) -> None:
        close = getattr(self._call, "close", None)
        if close is not None:
            close()

    # -- on the drawing thread ------------------------------------------------------
    def _deliver(self, answer: Answer, on_answer: OnAnswer) -> None:
        """Pass an answer to its caller, unless cancelled or older than one shown.

        Checked again here because `post` may run this later.
        """
        if self._is_closed or answer.number < self._newest_shown.get(on_answer, 0):
            return
        if answer.kind == "stage":
            if self._is_stopped(answer.number):
                return
            self._newest_shown[on_answer] = answer.number
        on_answer(answer)
