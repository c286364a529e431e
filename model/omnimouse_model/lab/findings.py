"""Results of an experiment per neuron, and their arrays in a results store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Float32

ANALYSIS_VERSION: Final = 1
"""Raised when an analysis changes: findings of another version are computed again."""
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
