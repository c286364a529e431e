"""A sampled stream of a session: responses, eye tracker or treadmill."""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

from omnimouse_model.data.clock import Interval, previous_index
from omnimouse_model.data.io.phase_gather import (
    ShiftOrder,
    gather_shifted,
    shifted_rows,
)
from omnimouse_model.data.io.row_source import Rows
from omnimouse_model.data.spike_trains import SpikeTrains

SampleMode = Literal["previous", "linear"]


@runtime_checkable
class Level(Protocol):
    """Minimum, maximum and mean of every column in bins: (bins, columns, 3)."""

    @property
    def rows_per_bin(self) -> int:
        """Stored samples in a bin."""
        ...

    def mean(self, columns: slice) -> np.ndarray:
        """Means of a run of columns, float32 (bins, columns)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """A stream sampled at a constant rate, read lazily.

    Attributes
    ----------
    name
        The stream's folder: `responses`, `eye_tracker`, `treadmill`.
    file
        Where the samples are, (T, C).
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
        How windows take values between samples: "previous", as the models were
        trained, or "linear" where samples are far apart (the released recordings
        were brought to 30 Hz so).
    levels
        Summaries in bins, the finest first, where the format keeps them.
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
    _order: list[ShiftOrder] = field(default_factory=list, repr=False)

    @property
    def data(self) -> Shaped[np.ndarray, "time column"]:
        """All stored samples (T, C), not to be written to."""
        return self.read(0, self.n_samples)

    @property
    def n_samples(self) -> int:
        """Rows, T."""
        return int(self.file.shape[0])

    @property
    def n_columns(self) -> int:
        """Columns, C."""
        return int(self.file.shape[1]) if len(self.file.shape) == 2 else 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Stored type of the samples."""
        return self.file.dtype

    def valid_interval(self) -> Interval:
        """Declared native span in which every column has a value."""
        if self.shift_s is None:
            return Interval(self.start, self.end_declared)
        shift = self._shift_order().shift
        return Interval(self.start + shift[-1], self.end_declared + shift[0])

    def index(
        self, times: Float64[np.ndarray, " time"]
    ) -> Int64[np.ndarray, "time ..."]:
        """Row of every time, int64 (time,) or (time, C) with phase shifts."""
        return previous_index(times, self.start, self.rate_hz, self.shift_s)

    def read(self, first: int, stop: int) -> Shaped[np.ndarray, "time column"]:
        """Rows `first` to `stop` as stored, not to be written to."""
        stored = self.file.read(first, stop)
        return stored if stored.ndim == 2 else stored.reshape(-1, 1)

    def sample(
        self,
        times: Float64[np.ndarray, " time"],
        mode: SampleMode = "previous",
        *,
        keep_nan: bool = True,
    ) -> tuple[Shaped[np.ndarray, "valid column"], Int64[np.ndarray, " valid"]]:
        """Values at those native times that are valid, and which times those are.

        Parameters
        ----------
        times
            float64 (time,) native, in any order.
        mode
            "previous" takes the last sample at or before each time, "linear"
            interpolates (a time needs its upper neighbour in every column).
        keep_nan
            False replaces NaN by the column's mean over the returned block, with
            "linear" only.

        Returns
        -------
        values (n, C) and valid int64 (n,), indices into `times`.
        """
        times = np.asarray(times, np.float64)
        valid = np.flatnonzero(self.valid_interval().contains(times))
        rows = self.index(times[valid])
        last = rows.max(axis=1) if rows.ndim == 2 else rows
        ahead = 1 if mode == "linear" else 0
        stored = np.flatnonzero(last + ahead < self.n_samples)
        valid, rows = valid[stored], rows[stored]
        if mode == "previous":
            return self._take(rows), valid
        return self._interpolate(times[valid], rows, keep_nan), valid

    def _take(self, rows: np.ndarray) -> np.ndarray:
        # A time within rounding of the first sample has row -1, which reads the last
        # row, as in the reference; no window comes so near an edge.
        if not rows.size:
            return np.zeros((0, self.n_columns), self.dtype)
        first, stop = int(rows.min()), int(rows.max()) + 1
        if first < 0:
            first, stop = 0, self.n_samples
        slab = self.read(first, stop)
        if rows.ndim == 2:
            return np.take_along_axis(slab, rows - first, axis=0)
        return np.array(slab[rows - first])

    def _interpolate(
        self, times: np.ndarray, rows: np.ndarray, keep_nan: bool
    ) -> np.ndarray:
        step = 1.0 / self.rate_hz
        at = times[:, None] if self.shift_s is None else times[:, None] - self.shift_s
        lower_row = rows if rows.ndim == 2 else rows[:, None]
        lower = self.start + lower_row * step
        upper = self.start + (lower_row + 1) * step
        span = upper - lower
        below, above = (upper - at) / span, (at - lower) / span
        values = below * self._take(rows) + above * self._take(rows + 1)
        return values if keep_nan else _fill_with_mean(values)

    def window(
        self,
        times: Float64[np.ndarray, " time"],
        divisor: Float32[np.ndarray, " column"] | None = None,
    ) -> tuple[Float32[np.ndarray, "time column"], Bool[np.ndarray, " time"]]:
        """Full-length float32 values at ascending times, and bool (time,) validity.

        Values are those of `sample(times)`, divided by `divisor` float32 (C,) where
        one is given; invalid times hold 0. One contiguous slab of rows is read.
        """
        if self.mode == "linear":
            return self._exact_window(times, divisor)
        valid = self.valid_interval().contains(times)
        if self.shift_s is None:
            rows = previous_index(times, self.start, self.rate_hz)
            if len(rows) and (rows[0] < 0 or rows[-1] >= self.n_samples):
                valid &= (rows >= 0) & (rows < self.n_samples)
            values = self._rows(rows[valid], divisor)
        else:
            shifts = self._shift_order()
            highest, stairs = shifted_rows(times, self.start, self.rate_hz, shifts)
            if int(highest[0]) < stairs.shape[1]:
                return self._exact_window(times, divisor)
            valid &= highest < self.n_samples
            if not valid.all():
                highest, stairs = highest[valid], stairs[valid]
            if not len(highest):
                return _full_length(self._rows(highest, divisor), valid), valid
            first = int(highest[0]) - stairs.shape[1]
            slab = self.read(first, int(highest[-1]) + 1)
            values = gather_shifted(slab, highest - first, stairs, shifts, divisor)
        return _full_length(values, valid), valid

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
        float32 (n_bins, C), 0 in bins that were not recorded, and bool (n_bins,): the
        whole bin was recorded.

        Raises
        ------
        TypeError
            The stream has no event times; see `has_events`.
        """
        if not isinstance(self.file, SpikeTrains):
            raise TypeError(f"Stream {self.name!r} holds samples, not event times.")
        counts = self.file.count(start, rate_hz, n_bins)
        edges = start + np.arange(n_bins + 1) / rate_hz
        recorded = (edges[:-1] >= self.start) & (edges[1:] <= self.end_declared)
        counts[~recorded] = 0.0
        return counts, recorded

    def _exact_window(
        self, times: np.ndarray, divisor: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        values, found = self.sample(times, self.mode)
        valid = np.zeros(len(times), bool)
        valid[found] = True
        values = values.astype(np.float32)
        return _full_length(_divided(values, divisor), valid), valid

    def _rows(self, rows: np.ndarray, divisor: np.ndarray | None) -> np.ndarray:
        if not len(rows):
            return np.zeros((0, self.n_columns), np.float32)
        first, last = int(rows[0]), int(rows[-1])
        slab = self.read(first, last + 1)
        return _divided(slab[rows - first].astype(np.float32, copy=False), divisor)

    def _shift_order(self) -> ShiftOrder:
        if not self._order:
            assert self.shift_s is not None
            self._order.append(ShiftOrder.of(self.shift_s))
        return self._order[0]


def _divided(values: np.ndarray, divisor: np.ndarray | None) -> np.ndarray:
    if divisor is not None:
        values /= divisor
    return values


def _full_length(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Values at the valid times, 0 at the others."""
    if len(values) == len(valid):
        return values
    full = np.zeros((len(valid), values.shape[1]), np.float32)
    full[valid] = values
    return full


def _fill_with_mean(values: np.ndarray) -> np.ndarray:
    missing = np.isnan(values)
    if not missing.any():
        return values
    count = (~missing).sum(axis=0)
    total = np.where(missing, 0.0, values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
    return np.where(missing, mean, values)
