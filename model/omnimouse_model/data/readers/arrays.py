"""Reader of plain arrays: a mapping in memory or an `.npz` with the same names."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.io.fingerprint import file_fingerprint
from omnimouse_model.data.io.npz import Npz
from omnimouse_model.data.io.row_source import MemoryRows, Rows
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.behavior_names import eye_signal
from omnimouse_model.data.readers.build.decode_text import decode_texts, text_of
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import (
    Part,
    PresentationIntervals,
    build_stimulus,
    trials_without_screen,
    video_parts,
)
from omnimouse_model.data.readers.build.rate_notes import note_interpolation
from omnimouse_model.data.readers.build.spike_counts import ROW_RATE_HZ
from omnimouse_model.data.readers.build.spiking_units import (
    SpikingUnits,
    UnsortedSpikes,
    spiking_responses,
)
from omnimouse_model.data.readers.build.statistics import (
    complete_statistics,
    train_spans,
)
from omnimouse_model.data.readers.build.trial_events import with_tiers
from omnimouse_model.data.session import RECORDING_RATE, Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.data.units import Roi, Units, probe_numbers
from omnimouse_model.errors import MISSING_RATE, SessionFormatError

LOOKED_FOR = ("*.npz",)
_ZIP = b"PK\x03\x04"
_PUPIL = ("pupil_size", "pupil_x", "pupil_y")
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
"""Common other names (lower case) and the accepted name to suggest for each."""
_TRIAL_FIELDS = ("side", "choice", "block", "outcome")
_LONG_STEP_S = 1.0
"""A longer time between video frames suggests that times are in milliseconds."""


def recognises(path: Path) -> bool:
    """Return whether a file is an archive of arrays.

    A damaged archive counts, so that reading it reports the error.
    """
    if not path.is_file():
        return False
    # By content, not by suffix: other ZIP archives have no .npy members.
    try:
        with path.open("rb") as stream:
            if stream.read(len(_ZIP)) != _ZIP:
                return False
            with zipfile.ZipFile(path) as archive:
                return any(name.endswith(".npy") for name in archive.namelist())
    except OSError:
        return False
    except Exception:  # a damaged archive fails in many ways
        return True


def read(path: Path, options: ReadOptions) -> Session:
    """Open an `.npz`; see `open_session`."""
    archive = Npz(path)
    session = _session(_Arrays(archive, path, options), options)
    return replace(session, path=path, fingerprint=file_fingerprint(path))


def read_mapping(arrays: Mapping[str, Any], options: ReadOptions) -> Session:
    """Return a session of arrays in memory; see `open_session`."""
    path = Path("arrays")
    session = _session(_Arrays(arrays, path, options), options)
    digest = blake2b(digest_size=12)
    # Names, types and shapes are part of the hash: equal bytes can mean other values.
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        layout = f"{name}\0{value.dtype.str}{np.shape(arrays[name])}\n"
        digest.update(layout.encode() + value.tobytes())
    return replace(session, fingerprint=digest.hexdigest(), origin=dict(arrays))


class _Arrays:
    """Arrays by name; each is checked when it is read."""

    def __init__(
        self, arrays: Mapping[str, Any], path: Path, options: ReadOptions
    ) -> None:
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

    def numbers(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray | None:
        """Return an array of numbers, None if absent.

        None in `shape` means any length of at least 1.
        """
        if name not in self.arrays:
            return None
        values = np.asarray(self.arrays[name])
        fits = len(values.shape) == len(shape) and all(
            n > 0 if w is None else n == w
            for n, w in zip(values.shape, shape, strict=True)
        )
        if values.dtype.kind not in "fiu" or not fits:
            sizes = ", ".join("any" if w is None else str(w) for w in shape)
            problem, hint = f"is {values.shape} {values.dtype}; ({sizes}) numbers", ""
            problem += " expected"
            if values.dtype.kind in "US" and not shape:
                hint = f"give {name} as a number, without quotes"
            if name == "responses" and values.ndim == 1:
                problem += ", one column for each neuron"
                hint = "of a single neuron: responses[:, None]"
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
        values = self.numbers(name, ())
        if values is None:
            return None
        if not np.isfinite(values) or values <= least:
            above = "" if least == -np.inf else f" above {least:g}"
            raise self.wrong(name, f"is {values}; a finite number{above} expected")
        return float(values)

    def texts(self, name: str, count: int) -> np.ndarray | None:
        """Return an array of `count` texts, None if absent."""
        if name not in self.arrays:
            return None
        values = np.asarray(self.arrays[name])
        if values.dtype.kind not in "US" or values.shape != (count,):
            raise self.wrong(
                name, f"is {values.shape} {values.dtype}; ({count},) texts expected"
            )
        return decode_texts(values)

    def names(self, name: str, count: int) -> np.ndarray | None:
        """Return `count` texts, also of numbers such as 3 or 22.5; None if absent."""
        values = self.values(name, count)
        if values is None or values.dtype.kind not in "fiu":
            return values
        if not np.isfinite(values).all():
            raise self.wrong(name, "contains numbers that are not finite")
        return np.array([str(value).removesuffix(".0") for value in values])

    def values(self, name: str, count: int) -> np.ndarray | None:
        """Return an array of `count` texts or numbers, None if absent."""
        if np.asarray(self.arrays.get(name, "")).dtype.kind in "US":
            return self.texts(name, count)
        return self.numbers(name, (count,))

    def rows(self, name: str, values: np.ndarray) -> Rows:
        """Return the rows of an array: mapped if stored uncompressed, else in memory.

        `values` may have been converted; then the stored array is not used.
        """
        file = self.arrays.file(name) if isinstance(self.arrays, Npz) else None
        if file is not None and file.dtype == values.dtype:
            return file
        return MemoryRows(self.path, values)

    def text(self, name: str) -> str | None:
        """Return one text, None if absent."""
        return (
            None if name not in self.arrays else text_of(np.asarray(self.arrays[name]))
        )


def _session(arrays: _Arrays, options: ReadOptions) -> Session:
    notes = Notes()
    responses = _responses(arrays, notes)
    stimulus = _stimulus(arrays, responses.start, notes)
    if stimulus is None:
        intervals = _intervals(arrays)
        if options.split_seed is not None:
            intervals = with_tiers(intervals, options, notes)
        trials = trials_without_screen(intervals, responses.start)
    else:
        trials = stimulus.trials
    train = train_spans(stimulus, trials, responses.start)
    responses = complete_statistics(responses, train, notes)
    name = arrays.text("id")
    if name is None:
        name = arrays.path.stem
        notes.assume("no_identity", f"the arrays contain no id: '{name}' is used")
    image = arrays.numbers("mean_image", (None, None))
    session = Session(
        id=name,
        animal_id=arrays.text("animal_id"),
        path=arrays.path,
        format="arrays",
        fingerprint="",  # set by `read` and `read_mapping`
        units=_units(arrays, responses, notes),
        responses=responses,
        behavior={"eye_tracker": _eye(arrays, notes), "treadmill": _running(arrays)},
        stimulus=stimulus,
        trials=trials,
        images={} if image is None else {"mean": image.astype(np.float32)},
        # Stated by the user, who can also state that the arrays were upsampled.
        meta={RECORDING_RATE: responses.rate_hz},
        options=options.changed(),
    )
    return finalise(session, notes)


def _spikes(arrays: _Arrays, notes: Notes) -> Signal:
    """Read spike times as responses: counted in any bins, and at the model's rate."""
    times = arrays.numbers("spike_times", (None,))
    if times is None or "responses" in arrays.arrays:
        raise arrays.wrong(
            "spike_times", "and responses are both present: pass only one"
        )
    unit = arrays.integers("spike_unit", len(times))
    if unit is None:
        raise arrays.wrong("spike_unit", "is missing; spike_times needs it")
    ids = np.shape(arrays.arrays.get("unit_ids", ()))
    # A unit without spikes is known only from the list of ids.
    n_units = ids[0] if ids and ids[0] else int(unit.max()) + 1
    if unit.min() < 0 or unit.max() >= n_units:
        reach = f"reaches from {unit.min()} to {unit.max()} for {n_units} units"
        raise arrays.wrong("spike_unit", reach)
    times = times.astype(np.float64)
    if not np.isfinite(times).all():
        raise arrays.wrong("spike_times", "holds a time that is not finite")
    start = arrays.number("start_s") or 0.0
    stop = arrays.number("stop_s", start)
    if stop is None:
        trials = arrays.numbers("trial_stop", (None,))
        stop = max(times.max(), -np.inf if trials is None else trials.max())
        notes.assume(
            "recording_end",
            f"the end of the recording is not given: {stop:.6g} s, the last spike or "
            "trial",
        )
    if (stop - start) * ROW_RATE_HZ < 1:
        raise arrays.wrong("stop_s", f"is {stop:g}, not after the start {start:g} s")
    rows = np.arange(n_units)
    nowhere = np.full((n_units, 3), np.nan)
    units = SpikingUnits(
        rows,
        np.bincount(unit.astype(np.int64), minlength=n_units),
        nowhere,
        quality=_quality(arrays, n_units),
    )
    spikes = UnsortedSpikes(arrays.path, times, unit.astype(np.int64))
    options, span = arrays.options, (start, stop)
    responses, chosen = spiking_responses(units, spikes, span, options, notes)
    if len(chosen.unit_id) < n_units:
        arrays.n_units, arrays.chosen = n_units, chosen.unit_id
    return responses


def _quality(arrays: _Arrays, n: int) -> np.ndarray | None:
    """Return the quality labels of n units, numbers or texts; None without any."""
    labels = arrays.values("quality", n)
    if labels is None or labels.dtype.kind == "U":
        return labels
    return labels.astype(np.float64)


def _responses(arrays: _Arrays, notes: Notes) -> Signal:
    if "spike_times" in arrays.arrays:
        return _spikes(arrays, notes)
    values = arrays.numbers("responses", (None, None))
    assert values is not None
    _check_orientation(arrays, values)
    # The rate of the file has priority; `finalise` warns if the option differs.
    rate = arrays.number("rate_hz", 0.0) or arrays.options.rate_hz
    if rate is None:
        raise SessionFormatError(
            arrays.path,
            MISSING_RATE,
            f"{arrays.path.name} gives no rate_hz, the responses per second",
            "state it: rate_hz=…, or --rate-hz",
        )
    start = arrays.number("start_s") or 0.0
    # Responses must be able to hold NaN.
    if values.dtype.kind != "f":
        values = values.astype(np.float32)
    note_interpolation(rate, notes)
    rows = arrays.rows("responses", values)
    return Signal.of_rows("responses", rows, rate, start, mode="linear")


def _check_orientation(arrays: _Arrays, values: np.ndarray) -> None:
    """Raise if the per-neuron arrays show that responses are (neuron, time)."""
    per_neuron = ("unit_ids", "area", "plane", "xyz_um", "xy_px")
    lengths = {np.shape(arrays.arrays[n])[:1] for n in per_neuron if n in arrays.arrays}
    rows, columns = values.shape
    # With as many samples as neurons, the lengths cannot show the order.
    if rows < columns and lengths == {(rows,)}:
        raise arrays.wrong(
            "responses",
            f"is {values.shape}, and the arrays of the neurons have {rows} rows",
            "transpose them, to (time, neuron): responses.T",
        )


# -- behaviour -----------------------------------------------------------------------
def _running(arrays: _Arrays) -> Signal | None:
    """Return the stream of running: its speed, or that of a wheel with a pose."""
    names = [name for name in ("running", "wheel") if name in arrays.arrays]
    if len(names) > 1:
        raise arrays.wrong("wheel", "and running are both present: pass only one")
    if "pose" in arrays.arrays and names != ["wheel"]:
        raise arrays.wrong("wheel", "is missing; pose needs it")
    if not names:
        return None
    name = names[0]
    speed = arrays.numbers(name, (None,))
    assert speed is not None
    columns = {"running": ("running", "cm/s"), "wheel": ("wheel_speed", "rad/s")}
    labels, values = [columns[name]], [speed]
    pose = arrays.numbers("pose", (len(speed),))
    if pose is not None:
        labels.append(("pose", "px"))
        values.append(pose)
    rate = _required(arrays, f"{name}_rate_hz", name)
    start = arrays.number(f"{name}_start_s") or 0.0
    rows = MemoryRows(arrays.path, np.stack(values, axis=1).astype(np.float64))
    texts, units = zip(*labels, strict=True)
    return Signal.of_rows("treadmill", rows, rate, start, names=texts, units=units)


def _eye(arrays: _Arrays, notes: Notes) -> Signal | None:
    stored = {name: arrays.numbers(name, (None,)) for name in _PUPIL}
    columns = {name: v.astype(float) for name, v in stored.items() if v is not None}
    if not columns:
        return None
    if len({len(values) for values in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(v)}" for name, v in columns.items())
        raise arrays.wrong(next(iter(columns)), f"differs in length: {lengths}")
    rate = _required(arrays, "pupil_rate_hz", "pupil")
    clock = rate, arrays.number("pupil_start_s") or 0.0
    return eye_signal(arrays.path, columns, {}, clock, notes)


def _required(arrays: _Arrays, name: str, of: str) -> float:
    rate = arrays.number(name, 0.0)
    if rate is None:
        raise arrays.wrong(name, f"is missing; {of} needs it")
    return rate


# -- stimulus ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class ArrayVideo:
    """Frames of all trials in one array; see `VideoSource`.

    Attributes
    ----------
    video
        Frames (frame, height, width[, 3]).
    parts
        One per trial.
    """

    video: Rows
    parts: list[Part]

    def has(self, trial: int) -> bool:
        """Return whether a trial has frames."""
        return bool(self.parts[trial].name)

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self.video.check()

    def read(
        self, trial: int, first: int, stop: int, size: tuple[int, ...]
    ) -> np.ndarray:
        """Return frames `first` to `stop` of a trial."""
        # `video_parts` makes runs of consecutive frames, so the ends are enough.
        chosen = self.parts[trial].frames[first:stop]
        return np.array(self.video.read(int(chosen[0]), int(chosen[-1]) + 1))


def _stimulus(arrays: _Arrays, t0: float, notes: Notes) -> Stimulus | None:
    if "video" not in arrays.arrays:
        return None
    # `asarray` keeps a mapped video mapped.
    video = np.asarray(arrays.arrays["video"])
    colour = video.ndim == 4 and video.shape[3] == 3
    if (
        video.dtype.kind not in "fiu"
        or 0 in video.shape
        or not (colour or video.ndim == 3)
    ):
        raise arrays.wrong("video", f"is {video.shape} {video.dtype}")
    times = _frame_times(arrays, len(video))
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    if step > _LONG_STEP_S:
        notes.warn(
            "slow_video",
            f"frames of the video are {step:.3g} s apart: are the times in "
            "milliseconds? divide them by 1000",
        )
    intervals = _intervals(arrays)
    source = partial(ArrayVideo, arrays.rows("video", video))
    parts = video_parts("video", times, intervals, "")
    parts = [_named(part, intervals) for part in parts]
    return build_stimulus(parts, intervals, t0, video.shape[1:], source, notes)


def _named(part: Part, intervals: PresentationIntervals) -> Part:
    fields = intervals.at(float(part.times[0]))
    return replace(part, stim_id=str(fields.get("stim_id", "")))


def _frame_times(arrays: _Arrays, n: int) -> np.ndarray:
    times = arrays.numbers("video_times", (n,))
    if times is None:
        rate = _required(arrays, "video_rate_hz", "video")
        return (arrays.number("video_start_s") or 0.0) + np.arange(n) / rate
    times = times.astype(np.float64)
    steps = np.diff(times)
    # Below, ~(steps > 0) also finds steps that are NaN.
    if not np.isfinite(times).all() or (steps <= 0).any():
        at = int(np.flatnonzero(~(steps > 0))[0]) + 1 if len(steps) else 0
        raise arrays.wrong("video_times", f"do not increase at index {at}")
    return times


def _intervals(arrays: _Arrays) -> PresentationIntervals:
    on = arrays.numbers("trial_start", (None,))
    if on is None:
        return PresentationIntervals()
    off = arrays.numbers("trial_stop", (len(on),))
    if off is None or not np.isfinite([on, off]).all() or (off < on).any():
        raise arrays.wrong("trial_stop", "must follow trial_start, trial by trial")
    columns = {
        "tier": arrays.texts("trial_tier", len(on)),
        "stim_id": arrays.names("trial_stim_id", len(on)),
    }
    columns |= {name: arrays.values(f"trial_{name}", len(on)) for name in _TRIAL_FIELDS}
    fields = {name: v.tolist() for name, v in columns.items() if v is not None}
    fields["id"] = list(range(len(on)))  # before sorting: the user's own order
    # Of a session with a video, a trial lasts until the next one.
    fields["duration_s"] = (off - on).tolist()
    return PresentationIntervals.sorted(
        on.astype(np.float64), off.astype(np.float64), fields
    )


# -- neurons -------------------------------------------------------------------------
def _units(arrays: _Arrays, responses: Signal, notes: Notes) -> Units:
    n = responses.n_columns if arrays.n_units is None else arrays.n_units
    plane, probe = arrays.integers("plane", n), arrays.texts("probe", n)
    if probe is not None and plane is None:
        plane = probe_numbers(probe)
    unit_id, roi = arrays.integers("unit_ids", n), _roi(arrays, n)
    if arrays.chosen is not None:
        # Units keep their numbers; pixels belong to imaging, not to spikes.
        unit_id, roi = np.arange(n) if unit_id is None else unit_id, None

    def read(values: np.ndarray | None) -> np.ndarray | None:
        if values is None or arrays.chosen is None:
            return values
        return np.asarray(values[arrays.chosen])

    units = make_units(
        responses,
        notes,
        unit_id=read(unit_id),
        area=read(arrays.texts("area", n)),
        area_source="area",
        plane=read(plane),
        xyz_um=read(arrays.numbers("xyz_um", (n, 3))),
        xy_px=read(arrays.numbers("xy_px", (n, 2))),
        roi=roi,
        probe=read(probe),
    )
    quality = read(_quality(arrays, n))
    return units if quality is None else replace(units, properties={"quality": quality})


def _roi(arrays: _Arrays, n: int) -> Roi | None:
    labels = arrays.numbers("roi_labels", (None, None))
    if labels is None:
        return None
    if labels.dtype.kind == "f" or labels.min() < 0 or labels.max() > n:
        raise arrays.wrong(
            "roi_labels",
            f"reaches from {labels.min()} to {labels.max()} for {n} neurons",
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
