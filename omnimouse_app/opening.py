"""`launch()`: napari with OmniMouse open, from Python or from the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnimouse_app.docks import OmniMouseDock
    from omnimouse_model.predict.predictor import Predictor

TITLE = "OmniMouse Studio"
SIZE = (1440, 900)


def launch(
    session: str | Path | None = None,
    model: "str | Path | Predictor | None" = None,
    *,
    viewer: Any = None,
    show: bool = True,
    block: bool = False,
) -> "OmniMouseDock":
    """Open napari with the whole instrument.

    Parameters
    ----------
    session
        A recording to open; by default the one open last, else the demo's.
    model
        A predictor's name, a checkpoint, or a predictor; by default the one under
        Preferences, else the one used last, else the demo.
    viewer
        An open viewer to use.
    show
        Show the window.
    block
        Return only when the window is closed: for scripts.

    Returns
    -------
    OmniMouseDock
        The main widget; `.controller` has the verbs, `.controller.state` and
        `.controller.results` what is on screen.
    """
    import napari

    from omnimouse_app.docks import open_instrument

    if viewer is None:
        viewer = napari.Viewer(title=TITLE, show=show)
        viewer.window.resize(*SIZE)
    dock = open_instrument(viewer, model=model)
    controller = dock.controller
    if session is not None:
        controller.open_session(session)
    elif not controller.restore():
        controller.open_session(_demo_session())
    if block:
        napari.run()
    return dock


def _demo_session() -> Path:
    from omnimouse_app.samples import demo_folder

    return demo_folder()
