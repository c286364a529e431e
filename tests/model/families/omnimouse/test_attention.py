"""Attention under a plan is attention under the dense mask of the same intervals."""

from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.families.omnimouse import attention
from omnimouse_model.families.omnimouse.attention import (
    AttentionPlan,
    Heads,
    Intervals,
    Norm,
    SelfBlock,
    attend,
    planned_attention,
)
from tests.attended import dense


def _plan_with_empty_groups() -> AttentionPlan:
    """Groups of several sizes; some queries have keys in two slices, some have none."""
    queries = Intervals(
        torch.tensor([9.0, 0.0, 0.5, 9.0]), torch.tensor([9.5, 0.5, 1, 9.5]), (2, 3, 2, 1)
    )
    keys = Intervals(
        torch.tensor([0.0, 0.4, 0.5, 0.0]), torch.tensor([0.4, 0.6, 2, 8]), (2, 1, 3, 2)
    )
    return AttentionPlan.between(queries, keys)


def test_a_packed_plan_has_the_pairs_of_each_item():
    plan, batch = _plan_with_empty_groups(), 3
    packed = plan.packed(batch, torch.device("cpu"))
    one = dense(plan)
    pairs = torch.zeros(batch * len(one), batch * plan.n_keys, dtype=torch.bool)
    ends = zip(packed.query_ends.tolist(), packed.key_ends.tolist(), strict=True)
    for (q_start, k_start), (q_stop, k_stop) in pairwise(ends):
        assert q_stop - q_start <= packed.most_queries
        assert k_stop - k_start <= packed.most_keys
        pairs[q_start:q_stop, packed.keys[k_start:k_stop]] = True
    assert torch.equal(pairs, torch.block_diag(*[one] * batch).bool())


def _one_attention_after_the_other(q, k, v, q_ends, k_ends, most_q, most_k):
    """Stand-in on a CPU for PyTorch's kernel of attentions of different lengths."""
    out = torch.zeros_like(q)
    ends = pairwise(zip(q_ends.tolist(), k_ends.tolist(), strict=True))
    for (q_start, k_start), (q_stop, k_stop) in ends:
        rows, keys = slice(q_start, q_stop), slice(k_start, k_stop)
        scores = torch.einsum("qhd,khd->hqk", q[rows], k[keys]) / q.shape[-1] ** 0.5
        if k_stop > k_start:
            out[rows] = torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), v[keys])
    return out


@pytest.mark.skipif(
    find_spec("torch.nn.attention.varlen") is None, reason="PyTorch before 2.10 has no varlen_attn"
)
def test_packing_changes_no_result(monkeypatch):
    torch.manual_seed(0)
    plan = _plan_with_empty_groups()
    q, k, v = (torch.randn(3, 8, 4, 16).transpose(1, 2) for _ in "qkv")
    by_groups = planned_attention(q, k, v, plan)
    place = "torch.nn.attention.varlen.varlen_attn"
    monkeypatch.setattr(place, _one_attention_after_the_other)
    monkeypatch.setattr(attention, "_has_kernel", lambda q: True)
    packed = planned_attention(q, k, v, plan)
    torch.testing.assert_close(packed, by_groups, atol=1e-6, rtol=1e-6)
    # No group has keys: the kernel is not called.
    never = AttentionPlan.between(
        Intervals(torch.zeros(1), torch.ones(1), (8,)),
        Intervals(torch.ones(1), 2 * torch.ones(1), (8,)),
    )
    monkeypatch.setattr(place, None)
    assert not planned_attention(q, k, v, never).any()


@pytest.mark.parametrize(
    ("head_dim", "dtype", "has_kernel"),
    [
        (32, torch.bfloat16, True),
        (256, torch.float16, True),
        (12, torch.bfloat16, False),
        (264, torch.bfloat16, False),
        (32, torch.float32, False),
    ],
)
def test_the_kernel_serves_the_sizes_and_types_that_it_has(
    monkeypatch, head_dim, dtype, has_kernel
):
    q = torch.zeros(1, 1, 2, head_dim, dtype=dtype)
    assert not attention._has_kernel(q)
    monkeypatch.setattr(attention, "_is_flash_gpu", lambda device: True)
    assert attention._has_kernel(q) == has_kernel


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
def test_one_kernel_for_all_groups_gives_the_attention_of_each_group():
    torch.manual_seed(0)
    plan = _plan_with_empty_groups()
    exact = [torch.randn(3, 2, 8, 32, device="cuda", requires_grad=True) for _ in "qkv"]
    rounded = [x.detach().bfloat16().requires_grad_() for x in exact]
    upstream = torch.randn(3, 2, 8, 32, device="cuda")
    results = [planned_attention(*parts, plan) for parts in (exact, rounded)]
    for result in results:
        result.backward(upstream.to(result.dtype))
    without_keys = results[1][:, :, [0, 1, 7]]
    assert torch.equal(without_keys, torch.zeros_like(without_keys))
    torch.testing.assert_close(results[1].float(), results[0], atol=0.03, rtol=0.03)
    for one, other in zip(exact, rounded, strict=True):
        torch.testing.assert_close(other.grad.float(), one.grad, atol=0.03, rtol=0.03)


@pytest.mark.slow
def test_attention_and_feed_forward_are_the_same_with_and_without_gradients():
    torch.manual_seed(0)
    times = Intervals(torch.arange(6.0), torch.arange(6.0) + 2, (3, 2, 1, 4, 1, 2))
    plan = AttentionPlan.between(times, times)
    x = torch.randn(2, times.length, 32)
    block = SelfBlock(32, Heads(2, 2), 48, 1e-6)
    with_gradients = block(x, None, plan)
    with torch.no_grad():
        torch.testing.assert_close(block(x, None, plan), with_gradients)


# -- normalisation ------------------------------------------------------------------
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


@pytest.mark.parametrize("rotates", [False, True])
def test_rows_that_all_items_share_are_projected_once(rotates):
    torch.manual_seed(0)
    block = SelfBlock(32, Heads(4, 2), 48, 1e-6).eval()
    x = torch.cat([torch.randn(3, 5, 32), torch.randn(1, 7, 32).expand(3, -1, -1)], dim=1)
    angles = torch.randn(1, 1, 12, 4)
    phases = torch.polar(torch.ones_like(angles), angles) if rotates else None
    n_projected: list[int] = []
    block.attention.wqkv.register_forward_hook(
        lambda _, given, __: n_projected.append(given[0].shape[0] * given[0].shape[1])
    )
    with torch.inference_mode():
        expected = block(x, phases, None)
        torch.testing.assert_close(block(x, phases, None, n_own=5), expected)
    assert n_projected == [36, 15, 7]


def test_a_norm_gives_the_answer_and_the_gradients_of_the_library():
    torch.manual_seed(0)
    norm = Norm(24, eps=1e-5)
    nn.init.normal_(norm.weight)
    plain = answer_and_gradients(norm, lambda x: plain_norm(norm, x))
    found = answer_and_gradients(norm, norm)
    assert len(found) == len(plain) == 3
    for mine, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_norm_is_exact_under_autocast():
    layer = Norm(24, eps=1e-5)
    exact = answer_and_gradients(layer, layer)
    with torch.autocast("cpu", torch.bfloat16):
        inside = answer_and_gradients(layer, layer)
    for mine, theirs in zip(inside, exact, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@torch.no_grad()
def test_bf16_attention_on_a_cpu_is_the_fused_one_within_its_rounding():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 32) for n in (1100, 200, 200))
    exact = F.scaled_dot_product_attention(q, k, v)
    found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()
