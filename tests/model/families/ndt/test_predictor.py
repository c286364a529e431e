"""The neural data transformer as a predictor: masks, prompts, batches, files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import omnimouse_model as om
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.families.ndt.network import Ndt, NdtConfig
from omnimouse_model.families.ndt.predictor import TRIALS, NdtCheckpoint
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.conformance.public_ndt import own_to_public

CONFIG = NdtConfig(d_token=12, d_model=16, n_layers=2, n_heads=2, d_inner=24)


@pytest.fixture(scope="module")
def spiking():
    return om.open_session(spiking_arrays(SpikingSpec(n_trials=20)))


def small_net(session):
    torch.manual_seed(0)
    return Ndt(CONFIG, {"other": 9, session.id: session.n_neurons}).eval()


def written(net, folder):
    about = {"config": CONFIG, "spec": TRIALS, "sessions": net.sessions}
    NdtCheckpoint(**about, state=net.state_dict()).save(folder / "ndt.safetensors")
    return folder / "ndt.safetensors"


def small_model(session, folder):
    return om.load_predictor(written(small_net(session), folder), device="cpu")


@pytest.fixture(scope="module")
def net(spiking):
    return small_net(spiking)


@pytest.fixture(scope="module")
def path(net, tmp_path_factory):
    return written(net, tmp_path_factory.mktemp("ndt"))


@pytest.fixture(scope="module")
def predictor(path):
    return om.load_predictor(path, device="cpu")


@pytest.fixture(scope="module")
def window(spiking, predictor):
    return spiking.window(20.0, predictor.needs.spec)


@pytest.fixture(scope="module")
def nothing(spiking):
    return om.Mask.nothing(spiking, TRIALS)


@pytest.fixture(scope="module")
def half(nothing):
    return nothing.show(slice(0, 24, 2)).ask(slice(1, 24, 2), slice(None))


def test_rates_are_those_of_the_network_with_the_prompt_of_the_mask(
    predictor, net, window, nothing, half, spiking
):
    area = spiking.units.area
    first = np.flatnonzero(area == area[0])
    others = np.setdiff1d(np.arange(24), first)
    late = nothing.show(slice(None), slice(0, 60)).ask(slice(None), slice(60, None))
    for mask, scheme in (
        (half, "neuron"),  # every other unit, of both areas
        (late, "causal"),
        (nothing.show(others).ask(first, slice(None)), "inter-region"),
        (nothing.show(first[1:]).ask(first[:1], slice(None)), "intra-region"),
    ):
        found = predictor.predict(window, mask)
        seen = torch.from_numpy(np.where(mask.visible, window.responses, 0))
        with torch.inference_mode():
            rates = net(seen[None], spiking.id, scheme)[0].exp() * 50
        expected = np.where(mask.target, rates, np.nan)[:, found.neurons]
        np.testing.assert_allclose(found.responses, expected, rtol=1e-5)
        assert found.units == "spikes/s"
    some = predictor.predict(window, half, np.array([17, 3]))
    whole = predictor.predict(window, half).responses
    np.testing.assert_allclose(some.responses, whole[:, [8, 1]], rtol=1e-5)


def test_a_stroke_between_hidden_and_target_costs_no_pass(predictor, window, half):
    predictor.predict(window, half)
    hidden = half.hide([1, 3], slice(None))
    # A pass of the network would be stopped.
    found = predictor.decode(predictor.encode(window, hidden, lambda: True))
    assert found.neurons.tolist() == list(range(5, 24, 2))
    with pytest.raises(StoppedError):
        predictor.encode(window, half.hide([0], slice(None)), lambda: True)


def test_a_recording_of_another_number_of_neurons_is_refused(predictor, spiking):
    with pytest.raises(UnsupportedRequestError, match="9 neurons"):
        predictor.prepare(replace(spiking, id="other"))
    assert predictor.embeddings(spiking).shape == (24, 16)


def test_a_mask_that_shows_no_response_is_refused(predictor, window, nothing, half):
    with pytest.raises(UnsupportedRequestError, match="no target responses"):
        predictor.predict(window, nothing)
    unseen = nothing.ask(slice(None), slice(75, None))
    with pytest.raises(UnsupportedRequestError, match=r"responses alone.*shows none"):
        predictor.predict(window, unseen)
    answers = predictor.predict_many([(window, half, None), (window, unseen, None)])
    assert next(answers).neurons.tolist() == list(range(1, 24, 2))
    with pytest.raises(UnsupportedRequestError, match="shows none"):
        next(answers)


@pytest.mark.slow
def test_it_is_evaluated_in_bits_per_spike(predictor, spiking, half):
    result = om.evaluate(predictor, spiking, half)
    (score,) = result.scores
    assert result.metric == "bits_per_spike"
    assert np.isfinite(score.value)
    assert score.n_windows == 2


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_public_weights_load_where_a_table_names_their_sessions(
    net, predictor, tmp_path, window, half, suffix
):
    public, file = own_to_public(net), tmp_path / f"public{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(public, file)
    table = {"omnimouse_ndt": 1, "family": "ndt", "sessions": net.sessions}
    file.with_suffix(".json").write_text(json.dumps(table | {"config": {"n_heads": 2}}))
    found = om.load_predictor(file, device="cpu")
    assert found.needs.spec == TRIALS
    assert found.net.config == replace(CONFIG, leaks=False)
    assert "leaks" in found.checkpoint().assumed[0]
    np.testing.assert_array_equal(
        found.predict(window, half).responses, predictor.predict(window, half).responses
    )
    file.with_suffix(".json").write_text(json.dumps(table))
    assert "8 attention heads" in om.load_predictor(file).checkpoint().assumed[0]
