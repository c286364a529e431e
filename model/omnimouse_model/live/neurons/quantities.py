"""Quantities of each neuron, and their scales: values, range and unit.

This module does not depend on colours: the views map values to colours.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from omnimouse_model.display import number_text
from omnimouse_model.evaluation.results import POOLED
from omnimouse_model.live.results import IN_WINDOW, ScoresOnScreen
from omnimouse_model.live.state import ColourBy
from omnimouse_model.metrics.named import Metric
from omnimouse_model.metrics.tuning import SIGNIFICANCE_LEVEL


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity of each neuron: name, label, explanation and unit.

    `is_share` is true for quantities with the fixed scale 0 to 1; `period` is where the
    values of an angle begin again; the scale of `is_signed` has 0 in its middle.
    """

    name: ColourBy
    label: str
    explanation: str
    unit: str = ""
    is_share: bool = False
    period: float | None = None
    is_signed: bool = False


_REPEATS = "from the repeats of the clips shown most often"
_COMPUTED = "from the recorded responses to its video"
_GREY = f"not tuned: p ≥ {SIGNIFICANCE_LEVEL:g}, a grey disk; unknown: an empty ring"
QUANTITIES: Final = (
    Quantity("state", "State", "What the mask does with them"),
    Quantity("score", "Score", "Agreement of prediction and recording"),
    Quantity("baseline", "Score of the baseline", "Its agreement with the recording", "r"),
    Quantity(
        "difference",
        "Score minus baseline",
        "How much better the model predicts a neuron than the baseline, over the same windows",
        is_signed=True,
    ),
    Quantity("area", "Area", "Brain area, as the recording says"),
    Quantity("plane", "Plane", "Imaging plane, as the recording says"),
    Quantity("depth", "Depth", "Depth, as the recording says", "µm"),
    Quantity("x", "x", "Position in the microscope's frame", "µm"),
    Quantity("y", "y", "Position in the microscope's frame", "µm"),
    Quantity(
        "mean", "Mean response", "Mean over the recording, in the units of its file", "file units"
    ),
    Quantity(
        "variability",
        "Response s.d.",
        "Standard deviation over the recording, in the units of its file",
        "file units",
    ),
    Quantity(
        "ceiling",
        "Reliability of one trial",
        f"Correlation of the stimulus-driven part with one trial, {_REPEATS}",
        "r",
        is_share=True,
    ),
    Quantity(
        "oracle",
        "Oracle",
        f"Correlation of each trial with the mean of the others, {_REPEATS}",
        "r",
        is_share=True,
    ),
    Quantity(
        "field_reliability",
        "Receptive field: reliability",
        f"How well two halves of the recording agree on it, {_COMPUTED}",
        "r",
        is_share=True,
    ),
    Quantity(
        "field_row",
        "Receptive field: row",
        f"Its centre on the screen, downwards, {_COMPUTED}",
        "px",
    ),
    Quantity(
        "field_column",
        "Receptive field: column",
        f"Its centre on the screen, rightwards, {_COMPUTED}",
        "px",
    ),
    Quantity(
        "osi", "Orientation selectivity", f"0 none, 1 one orientation alone, {_COMPUTED}; {_GREY}"
    ),
    Quantity(
        "dsi", "Direction selectivity", f"0 none, 1 one direction alone, {_COMPUTED}; {_GREY}"
    ),
    Quantity("lab", "Laboratory", "What an experiment on the model found"),
    Quantity("source", "Largest source", "What tells most of the neuron: information, not cause"),
    Quantity(
        "informant",
        "Informants: share lost",
        "Share of the targets' variance that a ridge regression loses without the neuron: "
        "information, not cause",
    ),
    Quantity("id", "Unit", "Id of the neuron in the recording"),
)
QUANTITY: Final = {quantity.name: quantity for quantity in QUANTITIES}
"""The same quantities by name."""
_OUTLIERS: Final = 1.0
"""Percentile cut off at both ends of the scale; these values take the end's colour."""
_MAX_DIGITS: Final = 4
"""Maximum number of decimals; beyond it, and from `_LARGE`, use exponents."""
_LARGE: Final = 1e7


def score_quantity(
    metric: Metric, scores: ScoresOnScreen | None, name: ColourBy = "score"
) -> Quantity:
    """Return a score as a quantity: its definition with windows, unit and scale."""
    text = "Single-trial correlation of prediction and recording"
    is_share = metric.name == "correlation"
    if not is_share:
        text = f"{metric.symbol}: {metric.definition},"
    evidence = IN_WINDOW if scores is None else scores.evidence
    explanation = f"{text} over the target samples, {evidence}"
    if scores is not None and scores.is_pooled:
        explanation += f". {POOLED[:-1]}"
    return Quantity(name, QUANTITY[name].label, explanation, metric.symbol, is_share)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Values of a quantity for all neurons, and the ends of the colour scale.

    Attributes
    ----------
    quantity
        Quantity of the values.
    values
        float (P,), NaN if unknown; indices into `categories`, if there are any.
    categories
        Names of categories, such as areas.
    low, high
        Values at the ends of the colour scale; values beyond are clipped.
    """

    quantity: Quantity
    values: np.ndarray
    categories: tuple[str, ...]
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether any value is known; else views show the mask's states."""
        return bool(np.isfinite(self.values).any())

    @property
    def shares(self) -> np.ndarray:
        """Positions on the scale (P,): 0 at `low`, 1 at `high`, NaN if unknown."""
        # Outliers are clipped: otherwise a few neurons would take most of the colours.
        shares = (self.values - self.low) / (self.high - self.low)
        return np.asarray(np.clip(shares, 0.0, 1.0))

    @property
    def median(self) -> float | None:
        """Median of the known values; None without any, and for angles."""
        finite = self._finite
        is_angle = self.quantity.period is not None
        return float(np.median(finite)) if finite.size and not is_angle else None

    @property
    def is_constant(self) -> bool:
        """Whether all known values are equal, on a scale without fixed ends."""
        quantity = self.quantity
        has_ends = quantity.is_share or quantity.is_signed or quantity.period is not None
        if self.categories or has_ends or not self._finite.size:
            return False
        return _is_constant(self._finite)

    @property
    def ends(self) -> tuple[str, str]:
        """Labels of the ends, with ≤ or ≥ if values lie beyond; "" if constant."""
        if self.is_constant:
            return "", ""
        finite = self._finite
        is_below = bool(finite.size) and finite.min() < self.low
        is_above = bool(finite.size) and finite.max() > self.high
        if self.quantity.is_signed:  # its ends are opposite numbers, told in one form
            is_below = is_above = is_below or is_above
        low, high = "≤ " if is_below else "", "≥ " if is_above else ""
        return low + self.number(self.low), high + self.number(self.high)

    @property
    def middle(self) -> str:
        """Label between the ends: the median, or the constant value."""
        median = self.median
        if median is None:
            return ""
        kind = "all" if self.is_constant else "median"
        return f"{kind} {self.number(median).removeprefix('r = ')}"

    def number(self, value: float) -> str:
        """Return a value with its unit and enough digits to distinguish the ends."""
        text, unit = self._digits(value), self.quantity.unit
        return f"r = {text}" if unit == "r" else f"{text} {unit}".rstrip()

    @property
    def _finite(self) -> np.ndarray:
        return np.asarray(self.values[np.isfinite(self.values)])

    def _digits(self, value: float) -> str:
        if self.quantity.is_share:
            return number_text(value, 0 if value in (0.0, 1.0) else 2)
        # Both ends of the scale have the same number of decimals, so that they can be
        # compared.
        most = max(abs(self.low), abs(self.high), abs(value))
        if most < _LARGE and (self._finite == self._finite.round()).all():
            return number_text(value, 0)
        if self.is_constant:
            return number_text(value, 5, kind="g")
        # Decimal exponent of the scale's range: two digits below it are shown.
        below = int(np.floor(np.log10(self.high - self.low)))
        if most >= _LARGE or below < -_MAX_DIGITS + 2:
            significant = int(np.floor(np.log10(most))) - below + 3
            return number_text(value, min(max(significant, 3), 15), kind="g")
        return number_text(value, min(max(2 - below, 0), _MAX_DIGITS))


def make_scale(quantity: Quantity, values: np.ndarray, categories: tuple[str, ...]) -> Scale:
    """Return the scale of some values, between their outer percentiles."""
    finite = values[np.isfinite(values)]
    low, high = 0.0, 1.0
    if categories:
        high = float(max(len(categories) - 1, 1))
    elif quantity.period is not None:
        high = quantity.period
    elif quantity.is_signed:
        high = float(np.percentile(np.abs(finite), 100 - _OUTLIERS)) if finite.size else 1.0
        high = high or 1.0
        low = -high
    elif finite.size and not quantity.is_share:
        ends = np.percentile(finite, [_OUTLIERS, 100 - _OUTLIERS])
        # Almost all values are equal: use the full range, so that the others show.
        if _is_constant(ends):
            ends = np.array([finite.min(), finite.max()])
        low, high = float(ends[0]), float(ends[1])
        if _is_constant(finite):
            # Equal ends would divide by zero in `Scale.shares`.
            margin = max(0.5, abs(low) * 1e-3)
            low, high = low - margin, low + margin
    return Scale(quantity, values, categories, low, high)


def _is_constant(finite: np.ndarray) -> bool:
    """Whether values differ only by rounding errors."""
    return bool(np.ptp(finite) <= 1e-9 * np.abs(finite).max())
