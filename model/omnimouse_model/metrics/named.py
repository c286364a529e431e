"""Metrics by name: definition, unit, and value per neuron.

`evaluate` and context sweeps take these names. Values are computed per neuron from
float64 sums over windows (moments of the prediction r and the recording y, and for
counts the gain in Poisson log likelihood), CC_norm from the repeats of stimuli.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from omnimouse_model.metrics.correlation import Moments
from omnimouse_model.metrics.information import ZERO_RATE
from omnimouse_model.metrics.time_blocks import CORRELATION_LIMITS, NO_LIMITS

PerNeuron = Callable[[Moments, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of responses.

    Attributes
    ----------
    unit, definition
        Unit of its values, and one sentence with the formula.
    symbol
        Short name on plots and beside numbers.
    per_neuron
        Value (n,) from moments and Poisson gains in nats (n,); NaN where undefined.
        None for a metric of repeats, which needs all repeats of a stimulus together.
    needs
        "counts" (recorded spike times), "repeats" of stimuli, or "" for any recording.
    direction
        Whether higher or lower values are better.
    limits
        Smallest and largest possible value; no interval goes beyond them.
    """

    name: str
    unit: str
    definition: str
    per_neuron: PerNeuron | None
    symbol: str
    needs: Literal["", "counts", "repeats"] = ""
    direction: Literal["higher", "lower"] = "higher"
    limits: tuple[float, float] = NO_LIMITS

    def text(self, value: float, digits: int = 2, equals: str = " = ") -> str:
        """Return a value with its symbol, for example "r = 0.43".

        `equals` stands between symbol and value where the symbol comes first.

        Examples
        --------
        >>> from omnimouse_model.metrics.named import METRICS
        >>> METRICS["correlation"].text(0.431), METRICS["bits_per_spike"].text(0.2)
        ('r = 0.43', '0.20 bits/spike')
        """
        return self.named(f"{value:z.{digits}f}", equals)

    def named(self, number: str, equals: str = " = ") -> str:
        """Return a number, as text, with the symbol of the metric."""
        # A unit follows its number, the name of a quantity precedes it.
        if self.unit == self.symbol.replace("/", " per "):
            return f"{number} {self.symbol}"
        return f"{self.symbol}{equals}{number}"


def _pearson(sums: Moments, gain: np.ndarray) -> np.ndarray:
    return sums.pearson()


def _explained(sums: Moments, gain: np.ndarray) -> np.ndarray:
    """Return 1 - SSE / SST; NaN for a constant or missing recording."""
    # SSE from the moments: the squared deviations of r - y from its mean, and the
    # difference of the means.
    offset = sums.mean_prediction - sums.mean_target
    error = sums.square_prediction + sums.square_target - 2 * sums.product
    error = error + sums.count * offset**2
    is_moving = ~np.isin(sums.status(), ["empty", "constant_target"])
    total = np.where(is_moving, sums.square_target, 1.0)
    return np.where(is_moving, 1 - error / total, np.nan)


def _bits(sums: Moments, gain: np.ndarray) -> np.ndarray:
    """Return the gain in bits per recorded spike; NaN for a silent neuron."""
    # The moments hold counts per bin, so count times mean is the number of spikes.
    spikes = sums.count * sums.mean_target
    is_active = spikes > 0
    bits = gain / (np.where(is_active, spikes, 1) * np.log(2))
    return np.where(is_active, bits, np.nan)


def poisson_gain(rates: np.ndarray, counts: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return the Poisson log likelihood of rates minus that of a null rate, in nats.

    All in counts per bin. Rates of 0 become 1e-9; the factorial terms cancel.
    """
    rates = np.where(rates == 0, ZERO_RATE, np.asarray(rates, np.float64))
    null = np.where(null == 0, ZERO_RATE, np.asarray(null, np.float64))
    return np.asarray(counts * np.log(rates / null) - (rates - null))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "correlation",
            "single-trial correlation",
            "cov(r, y) / (sd(r) sd(y)) over all scored samples of a neuron, without "
            "averaging over repeats (no unit, -1 to 1, higher is better)",
            _pearson,
            "r",
            limits=CORRELATION_LIMITS,
        ),
        Metric(
            "cc_norm",
            "normalised correlation",
            "CC_abs / CC_max over the repeated stimuli: correlation of the means over "
            "repeats, divided by that of a perfect prediction; neurons without a "
            "ceiling are left out (no unit, 1 is perfect, higher is better)",
            None,
            "CC_norm",
            needs="repeats",
        ),
        Metric(
            "fve",
            "fraction of variance explained",
            "1 - sum (y - r)^2 / sum (y - mean y)^2 over all scored samples of a "
            "neuron (no unit, at most 1, higher is better)",
            _explained,
            "FVE",
            limits=(-np.inf, 1.0),
        ),
        Metric(
            "bits_per_spike",
            "bits per spike",
            "(L(r) - L(m)) / (n_spikes ln 2) with L the sum of y ln(r) - r, r and y in "
            "counts per bin, and m the mean rate of the neuron over the train tier "
            "(bits per spike, higher is better)",
            _bits,
            "bits/spike",
            needs="counts",
        ),
    )
}
"""All metrics, in the order in which they are listed for the user."""


def named_metric(name: str) -> Metric:
    """Return a metric by its name; raise ValueError for an unknown name.

    Examples
    --------
    >>> from omnimouse_model.metrics import named_metric
    >>> named_metric("fve").unit
    'fraction of variance explained'
    """
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}; there are {', '.join(METRICS)}.")
    return METRICS[name]
