"""Borders of the brain areas of a field, as outlines.

The area of a grid place is that of the majority of its nearest neurons, up to a
maximum distance from them. Therefore areas never overlap, and a single outlying neuron
does not move a border. On probes, areas are ranges of depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.neurons import Units
from omnimouse_model.data.session import Session
from omnimouse_model.extras import named_extras
from omnimouse_model.live.inference.background_task import ReportProgress
from omnimouse_widgets import palette
from omnimouse_widgets.views.field.layout import Field
from omnimouse_widgets.views.field.probes import has_depths, probe_areas

if TYPE_CHECKING:
    from scipy.spatial import KDTree

_CELLS = 160
"""Number of grid places along the longer side of a plane."""
_NEAREST = 7
"""Number of nearest neurons that vote on the area of a grid place."""
_REACH = 3.0
"""Maximum distance of an area from a neuron, in median nearest-neighbour distances."""
_MIN_SHARE = 0.02
"""Minimum piece of an area, as a share of the plane; smaller pieces are not drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class AreaOutline:
    """One closed border of an area.

    `is_named` is True for the largest outline of an area in a plane. `yx` is (n, 2) in
    pixels of the field, with the first point repeated at the end; `plane` is the plane
    number of the recording.
    """

    area: str
    plane: int
    yx: np.ndarray
    is_named: bool


@dataclass(frozen=True, slots=True, eq=False)
class OutlinedAreas:
    """Outlines of the areas of a field, and the field to which they belong."""

    session: Session
    field: Field
    outlines: list[AreaOutline]

    @property
    def colours(self) -> np.ndarray:
        """RGBA (n, 4) of the outlines, 0-1: the colour of an area is its rank."""
        # Among all names of the session, also where some areas have no outline.
        areas = np.asarray(self.session.units.area).astype(str).tolist()
        names = sorted({*areas} - {""})
        table = palette.area_table(len(names)) / 255
        return np.asarray(table[[names.index(o.area) for o in self.outlines]])


def outline_areas(
    request: tuple[Session, Field], report: ReportProgress
) -> Iterator[OutlinedAreas]:
    """Outline the areas of a field; the work of a `BackgroundTask`."""
    session, field = request
    units = session.units
    area = np.asarray(units.area).astype(str)
    if has_depths(units):
        outlines = probe_area_outlines(units)
    else:
        outlines = area_outlines(field.centres, area, np.asarray(units.plane))
    report("Drawing areas")
    yield OutlinedAreas(session, field, outlines)


def probe_area_outlines(units: Units) -> list[AreaOutline]:
    """Return the outlines of areas along probes; the longest of an area is named."""
    parts = sorted(probe_areas(units), key=lambda part: -np.ptp(part[2][:, 0]))
    named: set[tuple[str, int]] = set()
    outlines = []
    for name, plane, path in parts:
        outlines.append(AreaOutline(name, plane, path, (name, plane) not in named))
        named.add((name, plane))
    return outlines


def area_outlines(centres: np.ndarray, area: np.ndarray, plane: np.ndarray) -> list[AreaOutline]:
    """Return the outlines of the areas in every plane, the largest piece first.

    Parameters
    ----------
    centres
        (P, 2) of the neurons (y, x) on the field, NaN unknown.
    area
        (P,) names, "" unknown.
    plane
        (P,) numbers; planes lie side by side on the field and have separate outlines.
    """
    has_area = np.isfinite(centres).all(axis=1) & (area != "")
    outlines: list[AreaOutline] = []
    for number in np.unique(plane[has_area]):
        in_plane = has_area & (plane == number)
        places, names = centres[in_plane].astype(float), area[in_plane].astype(str)
        outlines.extend(_of_plane(int(number), places, names))
    return outlines


def _of_plane(plane: int, centres: np.ndarray, area: np.ndarray) -> Iterator[AreaOutline]:
    # Imported when areas are first shown: these libraries take seconds.
    with named_extras():
        from scipy.spatial import KDTree
        from skimage.measure import approximate_polygon, find_contours

    names, area_index = np.unique(area, return_inverse=True)
    tree = KDTree(centres)
    # The nearest neighbour of a neuron is itself, so its distance to another neuron is
    # the second one; with k as a list scipy returns that column alone.
    near = tree.query(centres, k=[min(2, len(centres))])[0]
    usual = max(float(np.median(near)), 1.0)
    # Areas end half a median distance beyond the outermost neurons of the plane:
    # another plane may begin there.
    ends = centres.min(axis=0) - usual / 2, centres.max(axis=0) + usual / 2
    low = ends[0] - usual
    extent = ends[1] + usual - low
    # The grid has a margin of one median distance beyond these limits. Its border
    # places belong to no area, so every contour is closed.
    step = float(extent.max()) / _CELLS
    shape = np.ceil(extent / step).astype(int) + 1
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = np.stack([y.ravel(), x.ravel()], axis=1) * step + low
    owner = _owners(tree, area_index, len(names), places, _REACH * usual)
    owner[((places < ends[0]) | (places > ends[1])).any(axis=1)] = -1
    owner = owner.reshape(y.shape)
    for number, name in enumerate(names):
        contours = find_contours((owner == number).astype(np.float32), 0.5)
        pieces = sorted(contours, key=_enclosed, reverse=True)
        large = [p for p in pieces if _enclosed(p) >= _MIN_SHARE * y.size]
        # An area with small pieces only keeps its largest, so that no area disappears.
        for rank, piece in enumerate(large or pieces[:1]):
            # Contours are in grid steps: a tolerance of half a step removes the
            # staircase.
            simple = approximate_polygon(piece, 0.5)
            yield AreaOutline(str(name), plane, simple * step + low, rank == 0)


def _owners(
    tree: "KDTree", area_index: np.ndarray, n_areas: int, places: np.ndarray, maximum: float
) -> np.ndarray:
    """Return the area index of every place, -1 without a neuron within `maximum`."""
    count = min(_NEAREST, tree.n)
    distance, neuron = tree.query(places, k=np.arange(1, count + 1))
    votes = np.zeros((len(places), n_areas))
    rows = np.arange(len(places))
    for rank in range(count):
        # Half a vote more decides ties in favour of the nearest neuron and changes no
        # majority.
        votes[rows, area_index[neuron[:, rank]]] += 1 + (rank == 0) * 0.5
    owner = votes.argmax(axis=1)
    owner[distance[:, 0] > maximum] = -1
    return np.asarray(owner)


def _enclosed(path: np.ndarray) -> float:
    """Return the area enclosed by a closed path, by the shoelace formula."""
    y, x = path.T
    return float(abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2)
