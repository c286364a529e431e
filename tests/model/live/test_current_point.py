"""The current mask as a point of the context curves."""

from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.analysis.sweep.contexts import Context, context_mask, held_out_draw
from omnimouse_model.analysis.sweep.live_sweep import live_draw
from omnimouse_model.evaluation.tier_score import Sample
from omnimouse_model.live.current_point import WINDOW_SWEEP, current_point
from omnimouse_model.masks import TARGET, VISIBLE, Mask
from omnimouse_widgets.views.context.view import ContextView, live_lines, live_problem
from tests.predictors import NoisyPredictor, open_controller

SELECTED = [3, 11, 30]


@pytest.fixture
def controller(session):
    with open_controller(session, NoisyPredictor()) as made:
        made.selection.select(SELECTED)
        made.requests.show_sweep()
        yield made


@pytest.mark.parametrize(
    "context", [Context(16), Context(16, video=False), Context(0, 25), Context(0, 10)]
)
def test_the_mask_of_a_sweep_point_is_drawn_at_that_point(controller, context):
    controller.editor.set_mask(context_mask(context, live_draw(40, np.array(SELECTED))))
    mark = current_point(controller.state, controller.results)
    sweep = controller.results.sweep
    [row] = [r for r in sweep.rows if r.context == context and r.seed == 0]
    assert mark.score == pytest.approx(row.score, abs=1e-5)
    assert mark.n_scored == len(SELECTED)
    assert mark.context.neurons == context.neurons
    assert mark.context.history_samples == context.history_samples


@pytest.mark.slow
def test_beside_curves_over_the_tier_it_is_over_the_tier(controller, session):
    controller.requests.finish_scores()
    curves = controller.results.tier_curves
    row = curves.sweep.rows[1]
    draw = held_out_draw(session, 16, row.seed)
    controller.editor.set_mask(context_mask(row.context, draw))
    controller.requests.finish_scores()
    mark = current_point(controller.state, controller.results)
    assert mark.score == row.score
    assert (mark.n_scored, mark.n_windows) == (row.n_neurons, curves.n_total)
    assert mark.is_comparable
    # Curves that still grow are of fewer windows.
    curves = controller.results.tier_curves
    controller.results.tier_curves = replace(curves, n_windows=curves.n_total - 1)
    assert not current_point(controller.state, controller.results).is_comparable
    # Nor are curves of all targets those of the sample that is scored first.
    controller.results.tier_curves = curves
    found = controller.results.tier_score
    controller.results.tier_score = replace(found, sample=Sample(3000, 0))
    mark = current_point(controller.state, controller.results)
    assert not mark.is_comparable
    assert mark.score_text.endswith(f"over {found.n_windows} windows, sample of targets")


def test_beside_curves_of_held_out_neurons_all_targets_have_no_star(controller):
    controller.editor.paint(range(40), TARGET)
    controller.requests.finish_scores()
    assert controller.results.tier_curves.is_shown
    mark = current_point(controller.state, controller.results)
    assert (mark.n_scored, mark.is_comparable) == (40, False)
    view = ContextView.of(controller)
    assert view.mark.startswith("This mask: ")


def test_beside_curves_of_the_window_it_has_the_score_of_the_bar(controller):
    """One mask has one score; its star is open, as the curves ask something else."""
    controller.requests.finish_scores()
    controller.results.tier_curves = None
    mark = current_point(controller.state, controller.results)
    score = controller.results.tier_score
    assert (mark.score, mark.n_windows) == (score.estimate.value, score.n_windows)
    assert not mark.is_comparable
    assert f"over {score.n_windows} windows" in mark.score_text


def test_inputs_that_the_predictor_does_not_read_have_no_place_in_its_text(session):
    with open_controller(session, "last") as controller:
        mark = current_point(controller.state, controller.results)
    assert mark.context.video
    assert mark.text.endswith(" before · nothing")


@pytest.mark.slow
def test_curves_over_the_tier_replace_those_of_the_window(controller):
    def names():
        return [sweep.name for sweep in ContextView.of(controller).drawn()]

    assert controller.results.sweep.is_complete
    assert names() == [WINDOW_SWEEP]
    assert "this window only" in live_lines(controller.state, controller.results)[1]
    controller.requests.finish_scores()
    known = np.isfinite(controller.results.tier_curves.per_neuron[0])
    held_out, visible = np.flatnonzero(known), np.flatnonzero(~known)
    number = controller.results.newest_request
    controller.selection.select([int(held_out[0]), int(visible[0])])
    assert controller.results.newest_request == number  # its curves are known
    assert names() == ["test part", "1 of 2 selected neurons, the targets"]
    evidence, asked = live_lines(controller.state, controller.results)
    assert evidence.startswith("Test part, ")
    assert evidence.endswith(" windows")
    assert "this window" not in asked
    for selection in ([int(visible[0])], []):
        controller.selection.select(selection)
        assert names() == ["test part"]
        evidence = live_lines(controller.state, controller.results)[0]
        assert evidence.endswith(" · no target is selected") == bool(selection)
        assert live_problem(controller.state, controller.results, is_live=True) == ""
    controller.selection.select([int(held_out[0])])
    controller.editor.paint([int(held_out[1])], VISIBLE)
    # Another question: its curves begin with those of the window.
    assert controller.results.tier_curves is None
    assert names() == [WINDOW_SWEEP]
    mark = current_point(controller.state, controller.results)
    assert (mark.n_windows, mark.is_comparable) == (1, True)


def test_one_target_of_the_curves_is_told_in_the_singular(controller):
    controller.editor.paint(range(40), VISIBLE)
    controller.editor.paint([3], TARGET)
    controller.requests.finish_scores()
    _, asked = live_lines(controller.state, controller.results)
    assert asked.startswith("1 target neuron from visible neurons")


def test_without_selected_targets_the_score_is_of_all_targets(controller, session):
    controller.selection.select([3, 11])
    controller.editor.set_mask(Mask.nothing(session).show(range(12)).ask(range(30, 40)))
    mark = current_point(controller.state, controller.results)
    score = controller.results.scores[30:40].mean()
    assert mark.score == pytest.approx(score, abs=1e-5)
    assert (mark.n_scored, mark.is_comparable) == (10, False)
