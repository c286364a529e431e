"""Attention under a plan is attention under the dense mask of the same intervals."""

from itertools import pairwise

import pytest
import torch

from omnimouse_model.nets.omnimouse.attention import SelfBlock, planned_attention
from omnimouse_model.nets.omnimouse.times import AttentionPlan, Intervals


def test_a_plan_is_the_dense_mask_of_overlapping_intervals():
    torch.manual_seed(0)
    queries = Intervals(
        torch.tensor([0.0, 0.5, 9.0]), torch.tensor([0.5, 1, 9.5]), (3, 2, 1)
    )
    keys = Intervals(
        torch.tensor([0.0, 0.4, 0.5, 0.0]), torch.tensor([0.4, 0.6, 2, 8]), (2, 1, 3, 2)
    )
    plan = AttentionPlan.between(queries, keys)
    mask = plan.dense()
    assert mask[0].tolist() == [True] * 3 + [False] * 3 + [True] * 2
    assert not mask[5].any()
    assert plan.row_counts().tolist() == mask.sum(dim=1).tolist()
    q, k, v = (torch.randn(2, 2, n, 4) for n in (6, 8, 8))
    dense = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    dense[:, :, 5] = 0.0
    assert torch.allclose(planned_attention(q, k, v, plan), dense, atol=1e-6)


def _plan_with_empty_groups() -> AttentionPlan:
    """Groups of several sizes; some queries have keys in two slices, some have none."""
    queries = Intervals(
        torch.tensor([9.0, 0.0, 0.5, 9.0]),
        torch.tensor([9.5, 0.5, 1, 9.5]),
        (2, 3, 2, 1),
    )
    keys = Intervals(
        torch.tensor([0.0, 0.4, 0.5, 0.0]), torch.tensor([0.4, 0.6, 2, 8]), (2, 1, 3, 2)
    )
    return AttentionPlan.between(queries, keys)


def test_a_packed_plan_has_the_pairs_of_each_item():
    plan, batch = _plan_with_empty_groups(), 3
    packed = plan.packed(batch, torch.device("cpu"))
    pairs = torch.zeros(batch * plan.n_queries, batch * plan.n_keys, dtype=torch.bool)
    ends = zip(packed.query_ends.tolist(), packed.key_ends.tolist(), strict=True)
    for (q_start, k_start), (q_stop, k_stop) in pairwise(ends):
        assert q_stop - q_start <= packed.most_queries
        assert k_stop - k_start <= packed.most_keys
        pairs[q_start:q_stop, packed.keys[k_start:k_stop]] = True
    assert torch.equal(pairs, torch.block_diag(*[plan.dense()] * batch).bool())


@pytest.mark.gpu
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
    block = SelfBlock(32, 2, 2, 48, 1e-6)
    with_gradients = block(x, None, plan)
    with torch.no_grad():
        torch.testing.assert_close(block(x, None, plan), with_gradients)
