"""`omnimouse lab recorded`: recorded tuning beside that of a model."""

import csv
import json

import numpy as np
import pytest

from omnimouse_model.lab.recorded_trials import StimulusColumnError
from omnimouse_model.lab.stimuli.gratings_and_dots import drifting_gratings, gaussian_dots
from tests.cli.runner import run_command
from tests.model.experanto_folder import write_stream, write_videos
from tests.model.lab.recorded.known_neurons import tuned

PREFERRED_DEG = np.linspace(0, 315, 8)
N_DIRECTIONS, REPEATS = 8, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recording of gratings of 1 s; angles are stored clockwise, 0 is up."""
    folder = tmp_path_factory.mktemp("gratings") / "mouse"
    shown = drifting_gratings(
        (36, 64), N_DIRECTIONS, REPEATS, periods_deg=(60.0,), temporal_hz=(2.0,),
        duration_s=1.0,
    )  # fmt: skip
    order = np.random.default_rng(0).permutation(shown.n_videos)
    directions = shown.values[order]
    rows = [
        {"tier": "final_test_1" if k % 4 == 3 else "train", "drift": (90.0 - d) % 360}
        for k, d in enumerate(directions.tolist())
    ]
    write_videos(folder / "screen", [shown.frames_of(int(k)) for k in order], rows)
    draw = np.random.default_rng(1)
    rates = 10 * tuned(directions, PREFERRED_DEG)
    responses = np.repeat(rates, 30, axis=0) + draw.normal(size=(len(order) * 30, 8))
    write_stream(folder / "responses", responses.astype(np.float32), 30.0, 0.0)
    np.save(folder / "responses" / "meta" / "unit_ids.npy", np.arange(8) + 100)
    return folder


def run(folder, *words):
    model = ("--model", "video-ridge", "--session", folder, "--json")
    done = run_command("lab", "recorded", *words, *model)
    return done, (json.loads(done.stdout)["rows"] if done.exit_code == 0 else [])


CONVENTION = ("--column", "drift", "--zero-deg", "90", "--clockwise")


@pytest.mark.slow
@pytest.mark.parametrize("shown", [(), ("--in-silico",)], ids=["video", "in silico"])
def test_a_summary_is_printed_and_a_row_per_neuron_written(folder, tmp_path, shown):
    out = tmp_path / "recorded.csv"
    done, rows = run(folder, "directions", *CONVENTION, *shown, "--out", out)
    assert done.exit_code == 0, done.stderr
    row = {row["name"]: row for row in rows}["median_difference"]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["unit"] == "deg"
    assert row["n"] == 8
    with out.open(newline="") as file:
        neurons = list(csv.DictReader(file))
    assert [int(neuron["unit_id"]) for neuron in neurons] == list(range(100, 108))
    found = np.array([float(neuron["recorded_preferred_deg"]) for neuron in neurons])
    away = (found - PREFERRED_DEG + 180) % 360 - 180
    np.testing.assert_allclose(away, 0, atol=5)
    assert all(0 <= float(neuron["difference_deg"]) <= 90 for neuron in neurons)


def test_columns_tiers_and_values_that_do_not_exist_are_told(folder):
    done, _ = run(folder, "directions")
    assert isinstance(done.exception, StimulusColumnError)
    assert "drift" in str(done.exception)
    done, _ = run(folder, "directions", *CONVENTION, "--tier", "oracle")
    assert "final_test_1" in str(done.exception)
    done, _ = run(folder, "directions", *CONVENTION, "--where", "drift")
    assert done.exit_code == 2
    done, _ = run(folder, "dots", "--column", "drift")
    assert done.exit_code == 2
    assert "VERTICAL" in done.stderr
    done, _ = run(folder, "dots")
    assert isinstance(done.exception, StimulusColumnError)
    assert "azimuth" in str(done.exception)


@pytest.mark.slow
def test_in_silico_dots_have_the_recorded_colour(tmp_path):
    shown = gaussian_dots((18, 32), (3, 4), 2, duration_s=1.0, is_on=False)
    table = zip(shown.table["row_px"], shown.table["column_px"], strict=True)
    rows = [{"tier": "train", "row_px": float(y), "column_px": float(x)} for y, x in table]
    frames = [shown.frames_of(k) for k in range(shown.n_videos)]
    write_videos(tmp_path / "screen", frames, rows)
    noise = np.random.default_rng(0).normal(size=(30 * len(rows), 2))
    write_stream(tmp_path / "responses", noise.astype(np.float32), 30.0, 0.0)
    model = ("--model", "video-ridge", "--session", tmp_path)
    done = run_command("lab", "recorded", "dots", "--in-silico", *model)
    assert done.exit_code == 0, done.stderr
    assert "beside black gaussian dots" in done.stdout
