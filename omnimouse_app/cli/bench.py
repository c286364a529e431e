"""`omnimouse bench NAME`: the project's benchmarks."""

from importlib import import_module

import click

from omnimouse_app.cli.inputs import require_source_code

BENCHMARKS = {
    "finetune": "How near fine-tuning a simulated mouse comes to training with it.",
    "live": "Strokes, answers and scrubbing in the real window.",
    "model": "Forward passes of the five sizes, part by part.",
    "notebook": "Strokes, answers and plots in JupyterLab and a browser.",
    "read": "Windows per second, from a recording and from the store.",
    "sweep": "The live sweep against its contexts one by one.",
    "train": "A training step in forward passes, and what its loader takes.",
}
"""Name -> its line in the help; the command is in `omnimouse_app/bench/NAME.py`."""


class LazyBenchmarks(click.Group):
    """Click group that imports a benchmark only when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the table."""
        return list(BENCHMARKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one benchmark; None for a name that is not in the table."""
        if cmd_name not in BENCHMARKS:
            return None
        require_source_code()
        command = import_module(f"omnimouse_app.bench.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the benchmarks from the table, without importing them."""
        with formatter.section("Benchmarks"):
            formatter.write_dl(list(BENCHMARKS.items()))


@click.group("bench", cls=LazyBenchmarks)
def command() -> None:
    """Measure this machine; every benchmark prints a table, or JSON with --json."""
