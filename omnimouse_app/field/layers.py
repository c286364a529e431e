"""The live state as napari layers: mean image, neurons and their additions.

Layers are identified by a token in their metadata, so the user can rename them. All
drawing depends on the state alone and happens at most once in 8 ms, for any number of
strokes, results and selections in between.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, QTimer, Signal

from omnimouse_app.field import layer_kinds
from omnimouse_app.field.brush import Brush
from omnimouse_app.field.points_3d import SpaceView
from omnimouse_app.field.scale_bar import show_scale
from omnimouse_model.data.session import Session
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Planes
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.views.field import layout
from omnimouse_widgets.views.field.colours import core_and_rim, flat_rows
from omnimouse_widgets.views.field.text import describe

TOKEN = "omnimouse"
"""Key in `layer.metadata`; its value is the role of the layer."""
# Roles of layers.
MEAN = "mean image"
PLANES = "planes"
WITHOUT_PIXELS = "neurons without pixels"
NEURONS = "neurons"
RESTORE_KEY = "Shift+R"
"""Key that adds deleted layers again; no layer of napari has it."""

MakeLayer = Callable[[Any], Any]
"""Makes a layer, or fills the one that it is given, which may be None."""

# Milliseconds: least time between two drawings, the same while drawing is slow, and the
# pause after which thumbnail and status bar are updated.
_FRAME_MS = 8
_SLOW_FRAME_MS = 50
_SETTLED_MS = 400


class FieldLayers(QObject, OfController):
    """Keep the layers of one viewer up to date with one live state.

    Parameters
    ----------
    viewer
        The napari viewer (or the proxy that a plugin receives).
    state, results, colouring, planes
        What is drawn: mask, scores, colours, and the planes shown.
    brush
        Pointer tools that act on the neuron layer.
    parent
        Qt parent; the layers end with it.

    Attributes
    ----------
    by_role
        Layers of the field, the lowest first; `restore` adds those that were deleted.
    """

    layer_made = Signal(object)
    """Emitted with the neuron layer when a session is shown."""

    def __init__(
        self,
        viewer: Any,
        state: LiveState,
        results: Results,
        colouring: Colouring,
        planes: Planes,
        brush: Brush,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._state, self._results, self._colouring = state, results, colouring
        self._planes = planes
        self._brush = brush
        self._session: Session | None = None
        self.field: layout.Field | None = None
        self.colours: layer_kinds.LabelColours | None = None
        self.areas = layer_kinds.AreaLayer(
            state,
            colouring,
            planes,
            self._add_for_display,
            lambda layer: layer in self._viewer.layers,
        )
        self.space = SpaceView(
            viewer, brush.select, self._describe, lambda: planes.show_in_space(False)
        )
        self.by_role: dict[str, Any] = {}
        self._faded: list[tuple[Layer, float]] = []
        self._fitted: tuple[float, ...] = ()
        self._is_thumbnail_old = False
        self._frame = _single_shot(self, _FRAME_MS, self.draw)
        self._settled = _single_shot(self, _SETTLED_MS, self._catch_up)
        # Postponed: all layers that are deleted together give one message.
        self._deleted = _single_shot(self, 0, self._report_deleted)
        self._links = self._connect()

    # -- connections --------------------------------------------------------------
    def _connect(self) -> list[tuple[Any, Callable[..., None]]]:
        state, results = self._state.events, self._results.events
        links: list[tuple[Any, Callable[..., None]]] = [
            (state.session, self.show_session),
            (state.areas_shown, self._show_areas),
            (state.plane_shown, self._show_plane),
            (state.in_space, self._show_space),
        ]
        self._viewer.layers.events.removed.connect(self._note_removed)
        signals = (state.mask, state.active_span, state.colour_by, state.selection,
                 results.neuron_scores, results.population_freshness,
                 self._colouring.changed)  # fmt: skip
        links += [(signal, self.request_drawing) for signal in signals]
        for signal, slot in links:
            signal.connect(slot)
        return links

    def close(self) -> None:
        """Disconnect everything and drop the viewer; its layers become plain layers."""
        for timer in (self._frame, self._settled, self._deleted):
            timer.stop()
        self._brush.detach()
        self.areas.close()
        while self._links:
            signal, slot = self._links.pop()
            signal.disconnect(slot, missing_ok=True)
        self._viewer.layers.events.removed.disconnect(self._note_removed)
        if self.neurons is not None:
            self.neurons.describe_at = None
        self.colours = None
        self._viewer = None

    def request_drawing(self) -> None:
        """Schedule a drawing from the state at the next frame."""
        if not self._frame.isActive():
            self._frame.start()

    # -- a session's layers -------------------------------------------------------
    def show_session(self) -> None:
        """Make the layers of the session, unless they exist already."""
        session = self._state.session
        # Compare identity, not the id: the same recording can be opened again with
        # other options.
        if session is self._session:
            return
        self._session = session
        self._brush.detach()
        self.space.leave()
        if session is None:
            self.field = None
            self._show_scale()
            self._replace_layers({})
            return
        self.field = field = layout.field_of(session)
        if field.note:
            show_info(f"OmniMouse: {field.note}")
        self._replace_layers(self._parts(session, field))
        assert self.neurons is not None
        self.neurons.describe_at = self.describe_at
        self.colours = layer_kinds.LabelColours(self._viewer, self.neurons, field.n_labels)
        self._activate()
        self._brush.attach(self.neurons, field)
        self.layer_made.emit(self.neurons)
        self._show_areas()
        self.show_whole_field()
        self._show_scale()
        self.draw()

    def _show_scale(self) -> None:
        """Show the scale of the field; the axes of the 3-D view have their own."""
        field, session = self.field, self._session
        if field is None or session is None or self.space.is_shown:
            show_scale(self._viewer, None)
        else:
            show_scale(self._viewer, layout.um_per_pixel(session, field))

    def _parts(self, session: Session, field: layout.Field) -> dict[str, MakeLayer]:
        """Return what makes each layer of a field, or fills it again, the lowest first."""
        parts: dict[str, MakeLayer] = {}
        if field.mean is not None:
            parts[MEAN] = partial(layer_kinds.mean_layer, field.mean, field.levels)
        # Below the neurons, to leave their colours visible.
        if field.texts:
            parts["outlines of probes"] = lambda before: layer_kinds.outline_layer(field)
            parts["probes"] = partial(layer_kinds.text_layer, field)
        elif field.tiles:
            parts[PLANES] = partial(layer_kinds.label_layer, field.tiles, self._planes.label_of)
        if len(layer_kinds.positioned_neurons_without_pixels(field)):
            parts[WITHOUT_PIXELS] = partial(
                layer_kinds.layer_of_neurons_without_pixels, session, field
            )
        parts[NEURONS] = partial(layer_kinds.neuron_layer, session, field)
        return parts

    def _replace_layers(self, parts: dict[str, MakeLayer]) -> None:
        """Show the layers of another field; a layer that both have gets other data.

        To remove a layer, to make it and to paint it first takes napari a tenth of a
        second each.
        """
        layers = self._viewer.layers
        before = {role: layer for role, layer in self.by_role.items() if layer in layers}
        self.areas.forget()
        self.colours, self._faded = None, []
        self.by_role = {role: make(before.get(role)) for role, make in parts.items()}
        kept = [layer for layer in self.by_role.values() if layer in layers]
        # Those of this plugin, independent of their names.
        gone = [one for one in layers if TOKEN in one.metadata and one not in kept]
        at = 0 if kept else len(layers) - len(gone)
        # After each removal, napari searches for garbage and draws the others again; after
        # a batch only once. Without a layer to remove, a batch would be slower.
        with layers.batched_update() if gone else nullcontext():
            for layer in gone:
                layers.remove(layer)
            for role, layer in self.by_role.items():
                if layer not in kept:
                    self._add(at, layer, role)
                at = layers.index(layer) + 1
        for layer in kept:
            # As in a new layer; what else the user has set stays. napari would also draw a
            # layer again whose value is the same.
            for name, value in (("visible", True), ("opacity", 1.0)):
                if getattr(layer, name) != value:
                    setattr(layer, name, value)

    @property
    def mean(self) -> Image | None:
        """Layer of the mean image, None without one."""
        return self.by_role.get(MEAN)

    @property
    def neurons(self) -> layer_kinds.NeuronLabels | None:
        """Layer of the neurons, None without a session."""
        return self.by_role.get(NEURONS)

    def show_whole_field(self) -> None:
        """Zoom to the whole field, or to the plane that is shown alone."""
        if self.field is None or self.space.is_shown:
            return
        self._viewer.reset_view()
        tile = layout.tile_of(self.field.tiles, self._planes.number)
        if tile is not None:
            camera = self._viewer.scene.camera
            camera.center = (*camera.center[:-2], *tile.centre)
            camera.zoom = tile.zoom_in(self._viewer.canvas.size)
        # `keep_fitted` compares this view with the current one.
        self._fitted = _view_of(self._viewer)

    def _show_plane(self) -> None:
        """Show one plane without the others, or all planes."""
        planes, field = self._planes, self.field
        if field is None:
            return
        tile = layout.tile_of(field.tiles, planes.number)
        if self.mean is not None and field.mean is not None:
            self.mean.data = field.mean if tile is None else tile.crop(field.mean)
        if (names := self.by_role.get(PLANES)) is not None:
            layer_kinds.name_planes(names, field.tiles, planes.label_of, planes.number)
        if (crosses := self.by_role.get(WITHOUT_PIXELS)) is not None:
            displayed = planes.is_visible
            neurons = layer_kinds.positioned_neurons_without_pixels(field)
            crosses.shown = True if displayed is None else displayed[neurons]
        self._show_areas()
        self.show_whole_field()
        self.request_drawing()

    def keep_fitted(self) -> None:
        """Fit the view to a resized canvas, unless the user has chosen the view."""
        # The camera has not moved since the last fit, so the user has not panned or
        # zoomed.
        if self._fitted == _view_of(self._viewer):
            self.show_whole_field()

    def _add(self, at: int, layer: Any, role: str) -> None:
        layer.name = f"OmniMouse · {role}"
        layer.metadata[TOKEN] = role
        self._viewer.layers.insert(at, layer)
        layer_kinds.lock(layer)

    # -- deleted layers -----------------------------------------------------------
    def restore(self) -> None:
        """Add the layers that the user has deleted again, each at its place."""
        layers, at = self._viewer.layers, 0
        in_space = [self.space.layer, self.space.axes]
        for layer in [*self.by_role.values(), *filter(None, in_space)]:
            if layer not in layers:
                layers.insert(at, layer)
                # The 3-D view hides the field; a layer deleted there is still hidden.
                layer.visible = layer in in_space or not self.space.is_shown
            at = layers.index(layer) + 1
        self._activate()
        self._show_areas()
        self.draw()

    def _note_removed(self) -> None:
        self._deleted.start()

    def _report_deleted(self) -> None:
        """Say how a layer returns that the user has deleted."""
        layers, areas = self._viewer.layers, self.areas.layer
        if any(layer not in layers for layer in self.by_role.values()):
            self._viewer.help = f"OmniMouse layer deleted · {RESTORE_KEY}: restore it"
        # The next change of plane would bring outlines back that the state shows.
        if areas is not None and areas.visible and areas not in layers:
            self._colouring.outline_areas(False)
            self._viewer.help = "outlines of areas deleted · A: show them"

    def _activate(self) -> None:
        """Make the neuron layer active, unless the user has deleted it."""
        # Of all layers, napari sends pointer and key events to the active one only.
        layer = self.space.layer or self.neurons
        if layer in self._viewer.layers:
            self._viewer.layers.selection.active = layer

    def _show_space(self) -> None:
        """Switch to the 3-D view of the neurons, or back to the field."""
        in_space, session = self._state.in_space, self._session
        if session is None or in_space == self.space.is_shown:
            return
        if in_space:
            self._show_areas()
            layer = self.space.enter(session)
            layer.name = "OmniMouse · neurons in 3-D"
            layer.metadata[TOKEN] = "neurons in space"
            if self.space.axes is not None:
                self.space.axes.metadata[TOKEN] = "axes"
            self.layer_made.emit(layer)
            self._show_scale()
            self.draw()
        else:
            self.space.leave()
            self._show_areas()
            self.keep_fitted()
            self._show_scale()

    def _add_for_display(self, layer: Any, role: str) -> None:
        """Add a layer for display only; the neuron layer stays active."""
        self._add(len(self._viewer.layers), layer, role)
        self._activate()

    # -- drawing ------------------------------------------------------------------
    def draw(self) -> None:
        """Colour the neurons as the state says; cheap without changes."""
        self._frame.stop()
        if self.colours is None or self.field is None:
            return
        colours = core_and_rim(self._state, self._results, self._colouring, self.field)
        if colours is None:
            return
        selected = np.asarray(self._state.selection, np.int64)
        self.space.colour(*colours, selected, self._planes.is_visible)
        if self.neurons not in self._viewer.layers:
            return  # deleted: there is nothing on screen to colour
        rows = flat_rows(self._state, self._planes, self.field, *colours)
        # The fast path does not update the thumbnail; `_catch_up` does so later.
        self._is_thumbnail_old |= self.colours.show(rows)
        # The public path takes 6-13 ms and 3-D points take 40 ms: at most 20 drawings
        # per second in these cases.
        is_fast = self.colours.is_fast and not self.space.is_shown
        self._frame.setInterval(_FRAME_MS if is_fast else _SLOW_FRAME_MS)
        self._settled.start()

    def _catch_up(self) -> None:
        """Update thumbnail and status bar after a pause without drawing."""
        if self.colours is None or self.neurons not in self._viewer.layers:
            return
        if self._is_thumbnail_old:
            self._is_thumbnail_old = False
            self.colours.set_public()
        self._viewer.update_status_from_cursor()

    def _show_areas(self) -> None:
        if self.field is not None and self._session is not None:
            self.areas.show(self._session, self.field)

    # -- the pointer --------------------------------------------------------------
    def describe_at(self, y: float, x: float) -> str:
        """Return the status bar text for a position on the field, "" for none."""
        if self.field is None or self._session is not self._state.session:
            return ""
        neurons = self._planes.visible_among(layout.neurons_at(self.field, y, x))
        if not len(neurons):
            return ""
        return self._describe(int(neurons[0]), len(neurons) - 1)

    def _describe(self, neuron: int, others: int = 0) -> str:
        # While a recording opens, napari asks for the neuron under the pointer in layers
        # that are still those of the recording before, which may have had more neurons.
        if self._session is not self._state.session:
            return ""
        return describe(self._state, self._results, neuron, others=others)

    def show_mean_alone(self, alone: bool) -> None:
        """Hide the neurons while the key for the mean image is held, then show them."""
        if alone:
            layers = [self.by_role[r] for r in (NEURONS, WITHOUT_PIXELS) if r in self.by_role]
            # Key repeat calls this again: keep the opacities from before the first
            # call.
            self._faded = self._faded or [(layer, layer.opacity) for layer in layers]
        for layer, opacity in self._faded:
            layer.opacity = 0.0 if alone else opacity
        if not alone:
            self._faded = []


def _view_of(viewer: Any) -> tuple[float, ...]:
    return (*viewer.scene.camera.center, viewer.scene.camera.zoom)


def _single_shot(parent: QObject, interval: int, slot: Callable[[], None]) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(interval)
    timer.timeout.connect(slot)
    return timer
