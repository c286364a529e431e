"""Spike times of plain arrays: their units, their clock and the recorded time."""

from functools import partial

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.arrays.named_arrays import NamedArrays
from omnimouse_model.data.readers.build.clock_precision import refuse_quantised
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import (
    MILLISECOND_S,
    is_in_milliseconds,
    read_side_stream,
    span_text,
)
from omnimouse_model.data.readers.build.spike_counts import ROW_RATE_HZ
from omnimouse_model.data.readers.build.spiking_units import (
    LATE_S,
    SpikingUnits,
    UnsortedSpikes,
    recording_start,
    refuse_milliseconds,
    sound_spike_times,
    spiking_responses,
)
from omnimouse_model.data.signal import Signal

_FAR = 0.1
"""Trials may reach beyond the spikes by this share of their time, or by LATE_S."""


def spike_responses(arrays: NamedArrays, notes: Notes) -> Signal:
    """Read spike times as responses: counted in any bins, and at the model's rate."""
    times = arrays.numbers("spike_times", (None,))
    if times is None or "responses" in arrays.arrays:
        raise arrays.wrong("spike_times", "and responses are both present: pass only one")
    unit = arrays.integers("spike_unit", len(times))
    if unit is None:
        raise arrays.wrong("spike_unit", "is missing; spike_times needs it")
    unit, n_units = _unit_rows(arrays, unit.astype(np.int64), notes)
    refuse_quantised(times, arrays.path)
    refuse = partial(arrays.wrong, "spike_times")
    times, unit = sound_spike_times(times, unit, "spike_times", refuse, notes)
    start, stop = _spike_span(arrays, times, notes)
    inside = (times >= start) & (times <= stop)
    if not inside.all():
        times, unit = times[inside], unit[inside]
    units = SpikingUnits(
        np.arange(n_units),
        np.bincount(unit, minlength=n_units),
        np.full((n_units, 3), np.nan),
        quality=unit_quality(arrays, n_units, notes),
    )
    spikes = UnsortedSpikes(arrays.path, times, unit)
    options, span = arrays.options, (start, stop)
    responses, chosen = spiking_responses(units, spikes, span, options, notes)
    if len(chosen.unit_id) < n_units:
        arrays.n_units, arrays.chosen = n_units, chosen.unit_id
    return responses


def _unit_rows(arrays: NamedArrays, unit: np.ndarray, notes: Notes) -> tuple[np.ndarray, int]:
    """Return the row of the unit of each spike, and the number of units."""
    n_ids = arrays.length("unit_ids") if "unit_ids" in arrays.arrays else 0
    # A unit without spikes is known only from the list of ids.
    n_units = n_ids or int(unit.max()) + 1
    found = np.unique(unit)
    first, last = int(found[0]), int(found[-1])
    if first < 0 or last >= n_units:
        ids = read_side_stream("unit_ids", lambda _: arrays.integers("unit_ids", n_ids), Notes())
        if ids is None or not np.isin(found, ids).all():
            raise arrays.wrong(
                "spike_unit",
                f"reaches from {first} to {last} for {n_units} units",
                "numbers of units begin with 0, in the order of unit_ids",
            )
        notes.warn(
            "unit_numbers",
            f"spike_unit holds unit_ids, {first} to {last}, and no numbers from 0: "
            "each spike is read as that of the unit with this id",
        )
        order = np.argsort(ids, kind="stable")
        return order[np.searchsorted(ids, unit, sorter=order)], n_units
    if not n_ids and 2 * len(found) < n_units:
        notes.warn(
            "unit_numbers",
            f"spike_unit reaches to {last}, and {len(found):,} of these numbers have "
            f"spikes: {n_units:,} units are read, the others silent (if the numbers "
            "are ids: unit_ids, spike_unit = numpy.unique(ids, return_inverse=True))",
        )
    return unit, n_units


def _spike_span(arrays: NamedArrays, times: np.ndarray, notes: Notes) -> tuple[float, float]:
    """Return begin and end of a recording of spikes, after checks of their unit."""
    first, last = float(times.min()), float(times.max())
    given, stop = arrays.number("start_s"), arrays.number("stop_s")
    spikes = Interval(0.0 if given is None else given, last)
    begin, end = _trial_reach(arrays, Interval(first, last), notes)
    start = spikes.start
    if given is None and (start := recording_start(min(first, begin))):
        notes.assume(
            "recording_start",
            f"the start of the recording is not given (start_s): {start:.10g} s, the "
            "first spike or trial",
        )
    if stop is None:
        stop = max(last, end)
        notes.assume(
            "recording_end",
            f"the end of the recording is not given: {stop:.6g} s, the last spike or trial",
        )
    if (stop - start) * ROW_RATE_HZ < 1:
        raise arrays.wrong("stop_s", f"is {stop:g}, not after the start {start:g} s")
    n_outside = int(((times < start) | (times > stop)).sum())
    if n_outside > 0.5 * len(times):
        raise arrays.wrong(
            "spike_times",
            f"reaches from {first:.10g} to {last:.10g}, and the recording from "
            f"{start:.10g} to {stop:.10g} s: {n_outside:,} of {len(times):,} spikes "
            "lie outside",
            "are start_s, stop_s and spike_times in seconds on one clock?",
        )
    if n_outside:
        notes.warn(
            "spikes_outside",
            f"{n_outside:,} of {len(times):,} spikes lie outside the recording, "
            f"{start:.6g} to {stop:.6g} s; left out",
        )
    return start, stop


def _trial_reach(arrays: NamedArrays, spikes: Interval, notes: Notes) -> tuple[float, float]:
    """Return the first start and the last stop of trials, where spikes confirm them.

    Those of the spikes stand for none, for trials of another clock, and for wrong
    times: one wrong trial must not make hours of silence. `stop_s` leaves nothing to
    confirm.
    """
    starts, ends = (_trial_times(arrays, name) for name in ("trial_start", "trial_stop"))
    times = np.concatenate([starts, ends])
    if not len(times):
        return spikes.start, spikes.stop
    trials = Interval(float(times.min()), float(times.max()))
    if "stop_s" not in arrays.arrays:
        if len(ends):
            refuse_milliseconds(arrays.path, spikes, trials, "trials")
        # Told where trials are read.
        if is_in_milliseconds(trials, spikes):
            starts, ends = starts * MILLISECOND_S, ends * MILLISECOND_S
    far = max(LATE_S, _FAR * (spikes.stop - spikes.start))
    begin = float(starts.min(initial=spikes.start))
    end = float(ends.max(initial=spikes.stop))
    is_early, is_late = begin < spikes.start - far, end > spikes.stop + far
    near = Interval(spikes.start - far, spikes.stop + far)
    doubts = [
        f"{name} reaches {word} {time:.6g} s"
        for name, word, time, is_far in (
            (
                "trial_start",
                "back to",
                begin,
                is_early and "start_s" not in arrays.arrays,
            ),
            ("trial_stop", "to", end, is_late and "stop_s" not in arrays.arrays),
        )
        if is_far
    ]
    # Without a trial near the spikes, all are of another clock; told where read.
    if doubts and near.contains(starts).any():
        notes.warn(
            "trials_beyond_spikes",
            f"{' and '.join(doubts)}, and the spikes from {span_text(spikes)}: "
            "such trials do not lengthen the recording (state start_s and stop_s if it "
            "lasted longer)",
        )
    return spikes.start if is_early else begin, spikes.stop if is_late else end


def _trial_times(arrays: NamedArrays, name: str) -> np.ndarray:
    """Return the finite times of trials, (n,); faults are noted where trials are."""
    times = read_side_stream(name, lambda _: arrays.numbers(name, (None,)), Notes())
    if times is None:
        return np.zeros(0)
    return np.asarray(times[np.isfinite(times)], np.float64)


def unit_quality(arrays: NamedArrays, n: int, notes: Notes) -> np.ndarray | None:
    """Return the quality labels of n units, numbers or texts; None without any."""
    labels = read_side_stream("quality", lambda _: arrays.values("quality", n), notes)
    if labels is None or labels.dtype.kind == "U":
        return labels
    return labels.astype(np.float64)
