"""The trunk, from tokens to the context for queries, and the readouts.

In reading order (paper, section 4, "Model architecture"):

1. embeddings of sessions, neurons and animals
2. latents of the time slots, and response tokens
3. the sequence through the local and global layers

`network` composes these parts. The transformer blocks are in `attention`, and the times
at which a token may attend another in `times`. Nothing here depends on a file, a mask
or a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.nets.constants import constant_values
from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.layout import Layout, WindowBatch
from omnimouse_model.nets.omnimouse.times import AttentionPlan, Intervals, Phases

WINDOW_S = 2.0
"""Length of a window: behaviour and registers are present in all of it."""


# -- 1. embeddings --------------------------------------------------------------------
# Learned vectors identify neurons, sessions and animals (POYO; Azabou et al., 2023).
# They have d_embedding features and are projected to d_model, because the neurons are
# most of the parameters. Names of parameters and buffers are those of the released
# checkpoints.


def vector_table(n_vectors: int, dim: int) -> nn.Embedding:
    """Return a table of vectors that are 0; `nn.Embedding` alone would draw them."""
    zeros = torch.zeros(n_vectors, dim)
    table: nn.Embedding = nn.Embedding.from_pretrained(zeros, freeze=False)
    return table


class SessionParameters(nn.Module):
    """Vectors of one session and its neurons, and the biases of the neurons."""

    def __init__(self, n_neurons: int, d_embedding: int) -> None:
        super().__init__()
        self._session_embedding = nn.Parameter(torch.zeros(d_embedding))
        self._neuron_embeddings = vector_table(n_neurons, d_embedding)
        # One bias per neuron, for all five samples of a query.
        self._neuron_biases = nn.Parameter(torch.zeros(n_neurons, 1))

    @property
    def n_neurons(self) -> int:
        """Neurons of the session."""
        return self._neuron_embeddings.num_embeddings

    @property
    def vector(self) -> Tensor:
        """The vector of the session (e,)."""
        return self._session_embedding

    def neurons(self, ids: Tensor) -> Tensor:
        """Neuron vectors (…, e)."""
        out: Tensor = self._neuron_embeddings(ids)
        return out

    def biases(self, ids: Tensor) -> Tensor:
        """Readout biases of neurons (…, 1)."""
        return self._neuron_biases[ids]


class AnimalParameters(nn.Module):
    """One vector per animal, for all animals of the training run."""

    def __init__(self, animals: tuple[str, ...], d_embedding: int) -> None:
        super().__init__()
        self._animal_embeddings = nn.ParameterDict(
            {animal: nn.Parameter(torch.zeros(d_embedding)) for animal in animals}
        )

    def vector(self, animal: str) -> Tensor:
        """The vector of one animal (e,)."""
        out: Tensor = self._animal_embeddings[animal]
        return out


class ExperimentTime(nn.Module):
    """Sinusoids of the time since the start of the recording; off by default."""

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        self.precision_s = config.absolute_experiment_time_precision_s
        length, dim = config.max_recording_len_s / self.precision_s, config.d_embedding
        table = constant_values(
            (int(length), dim), lambda: sinusoids(int(length), dim), torch.float32
        )
        self.register_buffer("positional_embeddings", table)
        self.positional_embeddings: Tensor

    def forward(self, seconds: Float[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
        """Vectors of absolute times."""
        return self.positional_embeddings[(seconds / self.precision_s).long()]


def sinusoids(n_positions: int, dim: int) -> Float[Tensor, "positions dim"]:
    """Sinusoids of Vaswani et al. (2017), with the base 1e5 in place of 1e4."""
    position = torch.arange(n_positions)[:, None]
    rate = torch.exp(torch.arange(0, dim, 2) * (-torch.log(torch.tensor(1e5)) / dim))
    table = torch.zeros(n_positions, dim)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


# -- 2. latents and response tokens ---------------------------------------------------


class Latents(nn.Module):
    """Latents of the time slots, and global registers.

    One table of latents is repeated for each slot, with the time of the slot (POYO).
    Registers belong to no slot and attend everything (Darcet et al., 2023).
    """

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        groups, registers = config.num_response_latent_groups, config.num_global_latents
        slots, rate = config.n_slots, config.sample_rate_hz
        self.groups, self.registers = groups, registers
        self._latent_embeddings = vector_table(groups + registers, config.d_model)
        stride_s = config.response_latent_stride_samples / rate
        length_s = config.response_latent_window_samples / rate

        def ids() -> Tensor:
            return torch.cat([torch.arange(groups).repeat(slots), groups + torch.arange(registers)])

        def timestamps() -> Tensor:
            starts = (torch.arange(slots) * stride_s).repeat_interleave(groups)
            return torch.cat([starts, torch.zeros(registers)])

        def window_sizes() -> Tensor:
            lengths = torch.full((slots * groups,), length_s)
            return torch.cat([lengths, torch.full((registers,), WINDOW_S)])

        # Buffers because the released checkpoints contain them. The latents of all
        # slots come first, registers last: in all of the window, from time 0.
        for make, kind in (
            (ids, torch.int64),
            (timestamps, torch.float32),
            (window_sizes, torch.float32),
        ):
            values = constant_values((slots * groups + registers,), make, kind)
            self.register_buffer(f"_latent_{make.__name__}", values)
        self._latent_ids: Tensor
        self._latent_timestamps: Tensor
        self._latent_window_sizes: Tensor

    def select(self, span: tuple[int, int], rate: float) -> tuple[Tensor, Tensor, Intervals]:
        """Vectors (L, d), timestamps (L,) and intervals of the latents in a span."""
        times = self._latent_timestamps
        start = span[0] / rate
        stop = start + (span[1] - span[0]) / rate
        # Float32 times against Python floats, as in the official code: the comparison
        # decides whether the slot at the end of a span is in it.
        selected = (times >= start) & (times < stop)
        selected[-self.registers :] = True
        ids, times = self._latent_ids[selected], times[selected]
        sizes = self._latent_window_sizes[selected]
        slots = (len(ids) - self.registers) // self.groups
        # The first latent of each slot, and the first register, stand for their runs.
        first = [slot * self.groups for slot in range(slots)] + [slots * self.groups]
        starts = times[first].cpu()
        intervals = Intervals(
            starts,
            starts + sizes[first].cpu(),
            (self.groups,) * slots + (self.registers,),
        )
        return self._latent_embeddings(ids), times, intervals


class ResponseFeatures(nn.Module):
    """A window of 10 samples of one neuron to a token (a strided convolution)."""

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
        """Tokens at the (sample, neuron) places of the layout."""
        # Not called as a convolution: only windows of visible cells are computed, and
        # these start at other samples for each neuron.
        kernel: Tensor = self._feature_proj.weight[:, 0]
        windows = responses.unfold(1, kernel.shape[1], 1)
        windows = windows[:, layout.token_samples, layout.token_neurons]
        return F.linear(windows, kernel, self._feature_proj.bias)


def token_intervals(config: OmniMouseConfig, windows: WindowBatch, layout: Layout) -> Intervals:
    """Intervals of the response tokens, then of the behaviour tokens."""
    length = config.response_window_samples / config.sample_rate_hz
    parts = [Intervals.of_samples(windows, layout.token_runs, 0.0, length)]
    if layout.behavior == "visible":
        # A channel is one token for the whole window: every latent may attend it.
        window = torch.zeros(1), torch.full((1,), WINDOW_S)
        parts.append(Intervals(*window, (config.behavior_channels,)))
    return Intervals.join(parts)


# -- 3. the sequence through the layers -----------------------------------------------


@dataclass(frozen=True, slots=True)
class EncodedLatents:
    """Latents that have attended tokens, before video and queries."""

    meta: Tensor
    latents: Tensor
    intervals: Intervals
    phases: Phases


@dataclass(frozen=True, slots=True)
class EncodedTokens(EncodedLatents):
    """Latents, and the parts from which they were computed in one product."""

    neuron_vectors: Tensor
    tokens: Tensor
    latents_start: Tensor
    encoder_plan: AttentionPlan | None


@dataclass(frozen=True, slots=True)
class TrunkContext:
    """The encoded context that queries attend, and its parts for the parity tests.

    `encoded` are in the order of the batch; `meta` is of all. `neuron_vectors` are those
    of the neurons that response queries name.
    """

    encoded: tuple[EncodedLatents, ...]
    meta: Tensor
    neuron_vectors: Tensor | None
    video_tokens: Tensor | None
    processed: Tensor
    keys: tuple[tuple[Tensor, Tensor], ...]
    intervals: Intervals
    processor_plan: AttentionPlan
    sample_phases: Phases


def join_batch(parts: list[Tensor], encoded: Sequence[EncodedLatents]) -> Tensor:
    """Join along the batch; a part with one row serves all items of its layout."""
    if len(parts) == 1:
        return parts[0]
    sizes = [len(part.latents) for part in encoded]
    return torch.cat(
        [part.expand(n, *part.shape[1:]) for part, n in zip(parts, sizes, strict=True)]
    )


def run_layers(
    blocks: nn.ModuleList,
    config: OmniMouseConfig,
    x: Float[Tensor, "batch length dim"],
    phases: Phases,
    local: AttentionPlan,
    rows: Tensor | None,
) -> Float[Tensor, "batch row dim"]:
    """All layers: local ones under the plan, global ones over the whole sequence.

    The last layer is computed for the selected rows only.
    """
    layers = list(zip(blocks, config.layer_is_local(), strict=True))
    # Repeats of the whole stack share their weights.
    layers *= config.num_blocks
    for number, (block, is_local) in enumerate(layers):
        skips_rotary = config.use_global_nope and not is_local
        x = block(
            x,
            # Order in time is then known to the local layers only.
            None if skips_rotary else phases,
            local if is_local else None,
            rows if number == len(layers) - 1 else None,
        )
    return x


# -- the readout: queries, their answers, and the losses that compare them with data --
# A response query is the vector of a neuron at the time of its first of five samples; a
# behaviour query is the vector of a channel. The decoder of the trunk's form
# (`trunk.CrossBlock`) attends the context, and linear readouts give the values (paper,
# section 4).
def query_intervals(config: OmniMouseConfig, windows: WindowBatch, layout: Layout) -> Intervals:
    """Intervals of the response queries.

    They look ahead: by default from the first sample to 10 samples later. The paper
    calls this attention causal; the released code and weights are not.
    """
    rate = config.sample_rate_hz
    # Seconds, because recorded samples are not exactly 1/30 s apart.
    back = config.response_query_lookback_samples / rate
    return Intervals.of_samples(windows, layout.query_runs, back, config.query_lookahead / rate)


def attended_runs(
    config: OmniMouseConfig, windows: WindowBatch, layout: Layout, context: Intervals
) -> Tensor | None:
    """Runs of the context that queries may attend, bool (runs,); None for all.

    The last layer needs to be computed for these only. Behaviour queries attend all,
    and a last layer that is local is computed whole: its plan has all rows.
    """
    is_last_local = config.layer_is_local()[-1]
    if is_last_local or layout.behavior == "target" or not layout.query_runs:
        return None
    queries = query_intervals(config, windows, layout)
    if config.ideal_times:
        context, queries = context.ideal(), queries.ideal()
    # If no query may attend anything, all rows are computed: an empty sequence would
    # have to be handled in every later step.
    attended = context.seen_by(queries)
    return None if attended.all() or not attended.any() else attended


def rows_of(runs: Tensor, intervals: Intervals) -> Tensor:
    """Elements of the selected runs, int64 (rows,)."""
    counts = torch.tensor(intervals.counts)
    return runs.repeat_interleave(counts).nonzero()[:, 0]


def rates_from_logits(
    logits: Float[Tensor, "batch query sample"], beta: float
) -> Float[Tensor, "batch query sample"]:
    """Rates in float32, which are positive: Softplus, linear for beta x > 20."""
    # By default beta is 0.1: a rate at logit 0 is 6.9, and changes slowly around it.
    return F.softplus(logits.float(), beta=beta, threshold=20)


def behavior_from_hidden(
    hidden: Float[Tensor, "batch channel dim"],
    weight: Float[Tensor, "channel time dim"],
) -> Float[Tensor, "batch channel time"]:
    """Behaviour in float32; every channel has its own linear map."""
    # Not a matrix product: autocast would compute that in bf16.
    weighted = hidden.float()[:, :, None] * weight
    return weighted.sum(dim=-1)


def poisson_loss(
    rates: Float[Tensor, "*shape"],
    targets: Float[Tensor, "*shape"],
    eps: float = 1e-5,
    clamp: float = 100.0,
) -> Float[Tensor, ""]:
    """Poisson negative log likelihood without the Stirling term, clamped, averaged."""
    # eps keeps the logarithm finite at rate 0; the clamp limits single outliers.
    loss = rates - targets * torch.log(rates + eps)
    return loss.clamp(-clamp, clamp).mean()


def behavior_loss(
    predicted: Float[Tensor, "*cell"],
    targets: Float[Tensor, "*cell"],
    clamp: float = 10.0,
) -> Float[Tensor, ""]:
    """Squared error, clamped per element, averaged."""
    # A clamped element has no gradient: single outliers do not dominate a step.
    return (predicted - targets).square().clamp(max=clamp).mean()
