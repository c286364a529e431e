"""`omnimouse lab`: a table of neurons, compared with the truth of a simulated mouse."""

import csv

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.lab import experiments
from omnimouse_model.lab.recorded_trials import StimulusColumnError
from omnimouse_model.lab.stimuli.gratings_and_dots import drifting_gratings, gaussian_dots
from tests.cli.runner import rows_of_command, run_command
from tests.model.dask_clusters import cluster_address
from tests.model.experanto_folder import write_stream, write_videos
from tests.model.lab.recorded.known_neurons import tuned
from tests.small_sessions import simulate_mouse


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mice") / "tiny"
    return simulate_mouse(folder, 20, 1.0, tests=2, times=1)


def test_the_tuning_of_a_model_is_written_with_its_errors(folder, tmp_path):
    out = tmp_path / "tuning.csv"
    options = ("--model", "video-ridge", "--session", folder, "--out", out)
    few = ("--directions", "8", "--repeats", "1")
    rows = {row["name"]: row for row in rows_of_command("lab", "directions", *options, *few)}
    assert 0 <= rows["median_osi"]["value"] <= 1
    assert rows["median_osi"]["n"] == 20
    neurons = table_of(out)
    assert len(neurons) == 20
    assert 0 <= float(neurons[3]["orientation_error_deg"]) <= 90


def test_numbers_of_responses_that_do_not_vary_are_null_with_the_reason(folder, monkeypatch):
    def equal(pieces, stimulus, n_neurons, *others):
        return np.ones((stimulus.n_videos, n_neurons))

    monkeypatch.setattr(experiments, "collected_responses", equal)
    model = ("--model", "video-ridge", "--session", folder)
    rows = rows_of_command("lab", "directions", *model, "--directions", "8", "--repeats", "1")
    assert [row["value"] for row in rows] == [None] * len(rows)
    assert {row["reason"] for row in rows} == {experiments.CONSTANT}


def test_a_model_without_video_is_refused(folder):
    done = run_command("lab", "directions", "--model", "mean", "--session", folder)
    assert isinstance(done.exception, UnsupportedRequestError)


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("experiment", "column"),
    [
        (("fields", "--repeats", "1"), "field_error_widths"),
        (("levels", "contrast", "--repeats", "1"), "preferred_contrast"),
    ],
)  # fmt: skip
def test_other_experiments_write_a_row_per_neuron(folder, tmp_path, experiment, column):
    out = tmp_path / "table.csv"
    model = ("--model", "video-ridge", "--session", folder)
    medians = rows_of_command("lab", *experiment, *model, "--out", out)
    rows = table_of(out)
    assert len(rows) == 20
    # The place of a field far beyond the frame is unknown.
    n_known = sum(bool(row[column]) for row in rows)
    assert n_known in [median["n"] for median in medians]
    assert n_known > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    [
        ("directions", "--directions", "4", "--repeats", "1"),
        ("fields", "--repeats", "1"),
        ("levels", "contrast", "--repeats", "1"),
    ],
)
def test_workers_write_the_same_table(folder, tmp_path, experiment):
    model = ("--model", "video-ridge", "--session", folder)
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    with cluster_address(2, processes=False) as scheduler:
        for out, where in ((here, ()), (there, ("--scheduler", scheduler))):
            done = run_command("lab", *experiment, *model, "--out", out, *where)
            assert done.exit_code == 0, done.stderr
    found, expected = table_of(there), table_of(here)
    assert found[0].keys() == expected[0].keys()
    numbers = [[[float(v or "nan") for v in row.values()] for row in t] for t in (found, expected)]
    np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-4)


def test_a_model_without_gradient_has_no_exciting_input(folder, tmp_path):
    model = ("--model", "video-ridge", "--session", folder)
    ids = table_ids(folder)
    out = tmp_path / "exciting"
    done = run_command("lab", "exciting", ids[0], *model, "--out", out)
    assert isinstance(done.exception, UnsupportedRequestError)
    unknown = run_command("lab", "exciting", 987654, *model, "--out", out)
    assert unknown.exit_code == 2
    assert "987654" in unknown.stderr


def table_ids(folder):
    return open_session(folder).units.names.tolist()


# -- `omnimouse lab recorded`: recorded tuning beside that of a model ----------------
PREFERRED_DEG = np.linspace(0, 315, 8)
N_DIRECTIONS, REPEATS = 8, 6


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A recording of gratings of 1 s; angles are stored clockwise, 0 is up."""
    recording = tmp_path_factory.mktemp("gratings") / "mouse"
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
    write_videos(recording / "screen", [shown.frames_of(int(k)) for k in order], rows)
    draw = np.random.default_rng(1)
    rates = 10 * tuned(directions, PREFERRED_DEG)
    responses = np.repeat(rates, 30, axis=0) + draw.normal(size=(len(order) * 30, 8))
    write_stream(recording / "responses", responses.astype(np.float32), 30.0, 0.0)
    np.save(recording / "responses" / "meta" / "unit_ids.npy", np.arange(8) + 100)
    return recording


def command(recording, *words):
    return "lab", "recorded", *words, "--model", "video-ridge", "--session", recording


CONVENTION = ("--column", "drift", "--zero-deg", "90", "--clockwise")


@pytest.mark.slow
@pytest.mark.parametrize("shown", [(), ("--in-silico",)], ids=["video", "in silico"])
def test_a_summary_is_printed_and_a_row_per_neuron_written(recording, tmp_path, shown):
    out = tmp_path / "recorded.csv"
    ask = command(recording, "directions", *CONVENTION, *shown, "--out", out)
    row = {row["name"]: row for row in rows_of_command(*ask)}["median_difference"]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["unit"] == "deg"
    assert row["n"] == 8
    neurons = table_of(out)
    assert [int(neuron["unit_id"]) for neuron in neurons] == list(range(100, 108))
    found = np.array([float(neuron["recorded_preferred_deg"]) for neuron in neurons])
    away = (found - PREFERRED_DEG + 180) % 360 - 180
    np.testing.assert_allclose(away, 0, atol=5)
    assert all(0 <= float(neuron["difference_deg"]) <= 90 for neuron in neurons)


def test_columns_tiers_and_values_that_do_not_exist_are_told(recording):
    done = run_command(*command(recording, "directions"))
    assert isinstance(done.exception, StimulusColumnError)
    assert "drift" in str(done.exception)
    done = run_command(*command(recording, "directions", *CONVENTION, "--tier", "oracle"))
    assert "final_test_1" in str(done.exception)
    done = run_command(*command(recording, "directions", *CONVENTION, "--where", "drift"))
    assert done.exit_code == 2
    done = run_command(*command(recording, "dots", "--column", "drift"))
    assert done.exit_code == 2
    assert "VERTICAL" in done.stderr
    done = run_command(*command(recording, "dots"))
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
    done = run_command(*command(tmp_path, "dots", "--in-silico"))
    assert done.exit_code == 0, done.stderr
    assert "beside black gaussian dots" in done.stdout
