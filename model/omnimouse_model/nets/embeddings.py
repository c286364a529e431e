"""OmniMouse's tables: sessions, neurons, animals, latents, response features, rotary.

Parameter and buffer names are those of the released checkpoints.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.nets.config import OmniMouseConfig
from omnimouse_model.nets.layout import Layout
from omnimouse_model.nets.plan import Intervals

BEHAVIOR_SECONDS = 2.0


class SessionParameters(nn.Module):
    """One session's vectors: itself, its neurons, their biases."""

    def __init__(self, n_neurons: int, d_embedding: int) -> None:
        super().__init__()
        self._session_embedding = nn.Parameter(torch.zeros(d_embedding))
        self._neuron_embeddings = nn.Embedding(n_neurons, d_embedding)
        self._neuron_biases = nn.Parameter(torch.zeros(n_neurons, 1))

    @property
    def n_neurons(self) -> int:
        """Neurons of the session."""
        return self._neuron_embeddings.num_embeddings

    @property
    def vector(self) -> Tensor:
        """The session's own vector (e,)."""
        return self._session_embedding

    def neurons(self, ids: Tensor) -> Tensor:
        """Neuron vectors (…, e)."""
        out: Tensor = self._neuron_embeddings(ids)
        return out

    def biases(self, ids: Tensor) -> Tensor:
        """Readout biases of neurons (…, 1)."""
        return self._neuron_biases[ids]


class AnimalParameters(nn.Module):
    """One vector per animal, all animals of the training run."""

    def __init__(self, animals: tuple[str, ...], d_embedding: int) -> None:
        super().__init__()
        self._animal_embeddings = nn.ParameterDict(
            {animal: nn.Parameter(torch.zeros(d_embedding)) for animal in animals}
        )

    def vector(self, animal: str) -> Tensor:
        """One animal's vector (e,)."""
        out: Tensor = self._animal_embeddings[animal]
        return out


class ExperimentTime(nn.Module):
    """Sinusoids of the time since the start of the recording (§4; off by default)."""

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        position = torch.arange(length)[:, None]
        rate = torch.exp(
            torch.arange(0, dim, 2) * (-torch.log(torch.tensor(1e5)) / dim)
        )
        table = torch.zeros(length, dim)
        table[:, 0::2] = torch.sin(position * rate)
        table[:, 1::2] = torch.cos(position * rate)
        self.register_buffer("positional_embeddings", table)
        self.positional_embeddings: Tensor


class Latents(nn.Module):
    """Slot latents (one table, shared over slots) and the global registers (§7)."""

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        groups, registers = config.num_response_latent_groups, config.num_global_latents
        slots, rate = config.n_slots, config.sample_rate_hz
        self.groups, self.registers = groups, registers
        self._latent_embeddings = nn.Embedding(groups + registers, config.d_model)
        slot_times = torch.arange(slots) * (
            config.response_latent_stride_samples / rate
        )
        length = config.response_latent_window_samples / rate
        self.register_buffer(
            "_latent_ids",
            torch.cat(
                [torch.arange(groups).repeat(slots), groups + torch.arange(registers)]
            ),
        )
        self.register_buffer(
            "_latent_timestamps",
            torch.cat([slot_times.repeat_interleave(groups), torch.zeros(registers)]),
        )
        self.register_buffer(
            "_latent_window_sizes",
            torch.cat(
                [
                    torch.full((slots * groups,), length),
                    torch.full((registers,), BEHAVIOR_SECONDS),
                ]
            ),
        )
        self._latent_ids: Tensor
        self._latent_timestamps: Tensor
        self._latent_window_sizes: Tensor

    def select(
        self, span: tuple[int, int], rate: float
    ) -> tuple[Tensor, Tensor, Intervals]:
        """Vectors (L, d), timestamps (L,) and intervals of the latents in a span."""
        times = self._latent_timestamps
        start = span[0] / rate
        stop = start + (span[1] - span[0]) / rate
        kept = (times >= start) & (times < stop)
        kept[-self.registers :] = True
        ids, times = self._latent_ids[kept], times[kept]
        sizes = self._latent_window_sizes[kept]
        slots = (len(ids) - self.registers) // self.groups
        first = [slot * self.groups for slot in range(slots)] + [slots * self.groups]
        starts = times[first].cpu()
        intervals = Intervals(
            starts,
            starts + sizes[first].cpu(),
            (self.groups,) * slots + (self.registers,),
        )
        return self._latent_embeddings(ids), times, intervals


class ResponseFeatures(nn.Module):
    """A 10-sample window of one neuron to a token (a strided convolution)."""

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        self._feature_proj = nn.Conv1d(
            1,
            config.d_model,
            config.response_window_samples,
            config.response_stride_samples,
        )

    def forward(
        self, responses: Float[Tensor, "batch sample neuron"], layout: Layout
    ) -> Float[Tensor, "batch token dim"]:
        """Tokens at the layout's (sample, neuron) places."""
        kernel: Tensor = self._feature_proj.weight[:, 0]
        windows = responses.unfold(1, kernel.shape[1], 1)
        windows = windows[:, layout.token_samples, layout.token_neurons]
        return F.linear(windows, kernel, self._feature_proj.bias)


class RotaryFrequencies(nn.Module):
    """Inverse frequencies of the rotary angles, float64, in rad/s (§11)."""

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        head_dim = config.d_model // config.num_heads
        base = config.rope_base or 2000.0
        pairs = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
        scale = 2 * torch.pi if config.rope_use_radians else 1.0
        self.register_buffer("inv_freq", scale / 0.001 * base**-pairs)
        self.inv_freq: Tensor
