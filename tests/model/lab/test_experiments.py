"""Experiments by name, and the folder from which a stopped experiment continues."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.errors import ResultsFileError, StoppedError, UnsupportedRequestError
from omnimouse_model.lab import tuning
from omnimouse_model.lab.experiments import (
    EXPERIMENTS,
    UNSELECTIVE,
    findings_of,
    run_experiment,
    windows_of,
)
from omnimouse_model.lab.responses import ResponseStore
from omnimouse_model.lab.stimuli.stimulus import Monitor
from omnimouse_model.progress import QUIET, CallbackJob, never
from tests.model.lab.energy_neurons import EnergyNeurons

FOUR = np.arange(4)


@pytest.fixture
def run(session, tmp_path):
    """Run a short experiment on the four known neurons, with a store."""

    def run(name="fields", model=None, **settings):
        found = tmp_path / "responses.zarr"
        settings = {"repeats": 1, "results": found} | settings
        model = model or EnergyNeurons(reads_places=True)
        return run_experiment(name, model, session, FOUR, **settings)

    return run


def stopped(run, after, **settings):
    """Stop the experiment once some videos are finished."""
    finished = []

    def note(done, of, step):
        finished.append(done)

    with pytest.raises(StoppedError):
        run(job=CallbackJob(note, lambda: bool(finished) and finished[-1] >= after), **settings)


def test_a_result_prints_what_was_found_and_its_table_has_index_and_id(run, session):
    found = run("directions", EnergyNeurons())
    assert len(repr(found)) < 300
    assert found.summary in repr(found)
    assert "p of the OSI below 0.01" in found.summary
    table = found.to_dataframe()
    assert table["neuron"].tolist() == [0, 1, 2, 3]
    assert table["unit_id"].tolist() == session.units.unit_id[:4].tolist()
    assert table["p_orientation"].between(0, 1).all()


def test_angles_are_those_of_neurons_that_pass_the_test_of_their_selectivity(run):
    found = run("directions", EnergyNeurons())
    raw = found.findings.columns
    tests = {
        "p_direction": np.array([0.01, 1.0, 1.0, np.nan]),
        "p_orientation": np.array([0.01, 0.01, 0.5, np.nan]),
    }
    found = replace(found, findings=replace(found.findings, columns=raw | tests))
    table = found.to_dataframe()
    assert table["preferred_deg"].notna().tolist() == [True, False, False, False]
    assert table["orientation_deg"].notna().tolist() == [True, True, False, False]
    assert table["tuned"].astype(object).where(table["tuned"].notna(), None).tolist() == [
        *(True, True, False, None)
    ]
    assert table["preferred_deg"][0] == raw["preferred_deg"][0] == found.values[0]
    assert found.why_unknown(1) == UNSELECTIVE
    assert found.is_unselective.tolist() == [False, True, True, False]
    # It has selectivities without an angle.
    assert "OSI above 0.3" in found.summary


@pytest.mark.slow
def test_a_stopped_experiment_goes_on_where_it_was(run, tmp_path):
    whole = run(results=None)
    stopped(run, 5)
    model = EnergyNeurons(reads_places=True)
    again = run(model=model)
    np.testing.assert_array_equal(again.responses, whole.responses)
    n_videos = whole.stimulus.n_videos
    assert model.asked == n_videos - 5
    once_more = EnergyNeurons(reads_places=True)
    run(model=once_more)
    assert once_more.asked == 0


@pytest.mark.parametrize("name", ["period", "contrast"])
def test_responses_to_gratings_that_fill_the_screen_are_kept(run, name):
    """Their diameter is infinite, and JSON has no infinity."""
    model = EnergyNeurons()
    first = run(name, model)
    asked = model.asked
    assert asked > 0
    np.testing.assert_array_equal(run(name, model).responses, first.responses)
    assert model.asked == asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed is 0; expected 1"),
        ({"name": "black_fields"}, "experiment is 'fields'"),
        ({"sd_deg": 4.0}, "settings"),
        ({"monitor": Monitor(distance_cm=30.0)}, "settings"),
        ({"repeats": 2}, "repeats is 1"),
    ],
)
def test_another_experiment_is_not_continued(run, change, named):
    stopped(run, 2)
    with pytest.raises(ResultsFileError, match=named):
        run(**change)


@pytest.mark.parametrize("is_kept", [False, True])
def test_kept_responses_of_a_baseline_are_of_one_version_of_fits(run, tmp_path, is_kept):
    model = EnergyNeurons()
    model.needs = replace(model.needs, fits=1)
    settings = {"model": model, "results": None, "cache": tmp_path}
    run("directions", **settings)
    asked = model.asked
    model.needs = replace(model.needs, fits=1 if is_kept else 2)
    run("directions", **settings)
    assert (model.asked == asked) is is_kept


@pytest.mark.parametrize("kind", ["empty", "foreign", "newer"])
def test_what_is_no_store_is_left_alone(run, tmp_path, kind):
    path = tmp_path / "responses.zarr"
    path.mkdir()
    if kind != "empty":
        about = {"format": "omnimouse-laboratory", "version": 99}
        attributes = about if kind == "newer" else {"format": "other"}
        (path / "zarr.json").write_text(json.dumps({"attributes": attributes}))
    before = sorted(path.iterdir())
    with pytest.raises(ResultsFileError, match=r"responses\.zarr"):
        run()
    assert sorted(path.iterdir()) == before


@pytest.mark.slow
def test_a_result_has_a_row_per_neuron_and_its_provenance(run, session):
    found = run()
    table = found.to_dataframe()
    assert table["neuron"].tolist() == [0, 1, 2, 3]
    assert table.attrs["experiment"] == "fields"
    assert table.attrs["predictor"] == "energy"
    assert found.findings.average.shape == (4, 36, 64)
    np.testing.assert_array_equal(found.values, table["column_px"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fields", "size"])
def test_the_cost_of_an_experiment_is_known_before(name, session):
    model = EnergyNeurons()
    n = windows_of(EXPERIMENTS[name], model.needs.spec, 1)
    run_experiment(name, model, session, FOUR, repeats=1)
    assert model.asked == n


def test_names_are_public_and_unknown_ones_are_told(session):
    assert om.lab.run_experiment is run_experiment
    assert callable(om.lab.stimuli.gaussian_dots)
    with pytest.raises(ValueError, match="directions, noise"):
        run_experiment("colour", EnergyNeurons(), session)


def test_two_programs_make_one_store(tmp_path):
    path, about = tmp_path / "both.zarr", {"experiment": "x"}
    first, second = (ResponseStore(path, about, (2, 3, 4)) for _ in range(2))
    first.write(0, np.array([0]), np.ones((1, 4), np.float32))
    second.write(1, np.array([1, 2]), np.full((2, 4), 2, np.float32))
    values, is_done = ResponseStore(path, about, (2, 3, 4)).read(np.array([0, 1, 1]))
    assert values[:, 0].tolist() == [1, 2, 2]
    assert is_done.all()
    assert list(tmp_path.iterdir()) == [path]
    (path / "done" / "zarr.json").unlink()
    with pytest.raises(ResultsFileError, match="damaged"):
        ResponseStore(path, about, (2, 3, 4))


@pytest.mark.parametrize("package", [om, om.lab, om.lab.stimuli])
def test_no_module_hides_a_public_name(package):
    modules = {module.name for module in iter_modules(package.__path__)}
    for name in modules & set(dir(package)):
        assert isinstance(getattr(package, name), ModuleType), name


def test_silent_neurons_prefer_nothing():
    shown = om.lab.stimuli.drifting_gratings((36, 64), 4, 1)
    responses = np.zeros((4, 2), np.float32)
    responses[:, 1] = [1, 3, 1, 0]
    found = EXPERIMENTS["directions"].analyse(responses, shown, (36, 64))
    for values in found.columns.values():
        assert np.isfinite(values).tolist() == [False, True]
    dots = om.lab.stimuli.gaussian_dots((36, 64), (3, 5), 1)
    responses = np.zeros((15, 2), np.float32)
    responses[7, 1] = 1
    found = EXPERIMENTS["fields"].analyse(responses, dots, (36, 64), QUIET)
    assert np.isfinite(found.columns["row_px"]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"repeats": 0}, "repeats is 0"), ({"neurons": np.zeros(0, np.int64)}, "empty")],
)
def test_nothing_to_measure_is_refused(session, change, words):
    with pytest.raises(ValueError, match=words):
        run_experiment("directions", EnergyNeurons(), session, **change)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fields", "size"])
def test_what_was_found_is_kept_beside_the_responses(name, session, tmp_path, monkeypatch):
    def find(**settings):
        model, neurons = EnergyNeurons(reads_places=name == "fields"), np.arange(3)
        path = tmp_path / "kept.zarr"
        found = run_experiment(name, model, session, neurons, repeats=1, results=path, **settings)
        return found.findings

    first = find()

    def refuse(*_):
        raise AssertionError("analysed again")

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "fit_gaussian", refuse)
        patch.setattr(tuning, "responses_by_value", refuse)
        kept = find()
    assert list(kept.columns) == list(first.columns)
    for column, values in first.columns.items():
        np.testing.assert_array_equal(kept.columns[column], values)
    for field in ("levels", "curves", "average"):
        one, other = getattr(kept, field), getattr(first, field)
        assert (one is None) == (other is None)
        if other is not None:
            np.testing.assert_array_equal(one, other)
    # Damaged ones follow from the responses again.
    attributes = tmp_path / "kept.zarr" / "findings" / "zarr.json"
    attributes.write_text(attributes.read_text()[:40])
    again = find()
    np.testing.assert_array_equal(list(again.columns.values()), list(first.columns.values()))
    assert json.loads(attributes.read_text())["attributes"]["names"]


def test_findings_are_replaced_and_damaged_ones_are_none(tmp_path):
    store = ResponseStore(tmp_path / "x.zarr", {"experiment": "x"}, (2, 3, 4))
    assert store.findings(1) is None
    for version, value in ((1, 3.0), (2, 5.0)):
        store.keep_findings({"osi": np.full(4, value)}, version)
        assert store.findings(3 - version) is None
        assert store.findings(version)["osi"].tolist() == [value] * 4
    assert not list(store.path.glob(".findings-*"))
    for damaged in store.path.glob("findings/osi/c/0"):
        damaged.write_bytes(b"no chunk")
    assert store.findings(2) is None
    damaged.unlink()  # reads as zeros
    assert store.findings(2) is None


@pytest.mark.parametrize("lost", ["0", "1"])
def test_a_lost_row_of_kept_responses_is_no_event_without_a_response(tmp_path, lost):
    about, video = {"experiment": "x"}, np.array([0, 0, 1])
    store = ResponseStore(tmp_path / "x.zarr", about, (2, 3, 4))
    # The second event has no response of any neuron.
    store.write(0, np.array([0, 1]), np.array([[1.0] * 4, [np.nan] * 4], np.float32))
    values, is_done = store.read(video)
    assert values[:, 0].tolist() == pytest.approx([1, np.nan, np.nan], nan_ok=True)
    assert is_done.tolist() == [True, False]
    (store.path / "responses" / "c" / lost / "0").unlink()
    with pytest.raises(ResultsFileError, match=f"damaged: .*piece c/{lost}/0 is missing"):
        store.read(video)


def test_older_folders_that_store_no_empty_rows_are_read(tmp_path):
    store = ResponseStore(tmp_path / "x.zarr", {"experiment": "x"}, (1, 2, 4))
    store.write(0, np.array([0, 1]), np.full((2, 4), np.nan, np.float32))
    described = json.loads((store.path / "zarr.json").read_text())
    del described["attributes"]["keeps_every_row"]
    (store.path / "zarr.json").write_text(json.dumps(described))
    (store.path / "responses" / "c" / "1" / "0").unlink()
    assert np.isnan(store.read(np.array([0, 0]))[0]).all()


@pytest.mark.parametrize("n_done", [0, 1, 2])
def test_a_kill_while_findings_are_replaced_leaves_some(tmp_path, monkeypatch, n_done):
    """The old ones, or the new ones: after each change of a name."""
    store = ResponseStore(tmp_path / "x.zarr", {"experiment": "x"}, (2, 3, 4))
    store.keep_findings({"osi": np.ones(4)}, 1)
    changes = []

    def killed(change):
        def wrapped(*given, **options):
            if {"findings", "findings-next"} & {Path(place).name for place in given}:
                changes.append(given)
                if len(changes) > n_done:
                    raise KeyboardInterrupt
            return change(*given, **options)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed(Path.replace))
        patch.setattr(Path, "rename", killed(Path.rename))
        patch.setattr(shutil, "rmtree", killed(shutil.rmtree))
        with pytest.raises(KeyboardInterrupt):
            store.keep_findings({"osi": np.zeros(4)}, 1)
    assert store.findings(1)["osi"].tolist() in ([1] * 4, [0] * 4)
    store.keep_findings({"osi": np.full(4, 2.0)}, 1)
    assert store.findings(1)["osi"].tolist() == [2] * 4
    assert sorted(path.name for path in store.path.glob("*findings*")) == ["findings"]


@pytest.mark.skipif(not hasattr(os, "sync"), reason="files are synced one by one")
def test_findings_stand_until_new_ones_are_on_the_drive(tmp_path, monkeypatch):
    store = ResponseStore(tmp_path / "x.zarr", {"experiment": "x"}, (2, 3, 4))
    store.keep_findings({"osi": np.ones(4)}, 1)
    meanwhile = []
    monkeypatch.setattr("os.sync", lambda: meanwhile.append(store.findings(1)))
    store.keep_findings({"osi": np.zeros(4)}, 1)
    assert [found["osi"].tolist() for found in meanwhile] == [[1] * 4]
    assert store.findings(1)["osi"].tolist() == [0] * 4


def test_findings_of_another_kind_are_none():
    right = {"column_osi": np.ones(3), "levels": np.arange(2.0), "curves": np.ones((3, 2))}
    assert findings_of(right, "osi", 3) is not None
    wrong = [
        {},
        {"column_osi": np.ones(2)},
        {"column_osi": np.ones((3, 1))},
        {"column_osi": np.array(1.0)},
        {"column_osi": np.ones(3, bool)},
        {"column_osi": np.array(["a"] * 3)},
        {"column_dsi": np.ones(2)},
        {"curves": np.ones((2, 3))},
        {"curves": np.ones((3, 3))},
        {"levels": np.ones((2, 1))},
        {"average": np.ones(3)},
        {"average": np.ones((2, 4, 5))},
    ]
    for change in wrong:
        changed = right | change if change else {"column_dsi": np.ones(3)}
        assert findings_of(changed, "osi", 3) is None


def test_responses_of_another_type_are_refused(tmp_path):
    about = {"experiment": "x", "events": list(range(1000))}
    store = ResponseStore(tmp_path / "x.zarr", about, (2, 3, 4))
    with pytest.raises(ResultsFileError) as raised:
        ResponseStore(store.path, about | {"events": list(range(1, 1001))}, (2, 3, 4))
    assert "events" in str(raised.value)
    assert len(str(raised.value)) < 400
    described = store.path / "done" / "zarr.json"
    described.write_text(described.read_text().replace('"bool"', '"int8"').replace("false", "0"))
    with pytest.raises(ResultsFileError, match="'int8'"):
        ResponseStore(store.path, about, (2, 3, 4))


def test_findings_that_cannot_be_read_or_written_are_named(tmp_path, monkeypatch):
    store = ResponseStore(tmp_path / "x.zarr", {"experiment": "x"}, (2, 3, 4))
    store.keep_findings({"osi": np.ones(4)}, 1)

    def refuse(*_, **__):
        raise PermissionError("read only")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", refuse)
        with pytest.raises(PermissionError):
            store.keep_findings({"osi": np.zeros(4)}, 1)
    assert store.findings(1)["osi"].tolist() == [1] * 4
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(ResultsFileError, match=r"findings cannot be read: .*read only"):
        store.findings(1)


def test_findings_are_not_dropped_though_those_before_cannot_be_removed(tmp_path, monkeypatch):
    store = ResponseStore(tmp_path / "x.zarr", {"experiment": "x"}, (2, 3, 4))
    store.keep_findings({"osi": np.ones(4)}, 1)
    remove = shutil.rmtree

    def refuse(path, ignore_errors=False, **options):
        if Path(path).name != "findings":
            remove(path, ignore_errors, **options)
        elif not ignore_errors:
            raise PermissionError("in use")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        store.keep_findings({"osi": np.full(4, 2.0)}, 1)
        assert store.findings(1)["osi"].tolist() == [2] * 4
        with pytest.raises(PermissionError):
            store.keep_findings({"osi": np.full(4, 3.0)}, 1)
        assert store.findings(1)["osi"].tolist() == [2] * 4
    store.keep_findings({"osi": np.full(4, 3.0)}, 1)
    assert store.findings(1)["osi"].tolist() == [3] * 4
    assert [path.name for path in store.path.glob("*findings*")] == ["findings"]


@pytest.mark.slow
def test_kept_responses_are_read_and_nothing_is_written(run, tmp_path):
    run(name="directions")
    shutil.rmtree(tmp_path / "responses.zarr" / "findings")
    assert run(name="directions", kept_only=True).findings.columns
    assert not (tmp_path / "responses.zarr" / "findings").exists()


class RoundingErrors(EnergyNeurons):
    """Neurons 0 to 3 as `EnergyNeurons`; neuron 1 does not depend on the video."""

    def decode(self, encoded, neurons=None, cancelled=never):
        found = super().decode(encoded, neurons, cancelled)
        noise = 1e-7 * np.random.default_rng(self.asked).standard_normal(len(found.responses))
        found.responses[:, neurons % 4 == 1] = (0.4 + noise)[:, None]
        return found


@pytest.mark.parametrize("name", ["directions", "contrast", "fields"])
def test_a_neuron_whose_responses_do_not_vary_has_no_result(session, name):
    model = RoundingErrors(reads_places=name == "fields")
    found = run_experiment(name, model, session, FOUR, repeats=1)
    assert found.varies.tolist() == [True, False, True, True]
    for column, values in found.findings.columns.items():
        assert np.isfinite(values).tolist() == found.varies.tolist(), column


def test_without_video_in_model_or_recording_there_is_no_experiment(session):
    with pytest.raises(UnsupportedRequestError, match="'mean' sees no video"):
        run_experiment("directions", om.load_predictor("mean"), session)
    with pytest.raises(UnsupportedRequestError, match="has no video"):
        run_experiment("directions", EnergyNeurons(), replace(session, stimulus=None))


# -- experiments whose videos are spread over the workers of a Dask scheduler --------
COUNTED = EnergyNeurons(reads_places=True)


def counted():
    """The model that workers in this process share, with the number of predictions."""
    return COUNTED


def places():
    return EnergyNeurons(reads_places=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fields", {"grid": (3, 5)}),
        ("size", {"n_directions": 1}),
        ("noise", {"duration_s": 3.0, "n_directions": 3}),
    ],
)
def test_workers_find_the_same(name, settings, session, scheduler):
    ask = {"repeats": 2, "seed": 3} | settings
    here = run_experiment(name, places(), session, FOUR, **ask)
    seen = []
    there = run_experiment(
        name,
        places,
        session,
        FOUR,
        scheduler=scheduler,
        job=CallbackJob(lambda *of: seen.append(of[:2])),
        **ask,
    )
    np.testing.assert_allclose(there.responses, here.responses, rtol=0, atol=1e-6)
    n = here.stimulus.n_videos
    assert seen == sorted(set(seen))  # one for each piece that a worker has finished
    assert seen[-1] == (n, n)
    assert there.predictor_id == here.predictor_id


@pytest.mark.slow
def test_finished_videos_are_kept_and_only_missing_ones_are_computed(session, scheduler, tmp_path):
    ask = {"repeats": 1, "results": tmp_path / "responses.zarr"}
    ask |= {"scheduler": scheduler}
    finished = []
    with pytest.raises(StoppedError, match="of 135 videos"):
        run_experiment(
            "fields",
            places,
            session,
            FOUR,
            job=CallbackJob(lambda done, *_: finished.append(done), lambda: bool(finished)),
            **ask,
        )
    before = COUNTED.asked
    found = run_experiment("fields", counted, session, FOUR, **ask)
    assert COUNTED.asked - before == 135 - finished[-1]
    again = run_experiment("fields", counted, session, FOUR, **ask)
    assert COUNTED.asked - before == 135 - finished[-1]
    np.testing.assert_array_equal(again.responses, found.responses)


@pytest.mark.parametrize(
    ("predictor", "error", "message"),
    [
        (EnergyNeurons(), ValueError, "by its name or path"),
        ("mean", UnsupportedRequestError, "sees no video"),
    ],
)
def test_a_refusal_leaves_no_file(predictor, error, message, session, tmp_path):
    path = tmp_path / "responses.zarr"
    ask = {"scheduler": "local:1", "results": path}
    with pytest.raises(error, match=message):
        run_experiment("fields", predictor, session, **ask)
    assert not path.exists()
