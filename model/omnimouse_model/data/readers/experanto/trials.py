"""Reader of the trial table of an experanto screen: metadata of each trial."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.typed_fields import short
from omnimouse_model.data.stimulus import BLANK_TIER, COMMON_TIERS
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import contained, label, stamped_files
from omnimouse_model.storage.trees import read_json_mapping, read_yaml_mapping

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
    if combined.exists():
        stored: Mapping[str, Any] = read_json_mapping(combined, folder.parent)
        _note_stale(folder, stored, numbered, notes)
        source = combined
    else:
        stored = {n[:5]: read_yaml_mapping(folder / "meta" / n, folder.parent) for n in numbered}
        source = folder / "meta"
    if not stored:
        raise SessionFormatError(
            folder,
            "empty",
            f"{label(source)}: the screen has 0 trials",
            "remove the screen folder if nothing was shown",
        )
    trials = [_trial(k, v, source, use_names, notes) for k, v in stored.items()]
    _infer_unknown(trials)
    _check_order(trials, source)
    _note_tiers(trials, notes)
    return trials


def _trial(key: str, meta: object, source: Path, use_names: bool, notes: Notes) -> StoredTrial:
    if not isinstance(meta, Mapping):
        raise _bad(source, key, f"must hold key: value pairs, found {short(meta)}")
    kind = word(meta.get("modality", "")).lower()
    first = _integer(meta, "first_frame_idx", source, key)
    size = _size(meta.get("image_size"), source, key)
    # The reference package compares kinds without regard to case, hence `lower`.
    if kind not in KINDS:
        notes.warn(
            "unknown_modality",
            f"trial {key}: unknown modality {short(meta.get('modality'))}; treated as invalid",
        )
        # The number of slots is set later, from the next trial.
        return StoredTrial(key, "unknown", meta, first, 1, size, None, readable=False)
    # Images and blanks take one slot whatever their `num_frames` says.
    slots = _integer(meta, "num_frames", source, key) if kind == "video" else 1
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
        raise SessionFormatError(
            source,
            "outside",
            f"trial {key}: stimulus file {name!r} points outside the session folder",
            "a session may only name files of its own folder",
        )
    return f"{name}.npy"


def _integer(meta: Mapping[str, Any], key: str, source: Path, trial: str) -> int:
    value = meta.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _bad(source, trial, f"{key} must be a whole number, found {short(value)}")
    return value


def _size(value: object, source: Path, trial: str) -> tuple[int, ...]:
    sizes = list(value) if isinstance(value, list | tuple) else []
    # The limit bounds the memory of a single synthetic frame.
    sound = all(isinstance(n, int) and 0 < n <= 10_000 for n in sizes)
    if not sound or len(sizes) not in (2, 3) or (len(sizes) == 3 and sizes[2] != 3):
        raise _bad(
            source,
            trial,
            f"image_size must be [H, W] or [H, W, 3], found {short(value)}",
        )
    return tuple(sizes)


def _infer_unknown(trials: list[StoredTrial]) -> None:
    """Set the slots of trials of unknown kind: up to the next trial.

    Their kind becomes "invalid".
    """
    for trial, following in pairwise(trials):
        if trial.kind == "unknown":
            trial.n_slots = max(1, following.first_slot - trial.first_slot)
    for trial in trials:
        if trial.kind == "unknown":
            trial.kind = "invalid"


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
    unknown = Counter(t.tier for t in trials if t.tier not in COMMON_TIERS)
    missing = sum(t.meta.get("tier") is None and t.kind in KINDS[:2] for t in trials)
    if unknown:
        listed = ", ".join(f"'{t}' ({n} trials)" for t, n in unknown.items())
        notes.warn(
            "unknown_tier",
            f"tiers outside the usual ones: {listed}; kept as they are, in no preset",
        )
    if missing:
        notes.warn(
            "missing_tier",
            f"{missing} video or image trials have no tier; they count as 'blank'",
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
        contained(folder / "meta" / name, folder)
        problem = f"combined_meta.json and meta/{name} differ"
        try:
            if read_yaml_mapping(folder / "meta" / name, folder) == stored[name[:5]]:
                continue
        except SessionFormatError as error:
            problem = error.message
        notes.warn("stale_combined_meta", f"{problem}; the JSON is used")
        return


def _bad(source: Path, trial: str, problem: str) -> SessionFormatError:
    return SessionFormatError(
        source,
        "bad_trials",
        f"{label(source)}: trial {trial}: {problem}",
        "correct the trial's metadata",
    )
