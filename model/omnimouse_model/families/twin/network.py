"""The network of the digital twin, from the monitor to the rates, top to bottom.

    frames of the monitor  -> Perspective -> retina -> FeedForward -> maps
    pupil x, y             -> Perspective
    pupil radius, running  -> Modulation -> state of the animal
    maps, state            -> Recurrent -> maps -> Readout -> rates

Modulation, core and readout exist once per stream; all streams share the perspective.
The rate is the exponential of the mean of the streams' logits. Module and parameter
names are those of the released files, with the stream as last number.

Everything that has no recurrence is computed for a whole clip at once, and only the two
LSTMs go frame by frame. A `TwinState` holds what goes on from frame to frame, and the
normalised weights, which are computed once per state.

The file is long because it is one network, whose forward pass is read from top to bottom.

Axes: T frames, N clips, S streams, C channels (stream-major, then group-major), H x W.

Source: Wang et al. 2025, Methods, and the released weights; numbers in comments are of
the released network.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimouse_model.predict.checkpoint_file import Copies, Record, Size, Sizes, no_record
from omnimouse_model.storage.trees import Within

Nonlinearity = Literal["gelu", "silu", "elu", "tanh"]


# -- sizes of the digital twin; the defaults are those of the released network --------
@dataclass(frozen=True, slots=True)
class TwinConfig:
    """Sizes of perspective, modulation, core and readout (Wang et al. 2025).

    Attributes
    ----------
    colours, pupil, behavior
        Channels of a frame; values of the gaze (pupil x, y); values of the modulation
        (pupil radius and running; 3 with the change of the pupil).
    streams
        Independent copies of modulation, core and readout.
    gaze_features, gaze_layers, gaze_nonlinear
        Hidden layers from the pupil to the angles of the eye.
    retina_height, retina_width, retina_degrees
        Pixels of the retina, and the polar angle at its left and right edge.
    monitor_distance
        First distance of the monitor from the eye, in half widths of the monitor.
    max_power, pixel_eps
        Limit of the learned power of luminance, and the value that is added first.
    state_features, state_layers, state_nonlinear, state_hidden
        Hidden layers of the modulation, and units of its LSTM.
    input_spatial, input_stride
        Kernel and stride of the first convolution.
    block_channels, block_groups, block_layers, block_temporals, block_spatials,
    block_pools
        The dense blocks, one value for each.
    feedforward_channels, feedforward_nonlinear
        Channels after the last block.
    core
        "cvt-lstm" (with attention over space, as released) or "conv-lstm".
    recurrent_channels, hidden_channels, common_channels, out_channels, groups
        Channels of the recurrent core; groups are the paper's cells.
        `common_channels` is that of queries, keys and values.
    recurrent_spatial, input_bias, forget_bias
        Its kernel, and the first biases of the input and forget gates.
    unit
        "poisson" (exponential rates) or "elu-mse".
    position_sign
        Direction of the second coordinate of `DigitalTwin.readout_position`: 1
        downwards, in which the network samples its maps; -1 upwards, as the property
        files of the release state. Assumed: no released file could be compared.
    """

    colours: Size = 1
    pupil: Size = 2
    behavior: Size = 2
    streams: Copies = 4
    gaze_features: Size = 16
    gaze_layers: Copies = 3
    gaze_nonlinear: Nonlinearity = "gelu"
    retina_height: Size = 128
    retina_width: Size = 192
    retina_degrees: float = 75.0
    monitor_distance: float = 0.5
    max_power: float = 1.0
    pixel_eps: Annotated[float, Within(0, 1)] = 1e-5
    state_features: Size = 16
    state_layers: Copies = 1
    state_nonlinear: Nonlinearity = "gelu"
    state_hidden: Size = 16
    input_spatial: Size = 6
    input_stride: Size = 2
    block_channels: Sizes = (32, 64, 128)
    block_groups: Sizes = (1, 2, 4)
    block_layers: Annotated[tuple[Copies, ...], Within(1, 64)] = (2, 2, 2)
    block_temporals: Sizes = (3, 3, 3)
    block_spatials: Sizes = (3, 3, 3)
    block_pools: Sizes = (2, 2, 1)
    feedforward_channels: Size = 128
    feedforward_nonlinear: Nonlinearity = "gelu"
    core: Literal["cvt-lstm", "conv-lstm"] = "cvt-lstm"
    recurrent_channels: Size = 256
    hidden_channels: Size = 256
    common_channels: Annotated[int, Within(0, 4096)] = 512
    out_channels: Size = 128
    groups: Size = 8
    recurrent_spatial: Size = 3
    input_bias: float = -1.0
    forget_bias: float = 1.0
    unit: Literal["poisson", "elu-mse"] = "poisson"
    position_sign: Literal[-1, 1] = 1


Periphery = Literal["dark", "extend"]
"""Luminance beyond the monitor: 0, or that of its nearest pixel."""
FRAMES_AT_ONCE = 16
"""Frames whose maps are in memory together: 10 MB each per stream at full size."""
NORM_EPS = 1e-5
MONITOR_SD, POSITION_SD = 0.05, 0.4
"""First noise of the monitor (half widths, radians) and of readout positions."""
MIN_DEPTH = 1e-5
"""Rays that are parallel to the monitor or point away from it meet it far outside."""
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "gelu": (F.gelu, 1.7015043497085571),
    "silu": (F.silu, 1.7881293296813965),
    "elu": (F.elu, 1.2716004848480225),
    "tanh": (torch.tanh, 1.5939117670059204),
}
"""Nonlinearities, and the factors that keep the variance of a standard normal input."""


def activate(x: Tensor, name: str) -> Tensor:
    """Apply a nonlinearity with the factor that preserves the variance."""
    function, factor = FUNCTIONS[name]
    return function(x) * factor


def join(parts: list[Tensor], groups: int, dim: int = 1) -> Tensor:
    """Concatenate channels, or rows (dim 0), within each stream and group."""
    split = [x.unflatten(dim, (groups, -1)) for x in parts]
    return torch.cat(split, dim + 1).flatten(dim, dim + 1)


# -- state ---------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Kernel:
    """Effective weights of one layer for the streams in use.

    Attributes
    ----------
    weight
        (S * outputs, inputs / groups, t, k, k); of the readout (S, units, channels).
    bias
        (S * outputs,), or None; of the readout (S, units).
    """

    weight: Tensor
    bias: Tensor | None

    def matrices(self, streams: int) -> Tensor:
        """Return a layer without spatial extent as (S, outputs, inputs)."""
        return self.weight.flatten(1).reshape(streams, -1, self.weight[0].numel())


@dataclass(slots=True, eq=False)
class TwinState:
    """What the network keeps from frame to frame, and what all frames have in common.

    Attributes
    ----------
    n_clips, stream
        Number of clips, and the only stream in use, or None for all.
    kernels
        Effective weights by layer.
    history
        The last frames (N, C, t - 1, H, W) before a temporal convolution, by layer.
    lstms
        Hidden state and cell by LSTM.
    monitor
        Centre (N, 3) and rotation (N, 3, 3) of the monitor; in training, with noise per clip.
    position
        Readout positions (N or 1, U, 2) before tanh; in training, with noise per clip.
    periphery
        Luminance beyond the monitor.
    record
        Called with the name and value of intermediate maps.
    """

    n_clips: int
    stream: int | None
    monitor: tuple[Tensor, Tensor]
    position: Tensor
    kernels: dict[nn.Module, Kernel] = field(default_factory=dict)
    history: dict[nn.Module, Tensor] = field(default_factory=dict)
    lstms: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)
    periphery: Periphery = "dark"
    record: Record = no_record

    def kernel(self, layer: nn.Module) -> Kernel:
        """Return the effective weights of a layer, computed at its first use."""
        if layer not in self.kernels:
            assert isinstance(layer, Layer | GroupMixing)
            self.kernels[layer] = layer.kernel(self.stream)
        return self.kernels[layer]

    def joint_kernel(self, key: nn.Module, layers: list[nn.Module], groups: int) -> Kernel:
        """Return the weights of layers with the same input as one layer.

        In each group, the outputs of the layers follow each other.
        """
        if key not in self.kernels:
            kernels = [self.kernel(layer) for layer in layers]
            biases = [k.bias[:, None] for k in kernels if k.bias is not None]
            self.kernels[key] = Kernel(
                join([k.weight for k in kernels], groups, 0),
                join(biases, groups, 0).flatten() if biases else None,
            )
        return self.kernels[key]

    def copy(self) -> "TwinState":
        """Return a state that can go on differently; tensors are never changed."""
        return replace(self, history=dict(self.history), lstms=dict(self.lstms))


# -- layers --------------------------------------------------------------------------
class Layer(nn.Module):
    """Weights of a convolution or linear layer, one set per stream.

    The effective weight has mean 0 and norm 1 per output channel, times the gain.

    Parameters
    ----------
    inputs, outputs, groups
        Channels, and groups of the convolution.
    shape
        Extent in time, height and width.
    gain
        First gain, or None for a layer without gains.
    gain_groups
        Rows of gains and biases in the file.
    bias
        First bias, or None for a layer without biases.
    is_normalised
        Whether the weight is normalised.
    is_zero
        Whether the weight begins at 0.
    """

    def __init__(
        self,
        streams: int,
        inputs: int,
        outputs: int,
        *,
        groups: int = 1,
        shape: tuple[int, int, int] = (1, 1, 1),
        stride: int = 1,
        gain: float | None = 1.0,
        gain_groups: int = 1,
        bias: float | None = 0.0,
        is_normalised: bool = True,
        is_zero: bool = False,
        is_replicated: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.stride = shape, stride
        self.is_normalised, self.is_replicated = is_normalised, is_replicated
        self.fan_in = inputs // groups * math.prod(shape)
        bound = math.sqrt((1 if is_normalised else 3) / self.fan_in)
        size = (outputs, inputs // groups, *shape)
        by_group = (gain_groups, outputs // gain_groups)
        self.weights = nn.ParameterList(
            torch.zeros(size) if is_zero else torch.empty(size).uniform_(-bound, bound)
            for _ in range(streams)
        )
        if gain is not None:
            self.gains = nn.ParameterList(torch.full(by_group, float(gain)) for _ in range(streams))
        if bias is not None:
            self.biases = nn.ParameterList(
                torch.full(by_group, float(bias)) for _ in range(streams)
            )

    def effective(self, stream: int) -> Tensor:
        """Return the normalised weight of one stream, times its gain."""
        weight: Tensor = self.weights[stream]
        if self.is_normalised:
            weight = normalised(weight, (1, 2, 3, 4), self.fan_in)
        if hasattr(self, "gains"):
            weight = weight * self.gains[stream].reshape(-1, 1, 1, 1, 1)
        return weight

    def kernel(self, stream: int | None) -> Kernel:
        """Return the effective weights of one stream or of all."""
        is_shared = len(self.weights) == 1
        chosen = range(len(self.weights)) if stream is None or is_shared else (stream,)
        weight = torch.cat([self.effective(s) for s in chosen])
        if not hasattr(self, "biases"):
            return Kernel(weight, None)
        return Kernel(weight, torch.cat([self.biases[s].flatten() for s in chosen]))

    def forward(self, x: Tensor, state: TwinState) -> Tensor:
        """Convolve (N, C, T, H, W), causally in time."""
        kernel = state.kernel(self)
        if self.shape == (1, 1, 1):
            return mix_channels(x, kernel)
        if self.shape[0] > 1:
            # With the frames before them, at first zeros.
            n = self.shape[0] - 1
            if self not in state.history:
                state.history[self] = x.new_zeros(*x.shape[:2], n, *x.shape[3:])
            x = torch.cat([state.history[self], x], 2)
            state.history[self] = x[:, :, -n:]
        pad = (self.shape[1] - self.stride) // 2
        if self.is_replicated and pad:
            x, pad = F.pad(x, (pad, pad, pad, pad, 0, 0), mode="replicate"), 0
        return F.conv3d(
            x,
            kernel.weight,
            kernel.bias,
            stride=(1, self.stride, self.stride),
            padding=(0, pad, pad),
            groups=x.shape[1] // kernel.weight.shape[1],
        )


def mix_channels(x: Tensor, kernel: Kernel) -> Tensor:
    """Apply a layer without extent to (N, C, ...): one matrix product per group."""
    n_inputs = kernel.weight.shape[1]
    groups = x.shape[1] // n_inputs
    weight = kernel.weight.reshape(groups, -1, n_inputs)
    mixed = (weight @ x.reshape(len(x), groups, n_inputs, -1)).flatten(1, 2)
    if kernel.bias is not None:
        mixed = mixed + kernel.bias[:, None]
    return mixed.unflatten(2, x.shape[2:])


def normalised(weight: Tensor, dims: tuple[int, ...], fan_in: int) -> Tensor:
    """Return a weight with mean 0 and norm 1 over some dimensions."""
    variance, mean = torch.var_mean(weight, dims, correction=0, keepdim=True)
    return (weight - mean) * torch.rsqrt(variance * fan_in + NORM_EPS)


class GroupMixing(nn.Module):
    """1 x 1 convolution from each group of channels to all other groups.

    `weights` (group, other group in rising order, output, input) per stream.
    """

    mask: Tensor
    zero: Tensor

    def __init__(self, streams: int, groups: int, inputs: int, outputs: int, gain: float) -> None:
        super().__init__()
        self.fan_in = (groups - 1) * inputs
        bound = 1 / math.sqrt(self.fan_in)
        self.register_buffer("mask", ~torch.eye(groups, dtype=torch.bool)[:, :, None, None])
        self.register_buffer("zero", torch.zeros(groups, groups, outputs, inputs))
        self.weights = nn.ParameterList(
            torch.empty(groups, groups - 1, outputs, inputs).uniform_(-bound, bound)
            for _ in range(streams)
        )
        self.gains = nn.ParameterList(torch.full((groups, outputs), gain) for _ in range(streams))

    def effective(self, stream: int) -> Tensor:
        """Return the normalised weight of one stream as one (output, input) matrix."""
        weight = normalised(self.weights[stream], (1, 3), self.fan_in)
        weight = weight * self.gains[stream][:, None, :, None]
        full = self.zero.masked_scatter(self.mask, weight)
        return full.transpose(1, 2).flatten(0, 1).flatten(1)

    def kernel(self, stream: int | None) -> Kernel:
        """Return the effective weights (S * outputs, inputs, 1, 1, 1)."""
        chosen = range(len(self.weights)) if stream is None else (stream,)
        weight = torch.cat([self.effective(s) for s in chosen])
        return Kernel(weight[:, :, None, None, None], None)


# -- perspective ---------------------------------------------------------------------
class Perspective(nn.Module):
    """Image on the retina, from a monitor frame and the gaze.

    The gaze turns the rays of the retina, which are followed to a plane, the monitor.
    """

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        self.eps = config.pixel_eps
        self.max_power = config.max_power
        self.radians = math.radians(config.retina_degrees)
        self.mlp = Gaze(config)
        self.monitor = Monitor(config.monitor_distance)
        self.monitor_pixel = MonitorPixel()
        self.retina = Retina(config.retina_height, config.retina_width, self.radians)
        self.retina_pixel = RetinaPixel()

    def forward(self, frames: Tensor, pupil: Tensor, state: TwinState) -> Tensor:
        """Return the retina (N, colours, T, H, W) of frames (T, N, colours, h, w)."""
        n_frames, n_clips = frames.shape[:2]
        angles = self.mlp(pupil, state)
        state.record("angles", angles)
        rays = self.rays(angles)
        grid = self.monitor_points(rays, *state.monitor)
        state.record("monitor_grid", grid)
        height, width = self.retina.grid.shape[:2]
        luminance = self.monitor_pixel(frames).flatten(0, 1)
        points = to_sampling(
            grid.flatten(0, 1), (frames.shape[-2], frames.shape[-1]), (height, width)
        )
        sampled = sample(luminance, points, state.periphery).unflatten(0, (n_frames, n_clips))
        state.record("sampled", sampled)
        retina = self.to_response(sampled)
        state.record("retina", retina)
        return retina.permute(1, 2, 0, 3, 4)

    def rays(self, angles: Tensor) -> Tensor:
        """Return unit rays (..., H, W, 3) of the pixels, of an eye at angles."""
        return torch.einsum("...ij,hwj->...hwi", rotation(angles), self.retina.grid)

    def monitor_points(self, rays: Tensor, center: Tensor, axes: Tensor) -> Tensor:
        """Return where rays (T, N, H, W, 3) meet the monitors (N, 3), (N, 3, 3): x and y."""
        axes = axes[:, None, None]  # columns: x, y and normal
        center = center[:, None, None]
        normal = axes[..., 2]
        depth = (rays * normal).sum(-1, keepdim=True).clamp(min=MIN_DEPTH)
        point = (center * normal).sum(-1, keepdim=True) / depth * rays - center
        return torch.einsum(
            "tnhwi,nhwij->tnhwj", point, axes[..., :2].expand(-1, *rays.shape[2:4], -1, -1)
        )

    def to_response(self, luminance: Tensor) -> Tensor:
        """Return the response of the retina to a luminance."""
        pixel = self.retina_pixel
        power = self.max_power * torch.sigmoid(pixel.logit)
        return pixel.scale * (luminance + self.eps) ** power + pixel.offset

    def retina_points(self, xy: Tensor, pupil: Tensor, state: TwinState) -> Tensor:
        """Return where on the retina points (N, ..., 2) of the monitor are seen.

        Both are in half widths, of the monitor and of the retina.
        """
        n_axes = xy.ndim - 2
        center, axes = (x[(slice(None), *[None] * n_axes)] for x in state.monitor)
        points = center + axes[..., 0] * xy[..., :1] + axes[..., 1] * xy[..., 1:]
        rays = F.normalize(points, dim=-1)
        turned = torch.einsum("nij,n...i->n...j", rotation(self.mlp(pupil, state)), rays)
        polar = torch.arccos(turned[..., 2].clamp(-1, 1)) / self.radians
        azimuth = torch.atan2(turned[..., 1], turned[..., 0])
        return polar[..., None] * torch.stack([azimuth.cos(), azimuth.sin()], -1)

    @property
    def _map_size(self) -> tuple[float, float]:
        """Half extent in x and y of the maps on the retina, in half widths."""
        # The rows of the retina are not at the centers of pixels, as in the release.
        height, width = self.retina.grid.shape[:2]
        return 1.0, (width - 1) / width * (height / width) * height / (height - 1)

    def map_points(self, retina_xy: Tensor) -> Tensor:
        """Return positions on the maps, -1 to 1, of points (..., 2) of the retina."""
        return retina_xy / retina_xy.new_tensor(self._map_size)

    def seen_points(self, positions: Tensor, state: TwinState) -> Tensor:
        """Return points (U, 2) of the monitor at positions (U, 2) on the maps.

        The gaze is the mean of the training; points are in half widths of the monitor.
        """
        plane = positions * positions.new_tensor(self._map_size)
        rays = retina_rays(plane, self.radians)
        rest = positions.new_zeros(1, 2)
        turned = torch.einsum("ij,uj->ui", rotation(self.mlp(rest, state))[0], rays)
        return self.monitor_points(turned[None, None, None], *state.monitor)[0, 0, 0]


class Gaze(nn.Module):
    """Angles of the eye in radians, from the z-scored position of the pupil."""

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        self.nonlinear = config.gaze_nonlinear
        width = config.gaze_features
        # The eye begins without a rotation.
        hidden = hidden_layers(1, config.pupil, width, config.gaze_layers)
        self.linears = nn.ModuleList([*hidden, Layer(1, width, 3)])

    def forward(self, x: Tensor, state: TwinState) -> Tensor:
        """Return angles (..., 3) about x, y and z, of the pupil (..., 2)."""
        *hidden, last = self.linears
        for layer in hidden:
            x = activate(linear(x, state.kernel(layer)), self.nonlinear)
        return linear(x, state.kernel(last))


def hidden_layers(streams: int, inputs: int, width: int, count: int) -> list[Layer]:
    """Return linear layers, of which the first begins at 0."""
    first = Layer(streams, inputs, width, gain=None, is_normalised=False, is_zero=True)
    return [first, *(Layer(streams, width, width) for _ in range(count - 1))]


def linear(x: Tensor, kernel: Kernel) -> Tensor:
    """Apply a layer without spatial extent to (..., inputs)."""
    return F.linear(x, kernel.weight.flatten(1), kernel.bias)


class Monitor(nn.Module):
    """Plane in front of the eye, in half widths of the monitor; learned, with noise."""

    def __init__(self, distance: float) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.tensor([0.0, 0.0, distance]))
        self.angle = nn.Parameter(torch.zeros(3))
        self.center_std = nn.Parameter(torch.full((3,), MONITOR_SD))
        self.angle_std = nn.Parameter(torch.full((3,), MONITOR_SD))

    @torch.no_grad()
    def reset_noise(self) -> None:
        """Give the noise of centre and angle its first size."""
        self.center_std.fill_(MONITOR_SD)
        self.angle_std.fill_(MONITOR_SD)

    def draw(self, n_clips: int) -> tuple[Tensor, Tensor]:
        """Return centre (N, 3) and rotation (N, 3, 3), in training with noise."""
        center, angle = (x.expand(n_clips, 3) for x in (self.center, self.angle))
        if self.training:
            center = center + self.center_std * torch.randn_like(center)
            angle = angle + self.angle_std * torch.randn_like(angle)
        return center, rotation(angle)


class MonitorPixel(nn.Module):
    """Luminance of the monitor from grey levels; measured, not learned."""

    power: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in (("power", 1.7), ("scale", 1.0), ("offset", 0.0)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, grey: Tensor) -> Tensor:
        """Return luminance of grey levels from 0 to 1."""
        return self.scale * grey**self.power + self.offset


class Retina(nn.Module):
    """Rays of the retina's pixels, with equal polar angle per pixel."""

    grid: Tensor

    def __init__(self, height: int, width: int, radians: float) -> None:
        super().__init__()
        self.register_buffer("grid", retina_rays(plane_grid(height, width), radians))


def retina_rays(xy: Tensor, radians: float) -> Tensor:
    """Return unit rays (..., 3) of points (..., 2) of the retina, in half widths."""
    x, y = xy.unbind(-1)
    polar = (radians * torch.sqrt(x**2 + y**2)).clamp(max=math.pi / 2)
    azimuth = torch.atan2(y, x)
    side = polar.sin()
    rays = (side * azimuth.cos(), side * azimuth.sin(), polar.cos())
    return torch.stack(rays, -1)


class RetinaPixel(nn.Module):
    """Response of the retina to luminance: a learned power between 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(1))
        self.scale = nn.Parameter(torch.ones(1))
        self.offset = nn.Parameter(torch.zeros(1))


def rotation(angles: Tensor) -> Tensor:
    """Return Rz Ry Rx (..., 3, 3) of angles (..., 3) about x, y and z."""
    (sx, sy, sz), (cx, cy, cz) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def plane_grid(height: int, width: int) -> Tensor:
    """Return x and y (H, W, 2) of pixels, in half widths.

    In y, the outermost pixels have their edges' distance of x, as in the release.
    """
    shrunk = (width - 1) / width
    x = torch.linspace(-1, 1, width) * shrunk
    y = torch.linspace(-1, 1, height) * (height / width) * shrunk
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def to_sampling(points: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Return points in half widths as coordinates of `grid_sample`.

    The factors near 1 are those of the release; without them, rates change by 1 %.
    """
    (h, w), (height, width) = source, target
    fit = w / (w - 1)
    x = points[..., 0] * fit * (width - 1) / width
    y = points[..., 1] * (w / h) * fit * (height - 1) / height
    return torch.stack([x, y], -1)


def sample(images: Tensor, points: Tensor, periphery: Periphery) -> Tensor:
    """Return bilinear values of images (N, C, h, w) at points (N, H, W, 2)."""
    padding = {"dark": "zeros", "extend": "border"}[periphery]
    return F.grid_sample(images, points, mode="bilinear", padding_mode=padding, align_corners=False)


# -- modulation ----------------------------------------------------------------------
class Modulation(nn.Module):
    """State of the animal, from the radius of the pupil and running: an LSTM."""

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        self.mlp = StateInput(config)
        self.lstm = StateLstm(config)

    def forward(self, behavior: Tensor, state: TwinState) -> Tensor:
        """Return the state (T, N, S * hidden) of behaviour (T, N, values)."""
        return self.lstm(self.mlp(behavior, state), state)


class StateInput(nn.Module):
    """Features of behaviour, per stream."""

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        self.nonlinear, self.width = config.state_nonlinear, config.state_features
        self.linears = nn.ModuleList(
            hidden_layers(config.streams, config.behavior, self.width, config.state_layers)
        )

    def forward(self, behavior: Tensor, state: TwinState) -> Tensor:
        """Return features (T, N, S, width)."""
        first, *hidden = self.linears
        x = linear(behavior, state.kernel(first))
        x = activate(x.unflatten(-1, (-1, self.width)), self.nonlinear)
        for layer in hidden:
            x = activate(per_stream(x, state.kernel(layer)), self.nonlinear)
        state.record("modulation_mlp", x.flatten(2))
        return x


def per_stream(x: Tensor, kernel: Kernel) -> Tensor:
    """Apply a layer without spatial extent to each stream of (..., S, inputs)."""
    streams = x.shape[-2]
    y = torch.einsum("...si,soi->...so", x, kernel.matrices(streams))
    return y if kernel.bias is None else y + kernel.bias.view(streams, -1)


class StateLstm(nn.Module):
    """LSTM of each stream, whose four gates are normalised linear layers."""

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        streams, hidden = config.streams, config.state_hidden
        inputs = config.state_features + hidden
        self.hidden = hidden
        self.proj_i = Layer(streams, inputs, hidden, bias=config.input_bias)
        self.proj_f = Layer(streams, inputs, hidden, bias=config.forget_bias)
        self.proj_g = Layer(streams, inputs, hidden)
        self.proj_o = Layer(streams, inputs, hidden)

    def forward(self, x: Tensor, state: TwinState) -> Tensor:
        """Return the hidden states (T, N, S * hidden)."""
        streams = x.shape[2]
        gates: list[nn.Module] = [self.proj_i, self.proj_f, self.proj_g, self.proj_o]
        kernel = state.joint_kernel(self, gates, streams)
        assert kernel.bias is not None
        weight, bias = kernel.matrices(streams), kernel.bias.view(streams, -1)
        zero = x.new_zeros(x.shape[1], streams, self.hidden)
        h, c = state.lstms.get(self, (zero, zero))
        outputs, cells = [], []
        for frame in x:
            both = torch.cat([frame, h], -1)
            i, f, g, o = (torch.einsum("nsi,soi->nso", both, weight) + bias).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
            cells.append(c)
        state.lstms[self] = (h, c)
        state.record("modulation.c", torch.stack(cells).flatten(2))
        result = torch.stack(outputs).flatten(2)
        state.record("modulation", result)
        return result


# -- core ----------------------------------------------------------------------------
class Core(nn.Module):
    """Feed-forward maps of the retina, then the recurrence."""

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        self.feedforward = FeedForward(config)
        self.recurrent = Recurrent(config)

    def forward(self, retina: Tensor, animal: Tensor, state: TwinState) -> Tensor:
        """Return maps (T, N, S * C, H, W)."""
        maps = self.feedforward(retina, state)
        result: Tensor = self.recurrent(maps, animal, state)
        state.record("core", result)
        return result


class FeedForward(nn.Module):
    """3-D DenseNet: dense blocks, each after a convolution that sets its channels."""

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        streams, previous = config.streams, config.colours
        inputs, blocks = [], []
        for number, (channels, groups, layers) in enumerate(
            zip(config.block_channels, config.block_groups, config.block_layers, strict=True)
        ):
            if number == 0:
                first = config.input_spatial
                layer = Layer(
                    *(streams, previous, channels),
                    shape=(1, first, first),
                    stride=config.input_stride,
                    gain=None,
                    gain_groups=groups,
                    is_normalised=False,
                    is_replicated=True,
                )
            else:
                layer = Layer(streams, previous, channels, gain_groups=groups)
            inputs.append(layer)
            blocks.append(DenseBlock(config, number))
            previous = channels * (layers + 1)
        self.inputs, self.blocks = nn.ModuleList(inputs), nn.ModuleList(blocks)
        self.out = Layer(streams, previous, config.feedforward_channels)

    def forward(self, x: Tensor, state: TwinState) -> Tensor:
        """Return maps (N, S * C, T, H, W)."""
        pairs = zip(self.inputs, self.blocks, strict=True)
        for number, (layer, block) in enumerate(pairs):
            x = layer(x, state)
            state.record(f"feedforward.in{number}", in_time(x))
            x = block(x, state)
            state.record(f"feedforward.block{number}", in_time(x))
        x = self.out(x, state)
        state.record("feedforward.out", in_time(x))
        return x


def in_time(x: Tensor) -> Tensor:
    """Return (N, C, T, H, W) as (T, N, C, H, W)."""
    return x.permute(2, 0, 1, 3, 4)


class DenseBlock(nn.Module):
    """Convolutions, each with a skip connection from all earlier activated maps."""

    def __init__(self, config: TwinConfig, number: int) -> None:
        super().__init__()
        self.nonlinear = config.feedforward_nonlinear
        self.groups = config.block_groups[number]
        self.pool = config.block_pools[number]
        channels, layers = config.block_channels[number], config.block_layers[number]
        spatial = config.block_spatials[number]
        shape = (config.block_temporals[number], spatial, spatial)
        groups, half = self.groups, math.sqrt(0.5)
        layer = partial(Layer, config.streams, groups=groups, gain_groups=groups)
        self.convs = nn.ModuleList(
            layer(channels, channels, shape=shape, gain=half if n else 1.0) for n in range(layers)
        )
        self.skips = nn.ModuleDict(
            {str(n): layer(n * channels, channels, gain=half, bias=None) for n in range(1, layers)}
        )

    def forward(self, x: Tensor, state: TwinState) -> Tensor:
        """Return the input and the maps of all layers, pooled over space."""
        kernel = state.kernel(self.convs[0]).weight
        groups = x.shape[1] // kernel.shape[1]
        maps: list[Tensor] = [x]
        activated: list[Tensor] = []
        for number, conv in enumerate(self.convs):
            y = activate(maps[-1], self.nonlinear)
            x = conv(y, state)
            if number:
                x = x + self.skips[str(number)](join(activated, groups), state)
            maps.append(x)
            activated.append(y)
        if self.pool > 1:
            # Pooled first: four times fewer values are then copied.
            window = (1, self.pool, self.pool)
            maps = [F.avg_pool3d(part, window) for part in maps]
        return join(maps, groups)


GATES = ("i", "f", "g", "o")
"""Input, forget, cell and output gate."""


class Recurrent(nn.Module):
    """LSTM over maps: its input mixes groups, feed-forward maps and the animal's state.

    With attention over all positions ("cvt-lstm", released), or without ("conv-lstm").
    """

    def __init__(self, config: TwinConfig) -> None:
        super().__init__()
        streams, groups = config.streams, config.groups
        inputs, hidden = config.recurrent_channels, config.hidden_channels
        common, spatial = config.common_channels, config.recurrent_spatial
        self.has_attention = config.core == "cvt-lstm"
        self.groups, self.hidden = groups, hidden
        kernel = (1, spatial, spatial)
        n_parts = 3 if groups > 1 else 2
        gain = math.sqrt(1 / n_parts)
        layer = partial(Layer, streams, gain_groups=groups)
        parts: list[nn.Module] = [
            layer(config.feedforward_channels, inputs, gain=gain),
            layer(config.state_hidden, inputs, gain=gain, bias=None),
        ]
        if groups > 1:
            mixing = GroupMixing(streams, groups, hidden // groups, inputs // groups, gain)
            parts.insert(0, mixing)
        self.proj_x = nn.ModuleList(parts)
        gate_inputs, gate_kernel = inputs + hidden, kernel
        if self.has_attention:
            grouped = partial(Layer, streams, groups=groups, gain=None, bias=None)
            self.conv = grouped(gate_inputs, common, shape=kernel)
            for name in ("proj_q", "proj_k", "proj_v"):
                self.add_module(name, grouped(common, common))
            self.scales = nn.ParameterList(
                torch.ones(groups, common // groups) for _ in range(streams)
            )
            gate_inputs, gate_kernel = 2 * common, (1, 1, 1)
        biases = {"i": config.input_bias, "f": config.forget_bias, "g": 0.0, "o": 0.0}
        for name, bias in biases.items():
            gate = layer(gate_inputs, hidden, groups=groups, shape=gate_kernel, bias=bias)
            self.add_module(f"proj_{name}", gate)
        self.out = Layer(streams, hidden, config.out_channels)

    def forward(self, maps: Tensor, animal: Tensor, state: TwinState) -> Tensor:
        """Return maps (T, N, S * C, H, W) of (N, S * C, T, H, W) and (T, N, S * F)."""
        *mixing, from_maps, from_animal = self.proj_x
        fixed = in_time(from_maps(maps, state))
        # The animal's state is the same everywhere: no convolution is needed.
        streams = self._streams(state)
        by_stream = animal.unflatten(-1, (streams, -1))
        shift = per_stream(by_stream, state.kernel(from_animal)).flatten(2)
        fixed = fixed + shift[..., None, None]
        if self not in state.lstms:
            zero = fixed.new_zeros(fixed.shape[1], streams * self.hidden, *fixed.shape[3:])
            state.lstms[self] = (zero, zero)
        h, c = state.lstms[self]
        outputs = []
        for x in fixed:
            if mixing:
                x = x + convolve(h, state.kernel(mixing[0]))
            state.record("recurrent.x_before_tanh", x[None])
            i, f, g, o = self._gates(torch.tanh(x), h, state)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            state.record("recurrent.c", c[None])
            state.record("recurrent.h", h[None])
            outputs.append(h)
        state.lstms[self] = (h, c)
        stacked = torch.stack(outputs, 2)
        return in_time(self.out(stacked, state))

    def _streams(self, state: TwinState) -> int:
        return 1 if state.stream is not None else len(self.out.weights)

    def _gates(
        self, x: Tensor, h: Tensor, state: TwinState
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the four gates before their nonlinearities."""
        groups = self.groups * self._streams(state)
        inputs = join([x, h], groups)
        if self.has_attention:
            z = convolve(inputs, state.kernel(self.conv))
            state.record("recurrent.z", z[None])
            inputs = join([z, self._attention(z, groups, state)], groups)
        state.record("recurrent.gate_input", inputs[None])
        layers = [self.get_submodule(f"proj_{name}") for name in GATES]
        # One product for all gates reads the input once.
        gates = convolve(inputs, state.joint_kernel(self, layers, groups))
        by_group = gates.unflatten(1, (groups, len(GATES), -1))
        i, f, g, o = (gate.flatten(1, 2) for gate in by_group.unbind(2))
        for name, gate in zip(GATES, (i, f, g, o), strict=True):
            state.record(f"recurrent.{name}_before_nonlinearity", gate[None])
        return i, f, g, o

    def _attention(self, z: Tensor, groups: int, state: TwinState) -> Tensor:
        """Return the values of all positions, weighted by similarity; per group."""
        layers = [self.get_submodule(f"proj_{name}") for name in "qkv"]
        weight = state.joint_kernel(self.scales, layers, groups).weight
        by_group = weight.reshape(groups, -1, weight.shape[1]).transpose(1, 2)
        # Positions before channels: the attention needs rows without gaps.
        rows = z.unflatten(1, (groups, -1)).flatten(3).transpose(2, 3)
        q, k, v = (rows @ by_group).chunk(3, -1)
        if state.record is not no_record:
            for name, value in (("q", q), ("k", k), ("v", v)):
                state.record(f"recurrent.{name}", value.transpose(2, 3).reshape(z.shape)[None])
        chosen = self.scales if state.stream is None else [self.scales[state.stream]]
        scale = torch.cat(list(chosen))[:, None]
        # The length is never 0, so that no epsilon is added, as in the release.
        q = q / q.norm(dim=-1, keepdim=True) * scale
        k = k / k.norm(dim=-1, keepdim=True)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return mixed.transpose(2, 3).reshape(z.shape)


def convolve(x: Tensor, kernel: Kernel) -> Tensor:
    """Convolve one frame (N, C, H, W) with zeros around it."""
    weight = kernel.weight[:, :, 0]
    if weight.shape[-1] == 1:
        return mix_channels(x, kernel)
    groups = x.shape[1] // weight.shape[1]
    return F.conv2d(x, weight, kernel.bias, padding=weight.shape[-1] // 2, groups=groups)


# -- readout -------------------------------------------------------------------------
class Readout(nn.Module):
    """Logits of units: weighted features of the core at one position per unit."""

    def __init__(self, config: TwinConfig, n_units: int) -> None:
        super().__init__()
        self.position = Position(n_units)
        self.feature = Feature(config, n_units)
        self.biases = nn.ParameterList(torch.zeros(n_units, 1) for _ in range(config.streams))

    def forward(self, maps: Tensor, state: TwinState, units: Tensor | None) -> Tensor:
        """Return logits (T, N, S, U) of maps (T, N, S * C, H, W)."""
        if self not in state.kernels:
            chosen = range(len(self.biases)) if state.stream is None else (state.stream,)
            # (S, U, C) and (S, U): stacked once, as thousands of units take long.
            state.kernels[self] = Kernel(
                torch.stack([self.feature.weights[s][:, 0] for s in chosen]),
                torch.stack([self.biases[s][:, 0] for s in chosen]),
            )
        weight, bias = state.kernels[self].weight, state.kernels[self].bias
        assert bias is not None
        position = state.position
        if units is not None:
            weight, bias = weight[:, units], bias[:, units]
            position = position[:, units]
        points = torch.tanh(position)[:, :, None]
        n_frames, n_clips = maps.shape[:2]
        points = points.expand(n_clips, -1, -1, -1).repeat(n_frames, 1, 1, 1)
        features = F.grid_sample(
            maps.flatten(0, 1), points, padding_mode="border", align_corners=False
        )
        features = features.squeeze(-1).unflatten(1, (len(weight), -1))
        # An einsum would be one small matrix product per unit.
        logits: Tensor = (features * weight.transpose(1, 2)).sum(2) + bias
        return logits.reshape(n_frames, n_clips, *logits.shape[1:])


class Position(nn.Module):
    """Position of each unit on the maps, before tanh; in training, a Gaussian."""

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(n_units, 2))
        self.sigma = nn.Parameter(POSITION_SD * torch.eye(2).repeat(n_units, 1, 1))

    @torch.no_grad()
    def reset_noise(self, sd: float) -> None:
        """Give the noise of all positions one standard deviation in all directions."""
        self.sigma.copy_(sd * torch.eye(2).expand_as(self.sigma))

    def draw(self, n_clips: int) -> Tensor:
        """Return positions (1, U, 2), in training (N, U, 2) with noise."""
        if not self.training:
            return self.mu[None]
        noise = torch.randn(n_clips, *self.mu.shape).to(self.mu)
        return self.mu + torch.einsum("uij,nuj->nui", self.sigma, noise)


class Feature(nn.Module):
    """Feature weights (U, 1, C) of each stream."""

    def __init__(self, config: TwinConfig, n_units: int) -> None:
        super().__init__()
        size = (n_units, 1, config.out_channels)
        self.weights = nn.ParameterList(torch.zeros(size) for _ in range(config.streams))


# -- network -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class TwinOutput:
    """Output of the network.

    Attributes
    ----------
    logits_streams
        (T, N, S, U); one stream if only one is in use.
    logits
        (T, N, U): mean over streams.
    rates
        (T, N, U): never negative, in units of the training-set mean of each unit.
    """

    logits_streams: Tensor
    logits: Tensor
    rates: Tensor


class TwinNetwork(nn.Module):
    """Rates of units from video, gaze and behaviour, causally and frame by frame.

    Parameters
    ----------
    config
        Sizes.
    n_units
        Units of the scan.
    """

    def __init__(self, config: TwinConfig, n_units: int) -> None:
        super().__init__()
        self.config, self.n_units = config, n_units
        self.core = Core(config)
        self.perspective = Perspective(config)
        self.modulation = Modulation(config)
        self.readout = Readout(config, n_units)

    def start(self, n_clips: int = 1, stream: int | None = None) -> TwinState:
        """Return the state before the first frame.

        Parameters
        ----------
        stream
            Use this stream alone; all streams by default.
        """
        return TwinState(
            n_clips,
            stream,
            self.perspective.monitor.draw(n_clips),
            self.readout.position.draw(n_clips),
        )

    def forward(
        self,
        stimuli: Tensor,
        pupil: Tensor | None,
        behavior: Tensor | None,
        state: TwinState,
        units: Tensor | None = None,
    ) -> TwinOutput:
        """Return the rates of frames that follow those before, and update the state.

        Parameters
        ----------
        stimuli
            Grey levels (T, N or 1, colours, H, W) from 0 to 1.
        pupil, behavior
            (T, N, 2) z-scored pupil x and y; (T, N, 2) pupil radius and running. None
            and NaN enter as 0.
        units
            Indices of the units to predict; all by default.
        """
        parts = self.maps(stimuli, pupil, behavior, state)
        by_stream = torch.cat([self.readout(maps, state, units) for maps in parts])
        logits = by_stream.mean(2)
        return TwinOutput(by_stream, logits, self.rates(logits))

    def maps(
        self, stimuli: Tensor, pupil: Tensor | None, behavior: Tensor | None, state: TwinState
    ) -> Iterator[Tensor]:
        """Yield the core's maps (T, N, S * C, H, W), some frames at a time.

        They are all that the readout of any unit needs. Arguments are those of
        `forward`.
        """
        shape = n_frames, n_clips = len(stimuli), state.n_clips
        pupil = _filled(pupil, (*shape, self.config.pupil), stimuli)
        behavior = _filled(behavior, (*shape, self.config.behavior), stimuli)
        stimuli = stimuli.expand(-1, n_clips, -1, -1, -1)
        for first in range(0, n_frames, FRAMES_AT_ONCE):
            now = slice(first, first + FRAMES_AT_ONCE)
            retina = self.perspective(stimuli[now], pupil[now], state)
            animal = self.modulation(behavior[now], state)
            yield self.core(retina, animal, state)

    def rates(self, logits: Tensor) -> Tensor:
        """Return the rates of logits."""
        return logits.exp() if self.config.unit == "poisson" else F.elu(logits) + 1

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample: Poisson without its constant, or squared."""
        if self.config.unit == "poisson":
            return logits.exp() - targets * logits
        return (self.rates(logits) - targets) ** 2

    def loss(self, logits: Tensor, targets: Tensor, burn_in: int) -> Tensor:
        """Return the mean loss after the first frames, over finite targets."""
        logits, targets = logits[burn_in:], targets[burn_in:]
        is_recorded = targets.isfinite()
        losses = self.losses(logits, torch.nan_to_num(targets))
        # 0 without a recorded response, and no gradient.
        n_recorded = is_recorded.sum().clamp(min=1)
        return torch.where(is_recorded, losses, 0.0).sum() / n_recorded

    def barcodes(self) -> Tensor:
        """Return the feature weights (U, S * C): the functional barcodes."""
        return torch.cat([w[:, 0] for w in self.readout.feature.weights], 1)

    def positions(self) -> Tensor:
        """Return the position (U, 2) of each unit on the maps: x and y from -1 to 1.

        y points down, in which the maps are sampled.
        """
        return torch.tanh(self.readout.position.mu)


def _filled(values: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return behaviour without gaps: None and NaN are 0, the mean of the training."""
    if values is None:
        return like.new_zeros(shape)
    return torch.nan_to_num(values, nan=0.0).expand(shape)
