"""Check of a session's clocks: lags between its streams, estimated from the data.

Responses follow the screen with a latency. If the responses depend enough on the
video, the lag of maximum covariance is this latency. A stream with wrong timestamps
then has a latency that is not physiological.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnimouse_model.data.recording import even_starts
from omnimouse_model.data.session import Session
from omnimouse_model.data.stimulus import fit_video
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ, VIDEO_SIZE
from omnimouse_model.metrics.correlation import nanmean
from omnimouse_model.progress import QUIET, Job, part_of, shows_progress
from omnimouse_model.simulate.demo import opened

# -- lag of one stream of a session after another, from parts of the recording
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
    without_part = total - curves if len(curves) > 1 else curves
    offsets = lags[without_part.argmax(axis=1)] - lags[best]
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


LATENCY_S = (0.04, 0.28)
"""Usual latencies of responses after the screen, including the indicator's rise."""
BEHAVIOR_LAG_S = (-1.5, 1.5)
"""Usual lags between running, the pupil and the population."""

# Lags searched on both sides of the middle of the usual range, in seconds.
_REACH_S, _BEHAVIOR_REACH_S = 1.2, 6.0
# At most six parts of 100 s bound the reading time; several parts show whether the
# lag is stable over the recording.
_SEGMENTS, _SEGMENT_S = 6, 100.0
_NEURONS = 256
_READING = 0.2
"""Share of the progress for reading the streams; the rest is for comparing them."""
_ENOUGH_S = 300.0
"""Sufficient duration in seconds: all lags of simulated mice are sure, few at 120 s."""
_BLOCK = 600
# A frame that lasts longer than 1.5 times the median is reported as dropped.
_DROPPED = 1.5
_UNEVEN_S = 30.0


@dataclass(frozen=True, slots=True, repr=False)
class AlignmentReport:
    """Result of `check_alignment`.

    Attributes
    ----------
    lags
        One per available pair of streams.
    problems
        Unusual frame counts, clocks and rates, as text.
    remark
        Reason if no lag is sure, else "".
    """

    lags: tuple[Lag, ...]
    problems: tuple[str, ...]
    remark: str = ""

    def describe(self) -> str:
        """Return one line for each estimate and each problem, or the remark."""
        return "\n".join(self.lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines of `describe`."""
        lags = () if self.remark else (lag.describe() for lag in self.lags)
        return (*filter(None, [self.remark]), *lags, *self.problems)

    def __repr__(self) -> str:
        return self.describe()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sure lags outside the usual range, and problems."""
        shifted = [lag.describe() for lag in self.lags if lag.is_sure and lag.shift_frames]
        return (*shifted, *self.problems)


@shows_progress
def check_alignment(
    session: Session | str | Path,
    job: Job = QUIET,
    *,
    latency_s: tuple[float, float] = LATENCY_S,
    seed: int = 0,
) -> AlignmentReport:
    """Estimate the lags between screen, responses and behaviour, and check the clocks.

    Examples
    --------
    >>> report = om.check_alignment(session)
    >>> [(lag.first, lag.second) for lag in report.lags]
    [('screen', 'responses'), ('running', 'responses'), ('running', 'pupil')]
    >>> report.warnings
    ()

    Notes
    -----
    At most ten minutes in six parts and 256 neurons are read. The result depends only
    on the session and the seed.

    Parameters
    ----------
    session
        An open session, or its name or path.
    latency_s
        Usual latencies for this kind of recording, in seconds.
    """
    session = opened(session)
    span = session.common_interval()
    length = min(span.stop - span.start, session.recorded_s)
    parts = list(_parts(session, seed, job))
    pairs = list(_pairs(session, parts, latency_s))
    lags = []
    for done, pair in enumerate(pairs):
        first, last = (_READING + (1.0 - _READING) * k / len(pairs) for k in (done, done + 1))
        lags.append(estimate_lag(pair, seed, part_of(job, first, last)))
    job.progress(1.0, 1.0)
    remark = "" if any(lag.is_sure for lag in lags) else _remark(lags, length)
    return AlignmentReport(tuple(lags), tuple(_problems(session)), remark)


def _remark(lags: Sequence[Lag], length_s: float) -> str:
    """Return the reason why no lag is sure, "" if unknown."""
    if not lags:
        return (
            "nothing to compare: the recording has responses only; a video, running or "
            "the pupil is needed"
        )
    if length_s >= _ENOUGH_S:
        return ""
    return (
        f"the recording is too short: the streams overlap for {length_s:.0f} s, and "
        f"about {_ENOUGH_S / 60:.0f} minutes are needed"
    )


# -- streams -------------------------------------------------------------------------
def _parts(session: Session, seed: int, job: Job) -> Iterator[dict[str, np.ndarray]]:
    """Read the streams of each part on one 30-Hz clock, (time, columns)."""
    span = session.common_interval()
    length = min(_SEGMENT_S, span.stop - span.start)
    # Parts do not overlap, so that each estimate has its own data.
    recorded_s = min(span.stop - span.start, session.recorded_s)
    count = max(1, min(_SEGMENTS, int(recorded_s / length)))
    starts = even_starts(session, span, length, count)
    draw = np.random.default_rng(seed)
    n = session.n_neurons
    columns = np.sort(draw.permutation(n)[: min(n, _NEURONS)])
    for done, start in enumerate(starts.tolist()):
        job.progress(_READING * done / count, 1.0)
        times = start + np.arange(int(length * RESPONSE_RATE_HZ)) * FRAME_S
        values, _ = session.responses.window(times)
        # A missing response is at the neuron's mean, which adds nothing to a lag.
        of_part = values[:, columns].astype(np.float64)
        mean = np.nan_to_num(nanmean(of_part, 0))
        streams = {"responses": np.where(np.isfinite(of_part), of_part, mean)}
        if session.stimulus is not None:
            streams["screen"] = _video(session, times)
        for signal in session.behavior.values():
            if signal is None:
                continue
            for label, channel in (("running", "running"), ("pupil", "pupil_size")):
                if channel in signal.names:
                    sampled, is_valid = signal.window(times)
                    column = sampled[:, [signal.names.index(channel)]]
                    column = np.nan_to_num(column.astype(np.float64))
                    column[~is_valid] = 0.0
                    streams[label] = column
        yield streams


def _video(session: Session, times: np.ndarray) -> np.ndarray:
    """Return gray and absolute change of 9 × 16 blocks of the frame, (time, 288)."""
    assert session.stimulus is not None
    places = np.zeros((len(times), 9 * 16))
    for first in range(0, len(times), _BLOCK):
        frames, valid = session.stimulus.sample(times[first : first + _BLOCK])
        if len(valid):
            small = fit_video(frames, VIDEO_SIZE).reshape(len(frames), 9, 4, 16, 4)
            places[first + valid] = small.mean(axis=(2, 4)).reshape(len(frames), -1)
    # Neurons that do not depend on phase follow the change of the gray level but not
    # the gray level itself, so both are features.
    change = np.abs(np.diff(places, axis=0, prepend=places[:1]))
    return np.concatenate([places, change], axis=1)


def _pairs(
    session: Session, parts: list[dict[str, np.ndarray]], latency_s: tuple[float, float]
) -> Iterator[StreamPair]:
    """Yield the pairs of streams that the session allows."""
    if session.stimulus is not None and parts:
        pairs = [(p["screen"], p["responses"]) for p in parts]
        yield StreamPair("screen", "responses", pairs, _REACH_S, latency_s)
    for first, second in (("running", "responses"), ("running", "pupil")):
        pairs = [
            (part[first], z_scored(part[second]).mean(axis=1, keepdims=True))
            for part in parts
            if first in part and second in part
        ]
        if pairs:
            yield StreamPair(first, second, pairs, _BEHAVIOR_REACH_S, BEHAVIOR_LAG_S)


# -- clocks --------------------------------------------------------------------------
def _problems(session: Session) -> Iterator[str]:
    """Yield problems of frames and clocks; warnings of the reader are not repeated."""
    stimulus = session.stimulus
    if stimulus is not None:
        video = stimulus.trials.kind[stimulus.slot_trial] == "video"
        # Only steps within one trial: gaps between trials are not dropped frames.
        same = stimulus.slot_trial[1:] == stimulus.slot_trial[:-1]
        steps = np.diff(stimulus.slot_t)[video[1:] & same]
        if len(steps):
            usual = float(np.median(steps))
            dropped = int((steps > _DROPPED * usual).sum())
            if dropped:
                yield (
                    f"screen: {dropped} video frames last longer than {_DROPPED:g} "
                    f"times the usual {1000 * usual:.1f} ms: were frames dropped?"
                )
            if not 0.5 * FRAME_S < usual < 2.5 * FRAME_S:
                yield (
                    f"screen: a video frame lasts {1000 * usual:.1f} ms; the models "
                    "were trained with 33.3 ms"
                )
    spans = {name: s.valid_interval() for name, s in session.streams.items()}
    responses = spans["responses"]
    for name, span in spans.items():
        # Positive values: the stream begins later, or ends earlier, than the responses.
        late, early = span.start - responses.start, responses.stop - span.stop
        if max(late, early) > _UNEVEN_S:
            yield (
                f"{name} begins {late:.0f} s after the responses and ends "
                f"{early:.0f} s before them: the part outside is not used"
            )
