"""Long work: its device, its progress, its messages, and the request to stop it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

from tqdm.std import tqdm

from omnimouse_model.errors import StoppedError

DELAY_S = 1.0
"""Work that ends sooner shows no bar."""
TRAINING = "training"
"""Description of a step that trains a model."""


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
    tell: Callable[[str], None] = _tell_nothing
    device: str = "auto"

    def progress(self, done: int | float, total: int | float, step: str = "") -> None:
        """Call `report`."""
        self.report(done, total, step)

    def message(self, text: str) -> None:
        """Call `tell`."""
        self.tell(text)


QUIET = CallbackJob()
"""Job that shows nothing and never stops."""


def part_of(job: Job, first: int | float, last: int | float) -> Job:
    """Return a job for a part of the work: from one share (0 to 1) of it to another."""

    def report(done: int | float, total: int | float, step: str) -> None:
        job.progress(first + (last - first) * done / max(total, 1e-12), 1.0, step)

    return CallbackJob(report, job.cancelled, job.message, job.device)


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


@contextmanager
def shown_job(job: Job | None, unit: str = "window") -> Iterator[Job]:
    """Yield the job, or for None one with a bar on standard error, cleared at the end.

    Without a terminal, where a bar would fill a log or a saved notebook, nothing is
    shown.

    Examples
    --------
    >>> from omnimouse_model.progress import shown_job
    >>> with shown_job(None) as job:
    ...     job.progress(1, 2, "first of two")
    """
    if job is not None:
        yield job
        return
    if not sys.stderr.isatty():
        yield QUIET
        return
    with tqdm(total=0, delay=DELAY_S, leave=False, unit=unit) as bar:

        @cache  # set once, because the total does not change
        def set_total(total: int | float) -> None:
            bar.total = total

        def report(done: int | float, total: int | float, step: str) -> None:
            set_total(total)
            bar.set_description_str(step, refresh=False)
            bar.update(done - bar.n)

        yield CallbackJob(report, tell=bar.write)
