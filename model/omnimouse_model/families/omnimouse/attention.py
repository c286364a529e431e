"""Attention of queries to keys, and the transformer blocks around it.

1. softmax attention
2. attention under a plan: a plan (`AttentionPlan`) lists groups of neighbouring queries
   with the slices of keys that they may attend
3. self- and cross-attention with heads, normalisation and rotation
4. transformer blocks

The module is long because layers, times and plans are parts of one attention.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib.util import find_spec
from itertools import accumulate, groupby
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Complex64, Float
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.families.omnimouse.config import OmniMouseConfig, WindowBatch


# -- Values of a network that its config determines and no training changes ----------
def constant_values(
    shape: tuple[int, ...], make: Callable[[], Tensor | np.ndarray], dtype: torch.dtype
) -> Tensor:
    """Return the values that `make` computes, for a buffer of a network.

    A network that is made to take the weights of a file has tensors without memory
    ("meta"). It gets no values here: the file has them, and for arithmetic with such
    tensors PyTorch imports its compiler, which takes two seconds.
    """
    empty = torch.empty(shape, dtype=dtype)
    return empty if empty.is_meta else torch.as_tensor(make(), dtype=dtype)


# -- Layers that the video encoder and the trunk share: norm, feed-forward, drop path
# The layers are the usual ones of current transformers (paper, section 4: RMSNorm,
# normalised queries and keys, gated SiLU feed-forward after Shazeer, 2020).
class Norm(nn.RMSNorm):
    """Root-mean-square normalisation, always computed in float32."""

    eps: float  # in torch also None

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        """Normalise the last axis."""
        # In bf16 a sum of squares keeps fewer than three digits.
        return rms_norm(x.float(), self.weight, self.eps)


class GatedFeedForward(nn.Module):
    """down(silu(up x) * gate x), without biases.

    The activation is on `up_proj`. Most other models have it on `gate_proj`; the
    released weights need it here.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, hidden, bias=False)
        self.up_proj = nn.Linear(dim, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        """Apply to the last axis."""
        up, gate = self.up_proj(x), self.gate_proj(x)
        if torch.is_grad_enabled():
            inner = F.silu(up) * gate
        else:
            # In place: on a CPU new memory costs as much time as the activation.
            inner = F.silu(up, inplace=True).mul_(gate)
        return self.down_proj(inner)


class DropPath(nn.Module):
    """Drop a residual branch per batch item in training, scaled by 1 / keep."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "*items"]) -> Float[Tensor, "*items"]:
        """Return x, or x with some items set to zero."""
        if not self.training or self.rate == 0.0:
            return x
        # The whole branch of an item is dropped (stochastic depth; Huang et al., 2016).
        # The factor 1 / keep preserves the expected value: evaluation needs none.
        keep = 1.0 - self.rate
        shape = (x.shape[0], *([1] * (x.ndim - 1)))
        return x * torch.empty(shape, device=x.device).bernoulli_(keep).to(x.dtype).div_(keep)


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Root-mean-square normalisation of the last axis of (..., dim)."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.rms_norm(x, (x.shape[-1],), weight, eps)
    # The library's function makes two more arrays of the size of x.
    lengths = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    x = x * (lengths.square() / x.shape[-1] + eps).rsqrt()
    return x if weight is None else x.mul_(weight)


# -- Times of tokens: which of them may attend each other, and their rotary phases ---
# 1. `Intervals` of the elements of a sequence, and the `AttentionPlan` of two sequences
# 2. `Phases`: rotations by the times in seconds (RoPE; Su et al., 2024)
#
# A query may attend a key if their half-open intervals overlap ("local sliding-window
# attention"; paper, section 4). Many elements have equal intervals: all tokens of one
# sample, all latents of one slot. They are stored as runs, so that a mask of 10^8 cells
# becomes a table of about 1,000.
# Every edge of the released configuration is a multiple of 1/30 s, so that a tick of
# 1/3000 s rounds away float32 errors and merges no two edges.
TICKS_PER_S = 3000.0
WITHOUT_FLOAT64 = ("mps",)
"""Types of devices that have no float64: Apple's GPUs."""


# -- 1. which elements may attend each other ------------------------------------------


@dataclass(frozen=True, eq=False)
class Intervals:
    """Time intervals of a sequence, stored once per run of equal neighbours.

    Equal if their values are, so that plans can be found by them.

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
        """Return the intervals of several sequences, one after the other."""
        return Intervals(
            starts=torch.cat([p.starts for p in parts]),
            ends=torch.cat([p.ends for p in parts]),
            counts=tuple(c for p in parts for c in p.counts),
        )

    @staticmethod
    def of_samples(
        windows: WindowBatch, runs: tuple[tuple[int, int], ...], back_s: float, ahead_s: float
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

    @cached_property
    def _values(self) -> tuple[bytes, bytes, tuple[int, ...]]:
        return self.starts.numpy().tobytes(), self.ends.numpy().tobytes(), self.counts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    def take(self, runs: Tensor) -> "Intervals":
        """The runs that bool (runs,) selects."""
        pairs = zip(self.counts, runs.tolist(), strict=True)
        counts = tuple(count for count, is_selected in pairs if is_selected)
        return Intervals(self.starts[runs], self.ends[runs], counts)


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Neighbouring queries that may attend exactly the same keys."""

    queries: slice
    keys: tuple[slice, ...]


class PackedPlan(NamedTuple):
    """The groups of a plan in one list, for a kernel that computes all of them at once.

    Attributes
    ----------
    keys
        int64 (packed key,): row of each key, group after group, in a batch whose items
        follow one another. A key of several groups is there several times.
    query_ends, key_ends
        int32 (item * group + 1,): where the rows of each group start and end.
    most_queries, most_keys
        Rows of the largest group.
    """

    keys: Tensor
    query_ends: Tensor
    key_ends: Tensor
    most_queries: int
    most_keys: int


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Which queries may attend which keys, as groups over contiguous slices."""

    groups: tuple[AttentionGroup, ...]
    n_keys: int
    _packed: dict[tuple[int, torch.device], PackedPlan] = field(default_factory=dict, compare=False)

    @staticmethod
    @lru_cache(maxsize=64)
    def between(queries: Intervals, keys: Intervals, *, ideal: bool = False) -> "AttentionPlan":
        """Build the plan from the intervals of both sequences; `ideal` rounds them.

        Recent plans are kept: windows with ideal times have the same ones.
        """
        if ideal:
            queries, keys = queries.ideal(), keys.ideal()
        # A list: the loop below is over about 40 runs, and reading single values of a
        # tensor would cost more than the comparison.
        allowed = overlap(queries, keys).tolist()
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
        return AttentionPlan(tuple(groups), keys.length)

    def packed(self, batch: int, device: torch.device) -> PackedPlan:
        """The plan of a batch for one kernel; computed once for all layers."""
        if (batch, device) in self._packed:
            return self._packed[batch, device]
        slices = [keys for group in self.groups for keys in group.keys]
        rows = np.concatenate(
            [np.arange(0), *(np.arange(keys.start, keys.stop) for keys in slices)]
        )
        n_keys = [sum(k.stop - k.start for k in g.keys) for g in self.groups]
        n_queries = [group.queries.stop - group.queries.start for group in self.groups]
        items = np.arange(batch)[:, None] * self.n_keys

        def ends(counts: list[int]) -> Tensor:
            edges = [0, *accumulate(counts * batch)]
            return torch.tensor(edges, dtype=torch.int32).to(device)

        found = PackedPlan(
            keys=torch.from_numpy((items + rows).ravel()).to(device),
            query_ends=ends(n_queries),
            key_ends=ends(n_keys),
            most_queries=max(n_queries),
            most_keys=max(n_keys),
        )
        return self._packed.setdefault((batch, device), found)


def overlap(queries: Intervals, keys: Intervals) -> Tensor:
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
    slices: list[slice] = []
    for run, is_allowed in enumerate(row):
        start, stop = edges[run], edges[run + 1]
        if not is_allowed or start == stop:
            continue
        # Joined slices need no copy of the keys: one slice of a tensor is a view.
        if slices and slices[-1].stop == start:
            slices[-1] = slice(slices[-1].start, stop)
        else:
            slices.append(slice(start, stop))
    return tuple(slices)


# -- 2. rotary phases -----------------------------------------------------------------


Phases = Complex64[Tensor, "_ 1 _ _"]
"""Rotations of feature pairs (batch or 1, 1, length, head_dim / 2)."""


def join_phases(first: Phases, second: Phases) -> Phases:
    """Return the phases of two sequences, one after the other."""
    # Latents have the same times in all items, recorded samples may not.
    batch = max(len(first), len(second))
    return torch.cat([x.expand(batch, -1, -1, -1) for x in (first, second)], dim=2)


class RotaryFrequencies(nn.Module):
    """Inverse frequencies of the rotary angles, float64, in rad/s.

    On a device without float64 they remain on the CPU, which computes the rotations.
    """

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        head_dim = config.d_model // config.num_heads
        # Periods from 1 ms to about 2 s: 2000 = window length / 1 ms.
        base = config.rope_base or 2000.0
        scale = 2 * torch.pi if config.rope_use_radians else 1.0

        def frequencies() -> Tensor:
            pairs = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
            return scale / 0.001 * base**-pairs

        values = constant_values((math.ceil(head_dim / 2),), frequencies, torch.float64)
        self.register_buffer("inv_freq", values)
        self.inv_freq: Tensor
        self._device: torch.device | None = None  # if it is another than theirs

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RotaryFrequencies":
        """Move the frequencies, as `Module.to` asks, unless the device has no float64."""
        device = fn(torch.empty(0)).device
        if device.type in WITHOUT_FLOAT64:
            self._device = device
            return self
        self._device = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # PyTorch has no types here
        return self

    def phases(self, times: Float[Tensor, "batch length"]) -> Phases:
        """Rotations at times in seconds.

        Angles reach 12,566 rad. They are computed in float64 and then cast to float32,
        exactly as in the official code: either precision for all of it would change
        the outputs by up to 1e-3.
        """
        seconds = times.to(self.inv_freq.device).double()[..., None]
        angles = (seconds * self.inv_freq).float()[:, None]
        turns = torch.polar(torch.ones_like(angles), angles)
        return turns if self._device is None else turns.to(self._device)


def rotate(
    x: Float[Tensor, "batch head length dim"], phases: Phases
) -> Float[Tensor, "batch head length dim"]:
    """Rotate neighbouring feature pairs in float32; the result has the type of x."""
    # As a complex product: it needs no interleaved copies of cosines and sines.
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * phases).flatten(-2).to(x.dtype)


# -- Attention of queries to keys, and the transformer blocks around it --------------
_BLOCK_QUERIES = 512
"""Queries whose scores are computed at once: few enough for the cache of a core."""


# -- 1. softmax attention -------------------------------------------------------------


def attend(
    q: Float[Tensor, "*batch query dim"],
    k: Float[Tensor, "*batch key dim"],
    v: Float[Tensor, "*batch key dim"],
) -> Float[Tensor, "*batch query dim"]:
    """Softmax attention in the type of its inputs; autocast has no effect."""
    is_bf16_on_cpu = q.device.type == "cpu" and q.dtype == torch.bfloat16
    compute = _attend_in_blocks if is_bf16_on_cpu else F.scaled_dot_product_attention
    # A context costs as much as the attention of a small group.
    if not torch.is_autocast_enabled(q.device.type):
        return compute(q, k, v)
    # Autocast would turn float32 scores, which `score_type` selected, into bf16.
    with torch.autocast(q.device.type, enabled=False):
        return compute(q, k, v)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as two matrix products per block of queries.

    In bf16 on a CPU this is 1.5 to 2 times as fast as the fused kernel, because the
    scores stay in the cache.
    """
    # The scale is applied to the queries: they are fewer numbers than the scores.
    turned = k.transpose(-1, -2)
    scaled = q * q.shape[-1] ** -0.5
    blocks = [
        torch.softmax(rows @ turned, dim=-1) @ v for rows in scaled.split(_BLOCK_QUERIES, dim=-2)
    ]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-2)


def score_type(x: Tensor) -> torch.dtype:
    """Type for attention scores: float32 for training on a CPU, else that of x.

    The CPU's fused attention is no faster in bf16 than in float32, and with gradients
    it is three times slower (1,000 queries, 300 keys, heads of 32).
    """
    trains_on_cpu = x.device.type == "cpu" and torch.is_grad_enabled()
    return torch.float32 if trains_on_cpu else x.dtype


# -- 2. attention under a plan --------------------------------------------------------


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
    if any(group.keys for group in plan.groups) and _has_kernel(q):
        return _attend_packed(q, k, v, plan)
    pieces = []
    for group in plan.groups:
        rows = q[:, :, group.queries]
        # Softmax over no keys is undefined; slots before the first token have none.
        of_group = attend(rows, _cut(k, group.keys), _cut(v, group.keys)) if group.keys else None
        pieces.append(torch.zeros_like(rows) if of_group is None else of_group)
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)


def _has_kernel(q: Tensor) -> bool:
    """Whether the FlashAttention kernel can compute all groups of queries at once."""
    is_half = q.dtype in (torch.bfloat16, torch.float16)
    # Other head sizes need padding, which `attend` adds.
    fits = q.shape[-1] % 8 == 0 and q.shape[-1] <= 256
    return is_half and fits and _is_flash_gpu(q.device)


@cache
def _is_flash_gpu(device: torch.device) -> bool:
    """Whether a device computes attention of different lengths in one kernel."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    # PyTorch 2.10, built with FlashAttention, which needs an Ampere GPU or newer.
    is_built = find_spec("torch.nn.attention.varlen") is not None
    is_built = is_built and torch.backends.cuda.is_flash_attention_available()
    return is_built and torch.cuda.get_device_capability(device) >= (8, 0)


def _attend_packed(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan) -> Tensor:
    """All groups in one kernel: the start of one per group costs more than its pairs.

    The kernel gives zero to queries without keys.
    """
    from torch.nn.attention.varlen import varlen_attn

    at, query_ends, key_ends, most_queries, most_keys = plan.packed(len(q), q.device)
    # (batch, head, element, head_dim) -> (batch * element, head, head_dim)
    rows, keys, values = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    # Rows of an array without gaps are copied several times as fast.
    keys, values = keys.contiguous(), values.contiguous()
    mixed = varlen_attn(rows, keys[at], values[at], query_ends, key_ends, most_queries, most_keys)
    assert isinstance(mixed, Tensor)
    return mixed.unflatten(0, (len(q), -1)).transpose(1, 2)


def _cut(x: Tensor, slices: tuple[slice, ...]) -> Tensor:
    """Elements in some slices of (batch, head, element, dim)."""
    parts = [x[:, :, part] for part in slices]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


# -- 3. heads -------------------------------------------------------------------------
class Heads(NamedTuple):
    """Number of heads of the queries, and of the keys and values."""

    queries: int
    keys: int


class _Heads(nn.Module):
    """Common part of self- and cross-attention: heads, normalisation, rotation."""

    def __init__(self, dim: int, heads: Heads, eps: float) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads = heads
        self.eps = eps
        self.head_dim = dim // self.n_heads
        self.kv_dim = self.n_kv_heads * self.head_dim
        self.wo = nn.Linear(dim, dim, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        # (batch, length, head * head_dim) -> (batch, head, length, head_dim)
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _turn(self, x: Tensor, phases: Phases | None) -> Tensor:
        # Normalised in float32, and before the rotation, which keeps lengths.
        dtype = score_type(x)
        x = rms_norm(x.float(), None, self.eps).to(dtype)
        return x if phases is None else rotate(x, phases)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan | None) -> Tensor:
        # Grouped-query attention: several query heads share one head of keys. The
        # released models have as many of both.
        if self.n_kv_heads != self.n_heads:
            repeats = self.n_heads // self.n_kv_heads
            k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
        # (batch, head, query, head_dim) -> (batch, query, head * head_dim)
        mixed = planned_attention(q, k, v, plan)
        return self.wo(mixed.transpose(1, 2).flatten(2))


class SelfAttention(_Heads):
    """Attention of a sequence to itself."""

    def __init__(self, dim: int, heads: Heads, eps: float) -> None:
        super().__init__(dim, heads, eps)
        self.wqkv = nn.Linear(dim, dim + 2 * self.kv_dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        phases: Phases | None,
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
        n_own: int | None = None,
    ) -> Float[Tensor, "batch row dim"]:
        """Attend under the plan; without phases there is no rotation.

        With `rows`, only these rows are queries, also of the plan. With `n_own`, the rows from
        there on are the same in all items, and projected once.
        """
        if rows is None and n_own is None:
            return self._mix(*self._projected(x, phases), plan)
        if rows is None:
            own, of_all = slice(None, n_own), slice(n_own, None)
            parts = (
                self._projected(x[:, own], None if phases is None else phases[:, :, own]),
                self._projected(x[:1, of_all], None if phases is None else phases[:1, :, of_all]),
            )
            q, k, v = (
                torch.cat([first, second.expand(len(x), -1, -1, -1)], dim=2)
                for first, second in zip(*parts, strict=True)
            )
            return self._mix(q, k, v, plan)
        # Queries of the selected rows only; keys and values of all. The rows of the
        # weight are those of q, then k, then v.
        dim, weight = x.shape[-1], self.wqkv.weight
        q = F.linear(x[:, rows], weight[:dim])
        k, v = F.linear(x, weight[dim:]).chunk(2, dim=-1)
        query_phases = None if phases is None else phases[:, :, rows]
        return self._mix(*self._turned(q, k, v, query_phases, phases), plan)

    def _projected(self, x: Tensor, phases: Phases | None) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.wqkv(x).split((x.shape[-1], self.kv_dim, self.kv_dim), dim=-1)
        return self._turned(q, k, v, phases, phases)

    def _turned(
        self, q: Tensor, k: Tensor, v: Tensor, of_queries: Phases | None, of_keys: Phases | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        return (
            self._turn(self._split(q), of_queries),
            self._turn(self._split(k), of_keys),
            # Values are neither normalised nor rotated.
            self._split(v).to(score_type(v)),
        )


class CrossAttention(_Heads):
    """Attention of queries to a context, whose keys can be computed once."""

    def __init__(self, dim: int, heads: Heads, eps: float) -> None:
        super().__init__(dim, heads, eps)
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wkv = nn.Linear(dim, 2 * self.kv_dim, bias=False)

    def turned(self, projected: Tensor, phases: Phases) -> tuple[Tensor, Tensor]:
        """Rotated keys and values (batch, head, key, head_dim) from those of a context."""
        k, v = projected.chunk(2, dim=-1)
        return self._turn(self._split(k), phases), self._split(v).to(score_type(v))

    def projected(
        self, x: Float[Tensor, "batch row dim"]
    ) -> Float[Tensor, "batch head row head_dim"]:
        """Normalised queries of x before their rotation."""
        return self._turn(self._split(self.wq(x)), None)

    def forward(
        self,
        projected: Float[Tensor, "batch head row head_dim"],
        phases: Phases,
        keys: tuple[Tensor, Tensor],
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Attend to computed keys under the plan; query i is projected[rows[i]], rotated."""
        # Normalised before the rows are taken, rotated after: queries of one neuron
        # differ in their phases only.
        q = rotate(projected if rows is None else projected[:, :, rows], phases)
        return self._mix(q, *keys, plan)

    def sums(
        self,
        q: Float[Tensor, "head query head_dim"],
        k: Float[Tensor, "1 kv_head key head_dim"],
        v: Float[Tensor, "1 kv_head key head_dim"],
        plan: AttentionPlan,
    ) -> Float[Tensor, "head query sum"]:
        """Return the sums over keys of 2^(q k) v and, last, of 2^(q k), in float32.

        Sums of parts of the keys can be added, because no maximum is subtracted: of
        normalised queries and keys |q k| <= sqrt(head_dim).

        Parameters
        ----------
        q
            Float32 queries, scaled by log2(e) / sqrt(head_dim): a CPU computes powers of 2
            in a fifth of the time of those of e.
        """
        # Sums of thousands of terms: not in bf16, which autocast would choose.
        with torch.autocast(q.device.type, enabled=False):
            k, v = k[0].float(), v[0].float()
            if self.n_kv_heads != self.n_heads:
                repeats = self.n_heads // self.n_kv_heads
                k, v = (x.repeat_interleave(repeats, dim=0) for x in (k, v))
            turned = k.transpose(-1, -2)
            totals = []
            for group in plan.groups:
                of_group, parts = q[:, group.queries], []
                for keys in group.keys:
                    # In place: new memory costs a CPU as much time as the powers.
                    powers = torch.bmm(of_group, turned[:, :, keys]).exp2_()
                    both = torch.bmm(powers, v[:, keys]), powers.sum(dim=-1, keepdim=True)
                    parts.append(torch.cat(both, dim=-1))
                # Queries without keys: sums over nothing.
                none = q.new_zeros(*of_group.shape[:2], v.shape[-1] + 1) if not parts else parts[0]
                totals.append(sum(parts[1:], none))
            return torch.cat(totals, dim=1)

    def quotient(self, total: Float[Tensor, "head query sum"]) -> Float[Tensor, "1 query dim"]:
        """Attention from the result of `sums`; zero for a query without keys."""
        numerator, denominator = total[..., :-1], total[..., -1:]
        mixed = torch.where(denominator > 0, numerator / denominator, 0.0)
        return self.wo(mixed.transpose(0, 1).flatten(1)[None])


# -- 4. blocks ------------------------------------------------------------------------


class SelfBlock(nn.Module):
    """Transformer block with norms before attention and feed-forward."""

    def __init__(
        self, dim: int, heads: Heads, hidden: int, eps: float, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        # Norms before each branch keep the residual free of them, so that gradients
        # reach every layer directly.
        self.attn_pre_norm = Norm(dim, eps=eps)
        self.attention = SelfAttention(dim, heads, eps)
        self.ffn_pre_norm = Norm(dim, eps=eps)
        self.feed_forward = GatedFeedForward(dim, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        phases: Phases | None,
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
        n_own: int | None = None,
    ) -> Float[Tensor, "batch row dim"]:
        """Attention, then feed-forward, each added to the residual.

        With `rows` only these are computed; they attend all rows. `n_own` is that of
        `SelfAttention`.
        """
        mixed = self.attention(self.attn_pre_norm(x), phases, plan, rows, n_own)
        x = (x if rows is None else x[:, rows]) + self.drop_path(mixed)
        return x + self.drop_path(self.feed_forward(self.ffn_pre_norm(x)))


class CrossBlock(nn.Module):
    """Transformer block in which queries attend a context."""

    def __init__(self, dim: int, heads: Heads, hidden: int, eps: float) -> None:
        super().__init__()
        self.attn_pre_norm_context = Norm(dim, eps=eps)
        self.attn_pre_norm = Norm(dim, eps=eps)
        self.attention = CrossAttention(dim, heads, eps)
        self.ffn_pre_norm = Norm(dim, eps=eps)
        self.feed_forward = GatedFeedForward(dim, hidden)

    def keys(
        self, context: Float[Tensor, "batch key dim"], phases: Phases
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of a context, computed once for all queries."""
        projected = self.attention.wkv(self.attn_pre_norm_context(context))
        return self.attention.turned(projected, phases)

    def forward(
        self,
        x: Float[Tensor, "batch row dim"],
        phases: Phases,
        keys: tuple[Tensor, Tensor],
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
        projected: Tensor | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Attention to the context, then feed-forward.

        With `rows`, query i is x[rows[i]] at its own phase: a neuron with six queries
        is normalised and projected once. `projected` is that of x, computed before.
        """
        queries = self.projected(x) if projected is None else projected
        mixed = self.attention(queries, phases, keys, plan, rows)
        return self.joined(x if rows is None else x[:, rows], mixed)

    def projected(self, x: Tensor) -> Float[Tensor, "batch head row head_dim"]:
        """Queries of x before their rotation."""
        return self.attention.projected(self.attn_pre_norm(x))

    def queries(self, x: Tensor, phases: Phases) -> Float[Tensor, "batch head query head_dim"]:
        """Rotated queries of x, which `forward` compares with the keys."""
        return rotate(self.projected(x), phases)

    def joined(self, x: Tensor, mixed: Tensor) -> Float[Tensor, "batch query dim"]:
        """Add attention, then feed-forward, to x."""
        x = x + mixed
        return x + self.feed_forward(self.ffn_pre_norm(x))
