"""The terminal of a command: its progress, its end by Ctrl-C, and its output."""

import json
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, NoReturn, Self, TextIO

import click

from omnimouse_app.sigint import check_interrupt
from omnimouse_model.display import printable
from omnimouse_model.errors import StoppedError
from omnimouse_model.progress import CallbackJob, Job, TimeLeft, step_text
from omnimouse_model.storage.files import read_text

# -- ctrl-C and SIGTERM: end immediately, or after the current step -------------------
# 128 + SIGINT (2), as in shells.
STOPPED = 130
"""Exit status after Ctrl-C."""
SAVED = "saved beside {}: the same command continues."
"""Message of work that saves in a folder beside its results."""


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
        self.show: Callable[[str], None] = lambda text: click.echo(limited_line(text), err=True)
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
    click.echo(line_alone(f"stopped; {message}"), err=True)
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
            left = "" if left_s is None else f", {duration(left_s)} left"
            self.show(f"{int(100 * done / max(total, 1e-12)):3d} %  {text}{left}")

    def show_share(self, share: float, text: str) -> None:
        """Show the progress of a task that reports a share from 0 to 1."""
        self(int(1000 * share), 1000, text)

    def show(self, text: str) -> None:
        """Show a line immediately."""
        self._last_s = self._clock()
        text = limited_line(text)
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


@contextmanager
def stoppable(message: str, unit: str = "", *, saves: bool = False) -> Iterator[Job]:
    """Yield the job of long work, which shows its progress; Ctrl-C ends the command.

    Parameters
    ----------
    message
        What is saved after Ctrl-C, and how to continue.
    unit
        What is counted, in place of the texts of the work.
    saves
        As in `StopSignal.job`.
    """
    with interruptible() as stop, Progress() as progress:
        try:
            yield stop.job(
                lambda done, total, text: progress(done, total, unit or text), saves=saves
            )
        except StoppedError:
            exit_stopped(message)


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
            line = f"step {int(facts['step'])}: {_validation(facts)}"
            click.echo(limited_line(line), err=True)

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
    from omnimouse_model.training.metrics_log import OVER

    # A row of the log has the score of each condition beside these fields.
    others = (
        *("validation", "loss", "step", "seconds", "lr", "session_lr", "waited_s"),
        *("response_loss", "behavior_loss", "windows", "tokens"),
        *("windows_per_s", "tokens_per_s", *OVER),
    )
    scores = {name: value for name, value in facts.items() if name not in others}
    text = "  ".join(f"{name} {value:z.3f}" for name, value in scores.items())
    return f"validation {facts['validation']:z.3f}  ({text})"


Row = Mapping[str, Any]


_LONGEST_LINE = 3000
_LONGEST_CELL = 300
"""Letters of a cell of a table; names in files can have a million."""


def echo(text: object, *, err: bool = False) -> None:
    """Print lines; texts of files in them cannot control the terminal or fill it."""
    click.echo("\n".join(map(limited_line, str(text).split("\n"))), err=err)


def line_alone(text: str) -> str:
    """Return a line for standard error, which erases one of progress."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    return clear + limited_line(text)


def limited_line(text: str) -> str:
    """Return a text of files as one line that can be printed: plain, and not too long."""
    return _cut(printable(text.expandtabs()), _LONGEST_LINE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


_answers: ContextVar[TextIO | None] = ContextVar("answers", default=None)


@contextmanager
def only_json() -> Iterator[None]:
    """Leave standard output to `emit`: what models and libraries print goes to the other one."""
    with ExitStack() as stack:
        stack.callback(_answers.reset, _answers.set(_own_stdout(stack)))
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def answers() -> TextIO | None:
    """Return standard output while `only_json` keeps it, for a process that answers instead."""
    return _answers.get()


def _own_stdout(stack: ExitStack) -> TextIO:
    """Return standard output, and give its descriptor to the other one meanwhile.

    Libraries that are no Python write to the descriptor.
    """
    with suppress(OSError, AttributeError):  # a stream in memory, or none
        sys.stdout.flush()
        kept = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        stack.enter_context(kept)
        before = os.dup(1)
        stack.callback(os.close, before)
        stack.callback(os.dup2, before, 1)
        os.dup2(2, 1)
        return kept
    return sys.stdout


def emit(
    rows: Sequence[Row],
    *,
    as_json: bool,
    title: str = "",
    columns: Sequence[str] | None = None,
    text: str | None = None,
    speeds: Mapping[str, float | None] | None = None,
) -> None:
    """Print rows as a table, or as `{"machine": …, "rows": […]}`.

    Parameters
    ----------
    rows
        One mapping per row; each has `name`, `value` and `unit`.
    as_json
        Print the object and nothing else on standard output.
    title
        A line above the table.
    columns
        Keys that the table shows, in this order; all by default.
    text
        Printed in place of the table, for results that are not one table.
    speeds
        Those of this machine for its part of the object, where they were measured.
    """
    if as_json:
        document = {"machine": machine() | dict(speeds or {}), "rows": [dict(r) for r in rows]}
        # JSON has no NaN: `allow_nan=False` raises an error if one is left.
        click.echo(json.dumps(_plain(document), allow_nan=False), file=_answers.get())
    elif text is not None:
        echo(text)
    else:
        echo("\n".join([*([title] if title else []), table(rows, columns)]))


def table(
    rows: Sequence[Row], columns: Sequence[str] | None = None, right: Sequence[str] = ()
) -> str:
    """Return rows in aligned columns; numbers to four digits, "–" if unknown.

    Numbers are right-aligned, and so are the texts of the columns named in `right`.
    """
    names, *cells = _cells(rows, columns)
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    is_right = [
        name in right or all(isinstance(row.get(name), int | float | None) for row in rows)
        for name in names
    ]
    lines = [
        "  ".join(
            text.rjust(width) if at_right else text.ljust(width)
            for text, width, at_right in zip(line, widths, is_right, strict=True)
        ).rstrip()
        for line in (names, ["-" * width for width in widths], *cells)
    ]
    return "\n".join(lines)


def markdown_table(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """Return rows as a Markdown table, with the cells of `table`."""
    names, *cells = _cells(rows, columns)
    lines = [names, ["---"] * len(names), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shorten(rows: Sequence[Row], width: int, min_width: int = 8) -> list[dict[str, str]]:
    """Shorten texts to fit a table into a width, the outer columns last."""
    names, *cells = _cells(rows, None)
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    limit = dict(zip(names, widths, strict=True))
    for columns in (names[1:-1], names[-1:], names[:1]):
        # Two blanks between columns.
        while sum(limit.values()) + 2 * (len(names) - 1) > width:
            wide = [n for n in columns if limit[n] > max(min_width, len(n))]
            if not wide:
                break
            # The widest column becomes narrower by one character at a time.
            limit[max(wide, key=limit.__getitem__)] -= 1
    return [
        {
            name: text if len(text) <= limit[name] else f"{text[: limit[name] - 1]}…"
            for name, text in zip(names, line, strict=True)
        }
        for line in cells
    ]


def decimals(value: float, *, signed: bool = False) -> str:
    """Return a score with three decimals; "–" if it is NaN."""
    return "–" if math.isnan(value) else f"{value:{'+' * signed}z.3f}"


def interval(low: float, high: float) -> str:
    """Return an interval as text, `[0.340, 0.540]`; "–" if it is NaN."""
    return "–" if math.isnan(low) else f"[{low:z.3f}, {high:z.3f}]"


def estimate(value: float, low: float, high: float) -> str:
    """Return a score with its interval, `0.412 [0.340, 0.540]`; "–" if it is NaN."""
    return f"{decimals(value)} {interval(low, high)}".removesuffix(" –")


def n_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    # `rglob` of a file yields nothing.
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def file_row(name: str, path: Path) -> dict[str, Any]:
    """Return the row of `--json` about a file or folder that was written: its size and place."""
    return {"name": name, "value": n_bytes(path) / 2**20, "unit": "MiB", "path": str(path)}


def machine() -> dict[str, Any]:
    """Return processor, cores and versions of this machine for `--json`; measures no speed."""
    import torch

    return {
        "cpu": _cpu_name(),
        # Cores that this process may use, which a container can limit.
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "matmul_gflops_fp32": None,
        "matmul_gflops_bf16": None,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in read_text(info, 2**22).splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cells(rows: Sequence[Row], columns: Sequence[str] | None) -> list[list[str]]:
    """Return the names of the columns, then the texts of each row."""
    # A dict as an ordered set: rows can have different keys.
    names = list(columns or dict.fromkeys(name for row in rows for name in row))
    return [names, *([_cell(row.get(name)) for name in names] for row in rows)]


def _cell(value: Any) -> str:
    # In one line: a name with a line feed would look like another row.
    return _cut(printable(_cell_text(value)), _LONGEST_CELL)


def _cell_text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    # Before numbers: a bool is an int, too.
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:z.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_cell_text(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_cell_text, value))
    return str(value)


def _plain(value: Any) -> Any:
    """Return a value that JSON can contain: no numpy scalars, NaN or paths."""
    # numpy arrays and scalars, without an import of numpy.
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
