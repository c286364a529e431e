"""Reader of experanto session folders: one sub-folder per device, one common clock."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.behavior_names import check_order, name_channels
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.readers.build.statistics import (
    complete_statistics,
    train_spans,
    with_stored_statistics,
)
from omnimouse_model.data.readers.experanto.screen import read_screen
from omnimouse_model.data.readers.experanto.sequence import read_sequence
from omnimouse_model.data.readers.experanto.spikes import read_spikes
from omnimouse_model.data.readers.experanto.units import read_images, read_units
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus, Trials
from omnimouse_model.data.window_spec import is_positive_number
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import label, missing
from omnimouse_model.storage.fingerprint import folder_fingerprint
from omnimouse_model.storage.trees import read_json_mapping, read_yaml_mapping

BEHAVIOR = ("eye_tracker", "treadmill")
LOOKED_FOR = ("responses/meta.yml", "screen/meta.yml")
# Simulated sessions store their ground truth here; it is not part of the recording.
_NOT_READ = ("truth", "__pycache__")


def recognises(path: Path) -> bool:
    """Return whether a folder looks like an experanto session."""
    if not path.is_dir():
        return False
    # Data without a description count, so that reading them reports the error.
    files = (*LOOKED_FOR, "responses/data.mem", "responses/data.npy")
    return any((path / file).exists() for file in files)


def read(path: Path, options: ReadOptions) -> Session:
    """Open an experanto session folder; see `open_session`."""
    notes = Notes()
    names = options.behavior_names or {}
    # Responses first: time 0 of the session is the first response.
    responses, meta = _responses(path, notes)
    stimulus = _screen(path, responses.start, notes)
    trials = Trials.none() if stimulus is None else stimulus.trials
    train = train_spans(stimulus, trials)
    responses = with_stored_statistics(responses, path, notes)
    responses = complete_statistics(responses, train, notes)
    behavior = {name: _behavior(path, name, names, notes) for name in BEHAVIOR}
    check_order(behavior["eye_tracker"], notes)
    _note_other_devices(path, responses.file.path.parent.name, notes)
    images, facts = read_side_stream("imaging", partial(read_images, path), notes) or (
        {},
        {},
    )
    root_meta = _root_metadata(path, notes)
    session_id, animal_id = _identity(path, root_meta, notes)
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
        meta=facts | _recording_rate(meta, root_meta),
        options=options.changed(),
    )
    return finalise(session, notes)


def _responses(root: Path, notes: Notes) -> tuple[Signal, Mapping[str, Any]]:
    """Return samples of `responses` or counts of `spikes`, and the device's metadata.

    Raises
    ------
    SessionFormatError
        If there is no description of responses.
    """
    meta = root / "responses" / "meta.yml"
    if meta.exists():
        if read_yaml_mapping(meta, root).get("modality") == "spikes":
            return read_spikes(root, "responses", notes)
        return read_sequence(root, "responses", notes)
    if (root / "spikes" / "meta.yml").exists():
        return read_spikes(root, "spikes", notes)
    if meta.is_symlink():
        raise missing(meta)
    raise SessionFormatError(
        meta,
        "missing_meta",
        "responses/meta.yml is missing; a session needs responses",
        "was the download complete?",
    )


def _recording_rate(meta: Mapping[str, Any], root_meta: Mapping[str, Any]) -> dict[str, float]:
    """Return the rate before upsampling, if the metadata state it."""
    value = meta.get("original_sampling_rate")
    # Simulated recordings are computed at their rate, not upsampled.
    if value is None and "simulated" in root_meta:
        value = meta.get("sampling_rate")
    return {RECORDING_RATE: float(value)} if is_positive_number(value) else {}


def _note_other_devices(root: Path, used: str, notes: Notes) -> None:
    """Note the devices of the folder that are not read."""
    read = {used, "screen", "imaging", *BEHAVIOR}
    others = sorted({p.parent.name for p in root.glob("*/meta.yml")} - read)
    if others:
        notes.assume("other_devices", f"not read: {', '.join(others)}")


def _is_described(root: Path, name: str, notes: Notes) -> bool:
    is_described = (root / name / "meta.yml").exists()
    # A folder without its description is an error of the files; no folder is normal.
    if not is_described and (root / name).is_dir():
        notes.warn("missing_meta", f"{name}/meta.yml is missing; the {name} is not read")
    return is_described


def _screen(root: Path, t0: float, notes: Notes) -> Stimulus | None:
    if not _is_described(root, "screen", notes):
        return None
    return read_side_stream("screen", partial(read_screen, root, t0), notes)


def _behavior(
    root: Path, name: str, names: Mapping[str, Sequence[str]], notes: Notes
) -> Signal | None:
    if not _is_described(root, name, notes):
        return None
    found = read_side_stream(name, partial(read_sequence, root, name), notes)
    if found is None:
        return None
    # Names first: the notes on statistics use them.
    signal = name_channels(found[0], names.get(name), notes)
    return with_stored_statistics(signal, root, notes)


def _root_metadata(root: Path, notes: Notes) -> Mapping[str, Any]:
    path = root / "meta.json"
    # A damaged meta.json is no reason to refuse the recording.
    try:
        return read_json_mapping(path, root) if path.exists() else {}
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
            "no_identity",
            f"{label(root / 'meta.json')} gives no key: '{key}' is the folder",
        )
    animal = scan.get("animal_id", meta.get("animal_id"))
    # Keys begin with the animal: `dynamic26872-17-20-Video-…`.
    if animal is None and "-" in key:
        animal = re.sub(r"^(dynamic|static)", "", key.split("-")[0])
    return key, None if animal is None else str(animal)
