"""Selections of neurons by place, score, filter text, or at random, and their dilation.

Every function returns int64 indices for `Mask.show`, `ask` and `hide`. Neurons whose
property is unknown are never selected; a session in which it is unknown for all neurons
is an error.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import MaskError
from omnimouse_model.extras import named_extras
from omnimouse_model.masks.cells import HasNeurons, count_neurons, random_order
from omnimouse_model.masks.mask import Mask
from omnimouse_model.masks.neuron_table import matching_neurons, table_columns

Unit = Literal["px", "um"]


# -- groups ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class NeuronGroup:
    """A named set of neurons, by the names (`session.units.names`) of a recording.

    Examples
    --------
    >>> group = om.NeuronGroup.of(session, "shallow", om.select_depths(session, high_um=200.0))
    >>> group.name, len(group.ids), group.indices(session)[:3]
    ('shallow', 20, array([2, 5, 6]))
    """

    name: str
    ids: tuple[int, ...]

    @classmethod
    def of(cls, session: Session, name: str, neurons: Sequence[int] | np.ndarray) -> "NeuronGroup":
        """Return a group from indices, or a bool (P,), of the neurons of a session.

        Raises
        ------
        MaskError
            An index is not that of a neuron.
        """
        chosen = np.asarray(neurons)
        if chosen.dtype == bool and chosen.shape == (session.n_neurons,):
            chosen = np.flatnonzero(chosen)
        is_index = chosen.ndim == 1 and (not len(chosen) or chosen.dtype.kind in "iu")
        is_index = is_index and bool(np.all((chosen >= 0) & (chosen < session.n_neurons)))
        if not is_index:
            raise MaskError(
                f"{name}: neurons are indices from 0 to {session.n_neurons - 1}, or a bool "
                f"for each of {session.n_neurons}; found {str(neurons)[:80]}."
            )
        names = session.units.names[np.unique(chosen.astype(np.int64))]
        return cls(name, tuple(int(one) for one in names))

    def indices(self, session: Session) -> np.ndarray:
        """Return the neurons of the group in a session, int64 (n,), ascending.

        Raises
        ------
        MaskError
            The session lacks some of them.
        """
        names = session.units.names
        missing = np.setdiff1d(self.ids, names)
        if len(missing):
            raise MaskError(
                f"Session {session.id!r} lacks {len(missing):,} of {len(self.ids):,} neurons "
                f"of the group {self.name!r}, first {missing[0]}."
            )
        return np.flatnonzero(np.isin(names, self.ids))


Neurons = str | NeuronGroup | Sequence[int] | np.ndarray
"""Some neurons: the name of an area, a group, indices, or a bool for each."""


def neurons_of(session: Session, neurons: str | NeuronGroup) -> np.ndarray:
    """Return the indices of an area or of a group, int64 (n,), ascending.

    Raises
    ------
    MaskError
        The session has no such area, or lacks neurons of the group.
    """
    if isinstance(neurons, NeuronGroup):
        return neurons.indices(session)
    return select_areas(session, neurons)


# -- by place ----------------------------------------------------------------------
def select_areas(session: Session, *areas: str) -> np.ndarray:
    """Return the neurons of some brain areas; case does not matter.

    Examples
    --------
    >>> om.select_areas(session, "RL")
    array([12, 17, 28, 39])

    Raises
    ------
    MaskError
        The session has no areas, or not these; the message lists its areas.
    """
    area_of = session.units.area
    if area_of is None:
        raise _unknown(session, "brain areas")
    lower = np.char.lower(area_of.astype(str))
    for area in areas:
        if area.lower() not in lower:
            raise _absent(session, f"area {area!r}", sorted(set(area_of) - {""}))
    return np.flatnonzero(np.isin(lower, [area.lower() for area in areas]))


def select_planes(session: Session, *planes: int) -> np.ndarray:
    """Return the neurons of some imaging planes (fields).

    Examples
    --------
    >>> om.select_planes(session, 3)[:5]
    array([ 1, 10, 20, 21, 31])

    Raises
    ------
    MaskError
        The session has no planes, or not these; the message lists its planes.
    """
    plane_of = session.units.plane
    # A negative number is an unknown plane.
    present = np.unique(plane_of[plane_of >= 0])
    if not len(present):
        raise _unknown(session, "imaging planes")
    for plane in planes:
        if plane not in present:
            raise _absent(session, f"plane {plane}", present)
    return np.flatnonzero(np.isin(plane_of, planes))


def select_depths(session: Session, low_um: float = -np.inf, high_um: float = np.inf) -> np.ndarray:
    """Return the neurons from one depth to another, both included.

    Examples
    --------
    >>> om.select_depths(session, high_um=200.0)[:5]
    array([2, 5, 6, 7, 8])

    Notes
    -----
    Depths are in µm, measured as in the session.
    """
    depth = _positions(session, "um")[:, 2]
    return np.flatnonzero((depth >= low_um) & (depth <= high_um))


def select_near(
    session: Session,
    origin: int | np.integer[Any] | Sequence[float] | np.ndarray,
    within_um: float,
    *,
    beyond_um: float = 0.0,
) -> np.ndarray:
    """Return the neurons within a distance in µm of a point or of a neuron.

    Examples
    --------
    >>> om.select_near(session, 5, within_um=100.0)
    array([ 5, 30])
    >>> om.select_near(session, 5, within_um=100.0, beyond_um=15.0)
    array([30])

    Parameters
    ----------
    origin
        A neuron's index, or a point (x, y, z).
    within_um, beyond_um
        The largest and the smallest distance, both included: `beyond_um=15` leaves out
        the neuron itself and neurons that its signal may contaminate.
    """
    positions = _positions(session, "um")
    if isinstance(origin, (int, np.integer)):
        if not 0 <= origin < len(positions) or np.isnan(positions[origin]).any():
            raise MaskError(
                f"Neuron {origin} has no known position; session {session.id!r} has "
                f"{len(positions)} neurons."
            )
        point = positions[origin]
    else:
        point = np.asarray(origin, float)
    if point.shape != (3,):
        raise MaskError(f"A point is (x, y, z) in µm, found {origin!r}.")
    distance = np.sqrt(((positions - point) ** 2).sum(axis=1))
    return np.flatnonzero((distance >= beyond_um) & (distance <= within_um))


def select_rectangle(
    session: Session, x: tuple[float, float], y: tuple[float, float], *, unit: Unit = "px"
) -> np.ndarray:
    """Return the neurons whose centre lies in a rectangle, edges included.

    Examples
    --------
    >>> om.select_rectangle(session, x=(0.0, 200.0), y=(0.0, 500.0))
    array([ 9, 28])

    Notes
    -----
    `unit` is "px" on the mean image, or "um" in the microscope's frame.
    """
    points = _positions(session, unit)
    # Comparisons with NaN are false: unknown positions are never inside.
    inside = (points[:, 0] >= min(x)) & (points[:, 0] <= max(x))
    inside &= (points[:, 1] >= min(y)) & (points[:, 1] <= max(y))
    return np.flatnonzero(inside)


def select_polygon(
    session: Session, corners: Sequence[tuple[float, float]] | np.ndarray, *, unit: Unit = "px"
) -> np.ndarray:
    """Return the neurons whose centre lies in a closed polygon of (x, y) corners.

    Examples
    --------
    >>> om.select_polygon(session, [(0.0, 0.0), (500.0, 0.0), (0.0, 500.0)])
    array([ 9, 28])

    Notes
    -----
    `unit` is "px" on the mean image, or "um" in the microscope's frame.
    """
    points = _positions(session, unit)[:, :2]
    return np.flatnonzero(are_inside(points, np.asarray(corners, float)))


def are_inside(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return whether points (n, 2) lie inside a closed polygon (k, 2); NaN never does.

    Both have the same order of axes. Fewer than three corners enclose nothing.
    """
    if len(corners) < 3:
        return np.zeros(len(points), bool)
    y, x = points[:, :1], points[:, 1:]
    y0, x0 = corners.T
    y1, x1 = np.roll(corners, -1, axis=0).T
    # Even-odd rule: a ray from the point in the direction of x crosses an odd number of
    # edges. Half-open comparisons count a corner for one of its two edges only.
    crosses = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Horizontal edges divide by 0; they never cross the ray.
        at = (x1 - x0) * (y - y0) / (y1 - y0) + x0
    return np.asarray((crosses & (x < at)).sum(axis=1) % 2 == 1)


# -- by score or filter -------------------------------------------------------------
def select_scores(scores: np.ndarray, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Return the neurons with a score (P,) from `low` to `high`, both included.

    Examples
    --------
    >>> om.select_scores(np.array([0.1, 0.5, np.nan]), low=0.2)
    array([1])
    """
    scores = np.asarray(scores)
    return np.flatnonzero((scores >= low) & (scores <= high))


def select_where(
    session: Session,
    words: str,
    *,
    mask: Mask | None = None,
    span: tuple[int, int] | None = None,
    scores: np.ndarray | None = None,
) -> np.ndarray:
    """Return the neurons that a filter selects: `"V1 depth<250 | LM score>0.3"`.

    Examples
    --------
    >>> om.select_where(session, "V1 depth<250")[:5]
    array([ 3,  7,  8, 13, 14])

    Notes
    -----
    The language and the columns are those of `neuron_table`; `mask` (in `span`, by
    default the whole window) gives the column `state`, `scores` the column `score`.

    Raises
    ------
    MaskError
        A term is invalid; the message shows a valid one.
    """
    return matching_neurons(words, table_columns(session, mask, span, scores))


# -- at random ------------------------------------------------------------------------
def random_subset(
    session: HasNeurons | int, n: int, seed: int, *, among: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Return the first `n` neurons of a seed's order.

    Examples
    --------
    >>> om.random_subset(session, 4, seed=0)
    array([11, 27,  4, 24])
    >>> om.random_subset(session, 2, seed=0, among=[4, 5, 11])
    array([11,  4])

    Notes
    -----
    Larger subsets of a seed contain the smaller ones.

    Parameters
    ----------
    session
        A session, or its number of neurons.
    n
        Number of neurons to draw.
    seed
        Seed of the order. A strategy that shows n neurons with this seed shows these.
    among
        Draw from these only, in the same order.

    Raises
    ------
    MaskError
        There are fewer than `n`.
    """
    # Filtered after drawing, so that a subset of `among` keeps the order of the seed.
    order = random_order(session, seed)
    if among is not None:
        order = order[np.isin(order, among)]
    if not 0 <= n <= len(order):
        raise MaskError(f"Cannot draw {n} neurons of {len(order)}.")
    return order[:n]


def _positions(session: Session, unit: Unit) -> np.ndarray:
    """Return positions (P, 2 or 3), NaN if unknown."""
    by_unit = {"px": session.units.xy_px, "um": session.units.xyz_um}
    if unit not in by_unit:
        raise ValueError(f"A unit is 'px' or 'um', not {unit!r}.")
    if np.isnan(by_unit[unit]).all():
        raise _unknown(session, f"positions in {unit}")
    return np.asarray(by_unit[unit], float)


def _unknown(session: Session, name: str) -> MaskError:
    return MaskError(f"Session {session.id!r} has no {name}; `omnimouse info` lists its content.")


def _absent(session: Session, name: str, present: Iterable[object]) -> MaskError:
    return MaskError(
        f"Session {session.id!r} has no {name}; there are {', '.join(map(str, present))}."
    )


def half_population_mask(
    session: HasNeurons | int,
    seed: int = 0,
    video: bool = True,
    behavior: bool = True,
    targets: Sequence[int] | np.ndarray = (),
    spec: WindowSpec | None = None,
) -> Mask:
    """Return a mask with half of the neurons visible and the others as targets.

    The visible half is random, for the whole window; targets are the second half of the
    window (OmniMouse: the last second).

    Parameters
    ----------
    session
        A session, or its number of neurons.
    seed
        Seed of the order in which neurons are drawn.
    video, behavior
        Whether video and behaviour are visible.
    targets
        Neurons that belong to the target half, as far as it has room. The sizes of the
        halves and the random order of the other neurons do not change.
    spec
        Rates and sizes of the windows; those of `default_spec()` by default.

    Examples
    --------
    >>> from omnimouse_model.masks.selection import half_population_mask
    >>> mask = half_population_mask(100)
    >>> int(mask.visible.any(axis=0).sum()), int(mask.target.any(axis=0).sum())
    (50, 50)
    """
    total = count_neurons(session)
    # The sizes of the halves never change, so a long list of targets is cut.
    reserved = np.asarray(targets, int)[: total - total // 2]
    others = np.setdiff1d(np.arange(total), reserved)
    visible = random_subset(total, total // 2, seed, among=others)
    hidden = np.setdiff1d(np.arange(total), visible)
    mask = Mask.nothing(session, spec or default_spec()).show(visible).ask(hidden)
    mask = mask.with_frames(video).with_behavior(behavior)
    return replace(mask, name="half of the population")


# -- grow and shrink a set of neurons by a distance -----------------------------------
# Distances are in µm or in pixels of the mean image, whichever is known for more neurons:
# µm in three dimensions, pixels within a plane.
_BLOCK = 128
_PLANE_APART = 1e6
"""Pixels from one plane to the next: positions in pixels say nothing across planes."""


def distance_unit(session: Session) -> str:
    """Return the unit of distances between neurons: "µm", "px", or "" if unknown.

    The unit in which more neurons have a position; "µm" if both have as many.
    """
    # Column by column: `all` over an axis of two takes 50 times as long.
    in_um, in_px = (
        np.count_nonzero(np.isfinite(places[:, 0]) & np.isfinite(places[:, 1]))
        for places in (session.units.xyz_um, session.units.xy_px)
    )
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
        A negative distance.
    MaskError
        The session has no positions.
    """
    positions = _scaled_positions(session, distance)
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


def _scaled_positions(session: Session, distance: float) -> np.ndarray:
    """Return positions (P, 3), NaN if unknown."""
    if not distance >= 0:
        raise ValueError(f"A distance is 0 or more, not {distance}.")
    unit, units = distance_unit(session), session.units
    if not unit:
        raise MaskError(f"Session {session.id!r} has no positions.")
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
