"""Selection of neurons, also by painting a region, and imaging planes.

Planes have the recording's own numbers, as in filters and colours.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from psygnal import Signal

from omnimouse_model.data.neurons import Units
from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.mask.editor import CODE_NAMES, MaskEditor
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import ALL_PLANES, MAX_SELECTED, LiveState
from omnimouse_model.masks import HIDDEN
from omnimouse_model.masks.cells import neuron_columns
from omnimouse_model.masks.selection import distance_unit, grow, shrink


# -- selection of neurons, by clicks and by rows of tables ----------------------------
class Selection:
    """Selected neurons, in the order of selection; only the last 64 stay selected."""

    def __init__(
        self, state: LiveState, results: Results, requests: Requests, lock: threading.RLock
    ) -> None:
        self._state, self._results = state, results
        self._requests, self._lock = requests, lock

    def select(self, neurons: Sequence[int] | np.ndarray, add: bool = False) -> None:
        """Select neurons in order, in addition to the selected ones or instead.

        Raises
        ------
        MaskError
            An index is not a neuron of the session.
        """
        state, results, client = self._state, self._results, self._requests.client
        with self._lock:
            before = state.selection if add else ()
            chosen = neuron_columns(neurons, state.open_session.n_neurons, "selection")
            # A dict removes duplicates and keeps the order of selection.
            ordered = dict.fromkeys([*before, *chosen.tolist()])
            # The newest ones: adding a neuron must show it.
            selection = tuple(ordered)[-MAX_SELECTED:]
            if selection == state.selection:
                return
            state.selection = selection
            # A fresh population prediction contains these neurons already: no new
            # request is needed, unless their sweep or their trials are on screen.
            is_predicted = results.take_selected(selection)
            has_sweep = state.sweep_shown and not results.has_tier_curves
            if has_sweep or state.peri_event_shown or not is_predicted:
                client.send()

    def toggle(self, neuron: int) -> None:
        """Add one neuron to the selection, or remove it."""
        selection = self._state.selection
        if neuron in selection:
            self.select([one for one in selection if one != neuron])
        else:
            self.select([neuron], add=True)


# -- imaging planes: show all or one, flat or in 3-D ----------------------------------
class Planes:
    """Planes of the open session, and the plane shown, to which painting is limited.

    A new session is shown flat and with all planes.
    """

    def __init__(self, state: LiveState) -> None:
        self._state = state
        state.events.session.connect(self._on_session)

    # -- reading ----------------------------------------------------------------------
    @property
    def numbers(self) -> tuple[int, ...]:
        """Plane numbers, ascending; empty with fewer than two known planes."""
        session = self._state.session
        return () if session is None else cached(session, "planes", lambda: _numbers(session))

    @property
    def number(self) -> int | None:
        """Number of the plane shown, None for all."""
        # A number of the previous recording may not exist here.
        number = self._state.plane_shown
        return number if number in self.numbers else None

    @property
    def label_of_all(self) -> str:
        """Name of all planes or probes together."""
        session = self._state.session
        is_on_probes = session is not None and session.units.probe is not None
        return "all probes" if is_on_probes else "all planes"

    def label_of(self, number: int) -> str:
        """Return the name of a plane or probe, with its depths if known.

        A plane has the median depth of its neurons, a probe a range of depths.
        """
        session = self._state.session
        if session is None:
            return f"plane {number}"
        return cached(session, f"label of plane {number}", partial(_label, session.units, number))

    @property
    def is_visible(self) -> np.ndarray | None:
        """bool (P,): neurons of the plane shown; None for all."""
        session, number = self._state.session, self.number
        if session is None or number is None:
            return None
        return np.asarray(np.asarray(session.units.plane) == number)

    def visible_among(self, neurons: np.ndarray) -> np.ndarray:
        """Return those of some neurons that are shown; only they are painted."""
        is_visible = self.is_visible
        return neurons if is_visible is None else neurons[is_visible[neurons]]

    @property
    def flat_reason(self) -> str:
        """Why the neurons cannot be shown in 3-D; "" if they can."""
        session = self._state.session
        if session is None:
            return "No recording is open."
        positions = np.asarray(session.units.xyz_um, float)
        positions = positions[np.isfinite(positions).all(axis=1)]
        if not len(positions):
            return "This recording has no positions with depth."
        # Recordings without positions can have a constant x and y, often 0.
        if (positions[:, :2] == positions[0, :2]).all():
            return "This recording has depths but no positions across the cortex."
        return ""

    # -- actions ----------------------------------------------------------------------
    def show(self, number: int | None) -> None:
        """Show one plane, or all (None); raise `ValueError` for an unknown plane."""
        if number is not None and number not in self.numbers:
            names = ", ".join(map(str, self.numbers)) or "none to choose from"
            raise ValueError(f"The planes are {names}, not {number}.")
        self._state.plane_shown = ALL_PLANES if number is None else number

    def step(self, n: int) -> None:
        """Step by `n` planes, cyclically; "all" is before the first plane."""
        choices = (None, *self.numbers)
        self.show(choices[(choices.index(self.number) + n) % len(choices)])

    def show_in_space(self, is_shown: bool) -> None:
        """Show the neurons at their positions in the cortex, or flat on the field.

        Do nothing if the positions are not known; see `flat_reason`.
        """
        if not is_shown or not self.flat_reason:
            self._state.in_space = is_shown

    def _on_session(self) -> None:
        self._state.plane_shown = ALL_PLANES
        self._state.in_space = False


def _label(units: Units, number: int) -> str:
    depth = np.asarray(units.xyz_um, float)[np.asarray(units.plane) == number, 2]
    depth = depth[np.isfinite(depth)]
    parts = [units.group_name(number)]
    if depth.size and units.probe is None:
        parts.append(f"{np.median(depth):z.0f} µm")
    elif depth.size:
        parts.append(f"{depth.min():z.0f}–{depth.max():z.0f} µm")
    return " · ".join(parts)


def _numbers(session: Session) -> tuple[int, ...]:
    numbers = np.unique(np.asarray(session.units.plane))
    # -1 is an unknown plane.
    numbers = numbers[numbers >= 0]
    return tuple(int(n) for n in numbers) if len(numbers) > 1 else ()


# -- grow and shrink the region painted with the brush's code, by a distance ----------
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
