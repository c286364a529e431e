"""Imaging planes: show all or one, flat or in 3-D.

Planes have the recording's own numbers, as in filters and colours.
"""

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.live.state import ALL_PLANES, LiveState


class Planes:
    """Planes of the open session, and the plane shown, to which painting is limited.

    A new session is shown flat and with all planes.
    """

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._session_numbers: tuple[Session | None, tuple[int, ...]] = (None, ())
        state.events.session.connect(self._on_session)

    # -- reading ----------------------------------------------------------------------
    @property
    def numbers(self) -> tuple[int, ...]:
        """Plane numbers, ascending; empty with fewer than two known planes."""
        session = self._state.session
        if session is not self._session_numbers[0]:
            self._session_numbers = (
                session,
                () if session is None else _numbers(session),
            )
        return self._session_numbers[1]

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
        units = session.units
        own = np.asarray(units.plane) == number
        depth = np.asarray(units.xyz_um, float)[own, 2]
        depth = depth[np.isfinite(depth)]
        parts = [units.group_name(number)]
        if depth.size and units.probe is None:
            parts.append(f"{np.median(depth):z.0f} µm")
        elif depth.size:
            parts.append(f"{depth.min():z.0f}–{depth.max():z.0f} µm")
        return " · ".join(parts)

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
        if len(np.unique(positions[:, :2], axis=0)) < 2:
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


def _numbers(session: Session) -> tuple[int, ...]:
    numbers = np.unique(np.asarray(session.units.plane))
    # -1 is an unknown plane.
    numbers = numbers[numbers >= 0]
    return tuple(int(n) for n in numbers) if len(numbers) > 1 else ()
