"""Overview of a session: running, pupil, population and trials in few bins."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from omnimouse_model.data.recording import Recording, blocks
from omnimouse_model.data.signal import Level, Signal

# The population mean is a sample, so that opening a session stays fast: rows per bin,
# and neurons in runs of neighbours, which lie together in the file.
_ROWS_PER_BIN = 4
_NEURON_BLOCKS = 4
_BLOCK_NEURONS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """Data of a session's time line.

    Attributes
    ----------
    edges_s
        float64 (n + 1,) borders of the bins on the session clock.
    running, pupil_size, population
        float32 (n,) means per bin, NaN without data. Population is the mean
        normalised response of up to 256 neurons, at up to four samples a bin, or at
        all samples if the format stores summaries.
    trial_on, trial_off
        float64 (trials,) seconds on the session clock.
    trial_tier, trial_kind
        str (trials,). For a session without trials: its train and test time.
    has_trials
        Whether the session has trials.
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


def summarise(session: Recording, n_bins: int) -> Overview:
    """Bin a session; reads the behaviour and a small sample of the responses."""
    # Without trials, the time line shows train and test time in their place.
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


def _split(session: Recording) -> list[tuple[float, float, str]]:
    """Begin and end in session seconds of train and test time, and the tier.

    Without the pauses of the recording.
    """
    common = session.common_interval()
    recorded = session.responses.recorded_spans
    if recorded is None:
        recorded = np.array([[common.start, common.stop]])
    parts = [
        (max(start, first), min(stop, last, common.stop), tier)
        for tier, spans in session.split.items()
        for start, stop in spans.tolist()
        for first, last in recorded.tolist()
    ]
    return [
        (begin - session.t0, end - session.t0, tier) for begin, end, tier in parts if begin < end
    ]


def _channel(session: Recording, name: str, edges: np.ndarray) -> np.ndarray:
    for signal in session.recorded_behavior:
        if name in signal.names:
            column = signal.names.index(name)
            return _binned(signal, column, edges + session.t0)
    return np.full(len(edges) - 1, np.nan, np.float32)


def _binned(signal: Signal, column: int, edges: np.ndarray) -> np.ndarray:
    n_bins, width = len(edges) - 1, edges[1] - edges[0]
    total, count = np.zeros(n_bins), np.zeros(n_bins)
    # In blocks: a treadmill at 100 Hz has millions of samples.
    for first, rows in blocks(signal):
        values = rows[:, column].astype(np.float64)
        at = signal.start + np.arange(first, first + len(rows)) / signal.rate_hz
        number = np.floor((at - edges[0]) / width).astype(np.int64)
        used = (number >= 0) & (number < n_bins) & np.isfinite(values)
        total += np.bincount(number[used], values[used], n_bins)
        count += np.bincount(number[used], minlength=n_bins)
    return _ratio(total, count)


def _population(session: Recording, edges: np.ndarray) -> np.ndarray:
    """Mean over neurons from stored summaries that are fine enough, or from samples."""
    signal, width = session.responses, float(edges[1] - edges[0])
    # Coarser summaries would leave bins empty; the coarsest of the others is shortest.
    fine = [x for x in signal.levels if x.rows_per_bin <= width * signal.rate_hz]
    if fine:
        return _from_level(session, fine[-1], edges)
    return _from_samples(session, edges)


def _from_level(session: Recording, level: Level, edges: np.ndarray) -> np.ndarray:
    signal, n_bins = session.responses, len(edges) - 1
    total, count = _sums(session, level.mean)
    middle = (level.bins + 0.5) * level.rows_per_bin / signal.rate_hz
    number = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, n_bins - 1)
    summed = np.bincount(number, total, n_bins)
    return _ratio(summed, np.bincount(number, count, n_bins))


def _from_samples(session: Recording, edges: np.ndarray) -> np.ndarray:
    signal, n_bins = session.responses, len(edges) - 1
    at = np.linspace(edges[0], edges[-1], n_bins * _ROWS_PER_BIN, endpoint=False)
    rows = np.minimum((at * signal.rate_hz).astype(np.int64), signal.n_samples - 1)
    total, count = _sums(session, partial(signal.file.pick, rows))
    shape = (n_bins, _ROWS_PER_BIN)
    return _ratio(total.reshape(shape).sum(axis=1), count.reshape(shape).sum(axis=1))


def _sums(session: Recording, read: Callable[[slice], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the finite normalised responses of some neurons, per row."""
    total, count, scale = 0.0, 0, session.response_scale
    for columns in _neuron_blocks(session.n_neurons):
        with np.errstate(over="ignore"):
            values = read(columns).astype(np.float32) / scale[columns]
        finite = np.isfinite(values)
        total = total + np.where(finite, values, 0.0).sum(axis=1)
        count = count + finite.sum(axis=1)
    return np.asarray(total, float), np.asarray(count)


def _neuron_blocks(n_neurons: int) -> list[slice]:
    """Return a few runs of neighbouring columns."""
    if n_neurons <= _NEURON_BLOCKS * _BLOCK_NEURONS:
        return [slice(0, n_neurons)]
    firsts = np.linspace(0, n_neurons - _BLOCK_NEURONS, _NEURON_BLOCKS).astype(int)
    return [slice(int(f), int(f) + _BLOCK_NEURONS) for f in firsts]


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    has_values = count > 0
    ratio = np.full(len(total), np.nan, np.float32)
    with np.errstate(over="ignore"):
        ratio[has_values] = total[has_values] / count[has_values]
    return ratio
