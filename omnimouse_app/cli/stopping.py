"""Ctrl-C and the terminate signal: at once, or after the step that runs."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click


class Stopping:
    """What the two signals do, however often they come.

    Attributes
    ----------
    has_begun
        There is something to save: from then on a signal is only a wish. Before, the
        first one raises KeyboardInterrupt; later ones do not disturb the cleaning up.
    is_asked
        A signal came.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.is_asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; `timeout` and an impatient user send more than one."""
        if self.is_asked:
            return
        self.is_asked = True
        if not self.has_begun:
            raise KeyboardInterrupt
        click.echo("stopping after this step …", err=True)


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
