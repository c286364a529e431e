"""Names of the imaging planes and of the probes as text in napari."""

from collections.abc import Callable, Sequence

import numpy as np
from napari.layers import Points, Shapes

from omnimouse_widgets import palette
from omnimouse_widgets.views.field.layout import Field, Tile, name_places

ON_IMAGE = "#CCCCCC"
"""Colour of names on the dark mean image; others stand on the canvas of the theme."""


def label_layer(tiles: Sequence[Tile], name_of: Callable[[int], str]) -> Points:
    """Return the name of each plane as text in the upper left corner of its tile."""
    return _text_layer(_named_places(tiles, name_of, None), "lower_left", ON_IMAGE)


def text_layer(field: Field) -> Points:
    """Return the texts of a field of probes: their names, and depths."""
    return _text_layer(field.texts, "center", palette.EDGE)


def outline_layer(field: Field) -> Shapes:
    """Return the outlines of the probes."""
    return Shapes(
        list(field.outlines),
        shape_type="path",
        edge_width=0.003 * max(field.labels.shape),
        edge_color=palette.EDGE,
        opacity=1.0,
    )


def _text_layer(texts: Sequence[tuple[float, float, str]], anchor: str, colour: str) -> Points:
    return Points(
        np.array([(y, x) for y, x, _ in texts], float),
        size=1,
        face_color="transparent",
        border_color="transparent",
        features=_features(texts),
        text={
            "string": "{plane}",
            "size": 8,
            "color": colour,
            "anchor": anchor,
            "translation": np.zeros(2),
        },
    )


def name_planes(
    layer: Points,
    tiles: Sequence[Tile],
    name_of: Callable[[int], str],
    displayed: int | None,
) -> None:
    """Let the layer of `label_layer` name the displayed plane only; None for all."""
    layer.features = _features(_named_places(tiles, name_of, displayed))
    layer.refresh_text()


def _named_places(
    tiles: Sequence[Tile], name_of: Callable[[int], str], displayed: int | None
) -> list[tuple[float, float, str]]:
    names = [name_of(tile.plane) if displayed in (None, tile.plane) else "" for tile in tiles]
    return name_places(tiles, names)


def _features(texts: Sequence[tuple[float, float, str]]) -> dict[str, list[str]]:
    return {"plane": [text for _, _, text in texts]}
