"""`omnimouse app`: napari with the whole instrument."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import device_option, reading_options, session_folder
from omnimouse_app.cli.output import Progress

if TYPE_CHECKING:
    from omnimouse_model.live.state import Device


@click.command("app")
@click.argument("session", required=False)
@click.option(
    "--model",
    help="A predictor's name, or a checkpoint; by default the one under Preferences, "
    "else the one used last, else demo.",
)
@device_option
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Compute on a worker of this Dask scheduler: tls://…, or this machine's own.",
)
@reading_options
def command(
    session: str | None,
    model: str | None,
    device: "Device",
    scheduler: str | None,
    reading: dict[str, Any],
) -> None:
    """Open napari with OmniMouse, on SESSION or on the one open last.

    SESSION is a session's folder or file, a folder of some, 'demo' or 'unseen'; or an
    analysis that was saved (….omnimouse.json). What a session's files do not say, such
    as the rate, is asked for in the window.

    With --scheduler the model computes elsewhere, where recordings and checkpoints
    must be at the same paths as here.
    """
    from omnimouse_app.window.screen import has_display

    if scheduler is not None:
        from omnimouse_model.predict.worker.dask_scheduler import checked_address

        # Refuse a wrong address before napari starts.
        checked_address(scheduler)
    folder = None if session is None else _checked(session, reading)
    # Without this test, Qt would end the process.
    if not has_display():
        raise click.ClickException(
            "No display here; `omnimouse demo --headless OUT` needs none."
        )
    from omnimouse_app.window.launch import launch

    launch(
        folder,
        model,
        device=device,
        scheduler=scheduler,
        reading=reading,
        block=True,
    )


def _checked(session: str, reading: dict[str, Any]) -> Path | str:
    """Return the path or address of a session; raise the error of a wrong one now.

    The window would show the error much later.
    """
    from omnimouse_model.data.open import is_session, open_session
    from omnimouse_model.data.session_index import holds_sessions
    from omnimouse_model.live.analysis_file import SUFFIX, read_analysis

    if session.endswith(SUFFIX):
        if not Path(session).is_file():
            raise FileNotFoundError(f"there is no file {session}")
        read_analysis(Path(session))  # raises the error of an invalid file
        return Path(session)
    progress = Progress()
    place = session_folder(session, progress)
    progress.finish()
    if not is_session(place) and not holds_sessions(place):
        open_session(place, **reading)  # raises the error of this path
    return place
