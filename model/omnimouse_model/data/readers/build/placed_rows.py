"""Samples on an even grid with time that was not recorded: pauses and lost frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.storage.arrays.rows import Rows

GAP = 1.5
"""A step between two samples that is longer than this many samples is a gap."""
_PAUSE_S = 0.5
_PAUSE_SAMPLES = 2.5
"""A gap is a pause if more time is missing than both; a shorter one is lost frames."""


class PlacedRows:
    """Stored samples at places of an even grid, NaN elsewhere; see `Rows`.

    A gap costs no memory: only the samples have places.

    Parameters
    ----------
    rows
        Stored samples (T, C).
    source, place
        int64 (n,), both increasing: rows of `rows` that are used, and their rows on
        the grid.
    n_rows
        Rows of the grid.
    """

    _rows: Rows
    _source: np.ndarray
    _place: np.ndarray

    def __init__(self, rows: Rows, source: np.ndarray, place: np.ndarray, n_rows: int) -> None:
        self.path: Path = rows.path
        self.shape: tuple[int, ...] = (n_rows, int(np.prod(rows.shape[1:], dtype=int)))
        # Integers cannot hold NaN.
        self.dtype: np.dtype[Any] = np.result_type(rows.dtype, np.float32)
        if isinstance(rows, PlacedRows):
            # Places of places are places of the samples below.
            is_stored, source = rows._stored(source)
            place, rows = place[is_stored], rows._rows
        self._rows, self._source, self._place = rows, source, place

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self._rows.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return grid rows `first` to `stop`, NaN where nothing was recorded."""
        stop = max(first, min(stop, self.shape[0]))
        values = np.full((stop - first, self.shape[1]), np.nan, self.dtype)
        begin, end = np.searchsorted(self._place, [first, stop])
        if begin < end:
            source = self._source[begin:end]
            low, high = int(source[0]), int(source[-1]) + 1
            stored = self._rows.read(low, high).reshape(high - low, -1)
            values[self._place[begin:end] - first] = stored[source - low]
        return values

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered grid rows (ascending) of a slice of columns."""
        is_stored, source = self._stored(rows)
        stored = self._rows.pick(source, columns)
        values = np.full((len(rows), stored.shape[1]), np.nan, self.dtype)
        values[is_stored] = stored
        return values

    def _stored(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which grid rows are stored, and their stored rows."""
        at = np.searchsorted(self._place, rows)
        is_stored = at < np.searchsorted(self._place, rows, side="right")
        return is_stored, self._source[at[is_stored]]


def sample_places(times: np.ndarray, rate_hz: float) -> tuple[np.ndarray, float]:
    """Return the grid row of each sample, and their largest deviation in rows.

    The grid begins at the first sample. Rows are counted anew after each gap: whatever
    the jitter and the phase of a stretch, no sample is lost or doubled in it.

    Parameters
    ----------
    times
        float64 (n,) increasing native times.
    rate_hz
        Samples per second between gaps.

    Returns
    -------
    place
        int64 (n,) grid rows, increasing.
    deviation
        From the even clock of a stretch, whose phase is free.
    """
    begin = np.concatenate([[0], np.flatnonzero(np.diff(times) > GAP / rate_hz) + 1])
    first = np.zeros(len(times), np.int64)
    first[begin] = begin
    first = np.maximum.accumulate(first)
    # Phase of a stretch: the mean over its samples, so that the jitter of one sample
    # does not move the others.
    ordinal = np.arange(len(times)) - first
    late = (times - times[0]) * rate_hz - ordinal
    count = np.diff(np.append(begin, len(times)))
    phase = np.add.reduceat(late, begin) / count
    deviation = float(np.abs(late - np.repeat(phase, count)).max())
    row = np.rint(phase).astype(np.int64)
    row[0] = 0
    # A stretch begins after the end of the one before it, also after rounding.
    for k in range(1, len(row)):
        row[k] = max(row[k], row[k - 1] + count[k - 1])
    return np.asarray(np.repeat(row, count) + ordinal, np.int64), deviation


def stretches(
    place: np.ndarray,
    n_rows: int,
    start: float,
    rate_hz: float,
    joints: Sequence[int] = (),
) -> tuple[np.ndarray | None, int]:
    """Return the recorded spans and the number of lost samples within them.

    Parameters
    ----------
    place
        int64 (n,) increasing grid rows at which the population was recorded; at least
        one.
    n_rows
        Rows of the grid.
    start, rate_hz
        Native time of grid row 0, rows per second.
    joints
        Grid rows at which a new stretch begins although no row is missing before it:
        the first sample of a file that was appended to another one.

    Returns
    -------
    spans
        float64 (span, 2), see `Signal.recorded_spans`; None for one stretch.
    n_missing
        Samples that are missing within the spans.
    """
    lost = np.diff(place) - 1
    is_pause = lost > max(_PAUSE_S * rate_hz, _PAUSE_SAMPLES)
    begins = np.isin(place[1:], np.asarray(joints, np.int64))
    # A joint whose first frames are missing begins at the first frame that is not.
    for joint in joints:
        after = int(np.searchsorted(place, joint))
        if 0 < after < len(place):
            begins[after - 1] = True
    edges = np.flatnonzero(is_pause | begins)
    n_missing = int(lost.sum() - lost[edges].sum())
    # Nothing but one stretch from the first row to the last.
    if not len(edges) and place[0] == 0 and place[-1] == n_rows - 1:
        return None, n_missing
    first = np.concatenate([place[:1], place[edges + 1]])
    last = np.concatenate([place[edges], place[-1:]])
    return start + np.stack([first, last], axis=1) / rate_hz, n_missing
