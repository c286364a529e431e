"""`omnimouse bench notebook`: strokes and plots in a real JupyterLab and browser."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import device_option, format_options
from omnimouse_app.cli.output import emit, row

if TYPE_CHECKING:
    from omnimouse_app.browser.page import NotebookPage
    from omnimouse_model.live.state import Device

Row = dict[str, Any]
COLUMNS = ("name", "median", "p99", "n", "unit", "neurons", "model", "plot")


@click.command("notebook")
@click.option(
    "--neurons",
    type=click.Choice(["all", "demo", "medium", "large"]),
    default="all",
    help="The demo's 1,000 neurons, a simulated session of 4,000 or 10,000, or all.",
)
@click.option("--moves", default=200, show_default=True, help="Number of timed moves.")
@click.option(
    "--answers", default=30, show_default=True, help="Number of timed predictions."
)
@device_option
@format_options
def command(
    as_json: bool,
    as_markdown: bool,
    neurons: str,
    moves: int,
    answers: int,
    device: "Device",
) -> None:
    """Time strokes, predictions and the plots during a scrub in a notebook.

    A private JupyterLab is operated by mouse events in a headless browser. It needs
    jupyterlab, playwright, and Chromium or Google Chrome.
    """
    from omnimouse_app.browser.chromium import BrowserMissingError

    try:
        rows = measure(neurons, moves, answers, device)
    except BrowserMissingError as error:
        raise click.ClickException(str(error)) from error
    emit(
        rows,
        as_json=as_json,
        as_markdown=as_markdown,
        gflops=True,
        title="Notebook widgets in a browser",
        columns=COLUMNS,
    )


def measure(neurons: str, moves: int, answers: int, device: "Device") -> list[Row]:
    """Return all rows, session by session, each from its own notebook."""
    from omnimouse_app.bench.live import SIMULATED
    from omnimouse_app.browser.chromium import chromium
    from omnimouse_app.browser.measure import demo_cell
    from omnimouse_app.browser.page import page_in
    from omnimouse_app.browser.server import serving
    from omnimouse_app.window.screen import scratch_settings

    # Sessions are simulated before the server starts, so that no page waits for them.
    cells = {"demo": demo_cell(device)} if neurons in ("all", "demo") else {}
    for name in SIMULATED:
        if neurons in ("all", name):
            cells[name] = simulated_cell(name, device)
    rows: list[Row] = []
    with (
        scratch_settings(),
        tempfile.TemporaryDirectory(prefix="omnimouse-notebooks-") as folder,
        tempfile.TemporaryDirectory(prefix="omnimouse-jupyter-") as scratch,
        chromium() as browser,
        serving(Path(folder), Path(scratch)) as server,
    ):
        for cell in cells.values():
            with page_in(browser, server) as tab:
                rows += explorer_rows(tab, cell, moves, answers, browser.version)
    return rows


def simulated_cell(name: str, device: "Device") -> str:
    """Return the cell that opens the session of `bench live`; simulate it if needed."""
    from omnimouse_app.bench.live import SIMULATED, session_id, simulated_session
    from omnimouse_app.browser.measure import untrained_cell

    count = SIMULATED[name]
    folder = simulated_session(name, count)
    return untrained_cell(folder, session_id(count), count, device)


def explorer_rows(
    tab: "NotebookPage", cell: str, moves: int, answers: int, browser: str
) -> list[Row]:
    """Return the rows of one explorer."""
    from omnimouse_app.browser.measure import measure_explorer

    return [
        row(name, values, unit, **conditions, browser=browser)
        for name, values, unit, conditions in measure_explorer(
            tab, cell, moves, answers
        )
    ]
