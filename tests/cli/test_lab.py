"""`omnimouse lab`: a table of neurons, compared with the truth of a simulated mouse."""

import csv
import json

import pytest

from omnimouse_model.errors import UnsupportedRequestError
from tests.cli.runner import run_command
from tests.small_sessions import simulate_mouse


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mice") / "tiny"
    return simulate_mouse(folder, 20, 1.0, tests=2, times=1)


def test_the_tuning_of_a_model_is_written_with_its_errors(folder, tmp_path):
    out = tmp_path / "tuning.csv"
    options = ("--model", "video-ridge", "--session", folder, "--out", out, "--json")
    few = ("--directions", "8", "--repeats", "1")
    done = run_command("lab", "directions", *options, *few)
    assert done.exit_code == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert 0 <= rows["median_osi"]["value"] <= 1
    assert rows["median_osi"]["n"] == 20
    with out.open(newline="") as file:
        neurons = list(csv.DictReader(file))
    assert len(neurons) == 20
    assert 0 <= float(neurons[3]["orientation_error_deg"]) <= 90


def test_a_model_without_video_is_refused(folder):
    done = run_command("lab", "directions", "--model", "mean", "--session", folder)
    assert isinstance(done.exception, UnsupportedRequestError)
