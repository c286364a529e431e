"""Layers that train by blocks of rows give what whole arrays under autograd give."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.nets import rowwise
from omnimouse_model.nets.attention import GatedFeedForward, Norm


def plain_feed_forward(layer: GatedFeedForward, x: Tensor) -> Tensor:
    out: Tensor = layer.down_proj(F.silu(layer.up_proj(x)) * layer.gate_proj(x))
    return out


def plain_norm(layer: Norm, x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), layer.weight, layer.eps)


def answer_and_gradients(
    layer: nn.Module, answer: Callable[[Tensor], Tensor]
) -> list[Tensor]:
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
    monkeypatch.setattr(rowwise, "_BLOCK_BYTES", block_bytes)
    torch.manual_seed(0)
    norm, feed_forward = Norm(24, eps=1e-5), GatedFeedForward(24, 40)
    nn.init.normal_(norm.weight)
    if kind == "norm":
        plain = answer_and_gradients(norm, lambda x: plain_norm(norm, x))
        found = answer_and_gradients(norm, norm)
    else:
        plain = answer_and_gradients(
            feed_forward, lambda x: plain_feed_forward(feed_forward, x)
        )
        found = answer_and_gradients(feed_forward, feed_forward)
    assert len(found) == len(plain) == (3 if kind == "norm" else 5)
    for mine, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_under_autocast_weights_keep_gradients_in_their_own_type():
    torch.manual_seed(0)
    layer = GatedFeedForward(24, 40)
    exact = answer_and_gradients(layer, layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(2, 24)).dtype == torch.bfloat16
        rough = answer_and_gradients(layer, layer)
    for mine, theirs in zip(rough, exact, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - theirs).norm() < 0.02 * theirs.norm()
    assert {p.grad.dtype for p in layer.parameters() if p.grad is not None} == {
        torch.float32
    }


def test_a_norm_is_exact_under_autocast():
    layer = Norm(24, eps=1e-5)
    exact = answer_and_gradients(layer, layer)
    with torch.autocast("cpu", torch.bfloat16):
        inside = answer_and_gradients(layer, layer)
    for mine, theirs in zip(inside, exact, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_gradients_are_those_of_the_functions(monkeypatch):
    monkeypatch.setattr(rowwise, "_BLOCK_BYTES", 100)
    draw = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=draw, dtype=torch.float64)
        return drawn.requires_grad_()

    x = some(2, 3, 4)
    layer = (x, some(6, 4), some(6, 4), some(4, 6))
    assert torch.autograd.gradcheck(rowwise.gated_feed_forward, layer)
    with_weight = partial(rowwise.rms_norm, eps=1e-5)
    assert torch.autograd.gradcheck(with_weight, (x, some(4)))
    bare = partial(rowwise.rms_norm, weight=None, eps=None)
    assert torch.autograd.gradcheck(bare, (x,))


def test_a_frozen_layer_passes_gradients_on_and_gets_none():
    torch.manual_seed(0)
    norm, feed_forward = Norm(24, eps=1e-5), GatedFeedForward(24, 40)
    plain = [
        answer_and_gradients(norm, lambda x: plain_norm(norm, x)),
        answer_and_gradients(
            feed_forward, lambda x: plain_feed_forward(feed_forward, x)
        ),
    ]
    for layer, (_, gradient, *_) in zip((norm, feed_forward), plain, strict=True):
        layer.requires_grad_(False)
        found = answer_and_gradients(layer, layer)
        assert len(found) == 2
        torch.testing.assert_close(found[1], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", [GatedFeedForward(24, 40), Norm(24, eps=1e-5)])
def test_one_row_is_answered_without_a_batch_and_no_rows_by_none(layer):
    x = torch.randn(24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = layer(x)
    torch.testing.assert_close(layer(x), expected)
    out = layer(torch.empty(2, 0, 24))
    assert out.shape == (2, 0, 24)
    out.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize(
    ("layer", "widths"), [(GatedFeedForward(24, 40), 24 + 2 * 40), (Norm(24), 24 + 1)]
)
def test_training_keeps_no_array_that_a_block_can_make_again(layer, widths):
    """Of a feed-forward its input and both products; of a norm also its scales."""
    x = torch.randn(5, 300, 24, requires_grad=True)
    own = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    kept: dict[int, int] = {}

    def keep(saved: Tensor) -> Tensor:
        place = saved.untyped_storage()
        if place.data_ptr() not in own:
            kept[place.data_ptr()] = place.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        layer(x)
    assert sum(kept.values()) == 5 * 300 * widths * x.element_size()
