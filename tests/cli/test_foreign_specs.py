import json

import numpy as np
import pytest

from omnimouse_model.metrics.named import METRICS
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.cli.runner import run_command
from tests.toy_predictors import TOYS, install_toys

NAME = "toy-counts"
METRIC = "bits_per_spike"


@pytest.fixture
def recording(tmp_path):
    np.savez(tmp_path / "spiking.npz", **spiking_arrays(SpikingSpec(n_trials=30)))
    with install_toys():
        yield str(tmp_path / "spiking.npz")


def rows(*words):
    done = run_command(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["rows"]


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
