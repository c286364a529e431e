"""Results of an experiment per neuron, and their arrays in a results store."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32

ANALYSIS_VERSION: Final = 2
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
