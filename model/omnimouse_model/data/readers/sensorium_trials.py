"""The trials of a Sensorium folder: lengths, tiers, behaviour, what is withheld."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.clock import RESPONSE_RATE_HZ
from omnimouse_model.data.files import label, load_small_array
from omnimouse_model.data.readers.notes import Notes
from omnimouse_model.data.readers.sensorium_folder import Folder
from omnimouse_model.errors import SessionFormatError

_WITHHELD = ("live_test*", "final_test*")
_PEEKED_UNITS = 8
_STIM_NAMES = ("condition_hash", "frame_image_id", "image_id")


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One trial as it is stored.

    Attributes
    ----------
    length
        Rows at the rate of the responses.
    frames, responses
        Their files; responses are None where they were withheld.
    eye, running
        float64 (length, 4) pupil size, its change, x and y; (length, 1); or None.
    is_sound
        Whether windows may lie in it.
    """

    key: str
    length: int
    frames: Path
    responses: Path | None
    eye: np.ndarray | None
    running: np.ndarray | None
    is_sound: bool
    tier: str
    trial_idx: str
    stim_id: str
    extra: dict[str, Any] = field(default_factory=dict)


def read_trials(folder: Folder, notes: Notes) -> list[Trial]:
    """Read every trial's behaviour and the header of its other files."""
    columns = folder.trial_arrays()
    tiers = folder.trial_array("tiers")
    if tiers is None:
        notes.warn("no_tiers", "meta/trials/tiers.npy is missing: trials have no tier")
    odd: list[str] = []
    withheld: dict[str, int] = {}
    trials = []
    for number in range(folder.n_trials):
        facts = {name: values[number].item() for name, values in columns.items()}
        tier = "blank" if tiers is None else str(tiers[number])
        trial = _trial(folder, number, tier, facts)
        if trial.responses is None:
            withheld[tier] = withheld.get(tier, 0) + 1
        if not trial.is_sound:
            odd.append(trial.key)
        trials.append(trial)
    if withheld:
        counts = ", ".join(f"{tier}: {n}" for tier, n in withheld.items())
        notes.warn("withheld", f"responses of some trials are withheld ({counts})")
    if odd:
        shown = ", ".join(odd[:8]) + (", …" if odd[8:] else "")
        notes.warn(
            "odd_trials",
            f"{len(odd)} trials are left out of windows: values are missing within "
            f"them ({shown})",
        )
    return trials


def _trial(folder: Folder, number: int, tier: str, facts: dict[str, Any]) -> Trial:
    stored = _stored_behavior(folder, number)
    total = _stored_length(folder, number)
    length, is_sound = _valid_length(stored["behavior"], total)
    responses: Path | None = None
    if folder.has("responses", number):
        responses = _checked_responses(folder, number, total)
        if _is_withheld(folder, number, tier):
            responses = None
    elif not _may_be_withheld(tier):
        raise SessionFormatError(
            folder.data("responses"),
            "missing_trials",
            f"data/responses/{number}.npy is missing, and tier {tier} is not withheld",
            "was the download complete?",
        )
    eye, running = _behavior(folder, stored, length)
    for values in (eye, running):
        is_sound &= values is None or bool(np.isfinite(values).all())
    return Trial(
        key=f"{number:05d}",
        length=length,
        frames=folder.path(folder.screen, number),
        responses=responses,
        eye=eye,
        running=running,
        is_sound=is_sound,
        tier=tier,
        trial_idx=str(facts.get("trial_idx", "")),
        stim_id=next((str(facts[n]) for n in _STIM_NAMES if n in facts), ""),
        extra=facts,
    )


def _stored_length(folder: Folder, number: int) -> int:
    """Rows in the files of a trial, padding included."""
    file = folder.file(folder.screen, number)
    size = folder.frame_size
    found = file.shape[:2] if folder.is_video else file.shape[-2:]
    if len(file.shape) != 3 or tuple(found) != size or 0 in file.shape:
        raise SessionFormatError(
            file.path,
            "bad_trials",
            f"{label(file.path)} is {file.shape}, the session's frames are {size}",
            "all frames of a session must have one size",
        )
    return int(file.shape[2]) if folder.is_video else 1


def _stored_behavior(folder: Folder, number: int) -> dict[str, np.ndarray | None]:
    """Arrays (channel, time) of a trial's behaviour, None where there are none."""
    found: dict[str, np.ndarray | None] = {}
    for stream in ("behavior", "pupil_center"):
        found[stream] = None
        if folder.has(stream, number):
            values = load_small_array(folder.path(stream, number), folder.root)
            if values.dtype.kind not in "fiu":
                path = folder.path(stream, number)
                raise SessionFormatError(
                    path,
                    "wrong_shape",
                    f"{label(path)} holds {values.dtype}, not numbers",
                )
            if not folder.is_video:
                values = values.reshape(-1, 1)
            found[stream] = values.astype(np.float64)
    return found


def _valid_length(behavior: np.ndarray | None, total: int) -> tuple[int, bool]:
    """Rows before the padding, and whether there are any.

    Padding is NaN to the end: a NaN within is a missing sample.
    """
    if behavior is None or behavior.ndim != 2 or not behavior.size:
        return total, True
    known = np.flatnonzero(np.isfinite(behavior[0]))
    if not len(known):
        return total, False
    return min(total, int(known[-1]) + 1), True


def _checked_responses(folder: Folder, number: int, total: int) -> Path:
    file = folder.file("responses", number)
    wanted = (folder.n_units, total) if folder.is_video else (folder.n_units,)
    if file.shape != wanted:
        raise SessionFormatError(
            file.path,
            "bad_trials",
            f"{label(file.path)} is {file.shape}; {wanted} expected",
            "was the download complete?",
        )
    return file.path


def _may_be_withheld(tier: str) -> bool:
    return any(fnmatchcase(tier, pattern) for pattern in (*_WITHHELD, "test"))


def _is_withheld(folder: Folder, number: int, tier: str) -> bool:
    """Whether a trial that may be withheld has nothing but zeros or NaN."""
    if not _may_be_withheld(tier):
        return False
    peeked = folder.file("responses", number).open()[:_PEEKED_UNITS]
    return not np.nan_to_num(peeked).any()


def _behavior(
    folder: Folder, stored: dict[str, np.ndarray | None], length: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Pupil (length, 4) and running (length, 1), cut to the valid part."""
    behavior, centre = stored["behavior"], stored["pupil_center"]
    channels = 2 if folder.is_video else 3
    if behavior is None or behavior.ndim != 2 or behavior.shape[0] != channels:
        return None, None
    behavior = _cut(behavior, length)
    running = behavior[-1:].T
    if centre is None or centre.ndim != 2 or centre.shape[0] != 2:
        return None, running
    size = behavior[0]
    if folder.is_video:
        change = np.gradient(size) if len(size) > 1 else np.zeros_like(size)
        change = change * RESPONSE_RATE_HZ
    else:
        change = behavior[1]
    return np.stack([size, change, *_cut(centre, length)], axis=1), running


def _cut(values: np.ndarray, length: int) -> np.ndarray:
    """Columns up to the valid length; those that are missing are NaN."""
    short = length - values.shape[1]
    if short > 0:
        values = np.pad(values, ((0, 0), (0, short)), constant_values=np.nan)
    return values[:, :length]
