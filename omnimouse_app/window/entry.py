"""Entries from napari: the widget of the manifest, and the OmniMouse of a viewer.

The window is imported only here, after the version of napari was checked: an older one
gets one line instead of an error from the middle of an import.
"""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from omnimouse_app.window.launch import require_napari
from omnimouse_model.extras import named_extras

if TYPE_CHECKING:
    from omnimouse_app.window.docks import OmniMouseDock


def instrument_of(viewer: Any) -> "OmniMouseDock":
    """Return the OmniMouse of a viewer; open it if it is not open."""
    require_napari()
    with named_extras():
        from omnimouse_app.window.docks import open_instrument
    return open_instrument(viewer)


class _Superfluous(QWidget):
    """Widget of a second opening: it removes the dock that napari makes for it."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        # napari docks this widget after the constructor.
        QTimer.singleShot(0, self._remove)

    def _remove(self) -> None:
        self._viewer.window.remove_dock_widget(self)


class PluginWidget(QWidget):
    """Widget that napari docks when it opens the plugin: that of `OmniMouseDock`.

    napari knows the plugin by several names, and asks again for a viewer in which it is
    open: the existing docks are then raised.
    """

    # napari accepts classes only, and reads the arguments of `__init__`, which Python
    # does not call for an object of another class.
    def __new__(cls, napari_viewer: Any) -> QWidget:  # type: ignore[misc]
        """Return the widget of the viewer, or one that removes itself."""
        require_napari()
        with named_extras():
            from omnimouse_app.window.docks import OmniMouseDock, find_instrument

        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        dock = find_instrument(viewer)
        if dock is None:
            return OmniMouseDock(napari_viewer)
        dock.bring_up("OmniMouse")
        return _Superfluous(viewer)

    def __init__(self, napari_viewer: Any) -> None: ...
