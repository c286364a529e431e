"""Neurons near others, and those well inside them: growing and shrinking a choice.

Distances are in µm where the session knows positions so, else in pixels of its mean
image; through the depth in the first case, within a plane in the second.
"""

import numpy as np

from omnimouse_model.data.session import Session

_BLOCK = 128
_PLANE_APART = 1e6
"""Pixels from one plane to the next: positions in pixels say nothing across planes."""


def unit_of_distance(session: Session) -> str:
    """The unit of distances between neurons: "µm", "px", or "" where none is known."""
    if np.isfinite(session.units.xyz_um[:, :2]).all(axis=1).any():
        return "µm"
    return "px" if np.isfinite(session.units.xy_px).all(axis=1).any() else ""


def grown(session: Session, neurons: np.ndarray, distance: float) -> np.ndarray:
    """Neurons no farther than a distance from some of these, and these themselves.

    Parameters
    ----------
    session
        Knows where neurons are. One of unknown place is near to none.
    neurons
        Indices.
    distance
        In `unit_of_distance(session)`, 0 or more.

    Raises
    ------
    ValueError
        A negative distance, or a session that knows no positions.
    """
    places = _places(session, distance)
    chosen = np.zeros(len(places), bool)
    chosen[neurons] = True
    near = chosen.copy()
    near[~chosen] = _are_near(places[~chosen], places[chosen], distance)
    return np.flatnonzero(near)


def shrunk(session: Session, neurons: np.ndarray, distance: float) -> np.ndarray:
    """Those of these neurons that are farther than a distance from all the others.

    The other way round than `grown`: shrinking what was left out grows. Parameters
    and faults are the same.
    """
    chosen = np.zeros(session.n_neurons, bool)
    chosen[neurons] = True
    left_out = np.zeros(session.n_neurons, bool)
    left_out[grown(session, np.flatnonzero(~chosen), distance)] = True
    return np.flatnonzero(chosen & ~left_out)


def _places(session: Session, distance: float) -> np.ndarray:
    """(P, 3); NaN unknown."""
    if not distance >= 0:
        raise ValueError(f"A distance is 0 or more, not {distance}.")
    unit, units = unit_of_distance(session), session.units
    if not unit:
        raise ValueError(
            f"Session {session.id!r} knows no positions: nothing is near or far."
        )
    if unit == "px":
        depth = np.asarray(units.plane, float)[:, None] * _PLANE_APART
        return np.concatenate([units.xy_px.astype(float), depth], axis=1)
    places = np.array(units.xyz_um, float)
    if np.isnan(places[:, 2]).all():
        places[:, 2] = 0.0
    return places


def _are_near(places: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    """Which places lie no farther than a distance from some of others; NaN never does.

    Both are walked along x, so that only others in reach are compared.
    """
    others = others[np.isfinite(others).all(axis=1)]
    others = others[np.argsort(others[:, 0])]
    known = np.flatnonzero(np.isfinite(places).all(axis=1))
    order = known[np.argsort(places[known, 0])]
    near = np.zeros(len(places), bool)
    for first in range(0, len(order), _BLOCK):
        rows = order[first : first + _BLOCK]
        part = places[rows]
        ends = (part[0, 0] - distance, part[-1, 0] + distance)
        low, high = np.searchsorted(others[:, 0], ends)
        between = others[low : high + 1]
        # Axis by axis: a sum over three is slow.
        squared = np.zeros((len(part), len(between)))
        for axis in range(3):
            squared += (part[:, axis, None] - between[:, axis]) ** 2
        near[rows] = (squared <= distance**2).any(axis=1)
    return near
