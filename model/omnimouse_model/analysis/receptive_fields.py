"""Receptive fields of neurons, estimated from the session's own stimulus.

The estimate is the response-weighted (spike-triggered) average of the frames at many
lags. It vanishes for complex cells, which respond to either phase; the same average of
local motion energy does not. Both are computed in blocks, and separately from even and
odd blocks; the correlation of these two halves is the reliability.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from omnimouse_model.analysis.motion_energy import (
    N_DIRECTIONS,
    TAPS,
    MotionBank,
    StimulusBlock,
    coarse,
    grid_places,
    kernel_delay_s,
    stimulus_blocks,
)
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import SCREEN_RATE_HZ, VIDEO_SIZE
from omnimouse_model.display import count
from omnimouse_model.progress import QUIET, Job, shows_progress

FieldKind = Literal["plain", "energy"]
N_LAGS = 16
"""Number of lags, 0 to 0.5 s at 30 Hz."""
# In units of the mean variance of pixels.
RIDGE = 3.0
MIN_RELIABILITY: dict[FieldKind, float] = {"plain": 0.22, "energy": 0.33}
"""Minimum reliability (correlation of the two halves) of a displayed field.

In 12 simulated minutes, 1 to 5 % of the neurons reach it if their responses are shifted
against the video by minutes, that is without a receptive field.
"""
MIN_PATTERNS = 30
"""Fewest independent patterns of the frames, of 576, with which a place can be told.

Full-field gratings of 8 directions have 8, whatever the neuron prefers: the average frame is
then as reliable as the response, and has no place.
"""
# Minimum duration of video with responses, in seconds.
MIN_S = 60.0
# Rows and columns of a map: blocks of 2 × 2 or 4 × 4 pixels of the 36 × 64 frame.
_CELLS: dict[FieldKind, tuple[int, int]] = {"plain": (18, 32), "energy": (9, 16)}
_ENERGY_STEP = 2
"""Motion energy changes slowly, so every second frame is sufficient."""
_HALVES = (slice(0, 2), slice(0, 1), slice(1, 2))
"""Slices over the axis of halves: all blocks, even blocks, odd blocks."""
# Cells above this share of the peak define the centre.
_PEAK_SHARE: dict[FieldKind, float] = {"plain": 0.5, "energy": 0.7}


@dataclass(frozen=True, slots=True, eq=False)
class ReceptiveField:
    """Receptive field of one neuron.

    Attributes
    ----------
    neuron, kind
        Index in the session; "plain" the average frame, "energy" that of local motion.
    map
        (row, column) over the whole frame at the best lag. "plain", 18 × 32 cells:
        correlation with contrast, decorrelated if a ridge is used. "energy", 9 × 16
        cells: positive correlations with motion energy relative to the screen's mean,
        combined over directions.
    lags_s, course
        Lags from frame to response, and the value at the map's peak at each lag.
    lag_s
        Lag of the maximum.
    reliability
        Correlation between the averages of even and odd blocks at this lag, over places
        (and over directions for "energy").
    centre_yx
        Row and column of the centre of the peak, in pixels of the 36 × 64 frame.
    minutes
        Duration of the used recording.
    problem
        Reason if there is no receptive field, else "".
    """

    neuron: int
    kind: FieldKind
    map: Float[np.ndarray, "row column"]
    lags_s: Float[np.ndarray, " lag"]
    course: Float[np.ndarray, " lag"]
    lag_s: float
    reliability: float
    centre_yx: tuple[float, float]
    minutes: float
    problem: str = ""


@shows_progress
def receptive_fields(
    session: Session,
    neurons: Int[np.ndarray, " neuron"],
    *,
    kind: FieldKind | None = None,
    ridge: float | None = RIDGE,
    job: Job = QUIET,
) -> tuple[ReceptiveField, ...]:
    """Estimate the receptive fields of some neurons, in one pass over the video.

    Parameters
    ----------
    kind
        "plain" or "energy"; by default the more reliable of the two for each neuron.
        The default refuses frames of fewer than `MIN_PATTERNS` patterns.
    ridge
        Ridge for removing the spatial correlation of the video from the plain average,
        in units of the mean variance of pixels; None does not remove it.
    """
    neurons = np.asarray(neurons, np.int64)
    if session.stimulus is None:
        return tuple(_nothing(n, "The recording has no video.") for n in neurons.tolist())
    kinds: tuple[FieldKind, ...] = ("plain", "energy") if kind is None else (kind,)
    mean = (session.units.mean / session.response_scale)[neurons]
    mean = mean.astype(np.float32)
    sums = {k: _Sums(mean, k) for k in kinds}
    blocks = stimulus_blocks(session, neurons, before=TAPS - 1, after=N_LAGS - 1, job=job)
    for block in blocks:
        for part in sums.values():
            part.add(block)
    by_kind = [_fields(neurons, part, ridge if k == "plain" else None) for k, part in sums.items()]
    fields = tuple(max(pair, key=_worth) for pair in zip(*by_kind, strict=True))
    if "plain" in sums and (n := sums["plain"].n_patterns) < MIN_PATTERNS:
        problem = (
            f"The frames are sums of {count(n, 'pattern')}, as those of full-field gratings are: "
            f"they tell no place, for which {MIN_PATTERNS} are needed."
        )
        return tuple(f if f.problem else _nothing(f.neuron, problem) for f in fields)
    return fields


def _worth(field: ReceptiveField) -> float:
    # The two kinds have different chance levels: compare reliabilities relative to
    # their thresholds.
    is_finite = np.isfinite(field.reliability)
    return field.reliability / MIN_RELIABILITY[field.kind] if is_finite else -np.inf


def _nothing(neuron: int, problem: str) -> ReceptiveField:
    nan = float("nan")
    empty = np.zeros(0)
    return ReceptiveField(
        *(neuron, "plain", np.zeros((0, 0)), empty, empty), *(nan, nan, (nan, nan), 0.0, problem)
    )


# -- sums over the session -----------------------------------------------------------
class _Sums:
    """Sums of products of stimulus features with later responses, by half of blocks.

    `mean` float32 (neuron,) stands in for missing responses. A constant feature 1 and a
    constant response 1 are included. Their products are the counts and sums that centre
    the other products exactly, even with missing samples.
    """

    def __init__(self, mean: np.ndarray, kind: FieldKind) -> None:
        self.kind, self._mean, n_neurons = kind, mean, len(mean)
        self._bank = MotionBank(grid_places(), cell=4) if kind == "energy" else None
        self._step = _ENERGY_STEP if kind == "energy" else 1
        n_cells = int(np.prod(_CELLS[kind]))
        self.n_features = n_cells * (N_DIRECTIONS if kind == "energy" else 1)
        shape = (2, self.n_features + 1, N_LAGS, n_neurons + 1)
        self.products = np.zeros(shape)
        self.square_response = np.zeros((2, n_neurons))
        # Only plain averages are decorrelated.
        size = self.n_features if kind == "plain" else 0
        self.pixel_products = np.zeros((size, size))
        self.square_feature = np.zeros(self.n_features)

    def add(self, block: StimulusBlock) -> None:
        """Add a block to the sums."""
        if self._bank is not None:
            energies = self._bank.energies(block.frames, self._step)
            # Motion of the whole screen has no information about the place.
            energies -= energies.mean(axis=2, keepdims=True)
            features = energies.reshape(len(energies), -1)
            has_frame = _unbroken(block.shown)[:: self._step]
        else:
            small = coarse(block.frames[block.before :], 2)
            features, has_frame = (
                small.reshape(block.length, -1),
                block.shown[TAPS - 1 :],
            )
        # Unknown frames are 0 in all features, also in the constant feature.
        weight = has_frame[:, None].astype(np.float32)
        with_ones = np.concatenate([features * weight, weight], axis=1)
        # Samples that were not recorded are 0, as is the constant response there. A
        # missing response of one neuron is at its mean, which adds nothing.
        known = np.isfinite(block.responses)
        values = np.where(known, block.responses, self._mean) * block.recorded[:, None]
        later = _at_lags(values, block.recorded, block.length)[:: self._step]
        half = block.number % 2
        product = with_ones.T @ later.reshape(len(later), -1)
        self.products[half] += product.reshape(self.products[half].shape)
        squares = values[: block.length : self._step].astype(np.float64)
        self.square_response[half] += (squares**2).sum(axis=0)
        self.square_feature += (with_ones[:, :-1] ** 2).sum(axis=0)
        if len(self.pixel_products):
            self.pixel_products += with_ones[:, :-1].T @ with_ones[:, :-1]

    @property
    def minutes(self) -> float:
        """Duration of frames with responses, in minutes."""
        pairs = float(self.products[:, -1, 0, -1].sum())
        return pairs * self._step / SCREEN_RATE_HZ / 60

    def correlations(self, halves: slice) -> np.ndarray:
        """Return correlations of features with responses, (feature, lag, neuron)."""
        # Sums of (feature, lag, response). The last feature and the last response are
        # the constant 1, so their products are sums and counts:
        #
        #                    responses          constant 1
        #     features       sum of products    sum of features
        #     constant 1     sum of responses   number of samples
        sums = self.products[halves].sum(axis=0)
        count = np.maximum(sums[-1, :, -1], 1.0)
        mean_feature = sums[:-1, :, -1:] / count[:, None]
        mean_response = sums[-1:, :, :-1] / count[:, None]
        covariance = sums[:-1, :, :-1] / count[:, None] - mean_feature * mean_response
        # The variance of features comes from all blocks for every half, so that the
        # halves have the same scale.
        all_sums = self.products.sum(axis=0)
        n = max(all_sums[-1, 0, -1], 1.0)
        feature_variance = self.square_feature / n - (all_sums[:-1, 0, -1] / n) ** 2
        n_half = np.maximum(self.products[halves, -1, 0, -1].sum(), 1.0)
        mean_square = self.square_response[halves].sum(axis=0) / n_half
        response_variance = mean_square - mean_response[0, 0] ** 2
        # (feature, lag, neuron)
        feature_sd = np.sqrt(np.maximum(feature_variance, 1e-12))[:, None, None]
        correlation: np.ndarray = covariance / feature_sd
        correlation /= np.sqrt(np.maximum(response_variance, 1e-12))
        return correlation

    def pixel_correlation(self) -> np.ndarray:
        """Return the correlation matrix of the pixels, (feature, feature)."""
        sums = self.products.sum(axis=0)
        n = max(sums[-1, 0, -1], 1.0)
        mean = sums[:-1, 0, -1] / n
        covariance = self.pixel_products / n - np.outer(mean, mean)
        sd = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
        return covariance / np.outer(sd, sd)

    @property
    def n_patterns(self) -> int:
        """Number of principal components of the frames with 1 % of the largest variance."""
        variances = np.linalg.eigvalsh(self.pixel_correlation())
        return int((variances > 0.01 * variances[-1]).sum())


def _unbroken(has_frame: np.ndarray) -> np.ndarray:
    """Return whether all frames within reach of the temporal filter are known."""
    reach = np.convolve(has_frame.astype(int), np.ones(TAPS, int), mode="valid")
    return reach == TAPS


def _at_lags(values: np.ndarray, recorded: np.ndarray, length: int) -> np.ndarray:
    """Return responses at each lag after a frame, and ones, (time, lag, neuron + 1)."""
    ones = recorded[:, None].astype(np.float32)
    padded = np.concatenate([values.astype(np.float32), ones], axis=1)
    lagged = [padded[lag : lag + length] for lag in range(N_LAGS)]
    return np.stack(lagged, axis=1)


# -- from sums to fields -------------------------------------------------------------
def _fields(neurons: np.ndarray, sums: _Sums, ridge: float | None) -> list[ReceptiveField]:
    """Return one field per neuron, of one kind."""
    parts = [sums.correlations(halves) for halves in _HALVES]
    if ridge is not None:
        pixels = sums.pixel_correlation()
        # Pixels are scaled to variance 1, so the ridge is added to a diagonal of ones.
        inverse = np.linalg.inv(pixels + ridge * np.eye(len(pixels)))
        parts = [np.tensordot(inverse, part, 1) for part in parts]
    return [
        _field(int(neuron), [part[:, :, i] for part in parts], sums.kind, sums.minutes)
        for i, neuron in enumerate(neurons)
    ]


def _field(
    neuron: int, averages: list[np.ndarray], kind: FieldKind, minutes: float
) -> ReceptiveField:
    """Return a field from averages (feature, lag) of all, even and odd blocks."""
    if minutes * 60 < MIN_S:
        problem = f"Too little video with responses: {minutes * 60:.0f} s"
        return _nothing(neuron, f"{problem}, {MIN_S:.0f} s are needed.")
    maps = _maps(averages[0], kind)
    best = int(np.abs(maps).max(axis=(1, 2)).argmax())
    reliability = _correlation(averages[1][:, best], averages[2][:, best])
    row, column = np.unravel_index(np.abs(maps[best]).argmax(), maps[best].shape)
    # The temporal filter of motion energy looks back and adds to the lag.
    delay_s = kernel_delay_s() if kind == "energy" else 0.0
    lags_s = delay_s + np.arange(N_LAGS) / SCREEN_RATE_HZ
    return ReceptiveField(
        neuron,
        kind,
        maps[best],
        lags_s,
        maps[:, row, column],
        float(lags_s[best]),
        reliability,
        _centre(maps[best], kind),
        minutes,
        _problem(reliability, kind, minutes),
    )


def _problem(reliability: float, kind: FieldKind, minutes: float) -> str:
    least = MIN_RELIABILITY[kind]
    if not np.isfinite(reliability):
        return "The neuron's responses or the video never change."
    if reliability >= least:
        return ""
    return (
        f"No receptive field found in {minutes:.0f} min of video: its two halves agree "
        f"by r = {reliability:.2f}, {least:.2f} is needed."
    )


def _maps(averages: np.ndarray, kind: FieldKind) -> np.ndarray:
    """Return smoothed maps (lag, row, column)."""
    by_place = averages.T
    if kind == "energy":
        # Root sum of squares over directions of positive correlations; it is positive
        # without tuning too, so the median over places is the baseline.
        by_direction = by_place.reshape(N_LAGS, N_DIRECTIONS, -1)
        by_place = np.sqrt((np.maximum(by_direction, 0.0) ** 2).sum(axis=1))
        by_place = by_place - np.median(by_place, axis=1, keepdims=True)
    return _smooth(by_place.reshape(N_LAGS, *_CELLS[kind]))


def _smooth(maps: np.ndarray) -> np.ndarray:
    """Smooth the last two axes with the kernel (1, 2, 1) / 4, edges repeated."""
    for axis in (-2, -1):
        pad = [(0, 0)] * maps.ndim
        pad[axis] = (1, 1)
        wide = np.pad(maps, pad, mode="edge")
        n = maps.shape[axis]
        parts = [np.take(wide, range(k, k + n), axis=axis) for k in range(3)]
        maps = 0.25 * parts[0] + 0.5 * parts[1] + 0.25 * parts[2]
    return maps


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if not (first.std() > 0 and second.std() > 0):
        return float("nan")
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def _centre(best_map: np.ndarray, kind: FieldKind) -> tuple[float, float]:
    """Return the centre of the strongest part of a map in pixels of the frame."""
    # Plain maps have ON and OFF parts of opposite sign.
    power = _smooth(best_map**2 if kind == "plain" else np.maximum(best_map, 0.0))
    share = power / max(float(power.max()), 1e-30)
    weight = np.where(share > _PEAK_SHARE[kind], share, 0.0)
    size = VIDEO_SIZE[0] / best_map.shape[0]
    rows, columns = np.indices(best_map.shape)
    total = max(float(weight.sum()), 1e-30)
    # Cell k covers pixels k · size to (k + 1) · size - 1; pixel centres are integers.
    y = float((weight * rows).sum() / total + 0.5) * size - 0.5
    x = float((weight * columns).sum() / total + 0.5) * size - 0.5
    return y, x
