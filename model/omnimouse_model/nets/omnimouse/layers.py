"""Layers that the video encoder and the trunk share: norm, feed-forward, drop path.

The layers are the usual ones of current transformers (paper, section 4: RMSNorm,
normalised queries and keys, gated SiLU feed-forward after Shazeer, 2020). Most lines
of this file make them fast on a CPU. Autograd passes over all rows once per operation
and keeps every intermediate array. The arrays of a training step are larger than the
caches of a CPU, so here a block of rows passes through the whole layer, forwards and
backwards, while it is in the cache, and less memory is kept.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_BLOCK_BYTES = 1 << 20
"""Bytes of the widest array of a block, per thread: half of a core's second cache."""


# -- modules ------------------------------------------------------------------------


class Norm(nn.RMSNorm):
    """Root-mean-square normalisation, always computed in float32."""

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
        # Only in training on a CPU; elsewhere the library's own kernels are faster.
        if _is_by_blocks(x):
            return gated_feed_forward(
                x, self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight
            )
        up, gate = self.up_proj(x), self.gate_proj(x)
        if torch.is_grad_enabled():
            inner = F.silu(up) * gate
        else:
            # In place: on a CPU new memory costs as much time as the activation.
            inner = F.silu(up, inplace=True).mul_(gate)
        out: Tensor = self.down_proj(inner)
        return out


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


# -- the same functions by blocks of rows, with their own gradients -------------------


def _is_by_blocks(x: Tensor) -> bool:
    """Whether blocks of rows are faster: in training, on a CPU, not compiled."""
    # A compiler fuses these operations itself, and cannot look into our functions.
    on_cpu = x.device.type == "cpu"
    return on_cpu and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _blocks(widest: Tensor) -> Iterator[slice]:
    """Slices of rows; the caches of all threads hold one block of this array."""
    row = widest.shape[-1] * widest.element_size()
    # Threads divide a block between them, each with a cache of its own.
    step = max(1, torch.get_num_threads() * _BLOCK_BYTES // row)
    for start in range(0, len(widest), step):
        yield slice(start, start + step)


def rms_norm(x: Tensor, weight: Tensor | None, eps: float | None) -> Tensor:
    """Root-mean-square normalisation of the last axis of (..., dim).

    The gradient of the weight is summed in the type of the weight.
    """
    if not _is_by_blocks(x):
        return F.rms_norm(x, (x.shape[-1],), weight, eps)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    # mypy: torch leaves Function.apply untyped
    out: Tensor = _RMSNorm.apply(  # type: ignore[no-untyped-call]
        x.reshape(-1, x.shape[-1]), weight, eps
    )
    return out.view(x.shape)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor | None, eps: float) -> Tensor:
        out, scales = torch.empty_like(rows), rows.new_empty(len(rows), 1)
        for block in _blocks(rows):
            part = rows[block]
            scales[block] = (part * part).mean(dim=-1, keepdim=True).add_(eps).rsqrt_()
            torch.mul(part, scales[block], out=out[block])
            if weight is not None:
                out[block].mul_(weight)
        # Of each row only the scale is kept; `backward` normalises the row again.
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
        # With u = x * scale, of unit mean square, and g the gradient times the weight:
        # dx = scale * (g - u * mean(g * u)). The second term removes the part of the
        # gradient that would change only the length of a row.
        for block in _blocks(rows):
            scale = scales[block]
            unit, upstream = rows[block] * scale, gradient[block]
            along = upstream * unit
            if summed is not None:
                summed += along.sum(dim=0)
            if weight is not None:
                upstream, along = upstream * weight, along.mul_(weight)
            out = total[block]
            torch.mul(unit, along.mean(dim=-1, keepdim=True), out=out)
            torch.sub(upstream, out, out=out).mul_(scale)
        return total, summed, None


def gated_feed_forward(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """down(silu(up x) * gate x) of (..., dim), weights as in Linear layers.

    Computed in the type of autocast if it is on; gradients of the weights are summed
    in the type of the weights.
    """
    rows, dtype = x.reshape(-1, x.shape[-1]), None
    if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype("cpu")
        # Cast by hand: autocast leaves out products that write to a given array.
        rows = rows.to(dtype)
    # mypy: torch leaves Function.apply untyped
    out: Tensor = _GatedFeedForward.apply(  # type: ignore[no-untyped-call]
        rows, gate, up, down, dtype
    )
    return out.view(*x.shape[:-1], len(down))


class _GatedFeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        gate: Tensor,
        up: Tensor,
        down: Tensor,
        dtype: torch.dtype | None,
    ) -> Tensor:
        weights = gate, up, down
        with torch.autocast("cpu", enabled=False):
            if dtype is not None:
                # Copies; the weights themselves are saved for the gradients below.
                gate, up, down = (weight.to(dtype) for weight in weights)
            gated, raised = (rows.new_empty(len(rows), len(gate)) for _ in range(2))
            out = rows.new_empty(len(rows), len(down))
            for block in _blocks(gated):
                torch.mm(rows[block], gate.t(), out=gated[block])
                torch.mm(rows[block], up.t(), out=raised[block])
                inner = F.silu(raised[block]).mul_(gated[block])
                torch.mm(inner, down.t(), out=out[block])
        # The activations are not kept: `backward` computes them again per block.
        ctx.save_for_backward(rows, gated, raised, *weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, gated, raised, *weights = ctx.saved_tensors
        needed = ctx.needs_input_grad
        total = torch.empty_like(rows) if needed[0] else None
        sums = [
            torch.zeros_like(weight) if is_needed else None
            for weight, is_needed in zip(weights, needed[1:4], strict=True)
        ]
        with torch.autocast("cpu", enabled=False):
            gate, up, down = (weight.to(rows.dtype) for weight in weights)
            for block in _blocks(gated):
                inputs, opened = rows[block], gated[block]
                active = F.silu(raised[block])
                inner = gradient[block] @ down
                _add_product(sums[2], gradient[block], active * opened)
                # From here on `active` and `inner` are reused for the gradients.
                of_gate = active.mul_(inner)
                of_up = torch.ops.aten.silu_backward(inner.mul_(opened), raised[block])
                _add_product(sums[0], of_gate, inputs)
                _add_product(sums[1], of_up, inputs)
                if total is not None:
                    torch.mm(of_gate, gate, out=total[block])
                    total[block].addmm_(of_up, up)
        return total, *sums, None


def _add_product(total: Tensor | None, a: Tensor, b: Tensor) -> None:
    """Add left.T @ right in the type of the total; do nothing without a total."""
    if total is None:
        return
    if total.dtype == a.dtype:
        # In one pass, without a temporary product.
        total.addmm_(a.t(), b)
    else:
        # bf16 products summed in float32: the sum over blocks must not be rounded.
        total.add_(a.t() @ b)
