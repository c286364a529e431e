"""Stored scores choose the first neurons and the first window."""

import json
import threading
from contextlib import closing
from dataclasses import asdict, replace

import numpy as np
import pytest

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.first_view import first_view
from omnimouse_model.live.mask.presets import mask_for
from omnimouse_model.live.session_loader import with_model
from omnimouse_model.live.state_store import FirstScores, StateStore, read_scores
from tests.predictors import NoisyPredictor


def test_the_first_view_has_the_best_median_and_worst_neuron(session):
    start_s = float(session.window_starts(tier="test")[-1])
    mask_id = mask_for("video_behavior", session, ()).mask_id
    place = session.id, session.n_neurons, "test", start_s
    stored = FirstScores(*place, 5, 2, 7, "mean", mask_id)
    views = [
        first_view(session, preset, scores_of=lambda _: stored)
        for preset in ("video_behavior", "responses_from_behavior")
    ]
    assert views[0].window.start_s == pytest.approx(start_s)
    ranks = {5: "best", 2: "median", 7: "worst"}
    with closing(Controller(synchronous=True)) as controller:
        for view, name, shown in (
            (views[0], "mean", ranks),
            (views[0], "ridge", {}),
            (views[1], "mean", {}),
            (replace(views[0], mask=views[1].mask), "mean", {}),  # as reopened
        ):
            controller.model.choose(name)
            controller.loader.show(view)
            assert controller.state.selection == (5, 2, 7)
            assert controller.project.messages == view.messages
            assert controller.project.differences == ()
            assert controller.state.first_ranks == shown


def test_another_question_has_no_first_ranks(session):
    ranks = {5: "best", 2: "median", 7: "worst"}
    with closing(Controller(synchronous=True)) as controller:
        controller.model.choose("mean")
        controller.loader.open_now(session)
        controller.state.first_ranks = ranks
        controller.model.choose("mean")
        controller.editor.apply_preset(controller.state.preset)
        assert controller.state.first_ranks == ranks
        controller.editor.apply_preset("video_only")
        assert controller.state.first_ranks == {}
        controller.state.first_ranks = ranks
        controller.model.choose("ridge")
        assert controller.state.first_ranks == {}


@pytest.mark.slow
def test_complete_scores_of_a_tier_are_stored_for_the_next_time(session, tmp_path):
    file, complete = tmp_path / "live.json", threading.Event()
    controller = Controller(session_file=file)
    controller.loader.open_now(session)
    active, results = controller.state.selection, controller.results
    results.changed.connect(
        lambda: results.tier_score and results.tier_score.is_complete and complete.set()
    )
    controller.model.choose(NoisyPredictor("noisy"))
    assert complete.wait(60)
    found = results.tier_score
    assert controller.state.selection == active
    controller.close()
    again = Controller(synchronous=True, session_file=file)
    again.loader.open_now(session)
    assert again.state.first_ranks == {}  # another model
    values = found.score.per_neuron
    order = found.score.neurons[np.argsort(-values, kind="stable")]
    assert again.state.selection == (order[0], order[len(order) // 2], order[-1])
    middle = np.median(list(found.window_scores.values()))
    score = found.window_scores[again.state.window.start_s]
    n_below = sum(value < middle for value in found.window_scores.values())
    assert sum(v < score for v in found.window_scores.values()) <= n_below
    again.close()


@pytest.mark.parametrize(
    "change",
    [
        {"session": "other"},
        {"best": 10_000},
        {"start_s": "x"},
        {"more": 1},
        {"predictor": None},
        {"mask_id": 1},
    ],
)
def test_damaged_or_foreign_scores_are_ignored(session, tmp_path, change):
    scores = FirstScores(session.id, session.n_neurons, "test", 1.0, 1, 2, 3)
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(asdict(scores)), encoding="utf-8")
    assert read_scores(path, session) == scores
    path.write_text(json.dumps(asdict(scores) | change), encoding="utf-8")
    assert read_scores(path, session) is None


def test_a_sample_brings_the_model_that_knows_it_in_place_of_another(session):
    view = replace(first_view(session, "video_behavior"), predictor="demo")
    with closing(Controller(synchronous=True)) as controller:
        controller.model.choose("mean")
        controller.loader.show(view)
        assert controller.state.predictor_name == "mean"
        controller.model.choose("ndt-demo")
        controller.loader.show(view)
        assert controller.state.predictor_name == "demo"
    assert with_model("spikes").restore(view).predictor == "ndt-demo"
    assert with_model("unseen").restore(view).predictor == ""


def test_shipped_scores_are_not_replaced_by_stored_ones(session, tmp_path, monkeypatch):
    shipped = FirstScores(session.id, session.n_neurons, "test", 1.0, 1, 2, 3)
    store = StateStore(tmp_path / "live.json")
    path = store._scores_path(session)
    path.parent.mkdir()
    path.write_text(json.dumps(asdict(replace(shipped, best=4))), encoding="utf-8")
    assert store.scores_of(session).best == 4
    where = "omnimouse_model.live.state_store.shipped_scores"
    monkeypatch.setattr(where, lambda _: shipped)
    assert store.scores_of(session).best == 1
