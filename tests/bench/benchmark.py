"""Decorator that turns a function into a command of `omnimouse bench`."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from statistics import median
from time import perf_counter
from typing import Any

import click
import numpy as np

from omnimouse_app.cli.inputs import format_options
from omnimouse_app.cli.terminal import echo, emit, machine, markdown_table
from omnimouse_model.predict.devices import full_memory_text

Row = dict[str, Any]
PEAK_MIB = """
import sys
try:
    import resource
except ImportError:  # Windows
    resource = None
def peak_mib():
    if resource is None:
        return 0.0
    unit = 1024 if sys.platform != "darwin" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
"""
"""Start of a script for a new process: a function with the peak of its memory."""


def benchmark(
    name: str, *, title: str, columns: Sequence[str], gflops: bool = False
) -> Callable[[Callable[..., list[Row]]], click.Command]:
    """Return a decorator of a function that measures and returns rows.

    The command has the function's options, `--json` and `--markdown`, and prints the
    rows. Its help is the function's docstring.

    Parameters
    ----------
    title
        Line above the table; `{key}` is replaced by that value of the first row.
    columns
        Keys that the table shows; those without any value are omitted.
    gflops
        Print the matmul speed of the machine: the times depend mainly on it.
    """

    def decorate(measure: Callable[..., list[Row]]) -> click.Command:
        @click.command(name)
        @format_options
        @wraps(measure)
        def command(*, as_json: bool, as_markdown: bool, **arguments: Any) -> None:
            rows = measure(**arguments)
            shown = [c for c in columns if any(r.get(c) is not None for r in rows)]
            speeds = matmul_speeds() if gflops and (as_json or as_markdown) else {}
            if as_markdown and not as_json:
                echo(_about(machine() | speeds) + "\n")
                echo(markdown_table(rows, shown))
            else:
                heading = title.format_map(rows[0])
                emit(rows, as_json=as_json, title=heading, columns=shown, speeds=speeds)

        return command

    return decorate


def row(name: str, values: Sequence[float] | np.ndarray, unit: str, **conditions: Any) -> Row:
    """Return one row of a benchmark: median as `value`, with p99 and n.

    For a rate (Hz), p99 is the value that 99 of 100 updates reach: the 1st percentile.
    """
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


def matmul_speeds() -> dict[str, float | None]:
    """Return the matmul speeds of this machine, which take a second to measure."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    names = {"fp32": "float32", "bf16": "bfloat16"}
    return {f"matmul_gflops_{kind}": _matmul_speed(name, device) for kind, name in names.items()}


def _matmul_speed(dtype: str, device: str) -> float | None:
    """Return the speed of matrix products; None if the memory of the GPU is full."""
    try:
        return matmul_gflops(dtype, device)
    except RuntimeError as error:
        # The rows, measured before, must not be lost.
        if full_memory_text(error):
            return None
        raise


def matmul_gflops(dtype: str, device: str, budget_s: float = 0.5) -> float:
    """Return the median rate of a square matmul within a time budget, in GFLOP/s."""
    import torch

    def seconds(a: torch.Tensor) -> float:
        start = perf_counter()
        a @ a
        if device == "cuda":
            # CUDA calls return before their work is done.
            torch.cuda.synchronize()
        return perf_counter() - start

    # A large matrix, because starting a kernel costs time too; smaller where bfloat16
    # is emulated, which can take minutes.
    for size in (256, 512, 1024, 2048, 4096, 8192):
        a = torch.ones(size, size, dtype=getattr(torch, dtype), device=device)
        seconds(a)  # warm-up: starts threads and selects the kernel
        if seconds(a) > budget_s / 50:
            break
    times: list[float] = []
    begin = perf_counter()
    while not times or perf_counter() - begin < budget_s:
        times.append(seconds(a))
    # n^3 multiplications and as many additions.
    return 2 * size**3 / median(times) / 1e9


def _about(facts: Mapping[str, Any]) -> str:
    """Return the processor, cores and speeds of this machine as one line of text."""
    parts = [facts["gpu"] or f"{facts['cpu']}, {facts['cores']} cores"]
    parts.append(f"torch {facts['torch']}")
    for kind in ("fp32", "bf16"):
        rate = facts[f"matmul_gflops_{kind}"]
        if rate is not None:
            parts.append(f"{kind} matmul {rate:z.0f} GFLOP/s")
    return "; ".join(parts)
