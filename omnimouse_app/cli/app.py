"""`omnimouse app`: napari with the whole instrument."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option

if TYPE_CHECKING:
    from omnimouse_model.live.state import Device


@click.command("app")
@click.argument("session", required=False, type=click.Path(path_type=Path))
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
def command(
    session: Path | None, model: str | None, device: "Device", scheduler: str | None
) -> None:
    """Open napari with OmniMouse, on SESSION or on the one open last.

    With --scheduler the model computes elsewhere, where recordings and checkpoints
    must be at the same paths as here.
    """
    from omnimouse_app.screen import has_display

    if scheduler is not None:
        from omnimouse_model.predict.remote import checked_address

        checked_address(scheduler)
    if session is not None:
        _check(session)
    if not has_display():
        raise click.ClickException(
            "No display here; `omnimouse demo --headless OUT` needs none."
        )
    from omnimouse_app.opening import launch

    launch(session, model, device=device, scheduler=scheduler, block=True)


def _check(session: Path) -> None:
    """Refuse a path that is no session before a window opens."""
    from omnimouse_model.data.open import open_session

    open_session(session)
