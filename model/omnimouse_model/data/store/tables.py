"""Conversion of the small tables of a session to arrays and texts, and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.spike_trains import SpikeTrains
from omnimouse_model.data.stimulus import TRIAL_COLUMNS, Trials
from omnimouse_model.data.store.layout import little
from omnimouse_model.data.store.recorded_rows import has_pauses
from omnimouse_model.data.units import Roi, Units
from omnimouse_model.storage.trees import decode_json

_TEXTS = [name for name, kind in TRIAL_COLUMNS.items() if kind is np.str_]
_NUMBERS = [name for name in TRIAL_COLUMNS if name not in _TEXTS]
_PROPERTY = "property_"
_UNITS = ("unit_id", "plane", "xyz_um", "xy_px")


def digest_of(values: np.ndarray) -> str:
    """Return the hash of the values of an array in C order, for any byte order."""
    return blake2b(little(values).tobytes()).hexdigest()[:32]


def plain(value: Any) -> Any:
    """Return a value as JSON stores it; unknown types and keys become texts."""
    # A round trip, so that a value before writing equals the same value after reading
    # (tuples are lists, keys are texts).
    try:
        text = json.dumps(value, default=str)
    except TypeError:  # a key that JSON cannot store
        text = json.dumps(_with_text_keys(value), default=str)
    return decode_json(text, "the session", nan=True)


def _with_text_keys(value: Any) -> Any:
    """Return the same value with keys that JSON can store."""
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str | int | float | None) else str(key): (_with_text_keys(item))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_with_text_keys(item) for item in value]
    return value


def table_digest(session: Session) -> str:
    """Return the hash of all small data, equal for a session and its store."""
    digest = blake2b()
    # Type and shape are hashed too: the same bytes in another shape are another table.
    for name, values in sorted(small_arrays(session).items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    texts = [identity(session), group_attributes(session)]
    digest.update(json.dumps(texts, sort_keys=True).encode())
    return digest.hexdigest()[:32]


def small_arrays(session: Session) -> dict[str, np.ndarray]:
    """Return all arrays except responses and frames, by their name in a store."""
    arrays: dict[str, np.ndarray] = {}
    for name, signal in _signals(session).items():
        for column in ("mean", "std", "shift_s", "recorded_spans"):
            values = getattr(signal, column)
            if values is not None:
                arrays[f"{name}/{column}"] = values
        if signal is not session.responses:
            arrays[f"{name}/data"] = np.ascontiguousarray(signal.data)
        # The rows of the responses are only counts at one rate.
        if isinstance(signal.file, SpikeTrains):
            arrays[f"{name}/spike_times"] = np.asarray(signal.file.all_times())
            arrays[f"{name}/spike_offsets"] = signal.file.offsets
            observed = signal.file.observed
            if observed is not None:
                arrays[f"{name}/observed_spans"] = observed.spans
                if observed.offsets is not None:
                    arrays[f"{name}/observed_offsets"] = observed.offsets
    for name, values in unit_columns(session.units).items():
        arrays[f"units/{name}"] = values
    for name, image in session.images.items():
        arrays[f"images/{name}"] = np.asarray(image)
    stimulus, trials = session.stimulus, session.trials
    if stimulus is not None:
        for name in ("slot_t", "slot_trial", "slot_frame"):
            arrays[f"stimulus/{name}"] = getattr(stimulus, name)
    if len(trials):
        for name in _NUMBERS:
            values = getattr(trials, name)
            # A store holds no booleans.
            is_flag = values.dtype == bool
            arrays[f"trials/{name}"] = values.astype(np.uint8) if is_flag else values
    return {name: little(values) for name, values in arrays.items()}


def group_attributes(session: Session) -> dict[str, dict[str, Any]]:
    """Return the attributes of the groups of a store, by group."""
    attributes = {name: _signal_attributes(signal) for name, signal in _signals(session).items()}
    units = session.units
    attributes["units"] = {
        "area": None if units.area is None else units.area.tolist(),
        "area_source": units.area_source,
        "least_scale": units.least_scale,
    }
    if units.probe is not None:
        attributes["units"]["probe"] = units.probe.tolist()
    texts = {n: v.tolist() for n, v in units.properties.items() if v.dtype.kind == "U"}
    if texts:
        attributes["units"]["properties"] = texts
    if session.stimulus is not None:
        attributes["stimulus"] = {"size": list(session.stimulus.size)}
    if len(session.trials):
        attributes["trials"] = packed_trials(session.trials)
    return attributes


def identity(session: Session) -> dict[str, Any]:
    """Return the attributes of the store that describe the session."""
    return {
        "id": session.id,
        "animal_id": session.animal_id,
        "n_units": session.n_neurons,
        "behavior_names": list(session.behavior_names),
        "meta": plain(dict(session.meta)),
        "warnings": [asdict(note) for note in session.warnings],
    }


def _signals(session: Session) -> dict[str, Signal]:
    signals = {"responses": session.responses}
    for name, signal in session.behavior.items():
        if signal is not None:
            signals[f"behaviour/{name}"] = signal
    return signals


def _signal_attributes(signal: Signal) -> dict[str, Any]:
    # Only where they are not 0: stores from before these attributes stay valid.
    missing: dict[str, Any] = {
        name: value for name in ("n_missing", "rounding_s") if (value := getattr(signal, name))
    }
    if signal.name == "responses" and has_pauses(signal):
        # Rows of the recording, of which those in pauses are not stored.
        missing["rows"] = signal.n_samples
    return missing | {
        "rate_hz": signal.rate_hz,
        "start": signal.start,
        "end_declared": signal.end_declared,
        "names": list(signal.names),
        "units": list(signal.units),
        "mode": signal.mode,
    }


def unit_columns(units: Units) -> dict[str, np.ndarray]:
    """Return the columns of the neurons, and their pixel masks if there are any."""
    columns = {name: getattr(units, name) for name in _UNITS}
    if units.roi is not None:
        columns["roi_offsets"] = units.roi.offsets
        columns["roi_yx"] = units.roi.yx
        columns["roi_weight"] = units.roi.weight
    for name, values in units.properties.items():
        if values.dtype.kind != "U":  # texts are attributes
            columns[f"{_PROPERTY}{name}"] = values
    return {name: np.asarray(values) for name, values in columns.items()}


def units_of(
    arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any], responses: Signal
) -> Units:
    """Return the neurons of a store."""
    assert responses.mean is not None
    assert responses.std is not None
    area, probe = (
        None if attributes.get(name) is None else np.array(attributes[name])
        for name in ("area", "probe")
    )
    roi = None
    if "roi_offsets" in arrays:
        roi = Roi(*(arrays[f"roi_{name}"] for name in ("offsets", "yx", "weight")))
    properties = {
        name.removeprefix(_PROPERTY): values
        for name, values in arrays.items()
        if name.startswith(_PROPERTY)
    }
    texts = attributes.get("properties", {})
    properties |= {name: np.array(values, str) for name, values in texts.items()}
    return Units(
        **{name: arrays[name] for name in _UNITS},
        area=area,
        probe=probe,
        area_source=attributes["area_source"],
        mean=responses.mean,
        std=responses.std,
        roi=roi,
        least_scale=attributes["least_scale"],
        properties=properties,
    )


def packed_trials(trials: Trials) -> dict[str, Any]:
    """Return the texts of the trial table; its numbers are stored as arrays."""
    texts: dict[str, Any] = {name: getattr(trials, name).tolist() for name in _TEXTS}
    texts["extra"] = plain(list(trials.extra))
    return texts


def trials_of(arrays: Mapping[str, np.ndarray], texts: Mapping[str, Any]) -> Trials:
    """Return the trial table of a store."""
    columns = {name: arrays[name] for name in _NUMBERS}
    columns |= {name: texts[name] for name in _TEXTS}
    return Trials.of(**columns, extra=texts["extra"])
