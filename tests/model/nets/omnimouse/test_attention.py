"""Attention under a plan is attention under the dense mask of the same intervals."""

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
