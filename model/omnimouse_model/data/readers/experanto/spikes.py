"""Reader of a `spikes` device of an experanto folder: spike times of units."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.clock_precision import refuse_quantised
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.spike_counts import ROW_RATE_HZ, spike_signal
from omnimouse_model.data.readers.build.typed_fields import (
    flag,
    float_dtype,
    number,
    wrong,
)
from omnimouse_model.data.signal import Signal
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.array_file import ArrayFile
from omnimouse_model.storage.arrays.npy import npy_file
from omnimouse_model.storage.files import bad_file, label
from omnimouse_model.storage.trees import read_yaml_mapping

# Spike times checked at once: a limit on memory for long recordings.
_CHECKED = 2**24


def read_spikes(root: Path, name: str, notes: Notes) -> tuple[Signal, Mapping[str, Any]]:
    """Return the spikes of a device as responses, and the metadata."""
    folder = root / name
    path = folder / "meta.yml"
    meta = read_yaml_mapping(path, root)
    start, end = number(meta, "start_time", path), number(meta, "end_time", path)
    if (end - start) * ROW_RATE_HZ < 1:
        raise SessionFormatError(
            path,
            "bad_key",
            f"{label(path)}: end_time {end} leaves no sample after start_time {start}",
            "correct the times in that file",
        )
    offsets = _offsets(meta, path)
    file = _times(folder, meta, int(offsets[-1]))
    _check_times(file, offsets)
    return spike_signal(file, offsets, start, end, notes), meta


def _offsets(meta: Mapping[str, Any], path: Path) -> np.ndarray:
    value = meta.get("spike_indices")
    # `type`, because bool is a subclass of int; the limit is that of int64.
    is_sound = (
        isinstance(value, list)
        and len(value) > 1
        and all(type(i) is int and 0 <= i < 2**62 for i in value)
        and value[0] == 0
        and sorted(value) == value
    )
    if not is_sound:
        expected = "ascending whole numbers from 0, one more than units"
        raise wrong(path, "spike_indices", expected, value)
    return np.array(value, np.int64)


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
        file = ArrayFile(mem, dtype, (_count(mem, dtype),), inside=folder.parent)
    else:
        file = npy_file(npy, folder.parent)
    if len(file.shape) != 1 or file.shape[0] != n_spikes or file.dtype.kind != "f":
        raise bad_file(
            file.path,
            "wrong_shape",
            f"is {file.shape} {file.dtype}; spike_indices of meta.yml say ({n_spikes},) times",
            "was the download complete?",
        )
    return file


def _count(path: Path, dtype: np.dtype[Any]) -> int:
    """Return how many numbers a file without a header holds."""
    size = path.stat().st_size
    count, remainder = divmod(size, dtype.itemsize)
    if remainder:
        raise bad_file(
            path,
            "wrong_size",
            f"has {size:,} bytes, {remainder} more than {count:,} times of {dtype}",
            "was the download complete?",
        )
    return count


def _check_times(file: ArrayFile, offsets: np.ndarray) -> None:
    """Raise unless times are precise, finite and ascending within each unit."""
    # Blocks overlap by one spike, so that the order is also checked between them.
    for first in range(0, file.shape[0], _CHECKED):
        part = file.read(max(0, first - 1), first + _CHECKED)
        _check_order(file, part, max(0, first - 1), offsets)
        refuse_quantised(part, file.path)


def _check_order(file: ArrayFile, times: np.ndarray, first: int, offsets: np.ndarray) -> None:
    """Check the order of a block of times that begins at index `first`."""
    falls = np.flatnonzero(~(np.diff(times) >= 0)) + 1 + first
    # Times may fall where the next unit begins.
    falls = falls[~np.isin(falls, offsets)]
    invalid = np.flatnonzero(~np.isfinite(times)) + first
    if len(falls) or len(invalid):
        at = int(min([*falls[:1], *invalid[:1]]))
        raise bad_file(
            file.path,
            "not_ascending",
            f"does not ascend within a unit at index {at}",
            "spike times must be sorted within each unit, in seconds",
        )
