"""Predictors of other specs from the command line: evaluated, swept, reported."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from omnimouse_app.cli import evaluate, sweep
from omnimouse_model.simulate.spiking import SpikingSpec, spiking_arrays
from tests.model.data.readers.test_arrays import session_arrays
from tests.toy_predictors import TOYS, install_toys


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    np.savez(folder / "spiking.npz", **spiking_arrays(SpikingSpec(n_trials=30)))
    np.savez(folder / "imaging.npz", **session_arrays())
    return folder


@pytest.fixture(params=[*TOYS])
def case(request, recordings):
    name = "spiking" if request.param == "toy-counts" else "imaging"
    with install_toys():
        yield request.param, str(recordings / f"{name}.npz")


def rows(command, *words):
    done = CliRunner().invoke(command, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["rows"]


def test_it_is_evaluated_beside_a_baseline(case):
    name, recording = case
    found = rows(
        evaluate.command, "--session", recording, "--model", name, "--no-baselines",
        "--model", "mean", "--strategy", "population_1024_response_video_behavior",
    )  # fmt: skip
    scores = {row["predictor"]: row for row in found if row["name"] == "score"}
    assert set(scores) == {TOYS[name].predictor_id, "mean"}
    assert np.isfinite(scores[TOYS[name].predictor_id]["value"])


def test_counts_are_evaluated_in_bits_per_spike(recordings):
    with install_toys():
        found = rows(
            evaluate.command, "--session", str(recordings / "spiking.npz"),
            "--no-baselines", "--model", "toy-counts", "--metric", "bits_per_spike",
            "--strategy", "population_1024_response_video_behavior",
        )  # fmt: skip
    (score,) = [row for row in found if row["name"] == "score"]
    assert score["metric"] == "bits_per_spike"
    assert np.isfinite(score["value"])


def test_it_is_swept(case):
    name, recording = case
    found = rows(
        sweep.command, "--session", recording, "--model", name, "--neurons", "0,2",
        "--history", "0,2", "--seeds", "1",
    )  # fmt: skip
    points = [row for row in found if row["name"] == "score"]
    assert {row["axis"] for row in points} == {"neurons", "history_samples"}
    assert all(np.isfinite(row["value"]) for row in points if row["at"])
