"""The keys of the field, bound on our layer alone: nothing else of napari changes."""

from collections.abc import Callable, Generator
from functools import partial
from html import escape
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QMainWindow, QMessageBox

from omnimouse_app.field.brush import Brush
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.style.shortcuts import KEYS

FIELD_KEYS: dict[str, str] = {
    "P": "brush on or off",
    "L": "lasso on or off",
    "[ ]": "brush smaller, larger",
    "K": "play or pause",
    "H": "held: the mean image alone",
    "Space": "held: drag to pan",
    "Ctrl-click": "select the neuron, with Shift add it or take it out",
    "Alt-drag": "size of the brush",
    "?": "show the keys",
}
"""What the field answers to besides the keys of every panel."""

PANEL_KEYS: dict[str, str] = {"Ctrl+S": "save the analysis (in OmniMouse's panels)"}
"""What every panel answers to, but the field does not: napari saves layers there."""


KEYS_WINDOW = "omnimouse-keys"


def all_keys() -> dict[str, str]:
    """Every key and what it does."""
    return {key.key: key.words for key in KEYS} | PANEL_KEYS | FIELD_KEYS


def show_keys() -> None:
    """Show every key in a window of its own, which leaves the others in reach."""
    for window in QApplication.topLevelWidgets():
        if window.objectName() == KEYS_WINDOW and window.isVisible():
            window.raise_()
            window.activateWindow()
            return
    rows = "".join(
        f"<tr><td><b>{escape(key)}</b></td><td>&nbsp;&nbsp;{escape(words)}</td></tr>"
        for key, words in all_keys().items()
    )
    windows = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow))
    box = QMessageBox(QApplication.activeWindow() or next(windows, None))
    box.setObjectName(KEYS_WINDOW)
    box.setWindowTitle("Keys of OmniMouse")
    box.setText(f"<table cellspacing='3'>{rows}</table>")
    box.setModal(False)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.show()


def bind_keys(
    layer: Labels,
    controller: Controller,
    brush: Brush,
    *,
    play: Callable[[], None],
    show_mean_alone: Callable[[bool], None],
) -> None:
    """Bind the keys of the field on a layer; they act while it is the active one.

    All of `all_keys` but `PANEL_KEYS`, and "?", which napari's own bindings do not
    know: `docks` has them.
    """
    strokes: dict[str, Callable[[], object]] = {
        _napari_name(key.key): partial(key.press, controller) for key in KEYS
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
    def held(_layer: Any) -> Generator[None, None, None]:
        switch(True)
        yield
        switch(False)

    return held
