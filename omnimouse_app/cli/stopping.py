"""Ctrl-C and the terminate signal: at once, or after the step that runs."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

STOPPED = 130
"""Exit status after Ctrl-C."""


class Stopping:
    """What the two signals do, however often they come.

    Attributes
    ----------
    has_begun
        There is something to save: from then on a signal is only a wish. Before, the
        first one raises KeyboardInterrupt; later ones do not disturb the cleaning up.
    is_asked
        A signal came.
    say
        Is told that what runs is finished first.
    """

    def __init__(self) -> None:
        self.say: Callable[[str], None] = lambda words: click.echo(words, err=True)
        self.has_begun = False
        self.is_asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; `timeout` and an impatient user send more than one."""
        if self.is_asked:
            return
        self.is_asked = True
        if not self.has_begun:
            raise KeyboardInterrupt
        self.say("stopping after this step …")

    def heed(self) -> None:
        """Stop here if it was asked: between two steps, where nothing is half made."""
        if self.is_asked:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Stopping]:
    """Have both signals end what runs here, so that nothing half made is left."""
    stopping = Stopping()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stopping) for number in signals]
    try:
        yield stopping
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def end_stopped(kept: str) -> NoReturn:
    """End after Ctrl-C with one line: what is kept, and how to go on."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{clear}stopped; {kept}", err=True)
    sys.exit(STOPPED)
