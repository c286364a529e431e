"""Records of runs, and what a config or a folder of a run is for the commands."""

import shutil
from types import SimpleNamespace

import pytest

from omnimouse_model.analysis.fit import fit_on_record, train_plan
from omnimouse_model.analysis.ranking.rank import model_factory
from omnimouse_model.errors import SessionFormatError, StoppedError
from omnimouse_model.families.omnimouse import DEMO
from omnimouse_model.inference.families import TrainingPlan, describe, training_plan
from omnimouse_model.progress import QUIET
from omnimouse_model.storage.trees import DAMAGED
from omnimouse_model.storage.write import write_json
from omnimouse_model.training.checkpoints import BEST, LAST, MODEL
from omnimouse_model.training.config import RECORD, run_record


def refuse(*_arguments, **_options):
    raise ValueError("of another training")


def stop(*_arguments, **_options):
    raise StoppedError


def test_a_run_that_refuses_a_config_keeps_its_record(tmp_path, monkeypatch):
    refusing = property(lambda _: SimpleNamespace(start=refuse))
    monkeypatch.setattr(TrainingPlan, "training", refusing)
    # A run of an older version has no record.
    write_json(tmp_path / LAST, {"state": "state-00000001"})
    (tmp_path / "state-00000001").mkdir()
    with pytest.raises(ValueError, match="another training"):
        train_plan(training_plan("smoke"), [], tmp_path, QUIET)
    assert run_record(tmp_path).family == ""


def test_a_first_run_that_refuses_leaves_no_folder(tmp_path, monkeypatch):
    refusing = property(lambda _: SimpleNamespace(start=refuse))
    monkeypatch.setattr(TrainingPlan, "training", refusing)
    for out in (tmp_path / "new", tmp_path):
        with pytest.raises(ValueError, match="another training"):
            train_plan(training_plan("smoke"), [], out, QUIET)
        assert not list(tmp_path.iterdir())


def test_a_damaged_record_does_not_stop_a_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingPlan, "training", property(lambda _: SimpleNamespace(start=stop)))
    (tmp_path / RECORD).write_text('{"seed": ')
    with pytest.raises(SessionFormatError, match=r"run\.json.*same training again"):
        run_record(tmp_path)
    with pytest.raises(StoppedError):
        train_plan(training_plan("smoke"), [], tmp_path, QUIET)
    assert run_record(tmp_path).tree == training_plan("smoke").settings.tree
    assert (tmp_path / f"{RECORD}{DAMAGED}").read_text() == '{"seed": '


def test_the_folder_of_a_run_is_described_by_its_best_weights(tmp_path):
    for name in (BEST, MODEL):
        shutil.copy(DEMO, tmp_path / name)
        shutil.copy(DEMO.with_suffix(".json"), (tmp_path / name).with_suffix(".json"))
    family, description = describe(tmp_path)
    assert family.name == "omnimouse"
    assert description.facts == describe(DEMO)[1].facts


def test_settings_of_a_ranking_have_the_defaults_that_a_config_leaves_out():
    factory = model_factory("ndt-small")
    assert factory.settings["config"].keys() > factory.plan.settings.tree.keys()
    assert "seed" not in factory.settings["config"]


def test_a_fit_that_is_refused_leaves_no_folder(session, tmp_path):
    with pytest.raises(ValueError, match="expected at least 2"):
        fit_on_record("ndt", session, tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()
