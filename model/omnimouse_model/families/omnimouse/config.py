"""The configuration of OmniMouse, and the sizes that were released.

Times in samples are response samples (30 Hz). Field names are those of the official
configuration, so that its files can be read without a translation table. Three
fields are our own: `hidden_video`, `ideal_times` and the video encoder's `windows`;
official checkpoints use "cut", False and "official".
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.masks.cells import BehaviorMode
from omnimouse_model.predict.devices import on_device
from omnimouse_model.storage.trees import Within

WindowLayout = Literal["official", "spatial"]
Number = Annotated[int, Within(-(10**6), 10**6)]
Size = Annotated[int, Within(1, 10**6)]
Layers = Annotated[int, Within(0, 1000)]
"""Limits: even a list of layers of a hostile file could fill the memory."""


def hidden_size(dim: int, ratio: float) -> int:
    """Size of a feed-forward layer: `dim * ratio`, rounded up to a multiple of 128.

    As in the official code, the product is not rounded up to an integer first. Example:
    a product of 256.5 gives 256, not 384.
    """
    return int(128 * ((dim * ratio + 127) // 128))


@dataclass(frozen=True, slots=True)
class HieraConfig:
    """Shape of the video encoder; the defaults are those of the 1M and 5M models.

    Tuples of three are (time, y, x).
    """

    embed_dim: Size = 128
    num_heads: Size = 2
    # Blocks in each of the two stages; the first block of stage 2 pools 2x2.
    stages: tuple[Layers, Layers] = (2, 2)
    mask_unit_size: tuple[Size, Size, Size] = (1, 8, 8)
    patch_kernel: tuple[Size, Size, Size] = (6, 7, 7)
    patch_stride: tuple[Size, Size, Size] = (2, 2, 2)
    patch_padding: tuple[Number, Number, Number] = (2, 1, 3)
    mlp_ratio: float = 2.67
    drop_path_rate: float = 0.25
    channels: Size = 1
    frames: Size = 60
    resolution: tuple[Size, Size] = (36, 64)
    windows: WindowLayout = "official"

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patch grid (t, y, x) before pooling."""
        sizes = (self.frames, *self.resolution)
        axes = zip(sizes, self.patch_padding, self.patch_kernel, self.patch_stride, strict=True)
        t, y, x = ((size + 2 * pad - kernel) // stride + 1 for size, pad, kernel, stride in axes)
        return t, y, x

    @property
    def tokens_per_step(self) -> int:
        """Video tokens of one time step, after the 2x2 pooling."""
        _, y, x = self.grid
        return (y // 2) * (x // 2)

    @property
    def out_dim(self) -> int:
        """Features of a token; stage 2 is twice as wide as stage 1."""
        return 2 * self.embed_dim


@dataclass(frozen=True, slots=True)
class OmniMouseConfig:
    """All values that determine the computation; defaults are the released 5M model."""

    # The transformer (paper, Table 1).
    d_model: Size = 256
    num_heads: Size = 4
    num_kv_heads: Size | None = None
    num_layers: Layers = 6
    num_blocks: Annotated[int, Within(1, 64)] = 1
    local_to_global_ratio: tuple[Number, Number] | None = (5, 1)
    d_embedding: Size = 256
    ffn_hidden_mult: float = 2.67
    decoder_ffn_hidden_mult: float = 4.0
    norm_eps: Annotated[float, Within(0, 1)] = 1e-5
    drop_path_rate: float = 0.0
    use_global_nope: bool = False
    per_modality_decoders: bool = False
    # Session, animal and time: what is added to which tokens.
    always_use_animal_embeddings: bool = True
    add_meta_to_embeddings: bool = True
    add_meta_to_latents: bool = True
    add_meta_to_video_feats: bool = False
    add_exp_time_embedding: bool = False
    max_recording_len_s: Number = 18000
    absolute_experiment_time_precision_s: float = 1.0
    # The window of data.
    sample_rate_hz: float = 30.0
    n_samples: Number = 60
    max_population_size: Number = 4096
    n_neurons_multiple_of: Number | None = None
    skip_n_samples: Number = 5
    interpolation_buffer: Number = 5
    # Response tokens, response queries and latents.
    response_window_samples: Number = 10
    response_stride_samples: Number = 5
    response_query_lookback_samples: Number = 0
    response_query_lookahead_samples: Number | None = None
    num_response_latent_groups: Number = 640
    response_latent_window_samples: Number = 10
    response_latent_stride_samples: Number = 10
    num_global_latents: Number = 256
    rope_base: float | None = None
    rope_use_radians: bool = True
    # Readouts and losses.
    softplus_beta: Annotated[float, Within(1e-6, 1e6)] = 0.1
    behavior_channels: Number = 5
    n_behavior_samples: Number = 40
    enable_fallback_sensorium_behavior: bool = False
    poisson_eps: float = 1e-5
    response_loss_clamp: float = 100.0
    behavior_loss_clamp: float = 10.0
    behavior_loss_factor: float = 0.1
    # Video. "blank" and ideal times are for new models: official weights were trained
    # with hidden frames that inform their neighbours, and with noisy times.
    hiera: HieraConfig = field(default_factory=HieraConfig)
    hidden_video: Literal["cut", "blank"] = "cut"
    ideal_times: bool = False

    @property
    def spec(self) -> WindowSpec:
        """Specification of the windows that the model reads; raises for other numbers."""
        spec = replace(OMNIMOUSE, response_rate_hz=self.sample_rate_hz)
        if {spec.n_samples, self.n_samples} != {OMNIMOUSE.n_samples}:
            raise ValueError(
                f"{self.n_samples} samples at {self.sample_rate_hz:g} Hz are no window of "
                f"{OMNIMOUSE.n_samples} samples in {OMNIMOUSE.duration_s:g} s"
            )
        return spec

    @property
    def n_slots(self) -> int:
        """Time slots that have latents of their own."""
        span = self.n_samples - self.response_latent_window_samples
        return -(-span // self.response_latent_stride_samples) + 1

    def layer_is_local(self) -> tuple[bool, ...]:
        """Which layers are local: a prefix of local layers, then whole cycles.

        The remainder of the division is in front, so that the last layer is global.
        """
        ratio = self.local_to_global_ratio
        if ratio is None or ratio[1] == 0:
            return (True,) * self.num_layers
        n_local, n_global = ratio
        cycle = (True,) * n_local + (False,) * n_global
        prefix = (True,) * (self.num_layers % len(cycle))
        return prefix + cycle * (self.num_layers // len(cycle))


def _size(
    layers: int, d: int, heads: int, ratio: tuple[int, int], stages: tuple[int, int]
) -> OmniMouseConfig:
    return OmniMouseConfig(
        d_model=d,
        num_heads=heads,
        num_layers=layers,
        local_to_global_ratio=ratio,
        hiera=HieraConfig(stages=stages),
    )


# Table 1 of the paper gives 8 heads for 5M and one local:global ratio for all; the
# released weights have 4 heads, and 1M, with two layers, has the ratio 1:1.
SIZES: dict[str, OmniMouseConfig] = {
    "1M": _size(2, 256, 4, (1, 1), (2, 2)),
    "5M": _size(6, 256, 4, (5, 1), (2, 2)),
    "20M": _size(6, 512, 8, (5, 1), (2, 8)),
    "80M": _size(12, 768, 12, (5, 1), (2, 8)),
    "300M": _size(24, 1024, 16, (5, 1), (2, 8)),
}
"""The released sizes; the name counts the parameters of the processor, not all."""


# -- Input of the network: a `Layout` (which cells) and a `WindowBatch` (their values)
# A layout contains positions in the neuron order and sample numbers, but no neurons,
# values or seconds. One layout therefore serves every window and every batch item of
# one mask. `families/omnimouse/tokens.py` makes both from a window and a mask.


@dataclass(frozen=True, slots=True)
class Layout:
    """Indices of the tokens and queries of one mask.

    Attributes
    ----------
    token_neurons, token_samples
        int64 (E,): position in the neuron order and first sample of each response
        token, sorted by sample, then position.
    query_neurons, query_samples
        int64 (Q,): the same for the 5-sample response queries.
    token_runs, query_runs
        (first sample, count) of the runs of equal first sample.
    video_steps
        int64 (V,): visible time steps of the video encoder.
    frames
        bool (60,): visible frames.
    context_span
        (start, stop) samples in which time-slot latents exist.
    """

    # Times are not here: the same mask in another window has the same layout.
    token_neurons: Tensor
    token_samples: Tensor
    query_neurons: Tensor
    query_samples: Tensor
    token_runs: tuple[tuple[int, int], ...]
    query_runs: tuple[tuple[int, int], ...]
    video_steps: Tensor
    frames: Tensor
    behavior: BehaviorMode
    context_span: tuple[int, int]
    n_neurons: int

    @property
    def responses_missing(self) -> bool:
        """There is no response token."""
        return not len(self.token_neurons)

    @property
    def video_missing(self) -> bool:
        """There is no visible frame."""
        return not bool(self.frames.any())

    @property
    def all_steps(self) -> bool:
        """Every frame is visible."""
        return bool(self.frames.all())

    def to(self, device: torch.device | str) -> "Layout":
        """Move the indices to a device."""
        # `frames` stays on the CPU: it decides branches, and reading one value from
        # a GPU would wait for all work in its queue.
        return on_device(self, device, kept=("frames",))


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Values of one batch of windows of one session, without the video.

    Attributes
    ----------
    session
        Key of the session's embeddings.
    neuron_ids
        int64 (B, N): the population in its order, per item.
    responses
        float32 (B, 60, N): values in that order; only visible ones are used.
    behavior
        float32 (B, C, 40), used only when it is visible.
    response_times, video_times
        seconds since the first sample of each item, (B or 1, 60) each, CPU.
    start_times
        absolute seconds of the first sample (B,), for the experiment-time embedding.
    """

    # Items may have different neurons, or one population in different orders.
    session: str
    neuron_ids: Int[Tensor, "batch neuron"]
    responses: Float[Tensor, "batch sample neuron"]
    behavior: Float[Tensor, "batch channel time"] | None
    response_times: Tensor
    video_times: Tensor
    start_times: Tensor | None = None

    def items(self, start: int, stop: int) -> "WindowBatch":
        """Return the items `start` to `stop` as a batch of their own."""
        values = {name: getattr(self, name) for name in self.__slots__}
        of_items: dict[str, Any] = {
            name: value[start:stop]
            for name, value in values.items()
            # Times with one row are shared by all items.
            if isinstance(value, Tensor) and len(value) == len(self.responses)
        }
        return replace(self, **of_items)

    def to(self, device: torch.device | str) -> "WindowBatch":
        """Move the values to a device."""
        # Response and video times stay on the CPU, where intervals are computed from
        # them.
        return on_device(self, device, kept=("response_times", "video_times"))
