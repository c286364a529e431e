"""`omnimouse app`: napari with the whole instrument."""

from pathlib import Path

import click


@click.command("app")
@click.argument("session", required=False, type=click.Path(path_type=Path))
@click.option(
    "--model",
    help="A predictor's name, or a checkpoint; by default the one under Preferences, "
    "else the one used last, else demo.",
)
def command(session: Path | None, model: str | None) -> None:
    """Open napari with OmniMouse, on SESSION or on the one open last."""
    from omnimouse_app.screen import has_display

    if session is not None:
        _check(session)
    if not has_display():
        raise click.ClickException(
            "No display here; `omnimouse demo --headless OUT` needs none."
        )
    from omnimouse_app.opening import launch

    launch(session, model, block=True)


def _check(session: Path) -> None:
    """Refuse a path that is no session before a window opens."""
    from omnimouse_model.data.open import open_session

    open_session(session)
