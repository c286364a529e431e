"""Layers that train by blocks of rows give what whole arrays under autograd give."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.families.omnimouse import attention as layers
from omnimouse_model.families.omnimouse.attention import GatedFeedForward, Norm, attend


def plain_feed_forward(layer: GatedFeedForward, x: Tensor) -> Tensor:
    out: Tensor = layer.down_proj(F.silu(layer.up_proj(x)) * layer.gate_proj(x))
    return out


def plain_norm(layer: Norm, x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), layer.weight, layer.eps)


def answer_and_gradients(layer: nn.Module, answer: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The answer and all gradients, of inputs that lie in memory in another order."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(3, 24, 700, generator=draw).transpose(1, 2).requires_grad_()
    layer.zero_grad()
    out = answer(x)
    weights = torch.randn(out.shape, generator=draw)
    (out.float() * weights).sum().backward()
    assert x.grad is not None
    grads = [p.grad for p in layer.parameters() if p.grad is not None]
    return [out.detach().float(), x.grad.clone(), *(g.clone() for g in grads)]


@pytest.mark.parametrize("block_bytes", [1, 40_000, 1 << 30])
@pytest.mark.parametrize("kind", ["feed-forward", "norm"])
def test_blocks_change_no_answer_and_no_gradient(kind, block_bytes, monkeypatch):
    monkeypatch.setattr(layers, "_BLOCK_BYTES", block_bytes)
    torch.manual_seed(0)
    norm, feed_forward = Norm(24, eps=1e-5), GatedFeedForward(24, 40)
    nn.init.normal_(norm.weight)
    if kind == "norm":
        plain = answer_and_gradients(norm, lambda x: plain_norm(norm, x))
        found = answer_and_gradients(norm, norm)
    else:
        plain = answer_and_gradients(feed_forward, lambda x: plain_feed_forward(feed_forward, x))
        found = answer_and_gradients(feed_forward, feed_forward)
    assert len(found) == len(plain) == (3 if kind == "norm" else 5)
    for mine, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_norm_is_exact_under_autocast():
    layer = Norm(24, eps=1e-5)
    exact = answer_and_gradients(layer, layer)
    with torch.autocast("cpu", torch.bfloat16):
        inside = answer_and_gradients(layer, layer)
    for mine, theirs in zip(inside, exact, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.slow
def test_gradients_are_those_of_the_functions(monkeypatch):
    monkeypatch.setattr(layers, "_BLOCK_BYTES", 100)
    draw = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=draw, dtype=torch.float64)
        return drawn.requires_grad_()

    x = some(2, 3, 4)
    layer = (x, some(6, 4), some(6, 4), some(4, 6))
    assert torch.autograd.gradcheck(layers.gated_feed_forward, layer)
    with_weight = partial(layers.rms_norm, eps=1e-5)
    assert torch.autograd.gradcheck(with_weight, (x, some(4)))
    bare = partial(layers.rms_norm, weight=None, eps=None)
    assert torch.autograd.gradcheck(bare, (x,))


@torch.no_grad()
def test_bf16_attention_on_a_cpu_is_the_fused_one_within_its_rounding():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 32) for n in (1100, 200, 200))
    exact = F.scaled_dot_product_attention(q, k, v)
    found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()
