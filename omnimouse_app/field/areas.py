"""Where the brain areas of a field end, as outlines.

A place belongs to the area that most of the neurons nearest to it are of, as far as
there are neurons; so areas never overlap, and one stray neuron moves no border.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree
from skimage.measure import approximate_polygon, find_contours

_CELLS = 160
"""Places along the longer side of a plane: borders are told to a hundredth of it."""
_NEAREST = 7
"""Neurons that a place is told by."""
_REACH = 3.0
"""How far from a neuron an area goes, in usual distances to the nearest other."""
_LEAST_SHARE = 0.02
"""Smaller pieces of an area, as a share of its plane, are not drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class AreaOutline:
    """One closed piece of a border; the largest of an area in a plane `is_named`.

    `yx` is (n, 2) in pixels of the field, the first place again at the end; `plane` is
    the recording's own number.
    """

    area: str
    plane: int
    yx: np.ndarray
    is_named: bool


def area_outlines(
    centres: np.ndarray, area: np.ndarray, plane: np.ndarray
) -> list[AreaOutline]:
    """Outline the areas in every plane, the largest piece of an area first.

    Parameters
    ----------
    centres
        (P, 2) of the neurons (y, x) on the field, NaN unknown.
    area
        (P,) names, "" unknown.
    plane
        (P,) numbers: planes lie beside each other and have outlines of their own.
    """
    known = np.isfinite(centres).all(axis=1) & (area != "")
    found: list[AreaOutline] = []
    for number in np.unique(plane[known]):
        own = known & (plane == number)
        places, names = centres[own].astype(float), area[own].astype(str)
        found.extend(_of_plane(int(number), places, names))
    return found


def _of_plane(
    plane: int, centres: np.ndarray, area: np.ndarray
) -> Iterator[AreaOutline]:
    names, which = np.unique(area, return_inverse=True)
    tree = KDTree(centres)
    near = tree.query(centres, k=[min(2, len(centres))])[0]
    usual = max(float(np.median(near)), 1.0)
    # Beyond its neurons an area ends: another plane may begin there.
    ends = centres.min(axis=0) - usual / 2, centres.max(axis=0) + usual / 2
    low = ends[0] - usual
    extent = ends[1] + usual - low
    step = float(extent.max()) / _CELLS
    shape = np.ceil(extent / step).astype(int) + 1
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = np.stack([y.ravel(), x.ravel()], axis=1) * step + low
    owner = _owners(tree, which, len(names), places, _REACH * usual)
    owner[((places < ends[0]) | (places > ends[1])).any(axis=1)] = -1
    owner = owner.reshape(y.shape)
    for number, name in enumerate(names):
        contours = find_contours((owner == number).astype(np.float32), 0.5)
        pieces = sorted(contours, key=_enclosed, reverse=True)
        large = [p for p in pieces if _enclosed(p) >= _LEAST_SHARE * y.size]
        for rank, piece in enumerate(large or pieces[:1]):
            simple = approximate_polygon(piece, 0.5)
            yield AreaOutline(str(name), plane, simple * step + low, rank == 0)


def _owners(
    tree: KDTree, which: np.ndarray, n_areas: int, places: np.ndarray, reach: float
) -> np.ndarray:
    """Area of every place, -1 where no neuron is near: the nearest's in a tie."""
    count = min(_NEAREST, tree.n)
    distance, neuron = tree.query(places, k=np.arange(1, count + 1))
    votes = np.zeros((len(places), n_areas))
    rows = np.arange(len(places))
    for rank in range(count):
        votes[rows, which[neuron[:, rank]]] += 1 + (rank == 0) * 0.5
    owner = votes.argmax(axis=1)
    owner[distance[:, 0] > reach] = -1
    return np.asarray(owner)


def _enclosed(path: np.ndarray) -> float:
    """What a closed path encloses."""
    y, x = path.T
    return float(abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2)
