"""Constructors of the field's layers: neurons, mean image, names of planes and probes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points, Shapes

from omnimouse_model.data.session import Session
from omnimouse_widgets import palette
from omnimouse_widgets.views.field.colours import mean_levels
from omnimouse_widgets.views.field.layout import Field, Tile, name_places


def status_of(text: str) -> dict[str, str]:
    """Return the status of a layer that shows one text.

    napari shows `coordinates` if one layer is selected, else `coords` and `value`.
    """
    names = ("layer_name", "layer_base", "source_type", "plugin", "coords")
    return dict.fromkeys(names, "") | {"coordinates": text, "value": text}


class NeuronLabels(Labels):
    """Labels layer that describes the neuron under the pointer in the status bar."""

    describe_at: Callable[[float, float], str] | None = None

    def get_status(self, *args: Any, **kwargs: Any) -> Any:
        """Return the status: the neuron under the pointer, or the position."""
        position = args[0] if args else kwargs.get("position")
        # The status function is removed when the window closes; the layer then behaves
        # as a plain Labels layer.
        if self.describe_at is None or position is None:
            return super().get_status(*args, **kwargs)
        y, x = self.world_to_data(position)[-2:]
        place = f"field · y {y:z.0f} · x {x:z.0f}"
        return status_of(self.describe_at(float(y), float(x)) or place)

    def new_colormap(self, seed: int | None = None) -> None:
        """Ignore *Shuffle colors* of napari: colours show states or scores."""

    @property
    def _type_string(self) -> str:
        # napari takes the kind of layer from the class name when it saves a layer.
        return "labels"


def lock(layer: Layer) -> None:
    """Turn off napari's editing tools on a layer, for as long as it exists."""

    def turn_off() -> None:
        layer.editable = False

    # napari allows the editing of points and shapes again after a 3-D view.
    layer.events.editable.connect(turn_off)
    turn_off()


def mean_layer(mean: np.ndarray) -> Image:
    """Return the mean image as a grey image layer."""
    return Image(mean, colormap="gray", contrast_limits=mean_levels(mean))


def layer_of_neurons_without_pixels(session: Session, field: Field) -> Points:
    """Return crosses at the positions of neurons without a pixel."""
    neurons = positioned_neurons_without_pixels(field)
    return Points(
        field.centres[neurons],
        size=4,
        symbol="cross",
        face_color="#8B919A",
        features={"neuron": session.units.names[neurons]},
    )


def positioned_neurons_without_pixels(field: Field) -> np.ndarray:
    """Return the neurons without a pixel that have a known position."""
    places = field.centres[field.without_pixels]
    return np.asarray(field.without_pixels[np.isfinite(places).all(axis=1)])


def features_of(session: Session, field: Field) -> dict[str, Any]:
    """Return the features table for napari, one row per label."""
    neurons = np.arange(field.n_neurons)
    units = session.units
    table = {"index": neurons + 1, "neuron": np.asarray(units.names)}
    if units.area is not None:
        table["area"] = np.asarray(units.area)
    depth = np.asarray(units.xyz_um)[:, 2]
    if np.isfinite(depth).any():
        table["depth_um"] = depth
    return table


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
