"""The keys of the field, bound on our layer alone: nothing else of napari changes."""

from collections.abc import Callable, Generator
from typing import Any

from napari.layers import Labels

from omnimouse_app.brush import Brush
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets.qt.keys import toggle_colour

KEYS: dict[str, str] = {
    "1": "paint visible",
    "2": "paint hidden",
    "3": "paint target",
    "P": "brush on or off",
    "L": "lasso on or off",
    "[ ]": "brush smaller, larger",
    "K": "play or pause",
    ", .": "one frame back, on",
    "C": "colour by state or by score",
    "H": "held: the mean image alone",
    "Space": "held: drag to pan",
    "Ctrl-click": "select the neuron, with Shift add it or take it out",
    "Alt-drag": "size of the brush",
    "Ctrl+Z": "undo",
    "Ctrl+Shift+Z": "redo",
}
"""What the keys do, as the command *Show the keys* lists them."""


def bind_keys(
    layer: Labels,
    controller: Controller,
    brush: Brush,
    *,
    play: Callable[[], None],
    show_mean_alone: Callable[[bool], None],
) -> None:
    """Bind the keys of `KEYS` on a layer; they act while it is the active layer."""
    strokes: dict[str, Callable[[], None]] = {
        "1": lambda: _paint_with(controller, brush, VISIBLE),
        "2": lambda: _paint_with(controller, brush, HIDDEN),
        "3": lambda: _paint_with(controller, brush, TARGET),
        "P": lambda: brush.toggle("brush"),
        "L": lambda: brush.toggle("lasso"),
        "[": brush.shrink,
        "]": brush.grow,
        "K": play,
        ",": lambda: controller.step_cursor(-1),
        ".": lambda: controller.step_cursor(1),
        "C": lambda: toggle_colour(controller),
        "Control-Z": controller.undo,
        "Control-Shift-Z": controller.redo,
    }
    for key, action in strokes.items():
        layer.bind_key(key, _on_press(action), overwrite=True)
    layer.bind_key("Space", _while_held(brush.pan), overwrite=True)
    layer.bind_key("H", _while_held(show_mean_alone), overwrite=True)


def _paint_with(controller: Controller, brush: Brush, code: int) -> None:
    controller.set_brush(code)
    if brush.tool == "select":
        brush.tool = "brush"


def _on_press(action: Callable[[], None]) -> Callable[[Any], None]:
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
