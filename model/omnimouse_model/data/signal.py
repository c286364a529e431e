"""A sampled stream of a session: responses, eye tracker or treadmill."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

from omnimouse_model.data.clock import Interval, previous_index
from omnimouse_model.data.spike_trains import SpikeTrains
from omnimouse_model.storage.arrays.rows import Rows

# -- fast gathering of phase-shifted columns, with exactly the floor rule of `clock`
_SLACK = 1e-2
"""Extra samples of shift spread, so that rounding cannot hide a step."""
_GATHERED = 8192
"""Values that are gathered at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ShiftOrder:
    """Columns ranked by phase shift.

    Attributes
    ----------
    shift
        Phase shifts (s) in ascending order.
    rank
        Position of every column in `shift`.
    columns
        0, 1, … in stored order.
    walled
        `shift` with -inf before it and inf after it, so that the first and the last
        column have neighbours.
    """

    shift: Float64[np.ndarray, " column"]
    rank: Int64[np.ndarray, " column"]
    columns: Int64[np.ndarray, " column"]
    walled: Float64[np.ndarray, " wall"]

    @classmethod
    def of(cls, shift: Float64[np.ndarray, " column"]) -> "ShiftOrder":
        """Rank the columns of a stream."""
        order = np.argsort(shift, kind="stable")
        # The inverse permutation of `order`.
        rank = np.empty(len(shift), np.int64)
        rank[order] = np.arange(len(shift))
        walled = np.concatenate([[-np.inf], shift[order], [np.inf]])
        return cls(shift[order], rank, np.arange(len(shift)), walled)


def shifted_rows(
    times: Float64[np.ndarray, " time"], start: float, rate_hz: float, shifts: ShiftOrder
) -> tuple[Int64[np.ndarray, " time"], Int64[np.ndarray, "time step"]]:
    """Return the stored row that each column reads, as a staircase per time.

    Returns
    -------
    highest : int64 (time,)
        Row of the column with the smallest shift.
    stairs : int64 (time, steps)
        At time k, column c reads row `highest[k] - (number of stairs[k] <= rank[c])`.
    """
    highest = previous_index(times - shifts.shift[0], start, rate_hz)
    # Rounding may add one step to the spread of shifts, never two.
    n_steps = int((shifts.shift[-1] - shifts.shift[0]) * rate_hz + _SLACK) + 1
    step_rows = highest[:, None] - np.arange(n_steps)
    # A column still reads its row while its shift is at most `since`. The order
    # of operations differs from `previous_index`, so rounding can be off by one.
    since = (times - start)[:, None] - step_rows * (1.0 / rate_hz)
    stairs = shifts.shift.searchsorted(since, side="right")
    # Exact edges: the column before reads the row, the next does not. Same operations in
    # the same order as `previous_index`. `walled` is offset by one: index `stairs` is the
    # column before the edge.
    step, at = 1.0 / rate_hz, times[:, None]
    last = np.floor((at - shifts.walled.take(stairs) - start) / step)
    after = np.floor((at - shifts.walled.take(stairs + 1) - start) / step)
    agreed = (last >= step_rows) & (after < step_rows)
    if not agreed.all():
        for row in np.flatnonzero(~agreed.all(axis=1)):
            # `exact` decreases with rank; the negative sequence can be searched.
            at = times[row : row + 1]
            exact = previous_index(at, start, rate_hz, shifts.shift)[0]
            stairs[row] = np.searchsorted(-exact, -step_rows[row], side="right")
    return highest, stairs


def gather_shifted(
    slab: Shaped[np.ndarray, "row column"],
    highest: Int64[np.ndarray, " time"],
    stairs: Int64[np.ndarray, "time step"],
    shifts: ShiftOrder,
) -> Float32[np.ndarray, "time column"]:
    """Take every column at its own row from a stored (row, column) array."""
    n_steps, n_columns = stairs.shape[1], len(shifts.rank)
    # If the query rate equals the stored rate, nearly all times have the same
    # staircase; its index is computed once.
    common = stairs[len(stairs) // 2] if len(stairs) else np.zeros(n_steps, np.int64)
    odd = (stairs != common).any(axis=1)
    flat = np.ascontiguousarray(slab, np.float32).reshape(-1)
    gathered = np.empty((len(highest), n_columns), np.float32)
    # Rows that follow each other differ by a constant. A few at once: the index then fits
    # into a fast cache, and the calls take less time than the values.
    height = max(1, _GATHERED // n_columns)
    common_index = np.arange(height)[:, None] * n_columns + _flat_index(common, shifts)
    is_new = odd[1:] | odd[:-1] | (highest[1:] != highest[:-1] + 1)
    ends = [*(np.flatnonzero(is_new) + 1).tolist(), len(highest)]
    begin = 0
    for end in ends:
        is_odd = begin < end and odd[begin]
        index = _flat_index(stairs[begin], shifts)[None] if is_odd else common_index
        for row in range(begin, end, height):
            into = gathered[row : min(row + height, end)]
            stop = int(highest[row]) + len(into)
            # numpy buffers the output in mode "raise"; "wrap" is faster. No index wraps:
            # `_flat_index` stays within the block.
            block = flat[(stop - len(into) - n_steps) * n_columns : stop * n_columns]
            block.take(index[: len(into)], None, into, "wrap")
        begin = end
    return gathered


def _flat_index(
    edges: Int64[np.ndarray, " step"], shifts: ShiftOrder
) -> Int64[np.ndarray, " column"]:
    """Return the flat index of every column in the n + 1 rows up to the highest."""
    n_columns, n_steps = len(shifts.rank), len(edges)
    by_rank = np.full(n_columns, n_steps * n_columns)
    for edge in edges.tolist():
        by_rank[edge:] -= n_columns
    index = by_rank.take(shifts.rank)
    index += shifts.columns
    return index


# -- a sampled stream of a session: responses, eye tracker or treadmill
SampleMode = Literal["previous", "linear"]
_SLOW = 0.9
"""Samples are interpolated below this fraction of the requested rate."""


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Stored means of a stream in bins of time.

    Attributes
    ----------
    rows_per_bin
        Stored samples in a bin.
    mean
        Function that returns the means of a slice of columns, float32 (bins, columns).
    bins
        int64 (bins,) numbers of the bins, ascending: those in pauses are left out.
    """

    rows_per_bin: int
    mean: Callable[[slice], np.ndarray]
    bins: Int64[np.ndarray, " bin"]


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """A stream sampled at a constant rate, read lazily.

    Attributes
    ----------
    name
        `responses`, `eye_tracker` or `treadmill`.
    file
        The stored samples (T, C).
    rate_hz, start, end_declared
        Samples per second; native time of sample 0; declared end of validity, which
        may lie beyond the last sample.
    shift_s
        float64 (C,) time offset of every column, or None.
    names, units
        One per behaviour channel; empty for responses.
    mean, std
        float64 (C,) statistics, std never 0; None where not needed or not stored.
    mode
        Values of windows between samples: "previous", with which the released models
        were trained, or "linear": interpolated in windows with a higher rate than the
        stream, as the released recordings were upsampled.
    levels
        Stored means in bins, the finest first; empty if the format has none.
    recorded_spans
        float64 (span, 2): native times of the first and the last sample of each stretch
        that was recorded without a pause; None for one stretch. A joint of two files,
        with an unknown pause, also ends a stretch. Samples in a pause are NaN.
    rounding_s
        A time that is less than this before a sample counts as the time of the sample:
        without it, a window at the rate of the stream would repeat one sample and lose
        another wherever rounding puts a time before its sample. 0 for experanto, where
        the direct formula is part of the format.
    n_missing
        Samples within the stretches that are missing (NaN) in all columns, such as
        lost frames.
    """

    name: str
    file: Rows
    rate_hz: float
    start: float
    end_declared: float
    shift_s: Float64[np.ndarray, " column"] | None = None
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    mean: Float64[np.ndarray, " column"] | None = None
    std: Float64[np.ndarray, " column"] | None = None
    mode: SampleMode = "previous"
    levels: tuple[Level, ...] = ()
    recorded_spans: Float64[np.ndarray, "span 2"] | None = None
    n_missing: int = 0
    rounding_s: float = 0.0
    _order: list[ShiftOrder] = field(default_factory=list, repr=False)

    @classmethod
    def of_rows(
        cls, name: str, file: Rows, rate_hz: float, start: float, **fields: Any
    ) -> "Signal":
        """Return a stream that ends with its last row; see the other attributes."""
        end = start + (file.shape[0] - 1) / rate_hz
        fields.setdefault("rounding_s", rounding_of(start, end, rate_hz))
        return cls(name, file, rate_hz, start, end, **fields)

    @property
    def data(self) -> Shaped[np.ndarray, "time column"]:
        """All stored samples (T, C), not to be written to."""
        return self.file.read(0, self.n_samples)

    @property
    def n_samples(self) -> int:
        """Number of stored samples, T."""
        return int(self.file.shape[0])

    @property
    def n_columns(self) -> int:
        """Number of neurons or behaviour channels, C."""
        return int(self.file.shape[1])

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Stored type of the samples."""
        return self.file.dtype

    @property
    def recorded_s(self) -> float:
        """Seconds that were recorded: without pauses and missing samples."""
        n_samples: float = self.n_samples
        if self.recorded_spans is not None:
            # A span ends with its last sample, which lasts one step.
            first, last = self.recorded_spans.T
            n_samples = float((last - first).sum() * self.rate_hz) + len(first)
        return (n_samples - self.n_missing) / self.rate_hz

    def recorded_before(self, times: Float64[np.ndarray, " time"]) -> Float64[np.ndarray, " time"]:
        """Seconds from the first sample to native times, without pauses."""
        if self.recorded_spans is None:
            return times - self.start
        first, stop = self.recorded_spans.T
        stop = stop + 1.0 / self.rate_hz
        # The clock of recorded time stands still in each pause.
        edges = np.stack([first, stop], axis=1).ravel()
        lengths = np.stack([np.zeros(len(first)), stop - first], axis=1).ravel()
        return np.asarray(np.interp(times, edges, np.cumsum(lengths)))

    def valid_interval(self) -> Interval:
        """Declared native span in which every column has a value."""
        if self.shift_s is None:
            return Interval(self.start, self.end_declared)
        # The latest column begins last, the earliest one ends first.
        shift = self._shift_order().shift
        return Interval(self.start + shift[-1], self.end_declared + shift[0])

    def index(self, times: Float64[np.ndarray, " time"]) -> Int64[np.ndarray, "time ..."]:
        """Row of every time, int64 (time,) or (time, C) with phase shifts."""
        return previous_index(times, self._zero, self.rate_hz, self.shift_s)

    @property
    def _zero(self) -> float:
        """Native time from which row 0 is read."""
        return self.start - self.rounding_s

    def read(self, first: int, stop: int) -> Shaped[np.ndarray, "time column"]:
        """Return rows `first` to `stop` as stored."""
        return self.file.read(first, stop)

    def sample(
        self, times: Float64[np.ndarray, " time"], mode: SampleMode = "previous"
    ) -> tuple[Shaped[np.ndarray, "valid column"], Int64[np.ndarray, " valid"]]:
        """Values at the valid native times, and the indices of these times.

        Parameters
        ----------
        times
            float64 (time,) native, in any order.
        mode
            "previous" takes the last sample at or before each time, "linear"
            interpolates (a time needs its upper neighbour in every column).

        Returns
        -------
        values (n, C) and valid int64 (n,), indices into `times`.
        """
        times = np.asarray(times, np.float64)
        valid = np.flatnonzero(self.valid_interval().contains(times))
        rows = self.index(times[valid])
        # The declared end can lie after the last stored row.
        last = rows.max(axis=1) if rows.ndim == 2 else rows
        ahead = 1 if mode == "linear" else 0
        stored = np.flatnonzero(last + ahead < self.n_samples)
        valid, rows = valid[stored], rows[stored]
        if not rows.size:
            return np.zeros((0, self.n_columns), self.dtype), valid
        first, stop = int(rows.min()), int(rows.max()) + 1 + ahead
        # By rounding, a time at the first sample can get row -1, which is the last row.
        # The reference does the same, and windows keep 0.5 s from the edges.
        if first < 0:
            first, stop = 0, self.n_samples
        slab = self.file.read(first, stop)

        def take(places: np.ndarray) -> np.ndarray:
            is_shifted = places.ndim == 2
            return np.take_along_axis(slab, places, axis=0) if is_shifted else slab[places]

        if mode == "previous":
            return take(rows - first), valid
        step = 1.0 / self.rate_hz
        at = times[valid][:, None]
        if self.shift_s is not None:
            at = at - self.shift_s
        # Weights from the times of both neighbours, in the order of the reference.
        lower_row = rows if rows.ndim == 2 else rows[:, None]
        lower = self.start + lower_row * step
        upper = self.start + (lower_row + 1) * step
        span = upper - lower
        below, above = (upper - at) / span, (at - lower) / span
        return below * take(rows - first) + above * take(rows - first + 1), valid

    def window(
        self,
        times: Float64[np.ndarray, " time"],
        divisor: Float32[np.ndarray, " column"] | None = None,
    ) -> tuple[Float32[np.ndarray, "time column"], Bool[np.ndarray, " time"]]:
        """Full-length float32 values at ascending times, and bool (time,) validity.

        Values are those of `sample(times)`, divided by `divisor` float32 (C,) if there
        is one; invalid times hold 0. One contiguous slab of rows is read. With mode
        "linear", times that are denser than the samples are interpolated.
        """
        found, mode = None, self.mode
        seconds = float(times[-1] - times[0]) if len(times) > 1 else np.inf
        if mode == "previous" or not is_interpolated(self.rate_hz, (len(times) - 1) / seconds):
            mode = "previous"
            is_shifted = self.shift_s is not None
            found = self._shifted_window(times) if is_shifted else self._unshifted_window(times)
        if found is None:
            values, indices = self.sample(times, mode)
            valid = np.zeros(len(times), bool)
            valid[indices] = True
            found = values.astype(np.float32), valid
        values, valid = found
        if divisor is not None:
            values /= divisor
        if len(values) == len(valid):
            return values, valid
        full = np.zeros((len(valid), self.n_columns), np.float32)
        full[valid] = values
        return full, valid

    def _unshifted_window(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values float32 of the valid times, of the last row before each, and their validity."""
        rows = previous_index(times, self._zero, self.rate_hz)
        valid = self.valid_interval().contains(times)
        valid &= (rows >= 0) & (rows < self.n_samples)
        rows = rows[valid]
        if not len(rows):
            return self._no_values(), valid
        slab = self.file.read(int(rows[0]), int(rows[-1]) + 1)
        return slab[rows - rows[0]].astype(np.float32, copy=False), valid

    def _shifted_window(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Values of columns that are sampled at different times, and their validity.

        At one time, the column with the smallest offset reads the highest row; the
        others read that row or one of the rows below. None if rows before the first
        would be read.
        """
        shifts = self._shift_order()
        highest_row, edges = shifted_rows(times, self._zero, self.rate_hz, shifts)
        n_rows_below = edges.shape[1]
        # The rows below the highest one are read, too, and must exist.
        if int(highest_row[0]) < n_rows_below:
            return None
        valid = self.valid_interval().contains(times)
        valid &= highest_row < self.n_samples
        highest_row, edges = highest_row[valid], edges[valid]
        if not len(highest_row):
            return self._no_values(), valid
        first = int(highest_row[0]) - n_rows_below
        slab = self.file.read(first, int(highest_row[-1]) + 1)
        return gather_shifted(slab, highest_row - first, edges, shifts), valid

    def _no_values(self) -> np.ndarray:
        return np.zeros((0, self.n_columns), np.float32)

    @property
    def has_events(self) -> bool:
        """Whether the stream holds event times, which can be counted in any bins."""
        return isinstance(self.file, SpikeTrains)

    def count(
        self, start: float, rate_hz: float, n_bins: int
    ) -> tuple[Float32[np.ndarray, "time column"], Bool[np.ndarray, " time"]]:
        """Count the events in bins that begin at `start`, native time.

        Returns
        -------
        float32 (n_bins, C): NaN in bins in which a unit was not observed, 0 beyond the
        recording; and bool (n_bins,): the bin lies in the recording.

        Raises
        ------
        TypeError
            The stream has no event times; see `has_events`.
        """
        if not isinstance(self.file, SpikeTrains):
            raise TypeError(f"Stream {self.name!r} holds samples, not event times.")
        # A bin that was recorded in part has too few spikes: it is not valid.
        counts = self.file.count(start, rate_hz, n_bins)
        edges = start + np.arange(n_bins + 1) / rate_hz
        recorded = (edges[:-1] >= self.start) & (edges[1:] <= self.end_declared)
        counts[~recorded] = 0.0
        return counts, recorded

    def events(
        self, start: float, stop: float
    ) -> tuple[Int64[np.ndarray, " event"], Float64[np.ndarray, " event"]]:
        """Return column and native time of the events in [start, stop).

        Raises
        ------
        TypeError
            The stream has no event times; see `has_events`.
        """
        if not isinstance(self.file, SpikeTrains):
            raise TypeError(f"Stream {self.name!r} holds samples, not event times.")
        return self.file.between(start, stop)

    def _shift_order(self) -> ShiftOrder:
        # Sorting thousands of columns for every window would take most of its time.
        if not self._order:
            assert self.shift_s is not None
            self._order.append(ShiftOrder.of(self.shift_s))
        return self._order[0]


def rounding_of(start: float, stop: float, rate_hz: float) -> float:
    """Return `Signal.rounding_s` of a stream: far below a sample, above rounding."""
    # Times of windows are sums of a few numbers as large as these.
    spacing = 4 * float(np.spacing(max(abs(start), abs(stop))))
    return max(1e-6 / rate_hz, spacing)


def is_interpolated(rate_hz: float, requested_hz: float) -> bool:
    """Return whether samples of a rate are too few for a requested rate."""
    # Nearly equal rates, such as 29.97 and 30 Hz, are not interpolated.
    return rate_hz < _SLOW * requested_hz
