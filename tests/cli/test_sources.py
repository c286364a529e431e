"""`omnimouse sources`, `informants`, `areas`: rows, tables, stops that continue, refusals."""

import signal

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_app.cli.terminal import Progress
from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled
from tests.cli.runner import rows_of_command as rows
from tests.cli.runner import run_command


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "world.npz"
    spec = CoupledSpec(n_neurons=40, minutes=1.5, driven_by_running=0.3)
    np.savez(path, **simulate_coupled(spec).arrays)
    return path


def test_sources_have_means_and_rows_per_neuron(path, tmp_path):
    ask = ("sources", "--session", path, "--source", "behavior", "--source", "history")
    found = rows(*ask, "--targets", "3,30", "--csv", tmp_path / "sources.csv")
    means = [row for row in found if row["name"] == "mean"]
    assert [(row["source"], row["kind"]) for row in means[:3]] == [
        ("behavior", "alone"),
        ("behavior", "unique"),
        ("behavior", "share"),
    ]
    share = sum(row["value"] for row in means if row["kind"] == "share")
    assert share == pytest.approx(means[-1]["value"], abs=1e-6)
    assert {row["neuron"] for row in found if row["name"] == "source"} == {3, 30}
    assert (tmp_path / "sources.csv").exists()
    text = run_command(*ask, "--targets", "V1", "--max-windows", "3").stdout
    assert "unique" in text
    assert "All sources together: " in text
    assert "explained variance" in text
    assert "not cause" in text


def test_a_stopped_command_continues(path, tmp_path, monkeypatch):
    out = tmp_path / "v1.sources.jsonl"
    ask = ("sources", "--session", path, "--source", "history", "--targets", "V1", "--out", out)

    def interrupt(self: Progress, done: float, total: float, what: str) -> None:
        if done >= 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "__call__", interrupt)
        stopped = run_command(*ask)
    assert stopped.exit_code == 130
    assert "the same command continues" in stopped.stderr
    part = om.SourceScores.open(out)
    assert 0 < len(part.neurons) < 20
    assert run_command(*ask).exit_code == 0
    assert om.SourceScores.open(out).is_complete


def test_informants_that_are_stopped_in_their_search_end_in_one_line(path, monkeypatch):
    def interrupt(self: Progress, done: float, total: float, what: str) -> None:
        if what == "greedy selection":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "__call__", interrupt)
    stopped = run_command("informants", "--session", path, "--targets", "3", "--k", "4")
    assert stopped.exit_code == 130
    assert "stopped" in stopped.stderr


def test_informants_and_areas_have_their_rows(path):
    found = rows("informants", "--session", path, "--targets", "3", "--k", "2", "--random", "1")
    assert [row["name"] for row in found] == ["curve"] * 5 + ["informant"] * 2
    found = rows("areas", "--session", path, "--draws", "1", "--neurons", "4")
    assert len(found) == 8
    text = run_command("areas", "--session", path, "--draws", "1", "--lagged").stdout
    assert "beyond behavior; source in rows" in text


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("sources", ("--source", "history", "--targets", "3")),
        ("informants", ("--targets", "3", "--k", "1", "--random", "1")),
        ("areas", ("--draws", "1", "--neurons", "4")),
    ],
)
def test_the_session_is_an_argument_or_an_option(path, command, options):
    options = (*options, "--max-windows", "2")
    assert rows(command, path, *options) == rows(command, "--session", path, *options)


def test_wrong_requests_are_refused(path):
    done = run_command("sources", "--session", path, "--source", "M1")
    assert "no source 'M1'" in str(done.exception)
    done = run_command("sources", path, "--session", path)
    assert done.exit_code == 2
    assert "SESSION or --session" in done.stderr
    assert run_command("informants", "--session", path).exit_code == 2
