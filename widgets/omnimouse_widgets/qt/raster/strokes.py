"""Geometry of strokes on the raster: the cells that a stroke covers; no Qt.

Positions are floats (sample, row); cell (i, j) covers [i, i + 1) x [j, j + 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor, hypot, sqrt

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Block:
    """Rectangle of cells: a slice of samples, and row positions from low to high."""

    samples: slice
    low: float
    high: float


def brush_blocks(
    start: Point, stop: Point, radius: Point, n_samples: int
) -> list[Block]:
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
    spans: dict[int, tuple[float, float]] = {}
    for x, y in _stamps(start, stop, radius):
        for column, low, high in _ellipse(x, y, radius, n_samples):
            if column in spans:
                low, high = min(low, spans[column][0]), max(high, spans[column][1])
            spans[column] = (low, high)
    return _joined(spans)


def box_block(start: Point, stop: Point, n_samples: int) -> Block:
    """Return the cells that the rectangle between two positions touches."""
    low, high = sorted((start[1], stop[1]))
    return Block(_samples(start[0], stop[0], n_samples), low, high)


def _samples(first: float, last: float, n_samples: int) -> slice:
    # Positions outside the raster give an empty slice, not negative indices.
    low, high = sorted((floor(first), floor(last)))
    return slice(min(max(low, 0), n_samples), max(min(high + 1, n_samples), 0))


def _stamps(start: Point, stop: Point, radius: Point) -> Iterator[Point]:
    """Yield positions at most half a radius apart, so that a stroke has no gaps."""
    # At least half a cell, so that a tiny brush does not need thousands of stamps.
    across, down = max(radius[0], 0.5), max(radius[1], 0.5)
    length = hypot((stop[0] - start[0]) / across, (stop[1] - start[1]) / down)
    steps = max(1, ceil(2 * length))
    for step in range(steps + 1):
        t = step / steps
        yield start[0] + t * (stop[0] - start[0]), start[1] + t * (stop[1] - start[1])


def _ellipse(
    x: float, y: float, radius: Point, n_samples: int
) -> Iterator[tuple[int, float, float]]:
    """Yield (sample, low row, high row) of the columns that an ellipse touches."""
    first = max(0, floor(x - radius[0]))
    last = min(n_samples - 1, floor(x + radius[0]))
    for column in range(first, last + 1):
        # Horizontal distance from the centre to the nearest edge of the column.
        away = max(0.0, column - x, x - column - 1)
        share = away / radius[0] if radius[0] else 0.0
        half = radius[1] * sqrt(max(0.0, 1 - share * share))
        yield column, y - half, y + half


def _joined(spans: dict[int, tuple[float, float]]) -> list[Block]:
    """Merge adjacent columns with equal rows into one block."""
    blocks: list[Block] = []
    for column, (low, high) in sorted(spans.items()):
        last = blocks[-1] if blocks else None
        if last and (last.samples.stop, last.low, last.high) == (column, low, high):
            blocks[-1] = Block(slice(last.samples.start, column + 1), low, high)
        else:
            blocks.append(Block(slice(column, column + 1), low, high))
    return blocks
