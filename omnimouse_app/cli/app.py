"""`omnimouse app`: napari with the whole instrument."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import device_option, reading_options, session_folder

if TYPE_CHECKING:
    from omnimouse_model.live.state import Device


@click.command("app")
@click.argument("session", required=False)
@click.option(
    "--model",
    help="Name of a predictor, or a checkpoint. [default: the model in Preferences, "
    "else the last one, else demo]",
)
@device_option
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Compute on a worker of a Dask scheduler: tls://…, or one on this machine.",
)
@reading_options
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
        from omnimouse_model.inference.dask_scheduler import check_address

        # Refuse a wrong address before napari starts.
        check_address(scheduler)
    # With no session, the window opens the one that was open last.
    place = None if session is None else _check(session, reading)
    # Without this test, Qt would end the process.
    if not has_display():
        raise click.ClickException(
            "There is no display; `omnimouse demo --headless OUT` needs none."
        )
    # Imported late: napari takes seconds, and a wrong session is refused before.
    from omnimouse_app.window.launch import launch

    launch(
        place,
        model,
        device=device,
        scheduler=scheduler,
        reading=reading,
        block=True,
    )


def _check(session: str, reading: dict[str, Any]) -> Path | str:
    """Return the path or address of a session; raise the error of a wrong one now.

    The window would show the error much later.
    """
    from omnimouse_model.data.open import is_session, open_session
    from omnimouse_model.data.session_index import holds_sessions
    from omnimouse_model.live.analysis_file import SUFFIX, read_analysis
    from omnimouse_model.live.recording.loader import SAMPLES

    # The window shows how far its simulation is.
    if session in SAMPLES:
        return session
    if session.endswith(SUFFIX):
        if not Path(session).is_file():
            raise FileNotFoundError(f"there is no file {session}")
        read_analysis(Path(session))  # raises the error of an invalid file
        return Path(session)
    # A folder of sessions is valid, too: the window then lists them.
    place = session_folder(session)
    if not is_session(place) and not holds_sessions(place):
        open_session(place, **reading)  # raises the error of this path
    return place
