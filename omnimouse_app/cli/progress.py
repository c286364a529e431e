"""Progress of a command, and its end by Ctrl-C."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import FrameType
from typing import NoReturn, Self

import click

from omnimouse_app.sigint import check_interrupt
from omnimouse_model.display import printable
from omnimouse_model.progress import CallbackJob, Job, TimeLeft, step_text

# -- ctrl-C and SIGTERM: end immediately, or after the current step -------------------
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


# -- progress of long commands on standard error --------------------------------------
RECENT = 50
"""Number of recent steps from which losses and throughput are computed."""


class Progress:
    """One line on a terminal that is replaced; a few lines elsewhere.

    Used as a context, it clears its line at the end, also after an error.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._time_left = clock, TimeLeft(clock)
        # Without a terminal, work that ends soon, also with an error, prints no
        # progress line.
        self._last_s = -float("inf") if sys.stderr.isatty() else clock()
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def __call__(self, done: float, total: float, text: str) -> None:
        """Show progress and time left, at most ten times per second (per minute elsewhere)."""
        left_s = self._time_left.seconds(done / max(total, 1e-12))
        if self._clock() - self._last_s >= (0.1 if sys.stderr.isatty() else 6.0):
            self.show(f"{int(100 * done / max(total, 1e-12)):3d} %  {text}{left_text(left_s)}")

    def show_share(self, share: float, text: str) -> None:
        """Show the progress of a task that reports a share from 0 to 1."""
        self(int(1000 * share), 1000, text)

    def show(self, text: str) -> None:
        """Show a line immediately."""
        self._last_s = self._clock()
        text = printable(text)
        if sys.stderr.isatty():
            # Blanks overwrite the rest of a longer line before.
            click.echo("\r" + text.ljust(self._width), err=True, nl=False)
            self._width = len(text)
        else:
            click.echo(text, err=True)

    def show_on_terminal(self, text: str) -> None:
        """Show a line that the next one replaces; nothing without a terminal."""
        if sys.stderr.isatty():
            self.show(text)

    def finish(self, *, keep: bool = False) -> None:
        """Clear the line, or keep it and start a new one."""
        if self._width:
            end = "\n" if keep else "\r" + " " * self._width + "\r"
            click.echo(end, err=True, nl=False)
            self._width = 0


def left_text(seconds: float | None) -> str:
    """Return ", 12 s left"; "" where the time is not known yet."""
    return "" if seconds is None else f", {duration(seconds)} left"


class TrainingProgress:
    """Progress of a training: one line per step, and one that remains per validation.

    Parameters
    ----------
    progress
        Where the lines are shown.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._recent: list[dict[str, float]] = []

    def __call__(self, facts: dict[str, float]) -> None:
        """Take the row of the log of a step, whose report follows."""
        # The means follow changes of the loss, and the rate ignores the slow first
        # steps.
        self._recent = [*self._recent[1 - RECENT :], facts]
        if "validation" in facts:
            # The next progress line appears below the validation.
            self._progress.finish()
            click.echo(f"step {int(facts['step'])}: {_validation(facts)}", err=True)

    def show(self, done: float, total: float, text: str) -> None:
        """Show a report, and of a step what the log says of the last ones."""
        text = step_text(done, total, text)
        of_steps = self._facts() if text.startswith("step ") else []
        self._progress(done, total, "  ".join([text, *of_steps]))

    def finish(self) -> None:
        """Keep the last line on screen."""
        self._progress.finish(keep=True)

    def _facts(self) -> list[str]:
        losses = {
            "loss": "loss",
            "response_loss": "responses",
            "behavior_loss": "behaviour",
        }
        rates = {"windows_per_s": "windows/s", "tokens_per_s": "tokens/s"}
        parts = []
        for name, label in losses.items():
            if values := self._values(name):
                parts.append(f"{label} {sum(values) / len(values):.4g}")
        for name, unit in rates.items():
            if values := self._values(name):
                # The median is robust against single slow steps.
                rate = median(values)
                text = f"{rate:,.3g}" if rate < 1000 else f"{rate:z,.0f}"
                parts.append(f"{text} {unit}")
        return parts

    def _values(self, name: str) -> list[float]:
        return [row[name] for row in self._recent if name in row]


def duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours == 0:
        return f"{minutes} min {whole % 60} s"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def _validation(facts: dict[str, float]) -> str:
    # A row of the log has the score of each condition beside these fields.
    others = (
        *("validation", "loss", "step", "seconds", "lr", "session_lr", "waited_s"),
        *("response_loss", "behavior_loss", "windows", "tokens"),
        *("windows_per_s", "tokens_per_s"),
    )
    scores = {name: value for name, value in facts.items() if name not in others}
    text = "  ".join(f"{name} {value:z.3f}" for name, value in scores.items())
    return f"validation {facts['validation']:z.3f}  ({text})"
