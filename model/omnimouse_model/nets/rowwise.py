"""Feed-forward and normalisation by blocks of rows, with gradients of their own.

Each row of these layers stands by itself, yet autograd goes over all rows once per
operation, and keeps what each gave. On a CPU, where the arrays of a step are larger
than its caches, a block of rows passes through the whole layer while the caches hold
it, both ways, and less is kept.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_BLOCK_BYTES = 1 << 20
"""Of the widest array of a block, for one thread: half of a core's second cache."""


def is_by_rows(x: Tensor) -> bool:
    """Whether the layers are the better for it: training, on a CPU, not compiled."""
    on_cpu = x.device.type == "cpu"
    return on_cpu and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def gated_feed_forward(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """down(silu(up x) * gate x) of (..., dim), weights as in Linear layers.

    In autocast's type where it is on; gradients of weights are summed in their own.
    """
    rows, kind = x.reshape(-1, x.shape[-1]), None
    if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
        kind = torch.get_autocast_dtype("cpu")
        rows = rows.to(kind)
    # mypy: torch leaves Function.apply untyped
    out: Tensor = _GatedFeedForward.apply(  # type: ignore[no-untyped-call]
        rows, gate, up, down, kind
    )
    return out.view(*x.shape[:-1], len(down))


def rms_norm(x: Tensor, weight: Tensor | None, eps: float | None) -> Tensor:
    """Root-mean-square normalisation of the last axis of (..., dim).

    The gradient of the weight is summed in its own type.
    """
    if not is_by_rows(x):
        return F.rms_norm(x, (x.shape[-1],), weight, eps)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    # mypy: torch leaves Function.apply untyped
    out: Tensor = _Normalised.apply(  # type: ignore[no-untyped-call]
        x.reshape(-1, x.shape[-1]), weight, eps
    )
    return out.view(x.shape)


class _GatedFeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        gate: Tensor,
        up: Tensor,
        down: Tensor,
        kind: torch.dtype | None,
    ) -> Tensor:
        weights = gate, up, down
        with torch.autocast("cpu", enabled=False):
            if kind is not None:
                gate, up, down = (weight.to(kind) for weight in weights)
            gated, raised = (rows.new_empty(len(rows), len(gate)) for _ in range(2))
            out = rows.new_empty(len(rows), len(down))
            for block in _blocks(gated):
                torch.mm(rows[block], gate.t(), out=gated[block])
                torch.mm(rows[block], up.t(), out=raised[block])
                inner = F.silu(raised[block]).mul_(gated[block])
                torch.mm(inner, down.t(), out=out[block])
        ctx.save_for_backward(rows, gated, raised, *weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, gated, raised, *weights = ctx.saved_tensors
        asked = ctx.needs_input_grad
        total = torch.empty_like(rows) if asked[0] else None
        sums = [
            torch.zeros_like(weight) if is_asked else None
            for weight, is_asked in zip(weights, asked[1:4], strict=True)
        ]
        with torch.autocast("cpu", enabled=False):
            gate, up, down = (weight.to(rows.dtype) for weight in weights)
            for block in _blocks(gated):
                read, opened = rows[block], gated[block]
                active = F.silu(raised[block])
                inner = gradient[block] @ down
                _add_product(sums[2], gradient[block], active * opened)
                of_gate = active.mul_(inner)
                of_up = torch.ops.aten.silu_backward(inner.mul_(opened), raised[block])
                _add_product(sums[0], of_gate, read)
                _add_product(sums[1], of_up, read)
                if total is not None:
                    torch.mm(of_gate, gate, out=total[block])
                    total[block].addmm_(of_up, up)
        return total, *sums, None


def _add_product(total: Tensor | None, left: Tensor, right: Tensor) -> None:
    """Add left.T @ right, in the total's type; without one nothing is asked."""
    if total is None:
        return
    if total.dtype == left.dtype:
        total.addmm_(left.t(), right)
    else:
        total.add_(left.t() @ right)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor | None, eps: float) -> Tensor:
        out, scales = torch.empty_like(rows), rows.new_empty(len(rows), 1)
        for block in _blocks(rows):
            read = rows[block]
            scales[block] = (read * read).mean(dim=-1, keepdim=True).add_(eps).rsqrt_()
            torch.mul(read, scales[block], out=out[block])
            if weight is not None:
                out[block].mul_(weight)
        ctx.save_for_backward(rows, scales, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, scales, weight = ctx.saved_tensors
        total = torch.empty_like(rows)
        summed = None
        if weight is not None and ctx.needs_input_grad[1]:
            summed = torch.zeros_like(weight)
        for block in _blocks(rows):
            scale = scales[block]
            unit, given = rows[block] * scale, gradient[block]
            along = given * unit
            if summed is not None:
                summed += along.sum(dim=0)
            if weight is not None:
                given, along = given * weight, along.mul_(weight)
            out = total[block]
            torch.mul(unit, along.mean(dim=-1, keepdim=True), out=out)
            torch.sub(given, out, out=out).mul_(scale)
        return total, summed, None


def _blocks(widest: Tensor) -> Iterator[slice]:
    """Slices of rows, each as many as the threads' caches hold of this array."""
    row = widest.shape[-1] * widest.element_size()
    step = max(1, torch.get_num_threads() * _BLOCK_BYTES // row)
    for start in range(0, len(widest), step):
        yield slice(start, start + step)
