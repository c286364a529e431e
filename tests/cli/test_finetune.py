import json
from pathlib import Path

import pytest

import omnimouse_model as om
from omnimouse_app.cli.terminal import TrainingProgress
from omnimouse_model.progress import STARTING, TRAINING
from tests.cli.test_main import run
from tests.cli.test_train import interrupted
from tests.model.finetune_process import KNOWN, NEW, few_windows, write_mouse_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with few_windows():
        yield write_mouse_folder(tmp_path_factory.mktemp("finetune"))


def command(place: Path, out: Path, *more: str) -> list[str]:
    paths = [str(place / "base.safetensors"), str(place / NEW), "--out", str(out)]
    return ["finetune", *paths, "--batch", "1", "--device", "cpu", *more]


def test_a_step_shows_what_the_log_says_of_it():
    said = []
    training = TrainingProgress(lambda done, total, text: said.append(text))
    training.show(0.3, 1.0, STARTING)
    training({"step": 2.0, "loss": 0.25})
    training.show(2, 10, TRAINING)
    training.show(0.6, 1.0, "step 3 of 10")
    training.show(0.9, 1.0, "writing")
    assert said == [STARTING, "step 2 of 10  loss 0.25", "step 3 of 10  loss 0.25", "writing"]


def test_ctrl_c_saves_and_the_command_continues(place, tmp_path, monkeypatch, capsys):
    out = tmp_path / "mine"
    arguments = command(place, out, "--steps", "2")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "__call__", interrupted)
        assert run(*arguments) == 130
    said = capsys.readouterr().err
    assert "step 0: validation" in said
    assert str(out) in said
    assert run(*arguments) == 0
    said = capsys.readouterr()
    assert "video_behavior" in said.out
    assert (
        f"{(9 + 2) * 16 + 9} parameters fine-tuned in 2 steps; steps and their scoring took "
        in said.err
    )
    assert f"--model {out}" in said.err
    assert om.load_predictor(out).needs.n_neurons == {KNOWN: 12, NEW: 9}


def test_json_has_every_condition_also_of_a_killed_run(place, tmp_path, capsys):
    out = tmp_path / "mine"
    arguments = command(place, out, "--steps", "1", "--json")
    assert run(*arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["name"] == "validation"
    assert {"video_behavior", "half", "forecast"} <= {row["name"] for row in rows}
    assert all({"value", "unit", "frozen_hash"} <= row.keys() for row in rows)
    assert {row["unit"] for row in rows} == {"single-trial correlation"}
    # Each condition has its own score before.
    assert len({row["before"] for row in rows}) > 1
    facts = json.loads((out / "best.json").read_text("utf-8"))
    facts["card"] |= {"steps": 3, "validation": 0.5}  # its log ends at step 1
    (out / "best.json").write_text(json.dumps(facts), "utf-8")
    for ending in ("safetensors", "json"):  # not written before the kill
        (out / f"finetuned.{ending}").unlink()
    assert run(*arguments) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["name"], row["value"], row["best_step"]) == ("validation", 0.5, 3)
