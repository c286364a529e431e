"""DwiseNeuro: its network, from stacked frames to rates, and its training.

    video, behaviour, pupil center -> channels of one image per frame
    channels -> stem -> [position code -> inverted residual] * n -> maps
    maps -> mean over the image -> cortex of grouped layers -> readout of each mouse

Axes: B clips, C channels, T frames, H x W pixels, N neurons, M mice.

Source: the public code of the winning solution; module names are the public ones.

The module is long because it is read from the frames to the trained weights.
"""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.families.parts.clips import (
    FRAME_SIZE,
    N_STATE,
    ClipCheckpoint,
    ClipNetwork,
    ClipTrainConfig,
    ClipTraining,
    Inputs,
    clip_spec,
    poisson_sum,
)
from omnimouse_model.predict.checkpoint_file import Size, Sizes
from omnimouse_model.progress import Cancelled, never, stop_if
from omnimouse_model.storage.trees import Within
from omnimouse_model.training.config import Count
from omnimouse_model.training.sessions import key_number

_MAX_PERIOD = 10_000.0
_AT_ONCE, _MOST_VALUES = 8, 2**25
"""Windows that are computed at once, and the limit of the values of their largest layer."""


@dataclass(frozen=True, slots=True)
class Sliding:
    """How windows of frames slide over a trial.

    Attributes
    ----------
    n_frames, step
        Frames of a window, and their distance.
    blend
        "ones": all frames of a window weigh the same; "linear": from 0 to 1.
    hop
        Frames between the starts of windows: 1 in the public code. More is faster.
    """

    n_frames: Annotated[int, Within(1, 1000)] = 16
    step: Annotated[int, Within(1, 1000)] = 2
    blend: Literal["ones", "linear"] = "ones"
    hop: Annotated[int, Within(1, 1000)] = 1

    @property
    def span(self) -> int:
        """Number of frames from the first to the last of a window."""
        return (self.n_frames - 1) * self.step + 1

    def windows(self, n_frames: int) -> Tensor:
        """Return the numbers of the frames that each window reads, int64 (windows, n)."""
        last = n_frames - self.span
        starts = torch.arange(max(0, last + 1))
        # The last ones, so that every frame of the end is in a window.
        starts = starts[((last - starts) % self.hop == 0) | (starts > last - self.step)]
        return starts[:, None] + torch.arange(self.n_frames) * self.step

    def average(
        self, rates: Tensor, n_frames: int, used: Tensor | None = None, *, is_public: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted average over windows, and the weight of each frame.

        Parameters
        ----------
        rates
            (windows, N, n) of all windows of a trial.
        used
            bool (windows,): False for windows that are left out.
        is_public
            As in the public code, which divides by the weights without weighting
            (the same for "ones" only), and gives 0 where there is no prediction.

        Returns
        -------
        (N, T), NaN for frames without weight, and (T,).
        """
        frames = self.windows(n_frames).to(rates.device)
        weights = torch.ones(frames.shape, device=rates.device)
        if self.blend == "linear":
            weights = weights * torch.linspace(0, 1, self.n_frames, device=rates.device)
        if used is not None:
            weights = weights * used[:, None]
        total = rates.new_zeros(n_frames).index_add_(0, frames.flatten(), weights.flatten())
        flat = (rates if is_public else rates * weights[:, None]).transpose(0, 1).flatten(1)
        added = rates.new_zeros(rates.shape[1], n_frames).index_add_(1, frames.flatten(), flat)
        if is_public:
            return added / total.clamp(min=1), total
        return (added / total).where(total > 0, torch.nan), total


@dataclass(frozen=True, slots=True)
class DwiseConfig:
    """Sizes of the network; the defaults are the published ones (stage 1).

    Attributes
    ----------
    channels
        Of the input: video, two of behaviour, two of the pupil center; 1 for video alone.
    widths, strides
        Input width and spatial stride of each block.
    spatial, temporal
        Sizes of the depth-wise kernels.
    expansion, squeeze
        Factor of the width within a block, and divisor in squeeze and excite.
    cortex, groups
        Widths of the cortex, and groups of its layers and of the readouts.
    softplus
        Beta of the last nonlinearity.
    dropout, path_dropout
        Before the readout, and of whole blocks (deeper ones more).
    size
        Height and width of an image, in which the video is centred on zeros.
    sliding
        Frames of a window, and how windows slide over a trial.
    unit
        Unit of the rates, as a part of a neuron's standard deviation; None for rates in
        the units of the recording, as in the public code.
    """

    channels: Size = 5
    widths: Sizes = (64, 64, 64, 64, 128, 128, 128, 256, 256)
    strides: Sizes = (2, 1, 1, 1, 2, 1, 1, 2, 1)
    spatial: Size = 3
    temporal: Size = 5
    expansion: Size = 7
    squeeze: Size = 32
    cortex: Sizes = (1024, 2048, 4096)
    groups: Size = 2
    softplus: Annotated[float, Within(1e-6, 1e6)] = 0.07
    dropout: float = 0.4
    path_dropout: float = 0.1
    size: tuple[Size, Size] = (64, 64)
    sliding: Sliding = Sliding()
    unit: Annotated[float, Within(1e-9, 1e9)] | None = None

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.strides) or not self.widths:
            raise ValueError(
                f"widths and strides have {len(self.widths)} and {len(self.strides)} entries; "
                "expected one of each per block."
            )
        if self.size[0] < FRAME_SIZE[0] or self.size[1] < FRAME_SIZE[1]:
            raise ValueError(f"size is {self.size}; the video has {FRAME_SIZE}.")

    @property
    def spec(self) -> WindowSpec:
        """Windows that the network reads."""
        # Their samples are in as many sliding windows as those of a long trial.
        return clip_spec(self.sliding.span - 1, reads_behavior=self.channels > 1)

    @property
    def layers(self) -> str:
        """What `omnimouse info` says of the network."""
        return f"{len(self.widths)} blocks of {', '.join(map(str, self.widths))}"

    def valid(self, usable: np.ndarray) -> np.ndarray:
        """Return which samples a window of recorded frames predicts with some weight."""
        frames = self.sliding.windows(len(usable))
        used = torch.from_numpy(usable)[frames].all(1)
        nothing = torch.zeros(len(frames), 0, self.sliding.n_frames)
        _, weights = self.sliding.average(nothing, len(usable), used)
        return np.asarray(weights[self.sliding.span - 1 :] > 0)


class _Norm(nn.Module):
    """Batch norm, and an optional SiLU."""

    def __init__(self, width: int, dims: int, *, acts: bool = True) -> None:
        super().__init__()
        self.bn = nn.BatchNorm3d(width) if dims == 3 else nn.BatchNorm1d(width)
        self.acts = acts

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(x)
        return F.silu(x) if self.acts else x


def _tiled(x: Tensor, width: int) -> Tensor:
    """Return (B, C, ...) with the channels repeated, and cut to a width."""
    times = -(-width // x.shape[1])
    return torch.cat([x] * times, 1)[:, :width] if times > 1 else x[:, :width]


class _PointConv(nn.Conv3d):
    """Convolution of each pixel and frame alone; on a CPU twice as fast as that of three axes."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C', T, H, W)."""
        found = F.conv1d(maps.flatten(2), self.weight[..., 0, 0])
        return found.unflatten(2, maps.shape[2:])


class _SpaceConv(nn.Conv3d):
    """Convolution of each channel and frame, twice as fast."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, T, h, w)."""
        width, n_frames = maps.shape[1:3]
        weight = self.weight[:, :, 0].repeat_interleave(n_frames, 0)
        padding = self.kernel_size[1] // 2, self.kernel_size[2] // 2
        images, groups = maps.flatten(1, 2), width * n_frames
        found = F.conv2d(images, weight, None, self.stride[1:], padding, groups=groups)
        return found.unflatten(1, (width, n_frames))


class _TimeConv(nn.Conv3d):
    """Convolution of each channel and pixel along time, five times as fast."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, T, H, W)."""
        padding, weight = (self.kernel_size[0] // 2, 0), self.weight[..., 0]
        found = F.conv2d(maps.flatten(3), weight, None, 1, padding, groups=self.groups)
        return found.unflatten(3, maps.shape[3:])


class _DropPath(nn.Module):
    """Drops a whole branch of some clips in training."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        kept = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p)


class PositionCode(nn.Module):
    """Sines and cosines of frame, row and column, which are added."""

    inv_freq: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        n = 2 * math.ceil(width / 6)
        n += n % 2
        steps = torch.arange(0, n, 2).float() / n
        self.register_buffer("inv_freq", _MAX_PERIOD**-steps)

    def code(self, shape: Sequence[int]) -> Tensor:
        """Return the code of each place and time of a clip, (C, T, H, W)."""
        parts = []
        for axis, size in enumerate(shape):
            place = torch.arange(size, device=self.inv_freq.device).float()
            angle = place[:, None] * self.inv_freq
            both = torch.cat([angle.sin(), angle.cos()], 1).T
            view = [-1, 1, 1, 1]
            view[axis + 1] = size
            parts.append(both.reshape(view).expand(-1, *shape))
        return torch.cat(parts)[: self.width]

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps (B, C, T, H, W) with the code added."""
        return x + self.code(x.shape[2:])


class _SqueezeExcite(nn.Module):
    """Channels times a gate from their means."""

    def __init__(self, width: int, divisor: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv3d(width, width // divisor, 1)
        self.conv_expand = nn.Conv3d(width // divisor, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.silu(self.conv_reduce(x.mean((2, 3, 4), keepdim=True)))
        return x * torch.sigmoid(self.conv_expand(gate))


class InvertedResidual(nn.Module):
    """Wide depth-wise convolutions in space and time beside a shortcut without weights."""

    def __init__(
        self, config: DwiseConfig, inputs: int, outputs: int, stride: int, path_dropout: float
    ) -> None:
        super().__init__()
        self.outputs, self.stride = outputs, stride
        wide = inputs * config.expansion
        space, time = config.spatial, config.temporal
        self.conv_pw = nn.Sequential(_PointConv(inputs, wide, 1, bias=False), _Norm(wide, 3))
        self.spat_covn_dw = nn.Sequential(
            _SpaceConv(
                wide,
                wide,
                (1, space, space),
                stride=(1, stride, stride),
                padding=(0, space // 2, space // 2),
                groups=wide,
                bias=False,
            ),
            _Norm(wide, 3),
        )
        self.temp_covn_dw = nn.Sequential(
            _TimeConv(wide, wide, (time, 1, 1), padding=(time // 2, 0, 0), groups=wide, bias=False),
            _Norm(wide, 3),
        )
        self.se = _SqueezeExcite(wide, config.squeeze)
        self.conv_pwl = nn.Sequential(
            _PointConv(wide, outputs, 1, bias=False), _Norm(outputs, 3, acts=False)
        )
        self.drop_path = _DropPath(path_dropout)
        self.bn_sc = _Norm(outputs, 3, acts=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (B, outputs, T, h, w) of (B, inputs, T, H, W)."""
        short = x
        if self.stride > 1:
            small = [-(-size // self.stride) for size in x.shape[3:]]
            short = F.interpolate(x, (x.shape[2], *small), mode="nearest")
        wide = self.temp_covn_dw(self.spat_covn_dw(self.conv_pw(x)))
        out: Tensor = self.drop_path(self.conv_pwl(self.se(wide)))
        out += self.bn_sc(_tiled(short, self.outputs))
        return out


class _Core(nn.Module):
    def __init__(self, config: DwiseConfig) -> None:
        super().__init__()
        first, n = config.widths[0], len(config.widths)
        self.stem = nn.Sequential(
            _PointConv(config.channels, first, 1, bias=False), _Norm(first, 3, acts=False)
        )
        blocks: list[nn.Module] = []
        for i, (inputs, stride) in enumerate(zip(config.widths, config.strides, strict=True)):
            outputs = config.widths[min(i + 1, n - 1)]
            drop = config.path_dropout * i / n
            blocks += [
                PositionCode(inputs),
                InvertedResidual(config, inputs, outputs, stride, drop),
            ]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))


class _CortexLayer(nn.Module):
    """Grouped layer over channels, shuffled, beside a shortcut without weights."""

    def __init__(self, inputs: int, outputs: int, groups: int, path_dropout: float) -> None:
        super().__init__()
        self.outputs, self.groups = outputs, groups
        self.conv = nn.Conv1d(inputs, outputs, 1, groups=groups, bias=False)
        self.bn = _Norm(outputs, 1)
        self.drop_path = _DropPath(path_dropout)
        self.bn_sc = _Norm(outputs, 1, acts=False)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.bn(self.conv(x))
        mixed = mixed.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)
        return self.drop_path(mixed) + self.bn_sc(_tiled(x, self.outputs))


class _Cortex(nn.Module):
    def __init__(self, config: DwiseConfig) -> None:
        super().__init__()
        widths = (config.widths[-1], *config.cortex)
        self.layers = nn.Sequential(
            *(
                _CortexLayer(inputs, outputs, config.groups, config.path_dropout)
                for inputs, outputs in pairwise(widths)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Readout(nn.Module):
    """Rates of the neurons of one mouse."""

    def __init__(self, config: DwiseConfig, n_neurons: int) -> None:
        super().__init__()
        self.n_neurons, self.beta = n_neurons, config.softplus
        rows = -(-n_neurons // config.groups) * config.groups
        self.layer = nn.Sequential(
            nn.Dropout1d(config.dropout),
            nn.Conv1d(config.cortex[-1], rows, 1, groups=config.groups),
        )

    def forward(self, x: Tensor, neurons: Tensor | None = None) -> Tensor:
        """Return rates (B, n, T) of features (B, C, T), of some neurons or all."""
        dropout, layer = self.layer
        assert isinstance(layer, nn.Conv1d)
        x = dropout(x)
        if neurons is None:
            return F.softplus(layer(x)[:, : self.n_neurons], self.beta)
        # A few neurons: the whole layer takes seconds for thousands.
        weight, group = layer.weight[neurons], neurons // (len(layer.weight) // layer.groups)
        parts = x.unflatten(1, (layer.groups, -1))
        values = x.new_empty(len(x), len(neurons), x.shape[2])
        bias = self.get_parameter("layer.1.bias")
        for g in group.unique().tolist():
            values[:, group == g] = F.conv1d(parts[:, g], weight[group == g])
        return F.softplus(values + bias[neurons, None], self.beta)


class DwiseNetwork(ClipNetwork):
    """Rates of the neurons of several mice that share all but the readouts.

    Parameters
    ----------
    n_neurons
        Mouse, which is the session -> number of its neurons, in the order of the readouts.
    """

    family, title, is_raw = "dwiseneuro", "DwiseNeuro", True

    def __init__(self, config: DwiseConfig, n_neurons: Mapping[str, int]) -> None:
        super().__init__()
        self.config, self.n_neurons = config, dict(n_neurons)
        self.core, self.cortex = _Core(config), _Cortex(config)
        self.readouts = nn.ModuleList(Readout(config, n) for n in n_neurons.values())

    def readout_of(self, session: str) -> Readout:
        """Return the layer that gives the rates of the neurons of one mouse."""
        readout = self.readouts[list(self.n_neurons).index(session)]
        assert isinstance(readout, Readout)
        return readout

    def features(self, x: Tensor, cancelled: Cancelled = never) -> Tensor:
        """Return the features (B, C, T) that all readouts share, of input (B, C, T, H, W).

        Raises
        ------
        StoppedError
            `cancelled`, which is asked before each block, is true.
        """
        x = self.core.stem(x)
        for block in self.core.blocks:
            stop_if(cancelled)
            x = block(x)
        return self.cortex(x.mean((3, 4)))

    def forward(self, x: Tensor, session: str) -> Tensor:
        """Return rates (B, N, T) of a mouse."""
        return self.readout_of(session)(self.features(x))

    def state_of(
        self, session: str, inputs: Inputs, visible: Tensor, cancelled: Cancelled
    ) -> tuple[Tensor | None, ...]:
        """Return the features (B, windows, C, n) of all windows, and the usable frames."""
        config, found = self.config, []
        frames = config.sliding.windows(inputs.frames.shape[1]).to(inputs.frames.device)
        n_values = math.prod(config.size) * frames.shape[1] * config.widths[0] * config.expansion
        at_once = min(_AT_ONCE, max(1, _MOST_VALUES // n_values))
        for clip in stacked(config, inputs):
            some = (clip[:, own].transpose(0, 1) for own in frames.split(at_once))
            found.append(torch.cat([self.features(x, cancelled) for x in some]))
        return torch.stack(found), inputs.usable

    def rates_of(
        self, session: str, state: tuple[Tensor | None, ...], neurons: Tensor | None
    ) -> Tensor:
        """Return the averages over windows whose frames were all recorded."""
        features, usable = state
        assert features is not None
        assert usable is not None
        sliding, readout = self.config.sliding, self.readout_of(session)
        frames, n_frames = sliding.windows(usable.shape[1]), usable.shape[1]
        means = [
            sliding.average(readout(own, neurons), n_frames, is_usable[frames].all(1))[0]
            for own, is_usable in zip(features, usable, strict=True)
        ]
        return torch.stack(means)[..., sliding.span - 1 :].transpose(1, 2)

    def units(self, session: Session) -> np.ndarray:
        """Return what rates are multiplied with to be normalised responses, float32 (N,)."""
        if self.config.unit is None:
            return (1 / session.response_scale).astype(np.float32)
        return np.full(session.n_neurons, self.config.unit, np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class DwiseCheckpoint(ClipCheckpoint):
    """Content of a file of DwiseNeuro: config and weights, no network yet."""

    family, network = DwiseNetwork.family, DwiseNetwork
    config: DwiseConfig


# -- input -----------------------------------------------------------------------------
def stacked_input(
    video: Tensor, behavior: Tensor, pupil: Tensor, height: int, width: int
) -> Tensor:
    """Return the input (B, 5, T, height, width).

    Parameters
    ----------
    video
        Gray levels (B, T, H, W), which are centred on zeros.
    behavior, pupil
        (B, 2, T) each, constant over the image.
    """
    rows, columns = height - video.shape[2], width - video.shape[3]
    top, left = rows // 2, columns // 2
    padded = F.pad(video.float(), (left, columns - left, top, rows - top))
    flat = torch.cat([behavior, pupil], 1)[..., None, None]
    return torch.cat([padded[:, None], flat.expand(-1, -1, -1, height, width)], 1)


def stacked(config: DwiseConfig, inputs: Inputs) -> Tensor:
    """Return what a network reads of clips, (B, C, T, height, width)."""
    values = inputs.frames.new_empty(*inputs.frames.shape[:2], 0)
    if inputs.behavior is not None:
        values = inputs.behavior[..., : config.channels - 1]
    values = values.transpose(1, 2)
    return stacked_input(inputs.frames, values[:, :N_STATE], values[:, N_STATE:], *config.size)


# -- training: clips of all mice in one batch, CutMix, averaged weights ----------------
# A second training can be taught by the model of a first one: its rates are the targets of
# each clip for the mice that did not see it.
Share = Annotated[float, Within(0, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DwiseTrainConfig(ClipTrainConfig):
    """Settings of a training; the defaults are those of the public code.

    Attributes
    ----------
    model
        Sizes of the network.
    warmup_steps
        First steps, in which the learning rate rises to `lr`; then it falls to `min_lr`
        along a cosine.
    average
        Share of the averaged weights that a step keeps.
    mixed, mix_alpha
        Share of clips that get a box of another clip, and the parameter of the beta
        distribution of the size of the box.
    teacher
        Checkpoint of a first training on the same sessions; None for recorded responses
        alone.
    distilled
        Share of all weights that the targets of the teacher have.
    """

    model: DwiseConfig = field(default_factory=DwiseConfig)
    clips: Count = 32
    # 18 epochs of 72 000 clips, after 3 with a rising learning rate.
    total_steps: Count = 47_250
    warmup_steps: Annotated[int, Within(0, 10**9)] = 6_750
    lr: float = 2.4e-3
    min_lr: float = 2.4e-5
    weight_decay: float = 0.05
    validate_every: Count = 2_250
    average: Share = 0.999
    mixed: Share = 0.5
    mix_alpha: Annotated[float, Within(1e-6, 1e6)] = 1.0
    teacher: str | None = None
    distilled: Annotated[float, Within(0, 0.999)] = 0.36

    @property
    def frames(self) -> int:
        """Number of frames of a clip; the network reads every `step`-th of them."""
        return self.model.sliding.span


@dataclass(frozen=True, slots=True, eq=False)
class MixedClips:
    """Clips of one mouse, some with a box of another clip.

    Attributes
    ----------
    images
        (B, C, n, height, width).
    responses
        (B, N, n) in units of the rates, NaN where nothing was recorded.
    """

    session: str
    images: Tensor
    responses: Tensor


class DwiseTraining(ClipTraining):
    """A training of all mice together.

    Attributes
    ----------
    averaged
        The network with averaged weights, which is validated and saved.
    teacher
        The network of the first training; None without one.
    """

    title = DwiseNetwork.title
    config, checkpoint = DwiseTrainConfig, DwiseCheckpoint
    load_model = DwiseCheckpoint.load
    parts = (*ClipTraining.parts, "averaged")
    averaged: DwiseNetwork
    teacher: DwiseNetwork | None = None

    # -- start and resume --------------------------------------------------------------
    def __post_init__(self) -> None:
        """Build the networks.

        Raises
        ------
        CheckpointError
            The checkpoint of the teacher is damaged.
        ValueError
            There are several processes, or the teacher knows other neurons.
        """
        super().__post_init__()
        self.averaged = deepcopy(self.net).requires_grad_(False)
        if self.settings.teacher is not None and self.settings.distilled:
            self.teacher = _read_teacher(self.settings, self.net.n_neurons).to(self.device)

    @property
    def result(self) -> DwiseNetwork:
        """Copy of the network whose weights are averages over the steps of the training."""
        return self.averaged

    def start(self) -> bool:
        """Set the biases to the mean responses: else the first rates are far from small ones."""
        for key, source in self.by_key.items():
            mean = np.maximum(source.session.units.mean, 0) / source.session.response_scale
            rates = mean / self.net.units(source.session)
            beta, bias = self.net.config.softplus, self.net.readout_of(key).layer[1].bias
            least = np.maximum(rates, 1e-3)
            with torch.no_grad():
                bias[: len(rates)] = torch.as_tensor(np.log(np.expm1(beta * least)) / beta)
        self.averaged.load_state_dict(self.net.state_dict())
        return False

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> list[MixedClips]:
        """Draw clips of mice, each as probable as the others, and mix some of them."""
        config, keys = self.settings, list(self.by_key)
        rng = np.random.default_rng([config.seed, number])
        counts = np.bincount(rng.integers(len(keys), size=config.clips), minlength=len(keys))
        drawn = zip(keys, counts.tolist(), strict=True)
        return [self._mixed(key, n, number) for key, n in drawn if n]

    def _mixed(self, key: str, n_clips: int, number: int) -> MixedClips:
        config = self.settings
        rng = np.random.default_rng([config.seed, key_number(key), number])
        is_mixed = np.flatnonzero(rng.random(n_clips) < config.mixed)
        starts = rng.choice(self.starts[key], n_clips + len(is_mixed))
        clips, sliding = self.clips(self.by_key[key], starts), config.model.sliding
        images = stacked(config.model, clips.inputs)[:, :, :: sliding.step]
        responses = clips.responses[:, :: sliding.step].transpose(1, 2)
        for other, clip in enumerate(is_mixed, n_clips):
            share = rng.beta(config.mix_alpha, config.mix_alpha)
            row, column = (int(rng.integers(size)) for size in config.model.size)
            images[clip], responses[clip] = cut_mix(
                (images[clip], images[other]),
                (responses[clip], responses[other]),
                share,
                row,
                column,
            )
        return MixedClips(key, images[:n_clips], responses[:n_clips])

    def backward(self, drawn: list[MixedClips]) -> tuple[float, int]:
        """Add the gradients of the clips of all mice."""
        net, device = self.net, self.device
        images = torch.cat([mixed.images for mixed in drawn]).to(device)
        mice = list(net.n_neurons)
        owner = [mice.index(mixed.session) for mixed in drawn for _ in mixed.images]
        weights = F.one_hot(torch.tensor(owner), len(mice)).float().to(device)
        taught = None
        if self.teacher is not None:
            weights = distillation_weights(weights, self.settings.distilled)
            with torch.no_grad():
                taught = self.teacher.features(images)
        recorded = {mixed.session: mixed.responses.to(device) for mixed in drawn}
        features = net.features(images)
        rates, targets = [], []
        for mouse, key in enumerate(mice):
            rate = net.readout_of(key)(features[weights[:, mouse] != 0])
            target = recorded.get(key, rate.new_empty(0, *rate.shape[1:]))
            if self.teacher is not None and taught is not None:
                own, target = target, self.teacher.readout_of(key)(taught).detach()
                target[torch.tensor(owner) == mouse] = own
            is_recorded = target.isfinite()
            # The loss of a rate of 0 and a response of 0 is 0.
            rates.append(rate.where(is_recorded, 0.0))
            targets.append(target.where(is_recorded, 0.0))
        loss = mice_poisson(rates, targets, weights)
        loss.backward()
        n_neurons = sum(net.n_neurons.values()) / len(mice)
        return float(loss.detach()) / (n_neurons * images.shape[2]), len(images)

    def step(self, drawn: Any) -> dict[str, float]:
        """Train on the batches of a step, and average the weights."""
        row = super().step(drawn)
        keep, state = self.settings.average, self.net.state_dict()
        for name, mean in self.averaged.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(state[name], 1 - keep)
            else:
                mean.copy_(state[name])
        return row

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        config, step = self.settings, self.state.step
        if step < config.warmup_steps:
            return float(config.lr * (step + 1) / config.warmup_steps)
        n_steps = max(1, config.total_steps - config.warmup_steps)
        turn = math.pi * (step - config.warmup_steps) / n_steps
        return float(config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(turn)) / 2)


# -- loss, distillation weights and CutMix, as in the public code of the winning solution --
def mice_poisson(
    rates: Sequence[Tensor], responses: Sequence[Tensor], weights: Tensor, eps: float = 1e-8
) -> Tensor:
    """Return the Poisson loss, summed over neurons and frames, of weighted clips.

    Parameters
    ----------
    rates, responses
        (b, N, T) per mouse, of the clips in which it has a weight.
    weights
        (B, M), which are divided by their sum over the batch.
    """
    shares = weights / weights.sum()
    loss = weights.new_zeros(())
    for share, rate, response in zip(shares.T, rates, responses, strict=True):
        for part, own, target in zip(share[share != 0], rate, response, strict=True):
            loss = loss + part * poisson_sum(own, target, eps)
    return loss


def distillation_weights(weights: Tensor, ratio: float) -> Tensor:
    """Return the weights (B, M) with the mice without a recording in equal parts.

    `ratio` of all weights goes to them: 0.36 is 36 %.
    """
    is_distilled = weights == 0
    each = ratio / (1 - ratio) * weights.sum() / is_distilled.sum().clamp(min=1)
    return weights.masked_fill(is_distilled, float(each))


def cut_mix(
    clips: tuple[Tensor, Tensor],
    targets: tuple[Tensor, Tensor],
    share: float,
    row: int,
    column: int,
    *,
    is_public: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return a clip with a box from another one, and the mixed target.

    Parameters
    ----------
    clips, targets
        Two clips (..., H, W), and their targets.
    share, row, column
        Part of the image that the box covers before it is cut at the edges, and its
        center.
    is_public
        As in the public code, which exchanges the axes of the box: the same for square
        images only.

    Returns
    -------
    The target of the other clip weighs as much as its part of the pixels.
    """
    height, width = clips[0].shape[-2:]
    center, size = (row, column), (height, width)
    if is_public:
        center, size = (column, row), (width, height)
    half = [int(n * share**0.5) // 2 for n in size]
    (top, bottom), (left, right) = (
        (max(0, c - h), min(n, c + h)) for c, h, n in zip(center, half, size, strict=True)
    )
    mixed = clips[0].clone()
    mixed[..., top:bottom, left:right] = clips[1][..., top:bottom, left:right]
    part = (bottom - top) * (right - left) / (height * width)
    return mixed, (1 - part) * targets[0] + part * targets[1]


# -- the model of a first training -----------------------------------------------------
def _read_teacher(config: DwiseTrainConfig, n_neurons: Mapping[str, int]) -> DwiseNetwork:
    path = Path(str(config.teacher))
    checkpoint = DwiseCheckpoint.read(path)
    shared = ("channels", "size", "sliding", "unit")
    wanted, found = (
        {"sessions": dict(counts)} | {name: getattr(model, name) for name in shared}
        for counts, model in ((n_neurons, config.model), (checkpoint.sessions, checkpoint.config))
    )
    for name, value in wanted.items():
        if found[name] != value:
            raise ValueError(
                f"teacher {path} has {name} {found[name]}, and this training {value}: "
                "train both on the same sessions, windows and units."
            )
    return checkpoint.build()
