"""Background task: long work on its own thread, with pauses, estimates and errors.

A new start stops the previous one, whose results and progress are then dropped. The
owner defines the work: opening a recording, listing a folder, checking a session.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import monotonic, perf_counter
from typing import Any, Final, Generic, Protocol, TypeVar, runtime_checkable

from psygnal import Signal, SignalInstance

from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import count
from omnimouse_model.errors import StoppedError
from omnimouse_model.evaluation.shard import n_centring
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.live.inference.engine import IN_THREADS, LOOK_S, Answer, Engine, Execution
from omnimouse_model.progress import (
    QUIET,
    CallbackJob,
    Cancelled,
    Job,
    TimeLeft,
    duration_text,
    is_processor_busy,
    never,
)

# -- job that waits for live requests -------------------------------------------------
TOLD_AFTER_S = 0.5
"""Seconds of waiting after which it is told: strokes make many short waits."""


class PausableJob:
    """`Job` whose steps wait while it is paused, and while a live request is unfinished.

    Parameters
    ----------
    is_awaited
        Returns whether a live request is unfinished; called on the work's thread.
    on_wait
        Called on the work's thread when `is_waiting` has changed.

    Attributes
    ----------
    is_waiting
        Whether the work has waited for a live request for `TOLD_AFTER_S`.
    report
        Receives the progress of the work; set by its owner before it begins.
    waited_s
        Total waiting time in seconds; subtracted when predictions are timed.
    """

    device = "auto"

    def __init__(
        self, is_awaited: Callable[[], bool] = never, on_wait: Callable[[], object] = lambda: None
    ) -> None:
        self.report: Callable[[int | float, int | float, str], object] = QUIET.progress
        self.waited_s = 0.0
        self.is_paused = False
        self.is_stopped = False
        self.is_waiting = False
        self._is_awaited, self._on_wait = is_awaited, on_wait
        self._changed = threading.Condition()

    def pause(self, is_paused: bool) -> None:
        """Pause the work, or end the pause."""
        with self._changed:
            self.is_paused = is_paused
            self._changed.notify_all()

    def stop(self) -> None:
        """Release waiting work, also from a pause, and make it end."""
        with self._changed:
            self.is_stopped = True
            self._changed.notify_all()

    def progress(self, done: int | float, total: int | float, step: str = "") -> None:
        """Call `report`."""
        self.report(done, total, step)

    def message(self, text: str) -> None:
        """Say nothing: panels show what was left out beside the results."""

    def cancelled(self) -> bool:
        """Wait while the work has to; return whether it must end."""
        since = perf_counter()
        while self._waited_once():
            # Without the lock, which `pause` and `stop` need: listeners may wait for them.
            has_waited = perf_counter() - since >= TOLD_AFTER_S
            self._tell(has_waited and not self.is_paused and self._is_awaited())
        self._tell(False)
        self.waited_s += perf_counter() - since
        return self.is_stopped

    def _waited_once(self) -> bool:
        """Wait for a moment if the work has to wait; return whether it had to."""
        with self._changed:
            if self.is_stopped or not (self.is_paused or self._is_awaited()):
                return False
            # `pause` and `stop` notify; the end of a live request does not, so it is polled.
            self._changed.wait(None if self.is_paused else LOOK_S)
            return True

    def _tell(self, is_waiting: bool) -> None:
        if is_waiting != self.is_waiting:
            self.is_waiting = is_waiting
            self._on_wait()


# -- background task: long work on its own thread, with progress and errors -----------
Request = TypeVar("Request")
Result = TypeVar("Result")
REPORT_EVERY_S = 0.1
"""Minimum seconds between progress messages; work can report thousands of shares."""
_NO_REQUEST = 0


@runtime_checkable
class ReportProgress(Protocol):
    """Reports progress; raises `StoppedError` if the task was stopped."""

    def __call__(self, message: str, share: float | None = None, /) -> None:
        """Report a message, and the finished share (0-1) if it is known."""
        ...


NO_TIME: Final = "no time known yet"


def percent_job(report: ReportProgress, text: str, early: str = "") -> Job:
    """Return a job whose progress is reported as a text with percents and the time left.

    `early` stands in place of the time in the first tenth, where it is not known.
    """
    time_left = TimeLeft()

    def show(done: int | float, total: int | float, step: str) -> None:
        left = time_left.text(done / total) or early * (done < 0.1 * total)
        report(f"{text}: {100 * done / total:z.0f} %{left}", done / total)

    return CallbackJob(show)


class BackgroundTask(Generic[Request, Result]):
    """Background task that yields results to the drawing thread.

    Parameters
    ----------
    work
        `work(request, report)` yields results; runs on the task's thread.
    take
        Receives each result on the drawing thread; an exception becomes `error`.

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
    job
        Job of the newest start, which is stopped with it.
    """

    changed = Signal()

    def __init__(
        self,
        work: Callable[[Request, ReportProgress], Iterator[Result]],
        take: Callable[[Result], None],
        execution: Execution = IN_THREADS,
    ) -> None:
        self.message = ""
        self.share: float | None = None
        self.error: Exception | None = None
        self.job = PausableJob()
        self._work, self._take, self._post = work, take, execution.post
        self._engine = Engine(self._run, execution)
        self._lock = threading.Lock()
        self._newest = _NO_REQUEST

    @property
    def is_busy(self) -> bool:
        """Whether the task runs."""
        return bool(self.message)

    def start(self, request: Request, message: str, job: PausableJob | None = None) -> None:
        """Start the work; an unfinished previous start is cancelled."""
        self._cancel()
        # A new job per run, because a stopped one stays stopped.
        self.job = job or PausableJob()
        self.message, self.share, self.error = message, None, None
        self.changed.emit()
        # The lock, because the engine's thread may begin as soon as the previous start
        # has ended. It is not held while listeners run, which may hold the
        # controller's lock.
        with self._lock:
            self._newest = self._engine.submit(request, self._on_answer)
        self._engine.start()

    def stop(self) -> None:
        """Stop the work at its next step; results yielded so far stay."""
        self._cancel()
        if self.is_busy:
            self.message = ""
            self.changed.emit()

    def fail(self, error: Exception) -> None:
        """Set an error that did not come from the running task; the task continues."""
        self.error = error
        self.changed.emit()

    def clear_error(self) -> None:
        """Clear the error and emit `changed`; the task is not restarted."""
        if self.error is not None:
            self.error = None
            self.changed.emit()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the task is idle; False on timeout."""
        return self._engine.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop at the next step and end the thread."""
        self.job.stop()
        self._engine.close(timeout_s)

    def _cancel(self) -> None:
        self.job.stop()
        self._engine.cancel()
        # Answers that were posted and not delivered yet are ignored.
        self._newest = _NO_REQUEST

    # -- on the task's thread ---------------------------------------------------------
    def _run(self, request: Request, cancelled: Cancelled) -> Iterator[Result]:
        reported_at = -REPORT_EVERY_S

        def report(message: str, share: float | None = None) -> None:
            nonlocal reported_at
            if cancelled():
                raise StoppedError
            # Messages without a share, and the first and last share, are never skipped.
            is_partial = share is not None and 0.0 < share < 1.0
            if is_partial and monotonic() - reported_at < REPORT_EVERY_S:
                return
            reported_at = monotonic()
            # `cancelled` travels along: the message may be delivered after a stop.
            self._post(partial(self._on_progress, message, share, cancelled))

        return self._work(request, report)

    # -- on the drawing thread --------------------------------------------------------
    def _on_progress(self, message: str, share: float | None, cancelled: Cancelled) -> None:
        # A message that arrives after the end would make an idle task look busy.
        if self.is_busy and not cancelled():
            self.message, self.share = message, share
            self.changed.emit()

    def _on_answer(self, answer: Answer) -> None:
        with self._lock:
            is_newest = answer.number == self._newest
        if not is_newest:
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
    def changed(self) -> SignalInstance:
        """Emitted on the drawing thread when an attribute may have changed."""
        return self._task.changed

    @property
    def message(self) -> str:
        """Progress message, "" when the task is idle."""
        return self._task.message

    @property
    def share(self) -> float | None:
        """Finished share (0-1), None if not known."""
        return self._task.share

    @property
    def is_busy(self) -> bool:
        """Whether the task runs."""
        return self._task.is_busy

    @property
    def error(self) -> Exception | None:
        """Error of the newest start, None without one."""
        return self._task.error

    def stop(self) -> None:
        """Stop the task at its next step; results so far stay."""
        self._task.stop()

    def clear_error(self) -> None:
        """Clear the error, after the user has read it."""
        self._task.clear_error()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the task is idle; False on timeout."""
        return self._task.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the task and end its thread."""
        self._task.close(timeout_s)


BUSY: Final = ", longer while this processor is busy"
BUSY_TIP: Final = "Other work on this processor makes a run longer."


def expected_text(seconds: float, *, is_guess: bool = False) -> str:
    """Return how long work takes, from a measured pace: "about 2 min"; more if others work.

    With `is_guess`, the pace is that of single predictions on screen: many at once share what
    is read and encoded, and others may be read for the first time.
    """
    busy = BUSY if is_processor_busy() else ""
    return f"about {duration_text(seconds)}{', a first guess' * is_guess}{busy}"


def cost_text(
    size: str, seconds: float | None, *, is_measured: bool, is_guess: bool = False
) -> str:
    """Return the size of a run, and the time that it takes or that its result is there."""
    if is_measured:
        return f"Measured: {size}"
    if seconds is None:
        return f"{size}; {NO_TIME}"
    # The time first: a narrow panel cuts the rest.
    expected = expected_text(seconds, is_guess=is_guess).replace(BUSY, " (busy: longer)")
    return f"{expected[:1].upper()}{expected[1:]}: {size}"


def loading_text(seconds: float | None) -> str:
    """Return what a run says while it loads its model: how long it takes then, if known."""
    if seconds is None:
        return "Loading the model"
    return f"Loading, then about {duration_text(seconds)}"


# -- estimate of a sweep before it starts: number of predictions and duration ---------
@dataclass(frozen=True, slots=True)
class SweepEstimate:
    """Size and duration of a sweep plan in a session.

    Attributes
    ----------
    n_points, n_windows
        Points of the curves, and windows per point.
    n_train
        Windows of the train tier that each point predicts for its means, too.
    each_s
        Estimated seconds per prediction, None if no prediction was timed.
    is_of_sweep
        Whether `each_s` was measured in a sweep; else it is the shortest time of a
        population prediction on screen.
    """

    n_points: int
    n_windows: int
    n_train: int = 0
    each_s: float | None = None
    is_of_sweep: bool = False

    @property
    def n_predictions(self) -> int:
        """Number of predictions: one per point and window, also those of the train tier."""
        return self.n_points * (self.n_windows + self.n_train)

    @property
    def text(self) -> str:
        """Text such as "about 2 min: 24 points × (2 + 16 train) windows = 432 predictions"."""
        train = f"({self.n_windows:,} + {self.n_train} train)" if self.n_train else ""
        size = (
            f"{count(self.n_points, 'point')} × {train or f'{self.n_windows:,}'} windows = "
            f"{self.n_predictions:,} predictions"
        )
        if self.each_s is None:
            return f"{NO_TIME}, it is shown soon after the start: {size}"
        of = "the last sweep" if self.is_of_sweep else "predictions of the window on screen"
        seconds, is_guess = self.each_s * self.n_predictions, not self.is_of_sweep
        return f"{expected_text(seconds, is_guess=is_guess)}: {size}, at the pace of {of}"


def estimate_of(
    plan: SweepPlan,
    session: Session,
    each_s: float | None,
    *,
    n_points: int,
    is_of_sweep: bool,
    spec: WindowSpec,
) -> SweepEstimate:
    """Return the estimate of a plan; raise `ValueError` if its tier has no window."""
    # The windows that the sweep will use, without reading any of them.
    n_windows = len(scored_starts(session, plan.tier, plan.max_windows, spec))
    n_train = n_centring(session, spec, plan.metric, is_centred=plan.centred)
    return SweepEstimate(n_points, n_windows, n_train, each_s, is_of_sweep)
