"""OmniMouse (ICLR 2026): the stages of one forward pass, in order.

1. identity: the meta vector of the session and its animal; neuron vectors
2. tokens: responses, behaviour, video
3. context: latents attend the tokens once; then latents and video tokens pass through
   local and global self-attention layers
4. readout: queries attend the context; linear readouts

A forward pass is four calls, so that each result can serve several others: one video
many masks, one context many queries.

    video = net.encode_video(frames, layout)
    context = net.encode(windows, layout, video)
    rates, _ = net.decode_responses(windows, layout, context)
    behavior, _ = net.decode_behavior(context)

The network takes tensors and indices (`layout`) and returns tensors. It does not depend
on files, devices, masks or losses. All parameters belong to one module, with the names
and in the order of the released checkpoints, which have one flat list of them.

The module is long because one forward pass is read from top to bottom in it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.data.window_spec import WINDOW_S
from omnimouse_model.families.omnimouse.attention import (
    AttentionPlan,
    CrossBlock,
    DropPath,
    GatedFeedForward,
    Heads,
    Intervals,
    Norm,
    Phases,
    RotaryFrequencies,
    SelfBlock,
    attend,
    constant_values,
    join_phases,
    overlap,
    rms_norm,
    score_type,
)
from omnimouse_model.families.omnimouse.config import (
    HieraConfig,
    Layout,
    OmniMouseConfig,
    WindowBatch,
    WindowLayout,
    hidden_size,
)


# -- The video encoder: a small Hiera (Ryali et al., 2023), from 60 frames to tokens -
# 1. patches: a strided 3-d convolution, 60 x 36 x 64 pixels to a 30 x 16 x 32 grid
# 2. position codes, one per place and one per time step, are added
# 3. stage 1: attention within windows of 8 x 8 patches
# 4. stage 2: its first block pools 2 x 2 patches, so that each time step has 8 x 16
#    tokens of twice the width
# 5. a linear projection to the width of the trunk
#
# The windows have two layouts. "official" reproduces the released weights. In their
# code the attention reads window by window, but its output is written back position by
# position. This is a mistake, but the weights were trained with it. It mixes time and
# space across the whole clip, so that tokens of visible frames contain information
# about hidden ones. "spatial" is the intended layout: a window lies within one time
# step, steps do not interact, and only the requested steps are computed.
class WindowAttention(nn.Module):
    """Attention within windows, with optional max-pooled queries."""

    def __init__(self, dim_in: int, dim_out: int, heads: int, layout: WindowLayout) -> None:
        super().__init__()
        self.heads, self.dim_out, self.layout = heads, dim_out, layout
        self.qkv = nn.Linear(dim_in, 3 * dim_out)
        self.proj = nn.Linear(dim_out, dim_out)

    def forward(
        self, x: Float[Tensor, "batch window token dim_in"], pool: int
    ) -> Float[Tensor, "batch window query dim_out"]:
        """Attend within each window; `pool` tokens share a max-pooled query."""
        # (batch, window, token, 3 * dim) -> 3 x (batch, window, head, token, head_dim)
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = (part.transpose(2, 3) for part in qkv.unbind(dim=3))
        if pool > 1:
            q = q.unflatten(3, (-1, pool)).amax(dim=4)
        # Normalised queries and keys bound the scores, in float32 because the squares
        # of bf16 features lose their small terms.
        q, k = (rms_norm(part.float(), None, 1e-5).to(score_type(part)) for part in (q, k))
        v = v.to(score_type(v))
        mixed = attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
        # -> (batch, window, query, dim)
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(0, x.shape[:2])
        if self.layout == "official":
            # The mistake of the released code: read by window, written by position.
            mixed = mixed.transpose(1, 2).reshape(mixed.shape)
        return self.proj(mixed)


class HieraBlock(nn.Module):
    """One block on windows of tokens; the first of stage 2 pools 2x2."""

    def __init__(
        self, dim_in: int, dim_out: int, heads: int, config: HieraConfig, drop_path: float
    ) -> None:
        super().__init__()
        self.pool = 4 if dim_in != dim_out else 1
        self.layout = config.windows
        self.pre_norm1 = Norm(dim_in, eps=1e-5)
        self.attn = WindowAttention(dim_in, dim_out, heads, config.windows)
        self.pre_norm2 = Norm(dim_out, eps=1e-5)
        self.mlp = GatedFeedForward(dim_out, hidden_size(dim_out, config.mlp_ratio))
        if self.pool > 1:
            self.proj = nn.Linear(dim_in, dim_out)
        # Up to 0.25 here; the trunk of the released models drops nothing.
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch window token dim"]
    ) -> Float[Tensor, "batch window query out"]:
        """Attention and feed-forward; a block that pools makes 4 tokens into 1."""
        normed = self.pre_norm1(x)
        if self.pool > 1:
            x = self._pooled(self.proj(normed))
        x = x + self.drop_path(self.attn(normed, self.pool))
        return x + self.drop_path(self.mlp(self.pre_norm2(x)))

    def _pooled(self, x: Tensor) -> Tensor:
        """Max over 2x2 neighbours, in the token order of each layout."""
        batch, windows, tokens, dim = x.shape
        if self.layout == "spatial":
            neighbours: Tensor = x.unflatten(2, (-1, 4))
            return neighbours.amax(dim=3)
        # The four neighbours are the slowest axis of the whole sequence. The residual
        # is thus pooled over space as intended; the pooled queries above are not.
        pooled = x.reshape(batch, 4, windows * tokens // 4, dim).amax(dim=1)
        return pooled.reshape(batch, windows, tokens // 4, dim)


class Hiera(nn.Module):
    """Patches, two stages of window attention, tokens in (t, y, x) order."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.config = config
        t, y, x = config.grid
        unit, dim, heads = config.mask_unit_size, config.embed_dim, config.num_heads
        tiles = all(n > 0 and size % n == 0 for n, size in zip(unit[1:], (y, x), strict=True))
        # Stage 2 pools 2 x 2 neighbours: of a window, or of the whole grid, whose tokens then
        # are in windows of another order.
        is_official = config.windows == "official"
        even, sizes = ((y, x), "4, 8, … patches") if is_official else (unit[1:], "even sizes")
        is_pooled = unit[1] * unit[2] % 4 == 0 and all(n % 2 == 0 for n in even)
        is_split = heads > 0 and dim % heads == 0
        if unit[0] != 1 or config.stages[1] < 1 or not (tiles and is_pooled and is_split):
            raise ValueError(
                f"Hiera needs two stages, {config.windows} windows of {sizes} that tile an even "
                f"grid, and heads that divide its width; found stages {config.stages}, mask unit "
                f"{unit} of {y}x{x}, {heads} heads, width {dim}."
            )
        # A dictionary with one entry, for the parameter name `patch_embed.proj`.
        shape = config.patch_kernel, config.patch_stride, config.patch_padding
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(config.channels, dim, *shape)})
        self.pos_embed_spatial = nn.Parameter(torch.zeros(1, y * x, dim))
        self.pos_embed_temporal = nn.Parameter(torch.zeros(1, t, dim))
        rates = np.linspace(0, config.drop_path_rate, sum(config.stages)).tolist()
        self.blocks = nn.ModuleList()
        for index, rate in enumerate(rates):
            # Stage 2 is twice as wide, but for what its first block reads.
            scale = 1 if index < config.stages[0] else 2
            dim_in = dim if index <= config.stages[0] else 2 * dim
            self.blocks.append(HieraBlock(dim_in, scale * dim, scale * heads, config, rate))

    def forward(
        self, video: Float[Tensor, "batch 1 frame height width"], steps: Tensor | None
    ) -> Float[Tensor, "batch step token dim"]:
        """Encode a clip.

        Parameters
        ----------
        video
            Normalised frames.
        steps
            int64 time steps to compute; None for all. With official windows the steps
            interact, so all are computed and the requested ones are returned.
        """
        # (batch, dim, t, y, x) -> (batch, t, y * x, dim)
        patches = self.patch_embed["proj"](video).flatten(3).permute(0, 2, 3, 1)
        x = patches + self.pos_embed_spatial[:, None]
        x = x + self.pos_embed_temporal[:, :, None]
        if self.config.windows == "official":
            out = self._official(x)
            return out if steps is None else out[:, steps]
        return self._spatial(x if steps is None else x[:, steps])

    def _official(self, x: Tensor) -> Tensor:
        batch, t, _, dim = x.shape
        _, y, w = self.config.grid
        _, uy, ux = self.config.mask_unit_size
        # (y parity, x parity, t, y // 2, x // 2), then chunks of 64 tokens. Hiera
        # reorders once per pooling, and this one pools once, so a chunk is no 8 x 8
        # square: it has every second patch, both ways, of 8 rows of full width.
        x = x.reshape(batch, t, y // 2, 2, w // 2, 2, dim)
        x = x.permute(0, 3, 5, 1, 2, 4, 6).reshape(batch, -1, uy * ux, dim)
        for block in self.blocks:
            x = block(x)
        return x.reshape(batch, t, self.config.tokens_per_step, -1)

    def _spatial(self, x: Tensor) -> Tensor:
        batch, steps, _, dim = x.shape
        _, y, w = self.config.grid
        _, uy, ux = self.config.mask_unit_size
        # Windows of one step; the 2x2 neighbours in a window are next to each other,
        # so that pooling is a maximum over four consecutive tokens.
        x = x.reshape(batch, steps, y // uy, uy // 2, 2, w // ux, ux // 2, 2, dim)
        x = x.permute(0, 1, 2, 5, 3, 6, 4, 7, 8)
        x = x.reshape(batch, steps * (y // uy) * (w // ux), uy * ux, dim)
        for block in self.blocks:
            x = block(x)
        # Back from windows to (t, y, x).
        out_dim = self.config.out_dim
        x = x.reshape(batch, steps, y // uy, w // ux, uy // 2, ux // 2, out_dim)
        x = x.transpose(3, 4)
        return x.reshape(batch, steps, self.config.tokens_per_step, out_dim)


class VideoEncoder(nn.Module):
    """Hiera and the projection to the width of the trunk."""

    def __init__(self, config: HieraConfig, d_model: int) -> None:
        super().__init__()
        self.backbone = Hiera(config)
        # The session is not part of it: one encoded video serves all sessions.
        self.feature_proj = nn.Linear(config.out_dim, d_model)

    def forward(
        self, video: Float[Tensor, "batch 1 frame height width"], steps: Tensor | None
    ) -> Float[Tensor, "batch step token d_model"]:
        """Video tokens of the requested steps."""
        return self.feature_proj(self.backbone(video, steps))


# -- The trunk, from tokens to the context for queries, and the readouts -------------
# In reading order (paper, section 4, "Model architecture"):
#
# 1. embeddings of sessions, neurons and animals
# 2. latents of the time slots, and response tokens
# 3. the sequence through the local and global layers
#
# `network` composes these parts. The transformer blocks are in `attention`, and the times
# at which a token may attend another in `times`. Nothing here depends on a file, a mask
# or a loss.


# -- 1. embeddings --------------------------------------------------------------------
# Learned vectors identify neurons, sessions and animals (POYO; Azabou et al., 2023).
# They have d_embedding features and are projected to d_model, because the neurons are
# most of the parameters. Names of parameters and buffers are those of the released
# checkpoints.


def vector_table(n_vectors: int, dim: int) -> nn.Embedding:
    """Return a table of vectors that are 0; `nn.Embedding` alone would draw them."""
    zeros = torch.zeros(n_vectors, dim)
    return nn.Embedding.from_pretrained(zeros, freeze=False)


class SessionParameters(nn.Module):
    """Vectors of one session and its neurons, and the biases of the neurons."""

    def __init__(self, n_neurons: int, d_embedding: int) -> None:
        super().__init__()
        self._session_embedding = nn.Parameter(torch.zeros(d_embedding))
        self._neuron_embeddings = vector_table(n_neurons, d_embedding)
        # One bias per neuron, for all five samples of a query.
        self._neuron_biases = nn.Parameter(torch.zeros(n_neurons, 1))

    def neurons(self, ids: Tensor) -> Tensor:
        """Neuron vectors (…, e)."""
        return self._neuron_embeddings(ids)


class AnimalParameters(nn.Module):
    """One vector per animal, for all animals of the training run."""

    def __init__(self, animals: tuple[str, ...], d_embedding: int) -> None:
        super().__init__()
        self._animal_embeddings = nn.ParameterDict(
            {animal: nn.Parameter(torch.zeros(d_embedding)) for animal in animals}
        )


class ExperimentTime(nn.Module):
    """Sinusoids of the time since the start of the recording; off by default."""

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        self.precision_s = config.absolute_experiment_time_precision_s
        shape = int(config.max_recording_len_s / self.precision_s), config.d_embedding
        table = constant_values(shape, lambda: sinusoids(*shape), torch.float32)
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
        self.groups, self.registers, self.rate_hz = groups, registers, rate
        self._latent_embeddings = vector_table(groups + registers, config.d_model)
        stride_s = config.response_latent_stride_samples / rate
        numbers = np.arange(groups + registers)
        starts = np.arange(slots, dtype=np.float32) * np.float32(stride_s)
        # Registers, as behaviour, are present in all of a window, from time 0.
        sizes = np.array([config.response_latent_window_samples / rate, WINDOW_S], np.float32)
        # Buffers because the released checkpoints contain them. The latents of all
        # slots come first, registers last.
        for name, make in (
            ("ids", lambda: np.append(np.tile(numbers[:groups], slots), numbers[groups:])),
            ("timestamps", lambda: np.append(starts.repeat(groups), np.zeros(registers, "f4"))),
            ("window_sizes", lambda: sizes.repeat([slots * groups, registers])),
        ):
            kind = torch.int64 if name == "ids" else torch.float32
            values = constant_values((slots * groups + registers,), make, kind)
            self.register_buffer(f"_latent_{name}", values)
        self._latent_ids: Tensor
        self._latent_timestamps: Tensor
        self._latent_window_sizes: Tensor

    def select(self, span: tuple[int, int]) -> tuple[Tensor, Tensor, Intervals]:
        """Vectors (L, d), timestamps (L,) and intervals of the latents in a span."""
        times = self._latent_timestamps
        start = span[0] / self.rate_hz
        stop = start + (span[1] - span[0]) / self.rate_hz
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
        counts = (self.groups,) * slots + (self.registers,)
        intervals = Intervals(starts, starts + sizes[first].cpu(), counts)
        return self._latent_embeddings(ids), times, intervals


class ResponseFeatures(nn.Module):
    """A window of 10 samples of one neuron to a token (a strided convolution)."""

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        length, stride = config.response_window_samples, config.response_stride_samples
        self._feature_proj = nn.Conv1d(1, config.d_model, length, stride)

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
class TrunkContext:
    """The encoded context that queries attend.

    `encoded` are in the order of the batch; `meta` is of all. `neuron_vectors` are those
    of the neurons that response queries name; `neuron_queries` are their queries before
    rotation, computed before where queries are decoded in parts.
    """

    encoded: tuple[EncodedLatents, ...]
    meta: Tensor
    neuron_vectors: Tensor | None
    processed: Tensor
    keys: tuple[tuple[Tensor, Tensor], ...]
    intervals: Intervals
    sample_phases: Phases
    neuron_queries: Tensor | None = None


def join_batch(parts: list[Tensor], encoded: Sequence[EncodedLatents]) -> Tensor:
    """Join along the batch; a part with one row serves all items of its layout."""
    if len(parts) == 1:
        return parts[0]
    pairs = zip(parts, encoded, strict=True)
    return torch.cat([part.expand(len(one.latents), *part.shape[1:]) for part, one in pairs])


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
    ahead = config.response_query_lookahead_samples
    ahead = config.response_window_samples if ahead is None else ahead
    return Intervals.of_samples(windows, layout.query_runs, back, ahead / rate)


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
    attended = overlap(queries, context).any(dim=0)
    return None if attended.all() or not attended.any() else attended


def rows_of(runs: Tensor, intervals: Intervals) -> Tensor:
    """Elements of the selected runs, int64 (rows,)."""
    counts = torch.tensor(intervals.counts)
    return runs.repeat_interleave(counts).nonzero()[:, 0]


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
    predicted: Float[Tensor, "*cell"], targets: Float[Tensor, "*cell"], clamp: float = 10.0
) -> Float[Tensor, ""]:
    """Squared error, clamped per element, averaged."""
    # A clamped element has no gradient: single outliers do not dominate a step.
    return (predicted - targets).square().clamp(max=clamp).mean()


# -- OmniMouse (ICLR 2026): the stages of one forward pass, in order -----------------
VIDEO_TOKEN_FRAMES = 6
"""Frames that a video token covers: the temporal size of the patches."""


class OmniMouse(nn.Module):
    """The transformer for a set of sessions.

    Parameters
    ----------
    config
        Architecture.
    sessions
        session key -> number of neurons; keys must not contain ".".
    animals
        session key -> animal id.
    """

    def __init__(
        self, config: OmniMouseConfig, sessions: dict[str, int], animals: dict[str, str]
    ) -> None:
        super().__init__()
        self.config = config
        self.animals = dict(animals)
        d, e = config.d_model, config.d_embedding
        # Keep the order of these assignments: `initialise` draws in it, and optimiser
        # states of saved runs name parameters by their number.
        self.behavior_channel_embeddings = nn.Parameter(torch.zeros(config.behavior_channels, d))
        # Rows: responses, video, behaviour.
        self.missing_modality_embeddings = nn.Parameter(torch.zeros(3, d))
        self.behavior_readout_proj = nn.Parameter(
            torch.zeros(config.behavior_channels, config.n_behavior_samples, d)
        )
        self.register_buffer("behavior_timestamps", torch.zeros(config.behavior_channels))
        self.behavior_timestamps: Tensor
        own = {key: SessionParameters(n, e) for key, n in sessions.items()}
        self.sess_params = nn.ModuleDict(own)
        # All animals of the run, also in a process that trains only some of the
        # sessions: the weights of the processes must have one form.
        self.animal_params = AnimalParameters(tuple(dict.fromkeys(animals.values())), e)
        self.sess_to_model_proj = nn.Linear(e, d)
        self.neuron_to_model_proj = nn.Linear(e, d)
        self.animal_to_model_proj = nn.Linear(e, d)
        self.exp_time_to_model_proj = nn.Linear(e, d)
        self.exp_time_embedding = ExperimentTime(config)
        self.response_latent_embedding = Latents(config)
        self.response_featx = ResponseFeatures(config)
        self.response_readout_proj = nn.Linear(d, config.response_stride_samples, bias=False)
        # `hiera`, `featx`, `enc`, `proc` and `decs` are abbreviations of the released
        # names and cannot be changed.
        self.hiera = VideoEncoder(config.hiera, d)
        self.behavior_featx = nn.Linear(config.n_behavior_samples, d)
        self.rotary_emb = RotaryFrequencies(config)
        heads = Heads(config.num_heads, config.num_kv_heads or config.num_heads)
        hidden = hidden_size(d, config.ffn_hidden_mult)
        eps = config.norm_eps
        # Deeper layers are dropped more often, as in Huang et al. (2016).
        rates = np.linspace(0, config.drop_path_rate, config.num_layers).tolist()
        self.enc = CrossBlock(d, heads, hidden, eps)
        self.proc = nn.ModuleList(SelfBlock(d, heads, hidden, eps, rate) for rate in rates)
        self.decs = nn.ModuleList(
            CrossBlock(d, heads, hidden_size(d, config.decoder_ffn_hidden_mult), eps)
            for _ in range(2 if config.per_modality_decoders else 1)
        )

    def session(self, key: str) -> SessionParameters:
        """Parameters of one session."""
        module = self.sess_params[key]
        assert isinstance(module, SessionParameters)
        return module

    @property
    def session_sizes(self) -> dict[str, int]:
        """Number of neurons of each session."""
        return {key: len(self.session(key)._neuron_biases) for key in self.sess_params}

    def decoders(self) -> list[CrossBlock]:
        """The decoder of responses first, that of behaviour last; they may be one."""
        return [block for block in self.decs if isinstance(block, CrossBlock)]

    # -- 1. identity ------------------------------------------------------------------
    def meta_vector(
        self, key: str, start_times: Tensor | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Session and animal, projected and summed; (1, d), or (B, d) with time."""
        meta: Tensor = self.sess_to_model_proj(self.session(key)._session_embedding)
        animals = list(self.animals.values())
        # If every animal has one session, the two vectors have the same information.
        has_several = len(animals) > len(set(animals))
        if self.config.always_use_animal_embeddings or has_several:
            animal = self.animal_params._animal_embeddings[self.animals[key]]
            meta = meta + self.animal_to_model_proj(animal)
        if not self.config.add_exp_time_embedding:
            return meta[None]
        if start_times is None:
            raise ValueError("This config needs WindowBatch.start_times.")
        return meta + self.exp_time_to_model_proj(self.exp_time_embedding(start_times))

    def neuron_vectors(
        self, windows: WindowBatch, meta: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "item neuron dim"]:
        """Vectors of the neurons, added to their tokens and used as their queries."""
        embeddings = self.session(windows.session).neurons(windows.neuron_ids)
        vectors: Tensor = self.neuron_to_model_proj(embeddings)
        if self.config.add_meta_to_embeddings:
            vectors = vectors + meta[:, None]
        return vectors

    def _channel_vectors(self, meta: Tensor) -> Tensor:
        """Vectors of the behaviour channels, used in the same two ways."""
        if not self.config.add_meta_to_embeddings:
            return self.behavior_channel_embeddings[None]
        return self.behavior_channel_embeddings + meta[:, None]

    # -- 2. tokens --------------------------------------------------------------------
    def encode_video(
        self, video: Float[Tensor, "batch 1 frame height width"], layout: Layout | None
    ) -> Float[Tensor, "batch step token dim"]:
        """Video tokens of the visible steps of the layout, of all steps without one.

        With `hidden_video="blank"` hidden frames are zero before the encoder, and
        cannot change the result. With "cut", as in the released models, they can:
        patches overlap in time, and official windows mix steps (see `encoder`).
        """
        # None as steps avoids a copy of all tokens.
        steps = None
        if layout is not None and not layout.all_steps:
            steps = layout.video_steps
            if self.config.hidden_video == "blank":
                # Selected and not multiplied: NaN times 0 is NaN.
                is_visible = layout.frames.to(video.device)[:, None, None]
                video = torch.where(is_visible, video, 0.0)
        return self.hiera(video, steps)

    def tokens(
        self,
        windows: WindowBatch,
        layout: Layout,
        meta: Float[Tensor, "batch dim"],
        neurons: Float[Tensor, "item neuron dim"],
    ) -> Float[Tensor, "item token dim"]:
        """Response tokens, then behaviour tokens, each with its identity."""
        parts = []
        if len(layout.token_neurons):
            values = self.response_featx(windows.responses, layout)
            # A sum: identity and value share one space of d features.
            parts.append(values + neurons[:, layout.token_neurons])
        if layout.behavior == "visible":
            if windows.behavior is None:
                raise ValueError(f"Session {windows.session!r} has no behaviour to show.")
            parts.append(self.behavior_featx(windows.behavior) + self._channel_vectors(meta))
        if not parts:
            # Nothing is visible, or only video: a sequence of length zero.
            return neurons[:, :0]
        return torch.cat(parts, dim=1)

    # -- 3. context -------------------------------------------------------------------
    def encode(
        self,
        windows: WindowBatch,
        layout: Layout,
        video_tokens: Float[Tensor, "batch step token dim"] | None,
        *,
        all_rows: bool = False,
    ) -> TrunkContext:
        """The context for the queries of the layout; with `all_rows`, for any query.

        By default the last layer computes only the rows that these queries may attend.
        """
        encoded, neurons = self.encode_tokens(windows, layout)
        context = self.process(windows, layout, [encoded], video_tokens, all_rows=all_rows)
        return replace(context, neuron_vectors=neurons)

    def encode_tokens(
        self, windows: WindowBatch, layout: Layout
    ) -> tuple[EncodedLatents, Float[Tensor, "item neuron dim"]]:
        """Latents that have attended response and behaviour tokens; vectors of the neurons."""
        config = self.config
        missing = (layout.responses_missing, layout.video_missing, layout.behavior != "visible")
        first = self.first_latents(windows, layout.context_span, missing)
        neurons = self.neuron_vectors(windows, first.meta)
        tokens = self.tokens(windows, layout, first.meta, neurons)
        latents = first.latents.expand(len(windows.neuron_ids), -1, -1)
        # Latents without tokens pass unchanged. By one official option behaviour is
        # ignored as well if there are no responses.
        has_tokens = tokens.shape[1] > 0
        if config.enable_fallback_sensorium_behavior:
            has_tokens = not layout.responses_missing
        if has_tokens:
            intervals = token_intervals(config, windows, layout)
            plan = AttentionPlan.between(first.intervals, intervals, ideal=config.ideal_times)
            phases = self.rotary_emb.phases(windows.response_times)[:, :, layout.token_samples]
            if layout.behavior == "visible":
                behavior = self.rotary_emb.phases(self.behavior_timestamps[None])
                phases = join_phases(phases, behavior)
            # Tokens are keys: their number grows with neurons and time, but only the
            # latents go through the layers (POYO; Azabou et al., 2023).
            keys = self.enc.keys(tokens, phases)
            latents = self.enc(latents, first.phases, keys, plan)
        return replace(first, latents=latents), neurons

    def first_latents(
        self, windows: WindowBatch, span: tuple[int, int], missing: tuple[bool, bool, bool]
    ) -> EncodedLatents:
        """Latents of a span before tokens, (1, L, d) or (B, L, d) with time.

        They have the identity, and one vector per modality that is missing: `missing` is
        of responses, video and behaviour.
        """
        vectors, times, intervals = self.response_latent_embedding.select(span)
        meta, start = self.meta_vector(windows.session, windows.start_times), vectors[None]
        if self.config.add_meta_to_latents:
            start = start + meta[:, None]
        # Without them a latent could not distinguish a missing modality from one that
        # has no effect on it.
        for row, is_missing in enumerate(missing):
            if is_missing:
                start = start + self.missing_modality_embeddings[row]
        return EncodedLatents(meta, start, intervals, self.rotary_emb.phases(times[None]))

    def process(
        self,
        windows: WindowBatch,
        layout: Layout,
        encoded: Sequence[EncodedLatents],
        video_tokens: Float[Tensor, "batch step token dim"] | None,
        *,
        all_rows: bool = False,
    ) -> TrunkContext:
        """Latents of each part of the batch, and its video, through all layers.

        The layouts of `encoded` may differ in their tokens only: span, video and
        queries are those of `layout`. The result has no vectors of neurons.
        """
        x = join_batch([part.latents for part in encoded], encoded)
        meta = join_batch([part.meta for part in encoded], encoded)
        config, intervals, phases = self.config, encoded[0].intervals, encoded[0].phases
        n_own = None
        if video_tokens is not None and len(layout.video_steps):
            # (batch, step, token, dim) -> (batch, step * token, dim)
            per_step, flat = video_tokens.shape[2], video_tokens.flatten(1, 2)
            if config.add_meta_to_video_feats:
                flat = flat + meta[: len(flat), None]
            step_times = windows.video_times[:, layout.video_steps.cpu()]
            # Item 0 stands for the batch: one plan serves all items, as in the official
            # code. Phases below are those of each item.
            starts = step_times[0]
            stops = starts + VIDEO_TOKEN_FRAMES / config.sample_rate_hz
            of_video = Intervals(starts, stops, (per_step,) * len(starts))
            intervals = Intervals.join([intervals, of_video])
            steps = torch.arange(len(starts), device=x.device).repeat_interleave(per_step)
            phases = join_phases(phases, self.rotary_emb.phases(step_times)[:, :, steps])
            # One video may serve several items of the batch.
            n_own = x.shape[1] if len(flat) < len(x) else None
            x = torch.cat([x, flat.expand(len(x), -1, -1)], dim=1)
        # One plan for all local layers: the sequence has the same times in each.
        plan = AttentionPlan.between(intervals, intervals, ideal=config.ideal_times)
        runs = None if all_rows else attended_runs(config, windows, layout, intervals)
        rows = None if runs is None else rows_of(runs, intervals).to(x.device)
        layers = list(zip(self.proc, config.layer_is_local(), strict=True))
        # Repeats of the whole stack share their weights.
        layers *= config.num_blocks
        for number, (block, is_local) in enumerate(layers):
            # Order in time is then known to the local layers only.
            turns = None if config.use_global_nope and not is_local else phases
            # The last layer is computed for the rows that queries may attend.
            of_layer = rows if number == len(layers) - 1 else None
            of_first = n_own if number == 0 else None
            x = block(x, turns, plan if is_local else None, of_layer, of_first)
        # Keys that were not computed must not be in the plan of the queries.
        if runs is not None and rows is not None:
            intervals, phases = intervals.take(runs), phases[:, :, rows]
        decoders = self.decoders()
        if layout.behavior != "target":
            decoders = decoders[:1]
        return TrunkContext(
            encoded=tuple(encoded),
            meta=meta,
            neuron_vectors=None,
            processed=x,
            # Part of the context, so that several sets of queries can use them.
            keys=tuple(decoder.keys(x, phases) for decoder in decoders),
            intervals=intervals,
            sample_phases=self.rotary_emb.phases(windows.response_times),
        )

    # -- 4. readout -------------------------------------------------------------------
    def decode_responses(
        self, windows: WindowBatch, layout: Layout, context: TrunkContext
    ) -> tuple[Float[Tensor, "batch query sample"], Tensor]:
        """Rates (B, Q, 5) of the queries of the layout, and the decoder's output."""
        assert context.neuron_vectors is not None
        phases = context.sample_phases[:, :, layout.query_samples]
        # Which rows of the context each query may attend.
        queries = query_intervals(self.config, windows, layout)
        plan = AttentionPlan.between(queries, context.intervals, ideal=self.config.ideal_times)
        # The vectors that were added to the tokens of the same neurons.
        vectors = context.neuron_vectors
        hidden = self.decoders()[0](
            vectors, phases, context.keys[0], plan, layout.query_neurons, context.neuron_queries
        )
        logits = self.response_readout_proj(hidden)
        biases = self.session(windows.session)._neuron_biases[windows.neuron_ids]
        # (batch, query, 5) + (batch, query, 1)
        logits = logits + biases[:, layout.query_neurons]
        # In float32, and positive: Softplus, linear for beta x > 20. By default beta is 0.1:
        # a rate at logit 0 is 6.9, and changes slowly around it.
        rates = F.softplus(logits.float(), beta=self.config.softplus_beta, threshold=20)
        return rates, hidden

    def decode_behavior(
        self, context: TrunkContext
    ) -> tuple[Float[Tensor, "batch channel time"], Tensor]:
        """Behaviour (B, C, 40), and the decoder's output; the layout had it as a target."""
        batch = len(context.processed)
        queries = self._channel_vectors(context.meta).expand(batch, -1, -1)
        phases = self.rotary_emb.phases(self.behavior_timestamps[None])
        # No plan: behaviour has the interval of the whole window.
        hidden = self.decoders()[-1](queries, phases, context.keys[-1], None)
        # Every channel has its own linear map. Not a matrix product: autocast would compute
        # that in bf16.
        weighted = hidden.float()[:, :, None] * self.behavior_readout_proj
        return weighted.sum(dim=-1), hidden


# -- configs that make no network, refused before any memory is allocated -------------
MAX_PARAMETERS = 10**11


def check_size(config: OmniMouseConfig, sessions: Mapping[str, int]) -> None:
    """Refuse a training config that makes no network, or one larger than any machine's memory.

    `sessions` are numbers of neurons by session key.

    Raises
    ------
    ValueError
        No network can be built, or it has too many parameters.
    """
    try:
        # Without memory for the weights.
        with torch.device("meta"):
            net = OmniMouse(config, dict(sessions), dict.fromkeys(sessions, "animal"))
    except Exception as error:  # numbers that make no net fail in many ways
        raise ValueError(f"The config: model makes no network: {repr(error)[:200]}.") from error
    count = sum(parameter.numel() for parameter in net.parameters())
    if count > MAX_PARAMETERS:
        raise ValueError(
            f"The config: model has {count:,} parameters; expected at most {MAX_PARAMETERS:,}."
        )


# -- Start values for training from scratch ------------------------------------------
# 1. values drawn as in the released models: `initialise`
# 2. the mean rates and embeddings of neurons, and quiet residual branches
#
# Only the first is part of OmniMouse. The second is ours and optional, as are the start
# values of `start_values`, which shorten training on few sessions.
# -- 1. the values of the released models ---------------------------------------------


def initialise(net: OmniMouse, generator: torch.Generator) -> None:
    """Draw every parameter as the released models did.

    Truncated normals cut at 2: linear layers with in_features^-1/2, embeddings and
    free parameters with (last dimension)^-1/2, the response convolution and Hiera's
    backbone with 0.02; norms 1, biases 0 (0.02 in Hiera's linear layers).
    """
    backbone = net.hiera.backbone
    for module in net.modules():
        if isinstance(module, nn.Linear):
            _draw(module.weight, module.in_features**-0.5, generator)
            _fill_bias(module, 0.0)
        elif isinstance(module, nn.Embedding):
            _draw(module.weight, module.embedding_dim**-0.5, generator)
        elif isinstance(module, nn.RMSNorm):
            nn.init.ones_(module.weight)
    # Hiera's linear layers are drawn a second time, with its own values. The first
    # draw stays: it determines the random numbers that follow.
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            _draw(module.weight, 0.02, generator)
            _fill_bias(module, 0.02)
    patches = backbone.patch_embed["proj"]
    assert isinstance(patches, nn.Conv3d)
    _draw(patches.weight, 0.02, generator)
    assert patches.bias is not None
    # Torch's own default for convolutions, but from the generator.
    bound = 1 / math.sqrt(patches.weight[0].numel())
    nn.init.uniform_(patches.bias, -bound, bound, generator=generator)
    for position in (backbone.pos_embed_spatial, backbone.pos_embed_temporal):
        _draw(position, 0.02, generator)
    _draw(net.response_featx._feature_proj.weight, 0.02, generator)
    _fill_bias(net.response_featx._feature_proj, 0.0)
    free = (
        net.behavior_channel_embeddings,
        net.missing_modality_embeddings,
        net.behavior_readout_proj,
        *net.animal_params.parameters(),
    )
    for parameter in free:
        _draw(parameter, parameter.shape[-1] ** -0.5, generator)
    for session in net.sess_params.values():
        assert isinstance(session, SessionParameters)
        vector = session._session_embedding
        _draw(vector, vector.shape[-1] ** -0.5, generator)
        nn.init.zeros_(session._neuron_biases)


def _draw(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    nn.init.trunc_normal_(parameter, std=std, a=-2, b=2, generator=generator)


def _fill_bias(module: nn.Linear | nn.Conv1d, value: float) -> None:
    if module.bias is not None:
        nn.init.constant_(module.bias, value)


# -- 2. neurons and residual branches -------------------------------------------------


def set_mean_rates(net: OmniMouse, session: str, rates: np.ndarray) -> None:
    """Set the biases so that a zero logit gives each neuron's mean rate (N,).

    The inverse of the Softplus. From zero the readout would need thousands of steps
    to come down (measured: first loss 0.77 instead of 6.2).
    """
    beta = net.config.softplus_beta
    # A silent neuron has no finite logit.
    rates = np.maximum(np.asarray(rates, np.float64), 1e-3)
    logits = np.log(np.expm1(rates * beta)) / beta
    with torch.no_grad():
        net.session(session)._neuron_biases.copy_(torch.from_numpy(logits).float()[:, None])


def set_neuron_embeddings(net: OmniMouse, session: str, values: np.ndarray) -> None:
    """Set the embeddings of one session's neurons (N, e)."""
    with torch.no_grad():
        net.session(session)._neuron_embeddings.weight.copy_(torch.from_numpy(values))


def quiet_residuals(net: OmniMouse) -> None:
    """Set the last layer of every residual branch of the transformer to zero.

    From the official values the random outputs of the branches are as large as the
    tokens. They hide the identity of the neurons and the places of the video tokens.
    """
    for block in (net.enc, *net.proc, *net.decs):
        for name, parameter in block.named_parameters():
            if name in ("attention.wo.weight", "feed_forward.down_proj.weight"):
                nn.init.zeros_(parameter)
