"""Scaling studies: what is missing is trained, once; a kill changes nothing."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from omnimouse_app.cli.sweep import scaling as command
from omnimouse_model.analysis.scaling_fits import read_runs, scaling_curves
from omnimouse_model.analysis.scaling_study import models_folder, plan_path, read_plan, run_study
from omnimouse_model.errors import ResultsFileError, StoppedError
from omnimouse_model.progress import CallbackJob
from omnimouse_model.training.metrics_log import FILE, log_rows
from tests.model.small_net import small_plan
from tests.small_sessions import write_session

pytestmark = pytest.mark.slow
NAMES = ("m1-1-1", "m2-1-1", "m3-1-1")
TASK = "test/causal_response_25_behavior"
STEPS = 2


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    root = tmp_path_factory.mktemp("recordings")
    for number, name in enumerate(NAMES):
        write_session(root / name, 8 + number)
    return root


@pytest.fixture(scope="module")
def fields(recordings):
    asked = {"collections": [1, 3], "evaluated": ["m2-1-1"], "strategies": [TASK]}
    return small_plan(recordings, TASK, STEPS) | asked


@pytest.fixture(scope="module")
def plan_file(fields, tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "plan.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


@pytest.fixture(scope="module")
def plan(plan_file):
    return read_plan(plan_file)


@pytest.fixture(scope="module")
def study_results(plan, tmp_path_factory):
    """Results of the plan's two runs, which nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "a.scaling.jsonl"
    run_study(plan, path)
    return path


@pytest.fixture
def results(study_results, tmp_path):
    """The same, to add to."""
    models = models_folder(study_results)
    shutil.copytree(models, tmp_path / models.name)
    return Path(shutil.copy(study_results, tmp_path))


def collections_of(results: Path, order: int = 0) -> list[list[str]]:
    text = (models_folder(results) / f"collections-{order}.json").read_text("utf-8")
    found = json.loads(text)["collections"]
    return [[member["id"] for member in one["members"]] for one in found]


def steps_of(results: Path) -> dict[str, list[float]]:
    logs = sorted(models_folder(results).glob(f"*/{FILE}"))
    return {log.parent.name: [row["step"] for row in log_rows(log)] for log in logs}


class KillError(Exception):
    """Stands for a kill: nothing of the study catches it."""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"sizes": [1]}, "found 'sizes', expected only the fields models"),
        ({"collections": 4}, "collections: found 4, expected a list"),
        ({"seeds": ["a"]}, r"seeds\[0\]: found 'a', expected a whole number"),
        ({"steps_of": "all"}, "steps_of: found 'all', expected 'each session'"),
        ({"strategies": ["test/nothing"]}, "no strategy 'test/nothing'"),
        ({"models": {"tiny": "6M"}}, "no size '6M'"),
        ({"training": {"seed": 1}}, "training holds seed"),
        ({"training": {"sampling": "balanced"}}, "phases"),
    ],
)
def test_a_wrong_plan_is_refused_by_name(fields, tmp_path, changed, told):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(fields | changed))
    with pytest.raises(ValueError, match=told):
        read_plan(path)


def test_sessions_that_are_not_there_are_named(plan, tmp_path):
    results = tmp_path / "a.scaling.jsonl"
    with pytest.raises(ValueError, match="no session m9-1-1 among the plan's 3"):
        run_study(replace(plan, evaluated=("m9-1-1",)), results)
    with pytest.raises(ValueError, match="neither a session folder nor one of"):
        run_study(replace(plan, sessions=("nobody",)), results)
    with pytest.raises(ValueError, match="There are 3 sessions"):
        run_study(replace(plan, collections=(1, 4)), results)
    assert not results.exists()


def test_every_run_is_trained_and_scored_on_the_same_sessions(plan, tmp_path):
    results = tmp_path / "a.scaling.jsonl"
    run_study(replace(plan, collections=(1, 2, 3), orders=(0, 1)), results)
    for order in (0, 1):
        drawn = collections_of(results, order)
        assert [len(ids) for ids in drawn] == [1, 2, 3]
        assert all(set(few) < set(more) for few, more in pairwise(drawn))
        assert drawn[0] == ["m2-1-1"]
    rows = read_runs(results)
    assert [row.run.sessions for row in rows] == [1, 2, 3, 1, 2, 3]
    assert {row.run.order for row in rows} == {"random 0", "random 1"}
    assert {tuple(row.scores) for row in rows} == {("m2-1-1",)}
    counts = [len(steps) for steps in steps_of(results).values()]
    assert counts == [STEPS, STEPS, 2 * STEPS, 2 * STEPS, 3 * STEPS, 3 * STEPS]
    one, _, three = (row.run for row in rows[:3])
    assert one.parameters == three.parameters > 0
    assert three.trials == 3 * one.trials == 6
    assert three.neuron_samples / one.neuron_samples == pytest.approx(27 / 9)
    assert three.compute > 2 * one.compute > 0


def test_a_killed_study_goes_on_to_the_same_results(plan, study_results, tmp_path):
    parts = tmp_path / "parts.scaling.jsonl"
    for dies_at in (1, STEPS + 3):  # in the first run, and in the second

        def progress(done: int, total: int, what: str, dies_at: int = dies_at) -> None:
            if done == dies_at:
                raise KillError

        with pytest.raises(KillError):
            run_study(plan, parts, job=CallbackJob(progress))
    assert len(read_runs(parts)) == 1
    asked: list[int] = []
    with pytest.raises(StoppedError):
        run_study(plan, parts, job=CallbackJob(cancelled=lambda: asked.append(1) or len(asked) > 2))
    run_study(plan, parts)
    assert parts.read_bytes() == study_results.read_bytes()
    assert steps_of(parts) == steps_of(study_results)


def test_what_is_in_the_results_is_not_trained_again(plan, results):
    before = results.read_bytes()
    trained: list[str] = []

    def progress(done: int, total: int, what: str) -> None:
        trained.append(what.partition(":")[0])

    run_study(plan, results, job=CallbackJob(progress))
    assert trained == []
    assert results.read_bytes() == before
    run_study(replace(plan, seeds=(0, 1)), results, job=CallbackJob(progress))
    assert {name.rpartition(", ")[2] for name in trained} == {"seed 1"}
    assert len(read_runs(results)) == 4
    more = (TASK, "test/population_1024_response_behavior")
    run_study(replace(plan, strategies=more), results)
    assert len(read_runs(results)) == 6


def test_results_of_another_study_are_refused(plan, fields, results):
    other = {**fields["training"], "sampling": "weighted"}
    with pytest.raises(ResultsFileError, match="training"):
        run_study(replace(plan, training=other), results)
    wider = {"tiny": fields["models"]["tiny"] | {"d_model": 64}}
    with pytest.raises(ResultsFileError, match="another model"):
        run_study(replace(plan, models=wider), results)


def test_the_command_fits_and_draws(plan_file, results, tmp_path):
    pytest.importorskip("plotly")
    page = tmp_path / "a.html"
    arguments = [str(results), "--train", str(plan_file), "--device", "cpu"]
    done = CliRunner().invoke(
        command, [*arguments, "--figure", str(page), "--csv", f"{page}.csv", "--markdown"]
    )
    assert done.exit_code == 0, done.output
    assert "| tiny | 2 | 2 |" in done.stdout
    assert "Plotly.newPlot" in page.read_text("utf-8")
    assert "tiny" in Path(f"{page}.csv").read_text()
    (curve,) = scaling_curves(read_runs(results), n_resamples=5)
    assert "found 2" in curve.refusal
    none = CliRunner().invoke(command, [str(tmp_path / "none.jsonl")])
    assert none.exit_code == 2
    assert "--train" in none.stderr


def test_the_shipped_plan_is_found_by_name():
    assert read_plan(plan_path("simulated")).models
