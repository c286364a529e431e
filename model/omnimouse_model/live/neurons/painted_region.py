"""Grow and shrink the region painted with the brush's code, by a distance."""

from collections.abc import Callable

import numpy as np
from psygnal import Signal

from omnimouse_model.live.mask.editor import CODE_NAMES, MaskEditor
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import HIDDEN
from omnimouse_model.masks.selection import distance_unit, grow, shrink

START = {"µm": 30.0, "px": 10.0}
KeepVisible = Callable[[np.ndarray], np.ndarray]


class PaintedRegion:
    """Neurons with the brush's code in the active span, which can grow and shrink.

    Parameters
    ----------
    editor
        Paints the neurons.
    keep_visible
        Returns those neurons that are shown; others do not change.

    Attributes
    ----------
    changed
        Emitted when the distance may have changed.
    """

    changed = Signal()

    def __init__(self, state: LiveState, editor: MaskEditor, keep_visible: KeepVisible) -> None:
        self._state, self._editor = state, editor
        self._keep_visible = keep_visible
        # Per unit: a distance in µm makes no sense in pixels.
        self._distances = dict(START)

    @property
    def unit(self) -> str:
        """Unit of the distance: "µm" or "px"; "" if the session has no positions."""
        session = self._state.session
        return "" if session is None else distance_unit(session)

    @property
    def distance(self) -> float:
        """Distance of one step in `unit`; each unit has its own."""
        return self._distances.get(self.unit, 0.0)

    def set_distance(self, distance: float) -> None:
        """Set the distance of one step; without a unit, do nothing."""
        if self.unit and distance > 0:
            self._distances[self.unit] = float(distance)
            self.changed.emit()

    @property
    def can_grow(self) -> bool:
        """Whether there are positions and neurons with the brush's code."""
        return bool(self.unit) and len(self._painted()) > 0

    @property
    def can_shrink(self) -> bool:
        """Whether `can_grow` is true and the code is not "hidden"."""
        return self.can_grow and self._state.brush_code != HIDDEN

    def grow(self) -> None:
        """Paint all neurons within the distance of the painted neurons."""
        if not self.can_grow or self._state.session is None:
            return
        painted = self._painted()
        grown = grow(self._state.session, painted, self.distance)
        added = np.setdiff1d(grown, painted)
        self._set(added, self._state.brush_code, "Grow")

    def shrink(self) -> None:
        """Hide painted neurons that have unpainted ones within the distance."""
        if not self.can_shrink or self._state.session is None:
            return
        painted = self._painted()
        inner = shrink(self._state.session, painted, self.distance)
        self._set(np.setdiff1d(painted, inner), HIDDEN, "Shrink")

    def _set(self, neurons: np.ndarray, code: int, verb: str) -> None:
        neurons = self._keep_visible(neurons)
        if len(neurons):
            code_name = CODE_NAMES[self._state.brush_code]
            with self._editor.stroke(f"{verb} {code_name} by {self.distance:g} {self.unit}"):
                self._editor.paint_cells(neurons, self._state.active_span, code)

    def _painted(self) -> np.ndarray:
        mask, state = self._state.mask, self._state
        if mask is None:
            return np.empty(0, np.int64)
        return np.flatnonzero(mask.state_in(state.active_span) == state.brush_code)
