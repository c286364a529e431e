"""Mapping of neurons to screen rows of the raster: ordering and binning.

Recordings have more neurons than the raster has pixel rows. Rows are ordered (by
state, score, …) and the part in view is divided into at most `MAX_ROWS` bins of equal
size. Painting a bin paints every neuron in it.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_model.live.state import RasterOrder
from omnimouse_model.masks import HIDDEN, MIXED, Mask, input_cells, scored_cells

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
        picked = values[:, self.members.ravel()].reshape(-1, *self.members.shape)
        is_known = ~np.isnan(picked)
        # Without NaN, one contraction is sufficient; this is the usual case for
        # recordings.
        if is_known.all():
            return np.asarray(np.einsum("tkr,kr->rt", picked, self.weights))
        weight = np.einsum("tkr,kr->rt", is_known, self.weights)
        total = np.einsum("tkr,kr->rt", np.where(is_known, picked, 0), self.weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(total / weight, np.float32)

    def codes(self, mask: Mask, window: Window | None = None) -> np.ndarray:
        """Return uint8 (rows, n_samples) display codes; 3 (mixed) if a bin is mixed.

        Visible cells that form no token are `UNREAD`; target cells excluded by a rule
        are `UNSCORED_TARGET`. Bins without a recorded response in the window are
        `MISSING`.
        """
        picked = mask.cells[:, self.members.ravel()].reshape(-1, *self.members.shape)
        low, high = picked.min(axis=1), picked.max(axis=1)
        codes = np.where(low == high, low, np.uint8(MIXED))
        binned = _as_mask(codes, mask)
        codes[binned.visible & ~input_cells(binned)] = UNREAD
        codes[binned.target & ~scored_cells(binned)] = UNSCORED_TARGET
        # While the model changes, the window can still be that of another spec.
        if window is not None and window.spec == mask.spec:
            missing = window.missing
            if missing is not None:
                of_bins = missing[:, self.members.ravel()].reshape(picked.shape)
                codes[of_bins.all(axis=1)] = MISSING
        return np.ascontiguousarray(codes.T)


def _as_mask(codes: np.ndarray, mask: Mask) -> Mask:
    """Return a mask with bins as neurons and the same rules; mixed bins are hidden."""
    layout = mask.token_layout
    if layout is not None:
        # The order of tokens refers to neurons; here each bin is its own neuron.
        layout = replace(layout, order=np.arange(codes.shape[1]))
    # A mask has no code for mixed cells. Hidden cells are neither `UNREAD` nor
    # `UNSCORED_TARGET`, so mixed bins are not hatched.
    cells = np.where(codes == MIXED, np.uint8(HIDDEN), codes)
    return replace(mask, cells=cells, token_layout=layout)


def groups(numbers: np.ndarray) -> list[tuple[int, int, int]]:
    """Return runs of equal numbers along rows: (first, last + 1, number)."""
    if not len(numbers):
        return []
    changes = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    bounds = [0, *changes.tolist(), len(numbers)]
    return [(first, last, int(numbers[first])) for first, last in pairwise(bounds)]
