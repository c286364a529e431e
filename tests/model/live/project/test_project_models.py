"""Models of an opened analysis: never another one than it names."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from omnimouse_model.errors import AnalysisFileError, ExportError
from omnimouse_model.live.analysis_file import read_analysis
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models import choice
from omnimouse_model.live.report import _open
from omnimouse_model.live.state_store import LastSession, write_last_session
from tests.predictors import EchoPredictor, open_controller

FAR = "hf://somebody/else"


@pytest.fixture
def controller(session_folder, tmp_path):
    memory = tmp_path / "live.json"
    with open_controller(session_folder, "mean", session_file=memory) as made:
        made.sweeps.folder = tmp_path / "sweeps"
        yield made


@pytest.fixture
def fetched_names(monkeypatch, tmp_path):
    """Names of the models that are fetched."""
    names: list[str] = []

    def fetch(name: str, *_: object, **__: object) -> Path:
        names.append(name)
        raise OSError(f"{name}: nothing is fetched here")

    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    where = "omnimouse_model.inference.registry.fetch_checkpoint"
    monkeypatch.setattr(where, fetch)
    return names


@pytest.fixture
def save_analysis(controller, tmp_path):
    """Function that saves the screen with changed fields and returns the path."""

    def save(pin_predictor: str = "", **changes: Any) -> Path:
        path = tmp_path / "a.omnimouse.json"
        controller.project.save(path)
        facts = json.loads(path.read_text()) | changes
        if pin_predictor:
            facts["pins"][0]["predictor"] = pin_predictor
        path.write_text(json.dumps(facts))
        return path

    return save


@pytest.mark.parametrize("name", [FAR, "omnimouse-5M"])
def test_a_model_that_must_be_fetched_is_offered_and_no_other_predicts(
    controller, save_analysis, tmp_path, fetched_names, name
):
    controller.project.open(save_analysis(predictor=name))
    assert fetched_names == []
    assert controller.results.population is None
    assert controller.results.freshness == "none"
    (told,) = controller.project.messages
    assert name in told
    assert (controller.downloads.name, controller.downloads.is_offered) == (name, True)
    assert not controller.project.is_changed
    controller.requests.send_again()
    controller.navigation.seek(3.0)
    assert controller.results.population is None
    controller.project.save(tmp_path / "b.omnimouse.json")
    assert read_analysis(tmp_path / "b.omnimouse.json").predictor == name
    assert fetched_names == []
    controller.downloads.start_or_resume()
    assert len(fetched_names) == 1
    assert not controller.downloads.is_offered
    controller.model.choose("mean")
    assert controller.results.error is None
    assert controller.downloads.name == ""
    assert controller.results.freshness == "fresh"


@pytest.mark.slow
def test_a_pin_is_predicted_after_its_model_was_fetched(
    controller, save_analysis, fetched_names, monkeypatch
):
    is_here: list[str] = []
    monkeypatch.setattr(choice, "must_be_fetched", lambda name: name == FAR and not is_here)
    controller.pins.pin("near")
    controller.project.open(save_analysis(FAR, predictor=FAR))
    assert "A is not predicted" in controller.project.messages[1]
    is_here.append(FAR)
    controller.model.choose(FAR)
    (pin,) = controller.state.pins
    assert controller.pins.problem_of(pin) == ""
    assert controller.downloads.name == ""


@pytest.mark.slow
def test_a_start_downloads_nothing_by_itself(session_folder, tmp_path, fetched_names):
    memory = tmp_path / "config" / "live.json"
    write_last_session(LastSession(str(session_folder), FAR, baseline=FAR), memory)
    for _ in range(2):
        with closing(Controller(synchronous=True, session_file=memory)) as controller:
            assert controller.project.restore()
            assert controller.downloads.name == FAR
            assert controller.state.predictor_name == FAR
            assert controller.state.baseline_name == ""
    assert fetched_names == []


def test_baselines_and_reports_need_a_fetched_model(controller, save_analysis, fetched_names):
    controller.model.choose_baseline("last")
    controller.project.open(save_analysis(baseline=FAR))
    assert FAR in controller.project.messages[0]
    assert controller.state.baseline_name == ""
    assert fetched_names == []
    with pytest.raises(ExportError, match=f"omnimouse fetch {FAR}"):
        _open(controller, save_analysis(predictor=FAR), "")
    assert fetched_names == []


def test_no_other_predictor_answers_for_a_pinned_object(controller, save_analysis):
    controller.model.choose(EchoPredictor())
    controller.pins.pin("echoed")
    controller.project.open(save_analysis(predictor="mean"))
    (pin,) = controller.state.pins
    assert controller.state.predictor_name == "mean"
    assert controller.pins.predictions.windows == {}
    assert "echo" in controller.pins.problem_of(pin)
    controller.model.choose(EchoPredictor())  # it is here again
    assert controller.pins.predictions.windows[0].scores is not None
    assert controller.pins.problem_of(controller.state.pins[0]) == ""


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["0123", "4567"])
def test_other_weights_of_the_same_name_are_reported(session_folder, tmp_path, weights):
    def answering(weights: str) -> Controller:
        made = Controller(synchronous=True, load=lambda *_: EchoPredictor(f"mean@{weights}"))
        made.model.choose("mean")
        return made

    path = tmp_path / "a.omnimouse.json"
    with closing(answering("0123")) as first:
        first.loader.open_now(session_folder)
        first.project.save(path)
        assert read_analysis(path).predictor_id == "mean@0123"
    with closing(answering(weights)) as again:
        again.project.open(path)
        told = again.project.messages
        assert len(told) == (weights != "0123")
        assert all("mean@4567" in words and "mean@0123" in words for words in told)
        again.navigation.seek(3.0)
        assert again.project.messages == told
        assert again.project.current.predictor_id == f"mean@{weights}"


@pytest.mark.parametrize(
    "sweeps", ["one", [1], ["../one"], ["/etc/passwd"], [""], [".."], ["a"] * 101]
)
def test_invalid_names_of_sweeps_are_refused(save_analysis, sweeps):
    with pytest.raises(AnalysisFileError, match="sweeps"):
        read_analysis(save_analysis(sweeps=sweeps))
