"""Ctrl-C and SIGTERM: end immediately, or after the current step."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

from omnimouse_app.sigint import check_interrupt
from omnimouse_model.display import printable
from omnimouse_model.progress import CallbackJob, Job

# 128 + SIGINT (2), as in shells.
STOPPED = 130
"""Exit status after Ctrl-C."""


class StopSignal:
    """Handler of SIGINT and SIGTERM, which may arrive several times.

    Attributes
    ----------
    has_results
        True if there is something to save; a signal is then only recorded. Before that,
        the first signal raises KeyboardInterrupt and later ones do not disturb the
        clean-up.
    is_received
        True after a signal.
    show
        Called with the message that the current step is finished first.
    """

    def __init__(self) -> None:
        self.show: Callable[[str], None] = lambda text: click.echo(text, err=True)
        self.has_results = False
        self.is_received = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; `timeout` and impatient users send several."""
        if self.is_received:
            return
        self.is_received = True
        if not self.has_results:
            raise KeyboardInterrupt
        self.show("stopping after this step …")

    def job(self, show: Callable[[float, float, str], None], *, saves: bool = False) -> Job:
        """Return a job with this signal as its stop request.

        Parameters
        ----------
        show
            Shows finished and planned steps, and a text.
        saves
            The work saves what is finished: from its first question whether to stop, a
            signal is only recorded.
        """

        def cancelled() -> bool:
            self.has_results |= saves
            return self.is_received

        return CallbackJob(show, cancelled)

    def check(self) -> None:
        """Raise KeyboardInterrupt after a signal; to call between complete steps."""
        if self.is_received:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[StopSignal]:
    """Handle both signals in the block, so that it leaves no incomplete results.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C arrived before, and an import has swallowed it.
    """
    check_interrupt()
    stop = StopSignal()
    # SIGTERM as well: `timeout`, containers and job schedulers send it.
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            # Restore the caller's handlers, also after an exception.
            signal.signal(number, handler)


def exit_stopped(message: str) -> NoReturn:
    """Exit after Ctrl-C with one line: what is saved, and how to continue."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{clear}stopped; {printable(message)}", err=True)
    sys.exit(STOPPED)
