"""Reader of the `screen` device of an experanto folder: slots, trials and files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.checked_values import (
    as_float,
    check_times,
    count,
    flag,
    refuse_quantised,
    require,
    short,
    wrong,
)
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.trials import note_unknown_tiers
from omnimouse_model.data.stimulus import (
    BLANK_TIER,
    Stimulus,
    TrialFiles,
    Trials,
    frame_shape,
)
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.arrays.rows import ArrayFile
from omnimouse_model.storage.files import (
    FileStamp,
    bad_file,
    check_some,
    is_there,
    stamped_files,
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
    _check_order(trials, source)
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


def _check_order(trials: list[StoredTrial], source: Path) -> None:
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
