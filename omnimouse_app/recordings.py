"""The window with the recordings of a folder, and the command that asks for one."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMainWindow

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.recordings import RecordingsPanel


def show_recordings(controller: Controller, window: QMainWindow) -> RecordingsPanel:
    """Bring up the table, beside the window it belongs to and ends with."""
    panel = window.findChild(RecordingsPanel)
    if panel is None:
        panel = RecordingsPanel(controller, window)
        panel.setWindowFlag(Qt.WindowType.Dialog)
    panel.show()
    panel.raise_()
    panel.activateWindow()
    return panel


def choose_recordings() -> None:
    """Ask for a folder, and show which recordings are in it; opens OmniMouse first."""
    from napari import current_viewer

    from omnimouse_app.docks import open_instrument

    viewer = current_viewer()
    if viewer is None:
        raise RuntimeError("There is no napari window to show recordings in.")
    open_instrument(viewer).control.session.choose_recordings()
