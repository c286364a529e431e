"""Fit of the linear-Gaussian baseline for one set of visible inputs, to the train tier."""

from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import compress
from math import inf
from typing import Any, NamedTuple

import numpy as np

from omnimouse_model.data.session import SCREEN_MEAN, SCREEN_STD, Session, Window, without_missing
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.tier_windows import mean_rates
from omnimouse_model.families.parts.linear_gaussian.posterior import (
    Check,
    FactorModel,
    blocks_of,
    fit_factors,
)
from omnimouse_model.families.parts.motion_energy import motion_energy
from omnimouse_model.progress import QUIET, Job, advance, part_of, stop_if

# -- inputs of the mean: motion energy of the video and behaviour at several lags -----
LAGS_S = (-0.8, -0.4, -0.15, 0.0, 0.15)
"""Lags of behaviour: calcium is slow, and the animal slower."""


def video_inputs(frames: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Return motion energy at the response samples, float32 (n_samples, 1152).

    Parameters
    ----------
    frames
        (n_frames, height, width), normalised.
    spec
        Rates of the window.
    """
    video = spec.video
    assert video is not None
    energy = motion_energy(frames, video.rate_hz)
    return np.asarray(energy[_held(spec, video.rate_hz, len(energy))], np.float32)


def behavior_inputs(behavior: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Return behaviour at `LAGS_S`, float32 (n_samples, 5 C)."""
    assert spec.behavior is not None
    rate_hz = spec.behavior.rate_hz
    now = _held(spec, rate_hz, len(behavior))
    rows = [now + round(lag * rate_hz) for lag in LAGS_S]
    parts = [behavior[np.clip(row, 0, len(behavior) - 1)] for row in rows]
    return np.asarray(np.concatenate(parts, axis=1), np.float32)


def at_samples(behavior: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Interpolate behaviour (n_behavior, C) at the response samples, linearly."""
    assert spec.behavior is not None
    return interpolated(behavior, spec.sample_times_s * spec.behavior.rate_hz)


def interpolated(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Interpolate columns (samples, C) linearly at places in samples, float32."""
    samples = np.arange(len(values))
    columns = [np.interp(place, samples, column) for column in values.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _held(spec: WindowSpec, rate_hz: float, count: int) -> np.ndarray:
    """Return the newest of `count` samples at `rate_hz` at each response sample."""
    # The small number keeps a sample of the same time from being rounded down.
    place = np.floor(spec.sample_times_s * rate_hz + 1e-6).astype(np.int64)
    return np.minimum(place, count - 1)


# -- train tier of a session as one long series of responses and inputs ---------------
MAX_VALUES = 240_000_000
"""Responses (samples x neurons) that are fitted, 1 GB; a longer recording is thinned
to evenly spaced blocks of `WINDOWS_PER_BLOCK` windows."""
WINDOWS_PER_BLOCK = 20
MOST_S = 1200.0
"""Seconds of the train tier to which the baseline is fitted at most: a long recording is
answered after a minute, too."""
MIN_TRAIN_S = 4.0


class InputSet(NamedTuple):
    """Whether the mean has inputs from the video and from behaviour."""

    video: bool
    behavior: bool


ALL = InputSet(video=True, behavior=True)


@dataclass(frozen=True, slots=True)
class TrainSeries:
    """Responses and inputs of the train tier.

    Attributes
    ----------
    responses
        float32 (N, P): normalised responses, or counts per bin; NaN where missing.
    behavior
        float32 (N, C): channels at the response samples; C = 0 without behaviour.
    video_inputs, behavior_inputs
        float32 (N, n): inputs of the mean; None if the session lacks the stream.
    run
        int (N,): number of the stretch of consecutive samples.
    means
        float64 (P,): mean responses of the tier, to which scores compare.
    """

    responses: np.ndarray
    behavior: np.ndarray
    video_inputs: np.ndarray | None
    behavior_inputs: np.ndarray | None
    run: np.ndarray
    means: np.ndarray

    def only(self, inputs: InputSet) -> "TrainSeries":
        """Return the series with some inputs of the mean left out."""
        return replace(
            self,
            video_inputs=self.video_inputs if inputs.video else None,
            behavior_inputs=self.behavior_inputs if inputs.behavior else None,
        )


def frames_of(window: Window) -> np.ndarray:
    """Return the frames of a window, normalised, with missing values at the mean."""
    if window.spec.video is not None and window.spec.video.is_raw:
        return (window.video.astype(np.float32) - SCREEN_MEAN) / SCREEN_STD
    return without_missing(window.video)


def reads_video(session: Session, spec: WindowSpec) -> bool:
    """Return whether both the spec and the session have video."""
    return spec.video is not None and session.stimulus is not None


def reads_behavior(session: Session, spec: WindowSpec) -> bool:
    """Return whether both the spec and the session have behaviour."""
    return spec.behavior is not None and bool(session.behavior_names)


def sets_of_inputs(session: Session, spec: WindowSpec) -> list[InputSet]:
    """Return the inputs of each fit to a session."""
    has_behavior = (False, True)[: 1 + reads_behavior(session, spec)]
    has_video = (False, True)[: 1 + reads_video(session, spec)]
    return [InputSet(video, behavior) for video in has_video for behavior in has_behavior]


def train_series(
    session: Session,
    spec: WindowSpec,
    inputs: InputSet = ALL,
    *,
    most_s: float = inf,
    job: Job = QUIET,
) -> TrainSeries:
    """Read the train tier of a session.

    Parameters
    ----------
    session, spec
        Windows of this spec are read, each sample once.
    inputs
        Of which streams inputs of the mean are made.
    most_s
        Seconds that are read at most, in evenly spaced blocks.
    job
        Progress in windows; may stop after each.

    Raises
    ------
    UnsupportedRequestError
        The train tier has less than 4 s.

    Notes
    -----
    Windows on the grid overlap by half. The second half of each is used, because the
    filters of the video see too little before. The first window of a run is used
    completely. Each window of a trial is used completely and is a run of its own.
    """
    has_behavior = reads_behavior(session, spec)
    has_video = inputs.video and reads_video(session, spec)
    windows = train_windows(session, spec, most_s)
    lengths = [len(range(*part.samples.indices(spec.n_samples))) for part in windows]
    # Written in place: responses take most of the memory of a fit.
    responses = np.empty((sum(lengths), session.n_neurons), np.float32)
    filled = 0
    parts: list[tuple[np.ndarray, ...]] = []
    for number, (part, length) in enumerate(zip(windows, lengths, strict=True), 1):
        # Opened here, so that only one window keeps its data.
        window, samples = session.window(part.start_s, spec), part.samples
        channels = lagged = energy = np.zeros((spec.n_samples, 0), np.float32)
        if has_behavior:
            values = without_missing(np.asarray(window.behavior, np.float32))
            channels = at_samples(values, spec)
            if inputs.behavior:
                lagged = behavior_inputs(values, spec)
        if has_video:
            energy = video_inputs(frames_of(window), spec)
        recorded = np.where(np.isfinite(window.responses), window.responses, np.nan)
        responses[filled : filled + length] = recorded[samples]
        filled += length
        run = np.full(spec.n_samples, part.run)
        # Copies, since a view would keep the values of the other samples.
        parts.append(tuple(values[samples].copy() for values in (channels, energy, lagged, run)))
        advance(job, number, len(windows))
    channels, energy, lagged, run = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    return TrainSeries(
        responses,
        channels,
        energy if energy.shape[1] else None,
        lagged if lagged.shape[1] else None,
        run,
        mean_rates(session, spec),
    )


_VIDEO_S, _NEURON_S, _FIT_S = 8e-3, 2e-6, 2.5e-7
"""Seconds to filter the video of a window, to read a neuron in a window, and to fit one
response; measured on one core."""


def fit_seconds(
    session: Session, spec: WindowSpec, *, video: bool, most_s: float = inf
) -> tuple[float, float]:
    """Return about how long reading the series takes on one core, and one fit to it."""
    n_windows, n_neurons = len(train_windows(session, spec, most_s)), session.n_neurons
    window_s = _VIDEO_S * (video and reads_video(session, spec)) + _NEURON_S * n_neurons
    return n_windows * window_s, n_windows * spec.n_samples / 2 * n_neurons * _FIT_S


@dataclass(frozen=True, slots=True)
class TrainWindow:
    """Samples of one window that are used, and the number of their run."""

    start_s: float
    samples: slice
    run: int


def train_windows(session: Session, spec: WindowSpec, most_s: float = inf) -> list[TrainWindow]:
    """Return the windows of the train tier that a fit reads, of `most_s` at most.

    Raises
    ------
    UnsupportedRequestError
        The train tier has less than 4 s.
    """
    starts = np.zeros(0)
    if session.tiers().get("train"):
        starts = session.window_starts("train", include_blanks=True, spec=spec)
    parts = [TrainWindow(float(start), slice(None), k) for k, start in enumerate(starts)]
    if spec.align != "trial" and parts:
        parts = _covering_parts(starts, spec)
    n_samples = sum(spec.n_samples - (part.samples.start or 0) for part in parts)
    if n_samples < MIN_TRAIN_S * spec.response_rate_hz:
        raise UnsupportedRequestError(
            f"Session {session.id!r} has {n_samples / spec.response_rate_hz:.3g} s of "
            f"tier 'train' in windows of {spec.duration_s:g} s; a fit needs "
            f"{MIN_TRAIN_S:g} s; {session.tiers_text()}."
        )
    length_s = n_samples / spec.response_rate_hz
    return _thinned(parts, max(n_samples * session.n_neurons / MAX_VALUES, length_s / most_s))


def _thinned(parts: list[TrainWindow], times: float) -> list[TrainWindow]:
    """Return evenly spaced blocks of windows that are this many times fewer.

    Each block is a run of its own, because the samples before it are missing.
    """
    if times <= 1:
        return parts
    n_blocks = -(-len(parts) // WINDOWS_PER_BLOCK)
    blocks = np.arange(len(parts)) // WINDOWS_PER_BLOCK
    is_read = np.floor((blocks + 1) / times) > np.floor(blocks / times)
    return [
        # Runs and blocks both increase, so each pair of them has its own number.
        replace(part, run=part.run + n_blocks * int(block))
        for part, block in compress(zip(parts, blocks, strict=True), is_read)
    ]


def _covering_parts(starts: np.ndarray, spec: WindowSpec) -> list[TrainWindow]:
    """Return windows half a window apart that cover each run of starts once."""
    half = spec.n_samples // 2
    hop_s = half / spec.response_rate_hz
    spacing = float(np.diff(starts).min()) if len(starts) > 1 else hop_s
    edges = np.flatnonzero(np.diff(starts) > 1.5 * spacing) + 1
    parts: list[TrainWindow] = []
    for number, run in enumerate(np.split(starts, edges)):
        for k, place in enumerate(np.arange(run[0], run[-1] + spacing / 2, hop_s)):
            nearest = float(run[np.argmin(np.abs(run - place))])
            samples = slice(0 if k == 0 else spec.n_samples - half, spec.n_samples)
            parts.append(TrainWindow(nearest, samples, number))
    return parts


# -- fit -------------------------------------------------------------------------------
VIDEO_PENALTY, BEHAVIOR_PENALTY = 10.0, 1.0
"""Ridge penalties relative to the variance of an input."""
ALONE = 2.0
"""Factor on the video penalty where no behaviour is visible."""
FLOOR_QUANTILE = 0.01
_ROWS, _COLUMNS = 256, 1024
_MEAN_SHARE = 0.2
"""Share of the time of a fit for the mean from the inputs."""


@dataclass(frozen=True, slots=True)
class LinearGaussianFit:
    """Everything that is fitted for one set of visible inputs.

    Columns are the P neurons, then C channels of behaviour if it is not an input.

    Attributes
    ----------
    floor
        float32 (P,): lowest response, subtracted before the square root and added back.
    weights, intercept
        float32 (n, columns) and (columns,): the mean from the inputs.
    scale
        float32 (columns,): standard deviation of the residuals.
    factors
        Covariance of residuals / scale.
    """

    floor: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    scale: np.ndarray
    factors: FactorModel

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fit as named arrays, for a file."""
        of_fit = {name: np.asarray(getattr(self, name)) for name in OF_FIT}
        return of_fit | {name: np.asarray(getattr(self.factors, name)) for name in OF_FACTORS}

    def at_means(
        self, before: np.ndarray, after: np.ndarray, *, is_count: bool
    ) -> "LinearGaussianFit":
        """Return the fit with mean predictions `after` (P,) instead of `before`.

        Without it, the error of a neuron that is nearly silent in other windows is the
        difference of the two means.
        """
        neurons = slice(len(before))
        intercept, weights, scale = (
            array.copy() for array in (self.intercept, self.weights, self.scale)
        )
        if is_count:
            intercept[neurons] += after - before
        else:
            times = np.ones_like(before)
            np.divide(after - self.floor, before - self.floor, times, where=before > self.floor)
            root = np.sqrt(np.clip(times, 0.25, 4.0))
            for array in (intercept, weights, scale):
                array[..., neurons] *= root
        return replace(self, intercept=intercept, weights=weights, scale=scale)

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "LinearGaussianFit":
        """Return a fit from `arrays`."""
        values: dict[str, Any] = arrays | {"inflation": float(arrays["inflation"])}
        factors = FactorModel(**{name: values[name] for name in OF_FACTORS})
        return cls(**{name: values[name] for name in OF_FIT}, factors=factors)


OF_FIT = tuple(one.name for one in fields(LinearGaussianFit) if one.name != "factors")
OF_FACTORS = tuple(one.name for one in fields(FactorModel))
"""Names of the arrays of a fit in files: its own, then those of its covariance."""


def to_fitted(responses: np.ndarray, floor: np.ndarray, *, is_count: bool) -> np.ndarray:
    """Return responses as they are fitted: square roots above the floor, or counts.

    The square root makes the variance of shot noise the same at all rates. Counts per
    bin are mostly 0 and 1, where it changes nothing; they are fitted as they are.
    """
    if is_count:
        return np.asarray(responses, np.float32)
    return np.asarray(np.sqrt(np.maximum(responses - floor, 0)), np.float32)


def from_fitted(
    values: np.ndarray, variance: np.ndarray | float, floor: np.ndarray, *, is_count: bool
) -> np.ndarray:
    """Return expected responses from the mean and variance of fitted values.

    The mean of a square is the squared mean plus the variance.
    """
    positive = np.maximum(values, 0)
    return np.asarray(positive if is_count else positive**2 + variance + floor)


def fit(
    series: TrainSeries,
    rate_hz: float,
    *,
    is_count: bool,
    fixed_mean: np.ndarray | None = None,
    video_penalty: float = VIDEO_PENALTY,
    job: Job = QUIET,
) -> LinearGaussianFit:
    """Fit mean and covariance to a series, with the inputs that it has.

    Parameters
    ----------
    series
        Train tier. Behaviour is a column to predict unless it is an input.
    rate_hz
        Response samples per second.
    is_count
        Whether responses are counts.
    fixed_mean
        float32 (N, P), in fitted units: a part of the mean that is known, for example
        from a network. The inputs predict the rest.
    video_penalty
        Ridge penalty of video inputs, relative to their variance.
    job
        Progress; asked every few milliseconds whether to stop.

    Raises
    ------
    UnsupportedRequestError
        The fit is not finite, for example because the series is too short.
    """
    check = partial(stop_if, job.cancelled)
    floor = lowest_responses(series.responses, is_count=is_count)
    n_behavior = series.behavior.shape[1] if series.behavior_inputs is None else 0
    n_samples, n_neurons = series.responses.shape
    # Fitted responses, then channels of behaviour, (N, P + C).
    columns = np.empty((n_samples, n_neurons + n_behavior), np.float32)
    # In pieces: copies of all responses would take most of the memory of a fit.
    for first in range(0, n_samples, _ROWS):
        part = slice(first, first + _ROWS)
        columns[part, :n_neurons] = to_fitted(series.responses[part], floor, is_count=is_count)
        check()
    columns[:, n_neurons:] = series.behavior[:, :n_behavior]
    if fixed_mean is not None:
        columns[:, : fixed_mean.shape[1]] -= fixed_mean
    share = _fill(columns, check)
    inputs, penalty = _inputs(series, video_penalty)
    weights, intercept = _ridge(inputs, columns, penalty, check)
    # Residuals overwrite the columns.
    expected = np.zeros(n_neurons)
    for first in range(0, n_samples, _ROWS):
        part = slice(first, first + _ROWS)
        mean = np.broadcast_to(intercept, columns[part].shape)
        if len(weights):
            mean = mean + inputs[part] @ weights
        columns[part] -= mean
        known = from_fitted(mean[:, :n_neurons], 0.0, floor, is_count=is_count)
        expected += known.sum(axis=0, dtype=np.float64) / n_samples
        check()
    # Values that were filled in do not vary.
    std = columns.std(axis=0, dtype=np.float64) / np.sqrt(share)
    scale = np.maximum(std, 1e-3).astype(np.float32)
    columns /= scale
    blocks = blocks_of(series.run, rate_hz)
    factors = fit_factors(
        columns, blocks, rate_hz, n_behavior=n_behavior, job=part_of(job, _MEAN_SHARE, 1.0)
    )
    fitted = LinearGaussianFit(floor, weights, intercept, scale, factors)
    if fixed_mean is None:
        # Where no response is visible, the mean prediction is that of the tier: a level that
        # differs would be an error, or a gain, of every source where rates drift.
        if not is_count:
            expected += (scale**2 * factors.variance * factors.inflation)[:n_neurons]
        fitted = fitted.at_means(expected, series.means, is_count=is_count)
    if not all(np.isfinite(array).all() for array in fitted.arrays().values()):
        raise UnsupportedRequestError(
            f"The linear-Gaussian fit is not finite with {len(series.run)} samples of "
            f"{series.responses.shape[1]} neurons. Record longer, or name more trials "
            "'train'."
        )
    return fitted


def _fill(columns: np.ndarray, check: Check) -> np.ndarray:
    """Put the mean of a column in place of missing values; return recorded shares.

    Values at the mean add nothing to covariances.
    """
    n = len(columns)
    total, count = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for first in range(0, n, _ROWS):
        part = columns[first : first + _ROWS]
        recorded = np.isfinite(part)
        total += np.where(recorded, part, 0).sum(axis=0, dtype=np.float64)
        count += recorded.sum(axis=0)
        check()
    if (count == n).all():
        return np.ones(columns.shape[1])
    mean = (total / np.maximum(count, 1)).astype(np.float32)
    for first in range(0, n, _ROWS):
        part = columns[first : first + _ROWS]
        np.copyto(part, mean, where=~np.isfinite(part))
        check()
    return np.maximum(count, 1) / n


def lowest_responses(responses: np.ndarray, *, is_count: bool) -> np.ndarray:
    """Return the first percentile of each neuron where it is negative, else 0."""
    floor = np.zeros(responses.shape[1], np.float32)
    if not is_count:
        for neuron in np.flatnonzero(np.fmin.reduce(responses, axis=0) < 0):
            lowest = np.nanquantile(responses[:, neuron], FLOOR_QUANTILE)
            floor[neuron] = min(lowest, 0)
    return floor


def _inputs(series: TrainSeries, video_penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (N, n) and the penalty of each."""
    parts, penalties = [np.zeros((len(series.run), 0), np.float32)], [np.zeros(0)]
    if series.video_inputs is not None:
        factor = ALONE if series.behavior_inputs is None else 1.0
        parts.append(series.video_inputs)
        penalties.append(np.full(series.video_inputs.shape[1], video_penalty * factor))
    if series.behavior_inputs is not None:
        parts.append(series.behavior_inputs)
        penalties.append(np.full(series.behavior_inputs.shape[1], BEHAVIOR_PENALTY))
    return np.concatenate(parts, axis=1), np.concatenate(penalties)


def _ridge(
    inputs: np.ndarray, columns: np.ndarray, penalty: np.ndarray, check: Check
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (n, columns) and intercept of a ridge regression."""
    mean_x = inputs.mean(axis=0, dtype=np.float64).astype(np.float32)
    mean_y = columns.mean(axis=0, dtype=np.float64).astype(np.float32)
    n, n_inputs = inputs.shape
    weights = np.zeros((n_inputs, columns.shape[1]), np.float32)
    if not n_inputs:
        return weights, mean_y
    centred = inputs - mean_x
    gram = np.zeros((n_inputs, n_inputs))
    cross = np.zeros((n_inputs, columns.shape[1]), np.float32)
    for first in range(0, n, _ROWS):
        part = centred[first : first + _ROWS]
        gram += part.T @ part
        for left in range(0, columns.shape[1], _COLUMNS):
            some = slice(left, left + _COLUMNS)
            cross[:, some] += part.T @ columns[first : first + _ROWS, some]
            check()
    gram /= n
    gram[np.diag_indices(n_inputs)] += penalty * np.diag(gram) + 1e-6
    # The inverse once, so that the columns can be divided into short steps.
    inverse = np.linalg.inv(gram).astype(np.float32)
    for left in range(0, columns.shape[1], _COLUMNS):
        some = slice(left, left + _COLUMNS)
        weights[:, some] = inverse @ (cross[:, some] / n)
        check()
    return weights, mean_y - mean_x @ weights
