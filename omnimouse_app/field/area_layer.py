"""Layer of brain areas, computed on first request in a background thread."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Shapes
from napari.utils.notifications import show_warning

from omnimouse_app.field.areas import AreaOutline, area_outlines
from omnimouse_model.data.session import Session
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    ReportProgress,
)
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.field.layout import Field
from omnimouse_widgets.qt.style.ui_thread import qt_post


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Outlines, and the field to which they belong."""

    session: Session
    field: Field
    outlines: list[AreaOutline]


class AreaLayer:
    """Show and hide the outlines of the brain areas of one field.

    When a single imaging plane is shown, the outlines of the other planes are hidden.

    Parameters
    ----------
    controller
        Its state says whether areas are shown; the visibility switch in napari's layer
        list changes that state. Areas are never shown in the 3-D view, where the switch
        has no effect on the state.
    add, is_there
        Add a layer with a role to the viewer; return whether a layer is still in the
        viewer (the user can delete it).
    """

    def __init__(
        self,
        controller: Controller,
        add: Callable[[Any, str], None],
        is_there: Callable[[Any], bool],
    ) -> None:
        self._controller = controller
        self._add, self._is_there = add, is_there
        self._field: Field | None = None
        self._found: _Found | None = None
        self._outlines: list[AreaOutline] = []
        self.layer: Shapes | None = None
        self.errand: BackgroundTask[tuple[Session, Field], _Found] = BackgroundTask(
            _outlined, self._take, qt_post()
        )
        self.errand.changed.connect(self._tell_fault)

    def show(self, session: Session, field: Field) -> None:
        """Show or hide the areas as the state says; start the computation if needed."""
        state = self._controller.state
        is_shown = state.areas_shown and not state.in_space
        if is_shown and self._found is not None:
            self._put(self._found)
        if self.layer is not None:
            if is_shown and not self._is_there(self.layer):
                self._add(self.layer, "areas")
            # The state is the source here: without the blocker, this change would be
            # written back to the state as a user action.
            with self.layer.events.visible.blocker(self._toggled):
                self.layer.visible = is_shown
            self._show_plane(self.layer)
        elif is_shown and self._field is not field and session.units.area is not None:
            self._field = field
            self.errand.start((session, field), "Outlining areas")

    def forget(self) -> None:
        """Stop the computation and drop the layer, because the field has changed."""
        self.errand.stop()
        self.layer = self._field = self._found = None
        self._outlines = []

    def close(self) -> None:
        """Stop the background task permanently."""
        self.errand.close(0.0)

    def _take(self, found: _Found) -> None:
        # The user may have opened another recording while the outlines were computed.
        if found.field is not self._field or not found.outlines:
            return
        self._found = found
        self.show(found.session, found.field)

    def _put(self, found: _Found) -> None:
        self._found, self._outlines = None, found.outlines
        self.layer = _layer(found)
        self._add(self.layer, "areas")
        self.layer.events.visible.connect(self._toggled)

    def _show_plane(self, layer: Shapes) -> None:
        """Show the outlines and names of the displayed planes only."""
        plane = self._controller.planes.number
        # Hidden outlines stay in the layer with alpha 0, so that shapes and `_outlines`
        # keep the same order.
        is_seen = np.array([plane in (None, one.plane) for one in self._outlines])
        colours = np.array(layer.edge_color)
        if len(colours) == len(is_seen) and (colours[:, 3] != is_seen).any():
            colours[:, 3] = is_seen
            layer.edge_color = colours
            layer.features = _names(self._outlines, is_seen)
            layer.refresh_text()

    def _toggled(self) -> None:
        """Copy the visibility of the layer to the state."""
        if self.layer is not None and not self._controller.state.in_space:
            self._controller.colouring.outline_areas(self.layer.visible)

    def _tell_fault(self) -> None:
        if self.errand.error is not None:
            show_warning(f"OmniMouse: areas are not outlined: {self.errand.error}")


def _outlined(request: tuple[Session, Field], tell: ReportProgress) -> Iterator[_Found]:
    session, field = request
    units = session.units
    area = np.asarray(units.area).astype(str)
    outlines = area_outlines(field.centres, area, np.asarray(units.plane))
    tell("Drawing areas")
    yield _Found(session, field, outlines)


def _layer(found: _Found) -> Shapes:
    """Return a layer of named outlines, each in the colour of its area."""
    outlines = found.outlines
    # The colour of an area is its rank among all area names of the session, also where
    # some areas have no outline.
    names = sorted({*np.asarray(found.session.units.area).astype(str).tolist()} - {""})
    table = palette.area_table(len(names)) / 255
    colours = table[[names.index(outline.area) for outline in outlines]]
    width = max(1.0, 0.003 * max(found.field.labels.shape))
    return Shapes(
        [outline.yx for outline in outlines],
        shape_type="path",
        edge_width=width,
        edge_color=colours,
        opacity=1.0,
        features=_names(outlines, np.ones(len(outlines), bool)),
        text={"string": "{area}", "size": 11, "color": "white"},
    )


def _names(outlines: list[AreaOutline], is_seen: np.ndarray) -> pd.DataFrame:
    """Return the text of each outline; "" for outlines without text."""
    words = [
        outline.area if outline.is_named and seen else ""
        for outline, seen in zip(outlines, is_seen, strict=True)
    ]
    return pd.DataFrame({"area": words})
