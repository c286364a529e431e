"""Softmax attention under a plan: each group of queries is dense over its own keys.

So a local layer costs what its allowed pairs cost. On a CPU bf16 has its own way.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from omnimouse_model.nets.plan import AttentionPlan

_Groups = list[tuple[slice, ...]]

_BLOCK_ROWS = 512
"""Queries whose scores are held at once, few enough for a core's cache."""


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
    pieces = [
        attend(*cut) if cut[1].shape[2] else torch.zeros_like(cut[0])
        for cut in _cuts(q, k, v, plan)
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)


def attend(
    q: Float[Tensor, "*batch query dim"],
    k: Float[Tensor, "*batch key dim"],
    v: Float[Tensor, "*batch key dim"],
) -> Float[Tensor, "*batch query dim"]:
    """Softmax attention in the type that `score_type` chose, whatever autocast says."""
    with torch.autocast(q.device.type, enabled=False):
        if q.device.type == "cpu" and q.dtype == torch.bfloat16:
            return _attend_in_blocks(q, k, v)
        return F.scaled_dot_product_attention(q, k, v)


def score_type(x: Tensor) -> torch.dtype:
    """Type in which attention scores are computed: x's own, but for CPU training.

    The CPU's fused attention is no faster in bf16 than in float32, and three times
    slower with its gradients (1,000 queries, 300 keys, heads of 32).
    """
    trains_on_cpu = x.device.type == "cpu" and torch.is_grad_enabled()
    return torch.float32 if trains_on_cpu else x.dtype


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as two matrix products per block of queries, scores in the cache.

    In bf16 on a CPU 1.5 to 2 times as fast as the fused kernel.
    """
    turned = k.transpose(-1, -2)
    scaled = q * q.shape[-1] ** -0.5
    blocks = [
        torch.softmax(rows @ turned, dim=-1) @ v
        for rows in scaled.split(_BLOCK_ROWS, dim=-2)
    ]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-2)


def _cuts(
    q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan
) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
    """Queries, keys and values of each group; one group at a time without gradients."""
    queries: _Groups = [(group.queries,) for group in plan.groups]
    keys: _Groups = [group.keys for group in plan.groups]
    if torch.is_grad_enabled():
        parts = _parts(q, queries), _parts(k, keys), _parts(v, keys)
        return zip(*parts, strict=True)
    return (
        (_cut(q, own), _cut(k, seen), _cut(v, seen))
        for own, seen in zip(queries, keys, strict=True)
    )


def _parts(x: Tensor, groups: _Groups) -> tuple[Tensor, ...]:
    """Cut the elements of each group out of (batch, head, element, dim)."""
    # mypy: torch leaves Function.apply untyped
    parts: tuple[Tensor, ...] = _Parts.apply(x, groups)  # type: ignore[no-untyped-call]
    return parts


class _Parts(torch.autograd.Function):
    """Many overlapping cuts of one tensor; their gradients meet in one buffer.

    Autograd by itself would make a whole tensor of zeros for every cut.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: _Groups) -> tuple[Tensor, ...]:
        ctx.groups, ctx.shape = groups, x.shape
        return tuple(_cut(x, group) for group in groups)

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


def _cut(x: Tensor, slices: tuple[slice, ...]) -> Tensor:
    if not slices:
        return x[:, :, :0]
    parts = [x[:, :, part] for part in slices]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
