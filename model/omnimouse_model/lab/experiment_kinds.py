"""Experiments by name: what each shows, and how the responses are analysed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Float32

from omnimouse_model.lab.stimuli.gratings_and_dots import (
    Level,
    drifting_gratings,
    gaussian_dots,
    grating_levels,
    pink_noise,
    sparse_noise,
)
from omnimouse_model.lab.stimuli.stimulus import Stimulus
from omnimouse_model.lab.tuning import (
    ReceptiveFields,
    axes_of,
    directions_of,
    levels_of,
    on_off_fields,
    receptive_fields,
)
from omnimouse_model.progress import Job

# -- results of an experiment per neuron, and their arrays in a results store ---------
ANALYSIS_VERSION: Final = 4
"""Raised when an analysis changes: findings of another version are computed again."""
_ROUNDING: Final = 1e-5
"""Range of responses, relative to the largest, that rounding alone explains.

Networks compute in single precision, with a relative error of 1e-7 in each step.
"""
_ROUNDING_AT_0: Final = 1e-7
"""The same for responses around 0: normalised ones, whose terms are of the order of 1."""
_COLUMN: Final = "column_"
"""Beginning of the name of an array that is a column."""
_OTHERS: Final = ("levels", "curves", "average")


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Findings of an experiment for each neuron.

    Attributes
    ----------
    columns
        Numbers of each neuron, by name.
    levels, curves
        What was shown, and the mean response of each neuron to it; None for fields.
    average
        Average of the stimulus, weighted by the responses, on a grid that covers the
        frame; None for tuning.
    """

    columns: Mapping[str, Float[np.ndarray, " neuron"]]
    levels: Float[np.ndarray, " level"] | None = None
    curves: Float[np.ndarray, "neuron level"] | None = None
    average: Float32[np.ndarray, "neuron row column"] | None = None


def varies(responses: Float[np.ndarray, "event neuron"]) -> Bool[np.ndarray, " neuron"]:
    """Return whether the responses of each neuron differ by more than rounding.

    A neuron whose responses are all equal has no preferred stimulus: what an analysis
    returns for it is an angle or a place of rounding errors.
    """
    low = np.fmin.reduce(responses, axis=0, initial=np.inf)
    high = np.fmax.reduce(responses, axis=0, initial=-np.inf)
    scale = np.maximum(np.abs(low), np.abs(high))
    return np.asarray((high > low) & (high - low > np.maximum(_ROUNDING * scale, _ROUNDING_AT_0)))


def only_varying(findings: Findings, responses: Float[np.ndarray, "event neuron"]) -> Findings:
    """Return findings without the numbers of neurons whose responses do not vary."""
    is_known = varies(responses)
    columns = {
        name: np.where(is_known, values, np.nan) for name, values in findings.columns.items()
    }
    average = findings.average
    if average is not None:
        average = np.where(is_known[:, None, None], average, np.float32(np.nan))
    return replace(findings, columns=columns, average=average)


def findings_arrays(findings: Findings) -> dict[str, np.ndarray]:
    """Return all arrays of findings by name."""
    arrays = {f"{_COLUMN}{name}": one for name, one in findings.columns.items()}
    others = {name: getattr(findings, name) for name in _OTHERS}
    return arrays | {name: one for name, one in others.items() if one is not None}


def findings_of(arrays: Mapping[str, np.ndarray]) -> Findings:
    """Return findings from their arrays, the inverse of `findings_arrays`."""
    columns = {
        name.removeprefix(_COLUMN): one for name, one in arrays.items() if name.startswith(_COLUMN)
    }
    return Findings(columns, *(arrays.get(name) for name in _OTHERS))


# -- experiments by name: what each shows, and how the responses are analysed ---------
Size = tuple[int, int]
"""Height and width of the frames in pixels."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment: what it shows, and how the responses are analysed.

    Attributes
    ----------
    name, label, explanation
        Name for programs; label and sentence for people.
    value, value_label, unit
        Column that colours the neurons, its label and its unit.
    period
        Value at which `value` begins again, None for a quantity that is no angle.
    repeats
        Default number of repeats.
    lag_s
        Delay of the responses to the events.
    show
        `show(size, repeats=…, seed=…, **settings)` makes the stimulus.
    analyse
        `analyse(responses, stimulus, size, job)` returns the findings.
    """

    name: str
    label: str
    explanation: str
    value: str
    value_label: str
    unit: str
    period: float | None
    repeats: int
    lag_s: float
    show: Callable[..., Stimulus] = field(repr=False)
    analyse: Callable[..., Findings] = field(repr=False)


def _directions(responses: np.ndarray, shown: Stimulus, *_: object) -> Findings:
    found = directions_of(responses, shown.values)
    return Findings(
        {
            "osi": found.osi,
            "p_orientation": found.p_orientation,
            "dsi": found.dsi,
            "p_direction": found.p_direction,
            "orientation_deg": found.orientation_deg,
            "preferred_deg": found.preferred_deg,
        },
        found.directions_deg,
        found.response,
    )


def _levels(quantity: str, responses: np.ndarray, shown: Stimulus, *_: object) -> Findings:
    found = levels_of(responses, shown)
    columns = {
        f"preferred_{quantity}": found.preferred,
        "direction_deg": found.direction_deg,
    }
    return Findings(columns, found.levels, found.response)


def _fields(responses: np.ndarray, shown: Stimulus, size: Size, job: Job) -> Findings:
    found = receptive_fields(responses, shown, size, job=job)
    return Findings(_field_columns(found), average=found.average)


def _on_off_fields(responses: np.ndarray, shown: Stimulus, size: Size, job: Job) -> Findings:
    found = on_off_fields(responses, shown, size, job)
    columns = _field_columns(found.field) | {
        f"{name}_{which}": peak
        for which, one in (("on", found.on), ("off", found.off))
        for name, peak in (
            ("largest", np.nanmax(one, axis=(1, 2))),
            ("smallest", np.nanmin(one, axis=(1, 2))),
        )
    }
    return Findings(columns, average=found.field.average)


def _field_columns(found: ReceptiveFields) -> dict[str, np.ndarray]:
    longer, shorter, angle = axes_of(found.covariance_px)
    return {
        "row_px": found.center_px[:, 0],
        "column_px": found.center_px[:, 1],
        "ssi": found.selectivity,
        "sd_longer_px": longer,
        "sd_shorter_px": shorter,
        "axis_deg": angle,
    }


def _noise(size: Size, *, repeats: int, seed: int, **settings: Any) -> Stimulus:
    return pink_noise(size, repeats, seed=seed, **settings)


def _squares(size: Size, *, repeats: int, seed: int, **settings: Any) -> Stimulus:
    return sparse_noise(size, n_videos=6 * repeats, seed=seed, **settings)


def _level_experiment(
    name: str, label: str, quantity: Level, unit: str, levels: tuple[float, ...]
) -> Experiment:
    return Experiment(
        name,
        label,
        f"Gratings of {len(levels)} levels in eight directions; the curve is that of "
        "each neuron's best direction.",
        f"preferred_{quantity}",
        f"Preferred {label.lower()}",
        unit,
        None,
        2,
        0.0,
        partial(grating_levels, quantity=quantity, levels=levels),
        partial(_levels, quantity),
    )


_ALL: Final = (
    Experiment(
        "directions",
        "Direction: gratings",
        "Gratings that move in 16 directions; periods and speeds take turns.",
        "preferred_deg",
        "Preferred direction",
        "°",
        360.0,
        9,
        0.0,
        drifting_gratings,
        _directions,
    ),
    # Epochs of the noise last less than half a second; calcium responses follow later.
    Experiment(
        "noise",
        "Direction: pink noise",
        "Noise that moves in one of 16 directions for half a second at a time.",
        "preferred_deg",
        "Preferred direction",
        "°",
        360.0,
        9,
        0.3,
        _noise,
        _directions,
    ),
    Experiment(
        "fields",
        "Receptive field: white dots",
        "A white dot that flashes at 135 places.",
        "column_px",
        "Receptive field: column",
        "px",
        None,
        2,
        0.1,
        partial(gaussian_dots, is_on=True),
        _fields,
    ),
    Experiment(
        "black_fields",
        "Receptive field: black dots",
        "A black dot that flashes at 135 places.",
        "column_px",
        "Receptive field: column",
        "px",
        None,
        2,
        0.1,
        partial(gaussian_dots, is_on=False),
        _fields,
    ),
    Experiment(
        "sparse_fields",
        "Receptive field: sparse noise",
        "White and black squares that flash at 135 places, ten at a time.",
        "column_px",
        "Receptive field: column",
        "px",
        None,
        2,
        0.15,
        _squares,
        _on_off_fields,
    ),
    _level_experiment(
        *("period", "Spatial period", "period_deg", "°"),
        levels=(10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0),
    ),
    _level_experiment(
        *("frequency", "Temporal frequency", "temporal_hz", "Hz"),
        levels=(0.5, 1.0, 2.0, 4.0, 8.0),
    ),
    _level_experiment(
        *("contrast", "Contrast", "contrast", ""),
        levels=(0.05, 0.1, 0.2, 0.4, 0.8, 1.0),
    ),
    _level_experiment(
        *("size", "Size", "diameter_deg", "°"),
        levels=(10.0, 20.0, 30.0, 45.0, 60.0, 90.0),
    ),
)
EXPERIMENTS: Final = {experiment.name: experiment for experiment in _ALL}
"""Experiments by name."""
