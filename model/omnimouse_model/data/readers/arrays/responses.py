"""Responses of plain arrays: their rate, order of axes and pauses.

A rate in other units, or responses as (neuron, time), are converted with a note if
other arrays prove them, and otherwise refused with both readings.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np

from omnimouse_model.data.readers.arrays.named_arrays import NamedArrays
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.placed_rows import stretches
from omnimouse_model.data.readers.build.rate_notes import note_interpolation
from omnimouse_model.data.signal import Signal
from omnimouse_model.display import count
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.storage.arrays.row_source import MemoryRows, Rows

PUPIL = ("pupil_size", "pupil_x", "pupil_y")
_PER_NEURON = ("unit_ids", "area", "plane", "xyz_um", "xy_px", "probe", "quality")
_STATE_RATE = "state it: rate_hz=…, or --rate-hz"
_Found = TypeVar("_Found")
_SLOWEST_HZ = 0.2
"""A lower rate is that of no recording, unless the user confirms it."""
_SIMILAR = 0.9
"""Durations of streams are similar if the shorter one has this share of the longer."""
_MAX_SEARCHED = 2**27
"""Bytes of a file of responses of which every row is searched for pauses."""
_BLOCK_ROWS, _COLUMNS = 2**14, 256
_BLOCK, _CLEAR, _SMOOTH = 2000, 4, 0.2
"""Rows and columns of which the smoothness is measured; so many times more samples than
neurons need no look at the values; least correlation of neighbours in time."""


def frame_responses(arrays: NamedArrays, notes: Notes) -> Signal:
    """Return the responses of plain arrays with their rate, axes and pauses."""
    values = arrays.numbers("responses", (None, None))
    assert values is not None
    durations = _stream_durations(arrays)
    rate = _response_rate(arrays, values.shape, durations, notes)
    swaps = _is_transposed(arrays, values, rate, durations, notes)
    if swaps:
        values = values.T
    start = arrays.number("start_s") or 0.0
    # Responses must be able to hold NaN.
    if values.dtype.kind != "f":
        values = values.astype(np.float32)
    note_interpolation(rate, notes)
    rows = arrays.rows("responses", values, is_transposed=swaps)
    signal = Signal.of_rows("responses", rows, rate, start, mode="linear")
    return _with_pauses(arrays, signal, notes)


def _with_pauses(arrays: NamedArrays, signal: Signal, notes: Notes) -> Signal:
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
    notes.warn(
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
    arrays: NamedArrays,
    shape: tuple[int, ...],
    durations: dict[str, float],
    notes: Notes,
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
        notes.warn("bad_rate", f"{error.message}; {option:g} Hz, as given, is used")
        return option
    if rate is None and option is None:
        raise SessionFormatError(
            arrays.path,
            MISSING_RATE,
            f"{arrays.path.name} gives no rate_hz, the responses per second",
            _STATE_RATE,
        )
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
            notes.warn(
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
    finds: list[tuple[str, Callable[[], float | None]]] = []
    for name in ("running", "wheel", *PUPIL, "video"):
        of = "pupil" if name in PUPIL else name
        if name in arrays.arrays and f"{of}_rate_hz" in arrays.arrays:
            finds.append((of, partial(_seconds, arrays, f"{of}_rate_hz", name)))
    if "video_times" in arrays.arrays:
        finds.append(("video", partial(_reach, arrays, ["video_times"])))
    if {"trial_start", "trial_stop"} <= set(arrays.arrays):
        finds.append(("trials", partial(_reach, arrays, ["trial_start", "trial_stop"])))
    found = {name: _sound(find) for name, find in finds}
    return {name: seconds for name, seconds in found.items() if seconds}


def _sound(find: Callable[[], _Found | None]) -> _Found | None:
    """Return a fact of an array beside the responses, None if the array is faulty.

    Its fault is noted where the array is read.
    """
    try:
        return find()
    except SessionFormatError:
        return None


def _seconds(arrays: NamedArrays, rate: str, name: str) -> float | None:
    rate_hz = arrays.number(rate, 0.0)
    return None if rate_hz is None else arrays.length(name) / rate_hz


def _reach(arrays: NamedArrays, names: Sequence[str]) -> float | None:
    times = [arrays.numbers(name, (None,)) for name in names]
    joined = np.concatenate([t for t in times if t is not None]).astype(np.float64)
    joined = joined[np.isfinite(joined)]
    return float(np.ptp(joined)) if len(joined) else None


def _is_similar(seconds: float, others: float) -> bool:
    return min(seconds, others) >= _SIMILAR * max(seconds, others)


def _is_transposed(
    arrays: NamedArrays,
    values: np.ndarray,
    rate_hz: float,
    durations: dict[str, float],
    notes: Notes,
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
    found = [_sound(partial(arrays.length, name)) for name in _PER_NEURON if name in arrays.arrays]
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
        along_time, along_neurons = _smoothness(values), _smoothness(values.T)
        is_doubtful = along_time > _SMOOTH and along_time > 2 * along_neurons
        is_likely = along_neurons > _SMOOTH and along_neurons > 2 * along_time
        swaps = is_likely if rows > columns else not is_doubtful
        reason = by_time[columns]
    elif rows < columns and rows in by_time and columns not in by_time:
        return False
    else:
        _check_order(arrays, values, rate_hz, notes)
        return False
    if swaps:
        notes.warn(
            "axes",
            f"responses: {values.shape} are read as (neuron, time), because {reason}: "
            f"{rows:,} neurons in {columns / rate_hz:.4g} s, not {columns:,} in "
            f"{rows / rate_hz:.4g} s",
        )
    return swaps


def _check_order(arrays: NamedArrays, values: np.ndarray, rate_hz: float, notes: Notes) -> None:
    """Raise if nothing shows which axis of responses is time."""
    rows, columns = values.shape
    if rows > _CLEAR * columns:
        return
    along_time, along_neurons = _smoothness(values), _smoothness(values.T)
    is_clear = along_time > _SMOOTH and along_time > 2 * along_neurons
    both = (
        f"as (time, neuron) they are {columns:,} neurons in {rows / rate_hz:.4g} s, as "
        f"(neuron, time) {rows:,} neurons in {columns / rate_hz:.4g} s"
    )
    if rows > columns:
        # More samples than neurons, as expected: a doubt is no reason to refuse.
        if along_neurons > _SMOOTH and along_neurons > 2 * along_time:
            notes.warn(
                "axes",
                f"responses: {values.shape} are read as (time, neuron), but change "
                f"slowly along the second axis: {both}; is time the second one?",
            )
        return
    if is_clear:
        notes.assume(
            "axes",
            f"responses: {values.shape} are read as (time, neuron): they change slowly "
            f"along the first axis; {both}",
        )
        return
    cut = "leave out one sample and " if rows == columns else ""
    seen = "no array shows which axis is time"
    if along_neurons > _SMOOTH and along_neurons > 2 * along_time:
        seen = "the values change slowly along the second axis, as traces do in time"
    raise arrays.wrong(
        "responses",
        f"is {values.shape}, with as many neurons as samples or more; {seen}: {both}",
        f"transpose them if time is the second axis: responses.T; otherwise {cut}add "
        "unit_ids, one number for each neuron, to confirm the order",
    )


def _smoothness(values: np.ndarray) -> float:
    """Return the median correlation of neighbours along the first axis, -1 to 1.

    What all columns or all rows have in common does not count. Only a part of large
    arrays is looked at.
    """
    block = np.array(values[:_BLOCK, :_BLOCK], np.float64)
    is_known = np.isfinite(block)
    for axis in (0, 1):
        total = np.where(is_known, block, 0.0).sum(axis=axis, keepdims=True)
        count = np.maximum(is_known.sum(axis=axis, keepdims=True), 1)
        block = np.where(is_known, block - total / count, 0.0)
    power = (block**2).sum(axis=0)
    along = (block[1:] * block[:-1]).sum(axis=0)
    varies = power > 0
    return float(np.median(along[varies] / power[varies])) if varies.any() else 0.0
