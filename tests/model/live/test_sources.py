"""Results of sources in a saved analysis: read again, and told where they are gone."""

import json
from contextlib import closing, contextmanager
from dataclasses import replace
from threading import Event, Thread

import pytest

from omnimouse_model.evaluation.stored_fits import LINEAR_GAUSSIAN
from omnimouse_model.live.analysis_file import read_analysis
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import VISIBLE
from omnimouse_model.masks.selection import NeuronGroup
from tests.predictors import open_controller
from tests.toy_predictors import ToyPredictor


@pytest.fixture
def saved(session_folder, tmp_path):
    """An analysis with two results, their folder, and the results."""
    path, folder = tmp_path / "a.omnimouse.json", tmp_path / "kept"
    with open_controller(session_folder, "mean") as controller:
        sources = controller.sources
        sources.folder = folder
        controller.selection.select([3])
        for question in ("informants", "sources"):
            sources.set(question=question, windows=8)
            sources.start()
            assert sources.error is None
        controller.project.save(path)
        return path, folder, dict(sources.found)


@contextmanager
def reopened(path, folder):
    with closing(Controller(synchronous=True)) as controller:
        controller.sources.folder = folder
        controller.project.open(path)
        yield controller


def test_results_are_read_again_without_a_prediction(saved):
    path, folder, found = saved
    assert len(json.loads(path.read_text())["sources"]) == 2
    with reopened(path, folder) as controller:
        sources = controller.sources
        assert sources.error is None
        assert {name: one.table() for name, one in sources.found.items()} == {
            name: one.table() for name, one in found.items()
        }
        assert sources.question == "sources"
        assert sources.kept == read_analysis(path).sources


def test_results_that_are_gone_are_named_and_stay_in_the_file(saved):
    path, folder, _ = saved
    next(folder.glob("*.informants.jsonl")).unlink()
    with reopened(path, folder) as controller:
        assert list(controller.sources.found) == ["sources"]
        assert "Results of informants are no longer kept" in str(controller.sources.error)
        controller.project.save(path)
        assert len(read_analysis(path).sources) == 2


def test_named_groups_are_saved_with_the_analysis_though_nothing_was_asked(saved):
    path, folder, _ = saved
    with reopened(path, folder) as controller:
        assert not controller.state.groups
        controller.editor.paint([5, 6], VISIBLE)
        controller.sources.name_group("mine")
        assert controller.project.is_changed
        controller.project.save(path)
    assert json.loads(path.read_text())["groups"][0]["name"] == "mine"
    with reopened(path, folder) as controller:
        (group,) = controller.state.groups
        shown = controller.state.mask.visible.any(axis=0)
        assert group == NeuronGroup.of(controller.state.session, "mine", shown)
        controller.sources.set(targets="group mine")
        assert "om.NeuronGroup('mine'" in controller.sources.as_python()
        controller.loader.open_now(controller.state.session)
        assert not controller.state.groups
        assert controller.sources.targets == "selected"


def test_a_group_of_neurons_that_the_recording_lacks_is_named_and_left_out(saved):
    path, folder, _ = saved
    facts = json.loads(path.read_text())
    groups = [{"name": "gone", "ids": [5, 10**6]}, {"name": "here", "ids": [5]}]
    path.write_text(json.dumps(facts | {"groups": groups}))
    with reopened(path, folder) as controller:
        assert [one.name for one in controller.state.groups] == ["here"]
        assert "“gone”" in " ".join(controller.project.messages)


@pytest.mark.parametrize("fits", [0, 1, LINEAR_GAUSSIAN])
def test_groups_of_older_analyses_come_back_from_kept_results(saved, fits):
    """Also from those of an earlier fit, which are named and not shown."""
    path, folder, _ = saved
    with reopened(path, folder) as controller:
        controller.editor.paint([5, 6], VISIBLE)
        controller.sources.name_group("mine")
        controller.sources.start()
        named = controller.state.groups
        controller.project.save(path)
    facts = json.loads(path.read_text())
    assert facts.pop("groups")
    path.write_text(json.dumps(facts))
    kept = folder / facts["sources"][-1]
    header, *rows = kept.read_text().splitlines()
    header = json.loads(header)
    assert header["definition"].pop("fits") == LINEAR_GAUSSIAN
    header["definition"] |= {"fits": fits} if fits else {}
    kept.write_text("\n".join([json.dumps(header), *rows, ""]))
    with reopened(path, folder) as controller:
        assert controller.state.groups == named
        assert not controller.project.is_changed
        assert ("sources" in controller.sources.found) is (fits == LINEAR_GAUSSIAN)
        if fits != LINEAR_GAUSSIAN:
            assert "sources are of an earlier fit of linear-gaussian" in str(
                controller.sources.error
            )
            controller.sources.start()
            assert controller.sources.found["sources"].fits == LINEAR_GAUSSIAN


def test_groups_that_were_removed_stay_removed(saved):
    path, folder, _ = saved
    with reopened(path, folder) as controller:
        controller.editor.paint([5, 6], VISIBLE)
        controller.sources.name_group("mine")
        controller.sources.start()
        controller.project.save(path)
        controller.sources.forget_group("mine")
        assert controller.project.is_changed
        controller.project.save(path)
    with reopened(path, folder) as controller:
        assert "sources" in controller.sources.found
        assert not controller.state.groups
        assert not controller.project.is_changed


def test_another_recording_gets_no_results(saved):
    path, folder, _ = saved
    facts = json.loads(path.read_text())
    facts["recording"]["fingerprint"] = "another"
    path.write_text(json.dumps(facts))
    with reopened(path, folder) as controller:
        assert not controller.sources.found


def test_results_of_a_model_that_is_not_chosen_are_named_and_stay_in_the_file(saved):
    path, folder, _ = saved
    kept = next(folder.glob("*.sources.jsonl"))
    kept.write_text(kept.read_text().replace('"linear-gaussian"', '"mean"'))
    with reopened(path, folder) as controller:
        assert controller.sources.found["sources"].predictor == "mean"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"predictor": "a model elsewhere"}))
    with reopened(path, folder) as controller:
        assert list(controller.sources.found) == ["informants"]
        assert "Results of sources are of another model" in str(controller.sources.error)
        controller.project.save(path)
        assert len(read_analysis(path).sources) == 2


def test_results_from_before_a_model_had_a_version_of_fits_leave_when_it_is_known(saved):
    path, folder, _ = saved
    kept = next(folder.glob("*.sources.jsonl"))
    header, *rows = kept.read_text().splitlines()
    header = json.loads(header)
    del header["definition"]["fits"]
    header["definition"]["predictor"] = "mean"
    kept.write_text("\n".join([json.dumps(header), *rows, ""]))
    with reopened(path, folder) as controller:
        assert len(controller.sources.found) == 2
        results = controller.sources._client.results
        results.needs = replace(results.needs, fits=LINEAR_GAUSSIAN)
        assert list(controller.sources.found) == ["informants"]


def test_a_model_that_loads_while_the_sources_close_is_closed_too(session_folder):
    begun, may_end, closed = Event(), Event(), []

    class Slow(ToyPredictor):
        def close(self):
            closed.append(self)

    def load(source, device):
        begun.set()
        may_end.wait(10)
        return Slow()

    with closing(Controller(synchronous=True)) as controller:
        controller.loader.open_now(session_folder)
        controller.sources._load = load
        thread = Thread(target=controller.sources.warm_up)
        thread.start()
        assert begun.wait(10)
        controller.sources.close(timeout_s=0.01)
        may_end.set()
        thread.join(10)
        assert len(closed) == 1
