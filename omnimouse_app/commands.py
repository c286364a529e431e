"""The commands of the manifest: what napari's command palette offers."""

from omnimouse_app.docks import OmniMouseDock, find_instrument
from omnimouse_app.keys import KEYS
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets.qt.keys import toggle_colour


def undo() -> None:
    """Take back the latest stroke."""
    _open().controller.undo()


def redo() -> None:
    """Do again what was undone last."""
    _open().controller.redo()


def toggle_brush() -> None:
    """Take up the brush, or put it down."""
    _open().instrument.brush.toggle("brush")


def toggle_lasso() -> None:
    """Take up the lasso, or put it down."""
    _open().instrument.brush.toggle("lasso")


def paint_visible() -> None:
    """Paint visible from now on."""
    _open().controller.set_brush(VISIBLE)


def paint_hidden() -> None:
    """Paint hidden from now on."""
    _open().controller.set_brush(HIDDEN)


def paint_target() -> None:
    """Paint target from now on."""
    _open().controller.set_brush(TARGET)


def colour_by() -> None:
    """Colour by score if by state, and the other way round."""
    toggle_colour(_open().controller)


def next_window() -> None:
    """Two seconds on."""
    _open().controller.step_window(1)


def previous_window() -> None:
    """Two seconds back."""
    _open().controller.step_window(-1)


def play() -> None:
    """Play or pause."""
    _open().play()


def show_keys() -> None:
    """Show every key of the field, in napari's own notification."""
    from napari.utils.notifications import show_info

    show_info("\n".join(f"{key}   {words}" for key, words in KEYS.items()))


def _open() -> OmniMouseDock:
    from napari import current_viewer

    viewer = current_viewer()
    dock = None if viewer is None else find_instrument(viewer)
    if dock is None:
        raise RuntimeError("OmniMouse is not open: choose Plugins > OmniMouse first.")
    return dock
