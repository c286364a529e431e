"""Predictors of other specs from the command line: scored, swept, reported."""

import json
from contextlib import closing

import numpy as np
import pytest
from click.testing import CliRunner

from omnimouse_app.cli import evaluate, report, sweep
from omnimouse_model.live.controller import Controller
from omnimouse_model.metrics.named import METRICS
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


def metric_of(name):
    """Default metric of a predictor, by the units of its windows."""
    return "bits_per_spike" if name == "toy-counts" else "correlation"


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
    assert {row["metric"] for row in scores.values()} == {metric_of(name)}


def test_it_is_swept(case):
    name, recording = case
    found = rows(
        sweep.command, "--session", recording, "--model", name, "--neurons", "0,2",
        "--history", "0,2", "--seeds", "1",
    )  # fmt: skip
    points = [row for row in found if row["name"] == "score"]
    assert {row["axis"] for row in points} == {"neurons", "history_samples"}
    assert all(np.isfinite(row["value"]) for row in points if row["at"])
    assert {row["unit"] for row in points} == {METRICS[metric_of(name)].unit}


def test_a_saved_analysis_becomes_a_page(case, tmp_path):
    name, recording = case
    path = tmp_path / "mine.omnimouse.json"
    with closing(Controller(synchronous=True)) as controller:
        controller.open_session(recording)
        controller.choose_predictor(name)
        controller.select([0, 1])
        controller.choose_baseline("mean")
        assert controller.project.save(path)
        median = np.nanmedian(controller.results.scores)
    CliRunner().invoke(report.command, [str(path)], catch_exceptions=False)
    page = (tmp_path / "mine.html").read_text("utf-8")
    assert f"<b>{median:.3f}</b>".replace("-", "−") in page
    assert METRICS[metric_of(name)].unit in page
