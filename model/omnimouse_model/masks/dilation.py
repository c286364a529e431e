"""Grow and shrink a set of neurons by a distance.

Distances are in µm or in pixels of the mean image, whichever is known for more neurons:
µm in three dimensions, pixels within a plane.
"""

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.extras import named_extras

_BLOCK = 128
_PLANE_APART = 1e6
"""Pixels from one plane to the next: positions in pixels say nothing across planes."""


def distance_unit(session: Session) -> str:
    """Return the unit of distances between neurons: "µm", "px", or "" if unknown.

    The unit in which more neurons have a position; "µm" if both have as many.
    """
    in_um = np.isfinite(session.units.xyz_um[:, :2]).all(axis=1).sum()
    in_px = np.isfinite(session.units.xy_px).all(axis=1).sum()
    if in_um >= in_px:
        return "µm" if in_um else ""
    return "px"


def grow(session: Session, neurons: np.ndarray, distance: float) -> np.ndarray:
    """Return these neurons, and all neurons within a distance of any of them.

    A neuron of unknown position is within reach of none. If a depth is unknown, the
    distance is that across the cortex.

    Parameters
    ----------
    neurons
        Indices.
    distance
        In `distance_unit(session)`, 0 or more.

    Raises
    ------
    ValueError
        A negative distance, or a session without positions.
    """
    positions = _positions(session, distance)
    chosen = np.zeros(len(positions), bool)
    chosen[neurons] = True
    near = chosen.copy()
    near[~chosen] = _are_near(positions[~chosen], positions[chosen], distance)
    return np.flatnonzero(near)


def shrink(session: Session, neurons: np.ndarray, distance: float) -> np.ndarray:
    """Return those of these neurons that are farther than a distance from all others.

    Parameters and errors are those of `grow`.
    """
    # Shrinking a set is growing its complement.
    complement = np.setdiff1d(np.arange(session.n_neurons), neurons)
    return np.setdiff1d(neurons, grow(session, complement, distance))


def _positions(session: Session, distance: float) -> np.ndarray:
    """Return positions (P, 3), NaN if unknown."""
    if not distance >= 0:
        raise ValueError(f"A distance is 0 or more, not {distance}.")
    unit, units = distance_unit(session), session.units
    if not unit:
        raise ValueError(f"Session {session.id!r} has no positions.")
    if unit == "px":
        depth = np.asarray(units.plane, float)[:, None] * _PLANE_APART
        return np.concatenate([units.xy_px.astype(float), depth], axis=1)
    return np.array(units.xyz_um, float)


def _are_near(first: np.ndarray, second: np.ndarray, distance: float) -> np.ndarray:
    """Return whether each of the first positions is within a distance of the second."""
    has_depth, have_depth = np.isfinite(first[:, 2]), np.isfinite(second[:, 2])
    near = np.zeros(len(first), bool)
    # Pairs in which both depths are known are compared in three dimensions, the others
    # across the cortex.
    for rows, others, n_axes in (
        (has_depth, have_depth, 3),
        (has_depth, ~have_depth, 2),
        (~has_depth, np.ones(len(second), bool), 2),
    ):
        undecided = np.flatnonzero(rows & ~near)
        undecided = undecided[np.isfinite(first[undecided, :n_axes]).all(axis=1)]
        targets = second[others, :n_axes]
        targets = targets[np.isfinite(targets).all(axis=1)]
        if len(undecided) and len(targets):
            reach = _nearest(first[undecided, :n_axes], targets, distance)
            near[undecided] = reach <= distance
    return near


def _nearest(first: np.ndarray, second: np.ndarray, distance: float) -> np.ndarray:
    """Return the distance to the nearest second position; inf or more if too far."""
    try:
        with named_extras():
            from scipy.spatial import KDTree
    except ImportError:  # of the `napari` extra; the result is the same, but slower
        return _nearest_of_all(first, second)
    # KDTree leaves out a distance that is equal to the bound, so the bound is larger.
    distances = KDTree(second).query(first, distance_upper_bound=distance * 1.001 + 1e-9)
    return np.asarray(distances[0])


def _nearest_of_all(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest second position from all pairs."""
    nearest = np.empty(len(first))
    # Blocks of rows bound the memory of the pairs.
    for start in range(0, len(first), _BLOCK):
        part = first[start : start + _BLOCK]
        # Axis by axis, because a sum over an axis of length 3 is slow.
        squared = np.zeros((len(part), len(second)))
        for axis in range(first.shape[1]):
            squared += (part[:, axis, None] - second[:, axis]) ** 2
        nearest[start : start + _BLOCK] = np.sqrt(squared.min(axis=1))
    return nearest
