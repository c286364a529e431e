"""The small tables of a session as a store has them, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from omnimouse_model.data.stimulus import Trials
from omnimouse_model.data.units import Roi, Units

_LARGEST_SCALE = 1e30
_TEXTS = ("key", "kind", "tier", "stim_id", "trial_idx", "valid_trial")
_NUMBERS = {
    "first_slot": np.int32,
    "n_slots": np.int32,
    "t_on": np.float64,
    "t_off": np.float64,
    "blank_value": np.float32,
}
_UNITS = {
    "unit_id": (np.int64, ()),
    "plane": (np.int32, ()),
    "xyz_um": (np.float32, (3,)),
    "xy_px": (np.float32, (2,)),
}


def unit_columns(units: Units) -> dict[str, np.ndarray]:
    """Columns of the neurons, and their pixels where they have some."""
    found = {name: getattr(units, name) for name in _UNITS}
    if units.roi is not None:
        found["roi_offsets"] = units.roi.offsets
        found["roi_yx"] = units.roi.yx
        found["roi_weight"] = units.roi.weight
    return {name: np.asarray(values) for name, values in found.items()}


def units_of(
    arrays: Mapping[str, np.ndarray],
    words: Mapping[str, Any],
    mean: np.ndarray,
    std: np.ndarray,
) -> Units:
    """The neurons again.

    Raises
    ------
    ValueError
        Columns do not fit together.
    """
    n = len(mean)
    columns: dict[str, np.ndarray] = {}
    for name, (kind, tail) in _UNITS.items():
        values = arrays[name]
        if values.shape != (n, *tail) or values.dtype != kind:
            raise ValueError(f"{name} is {values.shape} {values.dtype} for {n} units")
        columns[name] = values
    area = words["area"]
    if area is not None and (not isinstance(area, list) or len(area) != n):
        raise ValueError(f"area does not fit {n} units")
    least = float(words["least_scale"])
    if not 0 < least < _LARGEST_SCALE:
        raise ValueError(f"least_scale {least}")
    return Units(
        area=None if area is None else np.array([str(a) for a in area], np.str_),
        area_source=str(words["area_source"]),
        mean=mean,
        std=std,
        roi=_roi_of(arrays, n),
        least_scale=least,
        **columns,
    )


def _roi_of(arrays: Mapping[str, np.ndarray], n: int) -> Roi | None:
    if "roi_offsets" not in arrays:
        return None
    offsets, yx = arrays["roi_offsets"].astype(np.int64), arrays["roi_yx"]
    weight = arrays["roi_weight"]
    sound = (
        offsets.shape == (n + 1,)
        and yx.shape == (len(weight), 2)
        and weight.ndim == 1
        and offsets[0] == 0
        and offsets[-1] == len(weight)
        and (np.diff(offsets) >= 0).all()
    )
    if not sound:
        raise ValueError(f"masks do not fit {n} units")
    return Roi(offsets, yx.astype(np.int16), weight.astype(np.float32))


def packed_trials(trials: Trials) -> dict[str, Any]:
    """The texts of the trial table; its numbers are arrays."""
    import json

    words: dict[str, Any] = {name: getattr(trials, name).tolist() for name in _TEXTS}
    words["extra"] = json.loads(json.dumps(list(trials.extra), default=str))
    return words


def trials_of(arrays: Mapping[str, np.ndarray], words: Mapping[str, Any]) -> Trials:
    """The trial table again.

    Raises
    ------
    ValueError
        Columns differ in length.
    """
    n = len(arrays["first_slot"])
    texts = {name: np.array([str(v) for v in words[name]], np.str_) for name in _TEXTS}
    numbers = {name: arrays[name].astype(kind) for name, kind in _NUMBERS.items()}
    readable = arrays["readable"].astype(bool)
    for name, values in {**texts, **numbers, "readable": readable}.items():
        if values.shape != (n,):
            raise ValueError(f"{name} is {values.shape} for {n} trials")
    extra = tuple(dict(item) for item in words["extra"])
    return Trials(readable=readable, extra=extra, **texts, **numbers)
