"""Orders of the rows of the raster, and the neurons of each row on screen.

Recordings have more neurons than the raster has pixel rows. Rows are ordered (by
state, score, …) and the part in view is divided into at most `MAX_ROWS` bins of equal
size. Painting a bin paints every neuron in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from omnimouse_model import masks
from omnimouse_model.data.neurons import Units
from omnimouse_model.data.session import Window
from omnimouse_model.display import number_text
from omnimouse_model.live.neurons.neuron_order import SimilarityOrder
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState, RasterOrder
from omnimouse_model.masks.mask import changed_neurons, has_rules_of

MAX_ROWS: Final = 250
UNREAD: Final = 4
"""Display code of visible cells in runs too short for a token: not model input."""
UNSCORED_TARGET: Final = 5
"""Display code of target cells too close to visible ones: not predicted."""
MISSING: Final = 6
"""Display code of cells without a recorded response: neither input nor scored."""
HATCHED_CODES: Final = (UNREAD, UNSCORED_TARGET, MISSING)

Ordering = RasterOrder


def row_order(keys: np.ndarray | None, n_neurons: int) -> np.ndarray:
    """Return the neuron of each row, sorted by a key; ties and NaN keep stored order.

    Parameters
    ----------
    keys
        (P,) numbers, smallest on top, NaN at the bottom; None for stored order.
    n_neurons
        P.
    """
    if keys is None:
        return np.arange(n_neurons)
    return np.argsort(keys, kind="stable")


RasterImage = Literal["truth", "prediction", "residual"]


@dataclass(frozen=True, slots=True, eq=False)
class RasterPicture:
    """Values (n_samples, P) with the levels and colours to draw them in.

    Attributes
    ----------
    image, title
        What is drawn, and its name.
    ends
        Numbers of the end colours of a residual, else ().
    """

    image: RasterImage
    values: np.ndarray
    levels: tuple[float, float]
    table: np.ndarray
    title: str
    ends: tuple[str, ...] = ()


def rows_in_view(n_rows: int, low: float, high: float) -> tuple[int, int]:
    """Return (first, last + 1) rows at whole bins; panning then does not flicker."""
    # Ceiling division: at most MAX_ROWS bins of equal size.
    size = max(1, -(-int(np.ceil(high - low)) // MAX_ROWS))
    start = int(np.floor(low / size)) * size
    stop = int(np.ceil(high / size)) * size
    return max(0, start), min(n_rows, stop)


@dataclass(frozen=True, slots=True, eq=False)
class RasterRows:
    """Screen rows: the ordered neurons from `start` to `stop`, in equal bins.

    Attributes
    ----------
    order
        int (P,): neuron of each row of the whole raster.
    start, stop
        The rows in view.
    edges
        int (rows + 1,): where each bin starts in `order`.
    members
        int (size, rows): neurons of each bin, the last repeated to fill up.
    weights
        float32 (size, rows): 1 / bin size, 0 for the repeats.
    """

    order: np.ndarray
    start: int
    stop: int
    edges: np.ndarray
    members: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, order: np.ndarray, start: int, stop: int, max_rows: int = MAX_ROWS) -> "RasterRows":
        """Bin the rows `start` to `stop` of an ordering."""
        start, stop = max(0, start), min(len(order), stop)
        size = max(1, -(-(stop - start) // max_rows))
        edges = np.append(np.arange(start, stop, size), stop)
        counts = np.diff(edges)
        within = np.arange(size)[:, None]
        # Equal sizes make `members` a rectangular array; the repeats in the last bin
        # have weight 0, so that they do not count.
        at = edges[:-1] + np.minimum(within, counts - 1)
        weights = np.where(within < counts, 1 / np.maximum(counts, 1), 0)
        return cls(order, start, stop, edges, order[at], weights.astype(np.float32))

    def __len__(self) -> int:
        return len(self.edges) - 1

    def neurons(self, low: float, high: float) -> np.ndarray:
        """Return the neurons of every bin that overlaps rows low to high."""
        if high < self.start or low >= self.stop or len(self) == 0:
            return np.empty(0, np.int64)
        first, last = self.bin_at(low), self.bin_at(high)
        return self.order[self.edges[first] : self.edges[last + 1]]

    def bin_at(self, row: float) -> int:
        """Return the bin of a row; the nearest bin if the row is out of view."""
        number = int(np.searchsorted(self.edges, row, side="right")) - 1
        return min(max(number, 0), len(self) - 1)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return bin means: (n_samples, P) to (rows, n_samples); NaN is ignored."""
        if self.members.shape[0] == 1:
            return np.ascontiguousarray(values[:, self.members[0]].T)
        picked = np.take(values, self.members.ravel(), axis=1).reshape(-1, *self.members.shape)
        # Without NaN, one contraction is sufficient; this is the usual case for
        # recordings. A NaN would be in it, too.
        total = np.asarray(np.einsum("tkr,kr->rt", picked, self.weights))
        if not np.isnan(total).any():
            return total
        is_known = ~np.isnan(picked)
        weight = np.einsum("tkr,kr->rt", is_known, self.weights)
        total = np.einsum("tkr,kr->rt", np.where(is_known, picked, 0), self.weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(total / weight, np.float32)

    def codes(
        self,
        mask: masks.Mask,
        window: Window | None = None,
        before: tuple[masks.Mask, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Return uint8 (rows, n_samples) display codes; 3 (mixed) if a bin is mixed.

        Visible cells that form no token are `UNREAD`; target cells excluded by a rule
        are `UNSCORED_TARGET`. Bins without a recorded response in the window are
        `MISSING`. `before` are another mask of the window and its codes, from which
        bins without a changed neuron are taken.
        """
        if before is None or not has_rules_of(before[0], mask):
            return self._codes(mask, window, np.arange(len(self)))
        is_changed = np.zeros(mask.n_neurons, bool)
        is_changed[changed_neurons(before[0], mask)] = True
        bins = np.flatnonzero(is_changed[self.members].any(axis=0))
        codes = before[1].copy()
        codes[bins] = self._codes(mask, window, bins)
        return codes

    def _codes(self, mask: masks.Mask, window: Window | None, bins: np.ndarray) -> np.ndarray:
        members = self.members[:, bins]
        # All cells at once are faster than those of most neurons, one by one.
        few = members.size < mask.n_neurons // 2
        neurons = members.ravel() if few else slice(None)
        cells = mask.cells[:, neurons]
        read, scored = masks.input_cells(mask, neurons), masks.scored_cells(mask, neurons)
        # In one array, because to pick cells costs more than the rest: code + 4 if used.
        picked = cells | np.where(cells == masks.VISIBLE, read, scored).view(np.uint8) << 2
        if not few:
            picked = np.take(picked, members.ravel(), axis=1)
        picked = picked.reshape(len(cells), *members.shape)
        is_used, picked = picked.max(axis=1) >= 4, picked & 3
        low, high = picked.min(axis=1), picked.max(axis=1)
        codes = np.where(low == high, low, np.uint8(masks.MIXED))
        # A bin is hatched where no rule lets one of its neurons be read or scored.
        for code, display in ((masks.VISIBLE, UNREAD), (masks.TARGET, UNSCORED_TARGET)):
            codes[(low == code) & (high == code) & ~is_used] = display
        # While the model changes, the window can still be that of another spec.
        if window is not None and window.spec == mask.spec:
            missing = window.missing
            if missing is not None:
                of_bins = missing[:, members.ravel()].reshape(picked.shape)
                codes[of_bins.all(axis=1)] = MISSING
        return np.ascontiguousarray(codes.T)


def groups(numbers: np.ndarray) -> list[tuple[int, int, int]]:
    """Return runs of equal numbers along rows: (first, last + 1, number)."""
    if not len(numbers):
        return []
    changes = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    bounds = [0, *changes.tolist(), len(numbers)]
    return [(first, last, int(numbers[first])) for first, last in pairwise(bounds)]


ORDERINGS: Final[dict[Ordering, str]] = {
    "stored": "as stored",
    "state": "by state",
    "score": "by score",
    "similarity": "by similarity",
    "area": "by area",
    "depth": "by depth",
    "x": "left to right",
    "y": "top to bottom",
}
MEANINGS: Final[dict[Ordering, str]] = {
    "stored": "The order of the recording's own columns",
    "state": "Targets, visible, mixed, hidden",
    "score": "The best predicted on top",
    "similarity": "Alike in what they did in all of the recording (a sample of 160 s)",
    "area": "Brain area, and state within it",
    "depth": "Shallow neurons on top",
    "x": "Where they lie across the field",
    "y": "Where they lie along the field",
}
# `PATTERN_NAMES` has one block of patterns per mask code, in the order of the codes;
# the raster shows the blocks in another order.
_BY_RANK: Final = (masks.TARGET, masks.VISIBLE, masks.MIXED, masks.HIDDEN)
_N_ENDS: Final = len(masks.PATTERN_NAMES) // len(_BY_RANK)
# `_ORDER` lists the patterns from top to bottom; `_RANK` is its inverse.
_ORDER: Final = np.concatenate([np.arange(_N_ENDS) + s * _N_ENDS for s in _BY_RANK])
_RANK: Final = np.argsort(_ORDER).astype(np.uint8)
"""Row rank of every pattern: targets, visible, mixed, hidden.

One byte holds a rank, and two bytes hold area and rank; NumPy sorts such keys in
linear time (radix sort).
"""
# Two lines: the labels stand in the narrow space beside the rows.
_PATTERN_LABELS: Final = [
    masks.PATTERN_NAMES[at].replace(masks.TRANSITION, f"\n{masks.TRANSITION.lstrip()}")
    for at in _ORDER
]

Tick = tuple[float, str]


@dataclass(frozen=True, slots=True, eq=False)
class Arrangement:
    """Neurons from top to bottom, and (row, label) ticks."""

    order: np.ndarray
    ticks: tuple[Tick, ...]


def arrange(
    ordering: Ordering,
    units: Units,
    mask: masks.Mask,
    span: tuple[int, int],
    scores: np.ndarray | None,
    similarity: np.ndarray | None = None,
) -> Arrangement:
    """Order the rows of a session.

    Parameters
    ----------
    ordering
        Quantity to order by; stored order if the session lacks it.
    units
        The session's neurons.
    mask, span
        Span of samples of the states; mixed states are ordered by their first and last
        state.
    scores
        float32 (P,), NaN where unknown, or None.
    similarity
        int (P,): the neuron of each row by similarity, or None.
    """
    n = mask.n_neurons
    patterns = np.asarray(_RANK[mask.patterns_in(span)])
    if ordering == "state":
        return _grouped(patterns, _PATTERN_LABELS)
    if ordering == "score" and scores is not None and len(scores) == n:
        # Best on top: `row_order` sorts ascending, with NaN last.
        return _ranked(-scores, lambda key: number_text(-key))
    if ordering == "similarity" and similarity is not None and len(similarity) == n:
        return Arrangement(similarity, _numbered(np.arange(n)))
    if ordering in ("x", "y", "depth") and not missing(ordering, units):
        places, unit = _places(ordering, units)
        return _ranked(places, lambda key: f"{number_text(key, 0)} {unit}")
    if ordering == "area" and units.area is not None:
        names, numbers = np.unique(units.area, return_inverse=True)
        # By state within an area, so that bins contain neurons of one state.
        return _grouped(numbers, [str(name) for name in names], within=patterns)
    # The fallback shows every neuron, in an order that the user can look up in the
    # file.
    return Arrangement(row_order(None, n), _numbered(units.names))


def missing(ordering: Ordering, units: Units) -> str:
    """Return what the session lacks for an ordering, or ""."""
    if ordering == "area" and units.area is None:
        return "no areas are known"
    if ordering in ("x", "y", "depth") and np.isnan(_places(ordering, units)[0]).all():
        return f"no {'depths' if ordering == 'depth' else 'positions'} are known"
    return ""


def order_text(state: LiveState, results: Results, neuron_order: SimilarityOrder) -> str:
    """Return why the chosen order is not applied, or ""."""
    session, ordering = state.session, state.raster_order
    if session is None:
        return ""
    if ordering == "similarity":
        return _similarity_text(neuron_order)
    problem = missing(ordering, session.units)
    if ordering == "score" and results.shown_scores is None:
        problem = "no scores yet"
    return f"{problem}: as stored" if problem else ""


def _similarity_text(similarity: SimilarityOrder) -> str:
    if similarity.order is not None:
        return ""
    if similarity.error is not None:
        return f"⚠ not compared: {similarity.error}"
    if similarity.is_stopped:
        return "not compared: as stored"
    return f"◌ {similarity.message or 'Comparing neurons'}"


def _places(ordering: Ordering, units: Units) -> tuple[np.ndarray, str]:
    """Return positions along an axis and their unit; pixels if µm are unknown."""
    axis = ("x", "y", "depth").index(ordering)
    places = units.xyz_um[:, axis]
    # Depth has no equivalent in pixels.
    if axis < 2 and np.isnan(places).all():
        return units.xy_px[:, axis], "px"
    return places, "µm"


def _grouped(
    numbers: np.ndarray, names: list[str], within: np.ndarray | None = None
) -> Arrangement:
    """Order by group, then by `within`; each group has a label at its middle."""
    keys = (
        numbers
        if within is None
        else (numbers.astype(np.uint16) * np.uint16(len(_PATTERN_LABELS)) + within)
    )
    order = row_order(keys, len(numbers))
    least = len(order) / 16  # smaller groups have no space for a label
    ticks = [
        ((first + last) / 2, names[number])
        for first, last, number in groups(numbers[order])
        if last - first >= least
    ]
    return Arrangement(order, tuple(ticks))


def _ranked(keys: np.ndarray, label: Callable[[float], str]) -> Arrangement:
    """Order by ascending key; up to five rows have a label."""
    order = row_order(keys, len(keys))
    ticks = []
    for row in _spread(len(order)):
        key = keys[order[row]]
        ticks.append((row + 0.5, "–" if np.isnan(key) else label(key)))
    return Arrangement(order, tuple(ticks))


def _numbered(numbers: np.ndarray) -> tuple[Tick, ...]:
    return tuple((row + 0.5, str(numbers[row])) for row in _spread(len(numbers)))


def _spread(n: int, count: int = 5) -> list[int]:
    """Return up to `count` evenly spaced rows from first to last."""
    rows = np.linspace(0, max(n - 1, 0), min(count, n)).astype(int)
    return [int(row) for row in np.unique(rows)]
