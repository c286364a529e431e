"""Configs that make no network are refused before memory is allocated."""

import pytest

import omnimouse_model as om
from omnimouse_model.families.omnimouse.config import OmniMouseConfig
from omnimouse_model.families.omnimouse.network import check_size
from omnimouse_model.inference.families import training_plan
from omnimouse_model.storage.trees import decode
from tests.model.small_net import SMALL


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
        check_size(decode(OmniMouseConfig, model, "x.yaml"), {"a": 3}, "x.yaml")


@pytest.mark.slow
def test_the_shipped_and_the_official_sizes_are_accepted():
    check_size(SMALL, {"a": 3, "b": 4}, "x.yaml")
    for name in ("demo", "omnimouse-300M"):
        check_size(training_plan(name).config.model, {"a": 3}, name)
    assert om.load_predictor("demo").needs.n_neurons
