"""Small models with random weights keep the contract of predictors.

Not here: CEBRA, which predicts no responses, and families without weights.
"""

import json
from dataclasses import replace

import pytest

import omnimouse_model as om
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.model.contract import check_contract, half_mask
from tests.model.data.readers.test_arrays import session_arrays
from tests.model.families import (
    test_dwiseneuro,
    test_latent_zig,
    test_poyo_calcium,
    test_sensorium_factorised,
)
from tests.model.families.ndt import test_predictor as test_ndt
from tests.model.families.twin import test_predictor as test_twin
from tests.predictors import tiny_transformer
from tests.toy_predictors import TOYS

FAMILIES = {
    "dwiseneuro": test_dwiseneuro.small_model,
    "latent_zig": test_latent_zig.small_model,
    "ndt": test_ndt.small_model,
    "omnimouse": lambda session, folder: tiny_transformer(),
    "poyo_calcium": test_poyo_calcium.small_model,
    "sensorium_factorised": test_sensorium_factorised.small_model,
    "twin": test_twin.small_model,
}


@pytest.fixture(scope="module")
def spiking():
    return om.open_session(spiking_arrays(SpikingSpec(n_trials=20)))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_small_model_keeps_the_contract(name, session, spiking, tmp_path):
    here = spiking if name == "ndt" else session
    predictor = FAMILIES[name](here, tmp_path)
    windows = [here.window(start, predictor.needs.spec) for start in (20.0, 14.0)]
    check_contract(predictor, windows[0], half_mask(predictor, here), windows[1])
    with pytest.raises(
        UnsupportedRequestError, match=r"nobody.*(omnimouse (fit|finetune)|transfer)"
    ):
        predictor.prepare(replace(here, id="nobody"))


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("ndt", "spec", {"duration_s": 6.0, "response_rate_hz": 50.0}),
        ("ndt", "spec", {"width": 3}),
        ("ndt", "spec", []),
        ("ndt", "sessions", {"other": 9, "spiking-0": True}),
        ("ndt", "config", {"n_heads": 3}),
        ("ndt", "config", {"has_prompt": 1}),
        ("ndt", "assumed", 3),
        ("ndt", "format", 2),
        ("twin", "frame_size", [18]),
        ("twin", "frame_size", ["a" * 5000, 32]),
        ("twin", "sessions", {"x": -1}),
        ("twin", "config", {"streams": "4"}),
        ("twin", "format", 2),
    ],
)
def test_a_wrong_field_is_named(name, field, value, session, spiking, tmp_path):
    FAMILIES[name](spiking if name == "ndt" else session, tmp_path)
    (about,) = tmp_path.glob("*.json")
    about.write_text(json.dumps({**json.loads(about.read_text()), field: value}))
    with pytest.raises(CheckpointError, match=field) as caught:
        om.load_predictor(about.with_suffix(".safetensors"))
    assert len(str(caught.value)) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
def test_a_family_of_another_package_keeps_the_contract(name, spiking):
    predictor = TOYS[name]()
    here = spiking if name == "toy-counts" else om.open_session(session_arrays())
    window = here.window(14.0, predictor.needs.spec)
    check_contract(predictor, window, half_mask(predictor, here))
