"""`omnimouse bench notebook`: strokes and plots in a real JupyterLab and browser."""

from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option
from tests.bench.benchmark import Row, benchmark
from tests.bench.live import SIMULATED
from tests.bench.recordings import session_id, simulated_session

if TYPE_CHECKING:
    from omnimouse_model.live.state import Device

DEMO_CELL = """
from omnimouse_widgets import Explorer
explorer = Explorer("demo", "demo", device={device!r}).settled()
explorer
"""
# The net of demo size is not trained: only the time of its predictions matters.
UNTRAINED_CELL = """
from functools import partial
from tests.bench.untrained_model import untrained_model
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_widgets import Explorer
make = partial(untrained_model, "demo", {session!r}, {neurons}, {device!r})
predictor = WorkerPredictor(make)
explorer = Explorer({folder!r}, predictor).settled(300)
explorer
"""


@benchmark(
    "notebook",
    title="Notebook widgets in a browser",
    columns=("name", "median", "p99", "n", "unit", "neurons", "model", "plot"),
    gflops=True,
)
@click.option(
    "--neurons",
    type=click.Choice(["all", "demo", *SIMULATED]),
    default="all",
    help="The demo's 1,000 neurons, a simulated session of 4,000 or 10,000, or all.",
)
@click.option("--moves", default=200, show_default=True, help="Number of timed moves.")
@click.option("--answers", default=30, show_default=True, help="Number of timed predictions.")
@device_option
def command(neurons: str, moves: int, answers: int, device: "Device") -> list[Row]:
    """Time strokes, predictions and the plots during a scrub in a notebook.

    A private JupyterLab is operated by mouse events in a headless browser. It needs
    jupyterlab, playwright, and Chromium or Google Chrome.
    """
    from omnimouse_app.window.screen import scratch_settings
    from tests.bench.browser.page import browser_and_server, page_in
    from tests.bench.screens.notebook_page import explorer_rows

    # Sessions are simulated before the server starts, so that no page waits for them.
    names = [name for name in ("demo", *SIMULATED) if neurons in ("all", name)]
    cells = [explorer_cell(name, device) for name in names]
    rows: list[Row] = []
    with scratch_settings(), browser_and_server() as (browser, server):
        for cell in cells:
            with page_in(browser, server) as tab:
                rows += explorer_rows(tab, cell, moves, answers, browser.version)
    return rows


def explorer_cell(name: str, device: "Device") -> str:
    """Return the cell that opens a session of `bench live`; simulate it if needed."""
    if name == "demo":
        return DEMO_CELL.format(device=device)
    count = SIMULATED[name]
    return UNTRAINED_CELL.format(
        folder=str(simulated_session(count)),
        session=session_id(count),
        neurons=count,
        device=device,
    )
