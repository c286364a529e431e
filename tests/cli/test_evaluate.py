import json

import numpy as np
import pyarrow.parquet
import pytest

import omnimouse_model as om
from omnimouse_model.errors import ConnectError
from omnimouse_model.evaluation.results import CEILING
from omnimouse_model.families.classical import predictor
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.inference import registry
from omnimouse_model.metrics.named import METRICS
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.cli.runner import rows_of_command as rows
from tests.cli.runner import run_command
from tests.model.context_predictor import world
from tests.small_sessions import simulate_mouse
from tests.toy_predictors import TOYS, install_toys

STIMULUS = "test/video_behavior"
FORECAST = "test/causal_response_25_behavior"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"), "1-1-1", n_neurons=12).path


def run(folder, *options, status=0):
    arguments = ("--session", folder, "--no-baselines", "--max-windows", 3)
    done = run_command("evaluate", *arguments, *options)
    assert done.exit_code == status, done.output
    return done


def test_an_ensemble_is_scored_beside_its_members(folder, tmp_path):
    ask = ["--strategy", FORECAST]
    path = str(tmp_path / "two.ensemble.json")
    text = run(folder, "--model", "ridge", "--model", "last", "--ensemble", path, *ask)
    for words in ("ensemble of 2", "members", "s.d. of 2"):
        assert words in text.stdout
    assert "ensemble of 2" in run(folder, "--model", path, *ask).stdout


def test_members_of_an_ensemble_are_loaded_once(folder, tmp_path, monkeypatch):
    loaded = []

    def load(name, spec):
        loaded.append(name)
        return naive_predictor(name, spec)

    monkeypatch.setattr(predictor, "naive_predictor", load)
    out = tmp_path / "two.ensemble.json"
    run(folder, "--model", "mean", "--model", "last", "--ensemble", out, "--strategy", FORECAST)
    assert sorted(loaded) == ["last", "mean"]


def test_members_that_the_command_names_may_be_on_the_hub(folder, tmp_path, monkeypatch):
    inner = om.save_ensemble(tmp_path / "inner.ensemble.json", ["mean", "last"])
    monkeypatch.setattr(registry, "fetch_checkpoint", lambda name: inner)
    path, ask = str(tmp_path / "two.ensemble.json"), ["--strategy", FORECAST]
    text = run(folder, "--model", "hf://owner/model", "--model", "ridge", "--ensemble", path, *ask)
    assert "ensemble of 2" in text.stdout
    # The file names the host for everybody who opens it.
    done = run_command("evaluate", "--session", folder, "--model", path, *ask)
    assert isinstance(done.exception, ConnectError)


def test_a_table_with_ceilings_says_of_what_they_are(folder, tmp_path):
    ask = ["--model", "mean", "--strategy", STIMULUS]
    mouse = simulate_mouse(tmp_path / "tiny", 20, 1.0, tests=2, times=1)
    assert f"- ceiling: {CEILING}" in run(mouse, *ask).stdout
    assert "- ceiling" not in run(folder, *ask).stdout


def test_rows_in_a_file_are_read_again_and_the_scores_are_the_same(folder, tmp_path):
    out, table = tmp_path / "rows.jsonl", tmp_path / "neurons.parquet"
    ask = ["--model", "mean", "--strategy", STIMULUS, "--by", "kind", "--json"]
    into_files = ["--out", str(out), "--parquet", str(table)]
    first = json.loads(run(folder, *ask, *into_files).stdout)["rows"]
    before = out.read_bytes()
    again = json.loads(run(folder, *ask, *into_files).stdout)["rows"]
    without_files = json.loads(run(folder, *ask).stdout)["rows"]
    assert first == again == without_files
    assert out.read_bytes() == before
    assert {row["name"] for row in first} == {"score", "stimulus_score"}
    assert pyarrow.parquet.read_table(table).num_rows == 24


def test_a_condition_of_the_demo_table_is_chosen_by_its_name(folder):
    ask = ["--model", "mean", "--strategy", "half_population_behavior", "--json"]
    rows = json.loads(run(folder, *ask).stdout)["rows"]
    (score,) = [row for row in rows if row["name"] == "score"]
    assert (score["strategy"], score["n_neurons"]) == ("half_population_behavior", 6)


def test_whole_clips_are_scored_and_submitted(folder, tmp_path):
    path = tmp_path / "submission.parquet.brotli"
    ask = ["--model", "mean", "--sensorium2023"]
    rows = json.loads(run(folder, *ask, "--json").stdout)["rows"]
    assert [row["name"] for row in rows] == ["single_trial", "to_average"]
    assert rows[0]["n_trials"] == 3
    (row,) = json.loads(run(folder, *ask, "--submission", str(path), "--json").stdout)["rows"]
    assert (row["name"], row["value"], row["path"]) == ("submission", 3, str(path))
    assert pyarrow.parquet.read_table(path).num_rows == 3


def test_the_table_of_the_paper_has_its_published_numbers_below(folder):
    text = run(folder, "--table", "paper", "--model", "last").stdout
    forecast, rest = text.split("fcst: test/causal_response_25_behavior")[1].split("fcst+S:", 1)
    assert [line for line in forecast.splitlines() if line.startswith("last ")]
    cost, published = rest.split("Published (pooled; OmniMouse paper), on other recordings")
    assert "test parts of seven mice of Sensorium" in published
    assert [line for line in published.splitlines() if line.startswith("OmniMouse-80M ")]
    assert "answer, ms" in cost
    # Of few neurons, the paper's numbers are others: each task says which, once.
    few = "adapted to 12 neurons: visible 256 → 1, targets 3072 → 9"
    assert text.split("pop 256:")[1].split("pop 1024:")[0].count(few) == 1


def test_rows_of_the_papers_table_say_what_they_are(folder):
    ask = ["--table", "paper", "--model", "last", "--model", "mean", "--json"]
    rows = json.loads(run(folder, *ask).stdout)["rows"]
    names = {row["name"] for row in rows}
    assert names >= {"score", "parameters", "training_minutes", "answer_ms", "published"}
    assert all({"name", "value", "unit"} <= row.keys() for row in rows)
    scores = [row for row in rows if row["name"] == "score"]
    assert all(
        row["note"].startswith("adapted to 12 neurons")
        for row in scores
        if "population_256" in row["strategy"]
    )
    published = [row for row in rows if row["name"] == "published"]
    assert all(row["data"] and row["source"] == "OmniMouse paper" for row in published)


def test_the_table_of_the_paper_has_correlations_whatever_the_first_model_is(folder):
    ask = ["--table", "paper", "--model", "ndt-demo", "--model", "last", "--json"]
    rows = json.loads(run(folder, *ask, status=1).stdout)["rows"]
    scores = [row for row in rows if row["name"] == "score" and row["strategy"] == FORECAST]
    assert {row["metric"] for row in scores} == {"correlation"}
    found = {row["predictor"].partition(" ")[0]: row for row in scores}
    assert found["last"]["value"] is not None
    assert "counts" in found["ndt-demo"]["refusal"]


NAME = "toy-counts"
METRIC = "bits_per_spike"


@pytest.fixture
def recording(tmp_path):
    np.savez(tmp_path / "spiking.npz", **spiking_arrays(SpikingSpec(n_trials=30)))
    with install_toys():
        yield str(tmp_path / "spiking.npz")


def test_it_is_evaluated_beside_a_baseline_and_swept_in_its_own_metric(recording):
    model = ("--session", recording, "--model", NAME)
    strategy = ("--strategy", "population_1024_response_video_behavior")
    models = (*model, "--model", "mean", "--no-baselines")
    found = rows("evaluate", *models, *strategy)
    scores = {row["predictor"]: row for row in found if row["name"] == "score"}
    assert set(scores) == {TOYS[NAME].predictor_id, "mean"}
    assert np.isfinite(scores[TOYS[NAME].predictor_id]["value"])
    assert {row["metric"] for row in scores.values()} == {METRIC}
    contexts = ("--neurons", "0,2", "--history", "0,2", "--seeds", "1")
    found = rows("sweep", *model, *contexts)
    points = [row for row in found if row["name"] == "score"]
    assert {row["axis"] for row in points} == {"neurons", "history_samples"}
    assert all(np.isfinite(row["value"]) for row in points if row["at"])
    assert {row["unit"] for row in points} == {METRICS[METRIC].unit}
