"""Reader of experanto session folders: one sub-folder per device, one common clock.

The file is long because a format is one file, from its folders to the session: the screen
with its trials, then devices, their samples and their clock in the order of the page.
"""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Roi, Units
from omnimouse_model.data.readers.build.checked_values import (
    as_float,
    check_finite,
    check_times,
    count,
    decode_texts,
    flag,
    float_dtype,
    number,
    refuse_quantised,
    require,
    short,
    wrong,
)
from omnimouse_model.data.readers.build.finalise import finalise, stored_statistics
from omnimouse_model.data.readers.build.neurons import make_units, of_units
from omnimouse_model.data.readers.build.notes import Notes, ReadOptions, check_order, name_channels
from omnimouse_model.data.readers.build.spiking_units import ROW_RATE_HZ, spike_signal
from omnimouse_model.data.readers.build.trials import note_unknown_tiers
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import BLANK_TIER, Stimulus, TrialFiles, Trials, frame_shape
from omnimouse_model.data.window_spec import is_positive_number
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.npy import (
    MAX_SMALL_ARRAY_BYTES,
    Npz,
    load_small_array,
    npy_file,
)
from omnimouse_model.storage.arrays.rows import ArrayFile
from omnimouse_model.storage.byte_source import folder_fingerprint
from omnimouse_model.storage.files import (
    FileStamp,
    bad_file,
    check_length,
    check_some,
    is_folder,
    is_link,
    is_there,
    label,
    missing,
    open_binary,
    paths_in,
    size_of,
    stamped_files,
    unless_missing,
)
from omnimouse_model.storage.trees import read_json_mapping, read_yaml_mapping

# -- reader of the trial table of an experanto screen: metadata of each trial
KINDS = ("video", "image", "blank", "invalid")
_NUMBERED = re.compile(r"\d{5}\.yml")
# Trials whose YAML is compared with the combined JSON; reading all of them is slow.
_COMPARED = 24


@dataclass(slots=True)
class StoredTrial:
    """One trial as stored.

    Attributes
    ----------
    key
        Stored name, as `00012`.
    kind
        Member of `KINDS`.
    first_slot, n_slots
        Frame slots on the screen.
    size
        (height, width) or (height, width, 3) of its frames.
    file
        Name of the data file; None for blank and invalid trials.
    readable
        Whether its frames can be shown.
    """

    key: str
    kind: str
    meta: Mapping[str, Any]
    first_slot: int
    n_slots: int
    size: tuple[int, ...]
    file: str | None
    readable: bool = True

    @property
    def tier(self) -> str:
        """Name of the split, "blank" if absent."""
        tier = self.meta.get("tier")
        return BLANK_TIER if tier is None else word(tier)


def word(value: object) -> str:
    """Return the text of a scalar, or a short form of any other value."""
    return str(value) if isinstance(value, str | int | float) else short(value)


def read_trials(folder: Path, use_names: bool, notes: Notes) -> list[StoredTrial]:
    """Read all trials in stored order.

    If `combined_meta.json` exists, it is the only source, as in the reference package;
    its key order is the order of the trials.

    Raises
    ------
    SessionFormatError
        If there are no trials, or their metadata are wrong.
    """
    combined = folder / "combined_meta.json"
    numbered = sorted(n for n in stamped_files(folder / "meta") if _NUMBERED.fullmatch(n))
    if is_there(combined):
        stored: Mapping[str, Any] = read_json_mapping(combined, folder.parent)
        _note_stale(folder, stored, numbered, notes)
        source = combined
    else:
        stored = {n[:5]: read_yaml_mapping(folder / "meta" / n, folder.parent) for n in numbered}
        source = folder / "meta"
    hint = "remove the screen folder if nothing was shown"
    check_some(source, len(stored), "trials", hint)
    trials = [_trial(k, v, source, use_names) for k, v in stored.items()]
    _infer_unknown(trials, notes)
    _check_slots(trials, source)
    _note_tiers(trials, notes)
    return trials


def _trial(key: str, meta: object, source: Path, use_names: bool) -> StoredTrial:
    if not isinstance(meta, Mapping):
        raise _bad(source, key, f"must hold key: value pairs, found {short(meta)}")
    kind = word(meta.get("modality", "")).lower()
    first = count(meta, "first_frame_idx", source, f"trial {key}: ")
    size = _size(meta.get("image_size"), source, key)
    # The reference package compares kinds without regard to case, hence `lower`.
    if kind not in KINDS:
        # The number of slots is set later, from the next trial.
        return StoredTrial(key, "unknown", meta, first, 1, size, None, readable=False)
    # Images and blanks take one slot whatever their `num_frames` says.
    slots = count(meta, "num_frames", source, f"trial {key}: ") if kind == "video" else 1
    if slots < 1:
        raise _bad(source, key, f"num_frames must be at least 1, found {slots}")
    file = _file_name(key, meta, source, use_names) if kind in KINDS[:2] else None
    return StoredTrial(key, kind, meta, first, slots, size, file)


def _file_name(key: str, meta: Mapping[str, Any], source: Path, use_names: bool) -> str:
    name = key
    if use_names:
        stimulus = meta.get("stimulus_name")
        if not isinstance(stimulus, str) or not stimulus:
            raise _bad(source, key, "has no stimulus_name, but meta.yml asks to use them")
        name = stimulus.removesuffix(".npy")
    # Colons and backslashes too: drives and separators on Windows.
    if re.search(r"[\\/\x00:]", name) or name in (".", "..", ""):
        problem = f"names a file {name!r} of trial {key} that points outside the session folder"
        raise bad_file(source, "outside", problem)
    return f"{name}.npy"


def _size(value: object, source: Path, trial: str) -> tuple[int, ...]:
    sizes = list(value) if isinstance(value, list | tuple) else []
    # The limit bounds the memory of a single synthetic frame.
    sound = all(isinstance(n, int) and 0 < n <= 10_000 for n in sizes)
    if not sound or len(sizes) not in (2, 3) or (len(sizes) == 3 and sizes[2] != 3):
        raise _bad(source, trial, f"image_size must be [H, W] or [H, W, 3], found {short(value)}")
    return tuple(sizes)


def _infer_unknown(trials: list[StoredTrial], notes: Notes) -> None:
    """Set the slots of trials of unknown kind: up to the next trial.

    Their kind becomes "invalid".
    """
    unknown = Notes()
    for trial, following in zip(trials, [*trials[1:], None], strict=True):
        if trial.kind == "unknown":
            if following is not None:
                trial.n_slots = max(1, following.first_slot - trial.first_slot)
            trial.kind = "invalid"
            kind = short(trial.meta.get("modality"))
            text = f"trial {short(trial.key)}: unknown modality {kind}; treated as invalid"
            unknown.warn("unknown_modality", text)
    notes.add_first(unknown)


def _check_slots(trials: list[StoredTrial], source: Path) -> None:
    # first_frame_idx must equal the running sum of slots. Otherwise frames of one
    # trial would be shown at the times of another.
    slot = 0
    for trial in trials:
        if trial.first_slot != slot:
            raise _bad(
                source,
                trial.key,
                f"first_frame_idx is {trial.first_slot}, but the trials before it "
                f"take {slot} slots",
            )
        slot += trial.n_slots


def _note_tiers(trials: list[StoredTrial], notes: Notes) -> None:
    note_unknown_tiers((trial.tier for trial in trials), notes)
    missing = sum(t.meta.get("tier") is None and t.kind in KINDS[:2] for t in trials)
    if missing:
        notes.warn(
            "missing_tier", f"{missing} video or image trials have no tier; they count as 'blank'"
        )


def _note_stale(folder: Path, stored: Mapping[str, Any], numbered: list[str], notes: Notes) -> None:
    if not numbered:
        return
    keys = {name[:5] for name in numbered}
    if keys != set(stored):
        notes.warn(
            "stale_combined_meta",
            f"combined_meta.json has {len(stored)} trials, meta/ has {len(keys)} "
            "files; the JSON is used",
        )
        return
    # A sample over the whole session, to find edits made after the JSON was written.
    for name in numbered[:: max(1, len(numbered) // _COMPARED)]:
        problem = f"combined_meta.json and meta/{name} differ"
        try:
            if read_yaml_mapping(folder / "meta" / name, folder) == stored[name[:5]]:
                continue
        except SessionFormatError as error:
            if error.code == "outside":
                raise
            problem = error.message
        notes.warn("stale_combined_meta", f"{problem}; the JSON is used")
        return


def _bad(source: Path, trial: str, problem: str) -> SessionFormatError:
    hint = "correct the trial's metadata"
    return bad_file(source, "bad_trials", problem, hint, f"trial {trial}:")


# -- reader of the `screen` device of an experanto folder: slots, trials and files
# With more trials than this, headers are read only of files with unexpected sizes:
# sessions can have 18,000 trials, and each header costs the opening of a file.
_HEADERS_READ = 2_000
# A hash of the contents is safer than a name, which may be used for several stimuli.
_STIMULUS_IDS = ("condition_hash", "stimulus_name", "image_name")
_ENCODED = (".mp4", ".png", ".avi", ".jpg", ".jpeg", ".mkv")


def read_screen(root: Path, t0: float, notes: Notes) -> Stimulus:
    """Read slot times and the trial table; frames stay in their files.

    Parameters
    ----------
    t0
        Native time of the first response: time 0 of the session.
    """
    folder = root / "screen"
    meta = read_yaml_mapping(folder / "meta.yml", root)
    if meta.get("modality") != "screen":
        raise wrong(folder / "meta.yml", "modality", "'screen'", meta.get("modality"))
    named = bool(flag(meta, "use_stimuli_names", folder / "meta.yml"))
    path = folder / "timestamps.npy"
    times = require(load_small_array(path, root), path, "a list of times", (None,))
    check_some(path, len(times), "times")
    refuse_quantised(times, path)
    slot_t = times.astype(np.float64)
    check_times(slot_t, "times", partial(bad_file, path))
    stored = read_trials(folder, named, notes)
    slot_t = _fitting_slots(slot_t, stored, folder, notes)
    # As in the reference package, the first trial gives the frame size.
    size = stored[0].size
    # Marks trials without a file as unreadable, so it comes before the trial table.
    files = _trial_files(folder, stored, size, notes)
    trials = _table(stored, slot_t, t0)
    n_slots, stops = trials.n_slots, np.cumsum(trials.n_slots)
    # 0, 1, … within each trial.
    slot_frame = np.arange(stops[-1]) - np.repeat(stops - n_slots, n_slots)
    return Stimulus(
        slot_t=slot_t,
        slot_trial=np.repeat(np.arange(len(stored), dtype=np.int32), n_slots),
        slot_frame=slot_frame.astype(np.int32),
        size=size,
        source=TrialFiles(files),
        trials=trials,
    )


def _fitting_slots(
    slot_t: np.ndarray, trials: list[StoredTrial], folder: Path, notes: Notes
) -> np.ndarray:
    # A video takes one slot per frame, every other trial one slot.
    n_slots = trials[-1].first_slot + trials[-1].n_slots
    if len(slot_t) < n_slots:
        problem = f"has {len(slot_t):,} times, the trials take {n_slots:,} slots"
        path, hint = folder / "timestamps.npy", "was the download complete?"
        raise bad_file(path, "bad_trials", problem, hint)
    # Too many times do no harm; with too few, frames would have no onset.
    if len(slot_t) > n_slots:
        notes.warn(
            "excess_timestamps",
            f"screen/timestamps.npy has {len(slot_t) - n_slots} times more than the "
            "trials take; they are ignored",
        )
    return slot_t[:n_slots]


def _trial_files(
    folder: Path, trials: list[StoredTrial], size: tuple[int, ...], notes: Notes
) -> tuple[FileStamp | None, ...]:
    data = folder / "data"
    present = stamped_files(data)
    encoded = {n.rsplit(".", 1)[0]: n for n in present if n.lower().endswith(_ENCODED)}
    files: list[FileStamp | None] = []
    faults = Notes()
    for trial in trials:
        files.append(None)
        if trial.file is None:
            continue
        # A missing file excludes its trial, not the session.
        if trial.file not in present:
            trial.readable = False
            _note_missing(trial, encoded, notes)
            continue
        pixels = trial.n_slots * int(np.prod(trial.size))
        rest = present[trial.file].size - pixels * np.array([1, 2, 4, 8])
        # 1 to 8 bytes per value, and at most 1 KiB for the header of the `.npy`.
        is_odd = not ((rest > 0) & (rest <= 1024)).any()
        if len(trials) <= _HEADERS_READ or is_odd:
            path = data / trial.file
            if not faults.attempt(f"screen: trial {trial.key}", _check_file, path, trial, size):
                trial.readable = False
                continue
        files[-1] = present[trial.file]
    notes.add_first(faults)
    return tuple(files)


def _note_missing(trial: StoredTrial, encoded: dict[str, str], notes: Notes) -> None:
    assert trial.file is not None
    other = encoded.get(trial.file.removesuffix(".npy"))
    hint = f" (found {other}: encoded stimuli are not supported)" if other else ""
    notes.warn(
        "missing_trial_file",
        f"trial {trial.key} ({trial.kind}, tier {trial.tier}): data/{trial.file} missing{hint}",
    )


def _check_file(path: Path, trial: StoredTrial, size: tuple[int, ...]) -> ArrayFile:
    """Return the file with the frames of a trial."""
    file = npy_file(path, path.parents[2])
    if file.dtype.kind not in "fiu":
        raise _bad_file(path, trial, f"holds {file.dtype}, not gray values")
    shape = frame_shape(file.shape, size, path)
    if shape[0] != trial.n_slots:
        raise _bad_file(path, trial, f"has {shape[0]} frames, meta says {trial.n_slots}")
    return file


def _bad_file(path: Path, trial: StoredTrial, problem: str) -> SessionFormatError:
    problem = f"(trial {trial.key}) {problem}"
    return bad_file(path, "bad_trials", problem, "was the download complete?")


def _table(stored: list[StoredTrial], slot_t: np.ndarray, t0: float) -> Trials:
    first = np.array([t.first_slot for t in stored], np.int32)
    on = slot_t[first] - t0
    return Trials.of(
        key=[t.key for t in stored],
        kind=[t.kind for t in stored],
        tier=[t.tier for t in stored],
        first_slot=first,
        n_slots=[t.n_slots for t in stored],
        t_on=on,
        # The end of the last frame is not stored; the last onset takes its place.
        t_off=np.append(on[1:], slot_t[-1] - t0),
        readable=[t.readable for t in stored],
        blank_value=[_gray(t) for t in stored],
        stim_id=[_first_of(t, _STIMULUS_IDS) for t in stored],
        trial_idx=[_first_of(t, ("trial_idx",)) for t in stored],
        valid_trial=[_first_of(t, ("valid_trial",)) or "blank" for t in stored],
        extra=[dict(t.meta) for t in stored],
    )


def _first_of(trial: StoredTrial, keys: tuple[str, ...]) -> str:
    for key in keys:
        if trial.meta.get(key) is not None:
            return word(trial.meta[key])
    return ""


def _gray(trial: StoredTrial) -> float:
    """Return the gray level of a frame without a file; NaN if unknown or with a file.

    The key of the metadata is `interleave_value`.
    """
    value = as_float(trial.meta.get("interleave_value"))
    return float("nan") if trial.file is not None or value is None else value


# Samples by which the declared end may lie after the last sample. In the official
# sessions it is 2.6 to 7.3 samples.
_MAX_DEFICIT = 10
_SAME_SPAN = 0.05
"""Number of samples and rate agree with a span up to this relative difference."""


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
    rate = number(meta, "sampling_rate", path, is_positive=True)
    start, end = number(meta, "start_time", path), number(meta, "end_time", path)
    if end < start:
        raise wrong(path, "end_time", f"no time before start_time {start}", end)
    file = _samples(folder, meta, notes)
    n, span = file.shape[0], end - start
    # So many samples that the rate can only be the seconds between them.
    if rate < 1 and _lasts(n * rate, span) and not _lasts(n / rate, span):
        notes.warn(
            "converted_rate",
            f"{folder.name}: sampling_rate {rate:g} is read as seconds between samples, "
            f"{1 / rate:.4g} Hz, because {n:,} samples last from start_time to "
            "end_time",
        )
        rate = 1 / rate
    signal = Signal(name, file, rate, start, end, _phase_shifts(root, folder, meta))
    columns = "units" if name == "responses" else "channels"
    check_some(path, signal.n_columns, f"{columns} of {name}")
    check_some(path, signal.n_samples, f"samples of {name}")
    _check_timestamps(signal, folder, notes)
    return _within_data(signal, notes), meta


def _lasts(seconds: float, span: float) -> bool:
    return abs(seconds - span) < _SAME_SPAN * span


def _samples(folder: Path, meta: Mapping[str, Any], notes: Notes) -> ArrayFile:
    path, is_mapped = data_file(folder, "data", meta)
    if is_there(path.with_suffix(".npy" if is_mapped else ".mem")):
        notes.warn(
            "two_data_files", f"{folder.name} holds data.npy and data.mem; {path.name} is read"
        )
    if not is_mapped:
        return _npy_samples(path, meta)
    described = path.with_name("meta.yml")
    shape = (count(meta, "n_timestamps", described), count(meta, "n_signals", described))
    return _mem_file(path, float_dtype(meta, described), shape, "n_timestamps, n_signals and dtype")


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
        raise bad_file(folder, "missing_data", f"has neither {npy.name} nor {mem.name}")
    is_mapped = has_mem and (mapped is True or not has_npy)
    return (mem if is_mapped else npy), is_mapped


def _mem_file(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], keys: str) -> ArrayFile:
    """Return the values of a file without a header, of the shape that meta.yml states."""
    size, expected = size_of(path), math.prod(shape) * dtype.itemsize
    # A file that is too long must be refused as well: with a wrong number of columns, all
    # values would be read at wrong places.
    if size != expected:
        product = "×".join(f"{n:,}" for n in (*shape, dtype.itemsize))
        raise bad_file(
            path,
            "wrong_size",
            f"has {size:,} bytes; by {keys} of meta.yml, {product} = {expected:,} expected "
            f"({_size_difference(size, expected, shape)})",
            "incomplete download? fetch it again"
            if size < expected
            else "correct these in meta.yml",
        )
    return ArrayFile(path, dtype, shape, inside=path.parents[1])


def _size_difference(size: int, expected: int, shape: tuple[int, ...]) -> str:
    if size < expected:
        return f"short by {100 * (expected - size) / expected:.0f} %"
    # The most common fault: a column more than `n_signals` says.
    if len(shape) == 2 and expected and size % expected == 0:
        factor = size // expected
        word = {2: "twice", 3: "three times"}.get(factor, f"{factor} times")
        return f"{word} as long: does it hold {factor * shape[1]} columns?"
    return f"long by {size - expected:,} bytes"


def _npy_samples(path: Path, meta: Mapping[str, Any]) -> ArrayFile:
    described = path.with_name("meta.yml")
    file = require(npy_file(path, path.parents[1]), path, "numbers")
    if len(file.shape) == 1:  # accepted as one column
        shape = (*file.shape, 1)
        file = ArrayFile(path, file.dtype, shape, file.offset, inside=path.parents[1])
    for axis, key in ((1, "n_signals"), (0, "n_timestamps")):
        if key == "n_timestamps" and key not in meta:
            break
        declared = count(meta, key, described)
        if len(file.shape) != 2 or file.shape[axis] != declared:
            problem = f"is {file.shape} but meta.yml says {key} {declared}"
            raise bad_file(path, "wrong_shape", problem, "rows are time, columns are signals")
    return file


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
    hint = "one shift per column of the data"
    check_length(path, shifts.size, "values", columns, "units", hint)
    require(shifts, path, "numbers")
    check_finite(shifts.reshape(-1), "shifts", partial(bad_file, path))
    return shifts.reshape(-1).astype(np.float64)


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


BEHAVIOR = ("eye_tracker", "treadmill")
LOOKED_FOR = ("responses/meta.yml", "screen/meta.yml")
# Simulated sessions store their ground truth here; it is not part of the recording.
_NOT_READ = ("truth", "__pycache__")


def recognises(path: Path) -> bool:
    """Return whether a folder looks like an experanto session."""
    if not is_folder(path):
        return False
    # Data without a description count, so that reading them reports the error.
    files = (*LOOKED_FOR, "responses/data.mem", "responses/data.npy")
    return any(is_there(path / file) for file in files)


def read(path: Path, options: ReadOptions) -> Session:
    """Open an experanto session folder; see `open_session`."""
    notes = Notes()
    names = options.behavior_names or {}
    # Responses first: time 0 of the session is the first response.
    responses, meta = _responses(path, notes)
    stimulus = None
    if _is_described(path, "screen", notes):
        stimulus = notes.attempt("screen", read_screen, path, responses.start, notes)
    trials = Trials.none() if stimulus is None else stimulus.trials
    responses = _with_statistics(responses, path, notes)
    behavior = {name: _behavior(path, name, names, notes) for name in BEHAVIOR}
    check_order(behavior["eye_tracker"], notes)
    _note_other_devices(path, responses.file.path.parent.name, notes)
    images, facts = notes.attempt("imaging", read_images, path, notes) or ({}, {})
    root_meta = _root_metadata(path, notes)
    session_id, animal_id = _identity(path, root_meta, notes)
    # The rate before upsampling. Simulated recordings are computed at their rate.
    rate = meta.get("original_sampling_rate")
    if rate is None and "simulated" in root_meta:
        rate = meta.get("sampling_rate")
    session = Session(
        id=session_id,
        animal_id=animal_id,
        path=path,
        format="experanto",
        fingerprint=folder_fingerprint(path, _NOT_READ),
        units=read_units(path, responses, meta, notes),
        responses=responses,
        behavior=behavior,
        stimulus=stimulus,
        trials=trials,
        images=images,
        meta=facts | ({RECORDING_RATE: float(rate)} if is_positive_number(rate) else {}),
    )
    return finalise(session, options, notes)


def _responses(root: Path, notes: Notes) -> tuple[Signal, Mapping[str, Any]]:
    """Return samples of `responses` or counts of `spikes`, and the device's metadata.

    Raises
    ------
    SessionFormatError
        If there is no description of responses.
    """
    meta = root / "responses" / "meta.yml"
    if is_there(meta):
        if read_yaml_mapping(meta, root).get("modality") == "spikes":
            return read_spikes(root, "responses", notes)
        return read_sequence(root, "responses", notes)
    if is_there(root / "spikes" / "meta.yml"):
        return read_spikes(root, "spikes", notes)
    if is_link(meta):
        raise missing(meta)
    raise bad_file(meta, "missing_meta", "is missing; a session needs responses")


def _note_other_devices(root: Path, used: str, notes: Notes) -> None:
    """Note the devices of the folder that are not read."""
    read = {used, "screen", "imaging", *BEHAVIOR}
    others = []
    for path in paths_in(root):
        with suppress(SessionFormatError):  # a folder that may not be entered
            if path.name not in read and is_there(path / "meta.yml"):
                others.append(path.name)
    if others:
        notes.assume("other_devices", f"not read: {', '.join(others)}")


def _is_described(root: Path, name: str, notes: Notes) -> bool:
    is_described = is_there(root / name / "meta.yml")
    # A folder without its description is an error of the files; no folder is normal.
    if not is_described and is_folder(root / name):
        notes.warn("missing_meta", f"{name}/meta.yml is missing; the {name} is not read")
    return is_described


def _behavior(
    root: Path, name: str, names: Mapping[str, Sequence[str]], notes: Notes
) -> Signal | None:
    if not _is_described(root, name, notes):
        return None
    found = notes.attempt(name, read_sequence, root, name, notes)
    if found is None:
        return None
    # Names first: the notes on statistics use them.
    signal = name_channels(found[0], names.get(name), notes)
    return _with_statistics(signal, root, notes)


def _with_statistics(signal: Signal, root: Path, notes: Notes) -> Signal:
    means, stds = (root / signal.name / "meta" / f"{name}.npy" for name in ("means", "stds"))
    mean, std = stored_statistics((means, stds), signal.n_columns, root, notes)
    return replace(signal, mean=mean, std=std)


def _root_metadata(root: Path, notes: Notes) -> Mapping[str, Any]:
    path = root / "meta.json"
    # A damaged meta.json is no reason to refuse the recording.
    try:
        return unless_missing(read_json_mapping, path, root) or {}
    except SessionFormatError as error:
        notes.warn("bad_identity", f"{error.message}; the folder's name is used")
        return {}


def _identity(root: Path, meta: Mapping[str, Any], notes: Notes) -> tuple[str, str | None]:
    """Return session key and animal, by the rules of the reference package.

    The order is `data_key`, `scan_key`, animal-session-scan, folder name. Checkpoints
    contain these keys, so other rules would make their sessions unknown.
    """
    scan_key = meta.get("scan_key")
    scan = scan_key if isinstance(scan_key, Mapping) else meta
    if meta.get("data_key") is not None:
        key = str(meta["data_key"])
    elif isinstance(scan_key, str):
        key = scan_key
    elif {"animal_id", "session", "scan_idx"} <= set(scan):
        key = f"{scan['animal_id']}-{scan['session']}-{scan['scan_idx']}"
    else:
        key = root.name
        notes.assume(
            "no_identity", f"{label(root / 'meta.json')} gives no key: '{key}' is the folder"
        )
    animal = scan.get("animal_id", meta.get("animal_id"))
    # Keys begin with the animal: `dynamic26872-17-20-Video-…`.
    if animal is None and "-" in key:
        animal = re.sub(r"^(dynamic|static)", "", key.split("-")[0])
    return key, None if animal is None else str(animal)


# -- reader of the neurons of an experanto folder: ids, areas, positions and masks
_AREA_NAMES = ("area", "areas", "brain_area", "brain_areas")


def read_units(root: Path, responses: Signal, meta: Mapping[str, Any], notes: Notes) -> Units:
    """Read the unit arrays; missing ones and those of another length are omitted."""
    n, folder = responses.n_columns, responses.file.path.parent
    # The description can name other files than those of the usual names.
    paths = meta.get("neuron_properties")
    paths = paths if isinstance(paths, Mapping) else {}

    def load(name: str, shape: tuple[int, ...] = (n,), kinds: str = "fiub") -> np.ndarray | None:
        named, values = paths.get(name), None
        is_named = isinstance(named, str)
        path = folder / (named if isinstance(named, str) else f"meta/{name}.npy")
        # A path that the session's content names could lead out of it: such a session is
        # refused as a whole, and nothing is told about the file.
        if is_named:
            try:
                open_binary(path, root, is_named=True).close()
            except SessionFormatError as error:
                if error.code == "outside":
                    raise
        if is_there(path):
            values = notes.attempt(name, load_small_array, path, root, is_named=is_named)
        elif named is not None:
            notes.warn("missing_unit_array", f"{folder.name}/{named} is named, but missing")
        return of_units(values, name, shape, notes, kinds)

    # -1 (unknown) in place of NaN and infinity.
    unit_id, fields = (
        None if values is None else np.where(np.isfinite(values), values, -1)
        for values in map(load, ("unit_ids", "fields"))
    )
    # The format does not define a name; only some sessions have areas.
    areas = ((name, load(name, kinds="fiubUS")) for name in _AREA_NAMES)
    source, area = next((one for one in areas if one[1] is not None), ("", None))
    return make_units(
        responses,
        notes,
        unit_id=unit_id,
        area=None if area is None else decode_texts(area).astype(np.str_),
        area_source=f"{folder.name}/meta/{source}.npy",
        plane=fields,
        xyz_um=load("cell_motor_coordinates", (n, 3)),
        roi=notes.attempt("masks", read_roi, root, n, notes),
        # The limit of the released models, which know recordings in this format.
        least_scale=1.0,
    )


def read_roi(root: Path, n: int, notes: Notes) -> Roi | None:
    """Read the pixel masks of `imaging/rois.npz`; None if missing or unfit.

    Raises
    ------
    SessionFormatError
        If the file lacks an array.
    """
    path = root / "imaging" / "rois.npz"
    stored = unless_missing(Npz, path, MAX_SMALL_ARRAY_BYTES, root)
    if stored is None:
        return None
    if not {"offsets", "yx", "weight"} <= set(stored):
        raise SessionFormatError(path, "wrong_shape", "rois.npz must hold offsets, yx and weight")
    offsets, pixels, weight = (stored[name] for name in ("offsets", "yx", "weight"))
    # `Roi` relies on offsets that start at 0, never fall and end at the pixel count.
    sound = (
        all(values.dtype.kind in "fiu" for values in (offsets, pixels, weight))
        and offsets.shape == (n + 1,)
        and weight.ndim == 1
        and pixels.shape == (len(weight), 2)
        and offsets[0] == 0
        and offsets[-1] == len(weight)
        and (np.diff(offsets.astype(np.int64)) >= 0).all()
    )
    # A wrong mask is no reason to refuse the recording.
    if not sound:
        notes.warn("wrong_length", f"rois.npz does not fit {n} units; left out")
        return None
    return Roi(offsets.astype(np.int64), pixels.astype(np.int16), weight.astype(np.float32))


def read_images(root: Path, notes: Notes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read mean images and metadata of the `imaging` folder, empty if missing."""
    folder = root / "imaging"
    images: dict[str, np.ndarray] = {}
    image = unless_missing(load_small_array, folder / "mean_image.npy", root)
    if image is not None:
        if image.dtype.kind not in "fiu":
            notes.warn("wrong_shape", f"mean_image.npy holds {image.dtype}; left out")
            image = np.zeros((0, 0, 0))  # a stack of no planes: adds no image
        image = image.astype(np.float32)
        if image.ndim == 2:
            images["mean"] = image
        elif image.ndim == 3:
            images.update({f"mean_{i}": plane for i, plane in enumerate(image)})
        else:
            notes.warn("wrong_shape", f"mean_image.npy is {image.shape}; left out")
    described = folder / "meta.yml"
    facts = unless_missing(read_yaml_mapping, described, root) or {}
    facts.pop("modality", None)
    return images, facts


# -- reader of a `spikes` device of an experanto folder: spike times of units
# Spike times checked at once: a limit on memory for long recordings.
_CHECKED = 2**24


def read_spikes(root: Path, name: str, notes: Notes) -> tuple[Signal, Mapping[str, Any]]:
    """Return the spikes of a device as responses, and the metadata."""
    folder = root / name
    path = folder / "meta.yml"
    meta = read_yaml_mapping(path, root)
    start, end = number(meta, "start_time", path), number(meta, "end_time", path)
    if (end - start) * ROW_RATE_HZ < 1:
        raise wrong(path, "end_time", f"a sample or more after start_time {start}", end)
    offsets = _offsets(meta, path)
    file = _times(folder, meta, int(offsets[-1]))
    # Blocks overlap by one spike, so that the order is also checked between them.
    for first in range(0, file.shape[0], _CHECKED):
        part = file.read(max(0, first - 1), first + _CHECKED)
        _check_order(file, part, max(0, first - 1), offsets)
        refuse_quantised(part, file.path)
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
    path, is_mapped = data_file(folder, "spikes", meta)
    if is_mapped:
        described = folder / "meta.yml"
        dtype = float_dtype(meta, described) if "dtype" in meta else np.dtype(np.float64)
        file = _mem_file(path, dtype, (n_spikes,), "spike_indices and dtype")
    else:
        file = npy_file(path, folder.parent)
    expected = f"({n_spikes},) times, as spike_indices of meta.yml say,"
    hint = "was the download complete?"
    return require(file, file.path, expected, (n_spikes,), kinds="f", hint=hint)


def _check_order(file: ArrayFile, times: np.ndarray, first: int, offsets: np.ndarray) -> None:
    """Raise unless a block of times from index `first` on ascends within each unit."""
    falls = np.flatnonzero(~(np.diff(times) >= 0)) + 1 + first
    # Times may fall where the next unit begins.
    falls = falls[~np.isin(falls, offsets)]
    invalid = np.flatnonzero(~np.isfinite(times)) + first
    if len(falls) or len(invalid):
        at = int(min([*falls[:1], *invalid[:1]]))
        hint = "spike times must be sorted within each unit, in seconds"
        problem = f"does not ascend within a unit at index {at}"
        raise bad_file(file.path, "not_ascending", problem, hint)
