"""`omnimouse app` and `demo`: napari with the whole instrument, and its pictures."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli import inputs
from omnimouse_app.cli.terminal import echo
from omnimouse_model.storage.write import writing

if TYPE_CHECKING:
    from omnimouse_model.live.state import Device


@click.command("app")
@click.argument("session", required=False)
@click.option(
    "--model",
    help="Name of a predictor, or a checkpoint. [default: the model in Preferences, "
    "else the last one, else demo]",
)
@inputs.device_option
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Compute on a worker of a Dask scheduler: tls://…, or one on this machine.",
)
@inputs.reading_options
def command(
    session: str | None,
    model: str | None,
    device: "Device",
    scheduler: str | None,
    reading: dict[str, Any],
) -> None:
    """Open napari with OmniMouse, on SESSION or on the session that was open last.

    SESSION is a session's folder or file, a folder of sessions, 'demo', 'unseen',
    'spikes' or 'unseen-spikes'; or a saved analysis (….omnimouse.json). The window asks
    for properties that the files of a session do not state, such as the rate.

    With --scheduler the model computes elsewhere, where recordings and checkpoints
    must be at the same paths as here.
    """
    from omnimouse_app.window.screen import has_display

    if scheduler is not None:
        from omnimouse_model.inference.dask_map import check_address

        # Refuse a wrong address before napari starts.
        check_address(scheduler)
    # With no session, the window opens the one that was open last.
    place = None if session is None else _check(session, reading)
    # Without this test, Qt would end the process.
    if not has_display():
        raise click.ClickException(
            "There is no display; `omnimouse demo --headless OUT` needs none."
        )
    _say_that_it_starts()
    # Imported late: napari takes seconds, and a wrong session is refused before.
    from omnimouse_app.window.launch import launch

    launch(place, model, device=device, scheduler=scheduler, reading=reading, block=True)


def _check(session: str, reading: dict[str, Any]) -> Path | str:
    """Return the path or address of a session; raise the error of a wrong one now.

    The window would show the error much later.
    """
    from omnimouse_model.data.open import is_session, open_session
    from omnimouse_model.data.session_index import holds_sessions
    from omnimouse_model.live.analysis_file import SUFFIX, read_analysis
    from omnimouse_model.live.session_loader import SAMPLES

    # The window shows how far its simulation is.
    if session in SAMPLES:
        return session
    if session.endswith(SUFFIX):
        if not Path(session).is_file():
            raise FileNotFoundError(f"there is no file {session}")
        read_analysis(Path(session))  # raises the error of an invalid file
        return Path(session)
    # A folder of sessions is valid, too: the window then lists them.
    place = inputs.session_folder(session)
    if not is_session(place) and not holds_sessions(place):
        open_session(place, **reading)  # raises the error of this path
    return place


# -- `omnimouse demo`: the first two minutes, in a window or as a report --------------
@click.command("demo")
@inputs.folder_option(
    "--headless", "out", help="Write a report with pictures into this folder; needs no display."
)
@inputs.folder_option(
    "--notebook",
    "pictures",
    help="Write pictures of the notebook widgets into this folder instead.",
)
@click.option("--model", default="demo", help="Name of a predictor, or a checkpoint.")
@inputs.device_option
def demo(out: Path | None, pictures: Path | None, model: str, device: "Device") -> None:
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
    _say_that_it_starts()
    from omnimouse_app.window.launch import launch

    launch("demo", model, device=device, block=True)


def _say_that_it_starts() -> None:
    # On a busy machine, the imports take half a minute.
    echo("Opening the window; it says what is loaded …", err=True)


def _demo_session() -> Path | str:
    echo("Demo recording (the first run simulates it, in less than a minute) …")
    return inputs.session_folder("demo")


def _write_pictures(out: Path, model: str) -> None:
    inputs.require_source_code()
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
    from omnimouse_app.window.screen import has_display, run_on_virtual_display, scratch_settings

    if not has_display():
        # Run the same demo again in a child process, on a virtual display.
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
