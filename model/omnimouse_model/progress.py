"""Long work: its device, its progress, its messages, and the request to stop it."""

import os
import sys
import threading
import time
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from inspect import signature
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

from omnimouse_model.errors import StoppedError

BURST_S = 0.1
"""Longest time between reports that come together."""
FIRST_S = 20.0
"""Work of which less than a tenth is done has an estimate only after this time: first pieces
also fill caches, and a short sweep has few."""
GUESSED = 0.1
"""Share of the work, of 1, below which the time left is called a first guess."""
NEAR = 1 / 3
"""Latest work of which the pace is measured, as a share of the remaining work.

A short stretch follows other programs that begin and end.
"""
LEAST_REPORTS = 8
"""Reports from which a pace is taken; some contain a validation, and take longer."""
DELAY_S = 1.0
"""Work that ends sooner shows no bar."""
BEAT_S = 1.0
"""Time after which a bar shows that the work goes on, also without a report: a model is loaded, or
one piece of the work takes long."""
LOADING = "preparing"
SHARE_FORM = "{l_bar}{bar}| [{elapsed}<{remaining}]"
PART_FORM = "{l_bar}{bar}| {n:.1f}/{total_fmt} [{elapsed}<{remaining}]"
STARTING = "finding start values of its neurons"
RESUMING = "loading the saved weights"
TRAINING = "training"
SAVING = "writing the result"
"""Descriptions of the steps of a training; only of `TRAINING`, steps are counted."""


@runtime_checkable
class Job(Protocol):
    """What long work knows of its caller."""

    @property
    def device(self) -> str:
        """Device of the computations: "auto", "cpu", "cuda" or "mps"."""
        ...

    def progress(self, done: int | float, total: int | float, step: str = "") -> None:
        """Report finished and planned steps, and a description of the current one."""
        ...

    def message(self, text: str) -> None:
        """Tell the user something that is neither progress nor an error."""
        ...

    def cancelled(self) -> bool:
        """Whether the work should stop at its next step."""
        ...


Cancelled = Callable[[], bool]
"""Whether work should stop: `Job.cancelled`, or the same of a request on screen."""


def never() -> bool:
    """Return False: the work is not cancelled."""
    return False


def lasting(cancelled: Cancelled) -> Cancelled:
    """Return a `Cancelled` that keeps answering True after its first True."""
    was = False

    def ask() -> bool:
        nonlocal was
        was = was or cancelled()
        return was

    return ask


def stop_if(cancelled: Cancelled) -> None:
    """Raise `StoppedError` if the work should stop."""
    if cancelled():
        raise StoppedError


def _report_nothing(done: int | float, total: int | float, step: str) -> None:
    """Show no progress."""


def _tell_nothing(text: str) -> None:
    """Show no message."""


@dataclass(frozen=True, slots=True)
class CallbackJob:
    """A job that calls functions; without arguments it is quiet and never stops.

    Examples
    --------
    >>> from omnimouse_model.progress import CallbackJob
    >>> job = CallbackJob(lambda done, total, step: print(f"{done} of {total} {step}"))
    >>> job.progress(1, 2, "windows")
    1 of 2 windows
    """

    report: Callable[[int | float, int | float, str], None] = _report_nothing
    cancelled: Callable[[], bool] = never
    message: Callable[[str], None] = _tell_nothing
    device: str = "auto"

    def progress(self, done: int | float, total: int | float, step: str = "") -> None:
        """Call `report`."""
        self.report(done, total, step)


def step_text(done: int | float, total: int | float, step: str) -> str:
    """Return the description of a report; of a training, which step it is.

    Examples
    --------
    >>> from omnimouse_model.progress import TRAINING, step_text
    >>> step_text(3, 10, TRAINING)
    'step 3 of 10'
    """
    return f"step {done:g} of {total:g}" if step in ("", TRAINING) else step


QUIET = CallbackJob()
"""Job that shows nothing and never stops."""


def name_steps(job: Job, step: str) -> Job:
    """Return a job whose reports have one description, whatever the work calls its steps."""
    return CallbackJob(
        lambda done, total, _: job.progress(done, total, step),
        job.cancelled,
        job.message,
        job.device,
    )


def part_of(job: Job, first: int | float, last: int | float) -> Job:
    """Return a job for a part of the work: from one share (0 to 1) of it to another."""

    def report(done: int | float, total: int | float, step: str) -> None:
        # The share has no steps: the text tells that of a training.
        step = step_text(done, total, step) if step == TRAINING else step
        job.progress(first + (last - first) * done / max(total, 1e-12), 1.0, step)

    return CallbackJob(report, job.cancelled, job.message, job.device)


class LimitedJob:
    """A job that is cancelled after a number of further steps.

    Attributes
    ----------
    is_reached
        Whether these steps are done.
    """

    def __init__(self, job: Job, steps: int) -> None:
        self.device = job.device
        self.message, self._job, self._steps = job.message, job, steps
        self._first: float | None = None
        self.is_reached = False

    def progress(self, done: int | float, total: int | float, step: str = "") -> None:
        """Count the steps from the first report on, and pass it on."""
        if step not in (STARTING, RESUMING, SAVING):
            self._first = done if self._first is None else self._first
            self.is_reached = done - self._first >= self._steps
            # What is left is what this job does.
            total = min(total, self._first + self._steps) if total > 1 else total
        self._job.progress(done, total, step)

    def cancelled(self) -> bool:
        """Whether the steps are done, or the job is cancelled."""
        return self.is_reached or self._job.cancelled()


def advance(job: Job, done: int | float, total: int | float, step: str = "") -> None:
    """Report progress between two steps.

    Raises
    ------
    StoppedError
        The job is cancelled.
    """
    job.progress(done, total, step)
    if job.cancelled():
        raise StoppedError(f"Stopped after {done:g} of {total:g}: {step}")


class TimeLeft:
    """Estimate of the time that work still takes, from its finished shares.

    Time counts from the first finished piece: before it, models are loaded and fitted,
    which says nothing of the pace. What an earlier run finished does not count either.
    Reports that come together are one: their pieces were computed together.

    Parameters
    ----------
    clock
        Seconds of work; without those in which it waited for something else.
    least
        Share of the work of which a pace is at least, or some times as much, such as that of a
        round of unequal pieces.

    Attributes
    ----------
    is_guess
        Whether less than a tenth is done of what was left at first: a machine on which other
        work begins or ends can still make the estimate much too high or too low.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, least: float = 0.0) -> None:
        self._clock, self._begun_s, self._least = clock, clock(), max(least, 0.02)
        self._first = 0.0
        self.is_guess = True
        # Shares and seconds of the reports from which the pace is taken.
        self._told: deque[tuple[float, float]] = deque()

    def seconds(self, share: float) -> float | None:
        """Return the seconds left; None for less than 2 % of the work, and at its end.

        Before a tenth is done, also None in the first `FIRST_S`.

        The pace is the recent one, which follows other programs that begin and end; at most
        that of the later half of what is done, because first pieces also fill caches. A share
        that is smaller than the last one begins another step.
        """
        now_s = self._clock()
        if self._first <= 0.0 or share < self._told[-1][0]:
            self._first = share
            self._told.clear()
        elif now_s - self._told[-1][1] < min(BURST_S, 0.05 * (now_s - self._begun_s)):
            now_s = self._told.pop()[1]
            self._first = self._first if self._told else share
        self._told.append((share, now_s))
        done = share - self._first
        self.is_guess = done < GUESSED * (1 - self._first)
        is_early = share < 0.1 and now_s - self._begun_s < FIRST_S
        # Nearer to the end, a part of the rest is no longer a number of its own.
        if done < self._least - 1e-9 or is_early or share > 1 - 1e-9:
            return None
        told, rest = self._told, 1 - share
        recent = max(min(NEAR * rest, done / 2) // self._least, 1) * self._least
        # The next pace can be of one more of the least share.
        while len(told) > LEAST_REPORTS and told[1][0] <= share - recent - self._least:
            told.popleft()
        # Of reports of one share, as where work stands still, the one before them begins it.
        number = min(bisect(told, (share - recent, now_s)) - 1, len(told) - LEAST_REPORTS)
        at, at_s = told[max(number, 0)]
        return rest * (now_s - at_s) / (share - at)

    def text(self, share: float) -> str:
        """Return `seconds` as ", about 3 min left"; "" where they are not known."""
        seconds = self.seconds(share)
        return "" if seconds is None else f", about {duration_text(seconds)} left"


BUSY_SHARE = 0.5
"""Share of the cores that are busy from which a time before the start is a least one."""


def is_processor_busy() -> bool:
    """Return whether more than `BUSY_SHARE` of the cores were busy in the last minute."""
    try:
        busy = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows does not count
        return False
    return busy > BUSY_SHARE * (os.cpu_count() or 1)


def duration_text(seconds: float) -> str:
    """Return a duration as text, such as `40 s`, `3 min` or `2.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 1):z.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:z.0f} min"
    return f"{seconds / 3600:z.1f} h"


# -- a bar for callers without a job of their own -------------------------------------
_callers: set[int] = set()


def is_called() -> bool:
    """Whether another thread is in a call of the user, to which background work yields."""
    return bool(_callers - {threading.get_ident()})


@contextmanager
def _called() -> Iterator[None]:
    thread = threading.get_ident()
    if thread in _callers:  # a call inside a call
        yield
        return
    _callers.add(thread)
    try:
        yield
    finally:
        _callers.discard(thread)


@contextmanager
def shown_job(job: Job | None, unit: str = "window") -> Iterator[Job]:
    """Yield the job, or for None one with a bar in a notebook or on a terminal.

    The bar is cleared at the end, and scores in the background wait meanwhile. Without
    somebody who looks, where it would fill a log or a notebook that a program runs,
    nothing is shown.

    Examples
    --------
    >>> from omnimouse_model.progress import shown_job
    >>> with shown_job(None) as job:
    ...     job.progress(1, 2, "first of two")
    """
    if job is not None:
        yield job
        return
    with _called():
        if not (sys.stderr.isatty() or _is_notebook()):
            yield QUIET
            return
        with _bar(unit) as shown:
            yield shown


@contextmanager
def _bar(unit: str) -> Iterator[Job]:
    # Imported here: it looks for widgets of the notebook.
    from tqdm.auto import tqdm

    bar: Any = None
    shown: Any = None
    is_widget = any(one.__module__ == "tqdm.notebook" for one in tqdm.__mro__)
    # Without a delay, a widget shows itself at once.
    least_s = 1e-9 if is_widget else 0.0
    start_s = time.monotonic()
    lock, is_over = threading.Lock(), threading.Event()

    def report(done: int | float, total: int | float, step: str) -> None:
        with lock:
            draw(done, total, step)

    def beat() -> None:
        while not is_over.wait(BEAT_S):
            with lock:
                if bar is None:
                    draw(0, 1, LOADING)
                show()
                bar.refresh()

    def draw(done: int | float, total: int | float, step: str) -> None:
        nonlocal bar
        # A notebook's bar keeps its total: a step with another one has another bar.
        if bar is None or bar.total != total:
            close()
            delay_s = max(DELAY_S - (time.monotonic() - start_s), least_s)
            # The digits of a share, and its rate, say nothing beside the percentage.
            form = SHARE_FORM if total == 1 else None
            # Parts of a piece, such as 2.67 of 5 draws, with one decimal.
            if form is None and isinstance(done, float):
                form = PART_FORM
            bar = tqdm(
                desc=step, total=total, delay=delay_s, leave=False, unit=unit, bar_format=form
            )
            # Of a notebook: a bar that shows itself stays in the saved file, as it began.
            bar.displayed = True
        bar.set_description_str(step, refresh=False)
        bar.update(done - bar.n)
        if time.monotonic() - start_s >= DELAY_S:
            show()

    def show() -> None:
        nonlocal shown
        if shown is None and is_widget:
            shown = import_module("IPython.display").display(bar.container, display_id=True)

    def close() -> None:
        nonlocal shown
        if bar is not None:
            bar.close()
        if shown is not None:
            shown.update({}, raw=True)
            shown = None

    beats = threading.Thread(target=beat, name="progress", daemon=True)
    beats.start()
    try:
        yield CallbackJob(report, message=tqdm.write)
    finally:
        is_over.set()
        beats.join()
        close()


def _is_notebook() -> bool:
    """Whether this is a notebook in front of a user; programs that run one ask nothing."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def shows_progress(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Give a function with the argument `job` a bar where the caller passes no job.

    Examples
    --------
    >>> from omnimouse_model.progress import QUIET, Job, shows_progress
    >>> @shows_progress
    ... def count(n: int, job: Job = QUIET) -> int:
    ...     for done in range(n):
    ...         job.progress(done + 1, n, "counting")
    ...     return n
    >>> count(3)
    3
    """
    arguments = signature(function)

    @wraps(function)
    def call(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        given = arguments.bind(*args, **options)
        with shown_job(given.arguments.get("job"), unit="step") as job:
            given.arguments["job"] = job
            return function(*given.args, **given.kwargs)

    # What a tooltip shows: the default of `job` is a bar.
    shown = [
        one.replace(default=None) if one.name == "job" else one
        for one in arguments.parameters.values()
    ]
    call.__signature__ = arguments.replace(parameters=shown)  # type: ignore[attr-defined] # of any callable
    return call
