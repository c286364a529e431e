"""`omnimouse demo`: the first two minutes, in a window or as a report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import (
    device_option,
    folder_option,
    require_source_code,
    session_folder,
)
from omnimouse_app.cli.output import echo
from omnimouse_model.storage.write import writing

if TYPE_CHECKING:
    from omnimouse_model.live.state import Device


@click.command("demo")
@folder_option(
    "--headless",
    "out",
    help="Write a report with pictures into this folder; needs no display.",
)
@folder_option(
    "--notebook",
    "pictures",
    help="Write pictures of the notebook widgets into this folder instead.",
)
@click.option("--model", default="demo", help="Name of a predictor, or a checkpoint.")
@device_option
def command(
    out: Path | None,
    pictures: Path | None,
    model: str,
    device: "Device",
) -> None:
    """Open the demo session with the demo model and a preset.

    With --headless the same window is opened on a virtual display and operated by real
    mouse and key events; OUT/index.html shows it, and compares the values on screen
    with those of the library. With --notebook a private JupyterLab is operated in a
    headless browser; the pictures are those of docs/notebooks.md.
    """
    from omnimouse_app.window.screen import has_display

    if pictures is not None:
        if out is not None:
            raise click.UsageError("--notebook excludes --headless.")
        _write_pictures(pictures, model)
        return
    if out is not None:
        _write_report(out, model, device)
        return
    if not has_display():
        raise click.ClickException(
            "There is no display: use `omnimouse demo --headless demo_report`."
        )
    from omnimouse_app.window.launch import launch

    launch("demo", model, device=device, block=True)


def _demo_session() -> Path | str:
    echo("Demo session (the first run simulates it, in less than a minute) …")
    return session_folder("demo")


def _write_pictures(out: Path, model: str) -> None:
    require_source_code()
    from omnimouse_app.window.screen import scratch_settings

    # Simulated before the server starts, so that no page waits for it.
    _demo_session()
    with scratch_settings():
        from tests.bench.browser.screenshots import write_pictures

        try:
            write_pictures(out, model, echo)
        # A page that does not reach an expected state; the message says which.
        except AssertionError as error:
            raise click.ClickException(str(error)) from error


def _write_report(out: Path, model: str, device: "Device") -> None:
    from omnimouse_app.window.screen import (
        has_display,
        run_on_virtual_display,
        scratch_settings,
    )

    if not has_display():
        # Run the same command again in a child process, on a virtual display.
        arguments = ["demo", "--headless", str(out), "--model", model, "--device", device]
        sys.exit(run_on_virtual_display(arguments))
    folder = _demo_session()
    with scratch_settings():
        from omnimouse_app.tour.report import write_report

        echo("Window, strokes and report …")
        try:
            with writing(out):
                page = write_report(out, folder, model, device)
        except RuntimeError as error:
            raise click.ClickException(str(error)) from error
        echo(f"Report: {page}")
