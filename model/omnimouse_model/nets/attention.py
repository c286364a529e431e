"""Rotary attention over sequences whose elements carry time intervals.

A query may attend a key iff their half-open intervals overlap (spec §10). Sequences
are runs of elements with equal intervals (all tokens of one sample, all latents of
one slot), so a mask is a small table of runs. `AttentionPlan` turns that table into
groups of queries that share one set of keys; each group is a dense attention over its
own keys, and a local layer costs what its allowed pairs cost. Nothing here knows what
the elements are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

TICKS_PER_S = 3000.0


@dataclass(frozen=True, slots=True)
class Intervals:
    """Time intervals of a sequence, held once per run of equal neighbours.

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

    def ideal(self) -> "Intervals":
        """Round to 1/3000 s: windows meet exactly at the edges they are meant to."""
        return Intervals(
            torch.round(self.starts.double() * TICKS_PER_S),
            torch.round(self.ends.double() * TICKS_PER_S),
            self.counts,
        )

    @property
    def length(self) -> int:
        """Number of elements."""
        return sum(self.counts)


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
    def between(queries: Intervals, keys: Intervals) -> "AttentionPlan":
        """Build the plan from the intervals of both sequences."""
        allowed = _overlap(queries, keys).tolist()
        rows: list[tuple[tuple[slice, ...], int]] = [
            (_true_slices(row, keys.counts), count)
            for row, count in zip(allowed, queries.counts, strict=True)
        ]
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
    """Bool (query runs, key runs); compared in the intervals' own precision."""
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
        if found and found[-1].stop == start:
            found[-1] = slice(found[-1].start, stop)
        else:
            found.append(slice(start, stop))
    return tuple(found)


def planned_attention(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch head key dim"],
    v: Float[Tensor, "batch head key dim"],
    plan: AttentionPlan | None,
) -> Float[Tensor, "batch head query dim"]:
    """Attention under a plan; without one every query sees every key.

    A query without any allowed key gets zero (spec §10).
    """
    if plan is None:
        return attend(q, k, v)
    queries = _parts(q, [(group.queries,) for group in plan.groups])
    keys = _parts(k, [group.keys for group in plan.groups])
    values = _parts(v, [group.keys for group in plan.groups])
    pieces = [
        attend(*parts) if parts[1].shape[2] else torch.zeros_like(parts[0])
        for parts in zip(queries, keys, values, strict=True)
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)


def attend(
    q: Float[Tensor, "*batch query dim"],
    k: Float[Tensor, "*batch key dim"],
    v: Float[Tensor, "*batch key dim"],
) -> Float[Tensor, "*batch query dim"]:
    """Softmax attention in the type that `score_type` chose, whatever autocast says."""
    with torch.autocast(q.device.type, enabled=False):
        return F.scaled_dot_product_attention(q, k, v)


def score_type(x: Tensor) -> torch.dtype:
    """Type in which attention scores are computed: float32 on a CPU, else x's own.

    The CPU's fused attention is about three times slower in bf16 than in float32,
    forward and backward (1,000 queries, 300 keys, heads of 32).
    """
    return torch.float32 if x.device.type == "cpu" else x.dtype


def _parts(x: Tensor, groups: list[tuple[slice, ...]]) -> tuple[Tensor, ...]:
    """Cut the elements of each group out of (batch, head, element, dim)."""
    # mypy: torch leaves Function.apply untyped
    parts: tuple[Tensor, ...] = _Parts.apply(x, groups)  # type: ignore[no-untyped-call]
    return parts


class _Parts(torch.autograd.Function):
    """Many overlapping cuts of one tensor; their gradients meet in one buffer.

    Autograd by itself would make a whole tensor of zeros for every cut.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, groups: list[tuple[slice, ...]]
    ) -> tuple[Tensor, ...]:
        ctx.groups, ctx.shape = groups, x.shape
        return tuple(_joined([x[:, :, s] for s in group], x) for group in groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].new_zeros(ctx.shape)
        for group, gradient in zip(ctx.groups, gradients, strict=True):
            start = 0
            for part in group:
                count = part.stop - part.start
                total[:, :, part] += gradient[:, :, start : start + count]
                start += count
        return total, None


def _joined(parts: list[Tensor], like: Tensor) -> Tensor:
    if not parts:
        return like[:, :, :0]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


@dataclass(frozen=True, slots=True)
class Phases:
    """Rotations of feature pairs, complex64 (batch or 1, 1, length, head_dim / 2)."""

    turns: Tensor

    @staticmethod
    def join(parts: Sequence["Phases"]) -> "Phases":
        """Concatenate along the sequence."""
        batch = max(p.turns.shape[0] for p in parts)
        turns = [p.turns.expand(batch, -1, -1, -1) for p in parts]
        return Phases(torch.cat(turns, dim=2))

    def take(self, rows: Tensor | slice) -> "Phases":
        """Phases of some positions, in the given order."""
        return Phases(self.turns[:, :, rows])


def rotary_phases(
    times: Float[Tensor, "batch length"], inverse_frequencies: Float[Tensor, " pair"]
) -> Phases:
    """Angles in float64, cast to float32, then cosine and sine (spec §11)."""
    angles = (times.double()[..., None] * inverse_frequencies).float()[:, None]
    return Phases(torch.polar(torch.ones_like(angles), angles))


def rotate(
    x: Float[Tensor, "batch head length dim"], phases: Phases
) -> Float[Tensor, "batch head length dim"]:
    """Rotate neighbouring feature pairs, in float32, back in x's type."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * phases.turns).flatten(-2).to(x.dtype)


class GatedFeedForward(nn.Module):
    """down(silu(up x) * gate x): the activation is on `up_proj` (spec §11)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, hidden, bias=False)
        self.up_proj = nn.Linear(dim, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        """Apply to the last axis."""
        out: Tensor = self.down_proj(F.silu(self.up_proj(x)) * self.gate_proj(x))
        return out


class DropPath(nn.Module):
    """Drop a residual branch per batch item in training, scaled by 1 / keep."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "*items"]) -> Float[Tensor, "*items"]:
        """Return x, or x with some items zeroed."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        shape = (x.shape[0], *([1] * (x.ndim - 1)))
        return x * torch.empty(shape, device=x.device).bernoulli_(keep).to(
            x.dtype
        ).div_(keep)


class _Heads(nn.Module):
    """What self- and cross-attention share: heads, normalisation, rotation."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, eps: float) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.eps = n_heads, n_kv_heads, eps
        self.head_dim = dim // n_heads
        self.kv_dim = n_kv_heads * self.head_dim
        self.wo = nn.Linear(dim, dim, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        return heads

    def _turn(self, x: Tensor, phases: Phases | None) -> Tensor:
        kind = score_type(x)
        x = F.rms_norm(x.float(), (self.head_dim,), eps=self.eps).to(kind)
        return x if phases is None else rotate(x, phases)

    def _mix(
        self, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan | None
    ) -> Tensor:
        if self.n_kv_heads != self.n_heads:
            repeats = self.n_heads // self.n_kv_heads
            k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
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
    ) -> Float[Tensor, "batch length dim"]:
        """Attend under the plan; without phases nothing is rotated."""
        dim = x.shape[-1]
        q, k, v = self.wqkv(x).split((dim, self.kv_dim, self.kv_dim), dim=-1)
        return self._mix(
            self._turn(self._split(q), phases),
            self._turn(self._split(k), phases),
            self._split(v).to(score_type(v)),
            plan,
        )


class CrossAttention(_Heads):
    """Attention of queries to a context; keys can be prepared once."""

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
        """Attend to prepared keys under the plan; query i is x[rows[i]]."""
        q = self._turn(self._split(self.wq(x)), None)
        if rows is not None:
            q = q[:, :, rows]
        return self._mix(rotate(q, phases), *keys, plan)


class SelfBlock(nn.Module):
    """Pre-norm transformer block."""

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
        self.attn_pre_norm = nn.RMSNorm(dim, eps=eps)
        self.attention = SelfAttention(dim, n_heads, n_kv_heads, eps)
        self.ffn_pre_norm = nn.RMSNorm(dim, eps=eps)
        self.feed_forward = GatedFeedForward(dim, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        phases: Phases | None,
        plan: AttentionPlan | None,
    ) -> Float[Tensor, "batch length dim"]:
        """Attention, then feed-forward, each added to the residual."""
        x = x + self.drop_path(self.attention(self.attn_pre_norm(x), phases, plan))
        out: Tensor = x + self.drop_path(self.feed_forward(self.ffn_pre_norm(x)))
        return out


class CrossBlock(nn.Module):
    """Pre-norm block whose attention reads a context."""

    def __init__(
        self, dim: int, n_heads: int, n_kv_heads: int, hidden: int, eps: float
    ) -> None:
        super().__init__()
        self.attn_pre_norm_context = nn.RMSNorm(dim, eps=eps)
        self.attn_pre_norm = nn.RMSNorm(dim, eps=eps)
        self.attention = CrossAttention(dim, n_heads, n_kv_heads, eps)
        self.ffn_pre_norm = nn.RMSNorm(dim, eps=eps)
        self.feed_forward = GatedFeedForward(dim, hidden)

    def keys(
        self, context: Float[Tensor, "batch key dim"], phases: Phases
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of a context, to be reused over queries."""
        return self.attention.keys(self.attn_pre_norm_context(context), phases)

    def forward(
        self,
        x: Float[Tensor, "batch row dim"],
        phases: Phases,
        keys: tuple[Tensor, Tensor],
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Read the context, then feed-forward.

        With `rows`, query i is x[rows[i]] at its own phase: a neuron asked at six
        times is normalised and projected once.
        """
        read = self.attention(self.attn_pre_norm(x), phases, keys, plan, rows)
        x = (x if rows is None else x[:, rows]) + read
        out: Tensor = x + self.feed_forward(self.ffn_pre_norm(x))
        return out
