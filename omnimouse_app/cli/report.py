"""`omnimouse report`: a saved analysis as one self-contained HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option, file_option
from omnimouse_app.cli.terminal import Progress, echo, interruptible

if TYPE_CHECKING:
    from omnimouse_model.live.state import Device


@click.command("report")
@click.argument("analysis", type=click.Path(path_type=Path))
@file_option("--out", help="The page. [default: beside the analysis, with its name]")
@click.option("--recording", default="", help="Place of the recording, if it was moved.")
@file_option(
    "--sweep",
    "sweeps",
    multiple=True,
    help="A saved context sweep to compare. May be repeated.",
)
@click.option(
    "--no-tier",
    "scores_tier",
    flag_value=False,
    default=True,
    help="Leave out scores and curves over the whole tier, which take minutes.",
)
@device_option
def command(
    analysis: Path,
    out: Path | None,
    recording: str,
    sweeps: tuple[Path, ...],
    scores_tier: bool,
    device: "Device",
) -> None:
    """Write the task, the prediction and the scores of ANALYSIS as a page.

    Predictions are computed again, with the model and the recording of the analysis.
    Scores and curves over the tier that a window or an earlier report has stored are
    used. The page needs no network and no other file. After Ctrl-C, the same command
    goes on with the scores that it has.
    """
    from omnimouse_model.live.analysis_file import SUFFIX
    from omnimouse_model.live.inference.tier_results import ScoreStore
    from omnimouse_model.live.report import report_of_file, step_text
    from omnimouse_widgets.report.page import write_page

    name = analysis.name.removesuffix(SUFFIX).removesuffix(".json")
    page = out or analysis.with_name(f"{name}.html")
    with interruptible(), Progress() as progress:

        def report_progress(text: str, share: float | None = None) -> None:
            # Steps of unknown length show a message only.
            if share is None:
                progress.show_on_terminal(text)
            else:
                progress.show_share(share, text)

        def report_page(text: str, share: float | None = None) -> None:
            report_progress(step_text("page", text, scores_tier=scores_tier), share)

        content = report_of_file(
            analysis,
            recording=recording,
            device=device,
            sweeps=sweeps,
            scores_tier=scores_tier,
            scores=ScoreStore(),
            report=report_progress,
        )
        write_page(content, page, report_page)
    echo(f"Report: {page}")
