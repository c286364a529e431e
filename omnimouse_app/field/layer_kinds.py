"""Layers of the field: neurons and their colours, mean image, areas, names of planes."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.utils.colormaps import CyclicLabelColormap
from napari.utils.notifications import show_warning

from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import BackgroundTask
from omnimouse_model.live.inference.engine import Execution
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Planes
from omnimouse_model.live.state import LiveState
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style.redraw import qt_post
from omnimouse_widgets.views.field.areas import AreaOutline, OutlinedAreas, outline_areas
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


# A function with an argument `layer` fills this layer instead of making one: napari makes and
# paints a new one in a tenth of a second.
def mean_layer(mean: np.ndarray, levels: tuple[float, float], layer: Image | None = None) -> Image:
    """Return the mean image as a grey image layer, with its black and its white value."""
    if layer is None:
        return Image(mean, colormap="gray", contrast_limits=levels)
    layer.data = mean
    layer.contrast_limits_range = layer.contrast_limits = levels
    return layer


def layer_of_neurons_without_pixels(
    session: Session, field: Field, layer: Points | None = None
) -> Points:
    """Return crosses at the positions of neurons without a pixel."""
    neurons = positioned_neurons_without_pixels(field)
    features = {"unit_id": session.units.names[neurons]}
    if layer is None:
        return Points(
            field.centres[neurons], size=4, symbol="cross", face_color="#8B919A", features=features
        )
    layer.data = field.centres[neurons]
    layer.features, layer.shown = features, True
    return layer


def positioned_neurons_without_pixels(field: Field) -> np.ndarray:
    """Return the neurons without a pixel that have a known position."""
    places = field.centres[field.without_pixels]
    return np.asarray(field.without_pixels[np.isfinite(places).all(axis=1)])


def neuron_layer(session: Session, field: Field, layer: NeuronLabels | None = None) -> NeuronLabels:
    """Return the neurons of a field as labels, without colours."""
    labels, features = np.asarray(field.labels), _features_of(session, field)
    if layer is None:
        return NeuronLabels(labels, opacity=1.0, features=features)
    layer.data, layer.features = labels, features
    return layer


def _features_of(session: Session, field: Field) -> dict[str, Any]:
    """Return the features table for napari, one row per label."""
    neurons = np.arange(field.n_neurons)
    units = session.units
    table = {"index": neurons + 1, "neuron": neurons, "unit_id": np.asarray(units.names)}
    if units.area is not None:
        table["area"] = np.asarray(units.area)
    depth = np.asarray(units.xyz_um)[:, 2]
    if np.isfinite(depth).any():
        table["depth_um"] = depth
    return table


ON_IMAGE = "#CCCCCC"
"""Colour of names on the dark mean image; others stand on the canvas of the theme."""


def label_layer(
    tiles: Sequence[Tile], name_of: Callable[[int], str], layer: Points | None = None
) -> Points:
    """Return the name of each plane as text in the upper left corner of its tile."""
    return _text_layer(_named_places(tiles, name_of, None), "lower_left", ON_IMAGE, layer)


def text_layer(field: Field, layer: Points | None = None) -> Points:
    """Return the texts of a field of probes: their names, and depths."""
    return _text_layer(field.texts, "center", palette.EDGE, layer)


def outline_layer(field: Field) -> Shapes:
    """Return the probes: dark, as a mean image is, so that white rims are seen on any canvas."""
    return Shapes(
        list(field.outlines),
        shape_type="polygon",
        face_color="black",
        edge_width=0.003 * max(field.labels.shape),
        edge_color=palette.EDGE,
        opacity=1.0,
    )


def _text_layer(
    texts: Sequence[tuple[float, float, str]], anchor: str, colour: str, layer: Points | None
) -> Points:
    places = np.array([(y, x) for y, x, _ in texts], float)
    if layer is not None:
        # Planes are often at the same places, with the same names.
        if not np.array_equal(layer.data, places):
            layer.data = places
        if layer.features.plane.tolist() != _features(texts)["plane"]:
            layer.features = _features(texts)
            layer.refresh_text()
        return layer
    return Points(
        places,
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
    layer: Points, tiles: Sequence[Tile], name_of: Callable[[int], str], displayed: int | None
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


# The fast path writes rows of the colour texture that napari's label shader reads
# (0.2-0.4 ms for any number of neurons and any field, against 6-13 ms for a new
# colormap). It uses private names of napari 0.9 and vispy 0.17; no other module uses
# them. After any error, the class uses the public path permanently.


logger = logging.getLogger(__name__)

_TEXTURE_SIDE = 256
"""napari's colour texture for uint16 labels is 256 x 256, row-major by label."""


class LabelColours:
    """Colour table of one Labels layer, and its transfer to the screen.

    `show` sends the rows that differ from the displayed ones. No other call is needed
    to keep the screen up to date, and a second identical call changes nothing.
    """

    def __init__(self, viewer: Any, layer: Labels, n_labels: int) -> None:
        self._viewer = viewer
        self._layer = layer
        self._n_labels = n_labels
        self._texture = np.zeros((_TEXTURE_SIDE**2, 4), np.float32)
        self.is_fast = True
        self.set_public()

    @property
    def rows(self) -> np.ndarray:
        """Displayed colours, float32 (n_labels, 4), label 1 first."""
        return self._texture[1 : self._n_labels + 1]

    def show(self, rows: np.ndarray) -> bool:
        """Show the colours; return False if they are displayed already."""
        # A row is two words of 8 bytes: to compare its four numbers takes ten times as long.
        first, second = (rows.view(np.uint64) != self.rows.view(np.uint64)).T
        changed = np.flatnonzero(first | second)
        if not len(changed):
            return False
        labels = changed + 1
        # Row 0 of the texture is the background label.
        self._texture[labels] = rows[changed]
        if self.is_fast:
            try:
                self._write_texture(labels)
            except Exception:
                # Another napari version may lack the private names. The public path is
                # slower but always available.
                logger.warning("Fast colours are off: napari differs", exc_info=True)
                self.is_fast = False
        if not self.is_fast:
            self.set_public()
        return True

    def set_public(self) -> None:
        """Set a new colormap: slow, public, and refreshes the thumbnail."""
        self._layer.colormap = CyclicLabelColormap(
            colors=self._texture[: self._n_labels + 1].copy()
        )

    def _write_texture(self, labels: np.ndarray) -> None:
        # The same numbers go into the colormap and its cache is dropped, so that any
        # rebuild by napari (3-D toggle, new data) makes the right texture (#7327).
        colormap: Any = self._layer.colormap
        colormap.colors[labels] = self._texture[labels]
        colormap._clear_cache()
        # Looked up afresh each time: a rebuild replaces the texture object.
        canvas = self._viewer.window._qt_viewer.canvas
        node = canvas.layer_to_visual[self._layer].node
        first, last = labels[0] // _TEXTURE_SIDE, labels[-1] // _TEXTURE_SIDE + 1
        grid = self._texture.reshape(_TEXTURE_SIDE, _TEXTURE_SIDE, 4)
        texture = node.shared_program["texture2D_values"]
        texture.set_data(grid[first:last], offset=(int(first), 0))
        node.update()


class AreaLayer:
    """Show and hide the outlines of the brain areas of one field.

    When a single imaging plane is shown, the outlines of the other planes are hidden.

    Parameters
    ----------
    state, colouring, planes
        The state says whether areas are shown; the visibility switch in napari's layer
        list changes that state. Areas are never shown in the 3-D view, where the switch
        has no effect on the state.
    add, is_in_viewer
        Add a layer with a role to the viewer; return whether a layer is still in the
        viewer (the user can delete it).
    """

    def __init__(
        self,
        state: LiveState,
        colouring: Colouring,
        planes: Planes,
        add: Callable[[Any, str], None],
        is_in_viewer: Callable[[Any], bool],
    ) -> None:
        self._state, self._colouring, self._planes = state, colouring, planes
        self._add, self._is_in_viewer = add, is_in_viewer
        self._field: Field | None = None
        # Computed outlines that have no layer yet.
        self._pending: OutlinedAreas | None = None
        self._outlines: list[AreaOutline] = []
        self.layer: Shapes | None = None
        self.task: BackgroundTask[tuple[Session, Field], OutlinedAreas] = BackgroundTask(
            outline_areas, self._receive, Execution(qt_post())
        )
        self.task.changed.connect(self._report_fault)

    def show(self, session: Session, field: Field) -> None:
        """Show or hide the areas as the state says; start the computation if needed."""
        state = self._state
        is_shown = state.areas_shown and not state.in_space
        if is_shown and self._pending is not None:
            self._make_layer(self._pending)
        if self.layer is not None:
            if is_shown and not self._is_in_viewer(self.layer):
                self._add(self.layer, "areas")
            # The state is the source here: without the blocker, this change would be
            # written back to the state as a user action.
            with self.layer.events.visible.blocker(self._toggled):
                self.layer.visible = is_shown
            self._show_plane(self.layer)
        elif is_shown and self._field is not field and session.units.area is not None:
            self._field = field
            self.task.start((session, field), "Outlining areas")

    def forget(self) -> None:
        """Stop the computation and drop the layer, because the field has changed."""
        self.task.stop()
        self.layer = self._field = self._pending = None
        self._outlines = []

    def close(self) -> None:
        """Stop the background task permanently."""
        self.task.close(0.0)

    def _receive(self, computed: OutlinedAreas) -> None:
        # The user may have opened another recording while the outlines were computed.
        if computed.field is self._field and computed.outlines:
            self._pending = computed
            self.show(computed.session, computed.field)

    def _make_layer(self, computed: OutlinedAreas) -> None:
        self._pending, self._outlines = None, computed.outlines
        self.layer = _layer(computed)
        self._add(self.layer, "areas")
        self.layer.events.visible.connect(self._toggled)

    def _show_plane(self, layer: Shapes) -> None:
        """Show the outlines and names of the displayed planes only."""
        plane = self._planes.number
        # Hidden outlines stay in the layer with alpha 0, so that shapes and `_outlines`
        # keep the same order.
        is_visible = np.array([plane in (None, outline.plane) for outline in self._outlines])
        colours = np.array(layer.edge_color)
        if len(colours) == len(is_visible) and (colours[:, 3] != is_visible).any():
            colours[:, 3] = is_visible
            layer.edge_color = colours
            layer.features = _names(self._outlines, is_visible)
            layer.refresh_text()

    def _toggled(self) -> None:
        """Copy the visibility of the layer to the state."""
        if self.layer is not None and not self._state.in_space:
            self._colouring.outline_areas(self.layer.visible)

    def _report_fault(self) -> None:
        if self.task.error is not None:
            show_warning(f"OmniMouse: areas are not outlined: {self.task.error}")


def _layer(computed: OutlinedAreas) -> Shapes:
    """Return a layer of named outlines, each in the colour of its area."""
    outlines = computed.outlines
    # On probes, units stand in the middle of an area.
    anchor = "upper_left" if computed.field.outlines else "center"
    width = max(1.0, 0.003 * max(computed.field.labels.shape))
    return Shapes(
        [_even_steps(outline.yx) for outline in outlines],
        shape_type="path",
        edge_width=width,
        edge_color=computed.colours,
        opacity=1.0,
        features=_names(outlines, np.ones(len(outlines), bool)),
        text={"string": "{area}", "size": 11, "color": "white", "anchor": anchor},
    )


def _even_steps(path: np.ndarray, count: int = 300) -> np.ndarray:
    """Return a closed path with further points, so that they lie at even steps.

    napari centres a text on the mean of the points, which is near the side with most.
    """
    along = np.r_[0.0, np.cumsum(np.hypot(*np.diff(path, axis=0).T))]
    # The points of the path stay, and with them its corners.
    at = np.union1d(along, np.linspace(0.0, along[-1], count))
    return np.stack([np.interp(at, along, axis) for axis in path.T], axis=1)


def _names(outlines: list[AreaOutline], is_visible: np.ndarray) -> dict[str, Any]:
    """Return the text of each outline; "" for outlines without text."""
    names = [
        outline.area if outline.is_named and shows else ""
        for outline, shows in zip(outlines, is_visible, strict=True)
    ]
    return {"area": names}
