"""`omnimouse demo`: the first two minutes, in a window or as a report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import (
    device_option,
    require_source_code,
    session_folder,
)
from omnimouse_app.cli.output import Progress

if TYPE_CHECKING:
    from omnimouse_model.live.state import Device


@click.command("demo")
@click.option(
    "--headless",
    "out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Leave a report with pictures in this folder; needs no display.",
)
@click.option(
    "--tour",
    "is_tour",
    is_flag=True,
    help="With --headless: every journey, as docs/napari.md shows them (minutes).",
)
@click.option(
    "--notebook",
    "pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Leave pictures of the notebook's instrument in this folder instead.",
)
@click.option("--model", default="demo", help="A predictor's name, or a checkpoint.")
@device_option
def command(
    out: Path | None,
    is_tour: bool,
    pictures: Path | None,
    model: str,
    device: "Device",
) -> None:
    """Open the demo session with the demo model, a preset chosen.

    With --headless the same window is opened on a virtual display and worked by real
    mouse and key events; OUT/index.html shows it, and compares what was on screen with
    what the library computes. With --notebook a JupyterLab of its own is worked in a
    browser without a window, as docs/notebooks.md shows it.
    """
    from omnimouse_app.window.screen import has_display

    if pictures is not None:
        if out is not None or is_tour:
            raise click.UsageError("--notebook goes without --headless and --tour.")
        _leave_pictures(pictures, model)
        return
    if out is not None:
        _leave_report(out, is_tour, model, device)
        return
    if is_tour:
        raise click.UsageError("--tour leaves pictures: say where with --headless OUT.")
    if not has_display():
        raise click.ClickException(
            "There is no display here: use `omnimouse demo --headless demo_report`."
        )
    from omnimouse_app.window.launch import launch

    launch(_session(), model, device=device, block=True)


def _session() -> Path | str:
    click.echo("Demo session (simulated here the first time, under a minute) …")
    progress = Progress()
    folder = session_folder("demo", progress)
    progress.finish()
    return folder


def _leave_pictures(out: Path, model: str) -> None:
    require_source_code()
    from omnimouse_app.browser.chromium import BrowserMissingError
    from omnimouse_app.window.screen import scratch_settings

    _session()
    with scratch_settings():
        from omnimouse_app.browser.tour import write_pictures

        try:
            write_pictures(out, model, click.echo)
        except (BrowserMissingError, AssertionError) as error:
            raise click.ClickException(str(error)) from error


def _leave_report(out: Path, is_tour: bool, model: str, device: "Device") -> None:
    from omnimouse_app.window.screen import (
        has_display,
        run_on_virtual_display,
        scratch_settings,
    )

    if not has_display():
        # Run the same command again in a child process, on a virtual display.
        arguments = ["demo", "--headless", str(out), "--model", model]
        arguments += ["--device", device, *(["--tour"] if is_tour else [])]
        sys.exit(run_on_virtual_display(arguments))
    folder = _session()
    with scratch_settings():
        from omnimouse_app.tour.pictures import TOUR
        from omnimouse_app.tour.report import CHAPTERS, write_report

        click.echo("Window, strokes and report …")
        try:
            chapters = TOUR if is_tour else CHAPTERS
            page = write_report(out, folder, model, device, chapters)
        except RuntimeError as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"Report: {page}")
