"""Where on the screen a neuron looks, from the session's own stimulus.

The response-weighted (spike-triggered) average of the frames, at many lags. For cells
that answer to either phase it is empty; the same average of local motion energy is not.
Both are read in blocks, and every estimate is made twice, from the even and from the
odd blocks, which tells whether there is anything to see.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from omnimouse_model.analysis.tuning.motion_energy import (
    N_DIRECTIONS,
    TAPS,
    MotionBank,
    coarse,
    grid_places,
    kernel_delay_s,
)
from omnimouse_model.analysis.tuning.stimulus_blocks import (
    MAX_BLOCKS,
    Block,
    Progress,
    stimulus_blocks,
)
from omnimouse_model.data.clock import SCREEN_RATE_HZ
from omnimouse_model.data.session import Session

Kind = Literal["plain", "energy"]
N_LAGS = 16
"""Lags of 0 to half a second."""
RIDGE = 3.0
LEAST_RELIABILITY: dict[Kind, float] = {"plain": 0.22, "energy": 0.33}
"""Correlation of the two halves' averages from which a field is worth showing.

In 12 simulated minutes one to five neurons in a hundred reach it when their responses
are shifted against the video by minutes, so that there is nothing to find.
"""
LEAST_S = 60.0
_CELLS: dict[Kind, tuple[int, int]] = {"plain": (18, 32), "energy": (9, 16)}
_ENERGY_STEP = 2
"""Motion energy changes slowly: every second frame tells nearly as much."""
_HALVES = (slice(0, 2), slice(0, 1), slice(1, 2))
"""All blocks, the even ones, the odd ones."""
_PEAK_SHARE: dict[Kind, float] = {"plain": 0.5, "energy": 0.7}


@dataclass(frozen=True, slots=True, eq=False)
class ReceptiveField:
    """What was found of one neuron.

    Attributes
    ----------
    neuron, kind
        Index in the session; "plain" the average frame, "energy" that of local motion.
    map
        (row, column) over the whole frame at the best lag, 18 × 32 or 9 × 16 cells:
        correlation with contrast, decorrelated where a ridge was asked for, or that
        with motion energy over the screen's mean, positive ones of all directions.
    lags_s, course
        Time from frame to response, and the strength of the map's peak there.
    lag_s
        The best lag.
    reliability
        Correlation between the averages of the even and of the odd blocks at that lag,
        over places, and directions of motion where there are any.
    centre_yx
        Row and column of the peak's middle, in pixels of the 36 × 64 frame.
    minutes
        Of the recording that were used.
    problem
        Why there is no receptive field to show, "" where there is.
    """

    neuron: int
    kind: Kind
    map: Float[np.ndarray, "row column"]
    lags_s: Float[np.ndarray, " lag"]
    course: Float[np.ndarray, " lag"]
    lag_s: float
    reliability: float
    centre_yx: tuple[float, float]
    minutes: float
    problem: str = ""


def receptive_fields(
    session: Session,
    neurons: Int[np.ndarray, " neuron"],
    *,
    kind: Kind | None = None,
    ridge: float | None = RIDGE,
    max_blocks: int = MAX_BLOCKS,
    progress: Progress | None = None,
) -> tuple[ReceptiveField, ...]:
    """Estimate the receptive fields of some neurons, in one pass over the video.

    Parameters
    ----------
    kind
        "plain" or "energy"; by default, for each neuron, the more reliable of the two.
    ridge
        Undo the video's own spatial correlation in the plain average, with this ridge
        in units of the pixels' mean variance; None leaves it in.
    """
    neurons = np.asarray(neurons, np.int64)
    if session.stimulus is None:
        return tuple(_nothing(n, "The session has no video.") for n in neurons.tolist())
    kinds: tuple[Kind, ...] = ("plain", "energy") if kind is None else (kind,)
    sums = {k: _Sums(len(neurons), k) for k in kinds}
    blocks = stimulus_blocks(
        session,
        neurons,
        before=TAPS - 1,
        after=N_LAGS - 1,
        max_blocks=max_blocks,
        progress=progress,
    )
    for block in blocks:
        for part in sums.values():
            part.add(block)
    found = [
        _fields(neurons, part, ridge if k == "plain" else None)
        for k, part in sums.items()
    ]
    return tuple(max(pair, key=_worth) for pair in zip(*found, strict=True))


def _worth(field: ReceptiveField) -> float:
    known = np.isfinite(field.reliability)
    return field.reliability / LEAST_RELIABILITY[field.kind] if known else -np.inf


def _nothing(neuron: int, problem: str) -> ReceptiveField:
    nan = float("nan")
    empty = np.zeros(0)
    return ReceptiveField(
        *(neuron, "plain", np.zeros((0, 0)), empty, empty),
        *(nan, nan, (nan, nan), 0.0, problem),
    )


# -- sums over the session -----------------------------------------------------------
class _Sums:
    """Products of stimulus features with later responses, of even and odd blocks.

    A feature of ones and a response of ones go along: their products are the counts
    and sums that centre the others, exactly, whatever is missing.
    """

    def __init__(self, n_neurons: int, kind: Kind) -> None:
        self.kind = kind
        self._bank = MotionBank(grid_places(), cell=4) if kind == "energy" else None
        self._step = _ENERGY_STEP if kind == "energy" else 1
        n_cells = int(np.prod(_CELLS[kind]))
        self.n_features = n_cells * (N_DIRECTIONS if kind == "energy" else 1)
        shape = (2, self.n_features + 1, N_LAGS, n_neurons + 1)
        self.products = np.zeros(shape)
        self.square_response = np.zeros((2, n_neurons))
        size = self.n_features if kind == "plain" else 0
        self.pixel_products = np.zeros((size, size))
        self.square_feature = np.zeros(self.n_features)

    def add(self, block: Block) -> None:
        """Take a block in."""
        if self._bank is not None:
            energies = self._bank.energies(block.frames, self._step)
            # What moves everywhere says nothing about the place.
            energies -= energies.mean(axis=2, keepdims=True)
            features = energies.reshape(len(energies), -1)
            shown = _unbroken(block.shown)[:: self._step]
        else:
            small = coarse(block.frames[block.before :], 2)
            features, shown = small.reshape(block.length, -1), block.shown[TAPS - 1 :]
        known = shown[:, None].astype(np.float32)
        with_ones = np.concatenate([features * known, known], axis=1)
        values = np.nan_to_num(block.responses) * block.recorded[:, None]
        later = _at_lags(values, block.recorded, block.length)[:: self._step]
        half = block.number % 2
        product = with_ones.T @ later.reshape(len(later), -1)
        self.products[half] += product.reshape(self.products[half].shape)
        own = values[: block.length : self._step].astype(np.float64)
        self.square_response[half] += (own**2).sum(axis=0)
        self.square_feature += (with_ones[:, :-1] ** 2).sum(axis=0)
        if len(self.pixel_products):
            self.pixel_products += with_ones[:, :-1].T @ with_ones[:, :-1]

    @property
    def minutes(self) -> float:
        """Of frames with responses to them."""
        pairs = float(self.products[:, -1, 0, -1].sum())
        return pairs * self._step / SCREEN_RATE_HZ / 60

    def correlations(self, halves: slice) -> np.ndarray:
        """Correlation of each feature with each later response, (feature, lag, n)."""
        total = self.products[halves].sum(axis=0)
        count = np.maximum(total[-1, :, -1], 1.0)
        mean_feature = total[:-1, :, -1:] / count[:, None]
        mean_response = total[-1:, :, :-1] / count[:, None]
        covariance = total[:-1, :, :-1] / count[:, None] - mean_feature * mean_response
        whole = self.products.sum(axis=0)
        n = max(whole[-1, 0, -1], 1.0)
        power = self.square_feature / n - (whole[:-1, 0, -1] / n) ** 2
        n_half = np.maximum(self.products[halves, -1, 0, -1].sum(), 1.0)
        spread = self.square_response[halves].sum(axis=0) / n_half
        spread = spread - mean_response[0, 0] ** 2
        scale = np.sqrt(np.maximum(power, 1e-12))[:, None, None]
        found: np.ndarray = covariance / scale
        found /= np.sqrt(np.maximum(spread, 1e-12))
        return found

    def pixel_correlation(self) -> np.ndarray:
        """Of the video with itself, (feature, feature)."""
        whole = self.products.sum(axis=0)
        n = max(whole[-1, 0, -1], 1.0)
        mean = whole[:-1, 0, -1] / n
        covariance = self.pixel_products / n - np.outer(mean, mean)
        sd = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
        together: np.ndarray = covariance / np.outer(sd, sd)
        return together


def _unbroken(shown: np.ndarray) -> np.ndarray:
    """Frames before which as many are known as the filters reach back."""
    reach = np.convolve(shown.astype(int), np.ones(TAPS, int), mode="valid")
    unbroken: np.ndarray = reach == TAPS
    return unbroken


def _at_lags(values: np.ndarray, recorded: np.ndarray, length: int) -> np.ndarray:
    """(time, lag, neuron + 1): the responses after each frame, and ones."""
    ones = recorded[:, None].astype(np.float32)
    padded = np.concatenate([values.astype(np.float32), ones], axis=1)
    lagged = [padded[lag : lag + length] for lag in range(N_LAGS)]
    return np.stack(lagged, axis=1)


# -- from sums to fields -------------------------------------------------------------
def _fields(
    neurons: np.ndarray, sums: _Sums, ridge: float | None
) -> list[ReceptiveField]:
    """One field per neuron, of one kind."""
    parts = [sums.correlations(halves) for halves in _HALVES]
    if ridge is not None:
        together = sums.pixel_correlation()
        inverse = np.linalg.inv(together + ridge * np.eye(len(together)))
        parts = [np.tensordot(inverse, part, 1) for part in parts]
    return [
        _field(int(neuron), [part[:, :, i] for part in parts], sums.kind, sums.minutes)
        for i, neuron in enumerate(neurons)
    ]


def _field(
    neuron: int, averages: list[np.ndarray], kind: Kind, minutes: float
) -> ReceptiveField:
    """From averages (feature, lag) of all blocks, and of the even and the odd ones."""
    if minutes * 60 < LEAST_S:
        words = f"Too little video with responses: {minutes * 60:.0f} s"
        return _nothing(neuron, f"{words}, {LEAST_S:.0f} s are needed.")
    maps = _maps(averages[0], kind)
    best = int(np.abs(maps).max(axis=(1, 2)).argmax())
    reliability = _correlation(averages[1][:, best], averages[2][:, best])
    row, column = np.unravel_index(np.abs(maps[best]).argmax(), maps[best].shape)
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


def _problem(reliability: float, kind: Kind, minutes: float) -> str:
    least = LEAST_RELIABILITY[kind]
    if not np.isfinite(reliability):
        return "The neuron's responses or the video never change."
    if reliability >= least:
        return ""
    return (
        f"No receptive field found in {minutes:.0f} min of video: its two halves agree "
        f"by r = {reliability:.2f}, {least:.2f} is needed."
    )


def _maps(averages: np.ndarray, kind: Kind) -> np.ndarray:
    """(lag, row, column), lightly smoothed."""
    by_place = averages.T
    if kind == "energy":
        by_direction = by_place.reshape(N_LAGS, N_DIRECTIONS, -1)
        by_place = np.sqrt((np.maximum(by_direction, 0.0) ** 2).sum(axis=1))
        by_place = by_place - np.median(by_place, axis=1, keepdims=True)
    return _smooth(by_place.reshape(N_LAGS, *_CELLS[kind]))


def _smooth(maps: np.ndarray) -> np.ndarray:
    """Binomial smoothing of the last two axes, edges repeated."""
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


def _centre(best_map: np.ndarray, kind: Kind) -> tuple[float, float]:
    """Middle of the strongest part of a map, in pixels of the 36 × 64 frame."""
    power = _smooth(best_map**2 if kind == "plain" else np.maximum(best_map, 0.0))
    share = power / max(float(power.max()), 1e-30)
    weight = np.where(share > _PEAK_SHARE[kind], share, 0.0)
    size = 36 / best_map.shape[0]
    rows, columns = np.indices(best_map.shape)
    total = max(float(weight.sum()), 1e-30)
    y = float((weight * rows).sum() / total + 0.5) * size - 0.5
    x = float((weight * columns).sum() / total + 0.5) * size - 0.5
    return y, x
