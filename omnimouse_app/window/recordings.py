"""Command that asks for a folder and lists its recordings."""


def choose_recordings() -> None:
    """Ask for a folder and list its recordings; opens OmniMouse if needed."""
    from napari import current_viewer

    from omnimouse_app.window.docks import open_instrument

    viewer = current_viewer()
    if viewer is None:
        raise RuntimeError("There is no napari window to show recordings in.")
    open_instrument(viewer).control.recording.choose_recordings()
