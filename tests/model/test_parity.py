"""The net against the official outputs, and the released sizes key for key."""

import pytest
import torch
from safetensors.torch import load_file

from omnimouse_model.nets.attention import SelfBlock
from omnimouse_model.nets.config import SIZES
from omnimouse_model.nets.kernels import attend, planned_attention
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.plan import AttentionPlan, Intervals
from tests import FIXTURES
from tests.conformance.parity import (
    TOLERANCE,
    largest_errors,
    read_reference,
    refused_as,
    run_case,
)

KEY_COUNTS = {"1M": 103, "5M": 131, "20M": 185, "80M": 227, "300M": 311}
SHARED_PARAMETERS = {
    "1M": 6_409_472,
    "5M": 9_819_392,
    "20M": 35_232_000,
    "80M": 114_482_432,
    "300M": 347_760_896,
}


@pytest.fixture(scope="module")
def reference():
    return read_reference(FIXTURES / "omnimouse_parity")


def test_every_case_gives_the_official_outputs(reference):
    for case in reference.cases:
        with torch.no_grad():
            found = run_case(reference, case)
        expected = load_file(reference.folder / case["expected"])
        errors = largest_errors(found, expected)
        wrong = {k: v for k, v in errors.items() if v > TOLERANCE}
        assert not wrong, case["name"]
        assert errors["loss"] <= TOLERANCE


def test_every_error_case_is_refused_as_officially(reference):
    problems = {c["name"]: refused_as(reference, c) for c in reference.error_cases}
    assert not {k: v for k, v in problems.items() if v}


def sized_net(size: str, session: str, n_neurons: int, animal: str) -> OmniMouse:
    with torch.device("meta"):
        return OmniMouse(SIZES[size], {session: n_neurons}, {session: animal})


@pytest.mark.parametrize("size", list(SIZES))
def test_a_size_has_its_parameters_and_keys(size):
    net = sized_net(size, "29156-11-10", 8000, "29156")
    assert len(net.state_dict()) == KEY_COUNTS[size]
    own = ("sess_params.", "animal_params.")
    shared = sum(
        p.numel() for name, p in net.named_parameters() if not name.startswith(own)
    )
    assert shared == SHARED_PARAMETERS[size]
    session = sum(
        p.numel() for name, p in net.named_parameters() if name.startswith(own[0])
    )
    assert session == 256 * 8000 + 8000 + 256


@pytest.mark.parametrize("size", ["5M", "80M"])
def test_keys_shapes_and_types_are_the_released_ones(size):
    net = sized_net(size, "SESSION", 8000, "ANIMAL")
    expected = {}
    listing = FIXTURES / "state_dicts" / f"state_dict_{size}.txt"
    for line in listing.read_text().splitlines():
        if line.startswith("#"):
            continue
        key, shape, kind, _ = (part.strip() for part in line.split("|"))
        key = key.replace("{session}", "SESSION").replace("{animal}", "ANIMAL")
        expected[key] = (shape.replace("P", "8000"), kind)
    found = {
        key: (str(list(value.shape)), str(value.dtype).removeprefix("torch."))
        for key, value in net.state_dict().items()
    }
    assert found == expected


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


@torch.no_grad()
def test_bf16_attention_on_a_cpu_is_the_fused_one_within_its_rounding():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 32) for n in (1100, 200, 200))
    exact = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()


def test_attention_and_feed_forward_are_the_same_with_and_without_gradients():
    torch.manual_seed(0)
    times = Intervals(torch.arange(6.0), torch.arange(6.0) + 2, (3, 2, 1, 4, 1, 2))
    plan = AttentionPlan.between(times, times)
    x = torch.randn(2, times.length, 32)
    block = SelfBlock(32, 2, 2, 48, 1e-6)
    with_gradients = block(x, None, plan)
    with torch.no_grad():
        torch.testing.assert_close(block(x, None, plan), with_gradients)


def test_a_local_layer_attends_fewer_pairs_than_a_dense_one(reference):
    case = next(
        c for c in reference.cases if c["name"] == "responses_video_decode_behavior"
    )
    with torch.no_grad():
        found = run_case(reference, case)
    allowed = int(found["processor_mask.row_count"].sum())
    n = len(found["processor_mask.row_count"])
    assert allowed < 0.35 * n * n
