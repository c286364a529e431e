"""Activity of one unit over a recording: its rate over time, and how its spikes follow another.

It depends on the recorded spikes alone, on no model.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from omnimouse_model.data.session import Session
from omnimouse_model.data.spike_trains import SpikeTrains

MAX_BINS: Final = 300
"""Most bins of the rate over the recording."""
MIN_BIN_S: Final = 1.0
LAG_S: Final = 0.05
"""Longest lag of the autocorrelogram."""
LAG_BIN_S: Final = 0.001
REFRACTORY_S: Final = 0.002
"""A neuron cannot fire twice within this time: shorter intervals show other neurons."""


@dataclass(frozen=True, slots=True, eq=False)
class SpikeActivity:
    """Rate and autocorrelogram of one unit.

    Attributes
    ----------
    n_spikes, mean_rate_hz
        Number of spikes, and their number per observed second.
    time_s, rate_hz
        Middle of each bin in seconds of the session, and the rate in it: NaN where the
        unit was not observed.
    lag_s, follow_hz
        Middle of each bin of lags, and the rate of spikes at this lag after a spike. A
        unit that fires at random has its mean rate at all lags.
    refractory_share
        Share of the intervals between spikes that are shorter than `REFRACTORY_S`; NaN
        with fewer than two spikes.
    """

    n_spikes: int
    mean_rate_hz: float
    time_s: Float[np.ndarray, " bin"]
    rate_hz: Float[np.ndarray, " bin"]
    lag_s: Float[np.ndarray, " lag"]
    follow_hz: Float[np.ndarray, " lag"]
    refractory_share: float


def spike_activity(session: Session, neuron: int) -> SpikeActivity | None:
    """Return the activity of a unit; None for a recording of response traces."""
    signal, trains = session.responses, session.responses.file
    if not isinstance(trains, SpikeTrains):
        return None
    start, stop = signal.start, signal.end_declared
    times = trains.times(neuron, start, stop)
    bin_s = max(MIN_BIN_S, (stop - start) / MAX_BINS)
    n_bins = max(1, int((stop - start) / bin_s))
    edges = start + bin_s * np.arange(n_bins + 1)
    rate_hz = np.histogram(times, edges)[0] / bin_s
    observed_s = stop - start
    if trains.observed is not None:
        is_observed = trains.observed.in_bins(start, 1 / bin_s, n_bins)
        rate_hz[~is_observed[:, neuron if is_observed.shape[1] > 1 else 0]] = np.nan
        seconds = trains.observed.seconds()
        observed_s = float(seconds[neuron if len(seconds) > 1 else 0])
    intervals = np.diff(times)
    return SpikeActivity(
        len(times),
        len(times) / observed_s if observed_s > 0 else float("nan"),
        edges[:-1] + bin_s / 2 - session.t0,
        rate_hz,
        LAG_BIN_S * (np.arange(round(LAG_S / LAG_BIN_S)) + 0.5),
        _following(times),
        float((intervals < REFRACTORY_S).mean()) if len(intervals) else float("nan"),
    )


def _following(times: np.ndarray) -> np.ndarray:
    """Return the rate of spikes after a spike, in bins of the lag."""
    counts = np.zeros(round(LAG_S / LAG_BIN_S))
    edges = LAG_BIN_S * np.arange(len(counts) + 1)
    # The k-th spike after each one, until none is near enough.
    for k in range(1, len(times)):
        lags = times[k:] - times[:-k]
        near = lags[lags < LAG_S]
        if not len(near):
            break
        counts += np.histogram(near, edges)[0]
    return np.asarray(counts / (max(len(times), 1) * LAG_BIN_S))
