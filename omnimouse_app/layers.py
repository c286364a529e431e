"""The live state as napari layers: the mean image, the neurons, and nothing more.

Layers are found by a token in their metadata, so renaming one breaks nothing. All
drawing starts from the state alone and happens at most once in 8 ms, however many
strokes, answers and selections came in between.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, QTimer, Signal

from omnimouse_app.areas import area_outlines
from omnimouse_app.brush import Brush
from omnimouse_app.colours import (
    LabelColours,
    label_rows,
    scale_colours,
    score_colours,
    state_colours,
)
from omnimouse_app.field import Field, neurons_at, session_field
from omnimouse_app.hover import describe
from omnimouse_model.data.session import Session, Units
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.results import Results
from omnimouse_widgets import palette

TOKEN = "omnimouse"
"""Key in `layer.metadata`; its value says which of our layers it is."""

_FRAME_MS = 8
_SLOW_FRAME_MS = 50
_SETTLED_MS = 400


class NeuronLabels(Labels):
    """A Labels layer that answers the pointer in the words of the recording."""

    describe_at: Callable[[float, float], str] | None = None

    def get_status(self, *args: Any, **kwargs: Any) -> Any:
        """What the status bar says: the neuron under the pointer, if there is one."""
        position = args[0] if args else kwargs.get("position")
        if self.describe_at is None or position is None:
            return super().get_status(*args, **kwargs)
        y, x = self.world_to_data(position)[-2:]
        return self.describe_at(float(y), float(x)) or f"field · y {y:.0f} · x {x:.0f}"

    @property
    def _type_string(self) -> str:
        # napari takes the kind of layer from the class name when saving.
        return "labels"


class FieldLayers(QObject):
    """Keeps the layers of one viewer in step with one controller.

    Parameters
    ----------
    viewer
        The napari viewer (or the proxy a plugin is given).
    controller
        Whose state is shown, and whom strokes are told to.
    brush
        What works on the layer of neurons.
    parent
        What the layers end with.
    """

    layer_made = Signal(object)
    """The new layer of neurons, whenever a session gets one."""

    def __init__(
        self, viewer: Any, controller: Controller, brush: Brush, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._controller = controller
        self._brush = brush
        self._session: Session | None = None
        self.field: Field | None = None
        self.mean: Image | None = None
        self.neurons: NeuronLabels | None = None
        self.lost: Points | None = None
        self.colours: LabelColours | None = None
        self.areas: Shapes | None = None
        self._lasso: Shapes | None = None
        self._faded: list[tuple[Layer, float]] = []
        self._fitted: tuple[float, ...] = ()
        self._is_thumbnail_old = False
        self._frame = _single_shot(self, _FRAME_MS, self.draw)
        self._settled = _single_shot(self, _SETTLED_MS, self._catch_up)
        self._links = self._connect()

    # -- connections --------------------------------------------------------------
    def _connect(self) -> list[tuple[Any, Callable[..., None]]]:
        state, results = self._controller.state.events, self._controller.results.events
        links: list[tuple[Any, Callable[..., None]]] = [
            (state.session, self.show_session),
            (state.areas_shown, self._show_areas),
            (self._brush.outline_changed, self._show_lasso),
        ]
        links += [
            (signal, self.ask_to_draw)
            for signal in (
                state.mask,
                state.active_span,
                state.colour_by,
                state.selection,
                results.scores,
                results.population_freshness,
                self._controller.colouring.changed,
            )
        ]
        for signal, slot in links:
            signal.connect(slot)
        return links

    def close(self) -> None:
        """Drop every connection and the viewer; the layers stay as plain layers."""
        self._frame.stop()
        self._settled.stop()
        self._brush.detach()
        while self._links:
            signal, slot = self._links.pop()
            signal.disconnect(slot, missing_ok=True)
        if self.neurons is not None:
            self.neurons.describe_at = None
        self.colours = None
        self._viewer = None

    def ask_to_draw(self) -> None:
        """Draw from state at the next frame."""
        if not self._frame.isActive():
            self._frame.start()

    # -- a session's layers -------------------------------------------------------
    def show_session(self) -> None:
        """Make the layers of the session, where it is another than before."""
        session = self._controller.state.session
        if session is self._session:
            return
        self._session = session
        self._remove_layers()
        if session is None:
            return
        self.field = session_field(session)
        if self.field.note:
            show_info(f"OmniMouse: {self.field.note}")
        self._add_layers(session, self.field)
        self.draw()

    def _remove_layers(self) -> None:
        self._brush.detach()
        for layer in our_layers(self._viewer):
            self._viewer.layers.remove(layer)
        self.field = self.mean = self.neurons = self.lost = self.colours = None
        self.areas = None

    def _add_layers(self, session: Session, field: Field) -> None:
        if field.mean is not None:
            self.mean = self._add(_mean_layer(field.mean), "mean image")
        if len(field.lost):
            self.lost = self._add(_lost_layer(field), "neurons without pixels")
        self.neurons = NeuronLabels(
            np.asarray(field.labels),
            name="OmniMouse · neurons",
            opacity=1.0,
            metadata={TOKEN: "neurons"},
            features=_features(session, field),
        )
        self._viewer.add_layer(self.neurons)
        self.neurons.editable = False
        self.neurons.describe_at = self.describe_at
        self.colours = LabelColours(self._viewer, self.neurons, field.n_labels)
        self._viewer.layers.selection.active = self.neurons
        self._brush.attach(self.neurons, field)
        self.layer_made.emit(self.neurons)
        self._show_areas()
        self.show_whole_field()

    def show_whole_field(self) -> None:
        """Zoom so that every neuron is in view."""
        if self.field is not None:
            self._viewer.reset_view()
            self._fitted = _view_of(self._viewer)

    def keep_fitted(self) -> None:
        """After the canvas changed size: fit again, unless the user chose the view."""
        if self.field is not None and self._fitted == _view_of(self._viewer):
            self.show_whole_field()

    def _add(self, layer: Any, role: str) -> Any:
        layer.name = f"OmniMouse · {role}"
        layer.metadata[TOKEN] = role
        self._viewer.add_layer(layer)
        return layer

    # -- drawing ------------------------------------------------------------------
    def draw(self) -> None:
        """Colour the neurons as the state says; cheap when nothing changed."""
        self._frame.stop()
        if self.colours is None or self.field is None:
            return
        rows = self._rows(self.field)
        if rows is None:
            return
        self._is_thumbnail_old |= self.colours.show(rows)
        # The public way takes 6-13 ms: at most 20 a second then.
        self._frame.setInterval(_FRAME_MS if self.colours.is_fast else _SLOW_FRAME_MS)
        self._settled.start()

    def _rows(self, field: Field) -> np.ndarray | None:
        state, results = self._controller.state, self._controller.results
        if state.mask is None or state.mask.n_neurons != field.n_neurons:
            return None
        states = state.mask.state_in(state.active_span)
        if state.colour_by == "score":
            scores = _scores(results, field.n_neurons)
            old = results.is_population_old
            core, rim = score_colours(scores, states, is_old=old)
        else:
            most = state.mask.cells[slice(*state.active_span)].max(axis=0, initial=0)
            if (scale := self._controller.colouring.scale) is not None:
                core, rim = scale_colours(scale, states, most, has_rims=field.has_rims)
            else:
                core, rim = state_colours(states, most)
        selected = np.asarray(state.selection, np.int64)
        return label_rows(core, rim, selected, has_rims=field.has_rims)

    def _catch_up(self) -> None:
        """Let layer list and status bar catch up, once the hand has rested."""
        if self.colours is None:
            return
        if self._is_thumbnail_old:
            self._is_thumbnail_old = False
            self.colours.set_public()
        self._viewer.update_status_from_cursor()

    def _show_areas(self) -> None:
        """Outline the areas, found when they are first asked for."""
        is_shown = self._controller.state.areas_shown
        if self.areas is not None and self.areas in self._viewer.layers:
            self.areas.visible = is_shown
        elif is_shown and self.field is not None and self._session is not None:
            layer = _area_layer(self._session.units, self.field)
            if layer is None:
                return
            self.areas = self._add(layer, "areas")
            self.areas.editable = False
            self.areas.events.visible.connect(self._areas_toggled)
            self._viewer.layers.selection.active = self.neurons

    def _areas_toggled(self) -> None:
        """The eye of the layer list is the switch of the panel."""
        if self.areas is not None:
            self._controller.colouring.outline_areas(self.areas.visible)

    def _show_lasso(self, outline: np.ndarray) -> None:
        if len(outline) < 2:
            if self._lasso is not None and self._lasso in self._viewer.layers:
                self._viewer.layers.remove(self._lasso)
            self._lasso = None
            return
        if self._lasso is None:
            self._lasso = self._add(Shapes(ndim=2), "lasso")
            self._viewer.layers.selection.active = self.neurons
        self._lasso.data = []
        self._lasso.add_paths([outline], edge_color="white", edge_width=1.5)

    # -- the pointer --------------------------------------------------------------
    def describe_at(self, y: float, x: float) -> str:
        """The line of the status bar for a place on the field, "" for none."""
        if self.field is None or self._session is None:
            return ""
        neurons = neurons_at(self.field, y, x)
        if not len(neurons):
            return ""
        return describe(self._controller, int(neurons[0]), others=len(neurons) - 1)

    def show_mean_alone(self, alone: bool) -> None:
        """Fade the neurons out while the mean image is looked at, then back in."""
        if alone:
            shown = [x for x in (self.neurons, self.lost) if x is not None]
            self._faded = self._faded or [(layer, layer.opacity) for layer in shown]
        for layer, opacity in self._faded:
            layer.opacity = 0.0 if alone else opacity
        if not alone:
            self._faded = []


def _scores(results: Results, count: int) -> np.ndarray:
    """Scores of all neurons; NaN while none are known."""
    if results.scores is None or len(results.scores) != count:
        return np.full(count, np.nan, np.float32)
    return results.scores


def _view_of(viewer: Any) -> tuple[float, ...]:
    return (*viewer.scene.camera.center, viewer.scene.camera.zoom)


def our_layers(viewer: Any) -> list[Layer]:
    """The layers of the viewer that are ours, whatever they are called now."""
    return [layer for layer in viewer.layers if TOKEN in layer.metadata]


def _single_shot(parent: QObject, interval: int, slot: Callable[[], None]) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(interval)
    timer.timeout.connect(slot)
    return timer


def _mean_layer(mean: np.ndarray) -> Image:
    some = mean[:: max(1, mean.shape[0] // 512), :: max(1, mean.shape[1] // 512)]
    low, high = np.percentile(some, [1, 99.5])
    return Image(
        mean,
        colormap="gray",
        # Headroom, so that the neurons' colours are the brightest things there.
        contrast_limits=(float(low), float(high + 0.15 * (high - low) + 1e-6)),
    )


def _area_layer(units: Units, field: Field) -> Shapes | None:
    """Outlines with a name each in the area's own colour; None where none is known."""
    if units.area is None:
        return None
    area = np.asarray(units.area).astype(str)
    outlines = area_outlines(field.centres, area, np.asarray(units.plane))
    if not outlines:
        return None
    names = sorted({*area.tolist()} - {""})
    table = palette.area_table(len(names)) / 255
    colours = table[[names.index(outline.area) for outline in outlines]]
    width = max(1.0, 0.003 * max(field.labels.shape))
    words = [outline.area if outline.is_named else "" for outline in outlines]
    return Shapes(
        [outline.yx for outline in outlines],
        shape_type="path",
        edge_width=width,
        edge_color=colours,
        opacity=1.0,
        features=pd.DataFrame({"area": words}),
        text={"string": "{area}", "size": 11, "color": "white"},
    )


def _lost_layer(field: Field) -> Points:
    places = field.centres[field.lost]
    known = np.isfinite(places).all(axis=1)
    return Points(
        places[known],
        size=4,
        symbol="cross",
        face_color="#8B919A",
        features=pd.DataFrame({"neuron": field.lost[known]}),
    )


def _features(session: Session, field: Field) -> pd.DataFrame:
    """What napari's own features table shows, one row per label."""
    neurons = np.arange(field.n_neurons)
    table = {"index": neurons + 1, "neuron": neurons}
    units = session.units
    if units.area is not None:
        table["area"] = np.asarray(units.area)
    depth = np.asarray(units.xyz_um)[:, 2]
    if np.isfinite(depth).any():
        table["depth_um"] = depth
    return pd.DataFrame(table)
