"""Who answers an analysis: never another model than it names, and told which."""

import json
from pathlib import Path
from typing import Any

import pytest

from omnimouse_model.errors import AnalysisFileError, ExportError
from omnimouse_model.live import controller as controllers
from omnimouse_model.live.analysis_file import read_analysis
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.memory import Remembered, remember
from omnimouse_model.live.reporting import _open
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session

FAR = "hf://somebody/else"


@pytest.fixture
def folder(tmp_path):
    return write_session(tmp_path / "recordings" / "mouse", 12)


@pytest.fixture
def controller(folder, tmp_path):
    made = Controller(synchronous=True, memory=tmp_path / "live.json")
    made.sweeps.folder = tmp_path / "sweeps"
    made.choose_predictor("mean")
    made.open_session(folder)
    yield made
    made.close()


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """What is fetched, by whomever."""
    names: list[str] = []

    def fetch(name: str, *_: object, **__: object) -> Path:
        names.append(name)
        raise OSError(f"{name}: nothing is fetched here")

    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    where = "omnimouse_model.predict.released.fetch_checkpoint"
    monkeypatch.setattr(where, fetch)
    return names


def saved(controller: Controller, path: Path, **changes: Any) -> Path:
    controller.analyses.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


# -- models of the hub ---------------------------------------------------------------
@pytest.mark.parametrize("name", [FAR, "omnimouse-5M"])
def test_a_model_that_must_be_fetched_is_offered_and_no_other_answers(
    controller, tmp_path, fetched, name
):
    path = saved(controller, tmp_path / "a.omnimouse.json", predictor=name)
    controller.analyses.open(path)
    assert fetched == []
    assert controller.results.population is None
    assert controller.results.freshness == "none"
    (told,) = controller.analyses.told
    assert told.startswith(
        f"Its model is on the model hub and not on this machine: {name}"
    )
    assert (controller.models.name, controller.models.is_offered) == (name, True)
    assert not controller.analyses.is_changed
    controller.ask_again()
    controller.seek(3.0)
    assert controller.results.population is None
    controller.analyses.save(tmp_path / "b.omnimouse.json")
    assert read_analysis(tmp_path / "b.omnimouse.json").predictor == name
    assert fetched == []
    controller.models.go_on()
    assert len(fetched) == 1
    assert not controller.models.is_offered
    controller.choose_predictor("mean")
    assert controller.results.error is None
    assert controller.models.name == ""
    assert controller.results.freshness == "fresh"


def test_a_fetched_model_answers(controller, tmp_path, fetched, monkeypatch):
    is_here: list[str] = []
    monkeypatch.setattr(
        controllers, "must_be_fetched", lambda name: name == FAR and not is_here
    )
    controller.pins.pin("near")
    path = saved(controller, tmp_path / "a.omnimouse.json", predictor=FAR)
    facts = json.loads(path.read_text())
    facts["pins"][0]["predictor"] = FAR
    path.write_text(json.dumps(facts))
    controller.analyses.open(path)
    assert "A is not predicted" in controller.analyses.told[1]
    is_here.append(FAR)
    controller.choose_predictor(FAR)
    (pin,) = controller.state.pins
    assert controller.pins.why_silent(pin) == ""
    assert controller.models.name == ""


def test_a_start_fetches_nothing_unasked(folder, tmp_path, fetched):
    memory = tmp_path / "config" / "live.json"
    remember(Remembered(str(folder), FAR, baseline=FAR), memory)
    for _ in range(2):
        controller = Controller(synchronous=True, memory=memory)
        assert controller.restore()
        assert controller.models.name == FAR
        assert controller.state.predictor_name == FAR
        assert controller.state.baseline_name == ""
        controller.close()
    assert fetched == []


def test_a_baseline_that_must_be_fetched_is_told(controller, tmp_path, fetched):
    controller.choose_baseline("last")
    path = saved(controller, tmp_path / "a.omnimouse.json", baseline=FAR)
    controller.analyses.open(path)
    assert "Choose it as the model to fetch it" in controller.analyses.told[0]
    assert controller.state.baseline_name == ""
    assert fetched == []


def test_a_report_of_what_must_be_fetched_is_refused_in_words(
    controller, tmp_path, fetched
):
    path = saved(controller, tmp_path / "a.omnimouse.json", predictor=FAR)
    with pytest.raises(ExportError, match="omnimouse fetch hf://somebody/else"):
        _open(controller, path, "")
    assert fetched == []


# -- pins ----------------------------------------------------------------------------
def test_a_pin_that_must_be_fetched_is_not_asked_and_keeps_its_name(
    controller, tmp_path, fetched
):
    controller.pins.pin("far")
    path = saved(controller, tmp_path / "a.omnimouse.json")
    facts = json.loads(path.read_text())
    facts["pins"][0]["predictor"] = FAR
    path.write_text(json.dumps(facts))
    controller.analyses.open(path)
    assert controller.pins.windows == {}
    assert f"A is not predicted: {FAR} is not on this" in controller.analyses.told[0]
    controller.analyses.save(path)
    assert read_analysis(path).pins[0].predictor == FAR
    assert fetched == []


def test_a_pin_of_a_predictor_that_was_handed_in_is_not_asked_of_another(
    controller, tmp_path
):
    controller.choose_predictor(EchoPredictor())
    controller.pins.pin("echoed")
    path = saved(controller, tmp_path / "a.omnimouse.json", predictor="mean")
    controller.analyses.open(path)
    (pin,) = controller.state.pins
    assert controller.state.predictor_name == "mean"
    assert controller.pins.windows == {}
    assert "“echo” is not the model chosen" in controller.pins.why_silent(pin)
    controller.choose_predictor(EchoPredictor())  # it is here again
    assert controller.pins.windows[0].scores is not None
    assert controller.pins.why_silent(controller.state.pins[0]) == ""


# -- weights -------------------------------------------------------------------------
def test_other_weights_of_the_same_name_are_told(folder, tmp_path):
    def answering(weights: str) -> Controller:
        return Controller(
            synchronous=True, load=lambda *_: EchoPredictor(f"mean@{weights}")
        )

    first = answering("0123")
    first.choose_predictor("mean")
    first.open_session(folder)
    path = tmp_path / "a.omnimouse.json"
    first.analyses.save(path)
    assert read_analysis(path).predictor_id == "mean@0123"
    for weights, told in (
        ("0123", ()),
        (
            "4567",
            (
                "Its model is not the same as when it was saved: mean@4567 answers, it "
                "was mean@0123.",
            ),
        ),
    ):
        again = answering(weights)
        again.choose_predictor("mean")
        again.analyses.open(path)
        assert again.analyses.told == told
        again.seek(3.0)
        assert again.analyses.told == told
        assert again.analyses.now.predictor_id == f"mean@{weights}"
        again.close()
    first.close()


# -- sweeps --------------------------------------------------------------------------
def test_sweeps_that_were_drawn_are_drawn_again(controller, tmp_path):
    folder = controller.sweeps.folder
    folder.mkdir()
    for name in ("one", "two", "three"):
        (folder / f"{name}.sweep.jsonl").write_text("{}\n")
    controller.sweeps.look()
    drawn = (folder / "two.sweep.jsonl", folder / "one.sweep.jsonl")
    for path in drawn:
        controller.sweeps.compare(path, True)
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    controller.sweeps.compare(folder / "three.sweep.jsonl", True)
    controller.analyses.open(path)
    assert controller.sweeps.compared == drawn
    drawn[0].unlink()
    controller.analyses.open(path)
    assert controller.sweeps.compared == drawn[1:]
    assert controller.analyses.told == (
        "Context sweeps it compared are not here: two.",
    )


@pytest.mark.parametrize(
    "sweeps", ["one", [1], ["../one"], ["/etc/passwd"], [""], [".."], ["a"] * 101]
)
def test_sweeps_of_no_sound_name_are_refused(controller, tmp_path, sweeps):
    path = saved(controller, tmp_path / "a.omnimouse.json", sweeps=sweeps)
    with pytest.raises(AnalysisFileError, match="sweeps"):
        read_analysis(path)
