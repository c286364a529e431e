"""Geometry of strokes on the raster: the cells that a stroke covers; no Qt.

Positions are floats (sample, row); cell (i, j) covers [i, i + 1) x [j, j + 1).
"""

from dataclasses import dataclass
from math import ceil, floor, hypot

import numpy as np

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class RasterBlock:
    """Rectangle of cells: a slice of samples, and row positions from low to high."""

    samples: slice
    low: float
    high: float


def brush_blocks(start: Point, stop: Point, radius: Point, n_samples: int) -> list[RasterBlock]:
    """Return the cells that an elliptic brush touches between two positions.

    Parameters
    ----------
    start, stop
        Previous and current position of the pointer; equal for a press.
    radius
        Radius of the brush in samples and in rows. A brush smaller than a cell still
        touches the cell under the pointer.
    n_samples
        Samples of the window.
    """
    across, down = radius
    # Stamps are at most half a radius apart, so that a stroke has no gaps. The radius
    # counts as at least half a cell: a tiny brush must not need thousands of stamps.
    x_step = (stop[0] - start[0]) / max(across, 0.5)
    y_step = (stop[1] - start[1]) / max(down, 0.5)
    x, y = np.linspace(start, stop, 1 + max(1, ceil(2 * hypot(x_step, y_step)))).T
    columns = np.arange(n_samples)[:, None]
    # (sample, stamp): horizontal distance from a stamp to the nearest edge of a column.
    away = np.maximum(0.0, np.maximum(columns - x, x - columns - 1))
    is_touched = (away == 0) | (away < across)
    share = away / across if across else away
    half = down * np.sqrt(np.maximum(0.0, 1 - share**2))
    lows = np.where(is_touched, y - half, np.inf).min(axis=1).tolist()
    highs = np.where(is_touched, y + half, -np.inf).max(axis=1).tolist()
    blocks: list[RasterBlock] = []
    for column in np.flatnonzero(is_touched.any(axis=1)).tolist():
        first, low, high = column, lows[column], highs[column]
        last = blocks[-1] if blocks else None
        # Adjacent columns with equal rows become one block.
        if last and (last.samples.stop, last.low, last.high) == (column, low, high):
            first = blocks.pop().samples.start
        blocks.append(RasterBlock(slice(first, column + 1), low, high))
    return blocks


def box_block(start: Point, stop: Point, n_samples: int) -> RasterBlock:
    """Return the cells that the rectangle between two positions touches."""
    low, high = sorted((start[1], stop[1]))
    return RasterBlock(_samples(start[0], stop[0], n_samples), low, high)


def _samples(first: float, last: float, n_samples: int) -> slice:
    # Positions outside the raster give an empty slice, not negative indices.
    low, high = sorted((floor(first), floor(last)))
    return slice(min(max(low, 0), n_samples), max(min(high + 1, n_samples), 0))
