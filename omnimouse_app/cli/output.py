"""Output of commands: a table to read, or one JSON object for programs."""

import json
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from omnimouse_model.display import printable
from omnimouse_model.predict.devices import full_memory_text
from omnimouse_model.storage.files import read_text

if TYPE_CHECKING:
    import numpy as np

Row = Mapping[str, Any]


def echo(text: object, *, err: bool = False) -> None:
    """Print lines; texts of files in them cannot control the terminal."""
    lines = str(text).expandtabs().split("\n")
    click.echo("\n".join(map(printable, lines)), err=err)


def emit(
    rows: Sequence[Row],
    *,
    as_json: bool,
    as_markdown: bool = False,
    title: str = "",
    columns: Sequence[str] | None = None,
    text: str | None = None,
    gflops: bool = False,
) -> None:
    """Print rows as a table, or as `{"machine": …, "rows": […]}`.

    Parameters
    ----------
    rows
        One mapping per row; each has `name`, `value` and `unit`.
    as_json
        Print the object and nothing else on standard output.
    as_markdown
        Print a Markdown table under a line about the machine, for a document.
    title
        A line above the table.
    columns
        Keys that the table shows, in this order; all by default.
    text
        Printed in place of the table, for results that are not one table.
    gflops
        Measure this machine's matmul speed for the `machine` part (takes a second).
    """
    if as_json:
        document = {"machine": machine(gflops=gflops), "rows": [dict(r) for r in rows]}
        # JSON has no NaN: `allow_nan=False` raises an error if one is left.
        echo(json.dumps(_plain(document), allow_nan=False))
    elif as_markdown:
        echo(_about(machine(gflops=gflops)) + "\n")
        echo(markdown_table(rows, columns))
    elif text is not None:
        echo(text)
    else:
        echo("\n".join([*([title] if title else []), table(rows, columns)]))


def row(
    name: str, values: "Sequence[float] | np.ndarray", unit: str, **conditions: Any
) -> dict[str, Any]:
    """Return one row of a benchmark: median as `value`, with p99 and n.

    For a rate (Hz), p99 is the value that 99 of 100 updates reach: the 1st percentile.
    """
    import numpy as np

    middle = float(np.median(values))
    return {
        "name": name,
        "value": middle,
        "unit": unit,
        "median": middle,
        # The slow end of the distribution: long times, or low rates.
        "p99": float(np.percentile(values, 1 if unit == "Hz" else 99)),
        "n": len(values),
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
    """Return an interval as text; "–" if it is NaN."""
    return "–" if math.isnan(low) else f"{low:z.3f} to {high:z.3f}"


def n_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    # `rglob` of a file yields nothing.
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


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
        "matmul_gflops_fp32": _gflops("float32", device) if gflops else None,
        "matmul_gflops_bf16": _gflops("bfloat16", device) if gflops else None,
    }


def _gflops(dtype: str, device: str) -> float | None:
    """Return the speed of matrix products; None if the memory of the GPU is full."""
    try:
        return matmul_gflops(dtype, device)
    except RuntimeError as error:
        # The rows, measured before, must not be lost.
        if full_memory_text(error):
            return None
        raise


def _about(facts: Mapping[str, Any]) -> str:
    """Return `machine` as one line."""
    parts = [facts["gpu"] or f"{facts['cpu']}, {facts['cores']} cores"]
    parts.append(f"torch {facts['torch']}")
    for kind in ("fp32", "bf16"):
        rate = facts[f"matmul_gflops_{kind}"]
        if rate is not None:
            parts.append(f"{kind} matmul {rate:z.0f} GFLOP/s")
    return "; ".join(parts)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in read_text(info, 2**22).splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def matmul_gflops(dtype: str, device: str, budget_s: float = 0.5) -> float:
    """Return the median rate of a square matmul within a time budget, in GFLOP/s."""
    import torch

    def seconds(a: torch.Tensor) -> float:
        start = time.perf_counter()
        a @ a
        if device == "cuda":
            # CUDA calls return before their work is done.
            torch.cuda.synchronize()
        return time.perf_counter() - start

    # A large matrix, because starting a kernel costs time too; smaller where bfloat16
    # is emulated, which can take minutes.
    for size in (256, 512, 1024, 2048, 4096, 8192):
        a = torch.ones(size, size, dtype=getattr(torch, dtype), device=device)
        seconds(a)  # warm-up: starts threads and selects the kernel
        if seconds(a) > budget_s / 50:
            break
    times: list[float] = []
    begin = time.perf_counter()
    while not times or time.perf_counter() - begin < budget_s:
        times.append(seconds(a))
    # n^3 multiplications and as many additions.
    return 2 * size**3 / median(times) / 1e9


def _cells(rows: Sequence[Row], columns: Sequence[str] | None) -> list[list[str]]:
    """Return the names of the columns, then the texts of each row."""
    # A dict as an ordered set: rows can have different keys.
    names = list(columns or dict.fromkeys(name for row in rows for name in row))
    return [names, *([_cell(row.get(name)) for name in names] for row in rows)]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    # Before numbers: a bool is an int, too.
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:z.4g}"
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
