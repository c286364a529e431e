"""Layer of brain areas, computed on first request in a background thread."""

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Shapes
from napari.utils.notifications import show_warning

from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import BackgroundTask
from omnimouse_model.live.inference.engine import Execution
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Planes
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.qt.style.ui_thread import qt_post
from omnimouse_widgets.views.field.areas import (
    AreaOutline,
    OutlinedAreas,
    outline_areas,
)
from omnimouse_widgets.views.field.layout import Field


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
        [outline.yx for outline in outlines],
        shape_type="path",
        edge_width=width,
        edge_color=computed.colours,
        opacity=1.0,
        features=_names(outlines, np.ones(len(outlines), bool)),
        text={"string": "{area}", "size": 11, "color": "white", "anchor": anchor},
    )


def _names(outlines: list[AreaOutline], is_visible: np.ndarray) -> dict[str, Any]:
    """Return the text of each outline; "" for outlines without text."""
    names = [
        outline.area if outline.is_named and shows else ""
        for outline, shows in zip(outlines, is_visible, strict=True)
    ]
    return {"area": names}
