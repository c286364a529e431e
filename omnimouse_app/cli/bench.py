"""`omnimouse bench NAME`: the project's benchmarks."""

import click

from omnimouse_app.cli import LazyGroup
from omnimouse_app.cli.inputs import require_source_code

BENCHMARKS = {
    "beside": "Time om.evaluate alone, and beside an Explorer that scores.",
    "finetune": "Compare fine-tuning to a simulated mouse with training with it.",
    "lab": "Time experiments on a model, with their errors.",
    "linear-gaussian": "Fit the baseline to 10,000 neurons, and time new masks.",
    "live": "Time strokes, predictions and scrubbing in the real window.",
    "model": "Time forward passes of the five sizes, part by part.",
    "ndt": "Time held-out neurons and training steps of the neural data transformer.",
    "notebook": "Time strokes, predictions and plots in JupyterLab and a browser.",
    "read": "Count windows per second, from a recording and from the store.",
    "start": "Time the start of the application beside plain napari.",
    "population": "Time predictions after strokes against the number of neurons.",
    "strokes": "Time predictions after strokes, for any size, without a window.",
    "sweep": "Time the live sweep against its contexts one by one.",
    "train": "Time a training step in forward passes, and its loader.",
    "twin": "Time the digital twin per frame, in a clip and streamed.",
}
"""Name -> its line in the help; the command is in `tests/bench/NAME.py`."""


class Benchmarks(LazyGroup):
    """Group that explains an installation without benchmarks in one line."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one benchmark.

        Raises
        ------
        click.ClickException
            The wheel does not contain the benchmarks.
        """
        require_source_code()
        return super().get_command(ctx, cmd_name)


@click.group("bench", cls=Benchmarks, table=BENCHMARKS, package="tests.bench")
def command() -> None:
    """Measure this machine; every benchmark prints a table, or JSON with --json."""
