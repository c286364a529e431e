"""`omnimouse rank` with small neural data transformers, from files to tables."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import omnimouse_model as om
from omnimouse_model.analysis.ranking.rank import model_factory, rank_sessions
from omnimouse_model.analysis.ranking.rank_table import models_folder
from omnimouse_model.errors import StoppedError
from omnimouse_model.families.ndt.predictor import SCHEMES_OF, NdtCheckpoint
from omnimouse_model.progress import CallbackJob
from omnimouse_model.training.config import RECORD
from tests.cli.runner import run_command
from tests.model.poisson_world import poisson_arrays

pytestmark = pytest.mark.slow
CONFIG = {
    "family": "ndt",
    "seed": 0,
    "model": {"d_token": 4, "n_bins": 20, "d_model": 8, "n_layers": 1}
    | {"n_heads": 2, "d_inner": 8},
    "spec": {"duration_s": 0.4, "trial_offset_s": 0.0},
    "schemes": ["causal"],
    "steps": 2,
    "validate_every": 1,
}


def write_session(folder: Path, name: str, seed: int) -> Path:
    arrays, _ = poisson_arrays(name, seed=seed, n_trials=20, n_bins=20, n_neurons=5)
    path = folder / f"{name}.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Words of a command, and its arguments in Python."""
    root = tmp_path_factory.mktemp("study")
    sessions = [write_session(root, name, k) for k, name in enumerate("ab")]
    heldout = write_session(root, "new", 5)
    config = root / "small.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    words = [config, *(w for path in sessions for w in ("--sessions", path))]
    words += ["--heldout", heldout, "--steps", 2, "--batch", 8, "--device", "cpu"]
    factory = model_factory(config, transfer_steps=2, transfer_batch=8, device="cpu")
    return words, (factory, sessions, heldout)


def test_the_command_ranks_and_draws(study, tmp_path):
    words, _ = study
    results, page, table = (tmp_path / f"x.{e}" for e in ("ranking.jsonl", "html", "csv"))
    words = [*words, "--results", results, "--curve", "--shuffles", 1, "--seed", 3]
    done = run_command("rank", *words, "--json", "--figure", page, "--csv", table)
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["rank"] for row in rows if row["name"] == "rank"] == [1, 2]
    assert {row["unit"] for row in rows if row["name"] == "curve"} == {"bits per spike"}
    assert [row["k"] for row in rows if row["name"] == "curve"] == [1, 2] * 3
    assert all("one seed (3)" in row["warnings"][0] for row in rows)
    assert "Note: The ranking rests on one seed (3)" in done.stderr
    assert page.read_text("utf-8").count("plotly-graph-div") == 3
    assert len(list(csv.DictReader(table.open()))) == len(rows)
    # Again, nothing is trained: the models are not there any more.
    models_folder(results).rename(tmp_path / "moved")
    again = run_command("rank", *words)
    assert again.exit_code == 0, again.stderr
    # The file alone shows the same.
    stored = run_command("rank", "--results", results, "--json", "--shuffles", 1)
    assert json.loads(stored.stdout)["rows"] == rows
    assert "found 1: fewer" in again.stdout  # the reason for no fit
    assert "mean over 1 seed on" in again.stdout
    models = sorted((tmp_path / "moved").glob("*/core"))
    # Two sessions, both together, and the baseline.
    assert len(models) == 4
    assert all((core / RECORD).exists() for core in models)
    transferred = NdtCheckpoint.read(next((tmp_path / "moved").glob("*/to *")))
    assert transferred.card[SCHEMES_OF] == ["causal"]


def test_wrong_names_end_with_one_line(study, tmp_path):
    words, _ = study
    words = [*words, "--results", tmp_path / "y.ranking.jsonl"]
    wrong = run_command("rank", *words, "--task", "sideways")
    assert wrong.exit_code == 2
    assert "sideways" in wrong.stderr
    without = run_command("rank", *words[1:], "--curve", "--seed", 1)
    assert without.exit_code == 2
    named = "--sessions, --heldout, --seed, --steps, --batch, --curve, --device"
    assert named in " ".join(without.stderr.split())
    empty = run_command("rank", *words, "--sessions", tmp_path)
    assert empty.exit_code == 2
    # Neither has the task "forward", nor are true rates known to a ranking.
    for config, reason in (("smoke", "only neural data"), ("twin-demo", "targets is")):
        other = run_command("rank", config, *words[1:])
        assert other.exit_code != 0
        assert reason in f"{other.stderr} {other.exception}"
    assert not list(tmp_path.glob("y*"))


def test_a_stopped_study_of_transformers_gives_the_same_scores(study, tmp_path):
    _, (factory, sessions, heldout) = study
    paths = [tmp_path / f"{name}.ranking.jsonl" for name in "xy"]
    whole = rank_sessions(factory, sessions, heldout, seeds=[0], results=paths[0])
    polls = iter(range(10**6))
    for last in (3, 5):
        with pytest.raises(StoppedError):
            rank_sessions(
                factory, sessions, heldout, seeds=[0], results=paths[1],
                job=CallbackJob(cancelled=lambda limit=last: next(polls) >= limit),
            )  # fmt: skip
    again = rank_sessions(factory, sessions, heldout, seeds=[0], results=paths[1])
    assert np.array_equal(again.values, whole.values)
    assert np.isfinite(whole.values).all()


def test_cores_are_those_of_a_training_and_stay_frozen(study, tmp_path):
    _, (factory, sessions, heldout) = study
    results = tmp_path / "x.ranking.jsonl"
    rank_sessions(factory, sessions[:1], heldout, seeds=[0], results=results)
    (core,) = models_folder(results).glob("*/core")
    (out,) = models_folder(results).glob("*/to *")
    before, after = om.load_predictor(core / "best.safetensors"), om.load_predictor(out)
    assert set(before.needs.sessions) == {"a"}
    assert set(after.needs.sessions) == {"a", "new"}
    shared = dict(before.net.shared())
    frozen = {k: v for k, v in after.net.shared() if "session" not in k}
    assert all((shared[name] == value).all() for name, value in frozen.items())
