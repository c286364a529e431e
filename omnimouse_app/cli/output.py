"""Output of commands: a table to read, or one JSON object for programs."""

import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

Row = Mapping[str, Any]


def emit(
    rows: Sequence[Row],
    *,
    as_json: bool,
    as_markdown: bool = False,
    title: str = "",
    columns: Sequence[str] | None = None,
    gflops: bool = False,
) -> None:
    """Print rows as a table, or as `{"machine": …, "rows": […]}`.

    Parameters
    ----------
    rows
        One mapping per row; by contract each has `name`, `value` and `unit`.
    as_json
        Print the object and nothing else on standard output.
    as_markdown
        Print a Markdown table under a line about the machine, for a document.
    title
        A line above the table.
    columns
        Keys that the table shows, in this order; all by default.
    gflops
        Measure this machine's matmul speed for the `machine` part (takes a second).
    """
    if as_json:
        document = {"machine": machine(gflops=gflops), "rows": [dict(r) for r in rows]}
        # JSON has no NaN: `allow_nan=False` raises an error if one is left.
        click.echo(json.dumps(_plain(document), allow_nan=False))
        return
    if as_markdown:
        click.echo(_about(machine(gflops=gflops)) + "\n")
        click.echo(markdown_table(rows, columns))
        return
    if title:
        click.echo(title)
    click.echo(table(rows, columns))


def row(
    name: str, values: Sequence[float], unit: str, **conditions: Any
) -> dict[str, Any]:
    """Return one row of the contract: median as `value`, with p99 and n.

    For a rate (Hz), p99 is the value that 99 of 100 updates reach: the 1st percentile.
    """
    import numpy as np

    known = np.asarray(values, float)
    tail = 1 if unit == "Hz" else 99
    return {
        "name": name,
        "value": float(np.median(known)),
        "unit": unit,
        "median": float(np.median(known)),
        "p99": float(np.percentile(known, tail)),
        "n": len(known),
        **conditions,
    }


def table(
    rows: Sequence[Row],
    columns: Sequence[str] | None = None,
    right: Sequence[str] = (),
) -> str:
    """Return rows in aligned columns; numbers to four digits, "–" if unknown.

    Numbers are right-aligned, and so are the texts of the columns named in `right`.
    """
    names = list(columns or dict.fromkeys(key for row in rows for key in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(names))]
    is_right = [
        name in right
        or all(isinstance(row.get(name), int | float | None) for row in rows)
        for name in names
    ]
    lines = [
        "  ".join(
            text.rjust(width) if at_right else text.ljust(width)
            for text, width, at_right in zip(line, widths, is_right, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def fitted(rows: Sequence[Row], width: int, least: int = 8) -> list[dict[str, str]]:
    """Shorten texts to fit a table into a width, the outer columns last."""
    names = list(rows[0]) if rows else []
    cells = [{name: _cell(row.get(name)) for name in names} for row in rows]
    room = {name: max(len(name), *(len(c[name]) for c in cells)) for name in names}
    for columns in (names[1:-1], names[-1:], names[:1]):
        while sum(room.values()) + 2 * (len(names) - 1) > width:
            wide = [name for name in columns if room[name] > max(least, len(name))]
            if not wide:
                break
            # The widest column becomes narrower by one character at a time.
            room[max(wide, key=room.__getitem__)] -= 1
    return [
        {
            name: text if len(text) <= room[name] else f"{text[: room[name] - 1]}…"
            for name, text in line.items()
        }
        for line in cells
    ]


def markdown_table(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """Return rows as a Markdown table, with the cells of `table`."""
    names = list(columns or dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [[_cell(row.get(name)) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Progress:
    """Progress on standard error: one line on a terminal, a few lines elsewhere."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Without a terminal, work that ends soon, also with an error, prints no
        # progress line.
        self._shown = -float("inf") if sys.stderr.isatty() else clock()
        self._width = 0

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show the progress, at most ten times per second (per minute elsewhere)."""
        if self._clock() - self._shown >= (0.1 if sys.stderr.isatty() else 6.0):
            self.say(f"{100 * done // max(total, 1):3d} %  {what}")

    def say(self, text: str) -> None:
        """Show a line immediately."""
        self._shown = self._clock()
        if sys.stderr.isatty():
            # Blanks overwrite the rest of a longer line before.
            click.echo("\r" + text.ljust(self._width), err=True, nl=False)
            self._width = len(text)
        else:
            click.echo(text, err=True)

    def say_on_terminal(self, text: str) -> None:
        """Show a line that the next one replaces; nothing without a terminal."""
        if sys.stderr.isatty():
            self.say(text)

    def finish(self, *, keep: bool = False) -> None:
        """Clear the line, or keep it and start a new one."""
        if self._width:
            end = "\n" if keep else "\r" + " " * self._width + "\r"
            click.echo(end, err=True, nl=False)
            self._width = 0


def machine(*, gflops: bool = False) -> dict[str, Any]:
    """Return a description of this machine for the `machine` part of `--json`.

    The matmul speeds are measured on request only, and None otherwise.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    device = "cuda" if has_gpu else "cpu"
    return {
        "cpu": _cpu_name(),
        # Cores that this process may use, which a container can limit.
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpu": torch.cuda.get_device_name(0) if has_gpu else None,
        "torch": torch.__version__,
        "matmul_gflops_fp32": matmul_gflops("float32", device) if gflops else None,
        "matmul_gflops_bf16": matmul_gflops("bfloat16", device) if gflops else None,
    }


def _about(found: Mapping[str, Any]) -> str:
    """Return `machine` as one line."""
    parts = [found["gpu"] or f"{found['cpu']}, {found['cores']} cores"]
    parts.append(f"torch {found['torch']}")
    for kind in ("fp32", "bf16"):
        rate = found[f"matmul_gflops_{kind}"]
        if rate is not None:
            parts.append(f"{kind} matmul {rate:.0f} GFLOP/s")
    return "; ".join(parts)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def matmul_gflops(dtype: str, device: str, budget_s: float = 0.5) -> float:
    """Return the median rate of a square matmul within a time budget, in GFLOP/s."""
    import torch

    size = 8192 if device == "cuda" else 2048
    a = torch.ones(size, size, dtype=getattr(torch, dtype), device=device)
    a @ a  # warm-up: starts threads and selects the kernel
    taken: list[float] = []
    begin = time.perf_counter()
    while not taken or time.perf_counter() - begin < budget_s:
        start = time.perf_counter()
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    # n^3 multiplications and as many additions.
    return 2 * size**3 / median(taken) / 1e9


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_cell(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_cell(item) for item in value)
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
