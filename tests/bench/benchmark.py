"""Decorator that turns a function into a command of `omnimouse bench`."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from omnimouse_app.cli.inputs import format_options
from omnimouse_app.cli.terminal import emit

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
            emit(
                rows,
                as_json=as_json,
                as_markdown=as_markdown,
                title=title.format_map(rows[0]),
                columns=[c for c in columns if any(r.get(c) is not None for r in rows)],
                gflops=gflops,
            )

        return command

    return decorate
