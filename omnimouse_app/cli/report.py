"""`omnimouse report`: a saved analysis as one self-contained HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.output import Progress
from omnimouse_app.cli.stopping import interruptible

if TYPE_CHECKING:
    from omnimouse_model.live.state import Device


@click.command("report")
@click.argument("analysis", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page; beside the analysis, by its name, where none is given.",
)
@click.option(
    "--recording", default="", help="Where its recording is now, if it moved."
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A kept context sweep to compare; may be repeated.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Where the model computes.",
)
def command(
    analysis: Path,
    out: Path | None,
    recording: str,
    sweeps: tuple[Path, ...],
    device: "Device",
) -> None:
    """Write what ANALYSIS asks, the answer and its scores as a page to read and print.

    Everything is computed again, by the model and on the recording it names. The page
    needs no network and no other file.
    """
    from omnimouse_model.live.analysis_file import SUFFIX
    from omnimouse_model.live.report_from_file import report_of
    from omnimouse_widgets.report import write_page

    name = analysis.name.removesuffix(SUFFIX).removesuffix(".json")
    page = out or analysis.with_name(f"{name}.html")
    progress = Progress()

    def tell(words: str, share: float | None = None) -> None:
        # Steps of unknown length show a message only.
        if share is None:
            progress.say_on_terminal(words)
        else:
            progress(int(1000 * share), 1000, words)

    with interruptible():
        found = report_of(
            analysis, recording=recording, device=device, sweeps=sweeps, tell=tell
        )
        write_page(found, page, tell)
    progress.finish()
    click.echo(f"Report: {page}")
