"""Ctrl-C and SIGTERM: end immediately, or after the current step."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

# 128 + SIGINT (2), as in shells.
STOPPED = 130
"""Exit status after Ctrl-C."""


class Stopping:
    """Handler of both signals, for any number of them.

    Attributes
    ----------
    has_begun
        True if there is something to save; a signal is then only recorded. Before that,
        the first signal raises KeyboardInterrupt and later ones do not disturb the
        clean-up.
    is_asked
        True after a signal.
    say
        Called with the message that the current step is finished first.
    """

    def __init__(self) -> None:
        self.say: Callable[[str], None] = lambda words: click.echo(words, err=True)
        self.has_begun = False
        self.is_asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; `timeout` and impatient users send several."""
        if self.is_asked:
            return
        self.is_asked = True
        if not self.has_begun:
            raise KeyboardInterrupt
        self.say("stopping after this step …")

    def heed(self) -> None:
        """Raise KeyboardInterrupt after a signal; to call between complete steps."""
        if self.is_asked:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Stopping]:
    """Handle both signals in the block, so that it leaves no incomplete results."""
    stopping = Stopping()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stopping) for number in signals]
    try:
        yield stopping
    finally:
        for number, handler in zip(signals, before, strict=True):
            # Restore the caller's handlers, also after an exception.
            signal.signal(number, handler)


def end_stopped(kept: str) -> NoReturn:
    """Exit after Ctrl-C with one line: what is saved, and how to continue."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{clear}stopped; {kept}", err=True)
    sys.exit(STOPPED)
