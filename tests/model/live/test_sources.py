"""Results of sources in a saved analysis: read again, and told where they are gone."""

import json
from contextlib import closing, contextmanager
from threading import Event, Thread

import pytest

from omnimouse_model.errors import AnalysisFileError
from omnimouse_model.live.analysis_file import read_analysis
from omnimouse_model.live.controller import Controller
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


def test_a_model_that_loads_while_the_sources_close_is_closed_too(session_folder):
    begun, may_end, closed = Event(), Event(), []

    class Slow(ToyPredictor):
        def close(self):
            closed.append(self)

    def load(source, session, device):
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


def test_invalid_names_of_results_are_refused(saved):
    path, _, _ = saved
    facts = json.loads(path.read_text())
    for names in (["../one"], ["a"] * 4, [1], "one"):
        path.write_text(json.dumps(facts | {"sources": names}))
        with pytest.raises(AnalysisFileError, match="sources"):
            read_analysis(path)
