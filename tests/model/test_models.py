"""Models of the hub, chosen live: fetched, stopped, gone on with, or told why not."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.live import errand
from omnimouse_model.live.controller import Controller
from omnimouse_model.nets import official
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.start import initialise
from omnimouse_model.predict.catalogue import must_be_fetched
from omnimouse_model.predict.devices import process_bytes
from omnimouse_model.predict.knowledge import knowledge_of
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.predict.worker import WorkerPredictor
from tests.hub_server import Hub, Repository, serving
from tests.model.experanto_folder import write_folder
from tests.model.official_shards import ANIMALS, SESSIONS, SMALL, write_shards
from tests.predictors import EchoPredictor

MODEL = ("model", "the-enigma-project/omnimouse-1M")
NAME = "omnimouse-1M"


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    net = OmniMouse(SMALL, SESSIONS, ANIMALS)
    initialise(net, torch.Generator().manual_seed(0))
    folder = write_shards(net.eval(), tmp_path_factory.mktemp("shards") / "0-1000")
    return {f"0-1000/{p.name}": p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def hub(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(official, "SIZES", {"1M": SMALL})
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    with serving(Hub({MODEL: Repository(dict(shards), "mit")})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def controller():
    """With threads of its own, and a predictor chosen before."""
    made = Controller()
    made.choose_predictor(EchoPredictor())
    yield made
    made.close(0.1)


def until(claim: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_model_of_the_hub_is_fetched_with_its_share_told_then_chosen(
    hub, monkeypatch
):
    monkeypatch.setattr(errand, "TELL_EVERY_S", 0.0)
    made = Controller(synchronous=True)
    shares: list[float] = []
    made.models.changed.connect(lambda: shares.append(made.models.share))
    assert must_be_fetched(NAME)
    made.choose_predictor(NAME)
    assert made.models.fault is None
    assert made.state.predictor_name == NAME
    assert not made.models.is_busy
    assert made.models.name == ""
    told = [share for share in shares if share]
    assert told == sorted(told)
    assert told[-1] > 0.85
    asked = len(hub.requests)
    made.choose_predictor("mean")
    made.choose_predictor(NAME)
    assert len(hub.requests) == asked
    assert not must_be_fetched(NAME)
    made.close()


def test_the_thread_that_draws_does_not_wait(hub, controller):
    hub.bytes_per_s = 1e4  # many seconds
    began = time.monotonic()
    controller.choose_predictor(NAME)
    assert time.monotonic() - began < 0.1
    assert controller.models.is_busy
    assert controller.state.predictor_name == "echo"
    hub.bytes_per_s = None


def test_a_stopped_fetch_keeps_what_arrived_and_goes_on_from_there(
    hub, controller, shards
):
    total = sum(map(len, shards.values()))
    hub.bytes_per_s = total / 8
    models = controller.models
    controller.choose_predictor(NAME)
    until(lambda: models.share > 0.4)
    models.stop()
    assert models.stopped_at == pytest.approx(0.45, abs=0.15)
    assert not models.is_busy
    assert controller.state.predictor_name == "echo"
    hub.bytes_per_s = None
    models.go_on()
    until(lambda: controller.state.predictor_name == NAME)
    assert models.stopped_at is None
    firsts = [
        int(request.range.removeprefix("bytes=").split("-")[0])
        for request in hub.requests
        if request.range
    ]
    assert any(firsts)


def test_choosing_another_gives_the_fetch_up(hub, controller):
    hub.bytes_per_s = 1e5
    controller.choose_predictor(NAME)
    until(lambda: controller.models.share > 0)
    controller.choose_predictor("mean")
    assert not controller.models.is_busy
    hub.bytes_per_s = None
    time.sleep(0.3)
    assert controller.state.predictor_name == "mean"


def test_what_is_gated_or_not_there_is_told_and_the_model_stays(hub, controller):
    hub.repositories[MODEL].is_gated = True
    models = controller.models
    controller.choose_predictor(NAME)
    until(lambda: not models.is_busy)
    assert "Ask for access at https://huggingface.co/the-enigma" in str(models.fault)
    assert models.name == NAME
    controller.choose_predictor("hf://nobody/nothing")
    until(lambda: not models.is_busy)
    assert "is not on the hub" in str(models.fault)
    controller.choose_predictor("hf://bad")
    until(lambda: not models.is_busy)
    assert "no address of the hub" in str(models.fault)
    assert controller.state.predictor_name == "echo"
    models.forget()
    assert (models.name, models.fault) == ("", None)


def test_without_a_connection_it_says_so_and_tries_again(hub, controller, monkeypatch):
    monkeypatch.setattr("omnimouse_model.data.hub._PAUSE_S", 0.0)
    models = controller.models
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    controller.choose_predictor(NAME)
    until(lambda: not models.is_busy)
    assert "No connection to 127.0.0.1" in str(models.fault)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    models.go_on()
    until(lambda: controller.state.predictor_name == NAME)
    assert models.fault is None


def test_a_loader_of_its_own_fetches_for_itself(hub):
    asked: list[str] = []

    def load(name: str, session: Session | None, device: str) -> EchoPredictor:
        asked.append(name)
        return EchoPredictor(name)

    made = Controller(load=load, synchronous=True)
    made.choose_predictor(NAME)
    assert asked == [NAME]
    assert hub.requests == []
    made.close()


# -- what a model knows ---------------------------------------------------------------
def needs(**changes: object) -> Needs:
    common = {"sees_video": True, "sees_behavior": True, "behavior_channels": 5}
    return Needs(**{**common, **changes})  # type: ignore[arg-type]


@pytest.fixture
def recorded(tmp_path):
    return open_session(write_folder(tmp_path / "mouse"))


def test_neurons_known_are_counted(recorded):
    n = recorded.n_neurons
    channels = len(recorded.behavior_names)
    for known, words, is_answered in (
        ({recorded.id: n}, f"{n} of {n} neurons", True),
        ({recorded.id: n - 2}, f"{n - 2} of {n} neurons", False),
        ({"other": 7}, "not seen in training", False),
    ):
        found = knowledge_of(
            needs(
                sessions=frozenset(known), n_neurons=known, behavior_channels=channels
            ),
            recorded,
        )
        assert found.words == words
        assert found.is_answered is is_answered
        assert bool(found.remedy) is not is_answered
        assert found.lacks == ()
    assert "need embeddings" in found.remedy
    assert knowledge_of(Needs(), recorded).is_answered


def test_what_the_session_lacks_is_told(tmp_path):
    slow = np.random.default_rng(0).gamma(1.0, 1.0, (400, 6)).astype(np.float32)
    np.savez(tmp_path / "slow.npz", responses=slow, rate_hz=7.5)
    session = open_session(tmp_path / "slow.npz")
    lacks = " / ".join(knowledge_of(needs(), session).lacks)
    assert "no video" in lacks
    assert "no behaviour" in lacks
    assert "7.5 times a second instead of 30" in lacks
    assert knowledge_of(Needs(), session).lacks[0].startswith("responses 7.5")


def test_an_unknown_session_is_told_with_the_needs_of_the_model(recorded):
    made = Controller(synchronous=True)
    made.open_session(recorded)
    made.choose_predictor("demo")
    results = made.results
    assert results.error is not None
    assert results.needs is not None
    found = knowledge_of(results.needs, recorded)
    assert found.n_known == 0
    assert max(results.needs.n_neurons.values()) == 1000
    assert results.residence is not None
    assert results.residence.n_bytes > 2**20
    made.close()


def test_a_worker_says_where_it_is_and_what_it_holds():
    predictor = WorkerPredictor("demo", torch_threads=1, device="cpu")
    try:
        residence = predictor.residence
        assert residence.hardware == "CPU, 1 thread"
        assert residence.process_id == predictor.process_id
        held = process_bytes(residence.process_id)
        assert held is not None
        assert residence.n_bytes < held < 2**33
    finally:
        predictor.close()
    assert process_bytes(None) is None
