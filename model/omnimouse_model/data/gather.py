"""Reading phase-shifted columns fast, with exactly the floor rule of `clock`.

The index of a column falls as its shift grows, in floating point too: subtraction,
division by a positive step and floor never reverse an order. Within one row the
indices of columns sorted by shift are therefore a staircase of very few steps. Its
edges are guessed by a search, checked with the exact formula on both sides, and only
a row where the check fails is computed in full.
"""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.clock import previous_index


@dataclass(frozen=True, slots=True, eq=False)
class ShiftOrder:
    """Columns ranked by phase shift: `shift[rank]` ascending, `rank` per column."""

    shift: np.ndarray
    rank: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, shift: np.ndarray) -> "ShiftOrder":
        """Rank the columns of a stream."""
        order = np.argsort(shift, kind="stable")
        rank = np.empty(len(shift), np.int64)
        rank[order] = np.arange(len(shift))
        return cls(shift[order], rank, order)


def shifted_rows(
    times: np.ndarray, start: float, rate_hz: float, shifts: ShiftOrder
) -> tuple[np.ndarray, np.ndarray]:
    """Row read by every column: highest row (time,) and stairs (time, steps).

    In row k, column c reads `highest[k] - (number of stairs[k] <= rank[c])`.
    """
    ends = previous_index(times, start, rate_hz, shifts.shift[[0, -1]])
    highest, n_steps = ends[:, 0], int((ends[:, 0] - ends[:, 1]).max(initial=0))
    down = np.arange(n_steps)
    wanted = highest[:, None] - down[None, :]
    since = (times - start)[:, None] - wanted * (1.0 / rate_hz)
    stairs = np.searchsorted(shifts.shift, since, side="right")
    wrong = ~_are_edges(stairs, wanted, times, start, rate_hz, shifts)
    for row in np.flatnonzero(wrong.any(axis=1)):
        exact = previous_index(times[row : row + 1], start, rate_hz, shifts.shift)[0]
        stairs[row] = np.searchsorted(-exact, -wanted[row], side="right")
    return highest, stairs


def _are_edges(
    stairs: np.ndarray,
    wanted: np.ndarray,
    times: np.ndarray,
    start: float,
    rate_hz: float,
    shifts: ShiftOrder,
) -> np.ndarray:
    """Whether column stairs-1 still reads `wanted` and column stairs does not."""
    step, last = 1.0 / rate_hz, len(shifts.shift) - 1

    def row_read_by(rank: np.ndarray) -> np.ndarray:
        shifted = times[:, None] - shifts.shift[np.clip(rank, 0, last)]
        row: np.ndarray = np.floor((shifted - start) / step)
        return row

    before = (stairs == 0) | (row_read_by(stairs - 1) >= wanted)
    after = (stairs > last) | (row_read_by(stairs) < wanted)
    agreed: np.ndarray = before & after
    return agreed


def gather_shifted(
    data: np.ndarray,
    highest: np.ndarray,
    stairs: np.ndarray,
    shifts: ShiftOrder,
) -> np.ndarray:
    """Take every column at its own row from a (row, column) array, one slab read."""
    n_times, n_columns = len(highest), len(shifts.rank)
    lowest = int(highest.min()) - stairs.shape[1]
    slab = np.ascontiguousarray(data[max(lowest, 0) : int(highest.max()) + 1])
    usual = np.median(stairs, axis=0).astype(np.int64)
    drop = np.zeros(n_columns, np.int64)
    for edge in usual:
        drop += shifts.rank >= edge
    columns = np.arange(n_columns) - drop * n_columns
    flat = (highest - max(lowest, 0))[:, None] * n_columns + columns[None, :]
    _mend(flat, stairs, usual, shifts.order)
    taken: np.ndarray = slab.reshape(-1).take(flat, mode="clip")
    return taken.reshape(n_times, n_columns)


def _mend(
    flat: np.ndarray, stairs: np.ndarray, usual: np.ndarray, order: np.ndarray
) -> None:
    """Correct the rows whose stairs lie elsewhere than in most rows."""
    n_columns = flat.shape[1]
    rows, steps = np.nonzero(stairs != usual[None, :])
    for row, step in zip(rows.tolist(), steps.tolist(), strict=True):
        edge, other = int(stairs[row, step]), int(usual[step])
        if edge > other:
            flat[row, order[other:edge]] += n_columns
        else:
            flat[row, order[edge:other]] -= n_columns
