"""A session at a glance: running, pupil, population and trials in few bins."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.signal import Level, Signal
from omnimouse_model.data.valid_starts import blocks

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session

_ROWS_PER_BIN = 4
_NEURON_BLOCKS = 4
_BLOCK_NEURONS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """What a time line shows of a whole session.

    Attributes
    ----------
    edges_s
        float64 (n + 1,) borders of the bins on the session clock.
    running, pupil_size, population
        float32 (n,) means per bin, NaN where nothing is known. Population is the
        mean normalised response of up to 256 neurons, at up to four samples a bin or
        all of them where the format keeps summaries.
    trial_on, trial_off
        float64 (trials,) seconds on the session clock.
    trial_tier, trial_kind
        str (trials,). Of a session without trials they are its train and test time.
    has_trials
        Whether it has trials.
    """

    edges_s: np.ndarray
    running: np.ndarray
    pupil_size: np.ndarray
    population: np.ndarray
    trial_on: np.ndarray
    trial_off: np.ndarray
    trial_tier: np.ndarray
    trial_kind: np.ndarray
    has_trials: bool = True

    @property
    def centers_s(self) -> np.ndarray:
        """Middle of every bin, float64 (n,)."""
        centers: np.ndarray = (self.edges_s[:-1] + self.edges_s[1:]) / 2
        return centers


def summarise(session: "Session", n_bins: int) -> Overview:
    """Bin a session; reads the behaviour and a small sample of the responses."""
    edges = np.linspace(0.0, session.duration_s, n_bins + 1)
    trials = session.trials
    has_trials = len(trials.t_on) > 0
    parts = [] if has_trials else _split(session)
    on, off = (np.array([part[k] for part in parts], float) for k in (0, 1))
    tier = np.array([part[2] for part in parts], dtype=str)
    return Overview(
        edges_s=edges,
        running=_channel(session, "running", edges),
        pupil_size=_channel(session, "pupil_size", edges),
        population=_population(session, edges),
        trial_on=trials.t_on if has_trials else on,
        trial_off=trials.t_off if has_trials else off,
        trial_tier=trials.tier if has_trials else tier,
        trial_kind=trials.kind if has_trials else np.full(len(tier), "", tier.dtype),
        has_trials=has_trials,
    )


def _split(session: "Session") -> list[tuple[float, float, str]]:
    """Begin and end on the session clock of what is train and test by its time."""
    last = session.common_interval().stop
    return [
        (float(start) - session.t0, min(float(stop), last) - session.t0, tier)
        for tier, spans in session.split.items()
        for start, stop in spans
    ]


def _channel(session: "Session", name: str, edges: np.ndarray) -> np.ndarray:
    for signal in session.behavior.values():
        if signal is not None and name in signal.names:
            column = signal.names.index(name)
            return _binned(signal, column, edges + session.t0)
    return np.full(len(edges) - 1, np.nan, np.float32)


def _binned(signal: Signal, column: int, edges: np.ndarray) -> np.ndarray:
    n_bins, width = len(edges) - 1, edges[1] - edges[0]
    total, count = np.zeros(n_bins), np.zeros(n_bins)
    for first, rows in blocks(signal):
        values = rows[:, column].astype(np.float64)
        at = signal.start + np.arange(first, first + len(rows)) / signal.rate_hz
        number = np.floor((at - edges[0]) / width).astype(np.int64)
        kept = (number >= 0) & (number < n_bins) & np.isfinite(values)
        total += np.bincount(number[kept], values[kept], n_bins)
        count += np.bincount(number[kept], minlength=n_bins)
    return _ratio(total, count)


def _population(session: "Session", edges: np.ndarray) -> np.ndarray:
    """From the summaries where a format keeps fine enough ones, else from samples."""
    signal, width = session.responses, float(edges[1] - edges[0])
    fine = [x for x in signal.levels if x.rows_per_bin <= width * signal.rate_hz]
    if fine:
        return _from_level(session, fine[-1], edges)
    return _from_samples(session, edges)


def _from_level(session: "Session", level: Level, edges: np.ndarray) -> np.ndarray:
    signal, scale = session.responses, session.response_scale
    n_bins, total, count = len(edges) - 1, np.zeros(0), np.zeros(0)
    for columns in _neuron_blocks(signal.n_columns):
        mean = level.mean(columns) / scale[columns]
        finite = np.isfinite(mean)
        if not len(total):
            total, count = np.zeros(len(mean)), np.zeros(len(mean))
        total += np.where(finite, mean, 0.0).sum(axis=1)
        count += finite.sum(axis=1)
    middle = (np.arange(len(total)) + 0.5) * level.rows_per_bin / signal.rate_hz
    place = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, n_bins - 1)
    summed = np.bincount(place, total, n_bins)
    return _ratio(summed, np.bincount(place, count, n_bins))


def _from_samples(session: "Session", edges: np.ndarray) -> np.ndarray:
    signal, n_bins = session.responses, len(edges) - 1
    at = np.linspace(edges[0], edges[-1], n_bins * _ROWS_PER_BIN, endpoint=False)
    rows = np.minimum((at * signal.rate_hz).astype(np.int64), signal.n_samples - 1)
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    scale = session.response_scale
    for columns in _neuron_blocks(signal.n_columns):
        with np.errstate(over="ignore"):
            values = signal.file.pick(rows, columns).astype(np.float32) / scale[columns]
        finite = np.isfinite(values)
        total += np.where(finite, values, 0.0).sum(axis=1)
        count += finite.sum(axis=1)
    shape = (n_bins, _ROWS_PER_BIN)
    return _ratio(total.reshape(shape).sum(axis=1), count.reshape(shape).sum(axis=1))


def _neuron_blocks(n_neurons: int) -> list[slice]:
    """Few runs of neighbouring columns: whole rows would read the whole file."""
    if n_neurons <= _NEURON_BLOCKS * _BLOCK_NEURONS:
        return [slice(0, n_neurons)]
    firsts = np.linspace(0, n_neurons - _BLOCK_NEURONS, _NEURON_BLOCKS).astype(int)
    return [slice(int(f), int(f) + _BLOCK_NEURONS) for f in firsts]


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    known = count > 0
    ratio = np.full(len(total), np.nan, np.float32)
    with np.errstate(over="ignore"):
        ratio[known] = total[known] / count[known]
    return ratio
