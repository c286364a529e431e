"""Reader of a `sequence` device of an experanto folder: samples and their clock."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.typed_fields import (
    count,
    flag,
    float_dtype,
    number,
    positive,
    wrong,
)
from omnimouse_model.data.signal import Signal
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.array_file import ArrayFile
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.files import bad_file, is_there, label, size_of, unless_missing
from omnimouse_model.storage.trees import read_yaml_mapping

# Samples by which the declared end may lie after the last sample. In the official
# sessions it is 2.6 to 7.3 samples.
_MAX_DEFICIT = 10


def read_sequence(root: Path, name: str, notes: Notes) -> tuple[Signal, Mapping[str, Any]]:
    """Return the stream of one device, with mapped samples, and its metadata.

    Raises
    ------
    SessionFormatError
        If the device is empty, or its description and files do not agree.
    """
    folder = root / name
    path = folder / "meta.yml"
    meta = read_yaml_mapping(path, root)
    if meta.get("modality") != "sequence":
        raise wrong(path, "modality", "'sequence'", meta.get("modality"))
    rate = positive(meta, "sampling_rate", path)
    start, end = number(meta, "start_time", path), number(meta, "end_time", path)
    if end < start:
        raise SessionFormatError(
            path,
            "bad_key",
            f"{label(path)}: end_time {end} lies before start_time {start}",
            "correct the times in that file",
        )
    file = _samples(folder, meta, notes)
    signal = Signal(name, file, rate, start, end, _phase_shifts(root, folder, meta))
    _check_not_empty(signal, path)
    _check_timestamps(signal, folder, notes)
    return _within_data(signal, notes), meta


def _samples(folder: Path, meta: Mapping[str, Any], notes: Notes) -> ArrayFile:
    path, is_mapped = data_file(folder, "data", meta)
    if is_there(path.with_suffix(".npy" if is_mapped else ".mem")):
        notes.warn(
            "two_data_files",
            f"{folder.name} holds data.npy and data.mem; {path.name} is read",
        )
    return _mem_samples(path, meta) if is_mapped else _npy_samples(path, meta)


def data_file(folder: Path, stem: str, meta: Mapping[str, Any]) -> tuple[Path, bool]:
    """Return the file with the values of a device, and whether it has no header (not `.npy`).

    Raises
    ------
    SessionFormatError
        There is none.
    """
    # Two revisions of the reference package differ: one follows `is_mem_mapped`, the
    # other ignores it and prefers `.npy`. Without the key, `.npy` is read here.
    npy, mem = folder / f"{stem}.npy", folder / f"{stem}.mem"
    mapped, has_npy = flag(meta, "is_mem_mapped", folder / "meta.yml"), is_there(npy)
    has_mem = is_there(mem)
    if not has_npy and not has_mem:
        raise SessionFormatError(
            folder,
            "missing_data",
            f"{folder.name}: neither {npy.name} nor {mem.name} found",
            "was the download complete?",
        )
    is_mapped = has_mem and (mapped is True or not has_npy)
    return (mem if is_mapped else npy), is_mapped


def _mem_samples(path: Path, meta: Mapping[str, Any]) -> ArrayFile:
    described = path.with_name("meta.yml")
    rows = count(meta, "n_timestamps", described)
    columns = count(meta, "n_signals", described)
    dtype = float_dtype(meta, described)
    size, expected = size_of(path), rows * columns * dtype.itemsize
    # `.mem` has no header. A file that is too long must be refused as well: with a
    # wrong number of columns, all values would be read at wrong places.
    if size != expected:
        raise bad_file(
            path,
            "wrong_size",
            f"has {size:,} bytes; {rows:,}×{columns:,}×{dtype.itemsize} "
            f"= {expected:,} expected ({_size_difference(size, expected, columns)})",
            "incomplete download? fetch it again"
            if size < expected
            else "correct n_signals or n_timestamps in meta.yml",
        )
    return ArrayFile(path, dtype, (rows, columns), inside=path.parents[1])


def _size_difference(size: int, expected: int, columns: int) -> str:
    if size < expected:
        return f"short by {100 * (expected - size) / expected:.0f} %"
    # The most common fault: a column more than `n_signals` says.
    if expected and size % expected == 0:
        factor = size // expected
        word = {2: "twice", 3: "three times"}.get(factor, f"{factor} times")
        return f"{word} as long: does it hold {factor * columns} columns?"
    return f"long by {size - expected:,} bytes"


def _npy_samples(path: Path, meta: Mapping[str, Any]) -> ArrayFile:
    described = path.with_name("meta.yml")
    columns = count(meta, "n_signals", described)
    file = npy_file(path, path.parents[1])
    if file.dtype.kind not in "fiu":
        raise bad_file(path, "wrong_shape", f"holds {file.dtype}, not numbers")
    # (time,) is accepted as one column.
    stored = file.shape[1] if len(file.shape) == 2 else 1
    if len(file.shape) not in (1, 2) or stored != columns:
        raise _shape_error(path, file.shape, "n_signals", columns)
    if "n_timestamps" in meta:
        rows = count(meta, "n_timestamps", described)
        if file.shape[0] != rows:
            raise _shape_error(path, file.shape, "n_timestamps", rows)
    return file


def _shape_error(path: Path, shape: tuple[int, ...], key: str, declared: int) -> SessionFormatError:
    return bad_file(
        path,
        "wrong_shape",
        f"is {shape} but meta.yml says {key} {declared}",
        "rows are time, columns are signals",
    )


def _phase_shifts(root: Path, folder: Path, meta: Mapping[str, Any]) -> np.ndarray | None:
    """Return the phase shift per column in seconds, float64; None if not declared.

    float32 shifts would turn bounds in Unix time into float32 (NumPy 2), which resolves
    only 128 s there.
    """
    if not flag(meta, "phase_shift_per_signal", folder / "meta.yml"):
        return None
    path = folder / "meta" / "phase_shifts.npy"
    shifts = load_small_array(path, root)
    columns = count(meta, "n_signals", folder / "meta.yml")
    if shifts.size != columns:
        raise SessionFormatError(
            path,
            "wrong_length",
            f"phase_shifts.npy has {shifts.size} values for {columns} units",
            "one shift per column of the data",
        )
    if shifts.dtype.kind not in "fiu" or not np.isfinite(shifts).all():
        raise bad_file(
            path,
            "not_finite",
            "holds values that are not finite numbers",
            "every column needs a shift in seconds",
        )
    return shifts.reshape(-1).astype(np.float64)


def _check_not_empty(signal: Signal, path: Path) -> None:
    columns = "units" if signal.name == "responses" else "channels"
    counts = {columns: signal.n_columns, "samples": signal.n_samples}
    for name, n in counts.items():
        if not n:
            raise SessionFormatError(
                path, "empty", f"{signal.name} hold 0 {name}", "nothing can be shown"
            )


def _within_data(signal: Signal, notes: Notes) -> Signal:
    """Return the stream with its declared end cut if it lies far beyond the data.

    An end a few samples beyond the data is usual. It is not cut, so that window starts
    equal those of the reference package; times beyond the data are invalid when read.
    """
    step = 1.0 / signal.rate_hz
    last = signal.start + (signal.n_samples - 1) * step
    beyond = (signal.end_declared - last) / step
    if beyond > _MAX_DEFICIT:
        notes.warn(
            "end_beyond_data",
            f"{signal.name}: end_time lies {beyond:.0f} samples after the last one; "
            "validity is cut to the data",
        )
        return replace(signal, end_declared=last)
    # Half a sample: the declared end may be rounded.
    if beyond < -0.5:
        notes.warn(
            "end_before_data",
            f"{signal.name}: end_time lies {-beyond:.0f} samples before the last one; "
            "what follows it is not used",
        )
    return signal


def _check_timestamps(signal: Signal, folder: Path, notes: Notes) -> None:
    """Compare the declared rate with stored timestamps, if there are any.

    The reference package never reads them, so they only lead to warnings.
    """
    path = folder / "timestamps.npy"
    times = unless_missing(lambda: npy_file(path, folder.parent).open())
    if times is None or times.ndim != 1 or len(times) < 2 or times.dtype.kind != "f":
        return
    spans = np.diff(times.astype(np.float64))
    span = float(times[-1]) - float(times[0])
    actual = (len(times) - 1) / span if span > 0 else math.inf
    if abs(actual - signal.rate_hz) > 1e-3 * signal.rate_hz:
        notes.warn(
            "rate_disagrees",
            f"{signal.name}: declared {signal.rate_hz:g} Hz, timestamps say "
            f"{actual:.4g} Hz; the declared rate is used",
        )
    gaps = int((spans > 1.5 / signal.rate_hz).sum())
    # If the rate is wrong by much, every step looks like a gap.
    if gaps and abs(actual - signal.rate_hz) < 0.3 * signal.rate_hz:
        notes.warn(
            "gaps_in_timestamps",
            f"{signal.name}: timestamps.npy has {gaps} gap{'s' * (gaps > 1)}, the "
            f"longest {spans.max():.2f} s; constant sampling is assumed",
        )
