"""The layer of brain areas: found when first asked for, off the thread that draws."""

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
from omnimouse_model.live.inference.background_task import Errand, Tell
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.field.layout import Field
from omnimouse_widgets.qt.style.ui_thread import qt_post


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Outlines, and the field that they are of."""

    session: Session
    field: Field
    outlines: list[AreaOutline]


class AreaLayer:
    """Shows and hides the outlines of the areas of one field at a time.

    Where one imaging plane is looked at, those of the others are hidden.

    Parameters
    ----------
    controller
        Whose state says whether areas are shown; the eye of the layer list tells it.
        In space they never are, and their eye says nothing then.
    add, is_there
        Puts a layer with a role into the viewer; whether the user left it there.
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
        self.errand: Errand[tuple[Session, Field], _Found] = Errand(
            _outlined, self._take, qt_post()
        )
        self.errand.changed.connect(self._tell_fault)

    def show(self, session: Session, field: Field) -> None:
        """As the state says; the outlines are found when they are first asked for."""
        state = self._controller.state
        is_shown = state.areas_shown and not state.in_space
        if is_shown and self._found is not None:
            self._put(self._found)
        if self.layer is not None:
            if is_shown and not self._is_there(self.layer):
                self._add(self.layer, "areas")
            with self.layer.events.visible.blocker(self._toggled):
                self.layer.visible = is_shown
            self._show_plane(self.layer)
        elif is_shown and self._field is not field and session.units.area is not None:
            self._field = field
            self.errand.start((session, field), "Outlining areas")

    def forget(self) -> None:
        """Another field is shown, or none; the layer is gone."""
        self.errand.stop()
        self.layer = self._field = self._found = None
        self._outlines = []

    def close(self) -> None:
        """Stop for good."""
        self.errand.close(0.0)

    def _take(self, found: _Found) -> None:
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
        """Draw and name the outlines of what is looked at alone."""
        plane = self._controller.planes.shown
        is_seen = np.array([plane in (None, one.plane) for one in self._outlines])
        colours = np.array(layer.edge_color)
        if len(colours) == len(is_seen) and (colours[:, 3] != is_seen).any():
            colours[:, 3] = is_seen
            layer.edge_color = colours
            layer.features = _names(self._outlines, is_seen)
            layer.refresh_text()

    def _toggled(self) -> None:
        """The eye of the layer list is the switch of the panel."""
        if self.layer is not None and not self._controller.state.in_space:
            self._controller.colouring.outline_areas(self.layer.visible)

    def _tell_fault(self) -> None:
        if self.errand.fault is not None:
            show_warning(f"OmniMouse: areas are not outlined: {self.errand.fault}")


def _outlined(request: tuple[Session, Field], tell: Tell) -> Iterator[_Found]:
    session, field = request
    units = session.units
    area = np.asarray(units.area).astype(str)
    outlines = area_outlines(field.centres, area, np.asarray(units.plane))
    tell("Drawing areas")
    yield _Found(session, field, outlines)


def _layer(found: _Found) -> Shapes:
    """Outlines with a name each in the area's own colour."""
    outlines = found.outlines
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
    """What the layer writes on each outline, "" for nothing."""
    words = [
        outline.area if outline.is_named and seen else ""
        for outline, seen in zip(outlines, is_seen, strict=True)
    ]
    return pd.DataFrame({"area": words})
