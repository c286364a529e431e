"""Everything that decides OmniMouse's computation, and the released sizes (spec §2)."""

from dataclasses import dataclass, field
from typing import Literal

from omnimouse_model.nets.video import HieraConfig


@dataclass(frozen=True, slots=True)
class OmniMouseConfig:
    """Everything that decides the computation; defaults are the released 5M model.

    Times in samples are response samples. Names follow the official configuration
    (spec §2). `hidden_video`, `ideal_times` and the encoder's `windows` are ours:
    official checkpoints use "cut", False and "official".
    """

    d_model: int = 256
    num_heads: int = 4
    num_kv_heads: int | None = None
    num_layers: int = 6
    num_blocks: int = 1
    local_to_global_ratio: tuple[int, int] | None = (5, 1)
    d_embedding: int = 256
    ffn_hidden_mult: float = 2.67
    decoder_ffn_hidden_mult: float = 4.0
    norm_eps: float = 1e-5
    drop_path_rate: float = 0.0
    use_global_nope: bool = False
    per_modality_decoders: bool = False
    always_use_animal_embeddings: bool = True
    add_meta_to_embeddings: bool = True
    add_meta_to_latents: bool = True
    add_meta_to_video_feats: bool = False
    add_exp_time_embedding: bool = False
    max_recording_len_s: int = 18000
    absolute_experiment_time_precision_s: float = 1.0
    sample_rate_hz: float = 30.0
    n_samples: int = 60
    max_population_size: int = 4096
    n_neurons_multiple_of: int | None = None
    skip_n_samples: int = 5
    interpolation_buffer: int = 5
    response_window_samples: int = 10
    response_stride_samples: int = 5
    response_query_lookback_samples: int = 0
    response_query_lookahead_samples: int | None = None
    num_response_latent_groups: int = 640
    response_latent_window_samples: int = 10
    response_latent_stride_samples: int = 10
    num_global_latents: int = 256
    rope_base: float | None = None
    rope_use_radians: bool = True
    softplus_beta: float = 0.1
    behavior_channels: int = 5
    n_behavior_samples: int = 40
    enable_fallback_sensorium_behavior: bool = False
    poisson_eps: float = 1e-5
    response_loss_clamp: float = 100.0
    behavior_loss_clamp: float = 10.0
    behavior_loss_factor: float = 0.1
    hiera: HieraConfig = field(default_factory=HieraConfig)
    hidden_video: Literal["cut", "blank"] = "cut"
    ideal_times: bool = False

    @property
    def n_slots(self) -> int:
        """Time slots that have latents of their own."""
        span = self.n_samples - self.response_latent_window_samples
        return -(-span // self.response_latent_stride_samples) + 1

    @property
    def query_lookahead(self) -> int:
        """Samples that a query looks ahead of its first."""
        ahead = self.response_query_lookahead_samples
        return self.response_window_samples if ahead is None else ahead

    def layer_is_local(self) -> tuple[bool, ...]:
        """The local/global schedule: a prefix of local layers, then whole cycles."""
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


SIZES: dict[str, OmniMouseConfig] = {
    "1M": _size(2, 256, 4, (1, 1), (2, 2)),
    "5M": _size(6, 256, 4, (5, 1), (2, 2)),
    "20M": _size(6, 512, 8, (5, 1), (2, 8)),
    "80M": _size(12, 768, 12, (5, 1), (2, 8)),
    "300M": _size(24, 1024, 16, (5, 1), (2, 8)),
}
"""The released sizes (spec §2); the name counts the processor, not the total."""
