"""Factorised 3-D core and Gaussian readout of the Sensorium-2023 models.

    video -> per layer: spatial convolution -> temporal convolution -> batch norm -> ELU
    maps  -> value of each neuron's place -> its feature weights

Axes: B clips, C channels, T frames, H x W pixels, N neurons, R = B * T rows.

Source: Sensorium 2023 (Turishcheva et al.) and its public code; module and parameter
names are the public ones, so that published weights load strictly.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from omnimouse_model.families.parts.clip_models import ClipNetwork
from omnimouse_model.predict.checkpoint_file import Size, Sizes
from omnimouse_model.storage.trees import Within

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
        shown: Tensor = found.unflatten(3, maps.shape[3:])
        return shown


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
        maps: Tensor = self.features(video)
        return maps

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
        place: Tensor = self.mu_transform(self.source_grid)
        return place

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
        penalty: Tensor = space + time + self.readout_of(session).penalty()
        return penalty
