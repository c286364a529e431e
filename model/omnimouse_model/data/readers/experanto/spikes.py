"""Reader of a `spikes` device of an experanto folder: spike counts per time bin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.clock import RESPONSE_RATE_HZ
from omnimouse_model.data.io.safe_files import (
    ArrayFile,
    label,
    npy_file,
    read_yaml_mapping,
)
from omnimouse_model.data.readers.build.clock_precision import refuse_quantised
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.size_limits import check_extent
from omnimouse_model.data.readers.build.typed_fields import (
    flag,
    float_dtype,
    number,
    wrong,
)
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.spike_trains import SpikeTrains
from omnimouse_model.errors import SessionFormatError

# Spike times checked at once, and largest block of bins or values read at once: limits
# on memory for long recordings.
_CHECKED = 2**24
_BLOCK = 4096
_BLOCK_VALUES = 2**24


class SpikeCounts:
    """Spikes per bin and unit, counted on demand; see `Rows`.

    Parameters
    ----------
    file
        Flat spike times in native seconds, grouped by unit, ascending within each.
    offsets
        int64 (n + 1,): index of the first spike of every unit.
    start, rate_hz, n_rows
        Native time of the first bin, bins per second, and number of bins.
    """

    def __init__(
        self,
        file: ArrayFile,
        offsets: np.ndarray,
        start: float,
        rate_hz: float,
        n_rows: int,
    ) -> None:
        self.path = file.path
        self.shape: tuple[int, ...] = (n_rows, len(offsets) - 1)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._file, self._offsets = file, offsets
        self._start, self._rate_hz = start, rate_hz

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self._file.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return counts of bins `first` to `stop`, float32 (stop - first, n)."""
        stop = min(stop, self.shape[0])
        height, n = max(0, stop - first), self.shape[1]
        times = self._file.open()
        begin = self._reached(times, self._start + first / self._rate_hz)
        end = self._reached(times, self._start + stop / self._rate_hz)
        count = np.maximum(end - begin, 0)
        # Unit of each spike in the span, and its number within that unit.
        unit = np.repeat(np.arange(n), count)
        within = np.arange(len(unit)) - np.repeat(np.cumsum(count) - count, count)
        found = times[begin[unit] + within]
        since = found.astype(np.float64) - self._start
        row = np.floor(since * self._rate_hz).astype(np.int64) - first
        # Rounding can put a spike at an edge one bin outside; clip it into the span.
        # One bincount over flat cells counts all units at once.
        place = np.clip(row, 0, max(0, height - 1)) * n + unit
        counts = np.bincount(place, minlength=height * n)[: height * n]
        return counts.reshape(height, n).astype(np.float32)

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return counts of scattered bins (ascending) of a slice of units."""
        picked = [np.zeros((0, self.shape[1]), np.float32)[:, columns]]
        height = max(1, min(_BLOCK, _BLOCK_VALUES // self.shape[1]))
        for block in np.split(rows, np.flatnonzero(np.diff(rows // height)) + 1):
            if len(block):
                slab = self.read(int(block[0]), int(block[-1]) + 1)
                picked.append(slab[block - block[0], columns])
        return np.concatenate(picked)

    def _reached(self, times: np.ndarray, when: float) -> np.ndarray:
        """Return the index of the first spike at or after a time, for every unit.

        All units are bisected at once, int64 (n,).
        """
        low, high = self._offsets[:-1].copy(), self._offsets[1:].copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            # Finished units read spike 0 instead of an index beyond the end.
            before = open_ & (times[np.where(open_, middle, 0)] < when)
            high = np.where(open_ & ~before, middle, high)
            low = np.where(before, middle + 1, low)
        return low


def read_spikes(
    root: Path, name: str, notes: Notes
) -> tuple[Signal, Mapping[str, Any]]:
    """Return spike counts at the model's rate as responses, and the metadata."""
    folder = root / name
    path = folder / "meta.yml"
    meta = read_yaml_mapping(path, root)
    start, end = number(meta, "start_time", path), number(meta, "end_time", path)
    n_rows = int((end - start) * RESPONSE_RATE_HZ)
    if n_rows <= 0:
        raise SessionFormatError(
            path,
            "bad_key",
            f"{label(path)}: end_time {end} leaves no sample after start_time {start}",
            "correct the times in that file",
        )
    check_extent(path, name, n_rows, RESPONSE_RATE_HZ)
    offsets = _offsets(meta, path)
    file = _times(folder, meta, int(offsets[-1]))
    notes.links([file.path], root)
    _check_times(file, offsets)
    notes.assume(
        "spike_counts",
        f"{name}: responses are spikes counted in bins of 1/{RESPONSE_RATE_HZ:g} s",
    )
    # Bins begin at start_time; an incomplete last bin is dropped.
    counts = SpikeCounts(file, offsets, start, RESPONSE_RATE_HZ, n_rows)
    stop = start + n_rows / RESPONSE_RATE_HZ
    return Signal("responses", counts, RESPONSE_RATE_HZ, start, stop), meta


def _offsets(meta: Mapping[str, Any], path: Path) -> np.ndarray:
    found = meta.get("spike_indices")
    expected = "ascending whole numbers from 0, one more than units"
    whole = isinstance(found, list) and all(
        isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 2**62 for i in found
    )
    if not whole or not isinstance(found, list) or len(found) < 2:
        raise wrong(path, "spike_indices", expected, found)
    offsets = np.array(found, np.int64)
    if offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise wrong(path, "spike_indices", expected, found)
    return offsets


def _times(folder: Path, meta: Mapping[str, Any], n_spikes: int) -> ArrayFile:
    npy, mem, path = folder / "spikes.npy", folder / "spikes.mem", folder / "meta.yml"
    if not npy.exists() and not mem.exists():
        raise SessionFormatError(
            folder,
            "missing_data",
            f"{folder.name}: neither spikes.npy nor spikes.mem found",
            "was the download complete?",
        )
    if mem.exists() and (flag(meta, "is_mem_mapped", path) or not npy.exists()):
        dtype = float_dtype(meta, path) if "dtype" in meta else np.dtype(np.float64)
        file = ArrayFile(mem, dtype, (_count(mem, dtype),))
    else:
        file = npy_file(npy)
    if len(file.shape) != 1 or file.shape[0] != n_spikes or file.dtype.kind != "f":
        raise SessionFormatError(
            file.path,
            "wrong_shape",
            f"{label(file.path)} is {file.shape} {file.dtype}; spike_indices of "
            f"meta.yml say ({n_spikes},) times",
            "was the download complete?",
        )
    return file


def _count(path: Path, dtype: np.dtype[Any]) -> int:
    """Return how many numbers a file without a header holds."""
    size = path.stat().st_size
    count, left = divmod(size, dtype.itemsize)
    if left:
        raise SessionFormatError(
            path,
            "wrong_size",
            f"{label(path)} has {size:,} bytes, {left} more than {count:,} times "
            f"of {dtype}",
            "was the download complete?",
        )
    return count


def _check_times(file: ArrayFile, offsets: np.ndarray) -> None:
    """Raise unless times are precise, finite and ascending within each unit."""
    times = file.open()
    # Blocks overlap by one spike, so that the order is also checked between them.
    for first in range(0, len(times), _CHECKED):
        part = times[max(0, first - 1) : first + _CHECKED]
        _check_order(file, part, max(0, first - 1), offsets)
        refuse_quantised(part, file.path)


def _check_order(
    file: ArrayFile, times: np.ndarray, first: int, offsets: np.ndarray
) -> None:
    """Check the order of a block of times that begins at index `first`."""
    falls = np.flatnonzero(~(np.diff(times) >= 0)) + 1 + first
    # Times may fall where the next unit begins.
    falls = falls[~np.isin(falls, offsets)]
    lost = np.flatnonzero(~np.isfinite(times)) + first
    if len(falls) or len(lost):
        at = int(min([*falls[:1], *lost[:1]]))
        raise SessionFormatError(
            file.path,
            "not_ascending",
            f"{label(file.path)} does not ascend within a unit at index {at}",
            "spike times must be sorted within each unit, in seconds",
        )
