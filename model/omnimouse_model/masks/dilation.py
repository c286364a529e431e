"""Neurons near others, and those well inside them: growing and shrinking a choice.

Distances are in µm or in pixels of the mean image, whichever is known of more neurons;
through the depth in the first case, within a plane in the second.
"""

import numpy as np

from omnimouse_model.data.session import Session

_BLOCK = 128
_PLANE_APART = 1e6
"""Pixels from one plane to the next: positions in pixels say nothing across planes."""


def distance_unit(session: Session) -> str:
    """The unit of distances between neurons: "µm", "px", or "" where none is known.

    Where both are, the one that places more neurons; "µm" for as many.
    """
    in_um = np.isfinite(session.units.xyz_um[:, :2]).all(axis=1).sum()
    in_px = np.isfinite(session.units.xy_px).all(axis=1).sum()
    if in_um >= in_px:
        return "µm" if in_um else ""
    return "px"


def grow(session: Session, neurons: np.ndarray, distance: float) -> np.ndarray:
    """Neurons no farther than a distance from some of these, and these themselves.

    Parameters
    ----------
    session
        Knows where neurons are. One of unknown place is near to none; one of unknown
        depth, to those near across the cortex.
    neurons
        Indices.
    distance
        In `distance_unit(session)`, 0 or more.

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


def shrink(session: Session, neurons: np.ndarray, distance: float) -> np.ndarray:
    """Those of these neurons that are farther than a distance from all the others.

    The other way round than `grown`: shrinking what was left out grows. Parameters
    and faults are the same.
    """
    chosen = np.zeros(session.n_neurons, bool)
    chosen[neurons] = True
    left_out = np.zeros(session.n_neurons, bool)
    left_out[grow(session, np.flatnonzero(~chosen), distance)] = True
    return np.flatnonzero(chosen & ~left_out)


def _places(session: Session, distance: float) -> np.ndarray:
    """(P, 3); NaN unknown."""
    if not distance >= 0:
        raise ValueError(f"A distance is 0 or more, not {distance}.")
    unit, units = distance_unit(session), session.units
    if not unit:
        raise ValueError(
            f"Session {session.id!r} knows no positions: nothing is near or far."
        )
    if unit == "px":
        depth = np.asarray(units.plane, float)[:, None] * _PLANE_APART
        return np.concatenate([units.xy_px.astype(float), depth], axis=1)
    return np.array(units.xyz_um, float)


def _are_near(places: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    """Which places lie no farther than a distance from some of others.

    Across the cortex alone where either depth is unknown; NaN elsewhere never does.
    """
    has_depth, have_depth = np.isfinite(places[:, 2]), np.isfinite(others[:, 2])
    near = np.zeros(len(places), bool)
    for rows, among, axes in (
        (has_depth, have_depth, 3),
        (has_depth, ~have_depth, 2),
        (~has_depth, np.ones(len(others), bool), 2),
    ):
        asked = np.flatnonzero(rows & ~near)
        asked = asked[np.isfinite(places[asked, :axes]).all(axis=1)]
        found = others[among, :axes]
        found = found[np.isfinite(found).all(axis=1)]
        if len(asked) and len(found):
            near[asked] = _nearest(places[asked, :axes], found, distance) <= distance
    return near


def _nearest(places: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    """How far the nearest of others is; infinite, or more, beyond a distance."""
    try:
        from scipy.spatial import KDTree
    except ImportError:  # of the `napari` extra: seconds are lost, nothing else
        return _nearest_of_all(places, others)
    # The bound itself does not count as within it.
    found = KDTree(others).query(places, distance_upper_bound=distance * 1.001 + 1e-9)
    return np.asarray(found[0])


def _nearest_of_all(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The same, comparing each with each."""
    nearest = np.empty(len(places))
    for first in range(0, len(places), _BLOCK):
        part = places[first : first + _BLOCK]
        # Axis by axis: a sum over three is slow.
        squared = np.zeros((len(part), len(others)))
        for axis in range(places.shape[1]):
            squared += (part[:, axis, None] - others[:, axis]) ** 2
        nearest[first : first + _BLOCK] = np.sqrt(squared.min(axis=1))
    return nearest
