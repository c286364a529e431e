"""Attention of queries to keys, and the transformer blocks around it.

1. softmax attention
2. attention under a plan: a plan (`times.AttentionPlan`) lists groups of neighbouring
   queries with the slices of keys that they may attend
3. self- and cross-attention with heads, normalisation and rotation
4. transformer blocks
"""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.nets.omnimouse.layers import (
    DropPath,
    GatedFeedForward,
    Norm,
    rms_norm,
)
from omnimouse_model.nets.omnimouse.times import AttentionPlan, Phases, rotate

_BLOCK_QUERIES = 512
"""Queries whose scores are computed at once: few enough for the cache of a core."""


# -- 1. softmax attention -------------------------------------------------------------


def attend(
    q: Float[Tensor, "*batch query dim"],
    k: Float[Tensor, "*batch key dim"],
    v: Float[Tensor, "*batch key dim"],
) -> Float[Tensor, "*batch query dim"]:
    """Softmax attention in the type of its inputs; autocast has no effect."""
    with torch.autocast(q.device.type, enabled=False):
        # Autocast would turn float32 scores, which `score_type` selected, into bf16.
        if q.device.type == "cpu" and q.dtype == torch.bfloat16:
            return _attend_in_blocks(q, k, v)
        return F.scaled_dot_product_attention(q, k, v)


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
    if any(group.keys for group in plan.groups) and _has_kernel(q):
        return _attend_packed(q, k, v, plan)
    pieces = [
        # Softmax over no keys is undefined; slots before the first token have none.
        attend(*cut) if cut[1].shape[2] else torch.zeros_like(cut[0])
        for cut in _cuts(q, k, v, plan)
    ]
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

    packed = plan.packed(len(q), q.device)
    # (batch, head, element, head_dim) -> (batch * element, head, head_dim)
    rows, keys, values = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    # Rows of an array without gaps are copied several times as fast.
    keys, values = keys.contiguous(), values.contiguous()
    mixed = varlen_attn(
        rows,
        keys[packed.keys],
        values[packed.keys],
        packed.query_ends,
        packed.key_ends,
        packed.most_queries,
        packed.most_keys,
    )
    assert isinstance(mixed, Tensor)
    out: Tensor = mixed.unflatten(0, (len(q), -1)).transpose(1, 2)
    return out


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
        (_cut(q, rows), _cut(k, columns), _cut(v, columns))
        for rows, columns in zip(queries, keys, strict=True)
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


# -- 3. heads -------------------------------------------------------------------------


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

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan | None) -> Tensor:
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
        return self._mix(self.queries(x, phases, rows), *keys, plan)

    def queries(
        self, x: Float[Tensor, "batch row dim"], phases: Phases, rows: Tensor | None = None
    ) -> Float[Tensor, "batch head query head_dim"]:
        """Rotated queries; query i is x[rows[i]]."""
        # Normalised before the rows are taken, rotated after: queries of one neuron
        # differ in their phases only.
        q = self._turn(self._split(self.wq(x)), None)
        return rotate(q if rows is None else q[:, :, rows], phases)

    def sums(
        self,
        q: Float[Tensor, "head query head_dim"],
        k: Float[Tensor, "1 kv_head key head_dim"],
        v: Float[Tensor, "1 kv_head key head_dim"],
        plan: AttentionPlan,
    ) -> Float[Tensor, "head query sum"]:
        """Return the sums over keys of exp(q k) v and, last, of exp(q k), in float32.

        Sums of parts of the keys can be added, because no maximum is subtracted: of
        normalised queries and keys |q k| <= sqrt(head_dim).

        Parameters
        ----------
        q
            Float32 queries, scaled by 1 / sqrt(head_dim).
        """
        # Sums of thousands of terms: not in bf16, which autocast would choose.
        with torch.autocast(q.device.type, enabled=False):
            repeats = self.n_heads // self.n_kv_heads
            k, v = (x[0].float().repeat_interleave(repeats, dim=0) for x in (k, v))
            # A column of ones: its sum is the denominator.
            v = F.pad(v, (0, 1), value=1.0)
            turned = k.transpose(-1, -2)
            total = q.new_zeros(*q.shape[:2], v.shape[-1])
            for group in plan.groups:
                for keys in group.keys:
                    weights = torch.exp(q[:, group.queries] @ turned[:, :, keys])
                    total[:, group.queries] += weights @ v[:, keys]
            return total

    def quotient(self, total: Float[Tensor, "head query sum"]) -> Float[Tensor, "1 query dim"]:
        """Attention from the result of `sums`; zero for a query without keys."""
        numerator, denominator = total[..., :-1], total[..., -1:]
        mixed = torch.where(denominator > 0, numerator / denominator, 0.0)
        out: Tensor = self.wo(mixed.transpose(0, 1).flatten(1)[None])
        return out


# -- 4. blocks ------------------------------------------------------------------------


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

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, hidden: int, eps: float) -> None:
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
        return self.joined(x if rows is None else x[:, rows], mixed)

    def queries(self, x: Tensor, phases: Phases) -> Float[Tensor, "batch head query head_dim"]:
        """Rotated queries of x, which `forward` compares with the keys."""
        return self.attention.queries(self.attn_pre_norm(x), phases)

    def joined(self, x: Tensor, mixed: Tensor) -> Float[Tensor, "batch query dim"]:
        """Add attention, then feed-forward, to x."""
        x = x + mixed
        out: Tensor = x + self.feed_forward(self.ffn_pre_norm(x))
        return out
