"""Reader of plain arrays: a mapping in memory or an `.npz` with the same names."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.neurons import Roi, Units, probe_numbers
from omnimouse_model.data.readers.array_responses import PUPIL, NamedArrays, frame_responses
from omnimouse_model.data.readers.build import spiking_units
from omnimouse_model.data.readers.build.checked_values import (
    MAX_FRAMES,
    check_extent,
    check_range,
    check_times,
    refuse_quantised,
)
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
    scale_to_seconds,
    span_text,
    unit_of_times,
)
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
from omnimouse_model.storage.arrays.npy import Npz, zip_names
from omnimouse_model.storage.arrays.rows import MemoryRows, Rows
from omnimouse_model.storage.byte_source import fingerprint_of
from omnimouse_model.storage.files import begins_with

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
    refuse_quantised(times, arrays.path)
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
    check_extent(arrays.path, name, len(speed), rate)
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
    check_extent(arrays.path, "pupil", len(next(iter(columns.values()))), rate)
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
        check_extent(arrays.path, "video", n, rate, MAX_FRAMES)
        return (arrays.number("video_start_s") or 0.0) + np.arange(n) / rate
    times = arrays.read("video_times")
    assert times is not None
    if len(times) != n:
        hint = "store the onset of each frame"
        raise arrays.wrong("video_times", f"has {len(times):,} times for {n:,} frames", hint)
    times = times.astype(np.float64)
    check_times(times, "times", lambda _, *text: arrays.wrong("video_times", *text))
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
    check_range(arrays.path, labels.ravel(), n + 1, "neurons (0 is none)", "roi_labels")
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
