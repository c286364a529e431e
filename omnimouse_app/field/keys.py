"""Keys of the field, bound to the neuron layer; napari's other keys do not change."""

from collections.abc import Callable, Generator
from html import escape
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDialog, QMainWindow, QTextBrowser, QVBoxLayout

from omnimouse_app.field.brush import Brush
from omnimouse_app.field.layers import RESTORE_KEY
from omnimouse_widgets.qt.style.shortcuts import KEYS, KeyActions
from omnimouse_widgets.views.registry import PANELS, Panel

FIELD_KEYS: dict[str, str] = {
    "P": "brush on or off",
    "L": "lasso on or off",
    "[ ]": "smaller, larger brush",
    "K": "play or pause",
    "H": "hold: show the mean image without the neurons",
    "Space": "hold: drag to pan",
    "Ctrl-click": "select the neuron; with Shift: add it or remove it",
    "Alt-drag": "radius of the brush",
    RESTORE_KEY: "restore deleted OmniMouse layers",
    "?": "show the keys and actions",
}
"""Keys of the field in addition to the keys of every panel."""

PANEL_KEYS: dict[str, str] = {
    "Ctrl+S": "in a panel of OmniMouse: save the analysis; on the canvas it is napari's"
}
"""Keys of every panel that the field lacks: there, napari saves layers with them."""
KEYS_WINDOW = "omnimouse-keys"


def all_keys() -> dict[str, str]:
    """Return the text of every key."""
    return {key.key: key.description for key in KEYS} | PANEL_KEYS | FIELD_KEYS


def show_keys(actions_of: Callable[[Panel], dict[str, str]]) -> None:
    """Show all keys, and what each panel shows and does, in a non-modal window."""
    # A second call brings the open window to the front.
    for window in QApplication.topLevelWidgets():
        if window.objectName() == KEYS_WINDOW and window.isVisible():
            window.raise_()
            window.activateWindow()
            return
    windows = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow))
    # Qt keeps a dialog in front of its parent window.
    box = QDialog(QApplication.activeWindow() or next(windows, None))
    box.setObjectName(KEYS_WINDOW)
    box.setWindowTitle("Keys and actions of OmniMouse")
    page = QTextBrowser()
    parts = [_rows("Keys", all_keys())]
    for panel in PANELS:
        parts.append(_rows(panel.title, {"": panel.help} | actions_of(panel)))
    page.setHtml("".join(parts))
    layout = QVBoxLayout(box)
    layout.addWidget(page)
    box.resize(620, 560)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.show()


def _rows(title: str, texts: dict[str, str]) -> str:
    rows = (
        f"<tr><td width='25%'><b>{escape(name)}</b></td><td>{escape(text)}</td></tr>"
        for name, text in texts.items()
    )
    return f"<h3>{escape(title)}</h3><table cellspacing='3' width='100%'>{''.join(rows)}</table>"


def bind_keys(
    layer: Labels,
    keys: KeyActions,
    brush: Brush,
    *,
    play: Callable[[], None],
    show_mean_alone: Callable[[bool], None],
) -> None:
    """Bind the keys of the field to a layer; they act while that layer is active.

    These are the keys of `all_keys` except `PANEL_KEYS`, `RESTORE_KEY` and "?". The
    layer can be deleted, and napari's key bindings have no name for "?";
    `window.docks` and `window.instrument` handle these keys.
    """
    strokes: dict[str, Callable[[], object]] = {
        _napari_name(key): action for key, action in keys.items()
    }
    strokes |= {
        "P": lambda: brush.toggle("brush"),
        "L": lambda: brush.toggle("lasso"),
        "[": brush.shrink,
        "]": brush.grow,
        "K": play,
    }
    for key, action in strokes.items():
        layer.bind_key(key, _on_press(action), overwrite=True)
    layer.bind_key("Space", _while_held(brush.pan), overwrite=True)
    layer.bind_key("H", _while_held(show_mean_alone), overwrite=True)


def _napari_name(key: str) -> str:
    return key.replace("Ctrl", "Control").replace("+", "-").replace("Pg", "Page")


def _on_press(action: Callable[[], object]) -> Callable[[Any], None]:
    def pressed(_layer: Any) -> None:
        action()

    return pressed


def _while_held(
    switch: Callable[[bool], None],
) -> Callable[[Any], Generator[None, None, None]]:
    # napari resumes the generator of a key binding when the key is released.
    def held(_layer: Any) -> Generator[None, None, None]:
        switch(True)
        yield
        switch(False)

    return held
