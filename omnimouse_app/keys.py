"""The keys of the field, bound on our layer alone: nothing else of napari changes."""

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from napari.layers import Labels

from omnimouse_app.brush import Brush
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.keys import KEYS

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


def help_text() -> str:
    """Every key and what it does, a line each."""
    everywhere = {key.key: key.words for key in KEYS}
    lines = {**everywhere, **FIELD_KEYS}
    return "\n".join(f"{key}   {words}" for key, words in lines.items())


def show_keys() -> None:
    """Show every key in napari's own notification."""
    from napari.utils.notifications import show_info

    show_info(help_text())


def bind_keys(
    layer: Labels,
    controller: Controller,
    brush: Brush,
    *,
    play: Callable[[], None],
    show_mean_alone: Callable[[bool], None],
) -> None:
    """Bind the keys of the field on a layer; they act while it is the active one.

    All of `help_text` but "?", which napari's own bindings do not know: `docks` has it.
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
    return key.replace("Ctrl", "Control").replace("+", "-")


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
