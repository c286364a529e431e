"""Arrays by name, in memory or in an `.npz`: accepted names, types and shapes."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.decode_text import decode_texts, text_of
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.array_file import ArrayFile
from omnimouse_model.storage.arrays.npy import Npz
from omnimouse_model.storage.arrays.row_source import MemoryRows, Rows
from omnimouse_model.storage.files import plain_text

KEYS: dict[str, str] = {
    "responses": "(time, neuron)",
    "spike_times": "(spike,) instead of responses",
    "spike_unit": "(spike,) whole numbers: the unit of each spike, from 0",
    "stop_s": "end of the recording, with spike_times",
    "probe": "(neuron,) texts: the probe of each unit",
    "quality": "(neuron,) numbers or texts: the quality label of each unit",
    "rate_hz": "responses per second",
    "start_s": "time of the first response",
    "unit_ids": "(neuron,) whole numbers",
    "area": "(neuron,) texts",
    "plane": "(neuron,) whole numbers",
    "xyz_um": "(neuron, 3)",
    "xy_px": "(neuron, 2) x and y on the mean image",
    "roi_labels": "(height, width) whole numbers: 0, or neuron + 1",
    "mean_image": "(height, width)",
    "video": "(frame, height, width[, 3]) gray 0-255",
    "video_times": "(frame,) onsets",
    "video_rate_hz": "frames per second, where there are no video_times",
    "video_start_s": "time of the first frame, with video_rate_hz",
    "running": "(time,) cm/s",
    "running_rate_hz": "samples per second",
    "running_start_s": "time of the first sample",
    "wheel": "(time,) speed of the wheel in rad/s, instead of running",
    "wheel_rate_hz": "samples per second",
    "wheel_start_s": "time of the first sample",
    "pose": "(time,) a coordinate of the body in px, with the samples of the wheel",
    "pupil_size": "(time,)",
    "pupil_x": "(time,)",
    "pupil_y": "(time,)",
    "pupil_rate_hz": "samples per second",
    "pupil_start_s": "time of the first sample",
    "trial_start": "(trial,)",
    "trial_stop": "(trial,)",
    "trial_tier": "(trial,) texts: train, validation, test, …",
    "trial_stim_id": "(trial,) texts or numbers",
    "trial_side": "(trial,) texts or numbers: side of the stimulus",
    "trial_choice": "(trial,) texts or numbers: choice of the animal",
    "trial_block": "(trial,) texts or numbers: block of the trial",
    "trial_outcome": "(trial,) texts or numbers: outcome of the trial",
    "id": "the session's name",
    "animal_id": "the animal's name",
}
"""Accepted names; all times in seconds on one clock. The first two are required."""


_SYNONYMS = {
    **dict.fromkeys(("fs", "rate", "fps", "sampling_rate"), "rate_hz"),
    **dict.fromkeys(("speed", "velocity", "treadmill", "locomotion"), "running"),
    **dict.fromkeys(("f", "spks", "traces", "dff", "data", "arr_0"), "responses"),
    **dict.fromkeys(("tier", "tiers", "split"), "trial_tier"),
    **dict.fromkeys(("stimulus", "frames", "movie", "screen"), "video"),
}
"""Names (lower case) that are not accepted, and the accepted name to suggest for each."""
_MAX_REPEATED_BYTES = 2**30
"""Bytes of an array whose entries share memory (broadcast), such as one value for all frames."""
_POSITIONS = ("xyz_um", "xy_px")


class NamedArrays:
    """Arrays by name; each is checked when it is read.

    Vectors may have one row or one column, as MATLAB saves them. Masked values are NaN.
    """

    def __init__(self, arrays: Mapping[str, Any], path: Path, options: ReadOptions) -> None:
        self.arrays, self.path, self.options = arrays, path, options
        # Number of all units, and rows int64 of those that are read; None for all.
        self.n_units: int | None = None
        self.chosen: np.ndarray | None = None
        for name in arrays:
            # A misspelled name must not be ignored: its data would be missing silently.
            if name not in KEYS:
                near = get_close_matches(str(name), KEYS, 1)
                likely = _SYNONYMS.get(str(name).lower(), near[0] if near else "")
                hint = f"did you mean {likely}?" if likely else "see docs/sessions.md"
                raise self.wrong(name, "is not an accepted name", hint)
        if "responses" not in arrays and "spike_times" not in arrays:
            hint = "a session needs responses, or spike_times and spike_unit"
            raise self.wrong("responses", "is missing", hint)

    def wrong(self, name: str, problem: str, hint: str = "") -> SessionFormatError:
        """Return the error for an array that does not fit."""
        return SessionFormatError(
            self.path,
            "bad_array",
            f"{self.path.name}: {name} {problem}",
            hint or f"{name} is {KEYS.get(name, 'unknown')}",
        )

    def stored(self, name: str) -> np.ndarray:
        """Return an array as it is, except masked values, objects and truth values."""
        if isinstance(self.arrays, Npz):
            return _as_bytes(self.arrays[name])
        value: Any = self.arrays[name]
        # Objects in memory run their own code when they are asked for their values.
        try:
            values = np.asarray(value)
            low, high = byte_bounds(values)
            is_repeated = values.nbytes > max(_MAX_REPEATED_BYTES, high - low)
            if isinstance(value, np.ma.MaskedArray) and values.dtype.kind in "fiu":
                kind = np.result_type(values.dtype, np.float32)
                values = np.ma.filled(value.astype(kind), np.nan)
            if values.dtype.kind == "O":
                values = _without_objects(values)
        except Exception as error:
            problem = f"is no array: {type(error).__name__}: {plain_text(str(error), 100)}"
            raise self.wrong(name, problem) from error
        if is_repeated:
            problem = f"repeats its values to {values.nbytes:,} bytes, {values.shape}"
            raise self.wrong(name, problem, "give an array that holds its values")
        return _as_bytes(values)

    def length(self, name: str) -> int:
        """Return the number of entries of an array for neurons or samples."""
        arrays = self.arrays
        shape = arrays.shape(name) if isinstance(arrays, Npz) else self.stored(name).shape
        if len(shape) == 2 and 1 in shape and name not in _POSITIONS:
            return int(max(shape))
        return int(shape[0]) if shape else 0

    def numbers(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray | None:
        """Return an array of numbers, None if absent.

        None in `shape` means any length of at least 1.
        """
        if name not in self.arrays:
            return None
        return self._numbers(name, self.stored(name), shape)

    def _numbers(self, name: str, values: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
        """Return values that are numbers of a shape."""
        values = _as_vector(values, len(shape))
        fits = len(values.shape) == len(shape) and all(
            n > 0 if w is None else n == w for n, w in zip(values.shape, shape, strict=True)
        )
        if values.dtype.kind not in "fiu" or not fits:
            wanted = f"{_shape_text(name, shape)} numbers" if shape else "one number"
            problem, hint = f"is {values.shape} {values.dtype}; {wanted} expected", ""
            if not values.size:
                problem = f"is {values.shape}: it holds no value"
            if values.dtype.kind in "US" and not shape:
                hint = f"give {name} as a number, without quotes"
            if name == "responses" and values.ndim == 1:
                problem += ", one column for each neuron"
                hint = "of a single neuron: responses[:, None]"
            if name == "responses" and values.ndim == 3:
                hint = "join trials one after the other in time, as trial_start states"
            raise self.wrong(name, problem, hint)
        return values

    def integers(self, name: str, count: int) -> np.ndarray | None:
        """Return an array of `count` whole numbers, None if absent."""
        values = self.numbers(name, (count,))
        if values is None or (values == np.round(values)).all():
            return values
        raise self.wrong(name, "contains numbers that are not whole")

    def number(self, name: str, least: float = -np.inf) -> float | None:
        """Return a finite number above `least`, None if absent."""
        if name not in self.arrays:
            return None
        values = self.stored(name)
        # A rate for each sample states one number if all are equal.
        if values.ndim == 1 and len(values) > 1 and (values == values[0]).all():
            values = values[0]
        else:
            values = self._numbers(name, values, ())
        if not np.isfinite(values) or values <= least:
            above = "" if least == -np.inf else f" above {least:g}"
            raise self.wrong(name, f"is {values}; a finite number{above} expected")
        return float(values)

    def texts(self, name: str, count: int) -> np.ndarray | None:
        """Return an array of `count` texts, None if absent."""
        if name not in self.arrays:
            return None
        values = _as_vector(self.stored(name), 1)
        if values.dtype.kind not in "US" or values.shape != (count,):
            raise self.wrong(name, f"is {values.shape} {values.dtype}; ({count},) texts expected")
        return decode_texts(values)

    def names(self, name: str, count: int) -> np.ndarray | None:
        """Return `count` texts, also of numbers such as 3 or 22.5; None if absent.

        A number that is not finite is an unknown name, "".
        """
        values = self.values(name, count)
        if values is None or values.dtype.kind not in "fiu":
            return values
        names = [str(value).removesuffix(".0") for value in values]
        return np.where(np.isfinite(values), names, "")

    def values(self, name: str, count: int) -> np.ndarray | None:
        """Return an array of `count` texts or numbers, None if absent."""
        if name in self.arrays and self.stored(name).dtype.kind in "US":
            return self.texts(name, count)
        return self.numbers(name, (count,))

    def rows(self, name: str, values: np.ndarray, *, is_transposed: bool = False) -> Rows:
        """Return the rows of an array: in their file if not compressed, else in memory.

        `values` may have been converted; then the stored array is not used.

        Parameters
        ----------
        is_transposed
            Whether `values` has the axes of the stored array in the other order.
        """
        file = self.arrays.file(name) if isinstance(self.arrays, Npz) else None
        if file is None or file.dtype != values.dtype:
            return MemoryRows(self.path, values)
        if is_transposed:
            shape, fortran = file.shape[::-1], not file.fortran
            return ArrayFile(file.path, file.dtype, shape, file.offset, fortran)
        return file

    def text(self, name: str) -> str | None:
        """Return one text, None if absent."""
        return None if name not in self.arrays else text_of(self.stored(name))


def _shape_text(name: str, shape: tuple[int | None, ...]) -> str:
    """Return a shape with the names of the axes that may have any length."""
    listed = KEYS.get(name, "").partition(")")[0].removeprefix("(")
    axes = listed.removesuffix(",").split(", ")
    names = axes if len(axes) == len(shape) else ["any"] * len(shape)
    sizes = [text if n is None else str(n) for n, text in zip(shape, names, strict=True)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _as_vector(values: np.ndarray, n_axes: int) -> np.ndarray:
    """Return values without axes of length 1 that were not expected."""
    if n_axes == 1 and values.ndim == 2 and 1 in values.shape:
        return values.reshape(-1)
    return values.reshape(()) if n_axes == 0 and values.size == 1 else values


def _as_bytes(values: np.ndarray) -> np.ndarray:
    """Return truth values as numbers."""
    return values.astype(np.uint8) if values.dtype.kind == "b" else values


def _without_objects(values: np.ndarray) -> np.ndarray:
    """Return objects as numbers or texts, if all of them are; else as they are."""
    if all(isinstance(value, str) for value in values.flat):
        return values.astype(np.str_)
    if all(isinstance(value, bytes) for value in values.flat):
        return values.astype(np.bytes_)
    if all(value is None or isinstance(value, int | float) for value in values.flat):
        return values.astype(np.float64)  # None becomes NaN
    return values
