"""The trunk: from tokens of responses and behaviour to the context for queries.

In reading order (paper, section 4, "Model architecture"):

1. time: which elements of two sequences may attend each other
2. positions: rotary phases from times in seconds (RoPE; Su et al., 2024)
3. attention under a plan, and the transformer blocks
4. embeddings of sessions, neurons and animals; latents; response tokens
5. the sequence through the local and global layers

`network` joins these parts. Nothing here depends on a file, a mask or a loss.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.layers import (
    DropPath,
    GatedFeedForward,
    Norm,
    attend,
    rms_norm,
    score_type,
)
from omnimouse_model.nets.omnimouse.layout import Layout, WindowBatch

# Every edge of the released configuration is a multiple of 1/30 s, so that a tick of
# 1/3000 s rounds away float32 errors and merges no two edges.
TICKS_PER_S = 3000.0
BEHAVIOR_SECONDS = 2.0
"""Length of a window: behaviour and registers are present in all of it."""


# -- 1. time: which elements may attend each other ------------------------------------
# A query may attend a key if their half-open intervals overlap ("local sliding-window
# attention"). Many elements have equal intervals (all tokens of one sample, all
# latents of one slot). They are stored as runs: a mask of 10^8 cells is then a table of
# about 1,000.


@dataclass(frozen=True, slots=True)
class Intervals:
    """Time intervals of a sequence, stored once per run of equal neighbours.

    Attributes
    ----------
    starts, ends
        (runs,) seconds, on the CPU; the order of the two does not matter.
    counts
        Elements in each run.
    """

    starts: Tensor
    ends: Tensor
    counts: tuple[int, ...]

    @staticmethod
    def join(parts: Sequence["Intervals"]) -> "Intervals":
        """Concatenate sequences."""
        return Intervals(
            starts=torch.cat([p.starts for p in parts]),
            ends=torch.cat([p.ends for p in parts]),
            counts=tuple(c for p in parts for c in p.counts),
        )

    @staticmethod
    def of_samples(
        windows: WindowBatch,
        runs: tuple[tuple[int, int], ...],
        back_s: float,
        ahead_s: float,
    ) -> "Intervals":
        """Intervals [t - back, t + ahead) of runs (first sample, count)."""
        # Item 0 stands for the batch, so that one plan serves all items. The ends are
        # computed in the type of the times: in float64 other noisy edges would
        # overlap, and the outputs of official checkpoints would change.
        times = windows.response_times[0].cpu()[[sample for sample, _ in runs]]
        starts = times - back_s if back_s else times
        return Intervals(starts, times + ahead_s, tuple(count for _, count in runs))

    def ideal(self) -> "Intervals":
        """Round to 1/3000 s, so that windows meet exactly at their common edges."""
        # Without rounding, float32 errors decide whether a token at the edge of a
        # window is in it, as in the official code.
        return Intervals(
            torch.round(self.starts.double() * TICKS_PER_S),
            torch.round(self.ends.double() * TICKS_PER_S),
            self.counts,
        )

    @property
    def length(self) -> int:
        """Number of elements."""
        return sum(self.counts)

    def take(self, runs: Tensor) -> "Intervals":
        """The runs that bool (runs,) selects."""
        pairs = zip(self.counts, runs.tolist(), strict=True)
        counts = tuple(count for count, is_selected in pairs if is_selected)
        return Intervals(self.starts[runs], self.ends[runs], counts)

    def seen_by(self, queries: "Intervals") -> Tensor:
        """Which runs at least one query may attend, bool (runs,)."""
        return _overlap(queries, self).any(dim=0)


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Neighbouring queries that may attend exactly the same keys."""

    queries: slice
    keys: tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Which queries may attend which keys, as groups over contiguous slices."""

    groups: tuple[AttentionGroup, ...]
    n_queries: int
    n_keys: int

    @staticmethod
    def between(
        queries: Intervals, keys: Intervals, *, ideal: bool = False
    ) -> "AttentionPlan":
        """Build the plan from the intervals of both sequences; `ideal` rounds them."""
        if ideal:
            queries, keys = queries.ideal(), keys.ideal()
        # A list: the loop below is over about 40 runs, and reading single values of a
        # tensor would cost more than the comparison.
        allowed = _overlap(queries, keys).tolist()
        rows: list[tuple[tuple[slice, ...], int]] = [
            (_true_slices(row, keys.counts), count)
            for row, count in zip(allowed, queries.counts, strict=True)
        ]
        # Neighbouring queries with the same keys make one group: one larger attention
        # is faster than several small ones.
        groups, start = [], 0
        for key_slices, members in groupby(rows, key=lambda row: row[0]):
            stop = start + sum(count for _, count in members)
            if stop > start:
                groups.append(AttentionGroup(slice(start, stop), key_slices))
            start = stop
        return AttentionPlan(tuple(groups), queries.length, keys.length)

    def dense(self) -> Tensor:
        """Return the mask as bool (queries, keys)."""
        mask = torch.zeros(self.n_queries, self.n_keys, dtype=torch.bool)
        for group in self.groups:
            for keys in group.keys:
                mask[group.queries, keys] = True
        return mask

    def row_counts(self) -> Tensor:
        """Allowed keys per query, int32 (queries,)."""
        counts = torch.zeros(self.n_queries, dtype=torch.int32)
        for group in self.groups:
            counts[group.queries] = sum(k.stop - k.start for k in group.keys)
        return counts


def _overlap(queries: Intervals, keys: Intervals) -> Tensor:
    """Bool (query runs, key runs); intervals that only touch do not overlap."""
    # The bounds are sorted first, as in the official code.
    q_low = torch.minimum(queries.starts, queries.ends)[:, None]
    q_high = torch.maximum(queries.starts, queries.ends)[:, None]
    k_low = torch.minimum(keys.starts, keys.ends)[None]
    k_high = torch.maximum(keys.starts, keys.ends)[None]
    return ~((k_high <= q_low) | (k_low >= q_high))


def _true_slices(row: list[bool], counts: tuple[int, ...]) -> tuple[slice, ...]:
    """Merge neighbouring allowed runs into slices of elements."""
    edges = [0, *accumulate(counts)]
    found: list[slice] = []
    for run, is_allowed in enumerate(row):
        start, stop = edges[run], edges[run + 1]
        if not is_allowed or start == stop:
            continue
        # Joined slices need no copy of the keys: one slice of a tensor is a view.
        if found and found[-1].stop == start:
            found[-1] = slice(found[-1].start, stop)
        else:
            found.append(slice(start, stop))
    return tuple(found)


# -- 2. positions: rotary phases from times -------------------------------------------


@dataclass(frozen=True, slots=True)
class Phases:
    """Rotations of feature pairs, complex64 (batch or 1, 1, length, head_dim / 2)."""

    turns: Tensor

    @staticmethod
    def join(parts: Sequence["Phases"]) -> "Phases":
        """Concatenate along the sequence."""
        # Latents have the same times in all items, recorded samples may not.
        batch = max(p.turns.shape[0] for p in parts)
        turns = [p.turns.expand(batch, -1, -1, -1) for p in parts]
        return Phases(torch.cat(turns, dim=2))

    def take(self, rows: Tensor | slice) -> "Phases":
        """Phases of some positions, in the given order."""
        return Phases(self.turns[:, :, rows])


class RotaryFrequencies(nn.Module):
    """Inverse frequencies of the rotary angles, float64, in rad/s."""

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        head_dim = config.d_model // config.num_heads
        # Periods from 1 ms to about 2 s: 2000 = window length / 1 ms.
        base = config.rope_base or 2000.0
        pairs = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
        scale = 2 * torch.pi if config.rope_use_radians else 1.0
        self.register_buffer("inv_freq", scale / 0.001 * base**-pairs)
        self.inv_freq: Tensor

    def phases(self, times: Float[Tensor, "batch length"]) -> Phases:
        """Rotations at times in seconds.

        Angles reach 12,566 rad. They are computed in float64 and then cast to float32,
        exactly as in the official code: either precision for all of it would change
        the outputs by up to 1e-3.
        """
        seconds = times.to(self.inv_freq.device).double()[..., None]
        angles = (seconds * self.inv_freq).float()[:, None]
        return Phases(torch.polar(torch.ones_like(angles), angles))


def rotate(
    x: Float[Tensor, "batch head length dim"], phases: Phases
) -> Float[Tensor, "batch head length dim"]:
    """Rotate neighbouring feature pairs in float32; the result has the type of x."""
    # As a complex product: it needs no interleaved copies of cosines and sines.
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * phases.turns).flatten(-2).to(x.dtype)


# -- 3. attention under a plan, and the blocks ----------------------------------------

_Groups = list[tuple[slice, ...]]


def planned_attention(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch head key dim"],
    v: Float[Tensor, "batch head key dim"],
    plan: AttentionPlan | None,
) -> Float[Tensor, "batch head query dim"]:
    """Attention under a plan; without one every query attends every key.

    Each group of queries is a dense attention over its own keys, so a local layer
    costs only its allowed pairs, and no mask is built. A query without allowed keys
    gets zero, as from the block-sparse kernel of the official code.
    """
    if plan is None:  # global layers, and queries of behaviour
        return attend(q, k, v)
    pieces = [
        # Softmax over no keys is undefined; slots before the first token have none.
        attend(*cut) if cut[1].shape[2] else torch.zeros_like(cut[0])
        for cut in _cuts(q, k, v, plan)
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)


def _cuts(
    q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan
) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
    """Queries, keys and values of each group; one group at a time without gradients."""
    queries: _Groups = [(group.queries,) for group in plan.groups]
    keys: _Groups = [group.keys for group in plan.groups]
    if torch.is_grad_enabled():
        # All cuts at once, so that their gradients can share one buffer.
        # mypy: torch leaves Function.apply untyped
        parts = (
            _Parts.apply(x, groups)  # type: ignore[no-untyped-call]
            for x, groups in ((q, queries), (k, keys), (v, keys))
        )
        return zip(*parts, strict=True)
    # One group at a time: the copies of the last group are free before the next.
    return (
        (_cut(q, own), _cut(k, seen), _cut(v, seen))
        for own, seen in zip(queries, keys, strict=True)
    )


class _Parts(torch.autograd.Function):
    """Many overlapping cuts of one tensor; their gradients are summed in one buffer.

    Autograd alone would allocate a whole tensor of zeros for each cut.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: _Groups) -> tuple[Tensor, ...]:
        ctx.groups, ctx.shape = groups, x.shape
        return tuple(_cut(x, group) for group in groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].new_zeros(ctx.shape)
        for group, gradient in zip(ctx.groups, gradients, strict=True):
            # The cut of a group is its slices, one after the other.
            start = 0
            for part in group:
                count = part.stop - part.start
                total[:, :, part] += gradient[:, :, start : start + count]
                start += count
        return total, None


def _cut(x: Tensor, slices: tuple[slice, ...]) -> Tensor:
    """Elements in some slices of (batch, head, element, dim)."""
    if not slices:
        return x[:, :, :0]
    parts = [x[:, :, part] for part in slices]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


class _Heads(nn.Module):
    """Common part of self- and cross-attention: heads, normalisation, rotation."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, eps: float) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.eps = n_heads, n_kv_heads, eps
        self.head_dim = dim // n_heads
        self.kv_dim = n_kv_heads * self.head_dim
        self.wo = nn.Linear(dim, dim, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        # (batch, length, head * head_dim) -> (batch, head, length, head_dim)
        heads: Tensor = x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        return heads

    def _turn(self, x: Tensor, phases: Phases | None) -> Tensor:
        # Normalised in float32, and before the rotation, which keeps lengths.
        dtype = score_type(x)
        x = rms_norm(x.float(), None, self.eps).to(dtype)
        return x if phases is None else rotate(x, phases)

    def _mix(
        self, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan | None
    ) -> Tensor:
        # Grouped-query attention: several query heads share one head of keys. The
        # released models have as many of both.
        if self.n_kv_heads != self.n_heads:
            repeats = self.n_heads // self.n_kv_heads
            k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
        # (batch, head, query, head_dim) -> (batch, query, head * head_dim)
        mixed = planned_attention(q, k, v, plan)
        out: Tensor = self.wo(mixed.transpose(1, 2).flatten(2))
        return out


class SelfAttention(_Heads):
    """Attention of a sequence to itself."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, eps: float) -> None:
        super().__init__(dim, n_heads, n_kv_heads, eps)
        self.wqkv = nn.Linear(dim, dim + 2 * self.kv_dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        phases: Phases | None,
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch row dim"]:
        """Attend under the plan; without phases there is no rotation.

        With `rows`, only these rows are queries, also of the plan.
        """
        dim, query_phases = x.shape[-1], phases
        if rows is None:
            q, k, v = self.wqkv(x).split((dim, self.kv_dim, self.kv_dim), dim=-1)
        else:
            # Queries of the selected rows only; keys and values of all. The rows of the
            # weight are those of q, then k, then v.
            weight = self.wqkv.weight
            q = F.linear(x[:, rows], weight[:dim])
            k, v = F.linear(x, weight[dim:]).chunk(2, dim=-1)
            query_phases = None if phases is None else phases.take(rows)
        return self._mix(
            self._turn(self._split(q), query_phases),
            self._turn(self._split(k), phases),
            # Values are neither normalised nor rotated.
            self._split(v).to(score_type(v)),
            plan,
        )


class CrossAttention(_Heads):
    """Attention of queries to a context, whose keys can be computed once."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, eps: float) -> None:
        super().__init__(dim, n_heads, n_kv_heads, eps)
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wkv = nn.Linear(dim, 2 * self.kv_dim, bias=False)

    def keys(
        self, context: Float[Tensor, "batch key dim"], phases: Phases
    ) -> tuple[Tensor, Tensor]:
        """Rotated keys and values of the context, (batch, head, key, head_dim)."""
        k, v = self.wkv(context).chunk(2, dim=-1)
        return self._turn(self._split(k), phases), self._split(v).to(score_type(v))

    def forward(
        self,
        x: Float[Tensor, "batch row dim"],
        phases: Phases,
        keys: tuple[Tensor, Tensor],
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Attend to computed keys under the plan; query i is x[rows[i]]."""
        # Normalised before the rows are taken, rotated after: queries of one neuron
        # differ in their phases only.
        q = self._turn(self._split(self.wq(x)), None)
        if rows is not None:
            q = q[:, :, rows]
        return self._mix(rotate(q, phases), *keys, plan)


class SelfBlock(nn.Module):
    """Transformer block with norms before attention and feed-forward."""

    def __init__(
        self,
        dim: int,
        n_heads: int,
        n_kv_heads: int,
        hidden: int,
        eps: float,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        # Norms before each branch keep the residual free of them, so that gradients
        # reach every layer directly.
        self.attn_pre_norm = Norm(dim, eps=eps)
        self.attention = SelfAttention(dim, n_heads, n_kv_heads, eps)
        self.ffn_pre_norm = Norm(dim, eps=eps)
        self.feed_forward = GatedFeedForward(dim, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        phases: Phases | None,
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch row dim"]:
        """Attention, then feed-forward, each added to the residual.

        With `rows` only these are computed; they attend all rows.
        """
        mixed = self.attention(self.attn_pre_norm(x), phases, plan, rows)
        x = (x if rows is None else x[:, rows]) + self.drop_path(mixed)
        out: Tensor = x + self.drop_path(self.feed_forward(self.ffn_pre_norm(x)))
        return out


class CrossBlock(nn.Module):
    """Transformer block in which queries attend a context."""

    def __init__(
        self, dim: int, n_heads: int, n_kv_heads: int, hidden: int, eps: float
    ) -> None:
        super().__init__()
        self.attn_pre_norm_context = Norm(dim, eps=eps)
        self.attn_pre_norm = Norm(dim, eps=eps)
        self.attention = CrossAttention(dim, n_heads, n_kv_heads, eps)
        self.ffn_pre_norm = Norm(dim, eps=eps)
        self.feed_forward = GatedFeedForward(dim, hidden)

    def keys(
        self, context: Float[Tensor, "batch key dim"], phases: Phases
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of a context, computed once for all queries."""
        return self.attention.keys(self.attn_pre_norm_context(context), phases)

    def forward(
        self,
        x: Float[Tensor, "batch row dim"],
        phases: Phases,
        keys: tuple[Tensor, Tensor],
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Attention to the context, then feed-forward.

        With `rows`, query i is x[rows[i]] at its own phase: a neuron with six queries
        is normalised and projected once.
        """
        mixed = self.attention(self.attn_pre_norm(x), phases, keys, plan, rows)
        x = (x if rows is None else x[:, rows]) + mixed
        out: Tensor = x + self.feed_forward(self.ffn_pre_norm(x))
        return out


# -- 4. embeddings, latents and response tokens ---------------------------------------
# Learned vectors identify neurons, sessions and animals (POYO; Azabou et al., 2023).
# They have d_embedding features and are projected to d_model, because the neurons are
# most of the parameters. Names of parameters and buffers are those of the released
# checkpoints.


class SessionParameters(nn.Module):
    """Vectors of one session and its neurons, and the biases of the neurons."""

    def __init__(self, n_neurons: int, d_embedding: int) -> None:
        super().__init__()
        self._session_embedding = nn.Parameter(torch.zeros(d_embedding))
        self._neuron_embeddings = nn.Embedding(n_neurons, d_embedding)
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
        position = torch.arange(int(length))[:, None]
        # The sinusoids of Vaswani et al. (2017), with the base 1e5 in place of 1e4.
        rate = torch.exp(
            torch.arange(0, dim, 2) * (-torch.log(torch.tensor(1e5)) / dim)
        )
        table = torch.zeros(int(length), dim)
        table[:, 0::2] = torch.sin(position * rate)
        table[:, 1::2] = torch.cos(position * rate)
        self.register_buffer("positional_embeddings", table)
        self.positional_embeddings: Tensor

    def forward(self, seconds: Float[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
        """Vectors of absolute times."""
        return self.positional_embeddings[(seconds / self.precision_s).long()]


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
        self._latent_embeddings = nn.Embedding(groups + registers, config.d_model)
        slot_times = torch.arange(slots) * (
            config.response_latent_stride_samples / rate
        )
        length = config.response_latent_window_samples / rate
        # Ids, times and lengths are buffers because the released checkpoints contain
        # them; slots come first, registers last.
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


def token_intervals(
    config: OmniMouseConfig, windows: WindowBatch, layout: Layout
) -> Intervals:
    """Intervals of the response tokens, then of the behaviour tokens."""
    length = config.response_window_samples / config.sample_rate_hz
    parts = [Intervals.of_samples(windows, layout.token_runs, 0.0, length)]
    if layout.behavior == "visible":
        # A channel is one token for the whole window: every latent may attend it.
        whole = torch.zeros(1), torch.full((1,), BEHAVIOR_SECONDS)
        parts.append(Intervals(*whole, (config.behavior_channels,)))
    return Intervals.join(parts)


# -- 5. the sequence through the layers -----------------------------------------------


@dataclass(frozen=True, slots=True)
class Read:
    """Latents after the tokens of one layout; independent of video and queries."""

    meta: Tensor
    neuron_vectors: Tensor
    tokens: Tensor
    latents_start: Tensor
    latents: Tensor
    intervals: Intervals
    phases: Phases
    encoder_plan: AttentionPlan | None


@dataclass(frozen=True, slots=True)
class Context:
    """The encoded context that queries attend, and its parts for the parity tests.

    `reads` are in the order of the batch, `meta` and `neuron_vectors` those of all.
    """

    reads: tuple[Read, ...]
    meta: Tensor
    neuron_vectors: Tensor
    video_tokens: Tensor | None
    processed: Tensor
    keys: tuple[tuple[Tensor, Tensor], ...]
    intervals: Intervals
    processor_plan: AttentionPlan
    sample_phases: Phases


def joined(parts: list[Tensor], reads: Sequence[Read]) -> Tensor:
    """Join along the batch; a part with one row serves all items of its read."""
    if len(parts) == 1:
        return parts[0]
    sizes = [len(read.latents) for read in reads]
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
