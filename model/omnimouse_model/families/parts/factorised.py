"""Factorised 3-D core and Gaussian readout of the Sensorium-2023 models, and their training.

    video -> per layer: spatial convolution -> temporal convolution -> batch norm -> ELU
    maps  -> value of each neuron's place -> its feature weights

Axes: B clips, C channels, T frames, H x W pixels, N neurons, R = B * T rows.

Source: Sensorium 2023 (Turishcheva et al.) and its public code; module and parameter
names are the public ones, so that published weights load strictly.

The module is long because the start values of a core and its training follow its layers.
"""

import math
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.parts.clips import (
    FRAME_SIZE,
    RATE_HZ,
    Batch,
    ClipNetwork,
    ClipTrainConfig,
    ClipTraining,
    Inputs,
)
from omnimouse_model.families.parts.motion_energy import receptive_field_centers
from omnimouse_model.predict.checkpoint_file import Size, Sizes
from omnimouse_model.storage.trees import Within
from omnimouse_model.training.config import ADDED, Count
from omnimouse_model.training.loop import SUMMARY, seeded
from omnimouse_model.training.sessions import TrainingSession, key_number

_FUNCTIONS = {"elu": nn.ELU, "relu": nn.ReLU, "softplus": nn.Softplus}
_SIGMA_SHAPES = {"full": (2, 2), "uncorrelated": (1, 2), "isotropic": (1, 1)}


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Sizes of the core; the defaults are the published ones.

    Attributes
    ----------
    channels
        Of the input: 1 for video alone, 3 with pupil size and running.
    widths, spatial, temporal
        Width, spatial kernel (height, width) and temporal kernel of each layer.
    stride, is_padded
        Of the spatial convolutions.
    smooth_space, smooth_time
        Weights of the penalties on rough kernels of the first layer.
    momentum
        Of the batch norms.
    """

    channels: Size = 3
    widths: Sizes = (32, 64, 128)
    spatial: tuple[tuple[Size, Size], ...] = ((11, 11), (5, 5), (5, 5))
    temporal: Sizes = (11, 5, 5)
    stride: Size = 1
    is_padded: bool = False
    has_bias: bool = True
    has_norm: bool = True
    nonlinearity: Literal["elu", "relu", "softplus"] = "elu"
    smooth_space: float = 10.0
    smooth_time: float = 0.01
    momentum: float = 0.7

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.spatial) == len(self.temporal) > 0:
            raise ValueError(
                f"widths, spatial and temporal have {len(self.widths)}, {len(self.spatial)} and "
                f"{len(self.temporal)} entries; expected one per layer."
            )

    @property
    def lost_frames(self) -> int:
        """Number of first frames that have no output."""
        return sum(k - 1 for k in self.temporal)


@dataclass(frozen=True, slots=True)
class PlacesConfig:
    """How the place that a neuron reads follows from its cortical coordinates.

    Attributes
    ----------
    coordinates
        Number of cortical coordinates.
    n_hidden, hidden
        Number and width of hidden layers.
    is_bounded
        Whether a tanh keeps places within the map.
    """

    coordinates: Size = 2
    n_hidden: Annotated[int, Within(0, 64)] = 1
    hidden: Size = 30
    is_bounded: bool = True


@dataclass(frozen=True, slots=True)
class ReadoutConfig:
    """Choices of the Gaussian readout; the defaults are the published ones.

    Attributes
    ----------
    places
        Network from cortical coordinates to places; None for one free place per neuron.
    spread
        Shape of the Gaussian from which places are drawn in training: "full",
        "uncorrelated" or "isotropic".
    first_place, first_spread
        Range of first places, and first standard deviation.
    penalty
        Weight of the sum of absolute feature weights.
    """

    places: PlacesConfig | None = PlacesConfig()
    spread: Literal["full", "uncorrelated", "isotropic"] = "full"
    has_bias: bool = True
    first_place: float = 0.2
    first_spread: float = 1.0
    penalty: float = 0.0


# -- core ------------------------------------------------------------------------------
class _Laplace(nn.Module):
    """Constant filter, stored because the public files have it."""

    filter: Tensor

    def __init__(self, values: list[list[float]] | list[float]) -> None:
        super().__init__()
        self.register_buffer("filter", torch.tensor(values)[None, None])


class _Roughness(nn.Module):
    """Sum of squares of the filtered kernels, divided by that of the kernels."""

    def __init__(self, values: list[list[float]] | list[float]) -> None:
        super().__init__()
        self.laplace = _Laplace(values)

    def forward(self, weight: Tensor) -> Tensor:
        kernels = weight.flatten(0, 1)[:, None]
        convolve = F.conv2d if kernels.ndim == 4 else F.conv1d
        rough = convolve(kernels, self.laplace.filter, padding=1)
        return rough.square().sum() / kernels.square().sum()


class _SpaceConv(nn.Conv3d):
    """Convolution of each frame, several times as fast as that of three axes on a CPU."""

    def forward(self, video: Tensor) -> Tensor:
        """Return maps (B, C, T, h, w)."""
        frames = video.transpose(1, 2)
        pad, stride = self.padding[1:], self.stride[1:]
        weight = self.weight[:, :, 0]
        maps: Tensor = F.conv2d(frames.flatten(0, 1), weight, self.bias, stride, pad)
        shown: Tensor = maps.unflatten(0, frames.shape[:2])
        return shown.transpose(1, 2)


class _TimeConv(nn.Conv3d):
    """Convolution of each pixel along time."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, T', h, w)."""
        found = F.conv2d(maps.flatten(3), self.weight[..., 0], self.bias)
        return found.unflatten(3, maps.shape[3:])


class FactorisedCore(nn.Module):
    """Maps of video: convolutions in space, then in time."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.config = config
        self._input_weight_regularizer = _Roughness(
            [[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]]
        )
        # The public filter along time has a 4, too, and so it penalises offsets.
        self.temporal_regularizer = _Roughness([-1.0, 4.0, -1.0])
        self.features = nn.Sequential()
        inputs = config.channels
        for n, (width, space, time) in enumerate(
            zip(config.widths, config.spatial, config.temporal, strict=True)
        ):
            end = f"_{n}" if n else ""
            pad = (0, space[0] // 2, space[1] // 2) if config.is_padded else 0
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            parts[f"conv_spatial{end}"] = _SpaceConv(
                inputs,
                width,
                (1, *space),
                stride=(1, config.stride, config.stride),
                padding=pad,
                bias=config.has_bias,
            )
            parts[f"conv_temporal{end}"] = _TimeConv(
                width, width, (time, 1, 1), bias=config.has_bias
            )
            if config.has_norm:
                parts["norm"] = nn.BatchNorm3d(width, momentum=config.momentum)
            parts["nonlin"] = _FUNCTIONS[config.nonlinearity]()
            self.features.add_module(f"layer{n}", nn.Sequential(parts))
            inputs = width
        for part in self.modules():
            if isinstance(part, nn.Conv3d) and not part.weight.is_meta:
                nn.init.xavier_normal_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Return maps (B, width, T - lost, h, w) of input (B, C, T, H, W)."""
        return self.features(video)

    def penalties(self) -> tuple[Tensor, Tensor]:
        """Return the weighted penalties on the first layer's kernels, space and time."""
        spatial = self.get_parameter("features.layer0.conv_spatial.weight")
        temporal = self.get_parameter("features.layer0.conv_temporal.weight")
        space = self._input_weight_regularizer(spatial[:, :, 0])
        time = self.temporal_regularizer(temporal[:, :, :, 0, 0])
        return self.config.smooth_space * space, self.config.smooth_time * time


# -- readout ---------------------------------------------------------------------------
def source_grid(coordinates: Tensor) -> Tensor:
    """Return cortical coordinates, centred, in units of the largest absolute value."""
    centred = coordinates - coordinates.mean(0)
    return centred / centred.abs().max()


class GaussianReadout(nn.Module):
    """Feature weights of each neuron at its place of the maps.

    Parameters
    ----------
    width, n_neurons, n_outputs
        Width of the maps, number of neurons, and values per neuron.
    coordinates
        (N, D) result of `source_grid`; zeros until weights are loaded.
    """

    source_grid: Tensor

    def __init__(
        self,
        config: ReadoutConfig,
        width: int,
        n_neurons: int,
        n_outputs: int = 1,
        coordinates: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        first = 1 / width
        self._features = nn.Parameter(torch.full((1, width, n_outputs, n_neurons), first))
        shape = (1, n_neurons, *_SIGMA_SHAPES[config.spread])
        spread = torch.empty(shape).uniform_(-config.first_spread, config.first_spread)
        if config.spread != "full":
            spread = torch.full(shape, config.first_spread)
        self.sigma = nn.Parameter(spread)
        if config.has_bias:
            self.bias = nn.Parameter(torch.zeros(n_neurons))
        if config.places is None:
            place = torch.empty(1, n_neurons, 1, 2)
            self._mu = nn.Parameter(place.uniform_(-config.first_place, config.first_place))
            return
        places = config.places
        grid = torch.zeros(n_neurons, places.coordinates) if coordinates is None else coordinates
        self.register_buffer("source_grid", grid[:, : places.coordinates].float())
        widths = [places.coordinates, *[places.hidden] * places.n_hidden, 2]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ELU()]
        layers[-1] = nn.Tanh() if places.is_bounded else nn.Identity()
        self.mu_transform = nn.Sequential(*layers)

    def places(self) -> Tensor:
        """Return the mean place (N, 2) of each neuron: x and y, −1 to 1."""
        if self.config.places is None:
            return self._mu[0, :, 0].clamp(-1, 1)
        return self.mu_transform(self.source_grid)

    def draw_places(self, noise: Tensor) -> Tensor:
        """Return drawn places (R, N, 2); `noise` (R, N, 2) is standard normal."""
        if self.config.spread == "full":
            offset = torch.einsum("ncd,rnd->rnc", self.sigma[0], noise)
        else:
            offset = noise * self.sigma[0, :, 0]
        return self.places() + offset

    def features_at(
        self,
        maps: Tensor,
        *,
        noise: Tensor | None = None,
        shift: Tensor | None = None,
        neurons: Tensor | None = None,
    ) -> Tensor:
        """Return the maps' values (R, width, n) at the places of neurons.

        Parameters
        ----------
        maps
            (R, width, h, w).
        noise
            Standard normal (R, N, 2) for drawn places; None for mean places.
        shift
            (R, 2), added to the places. The sum may lie outside of the map, where
            values are 0.
        neurons
            Those to read; None for all.
        """
        places = self.places()[None] if noise is None else self.draw_places(noise)
        places = places.clamp(-1, 1)
        if neurons is not None:
            places = places[:, neurons]
        if shift is not None:
            places = places + shift[:, None]
        grid = places.expand(len(maps), -1, -1)[:, :, None]
        return F.grid_sample(maps, grid, align_corners=True)[..., 0]

    def forward(self, maps: Tensor, **places: Tensor | None) -> Tensor:
        """Return one value (R, n) per row and neuron; see `features_at`."""
        neurons = places.get("neurons")
        weights, bias = self._features[0, :, 0], getattr(self, "bias", None)
        if neurons is not None:
            weights = weights[:, neurons]
            bias = None if bias is None else bias[neurons]
        values = (self.features_at(maps, **places) * weights).sum(1)
        return values if bias is None else values + bias

    def penalty(self) -> Tensor:
        """Return the weighted sum of absolute feature weights."""
        return self.config.penalty * self._features.abs().sum()


# -- parts of sessions -----------------------------------------------------------------
def module_key(session: str) -> str:
    """Return the name of a session's part in a `ModuleDict`, which allows no dots."""
    return session.replace("%", "%25").replace(".", "%2E")


def by_session(parts: Mapping[str, nn.Module] | Iterable[tuple[str, nn.Module]]) -> nn.ModuleDict:
    """Return the parts of sessions under their names."""
    return nn.ModuleDict({module_key(name): part for name, part in dict(parts).items()})


def rows_of(maps: Tensor) -> Tensor:
    """Return maps (B, C, T, h, w) as one row per clip and frame (B * T, C, h, w)."""
    return maps.transpose(1, 2).flatten(0, 1)


def inverse_elu(rates: Tensor) -> Tensor:
    """Return the values whose ELU + 1 is a rate."""
    rates = rates.clamp(min=1e-3)
    return torch.where(rates > 1, rates - 1, rates.log())


# -- networks on the core --------------------------------------------------------------
class OnCore:
    """What configs of networks on the core have in common."""

    __slots__ = ()
    core: CoreConfig

    @property
    def layers(self) -> str:
        """What `omnimouse info` says of the network."""
        return f"{len(self.core.widths)} layers of {', '.join(map(str, self.core.widths))} channels"

    def valid(self, usable: np.ndarray) -> np.ndarray:
        """Return which outputs (T',) have their frame and those before, of usable frames (T,)."""
        return np.asarray(sliding_window_view(usable, self.core.lost_frames + 1).all(-1))


class CoreNetwork(ClipNetwork):
    """A network of several sessions that share a core, and have readouts of their own."""

    core: FactorisedCore
    readout: nn.ModuleDict

    def readout_of(self, session: str) -> Any:
        """Return the readout of a session."""
        return self.readout[module_key(session)]

    def penalty(self, session: str) -> Tensor:
        """Return the sum of all penalties that a session's batch adds to its loss."""
        space, time = self.core.penalties()
        return space + time + self.readout_of(session).penalty()


# -- start values of a factorised core and its readouts from the train tier of a recording
# With minutes of recording and of training, a core with random weights learns little more
# than the behaviour. Here its first layer begins as the filters of motion energy, its second
# as their energies, smoothed as calcium would be, and again with the other sign, because
# responses saturate with contrast; the readouts are ridge regressions of the responses on
# these features, at the receptive fields.
_WAVELENGTHS_PX = (12.0, 20.0)
_SPEED_HZ = 2.5
_ORIENTATIONS, _DIRECTIONS, _PHASES = 4, (1, -1), 3
_N_ENERGIES = len(_WAVELENGTHS_PX) * _ORIENTATIONS * len(_DIRECTIONS)
_GAIN = 0.3
_CALCIUM_S = 0.18
_PLACE_STEPS, _PLACE_LR, _EDGE = 500, 1e-2, 0.95
_ROWS = 4
"""Every so many frames are used for the readouts."""
_PENALTY = 1.0


def check_core(config: CoreConfig) -> None:
    """Raise `ValueError` if a core has not two layers that hold the start values."""
    of_behavior = 2 * (config.channels - 1)
    least = (_N_ENERGIES * _PHASES + of_behavior, _N_ENERGIES + 2 * of_behavior)
    is_wide = len(config.widths) == 2 and config.widths[0] >= least[0]
    if not (is_wide and config.widths[1] >= least[1]) or config.has_norm or not config.has_bias:
        raise ValueError(
            f"start: motion-energy needs a core with biases and without norms, and two layers of "
            f"at least {least[0]} and {least[1]} units; core is {config}"
        )


@torch.no_grad()
def start_filters(core: FactorisedCore) -> None:
    """Set the weights of a core that passes `check_core`.

    The last units of the first layer are the channels of behaviour, with both signs,
    because the nonlinearity cuts one; the second has them twice, the second time as the
    mean over its taps. Its units that are left have the energies with the other sign, and
    then mix all filters.
    """
    (space, time, *_), (space_2, time_2, *_) = _layers(core)
    for part in (space, time, space_2, time_2):
        _bias(part).zero_()
        part.weight.zero_()
    behavior = 2 * (space.in_channels - 1)
    width, n_filters = space.out_channels, _N_ENERGIES * _PHASES
    for unit, image in enumerate(_gabors(*space.kernel_size[1:])):
        space.weight[unit, 0, 0] = _GAIN * torch.from_numpy(image)
    for unit, (pair, kernels) in enumerate(_phases(time.kernel_size[0])):
        for half, kernel in enumerate(kernels):
            time.weight[unit, 2 * pair + half, :, 0, 0] = torch.from_numpy(kernel)
    for number in range(behavior):
        unit, channel = width - behavior + number, 1 + number % max(behavior // 2, 1)
        sign = 1.0 if number < behavior // 2 else -1.0
        space.weight[unit, channel] = sign / np.prod(space.kernel_size)
        time.weight[unit, unit, -1] = 1.0
    energies = torch.eye(_N_ENERGIES).repeat_interleave(_PHASES, 1)
    used = _N_ENERGIES + 2 * behavior
    middle = tuple(size // 2 for size in space_2.kernel_size)
    mixed = torch.randn(space_2.out_channels - used, n_filters) / n_filters**0.5
    taps = space_2.weight[:, :, *middle]
    taps[:_N_ENERGIES, :n_filters] = energies
    taps[_N_ENERGIES:used, width - behavior :] = torch.eye(behavior).repeat(2, 1)
    taps[used:, :n_filters] = torch.cat([-energies, mixed])[: len(taps) - used]
    lags_s = torch.arange(time_2.kernel_size[0]).flip(0) / RATE_HZ
    decay = (-lags_s / _CALCIUM_S).exp()
    units = torch.arange(time_2.out_channels)
    time_2.weight[units, units, :, 0, 0] = decay / decay.sum()
    slow = units[used - behavior : used]
    time_2.weight[slow, slow, :, 0, 0] = 1 / len(lags_s)


def _layers(core: FactorisedCore) -> list[list[Any]]:
    """Return the parts of each layer: convolutions in space and time, then the rest."""
    return [[*layer.children()] for layer in core.features.children()]


def _bias(part: nn.Module) -> Tensor:
    bias = part.bias
    assert isinstance(bias, Tensor)
    return bias


def _gabors(height: int, width: int) -> list[np.ndarray]:
    """Return pairs of even and odd filters, first of the first wavelength."""
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    images = []
    for wavelength in _WAVELENGTHS_PX:
        envelope = np.exp(-0.5 * (x**2 + y**2) / (0.42 * wavelength) ** 2)
        for angle in np.arange(_ORIENTATIONS) * np.pi / _ORIENTATIONS:
            along = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength
            for wave in (np.cos(along), np.sin(along)):
                image = envelope * wave
                # Blind to uniform light.
                image -= envelope * image.sum() / envelope.sum()
                images.append((image / np.sqrt((image**2).sum())).astype(np.float32))
    return images


def _phases(n_frames: int) -> list[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Return, for each unit, its pair of filters and their kernels in time.

    Units of one pair and direction have phases of 0, 120 and 240 degrees of one motion:
    the sum of their positive parts is about its energy.
    """
    lags_s = np.arange(n_frames)[::-1] / RATE_HZ
    envelope = (lags_s / 0.06) ** 2 * np.exp(-lags_s / 0.045)
    phase = 2 * np.pi * _SPEED_HZ * (lags_s - 0.09)
    slow, fast = (
        kernel - envelope * kernel.sum() / envelope.sum()
        for kernel in (envelope * np.cos(phase), envelope * np.sin(phase))
    )
    size = np.sqrt((slow**2 + fast**2).sum() / 2)
    units = []
    for pair in range(len(_WAVELENGTHS_PX) * _ORIENTATIONS):
        for direction in _DIRECTIONS:
            for angle in np.arange(_PHASES) * 2 * np.pi / _PHASES:
                even = np.cos(angle) * slow + direction * np.sin(angle) * fast
                odd = np.sin(angle) * slow - direction * np.cos(angle) * fast
                kernels = tuple((part / size).astype(np.float32) for part in (even, odd))
                units.append((pair, (kernels[0], kernels[1])))
    return units


@torch.no_grad()
def start_scales(core: FactorisedCore, clips: list[Tensor]) -> None:
    """Scale the units of each layer to mean 0 and variance 1 over clips (B, C, T, H, W).

    Batch norms would take the mean of a few clips from the behaviour, which is slow.
    """
    for space, time, *rest in _layers(core):
        found = [time(space(clip)) for clip in clips]
        rows = torch.cat([one.transpose(0, 1).flatten(1) for one in found], 1)
        spread = rows.std(1)
        # A recording may lack a channel.
        spread = torch.where(spread > 1e-6, spread, 1.0)
        time.weight /= spread[:, None, None, None, None]
        bias = _bias(time)
        bias.copy_((bias - rows.mean(1)) / spread)
        for part in (space, time, *rest):
            clips = [part(clip) for clip in clips]


def start_places(readout: GaussianReadout, centers: np.ndarray, core: FactorisedCore) -> None:
    """Fit the places that neurons read to centers (N, 2): x and y on the screen, 0 to 1."""
    config = core.config
    kernels = np.array(config.spatial)
    reach = (kernels - 1) * config.stride ** np.arange(len(kernels))[:, None]
    # The middle of what the first and the last place of a map see.
    offset = np.zeros(2) if config.is_padded else reach.sum(0) / 2
    step, size = config.stride ** len(kernels), np.array(FRAME_SIZE)
    count = size
    for kernel in kernels:
        lost = 2 * (kernel // 2) * config.is_padded - kernel + 1
        count = (count + lost - 1) // config.stride + 1
    pixels = centers[:, ::-1] * size - 0.5
    found = 2 * (pixels - offset) / (step * np.maximum(count - 1, 1)) - 1
    wanted = torch.from_numpy(found[:, ::-1].clip(-_EDGE, _EDGE).copy()).float()
    wanted = wanted.to(readout._features.device)
    if readout.config.places is None:
        with torch.no_grad():
            readout._mu[0, :, 0] = wanted
        return
    optimiser = torch.optim.Adam(readout.mu_transform.parameters(), _PLACE_LR)
    for _ in range(_PLACE_STEPS):
        optimiser.zero_grad()
        (readout.places() - wanted).square().mean().backward()
        optimiser.step()
    optimiser.zero_grad()


@torch.no_grad()
def start_readout(readout: GaussianReadout, chunks: list[tuple[Tensor, Tensor]]) -> None:
    """Fit the weights of each neuron by ridge regression, in front of an ELU + 1.

    Parameters
    ----------
    chunks
        Maps (B, width, T', h, w) and responses (B, T', N), NaN where missing.
    """
    weight, mean_x, mean_y = neuron_weights([features_of(readout, *chunk) for chunk in chunks])
    # Below 1, a rate is an exponential: its slope is the rate.
    weight = weight / mean_y.clamp(0.1, 1.0)[:, None]
    readout._features[0, :, 0] = weight.T
    readout.bias.copy_(inverse_elu(mean_y) - (weight * mean_x).sum(1))


def features_of(readout: GaussianReadout, maps: Tensor, responses: Tensor) -> tuple[Tensor, Tensor]:
    """Return features (R, width, N) at the places of neurons, and their responses (R, N)."""
    found = readout.features_at(rows_of(maps[:, :, ::_ROWS]))
    return found, responses[:, ::_ROWS].flatten(0, 1)


def neuron_weights(
    chunks: list[tuple[Tensor, Tensor]], *, has_bias: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ridge weights (N, width), and the means of inputs and outputs, of each neuron.

    Parameters
    ----------
    chunks
        Inputs (R, width, N) and outputs (R, N), NaN where they are not used.
    has_bias
        Whether means are free; else the weights alone explain them.
    """
    products: list[Tensor] = []
    for inputs, outputs in chunks:
        known = outputs.isfinite().to(inputs.dtype)
        x, y = inputs * known[:, None], outputs.nan_to_num() * known
        one = [
            *(known.sum(0), x.sum(0), y.sum(0)),
            *(torch.einsum("rwn,rvn->nwv", x, x), torch.einsum("rwn,rn->nw", x, y)),
        ]
        products = [a + b for a, b in zip(products, one, strict=True)] if products else one
    count, x, y, xx, xy = products
    count = count.clamp(min=1)
    mean_x, mean_y = (x / count).T, y / count
    xx, xy = xx / count[:, None, None], xy / count[:, None]
    outer = mean_x[:, :, None] * mean_x[:, None]
    variance = (xx - outer).diagonal(dim1=1, dim2=2)
    if has_bias:
        xx, xy = xx - outer, xy - mean_x * mean_y[:, None]
    penalty = _PENALTY * variance.mean(1, keepdim=True) + 1e-6
    weight = torch.linalg.solve(xx + torch.diag_embed(penalty.expand_as(variance)), xy)
    return weight, mean_x, mean_y


# -- training on the core --------------------------------------------------------------
# A step has one batch of each session; their gradients are summed. The learning rate falls
# when the validation score has not risen for some validations, and then the best weights so
# far are restored. A family adds its loss.
@dataclass(frozen=True, slots=True, kw_only=True)
class CoreTrainConfig(ClipTrainConfig):
    """Settings of a training on the factorised core: `clips` of each session per step.

    The defaults are those of the public Sensorium-2023 baseline.

    Attributes
    ----------
    model
        Sizes of the network, as of `OnCore`.
    frames
        Frames of a clip at 30 Hz.
    lr_factor, lr_patience
        Reduction of the learning rate after so many validations without a better score.
    start
        First values: "random" ones, or those of a "motion-energy" model (`start_filters`).
    """

    model: Any
    frames: Count = 80
    lr_factor: float = 0.3
    lr_patience: Count = 5
    start: Literal["random", "motion-energy"] = field(default="random", metadata=ADDED)

    def __post_init__(self) -> None:
        lost_frames = self.model.core.lost_frames
        if self.frames <= lost_frames:
            raise ValueError(
                f"frames must be more than the {lost_frames} that the core takes, "
                f"found {self.frames}"
            )
        if self.start == "motion-energy":
            check_core(self.model.core)


START_CLIPS, _EVERY = 200, 5
"""Train clips of a session that start values are fitted to; scales, to every fifth."""


class CoreTraining(ClipTraining):
    """A training on the factorised core; a family adds its config, `start` and `loss`.

    Attributes
    ----------
    best_net
        Weights of the best score.
    decays, flat
        How often the learning rate has fallen, and validations without a better score
        since then.
    """

    parts: ClassVar[tuple[str, ...]] = (*ClipTraining.parts, "best_net", "decays", "flat")
    best_net: dict[str, Tensor] | None = None
    decays = flat = 0

    @classmethod
    def network(cls, config: Any, sessions: Sequence[TrainingSession]) -> Any:
        """Return the network, with places from the cortex where all are known.

        Where a recording does not state them, the places that neurons read are free.
        """
        readout, grids = config.model.readout, {}
        if readout.places is not None:
            n = readout.places.coordinates
            xyz = {
                s.key: torch.from_numpy(np.asarray(s.session.units.xyz_um[:, :n], np.float32))
                for s in sessions
            }
            if all(bool(one.isfinite().all()) and float(one.std()) > 0 for one in xyz.values()):
                grids = {key: source_grid(one) for key, one in xyz.items()}
            else:
                readout = replace(readout, places=None)
        n_neurons = {s.key: s.session.n_neurons for s in sessions}
        return cls.checkpoint.network(replace(config.model, readout=readout), n_neurons, grids)

    @torch.no_grad()
    def start_core(self) -> dict[str, list[tuple[Tensor, Tensor]]]:
        """Start at motion energy; return maps and responses of some train clips by session."""
        core = self.net.core
        with seeded(self.settings.seed):
            start_filters(core)
        some = [video for key in self.by_key for video, _ in self._start_clips(key, _EVERY)]
        start_scales(core, some)
        chunks = {}
        for key, source in self.by_key.items():
            centers = receptive_field_centers(source, self.settings.targets)
            with torch.enable_grad():
                start_places(self.net.readout_of(key), centers, core)
            found = ((core(video), responses) for video, responses in self._start_clips(key))
            chunks[key] = [(maps, values[:, -maps.shape[2] :]) for maps, values in found]
        return chunks

    def _start_clips(self, key: str, every: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield video and responses of clips of a session, one by one."""
        starts = spread_starts(self.starts[key], START_CLIPS)[::every]
        for start in starts:
            clip = self.clips(self.by_key[key], np.array([start]))
            inputs = clip.inputs.to(self.device)
            yield inputs.video(self.net.core.config.channels), clip.responses.to(self.device)

    @abstractmethod
    def loss(self, batch: Batch, inputs: Inputs) -> tuple[Tensor, float]:
        """Return the loss of a batch, and the number of responses over which it is a sum."""

    def draw(self, number: int) -> list[Batch]:
        """Draw clips of each session, from generators of the step's number."""
        batches = []
        for key, source in self.by_key.items():
            rng = np.random.default_rng([self.settings.seed, key_number(key), number])
            starts = rng.choice(self.starts[key], self.settings.clips)
            batches.append(self.clips(source, starts))
        return batches

    def backward(self, drawn: list[Batch]) -> tuple[float, int]:
        """Add the gradients of one batch of each session."""
        losses = [self._backward(batch) for batch in drawn]
        return float(np.mean(losses)), sum(len(batch.responses) for batch in drawn)

    def _backward(self, batch: Batch) -> float:
        """Add the gradients of a batch, and return the loss per response."""
        fit, n_responses = self.loss(batch, batch.inputs.to(self.device))
        # As in the public code: the weight of a batch follows the size of the data.
        scale = math.sqrt(self._n_clips(batch.session) / len(batch.responses))
        (fit * scale + self.net.penalty(batch.session)).backward()
        return float(fit.detach()) / max(n_responses, 1)

    def _n_clips(self, session: str) -> float:
        """Return how many clips without overlap fill the train tier of a session."""
        step_s = self.by_key[session].session.start_grid
        apart = self.spec.duration_s / float(np.median(np.diff(step_s)))
        return max(1.0, len(self.starts[session]) / apart)

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        config = self.settings
        return float(max(config.lr * config.lr_factor**self.decays, config.min_lr))

    def scores(self) -> dict[str, float]:
        """Return the scores; keep the best weights, and lower the rate after flat scores."""
        scores = super().scores()
        if scores.get(SUMMARY, float("-inf")) > self.state.best[0]:
            state = self.result.state_dict()
            self.best_net, self.flat = {k: v.detach().clone() for k, v in state.items()}, 0
        elif self.flat + 1 >= self.settings.lr_patience and self.best_net:
            self.net.load_state_dict(self.best_net)
            self.decays, self.flat = self.decays + 1, 0
        else:
            self.flat += 1
        return scores
