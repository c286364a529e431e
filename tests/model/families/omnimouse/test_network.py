"""The net against the official outputs, and the released sizes key for key."""

import json

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import omnimouse_model as om
from omnimouse_model.families.omnimouse import attention as times
from omnimouse_model.families.omnimouse.attention import CrossBlock, SelfBlock
from omnimouse_model.families.omnimouse.config import SIZES, HieraConfig, OmniMouseConfig
from omnimouse_model.families.omnimouse.network import Hiera, HieraBlock, OmniMouse, check_size
from omnimouse_model.families.omnimouse.predictor import checked_between, checked_modules
from omnimouse_model.inference.families import training_plan
from omnimouse_model.storage.trees import decode
from tests import FIXTURES
from tests.conformance import parity
from tests.model.small_net import SMALL
from tests.predictors import tiny_transformer

KEY_COUNTS = {"1M": 103, "5M": 131, "20M": 185, "80M": 227, "300M": 311}
SHARED_PARAMETERS = {
    "1M": 6_409_472,
    "5M": 9_819_392,
    "20M": 35_232_000,
    "80M": 114_482_432,
    "300M": 347_760_896,
}


PARITY = FIXTURES / "omnimouse_parity"
CASES = {c["name"]: c for c in json.loads((PARITY / "cases.json").read_text())["cases"]}


@pytest.fixture(scope="module")
def reference():
    return parity.read_reference(PARITY)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_case_gives_the_official_outputs(reference, name):
    line = parity.case_line(reference, CASES[name])
    assert line.is_good, line.text()
    assert "loss" in line.ratios


def test_every_error_case_is_refused_as_officially(reference):
    problems = {c["name"]: parity.refused_as(reference, c) for c in reference.error_cases}
    assert not {k: v for k, v in problems.items() if v}


def sized_net(size: str, session: str, n_neurons: int, animal: str) -> OmniMouse:
    with torch.device("meta"):
        return OmniMouse(SIZES[size], {session: n_neurons}, {session: animal})


@pytest.mark.slow
@pytest.mark.parametrize("size", list(SIZES))
def test_a_size_has_its_parameters_and_keys(size):
    net = sized_net(size, "29156-11-10", 8000, "29156")
    assert len(net.state_dict()) == KEY_COUNTS[size]
    sizes = {"sess_params": 0, "animal_params": 0, "shared": 0}
    for name, parameter in net.named_parameters():
        part = name.split(".")[0]
        sizes[part if part in sizes else "shared"] += parameter.numel()
    assert sizes["shared"] == SHARED_PARAMETERS[size]
    assert sizes["sess_params"] == 256 * 8000 + 8000 + 256


@pytest.mark.parametrize("unit", [(1, 1, 32), (1, 16, 1), (1, 1, 4)])
def test_official_windows_of_any_four_patches_are_computed(unit):
    hiera = Hiera(HieraConfig(embed_dim=8, mask_unit_size=unit, frames=8))
    assert hiera(torch.zeros(1, 1, 8, 36, 64), None).shape == (1, 4, 128, 16)


@pytest.mark.parametrize("size", ["5M", "80M"])
def test_keys_shapes_and_types_are_the_released_ones(size):
    net = sized_net(size, "SESSION", 8000, "ANIMAL")
    expected = {}
    listing = FIXTURES / "state_dicts" / f"state_dict_{size}.txt"
    lines = listing.read_text().splitlines()
    for line in (line for line in lines if not line.startswith("#")):
        key, shape, kind, _ = (part.strip() for part in line.split("|"))
        key = key.replace("{session}", "SESSION").replace("{animal}", "ANIMAL")
        expected[key] = (shape.replace("P", "8000"), kind)
    found = {
        key: (str(list(value.shape)), str(value.dtype).removeprefix("torch."))
        for key, value in net.state_dict().items()
    }
    assert found == expected


class WithoutFloat64(TorchDispatchMode):
    """Stand-in for an Apple GPU, on which a float64 tensor is an error.

    Times are computed on the CPU meanwhile: `on_cpu` makes a function exempt.
    """

    is_on_cpu = False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        values = tree_leaves((args, kwargs, result))
        kinds = {value.dtype for value in values if isinstance(value, torch.Tensor)}
        assert self.is_on_cpu or torch.float64 not in kinds, f"{operation} uses float64"
        return result

    def on_cpu(self, function):
        def exempt(*args, **kwargs):
            self.is_on_cpu = True
            try:
                return function(*args, **kwargs)
            finally:
                self.is_on_cpu = False

        return exempt


@pytest.mark.parametrize("name", ["video_behavior", "causal_prefix_no_behavior"])
def test_on_the_device_nothing_is_computed_in_float64(reference, name, monkeypatch):
    device = WithoutFloat64()
    for owner, function in (
        (times.RotaryFrequencies, "phases"),
        (times.AttentionPlan, "between"),
    ):
        monkeypatch.setattr(owner, function, device.on_cpu(getattr(owner, function)))
    with torch.no_grad(), device:
        found = parity.run_case(reference, CASES[name])
    assert found["response_preds"].isfinite().any()


def test_rotary_frequencies_stay_on_the_cpu_if_the_device_has_no_float64(monkeypatch):
    monkeypatch.setattr(times, "WITHOUT_FLOAT64", ("meta",))
    rotary = times.RotaryFrequencies(SIZES["1M"])
    seconds, values = torch.rand(1, 7), rotary.inv_freq.clone()
    rotary.to("meta")
    assert torch.equal(rotary.inv_freq, values)
    assert rotary.phases(seconds).device.type == "meta"
    assert rotary.to("cpu").phases(seconds).device.type == "cpu"


# -- configs that make no network are refused before memory is allocated -------------
@pytest.mark.parametrize(
    ("model", "field"),
    [
        ({"d_model": 10**12}, "d_model"),
        ({"num_layers": 10**9}, "num_layers"),
        ({"hiera": {"stages": [1, 10**9]}}, "stages"),
        ({"d_model": 999_999, "num_heads": 1}, "model"),
    ],
)
def test_an_absurd_size_is_named(model, field):
    with pytest.raises(ValueError, match=field):
        check_size(decode(OmniMouseConfig, model, "x.yaml"), {"a": 3})


@pytest.mark.slow
def test_the_shipped_and_the_official_sizes_are_accepted():
    check_size(SMALL, {"a": 3, "b": 4})
    for name in ("demo", "omnimouse-300M"):
        check_size(training_plan(name).config.model, {"a": 3})
    assert om.load_predictor("demo").needs.n_neurons


# -- A running network stops between its modules when a newer request arrives --------
def test_a_gpu_is_checked_before_each_block_and_a_cpu_before_each_layer():
    net = tiny_transformer().net
    of_gpu = checked_modules(net, torch.device("cuda"))
    of_cpu = checked_modules(net, torch.device("cpu"))
    blocks = (SelfBlock, CrossBlock, HieraBlock)
    assert set(of_gpu) == {m for m in net.modules() if isinstance(m, blocks)}
    assert {m for m in net.modules() if isinstance(m, nn.Linear)} < set(of_cpu)
    assert not set(of_gpu) & set(of_cpu)


def test_checks_end_with_the_request():
    layer, calls = nn.Linear(2, 2), []
    with checked_between([layer], lambda: calls.append(1)):
        layer(torch.zeros(1, 2))
    layer(torch.zeros(1, 2))
    assert calls == [1]
