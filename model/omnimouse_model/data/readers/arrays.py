"""Reader of plain arrays: a mapping in memory or an `.npz` with the same names.

A rate in other units, or responses as (neuron, time), are converted with a note if
other arrays prove them, and otherwise refused with both readings.

The file is long because a format is one file, from its names to the session.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.lib.array_utils import byte_bounds

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.neurons import Roi, Units, probe_numbers
from omnimouse_model.data.readers.build import checked_values, spiking_units
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units
from omnimouse_model.data.readers.build.notes import (
    UNITS_OF_TIME,
    Notes,
    ReadOptions,
    apart,
    common_time,
    eye_signal,
    is_long_enough,
    note_interpolation,
    scale_to_seconds,
    span_text,
    unit_of_times,
)
from omnimouse_model.data.readers.build.trial_files import stretches
from omnimouse_model.data.readers.build.trials import (
    COLOURS,
    PartsVideo,
    PresentationIntervals,
    TrialClock,
    build_stimulus,
    note_upright,
    shown_size,
    trial_intervals,
    trials_without_screen,
    video_parts,
    with_tiers,
)
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.display import count
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.storage.arrays.npy import Npz, zip_names
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows, Rows
from omnimouse_model.storage.byte_source import fingerprint_of
from omnimouse_model.storage.files import bad_file, begins_with, plain_text

Content = Literal["numbers", "whole numbers", "texts", "texts or numbers"]
_WHOLE: Final = "whole numbers"
_TEXTS: Final = "texts"
_EITHER: Final = "texts or numbers"


@dataclass(frozen=True, slots=True)
class Key:
    """What an accepted name holds: in words, its axes (none for one value), and its values."""

    about: str = ""
    axes: tuple[str, ...] = ()
    content: Content = "numbers"

    def __str__(self) -> str:
        """Return the help text of an array: its axes, the kind of its values, and what it is."""
        axes = ", ".join(self.axes) + "," * (len(self.axes) == 1)
        content = "" if self.content == "numbers" else self.content
        words = ": ".join(filter(None, (content, self.about)))
        return " ".join(filter(None, (f"({axes})" if axes else "", words)))


KEYS: dict[str, Key] = {
    "responses": Key(axes=("time", "neuron")),
    "spike_times": Key("instead of responses", ("spike",)),
    "spike_unit": Key("the unit of each spike, from 0", ("spike",), _WHOLE),
    "stop_s": Key("end of the recording, with spike_times"),
    "probe": Key("the probe of each unit", ("neuron",), _EITHER),
    "quality": Key("the quality label of each unit", ("neuron",), _EITHER),
    "rate_hz": Key("responses per second"),
    "start_s": Key("time of the first response"),
    "unit_ids": Key(axes=("neuron",), content=_WHOLE),
    "area": Key(axes=("neuron",), content=_EITHER),
    "plane": Key(axes=("neuron",), content=_WHOLE),
    "xyz_um": Key(axes=("neuron", "3")),
    "xy_px": Key("x and y on the mean image", ("neuron", "2")),
    "roi_labels": Key("0, or neuron + 1", ("height", "width"), _WHOLE),
    "mean_image": Key(axes=("height", "width")),
    "video": Key("gray 0-255", ("frame", "height", "width[, 3]")),
    "video_times": Key("onsets", ("frame",)),
    "video_rate_hz": Key("frames per second, where there are no video_times"),
    "video_start_s": Key("time of the first frame, with video_rate_hz"),
    "running": Key("cm/s", ("time",)),
    "running_rate_hz": Key("samples per second"),
    "running_start_s": Key("time of the first sample"),
    "wheel": Key("speed of the wheel in rad/s, instead of running", ("time",)),
    "wheel_rate_hz": Key("samples per second"),
    "wheel_start_s": Key("time of the first sample"),
    "pose": Key("a coordinate of the body in px, with the samples of the wheel", ("time",)),
    "pupil_size": Key(axes=("time",)),
    "pupil_x": Key(axes=("time",)),
    "pupil_y": Key(axes=("time",)),
    "pupil_rate_hz": Key("samples per second"),
    "pupil_start_s": Key("time of the first sample"),
    "trial_start": Key(axes=("trial",)),
    "trial_stop": Key(axes=("trial",)),
    "trial_tier": Key("train, validation, test, …", ("trial",), _TEXTS),
    "trial_stim_id": Key(axes=("trial",), content=_EITHER),
    "trial_side": Key("side of the stimulus", ("trial",), _EITHER),
    "trial_choice": Key("choice of the animal", ("trial",), _EITHER),
    "trial_block": Key("block of the trial", ("trial",), _EITHER),
    "trial_outcome": Key("outcome of the trial", ("trial",), _EITHER),
    "id": Key("the session's name"),
    "animal_id": Key("the animal's name"),
}
"""Accepted names; all times in seconds on one clock. The first two are required."""


_SYNONYMS = {
    **dict.fromkeys(("fs", "rate", "fps", "sampling_rate"), "rate_hz"),
    # The time between samples.
    **dict.fromkeys(("period", "frame_period", "dt", "frame_time"), "rate_hz, which is 1 / period"),
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
        self.notes = Notes()
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
        hint = hint or f"{name} is {KEYS.get(name, 'unknown')}"
        return bad_file(self.path, "bad_array", problem, hint, name)

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

    def read(self, name: str, **sizes: int) -> np.ndarray | None:
        """Return an array as `KEYS` describes it, None if absent.

        `sizes` are lengths of axes; an axis without one has any length of at least 1.
        """
        if name not in self.arrays:
            return None
        axes, content = KEYS[name].axes, KEYS[name].content
        values = _as_vector(self.stored(name), len(axes))
        if content == _TEXTS or (content == _EITHER and values.dtype.kind in "US"):
            self._check(name, values, axes, sizes, "texts", "US")
            return checked_values.decode_texts(values)
        self._check(name, values, axes, sizes)
        if content == _WHOLE and (values != np.round(values)).any():
            raise self.wrong(name, "contains numbers that are not whole")
        return values

    def part(self, name: str, **sizes: int) -> np.ndarray | None:
        """Return an array as `read` does; a fault leaves it out, with a note."""
        return self.notes.attempt(name, self.read, name, **sizes)

    def _check(
        self,
        name: str,
        values: np.ndarray,
        axes: Sequence[str],
        sizes: Mapping[str, int],
        content: str = "numbers",
        kinds: str = "fiu",
    ) -> None:
        """Raise unless values have these axes and are of these kinds."""
        wanted = [int(axis) if axis.isdigit() else sizes.get(axis) for axis in axes]
        fits = len(values.shape) == len(wanted) and all(
            n > 0 if w is None else n == w for n, w in zip(values.shape, wanted, strict=True)
        )
        if values.dtype.kind in kinds and fits:
            return
        shape = ", ".join(str(sizes.get(axis, axis)) for axis in axes) + "," * (len(axes) == 1)
        expected = f"({shape}) {content}" if axes else "one number"
        problem, hint = f"is {values.shape} {values.dtype}; {expected} expected", ""
        if not values.size:
            problem = f"is {values.shape}: it holds no value"
        if values.dtype.kind in "US" and not axes:
            problem = f"is the text {str(values)[:40]!r}; one number expected"
            hint = f"give {name} as a number, without quotes"
        if name == "responses" and values.ndim == 1:
            problem += ", one column for each neuron"
            hint = "of a single neuron: responses[:, None]"
        if name == "responses" and values.ndim == 3:
            hint = "join trials one after the other in time, as trial_start states"
        raise self.wrong(name, problem, hint)

    def sound_times(self, name: str) -> np.ndarray:
        """Return the finite times of an array, none if it is missing or faulty."""
        # Its fault is noted where it is read.
        times = Notes().attempt(name, self.read, name)
        if times is None:
            return np.zeros(0)
        return np.asarray(times[np.isfinite(times)], np.float64)

    def number(self, name: str, least: float = -np.inf) -> float | None:
        """Return a finite number above `least`, None if absent."""
        if name not in self.arrays:
            return None
        values = self.stored(name)
        # A rate for each sample states one number if all are equal.
        if values.ndim == 1 and len(values) > 1 and (values == values[0]).all():
            values = values[0]
        else:
            values = _as_vector(values, 0)
            self._check(name, values, (), {})
        if not np.isfinite(values) or values <= least:
            above = "" if least == -np.inf else f" above {least:g}"
            raise self.wrong(name, f"is {values}; a finite number{above} expected")
        return float(values)

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
        return None if name not in self.arrays else checked_values.text_of(self.stored(name))


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


PUPIL = ("pupil_size", "pupil_x", "pupil_y")
_PER_NEURON = ("unit_ids", "area", "plane", "xyz_um", "xy_px", "probe", "quality")
_STATE_RATE = "state it: rate_hz=…, or --rate-hz"
_SLOWEST_HZ = 0.2
"""A lower rate is that of no recording, unless the user confirms it."""
_SIMILAR = 0.9
"""Durations of streams are similar if the shorter one has this share of the longer."""
_MAX_SEARCHED = 2**27
"""Bytes of a file of responses of which every row is searched for pauses."""
_BLOCK_ROWS, _COLUMNS = 2**14, 256
_CLEAR, _SMOOTH = 4, 0.2
"""Rows and columns of which the smoothness is measured; so many times more samples than
neurons need no look at the values; least correlation of neighbours in time."""


def frame_responses(arrays: NamedArrays) -> Signal:
    """Return the responses of plain arrays with their rate, axes and pauses."""
    values = arrays.read("responses")
    assert values is not None
    durations = _stream_durations(arrays)
    rate = _response_rate(arrays, values.shape, durations)
    swaps = _is_transposed(arrays, values, rate, durations)
    if swaps:
        values = values.T
    start = arrays.number("start_s") or 0.0
    # Responses must be able to hold NaN, and no store has wider numbers than float64.
    if values.dtype.kind != "f" or values.dtype.itemsize > 8:
        values = values.astype(np.float32 if values.dtype.kind != "f" else np.float64)
    note_interpolation(rate, arrays.notes)
    rows = arrays.rows("responses", values, is_transposed=swaps)
    signal = Signal.of_rows("responses", rows, rate, start, mode="linear")
    return _with_pauses(arrays, signal)


def _with_pauses(arrays: NamedArrays, signal: Signal) -> Signal:
    """Return the responses with time in which all neurons are NaN as not recorded.

    In large files, only pauses are searched for: short losses within them are counted
    in a sample.
    """
    n, file = signal.n_samples, signal.file
    # A map of a small file, and values in memory, can be looked at one by one.
    n_bytes = n * signal.n_columns * signal.dtype.itemsize
    is_searched_whole = isinstance(file, MemoryRows) or n_bytes <= _MAX_SEARCHED
    lost = np.arange(n)
    if not is_searched_whole:
        # A pause, longer than half a second and 2.5 samples, contains one of them.
        step = max(3, int(0.5 * signal.rate_hz))
        probes = np.append(np.arange(0, n, step), n - 1)
        around = np.isin(probes, _without_value(file, probes))
        # What lies between a missing row and its neighbours may be missing too.
        edges = around[1:] | around[:-1]
        lost = np.flatnonzero(np.append(np.repeat(edges, np.diff(probes)), edges[-1]))
    lost = _without_value(file, lost)
    if not len(lost):
        return signal
    if len(lost) == n:
        raise arrays.wrong(
            "responses",
            "holds no number: all values are NaN",
            "save the responses as numbers, NaN only where none was recorded",
        )
    place = np.setdiff1d(np.arange(n), lost, assume_unique=True)
    spans, n_missing = stretches(place, n, signal.start, signal.rate_hz)
    n_pauses = 0 if spans is None else len(spans) - 1
    pauses = f", with {count(n_pauses, 'pause')}" if n_pauses else ""
    least = "" if is_searched_whole else "at least "
    arrays.notes.warn(
        "pauses",
        f"{least}{len(lost):,} of {count(n, 'sample')} are NaN in all neurons: time "
        f"that was not recorded{pauses}",
    )
    return replace(signal, recorded_spans=spans, n_missing=n_missing)


def _without_value(file: Rows, rows: np.ndarray) -> np.ndarray:
    """Return those of the rows (ascending) that are NaN in all columns."""
    n_columns = int(file.shape[1])
    # Mostly one column is enough: it has a value everywhere.
    for first, stop in pairwise([0, *range(1, n_columns, _COLUMNS), n_columns]):
        if not len(rows):
            break
        kept = [
            block[np.isnan(file.pick(block, slice(first, stop))).all(axis=1)]
            for block in np.split(rows, range(_BLOCK_ROWS, len(rows), _BLOCK_ROWS))
        ]
        rows = np.concatenate(kept)
    return rows


def _response_rate(
    arrays: NamedArrays, shape: tuple[int, ...], durations: dict[str, float]
) -> float:
    """Return the samples of the responses per second.

    The rate of the arrays has priority; `finalise` warns if the option differs.

    Parameters
    ----------
    shape
        Shape of the responses, whose longer axis is taken as time here.
    durations
        Seconds of other streams; see `_stream_durations`.
    """
    option = arrays.options.rate_hz
    try:
        rate = arrays.number("rate_hz", 0.0)
    except SessionFormatError as error:
        if option is None:
            hint = f"{error.hint}; or {_STATE_RATE}"
            raise SessionFormatError(arrays.path, MISSING_RATE, error.message, hint) from error
        arrays.notes.warn("bad_rate", f"{error.message}; {option:g} Hz, as given, is used")
        return option
    if rate is None and option is None:
        raise bad_file(arrays.path, MISSING_RATE, "gives no rate_hz, the responses per second")
    if rate is None or rate == option or rate >= _SLOWEST_HZ:
        return rate or option or 0.0
    # A rate of less than one response in 5 s: the time between samples, or kilohertz.
    for other, unit in ((1 / rate, "seconds between samples"), (rate * 1e3, "kHz")):
        fitting = [
            f"{name} {seconds:.4g} s"
            for name, seconds in durations.items()
            if _is_similar(max(shape) / other, seconds)
            and not _is_similar(max(shape) / rate, seconds)
        ]
        if fitting:
            arrays.notes.warn(
                "converted_rate",
                f"rate_hz {rate:g} is read as {unit}, {other:.4g} Hz, because of the "
                f"other streams ({', '.join(fitting)})",
            )
            return other
    raise arrays.wrong(
        "rate_hz",
        f"is {rate:g}: {max(shape):,} samples in {max(shape) / rate:.6g} s; as time "
        f"between samples it would be {1 / rate:.4g} Hz, in kHz {rate * 1e3:.4g} Hz",
        f"state samples per second; rate_hz={rate:g} as an option confirms this rate",
    )


def _stream_durations(arrays: NamedArrays) -> dict[str, float]:
    """Return the seconds that other streams last, as far as they can be read."""
    found: dict[str, float] = {}
    faults = Notes()  # noted where the arrays are read
    for name in ("running", "wheel", *PUPIL, "video"):
        of = "pupil" if name in PUPIL else name
        rate_hz = faults.attempt(name, arrays.number, f"{of}_rate_hz", 0.0)
        length = faults.attempt(name, arrays.length, name) if name in arrays.arrays else None
        if rate_hz is not None and length:
            found[of] = length / rate_hz
    for name, parts in (("video", ("video_times",)), ("trials", ("trial_start", "trial_stop"))):
        if set(parts) <= set(arrays.arrays):
            times = np.concatenate([arrays.sound_times(part) for part in parts])
            if len(times) and (seconds := float(np.ptp(times))):
                found[name] = seconds
    return found


def _is_similar(seconds: float, others: float) -> bool:
    return min(seconds, others) >= _SIMILAR * max(seconds, others)


def _is_transposed(
    arrays: NamedArrays, values: np.ndarray, rate_hz: float, durations: dict[str, float]
) -> bool:
    """Return whether responses are (neuron, time), with a note.

    Arrays of the neurons prove the order, then the durations of other streams. Without
    either, more neurons than samples are read only if the values change slowly along
    the first axis, as traces do in time.

    Raises
    ------
    SessionFormatError
        Both orders are possible; the message names both readings.
    """
    rows, columns = values.shape
    given = [name for name in _PER_NEURON if name in arrays.arrays]
    # Faults are noted where these arrays are read.
    found = [Notes().attempt(name, arrays.length, name) for name in given]
    lengths = {n for n in found if n is not None}
    reasons = {n: f"the arrays of the neurons have {n:,} entries" for n in lengths}
    by_time = {
        n: f"{name} lasts {seconds:.4g} s"
        for n in values.shape
        for name, seconds in durations.items()
        if _is_similar(n / rate_hz, seconds)
    }
    if rows != columns and lengths in ({rows}, {columns}):
        swaps = lengths == {rows}
        reason = reasons[lengths.pop()]
    elif rows == 1 and columns > 1:
        swaps, reason = True, "one sample is no recording"
    elif columns in by_time and rows not in by_time:
        # Another stream can be incomplete: the values must not speak against it, and
        # of more samples than neurons they must speak for it.
        axis = _smooth_axis(values)
        swaps = axis == 1 if rows > columns else axis != 0
        reason = by_time[columns]
    elif rows < columns and rows in by_time and columns not in by_time:
        return False
    else:
        _check_order(arrays, values, rate_hz)
        return False
    if swaps:
        arrays.notes.warn(
            "axes",
            f"responses: {values.shape} are read as (neuron, time), because {reason}: {rows:,} "
            f"neurons in {columns / rate_hz:.4g} s, not {columns:,} in {rows / rate_hz:.4g} s",
        )
    return swaps


def _smooth_axis(values: np.ndarray) -> int | None:
    """Return the axis along which values clearly change slowly, as traces do in time."""
    along = checked_values.smoothness(values), checked_values.smoothness(values.T)
    clear = [k for k in (0, 1) if along[k] > _SMOOTH and along[k] > 2 * along[1 - k]]
    return clear[0] if clear else None


def _check_order(arrays: NamedArrays, values: np.ndarray, rate_hz: float) -> None:
    """Raise if nothing shows which axis of responses is time."""
    rows, columns = values.shape
    if rows > _CLEAR * columns:
        return
    axis = _smooth_axis(values)
    both = (
        f"as (time, neuron) they are {columns:,} neurons in {rows / rate_hz:.4g} s, as "
        f"(neuron, time) {rows:,} neurons in {columns / rate_hz:.4g} s"
    )
    if rows > columns:
        # More samples than neurons, as expected: a doubt is no reason to refuse.
        if axis == 1:
            arrays.notes.warn(
                "axes",
                f"responses: {values.shape} are read as (time, neuron), but change "
                f"slowly along the second axis: {both}; is time the second one?",
            )
        return
    if axis == 0:
        arrays.notes.assume(
            "axes",
            f"responses: {values.shape} are read as (time, neuron): they change slowly "
            f"along the first axis; {both}",
        )
        return
    cut = "leave out one sample and " if rows == columns else ""
    seen = "no array shows which axis is time"
    if axis == 1:
        seen = "the values change slowly along the second axis, as traces do in time"
    raise arrays.wrong(
        "responses",
        f"is {values.shape}, with as many neurons as samples or more; {seen}: {both}",
        f"transpose them if time is the second axis: responses.T; otherwise {cut}add "
        "unit_ids, one number for each neuron, to confirm the order",
    )


_FAR = 0.1
"""Trials may reach beyond the spikes by this share of their time, or by LATE_S."""


def spike_responses(arrays: NamedArrays) -> Signal:
    """Read spike times as responses: counted in any bins, and at the model's rate."""
    times = arrays.read("spike_times")
    if times is None or "responses" in arrays.arrays:
        raise arrays.wrong("spike_times", "and responses are both present: pass only one")
    unit = arrays.read("spike_unit", spike=len(times))
    if unit is None:
        raise arrays.wrong("spike_unit", "is missing; spike_times needs it")
    unit, n_units = _unit_rows(arrays, unit.astype(np.int64))
    checked_values.refuse_quantised(times, arrays.path)
    refuse = partial(arrays.wrong, "spike_times")
    times, unit = spiking_units.sound_spike_times(times, unit, "spike_times", refuse, arrays.notes)
    start, stop = _spike_span(arrays, times)
    inside = (times >= start) & (times <= stop)
    if not inside.all():
        times, unit = times[inside], unit[inside]
    units = spiking_units.SpikingUnits(
        np.arange(n_units),
        np.bincount(unit, minlength=n_units),
        np.full((n_units, 3), np.nan),
        quality=arrays.notes.attempt("quality", _unit_quality, arrays, n_units),
    )
    spikes = spiking_units.UnsortedSpikes(arrays.path, times, unit)
    options, span = arrays.options, (start, stop)
    responses, chosen = spiking_units.spiking_responses(units, spikes, span, options, arrays.notes)
    if len(chosen.unit_id) < n_units:
        arrays.n_units, arrays.chosen = n_units, chosen.unit_id
    return responses


def _unit_rows(arrays: NamedArrays, unit: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the row of the unit of each spike, and the number of units."""
    n_ids = arrays.length("unit_ids") if "unit_ids" in arrays.arrays else 0
    # A unit without spikes is known only from the list of ids.
    n_units = n_ids or int(unit.max()) + 1
    found = np.unique(unit)
    first, last = int(found[0]), int(found[-1])
    if first < 0 or last >= n_units:
        ids = Notes().attempt("unit_ids", arrays.read, "unit_ids", neuron=n_ids)
        if ids is None or not np.isin(found, ids).all():
            raise arrays.wrong(
                "spike_unit",
                f"reaches from {first} to {last} for {n_units} units",
                "numbers of units begin with 0, in the order of unit_ids; leave out spikes of no "
                "unit, such as -1",
            )
        arrays.notes.warn(
            "unit_numbers",
            f"spike_unit holds unit_ids, {first} to {last}, and no numbers from 0: "
            "each spike is read as that of the unit with this id",
        )
        order = np.argsort(ids, kind="stable")
        return order[np.searchsorted(ids, unit, sorter=order)], n_units
    if not n_ids and first == 1:
        arrays.notes.warn(
            "unit_numbers",
            "spike_unit begins with 1: unit 0 is read, and silent (if the first unit is number 1: "
            "spike_unit - 1)",
        )
    if not n_ids and 2 * len(found) < n_units:
        arrays.notes.warn(
            "unit_numbers",
            f"spike_unit reaches to {last}, and {len(found):,} of these numbers have "
            f"spikes: {n_units:,} units are read, the others silent (if the numbers "
            "are ids: unit_ids, spike_unit = numpy.unique(ids, return_inverse=True))",
        )
    return unit, n_units


def _spike_span(arrays: NamedArrays, times: np.ndarray) -> tuple[float, float]:
    """Return begin and end of a recording of spikes, after checks of their unit."""
    first, last = float(times.min()), float(times.max())
    given, stop = arrays.number("start_s"), arrays.number("stop_s")
    spikes = Interval(0.0 if given is None else given, last)
    begin, end = _trial_reach(arrays, Interval(first, last))
    start = spikes.start
    if given is None and (start := spiking_units.recording_start(min(first, begin))):
        arrays.notes.assume(
            "recording_start",
            f"the start of the recording is not given (start_s): {start:.10g} s, the "
            "first spike or trial",
        )
    if stop is None:
        stop = max(last, end)
        arrays.notes.assume(
            "recording_end",
            f"the end of the recording is not given: {stop:.6g} s, the last spike or trial",
        )
    if (stop - start) * spiking_units.ROW_RATE_HZ < 1:
        raise arrays.wrong("stop_s", f"is {stop:g}, not after the start {start:g} s")
    n_outside = int(((times < start) | (times > stop)).sum())
    if n_outside > 0.5 * len(times):
        raise arrays.wrong(
            "spike_times",
            f"reaches from {first:.10g} to {last:.10g}, and the recording from {start:.10g} to "
            f"{stop:.10g} s: {n_outside:,} of {len(times):,} spikes lie outside",
            "are start_s, stop_s and spike_times in seconds on one clock?",
        )
    if n_outside:
        arrays.notes.warn(
            "spikes_outside",
            f"{n_outside:,} of {len(times):,} spikes lie outside the recording, "
            f"{start:.6g} to {stop:.6g} s; left out",
        )
    return start, stop


def _trial_reach(arrays: NamedArrays, spikes: Interval) -> tuple[float, float]:
    """Return the first start and the last stop of trials, where spikes confirm them.

    Those of the spikes stand for none, for trials of another clock, and for wrong
    times: one wrong trial must not make hours of silence. `stop_s` leaves nothing to
    confirm.
    """
    starts, ends = map(arrays.sound_times, ("trial_start", "trial_stop"))
    times = np.concatenate([starts, ends])
    if not len(times):
        return spikes.start, spikes.stop
    trials = Interval(float(times.min()), float(times.max()))
    if "stop_s" not in arrays.arrays:
        if len(ends):
            spiking_units.refuse_milliseconds(arrays.path, spikes, trials, "trials")
        # Told where trials are read.
        if unit := unit_of_times(trials, spikes):
            starts, ends = starts * UNITS_OF_TIME[unit], ends * UNITS_OF_TIME[unit]
    far = max(spiking_units.LATE_S, _FAR * (spikes.stop - spikes.start))
    begin = float(starts.min(initial=spikes.start))
    end = float(ends.max(initial=spikes.stop))
    is_early, is_late = begin < spikes.start - far, end > spikes.stop + far
    near = Interval(spikes.start - far, spikes.stop + far)
    doubts = [
        f"{name} reaches {word} {time:.6g} s"
        for name, word, time, is_far in (
            ("trial_start", "back to", begin, is_early and "start_s" not in arrays.arrays),
            ("trial_stop", "to", end, is_late and "stop_s" not in arrays.arrays),
        )
        if is_far
    ]
    # Without a trial near the spikes, all are of another clock; told where read.
    if doubts and near.contains(starts).any():
        arrays.notes.warn(
            "trials_beyond_spikes",
            f"{' and '.join(doubts)}, and the spikes from {span_text(spikes)}: such trials do not "
            "lengthen the recording (state start_s and stop_s if it lasted longer)",
        )
    return spikes.start if is_early else begin, spikes.stop if is_late else end


def _unit_quality(arrays: NamedArrays, n: int) -> np.ndarray | None:
    """Return the quality labels of n units, numbers or texts; None without any."""
    labels = arrays.read("quality", neuron=n)
    return labels if labels is None or labels.dtype.kind == "U" else labels.astype(np.float64)


LOOKED_FOR = ("*.npz",)
_ZIP = b"PK\x03\x04"
_TRIAL_FIELDS = ("tier", "stim_id", "side", "choice", "block", "outcome")


def recognises(path: Path) -> bool:
    """Return whether a file is an archive of arrays.

    A damaged archive counts, so that reading it reports the error.
    """
    # By content, not by suffix: other ZIP archives have no .npy members.
    if not begins_with(path, _ZIP):
        return False
    names = Notes().attempt(path.name, zip_names, path)
    # Arrays in folders are those of a packed recording.
    return names is None or any(n.endswith(".npy") and "/" not in n for n in names)


def read(path: Path, options: ReadOptions) -> Session:
    """Open an `.npz`; see `open_session`."""
    archive = Npz(path)
    session = _session(NamedArrays(archive, path, options), options)
    return replace(session, path=path, fingerprint=fingerprint_of(path))


def read_mapping(arrays: Mapping[str, Any], options: ReadOptions) -> Session:
    """Return a session of arrays in memory; see `open_session`."""
    path = Path("arrays")
    named = NamedArrays(arrays, path, options)
    session = _session(named, options)
    digest = blake2b(digest_size=12)
    # Names, types and shapes are part of the hash: equal bytes can mean other values.
    for name in sorted(arrays):
        value = np.ascontiguousarray(named.stored(name))
        layout = f"{name}\0{value.dtype.str}{named.stored(name).shape}\n"
        digest.update(layout.encode() + value.tobytes())
    return replace(session, fingerprint=digest.hexdigest(), origin=dict(arrays))


def _session(arrays: NamedArrays, options: ReadOptions) -> Session:
    notes = arrays.notes
    read = spike_responses if "spike_times" in arrays.arrays else frame_responses
    responses = read(arrays)
    found = notes.attempt("trials", _intervals, arrays, responses)
    intervals: PresentationIntervals = found or PresentationIntervals()
    stimulus = notes.attempt("video", _stimulus, arrays, responses, intervals)
    if stimulus is None:
        if options.split_seed is not None:
            intervals = with_tiers(intervals, options, notes)
        trials = trials_without_screen(intervals, responses.start)
    else:
        trials = stimulus.trials
    name = notes.attempt("id", arrays.text, "id")
    if name is None:
        name = arrays.path.stem
        notes.assume("no_identity", f"the arrays contain no id: '{name}' is used")
    image = arrays.part("mean_image")
    session = Session(
        id=name,
        animal_id=notes.attempt("animal_id", arrays.text, "animal_id"),
        path=arrays.path,
        format="arrays",
        fingerprint="",  # set by `read` and `read_mapping`
        units=_units(arrays, responses),
        responses=responses,
        behavior={
            "eye_tracker": notes.attempt("pupil", _eye, arrays),
            "treadmill": notes.attempt("running", _running, arrays),
        },
        stimulus=stimulus,
        trials=trials,
        images={} if image is None else {"mean": image.astype(np.float32)},
        # Stated by the user, who can also state that the arrays were upsampled.
        meta={RECORDING_RATE: responses.rate_hz},
    )
    return finalise(session, options, notes)


# -- behaviour -----------------------------------------------------------------------
def _running(arrays: NamedArrays) -> Signal | None:
    """Return the stream `running`, or `wheel` with the columns of `pose`, if one is there."""
    names = [name for name in ("running", "wheel") if name in arrays.arrays]
    if len(names) > 1:
        raise arrays.wrong("wheel", "and running are both present: pass only one")
    if "pose" in arrays.arrays and names != ["wheel"]:
        raise arrays.wrong("wheel", "is missing; pose needs it")
    if not names:
        return None
    name = names[0]
    speed = arrays.read(name)
    assert speed is not None
    columns = {"running": ("running", "cm/s"), "wheel": ("wheel_speed", "rad/s")}
    labels, values = [columns[name]], [speed]
    pose = arrays.read("pose", time=len(speed))
    if pose is not None:
        labels.append(("pose", "px"))
        values.append(pose)
    rate = _required(arrays, f"{name}_rate_hz", name)
    start = arrays.number(f"{name}_start_s") or 0.0
    checked_values.check_extent(arrays.path, name, len(speed), rate)
    rows = MemoryRows(arrays.path, _finite(np.stack(values, axis=1)))
    texts, units = zip(*labels, strict=True)
    return Signal.of_rows("treadmill", rows, rate, start, names=texts, units=units)


def _eye(arrays: NamedArrays) -> Signal | None:
    stored = {name: arrays.read(name) for name in PUPIL}
    columns = {name: _finite(v) for name, v in stored.items() if v is not None}
    if not columns:
        return None
    if len({len(values) for values in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(v)}" for name, v in columns.items())
        raise arrays.wrong(next(iter(columns)), f"differs in length: {lengths}")
    rate = _required(arrays, "pupil_rate_hz", "pupil")
    checked_values.check_extent(arrays.path, "pupil", len(next(iter(columns.values()))), rate)
    clock = rate, arrays.number("pupil_start_s") or 0.0
    return eye_signal(arrays.path, columns, {}, clock, arrays.notes)


def _finite(values: np.ndarray) -> np.ndarray:
    """Return values as float64, NaN where they are infinite: these are missing too."""
    values = values.astype(np.float64)
    values[np.isinf(values)] = np.nan
    return values


def _required(arrays: NamedArrays, name: str, of: str) -> float:
    rate = arrays.number(name, 0.0)
    if rate is None:
        raise arrays.wrong(name, f"is missing; {of} needs it")
    return rate


# -- stimulus ------------------------------------------------------------------------
def _stimulus(
    arrays: NamedArrays, responses: Signal, intervals: PresentationIntervals
) -> Stimulus | None:
    if "video" not in arrays.arrays:
        return None
    # `asarray` keeps a mapped video mapped.
    video = arrays.stored("video")
    size = shown_size(video.shape[1:])
    is_sound = len(size) >= 2 and size[2:] in ((), (COLOURS,))
    if video.dtype.kind not in "fiu" or 0 in video.shape or not is_sound:
        raise arrays.wrong("video", f"is {video.shape} {video.dtype}")
    note_upright(size, arrays.notes)
    times = _frame_times(arrays, len(video))
    recording, span = (responses.valid_interval(), Interval(float(times[0]), float(times[-1])))
    scale = scale_to_seconds("video", span, recording, arrays.notes)
    times = times * scale
    if scale == 1.0 and not is_long_enough(common_time(span, recording)):
        problem, hint = apart(span, recording, {})
        if not is_long_enough(span):
            shape = f"it has {len(video):,} frames of {video.shape[1]}×{video.shape[2]}"
            hint = f"{shape}: are its axes (frame, height, width), and is its rate right?"
        raise arrays.wrong("video", problem, hint)
    rows = arrays.rows("video", video)
    source = partial(PartsVideo, partial(_frames, rows), rows.check)
    parts = video_parts("video", times, intervals, "")
    shown = [intervals.at(float(part.times[0])).get("stim_id", "") for part in parts]
    parts = [replace(p, stim_id=str(name)) for p, name in zip(parts, shown, strict=True)]
    t0 = responses.start
    return build_stimulus(parts, intervals, t0, size, source, arrays.notes)


def _frames(rows: Rows, name: str, part: slice) -> np.ndarray:
    return rows.read(part.start, part.stop)


def _frame_times(arrays: NamedArrays, n: int) -> np.ndarray:
    if "video_times" not in arrays.arrays:
        rate = _required(arrays, "video_rate_hz", "video")
        checked_values.check_extent(arrays.path, "video", n, rate, checked_values.MAX_FRAMES)
        return (arrays.number("video_start_s") or 0.0) + np.arange(n) / rate
    times = arrays.read("video_times")
    assert times is not None
    if len(times) != n:
        hint = "store the onset of each frame"
        raise arrays.wrong("video_times", f"has {len(times):,} times for {n:,} frames", hint)
    times = times.astype(np.float64)
    checked_values.check_times(times, "times", lambda _, *text: arrays.wrong("video_times", *text))
    return times


def _intervals(arrays: NamedArrays, responses: Signal) -> PresentationIntervals:
    on = arrays.read("trial_start")
    if on is None:
        if others := sorted(name for name in arrays.arrays if name.startswith("trial_")):
            raise arrays.wrong("trial_start", f"is missing; {others[0]} needs it")
        return PresentationIntervals()
    n = len(on)
    off = arrays.read("trial_stop", trial=n)
    if off is None:
        off = np.full(n, np.nan)
    fields: dict[str, list[Any]] = {}
    for name in _TRIAL_FIELDS:
        column = arrays.part(f"trial_{name}", trial=n)
        if name == "stim_id":
            column = _names(column)
        if column is not None:
            fields[name] = column.tolist()
    fields["id"] = list(range(n))  # before sorting: the user's own order
    clock = TrialClock(
        responses.valid_interval(), {}, {"samples of the responses": responses.rate_hz}
    )
    return trial_intervals(
        "trials", on.astype(np.float64), off.astype(np.float64), fields, clock, arrays.notes
    )


# -- neurons -------------------------------------------------------------------------
def _units(arrays: NamedArrays, responses: Signal) -> Units:
    n = responses.n_columns if arrays.n_units is None else arrays.n_units

    plane = arrays.part("plane", neuron=n)
    probe, area = (_names(arrays.part(name, neuron=n)) for name in ("probe", "area"))
    if area is not None and not (area != "").any():
        area = None  # numbers that are all missing, or empty names
    if probe is not None and plane is None:
        plane = probe_numbers(probe)
    unit_id = arrays.part("unit_ids", neuron=n)
    roi = arrays.notes.attempt("roi_labels", _roi, arrays, n)
    if arrays.chosen is not None:
        # Units keep their numbers; pixels belong to imaging, not to spikes.
        unit_id, roi = np.arange(n) if unit_id is None else unit_id, None

    def read(values: np.ndarray | None) -> np.ndarray | None:
        if values is None or arrays.chosen is None:
            return values
        return np.asarray(values[arrays.chosen])

    units = make_units(
        responses,
        arrays.notes,
        unit_id=read(unit_id),
        area=read(area),
        area_source="area",
        plane=read(plane),
        xyz_um=read(arrays.part("xyz_um", neuron=n)),
        xy_px=read(arrays.part("xy_px", neuron=n)),
        roi=roi,
        probe=read(probe),
    )
    # Of spikes, a fault of the labels was noted where units were chosen.
    faults = Notes() if responses.has_events else arrays.notes
    quality = read(faults.attempt("quality", _unit_quality, arrays, n))
    return units if quality is None else replace(units, properties={"quality": quality})


def _names(values: np.ndarray | None) -> np.ndarray | None:
    """Return names, of which some programs store numbers; "" where a number is missing."""
    if values is None:
        return None
    if values.dtype.kind == "U":
        # MATLAB fills names up to one length.
        return np.char.strip(values)
    names = [str(value).removesuffix(".0") for value in values.tolist()]
    return np.where(np.isfinite(values), names, "")


def _roi(arrays: NamedArrays, n: int) -> Roi | None:
    labels = arrays.read("roi_labels")
    if labels is None:
        return None
    if labels.dtype.kind == "f":
        raise arrays.wrong("roi_labels", f"is {labels.dtype}; whole numbers expected")
    checked_values.check_range(
        arrays.path, labels.ravel(), n + 1, "neurons (0 is none)", "roi_labels"
    )
    # Label 0 is background; label i belongs to neuron i - 1. The stable sort groups
    # the pixels by neuron, as the offsets of `Roi` require.
    y, x = np.nonzero(labels)
    owner = labels[y, x].astype(np.int64) - 1
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=n)
    return Roi(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.stack([y, x], axis=1)[order].astype(np.int16),
        # A label image has no weights.
        np.ones(len(order), np.float32),
    )
