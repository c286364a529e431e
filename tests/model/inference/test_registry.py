"""Models of the hub, chosen live: fetched, stopped, gone on with, or told why not."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.hub import fetch as hub_client
from omnimouse_model.data.open import open_session
from omnimouse_model.families.omnimouse import checkpoint as official
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.inference.registry import load_in_process, must_be_fetched
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference import background_task
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_model.predict.devices import process_bytes
from omnimouse_model.predict.predictor import Needs
from tests.hub_server import Hub, Pause, Repository, hub_endpoint
from tests.model.experanto_folder import write_folder
from tests.model.inference.test_heartbeat import wait_until
from tests.model.official_shards import SMALL, write_shards
from tests.predictors import EchoPredictor, open_controller, tiny_transformer

MODEL = ("model", "the-enigma-project/omnimouse-1M")
NAME = "omnimouse-1M"
TIMEOUT = 60.0


@pytest.fixture(scope="module")
def shards(net, tmp_path_factory):
    folder = write_shards(net, tmp_path_factory.mktemp("shards") / "0-1000")
    return {f"0-1000/{p.name}": p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def hub(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(official, "SIZES", {"1M": SMALL})
    monkeypatch.setattr(background_task, "REPORT_EVERY_S", 0.0)
    monkeypatch.setattr(hub_client, "_BLOCK", 2**14)
    monkeypatch.setattr(hub_client, "_PAUSE_S", 0.0)
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    with hub_endpoint(Hub({MODEL: Repository(dict(shards), "mit")})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def half_download(hub, shards):
    """The hub sends half of the model, then waits."""
    hub.pause = Pause(sum(map(len, shards.values())) // 2)
    yield hub.pause
    hub.pause.is_over.set()


@pytest.fixture
def controller():
    """With threads of its own, and a predictor chosen before."""
    made = Controller(load=load_in_process)
    made.model.choose(EchoPredictor())
    yield made
    made.close()


@pytest.mark.slow
def test_a_model_of_the_hub_is_fetched_with_its_share_told_then_chosen(hub):
    made = Controller(synchronous=True)
    shares: list[float] = []
    made.downloads.changed.connect(lambda: shares.append(made.downloads.share))
    assert must_be_fetched(NAME)
    made.model.choose(NAME)
    assert made.downloads.error is None
    assert made.state.predictor_name == NAME
    assert not made.downloads.is_busy
    assert made.downloads.name == ""
    told = [share for share in shares if share]
    assert told == sorted(told)
    assert told[-1] > 0.85
    asked = len(hub.requests)
    made.model.choose("mean")
    made.model.choose(NAME)
    assert len(hub.requests) == asked
    assert not must_be_fetched(NAME)
    made.close()


@pytest.mark.slow
def test_a_stopped_fetch_goes_on_where_it_was(hub, half_download, controller):
    models = controller.downloads
    controller.model.choose(NAME)  # and the thread that draws does not wait
    assert models.is_busy
    assert controller.state.predictor_name == "echo"
    assert half_download.is_reached.wait(TIMEOUT)
    wait_until(lambda: models.share > 0.4)
    models.stop()
    assert models.stopped_at == pytest.approx(0.5, abs=0.1)
    assert not models.is_busy
    half_download.is_over.set()
    assert models.wait(TIMEOUT)
    assert controller.state.predictor_name == "echo"
    models.start_or_resume()
    assert models.wait(TIMEOUT)
    assert controller.state.predictor_name == NAME
    assert models.stopped_at is None
    parts = [request.range for request in hub.requests if request.range]
    firsts = [int(part.removeprefix("bytes=").split("-")[0]) for part in parts]
    assert any(firsts)


def test_choosing_another_gives_the_fetch_up(half_download, controller):
    controller.model.choose(NAME)
    assert half_download.is_reached.wait(TIMEOUT)
    controller.model.choose("mean")
    assert not controller.downloads.is_busy
    half_download.is_over.set()
    assert controller.downloads.wait(TIMEOUT)
    assert controller.state.predictor_name == "mean"


def test_what_is_gated_or_not_there_is_told_and_the_model_stays(hub, controller):
    hub.repositories[MODEL].is_gated = True
    models = controller.downloads
    bad = ("hf://bad", "hf://bad"), ("hf://nobody/nothing", "nobody/nothing")
    for name, told in ((NAME, "https://huggingface.co/the-enigma"), *bad):
        controller.model.choose(name)
        assert models.wait(TIMEOUT)
        assert told in str(models.error)
        assert models.name == name
    assert controller.state.predictor_name == "echo"
    models.clear()
    assert (models.name, models.error) == ("", None)


def test_a_loader_of_its_own_fetches_for_itself(hub):
    loaded: list[str] = []

    def load(name: str, *_: object) -> EchoPredictor:
        loaded.append(name)
        return EchoPredictor(name)

    made = Controller(load=load, synchronous=True)
    made.model.choose(NAME)
    assert loaded == [NAME]
    assert hub.requests == []
    made.close()


def needs_with(**changes: object) -> Needs:
    common = {"sees_video": True, "sees_behavior": True, "behavior_channels": 5}
    return Needs(**{**common, **changes})  # type: ignore[arg-type]


@pytest.fixture
def recording(tmp_path):
    return open_session(write_folder(tmp_path / "mouse"))


def test_neurons_known_are_counted(recording):
    n, mouse = recording.n_neurons, recording.id
    for known, text, is_supported in (
        ({mouse: n}, f"{n} of {n} neurons", True),
        ({mouse: n - 2}, f"{n - 2} of {n} neurons", False),
        ({"other": 7}, "does not know this recording", False),
    ):
        found = check_compatibility(
            needs_with(sessions=frozenset(known), n_neurons=known), recording
        )
        assert found.text == text
        assert found.is_supported is is_supported
        assert bool(found.remedy) is not is_supported
        assert found.missing == ()
    assert check_compatibility(Needs(), recording).is_supported


def test_what_the_session_lacks_is_told():
    slow = np.random.default_rng(0).gamma(1.0, 1.0, (400, 6)).astype(np.float32)
    session = open_session({"responses": slow, "rate_hz": 7.5})
    lacks = " / ".join(check_compatibility(needs_with(), session).missing)
    assert "no video" in lacks
    assert "no behaviour" in lacks
    assert "7.5 Hz; the model reads 30 Hz: they are interpolated" in lacks
    missing = check_compatibility(Needs(), session).missing
    assert missing[0].startswith("responses at 7.5")


def test_an_unknown_session_is_told_with_the_needs_of_the_model(recording):
    with open_controller(recording, "demo") as made:
        results = made.results
    assert results.error is not None
    assert check_compatibility(results.needs, recording).n_known == 0
    assert max(results.needs.n_neurons.values()) == 1000
    assert results.residence.n_bytes > 2**20


@pytest.mark.process
def test_a_worker_says_where_it_is_and_what_it_holds():
    predictor = WorkerPredictor(tiny_transformer, device="cpu")
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("demo", "OmniMouseWithContext: demo@"),
        ("demo-plain", "TransformerPredictor: demo-plain@"),
        ("linear-gaussian", "LinearGaussian: linear-gaussian"),
        ("ndt-demo", "NdtPredictor: ndt-demo"),
        ("twin-demo", "TwinPredictor: twin-demo"),
    ],
)
def test_a_predictor_prints_its_id_and_no_weights(name, text):
    found = repr(om.load_predictor(name))
    assert found.startswith(text)
    assert len(found) < 80
