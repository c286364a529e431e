"""Lag of one stream of a session after another, from parts of the recording.

The lag is the one of maximum covariance of the principal components of both streams.
Circularly shifted copies of a stream, which cannot be aligned, give the strength.
"""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ
from omnimouse_model.progress import Job

FRAME_S = 1.0 / RESPONSE_RATE_HZ
# Components per stream: noise dominates the later ones. They are few enough for a
# covariance at every lag.
_COMPONENTS = 24
# Number of circularly shifted copies that give the null distribution of the peak.
_NULLS = 20
_STRONG = 8.0
# Maximum spread of a sure lag over the parts, in seconds; larger for behaviour, whose
# usual lags also have a wider range.
_ALIKE_S, _BEHAVIOR_ALIKE_S = 0.1, 1.5


@dataclass(frozen=True, slots=True)
class Lag:
    """Lag of one stream after another.

    Attributes
    ----------
    first, second
        Names of the streams; with a positive lag the second follows the first.
    seconds
        Lag of maximum covariance.
    usual
        Range (low, high) of expected lags in seconds.
    spread_s
        Largest difference between the estimate and the estimates that leave out one
        part of the recording.
    strength
        Height of the peak above the peaks of shifted copies, in standard deviations
        of the latter. In shifted copies the streams cannot be aligned.
    """

    first: str
    second: str
    seconds: float
    usual: tuple[float, float]
    spread_s: float
    strength: float

    @property
    def frames(self) -> int:
        """The lag, rounded to whole frames of the screen (30 Hz)."""
        return round(self.seconds / FRAME_S)

    @property
    def is_sure(self) -> bool:
        """Whether the lag is significant and stable over the parts of the recording."""
        alike = _ALIKE_S if self.first == "screen" else _BEHAVIOR_ALIKE_S
        return self.strength >= _STRONG and self.spread_s <= alike

    @property
    def shift_frames(self) -> int:
        """Distance from the middle of the usual range in frames; 0 inside the range."""
        if self.usual[0] <= self.seconds <= self.usual[1]:
            return 0
        return round((self.seconds - sum(self.usual) / 2) / FRAME_S)

    def confidence(self) -> str:
        """Return the strength and the stability of the estimate as text."""
        return (
            f"{self.strength:.0f} SD above chance ({_STRONG:.0f} are needed), parts of "
            f"the recording within {1000 * self.spread_s:.0f} ms"
        )

    def describe(self) -> str:
        """Return the estimate and its interpretation as text."""
        pair = f"{self.second} follow {self.first}"
        if not self.is_sure:
            return f"{pair}: no reliable lag; the two streams are too weakly correlated"
        text = f"{pair} by {1000 * self.seconds:.0f} ms ({self.frames:+d} frames)"
        if not self.shift_frames:
            return f"{text}: as expected"
        low, high = (1000 * bound for bound in self.usual)
        return (
            f"{text}: shifted by about {self.shift_frames:+d} frames; {low:.0f} to "
            f"{high:.0f} ms is usual"
        )


@dataclass(frozen=True, slots=True, eq=False)
class StreamPair:
    """Two streams in all parts, and the range of lags to search."""

    first: str
    second: str
    parts: list[tuple[np.ndarray, np.ndarray]]
    reach_s: float
    usual: tuple[float, float]

    @property
    def lags(self) -> np.ndarray:
        """Candidate lags of the second stream after the first, in frames."""
        middle, reach = sum(self.usual) / 2, round(self.reach_s / FRAME_S)
        return round(middle / FRAME_S) + np.arange(-reach, reach + 1)


def estimate_lag(pair: StreamPair, seed: int, job: Job) -> Lag:
    """Estimate the lag of one pair, its spread over parts and its strength."""
    job.progress(0.0, 1.0)
    x, y = _reduced([a for a, _ in pair.parts]), _reduced([b for _, b in pair.parts])
    lags = pair.lags
    lags = lags[np.abs(lags) < min(map(len, x))]  # a short recording allows fewer lags
    curves = np.array([_curve(a, b, lags) for a, b in zip(x, y, strict=True)])
    total = curves.sum(axis=0)
    best = int(total.argmax())
    offsets = lags[[c.argmax() for c in _leave_one_out(curves)]] - lags[best]
    draw = np.random.default_rng(seed)
    peaks = []
    for null_number in range(_NULLS):
        job.progress((1 + null_number) / (1 + _NULLS), 1.0)
        # A circular shift keeps the autocorrelation of the stream and removes its
        # alignment. A shift of at least a quarter of a part (25 s of a full part) is
        # longer than all lags searched.
        turned = [
            np.roll(b, int(draw.integers(len(b) // 4, 3 * len(b) // 4 + 1)), axis=0) for b in y
        ]
        null = [_curve(a, b, lags) for a, b in zip(x, turned, strict=True)]
        peaks.append(np.sum(null, axis=0).max())
    return Lag(
        pair.first,
        pair.second,
        _refined(total, best, lags) * FRAME_S,
        pair.usual,
        float(np.abs(offsets).max()) * FRAME_S,
        float((total[best] - np.mean(peaks)) / max(float(np.std(peaks)), 1e-12)),
    )


def _leave_one_out(curves: np.ndarray) -> np.ndarray:
    """Return the sums over all parts but one; a single part is returned unchanged."""
    if len(curves) == 1:
        return curves
    without_part: np.ndarray = curves.sum(axis=0) - curves
    return without_part


def _curve(x: np.ndarray, y: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Return the sum of squared covariances of all columns per lag of `y` after `x`."""
    n = len(x)
    power = np.empty(len(lags))
    for i, lag in enumerate(lags.tolist()):
        before, after = (
            x[max(0, -lag) : n - max(0, lag)],
            y[max(0, lag) : n + min(0, lag)],
        )
        # Squares, because the sign of a component is arbitrary. The divisor is n and
        # not the overlap, so that short overlaps at long lags do not give noisy peaks.
        power[i] = ((before.T @ after / n) ** 2).sum()
    return power


def _refined(curve: np.ndarray, best: int, lags: np.ndarray) -> float:
    """Return the vertex of the parabola through the peak and its neighbours."""
    if not 0 < best < len(curve) - 1:
        return float(lags[best])
    low, top, high = curve[best - 1 : best + 2].tolist()
    bend = low - 2 * top + high
    return float(lags[best]) + (0.5 * (low - high) / bend if bend < 0 else 0.0)


def _reduced(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Return all parts in their common principal components, z-scored per part."""
    scaled = [z_scored(part) for part in parts]
    if scaled[0].shape[1] == 1:
        return scaled
    together = np.concatenate(scaled)
    # The axes are estimated from fewer than 8000 rows, which bounds the SVD.
    thinned = together[:: max(1, len(together) // 4000)]
    axes = np.linalg.svd(thinned, full_matrices=False)[2][:_COMPONENTS].T
    return [z_scored(part @ axes) for part in scaled]


def z_scored(values: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and SD 1; constant columns are 0."""
    spread = values.std(axis=0)
    scaled: np.ndarray = values - values.mean(axis=0)
    # Division by infinity: no NaN, and no warning.
    scaled /= np.where(spread > 0, spread, np.inf)
    return scaled
