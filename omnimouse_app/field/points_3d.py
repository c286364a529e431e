"""The neurons at their positions in the cortex, as 3-D points in napari.

The layers of the field are hidden meanwhile, and restored afterwards.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Layer, Points, Shapes
from qtpy.QtCore import QTimer

from omnimouse_app.field.brush import is_clicked
from omnimouse_app.field.layer_kinds import lock, status_of
from omnimouse_model.data.session import Session
from omnimouse_widgets import palette
from omnimouse_widgets.views.field.colours import SELECTED_RIM

_VIEW_DIRECTION = (0.5, -0.85, 0.2)
"""Direction of view: down into the cortex and obliquely, as (depth, y, x)."""
_UP = (-1.0, 0.0, 0.0)
_SOMA_UM = 12.0
_MIN_SIZE = 0.012
"""Least point size as a share of the longest side: visible on a large field."""


class NeuronPoints(Points):
    """Points layer that describes the neuron under the pointer in the status bar."""

    describe: Callable[[int], str] | None = None

    def get_status(self, *args: Any, **kwargs: Any) -> Any:
        """Return the status: the neuron under the pointer, or "cortex"."""
        position = args[0] if args else kwargs.pop("position", None)
        if self.describe is None or position is None:
            return super().get_status(position, **kwargs)
        # napari passes more arguments to `get_status` than `get_value` takes.
        names = ("view_direction", "dims_displayed", "world")
        view = {name: kwargs[name] for name in names if name in kwargs}
        at = self.get_value(position, **view)
        return status_of("cortex" if at is None else self.describe(int(at)))

    @property
    def _type_string(self) -> str:
        # napari takes the kind of layer from the class name when it saves a layer.
        return "points"


@dataclass(frozen=True, slots=True)
class _FieldView:
    """State of the viewer before the 3-D view, to be restored."""

    centre: tuple[float, ...]
    zoom: float
    angles: tuple[float, float, float]
    visible: tuple[Layer, ...]
    active: Layer | None


class SpaceView:
    """Switch a viewer to the 3-D view of the neurons and back.

    Parameters
    ----------
    viewer
        The napari viewer.
    select
        Called with the clicked neuron, and True to add it to the selection.
    describe
        Returns the status bar text of a neuron.
    request_leave
        Called when the user returns to two dimensions with napari's own button.
    """

    def __init__(
        self,
        viewer: Any,
        select: Callable[[int, bool], None],
        describe: Callable[[int], str],
        request_leave: Callable[[], None],
    ) -> None:
        self._viewer = viewer
        self._request_leave = request_leave
        self._select, self._describe = select, describe
        self._flat: _FieldView | None = None
        self._neurons = np.empty(0, np.int64)
        self._colours: tuple[np.ndarray, ...] = ()
        self.layer: NeuronPoints | None = None
        self.axes: Shapes | None = None

    @property
    def is_shown(self) -> bool:
        """True while the 3-D view is shown."""
        return self._flat is not None

    def enter(self, session: Session) -> NeuronPoints:
        """Show the neurons that have a known position, and hide all other layers."""
        viewer, camera = self._viewer, self._viewer.scene.camera
        self._flat = _FieldView(
            tuple(camera.center),
            camera.zoom,
            tuple(camera.angles),
            tuple(layer for layer in viewer.layers if layer.visible),
            viewer.layers.selection.active,
        )
        for layer in self._flat.visible:
            layer.visible = False
        self.layer = self._points_of(session)
        # Switch before the layer is added: otherwise a slider for the third axis
        # appears and moves the docks.
        viewer.dims.ndisplay = 3
        viewer.add_layer(self.layer)
        lock(self.layer)
        self.axes = axes_of(self.layer.data)
        viewer.add_layer(self.axes)
        lock(self.axes)
        viewer.dims.events.ndisplay.connect(self._on_ndisplay)
        viewer.layers.selection.active = self.layer
        viewer.fit_to_view(layers=[self.layer])
        camera.set_view_direction(view_direction=_VIEW_DIRECTION, up_direction=_UP)
        return self.layer

    def leave(self) -> None:
        """Remove the points and restore the previous state of the viewer."""
        flat, layers = self._flat, (self.axes, self.layer)
        self._flat = self.layer = self.axes = None
        self._colours = ()
        if flat is None:
            return
        viewer, camera = self._viewer, self._viewer.scene.camera
        viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)
        camera.angles = flat.angles
        for own in layers:
            if own is not None and own in viewer.layers:
                viewer.layers.remove(own)
        viewer.dims.ndisplay = 2
        for layer in flat.visible:
            # The user may have deleted a layer meanwhile.
            if layer in viewer.layers:
                layer.visible = True
        if flat.active in viewer.layers:
            viewer.layers.selection.active = flat.active
        camera.center, camera.zoom = flat.centre, flat.zoom

    def colour(
        self, core: np.ndarray, rim: np.ndarray, selected: np.ndarray, displayed: np.ndarray | None
    ) -> None:
        """Colour the points as the neurons of the field: core, rim, white if selected.

        Neurons outside `displayed` (bool (P,), None for all) are not shown.
        """
        layer = self.layer
        if layer is None:
            return
        border = rim.copy()
        border[selected] = SELECTED_RIM
        is_shown = np.ones(len(core), bool) if displayed is None else displayed
        new = (_solid(core)[self._neurons], _solid(border)[self._neurons],
               is_shown[self._neurons])  # fmt: skip
        if self._colours and all(map(np.array_equal, new, self._colours)):
            return
        self._colours = new
        # Each of the two events redraws all points: block both and send one below.
        with layer.events.face_color.blocker(), layer.events.border_color.blocker():
            layer.face_color, layer.border_color = new[:2]
        if not np.array_equal(layer.shown, new[2]):
            layer.shown = new[2]
        layer.events.face_color()  # draws both

    def _on_ndisplay(self) -> None:
        # Postponed by one event-loop turn, because napari is still updating its
        # sliders.
        if self.is_shown and self._viewer.dims.ndisplay == 2:
            QTimer.singleShot(0, self._leave_if_flat)

    def _leave_if_flat(self) -> None:
        if self.is_shown and self._viewer.dims.ndisplay == 2:
            self._request_leave()

    def _points_of(self, session: Session) -> NeuronPoints:
        # (x, y, depth) in µm to napari's axis order (depth, y, x).
        places = np.asarray(session.units.xyz_um, float)[:, ::-1]
        self._neurons = np.flatnonzero(np.isfinite(places).all(axis=1))
        places = places[self._neurons]
        extent = float(np.ptp(places, axis=0).max())
        layer = NeuronPoints(
            places,
            size=max(_SOMA_UM, _MIN_SIZE * extent),
            border_width=0.25,
            border_width_is_relative=True,
            blending="translucent",
            shading="none",
        )
        layer.describe = lambda at: self._describe(int(self._neurons[at]))
        layer.mouse_drag_callbacks.append(self._drag)
        return layer

    def _drag(self, layer: Points, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or not (yield from is_clicked(event)):
            return
        at = layer.get_value(
            event.position,
            view_direction=event.view_direction,
            dims_displayed=event.dims_displayed,
            world=True,
        )
        if at is not None:
            self._select(int(self._neurons[at]), "Shift" in event.modifiers)


def axes_of(places: np.ndarray) -> Shapes:
    """Return three labelled edges of the bounding box of positions (depth, y, x)."""
    low, high = places.min(axis=0), places.max(axis=0)
    corner = np.array([high[0], high[1], low[2]])  # deepest, front, left corner
    lines, labels = [], []
    for axis, name in enumerate(("depth", "y", "x")):
        ends = np.stack([corner, corner])
        ends[:, axis] = low[axis], high[axis]
        if low[axis] < high[axis]:
            lines.append(ends)
            extent = f"{high[axis] - low[axis]:z.0f} µm"
            # Depth is measured from the surface, so its limits have a meaning.
            limits = f"{low[axis]:z.0f} to {high[axis]:z.0f} µm"
            labels.append(f"{name} {limits if axis == 0 else extent}")
    return Shapes(
        lines,
        shape_type="line",
        edge_color=palette.EDGE,
        opacity=1.0,
        edge_width=0.004 * float((high - low).max()),
        features={"axis": labels},
        text={"string": "{axis}", "size": 9, "color": palette.EDGE},
        name="OmniMouse · axes",
    )


def _solid(colours: np.ndarray) -> np.ndarray:
    """Return opaque colours that look like the input on black.

    Transparent points would be drawn in an arbitrary order.
    """
    solid = colours.copy()
    solid[:, :3] *= colours[:, 3:]
    solid[:, 3] = 1
    return solid
