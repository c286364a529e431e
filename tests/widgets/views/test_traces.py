"""Trace rows: scores with their windows, and scale bars."""

from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.display import number_text
from omnimouse_model.evaluation import shard
from omnimouse_model.evaluation import tier_score as tier_scores
from omnimouse_model.evaluation.tier_score import TierScoring
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.live.project.exports import screen_content
from omnimouse_model.masks import VISIBLE
from omnimouse_model.metrics.time_blocks import Estimate
from omnimouse_widgets.views.record import record
from omnimouse_widgets.views.scores import distribution_of
from omnimouse_widgets.views.text import tier_score
from omnimouse_widgets.views.text.tier_score import (
    NO_TARGET,
    SCORING,
    guide_text,
    no_score_text,
    shown_tier_score_lines,
    tier_score_tip,
)
from omnimouse_widgets.views.traces import Shown, TracesView, evidence_of, trace_rows
from tests.predictors import NoisyPredictor, open_controller


def plain_rows(controller):
    """Return the rows with predictions as they are."""
    controller.state.as_large = False
    rows = trace_rows(Shown.of(controller))
    controller.state.as_large = True
    return rows


@pytest.fixture
def controller(session):
    """Controller with a prediction that is not exact, and selected targets."""
    with open_controller(session, NoisyPredictor("noisy")) as made:
        made.selection.select([7, 3])
        made.state.as_large = True
        yield made


def scored_parts(controller):
    return controller.state, controller.results, controller.colouring


def test_scores_say_whether_they_are_of_the_window_or_of_a_tier(controller, session):
    results, mask = controller.results, controller.state.mask
    here = results.scores[7]
    rows = plain_rows(controller)
    assert rows[0].label == "unit 7 · scoring…"
    assert rows[0].short_label == "7 · scoring…"
    controller.requests.score_tier(False)
    rows = plain_rows(controller)
    assert rows[0].label.endswith(f"r = {number_text(here)} here")
    assert results.shown_scores is results.scores
    assert record(TracesView.of(controller))["legend"].signs[-1][::2] == ("r:", "paused")
    scoring = TierScoring(NoisyPredictor("noisy"), session, mask)
    *_, found = scoring.refine(lambda: False)
    results.tier_score = found
    value = found.score.per_neuron[list(found.score.neurons).index(7)]
    label = plain_rows(controller)[0].label
    assert label.endswith(f"{number_text(value)} (here {number_text(here)})")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(results), "is_population_old", True)
        label = plain_rows(controller)[0].label
        assert label.endswith(f"{number_text(value)} (here {number_text(here)}, older)")
    assert results.shown_scores[7] == value
    assert str(found.n_total) in evidence_of(controller.results)
    # The histogram as well; only pinned conditions have scores of the window alone.
    parts = scored_parts(controller)
    assert str(found.n_total) in distribution_of(*parts).evidence
    assert str(found.n_total) not in distribution_of(*parts, against="A").evidence


def test_a_short_label_keeps_why_a_neuron_has_no_score(controller):
    controller.editor.paint([7], VISIBLE)
    [seen, _] = plain_rows(controller)
    assert seen.label == f"unit 7 · {NO_TARGET}"
    assert seen.short_label == "7 · no target"


def test_a_neuron_is_called_the_best_once_the_scores_say_so(controller, session):
    controller.state.first_ranks = {7: "best"}
    assert plain_rows(controller)[0].label == "unit 7 · best by stored scores · scoring…"
    assert plain_rows(controller)[0].short_label == "7 · best (stored) · scoring…"
    scoring = TierScoring(NoisyPredictor("noisy"), session, controller.state.mask)
    *_, controller.results.tier_score = scoring.refine(lambda: False)
    assert plain_rows(controller)[0].label.startswith("unit 7 · best · r = ")


def test_a_target_that_does_not_vary_is_not_being_scored(controller, session):
    results, mask = controller.results, controller.state.mask
    *_, found = TierScoring(NoisyPredictor("noisy"), session, mask).refine(lambda: False)
    values = found.score.per_neuron.copy()
    values[list(found.score.neurons).index(7)] = np.nan
    score = replace(found.score, per_neuron=values)
    results.tier_score = replace(found, score=score)
    label = plain_rows(controller)[0].label
    assert label.endswith("· recording or prediction does not vary")
    # The windows that follow may vary.
    results.tier_score = replace(found, score=score, n_windows=found.n_total - 1)
    assert SCORING in plain_rows(controller)[0].label
    counts = np.where(score.neurons == 7, 0, score.counts)
    results.tier_score = replace(found, score=replace(score, counts=counts))
    assert plain_rows(controller)[0].label.endswith("· none of its samples is scored")


def test_a_score_over_a_tier_is_computed_where_there_is_one(controller):
    assert no_score_text(controller.state, controller.results) == SCORING
    controller.requests.score_tier(False)
    assert no_score_text(controller.state, controller.results) == "paused"
    controller.requests.score_tier(True)
    controller.requests.cancel()
    assert no_score_text(controller.state, controller.results) == "stopped"
    controller.requests.send_again()
    controller.editor.apply_preset("nothing")
    assert "target" in no_score_text(controller.state, controller.results)
    label = plain_rows(controller)[0].label
    assert label.endswith(NO_TARGET)
    assert "r =" not in label


def test_scores_of_pins_say_that_they_are_of_the_samples_on_screen(controller, session):
    controller.pins.pin("same")
    answer = controller.pins.predictions.windows[0]
    here = number_text(answer.score(7))
    assert [m[:2] for m in plain_rows(controller)[0].marks] == [("A", here)]
    scoring = TierScoring(NoisyPredictor("noisy"), session, controller.state.mask)
    *_, controller.results.tier_score = scoring.refine(lambda: False)
    marks = [mark[:2] for mark in plain_rows(controller)[0].marks]
    assert marks == [("pins", "here"), ("A", here)]
    # Also beside a neuron without a score of its own: the legend names the tier.
    controller.editor.paint([7], VISIBLE)
    scoring = TierScoring(NoisyPredictor("noisy"), session, controller.state.mask)
    *_, controller.results.tier_score = scoring.refine(lambda: False)
    (row,) = plain_rows(controller)[:1]
    assert NO_TARGET in row.label
    assert [mark[:2] for mark in row.marks][:1] == [("pins", "here")]


def test_a_baseline_is_compared_over_the_same_windows(controller, session):
    def label():
        return plain_rows(controller)[0].label

    mask = controller.state.mask
    controller.model.choose_baseline("mean")
    baseline, results = controller.baseline, controller.results
    scorings = [
        TierScoring(made, session, mask)
        for made in (NoisyPredictor("noisy"), load_predictor("linear-gaussian"))
    ]
    *_, own = scorings[0].refine(lambda: False)
    *_, other = scorings[1].refine(lambda: False)
    value = other.score.per_neuron[list(other.score.neurons).index(7)]
    baseline.tier_score = other
    assert "┅ no score" in label()  # none of the model: that of this window
    results.tier_score = replace(own, n_windows=own.n_windows - 1)
    assert "┅ …" in label()
    results.tier_score = own
    assert f"┅ {number_text(value)}" in label()


def test_a_score_without_windows_of_the_train_tier_is_called_pooled(
    controller, session, monkeypatch
):
    results, mask = controller.results, controller.state.mask
    for word in ("", "pooled"):
        if word:
            monkeypatch.setattr(shard, "centring_starts", lambda *_: np.zeros(0))
        scoring = TierScoring(NoisyPredictor("noisy"), session, mask)
        *_, found = scoring.refine(lambda: False)
        results.tier_score = found
        first = shown_tier_score_lines(
            controller.state, controller.results, controller.baseline, controller.colouring
        )[0]
        assert first.startswith(f"{word} r = ".strip())
        assert ("do not compare" in tier_score_tip(found)) == bool(word)
        assert evidence_of(results).endswith(word or "windows")
        content = screen_content(controller.state, results, controller.colouring)
        means = "these windows" if word else "the train part of the recording"
        assert f"about the means of {means}," in content.shown_definition
        assert distribution_of(*scored_parts(controller)).evidence.endswith(word or "windows")


def test_a_gain_over_a_baseline_that_is_still_at_a_sample_of_the_targets_says_so(
    controller, session, monkeypatch
):
    results, baseline = controller.results, controller.baseline
    controller.state.baseline_name = "linear-gaussian"
    monkeypatch.setattr(tier_scores, "SAMPLE", 5)
    scored = [
        [*TierScoring(made, session, controller.state.mask).refine(lambda: False)]
        for made in (NoisyPredictor("noisy"), load_predictor("linear-gaussian"))
    ]

    def told():
        args = controller.state, results, baseline, controller.colouring
        return shown_tier_score_lines(*args)[2], guide_text(*args)

    results.tier_score, baseline.tier_score = scored[0][-1], scored[1][-2]
    gain, guide = told()
    assert gain.endswith(" windows, sample of targets)")
    # Its own score on all targets is not the difference of the two.
    assert "linear-gaussian" not in guide
    for place in (-2, -1):
        results.tier_score, baseline.tier_score = scored[0][place], scored[1][-1]
        gain, guide = told()
        assert gain.endswith(" over linear-gaussian")
        assert "linear-gaussian" in guide
    baseline.tier_score = results.tier_score
    nothing = Estimate(0.0, 0.0, 0.0, 0.0, 8), 8
    monkeypatch.setattr(tier_scores.TierScore, "gain", lambda *_: nothing)
    assert told()[0].startswith("no difference from linear-gaussian")


def test_a_model_that_is_being_fitted_is_not_told_to_be_unloaded(controller, monkeypatch):
    results = controller.results
    args = controller.state, results, controller.baseline, controller.colouring
    results.needs, controller.state.predictor_name = None, "linear-gaussian"
    assert guide_text(*args).endswith("is not loaded yet.")
    monkeypatch.setattr(type(results), "is_predicting", True)
    assert guide_text(*args).endswith("is being fitted to this recording.")


def test_the_best_of_the_stimulus_alone_is_no_bound_on_a_model_that_sees_more(
    controller, session, monkeypatch
):
    *_, found = TierScoring(NoisyPredictor("noisy"), session, controller.state.mask).refine(
        lambda: False
    )
    controller.results.tier_score = found
    monkeypatch.setattr(tier_score, "stimulus_ceiling", lambda *_: (0.29, 4, 5))
    windows = shown_tier_score_lines(
        controller.state, controller.results, controller.baseline, controller.colouring
    )[1]
    assert windows.endswith("windows · stimulus alone: at most 0.29")


def test_the_scale_bar_of_a_scaled_prediction_has_its_own_unit(controller):
    results = controller.results
    # A prediction of a tenth of the amplitude has the same shape.
    small = replace(results.selected, responses=results.selected.responses / 10)
    results.selected = small
    row = trace_rows(Shown.of(controller))[0]
    raw = plain_rows(controller)[0]
    is_known = np.isfinite(raw.predicted)
    assert np.std(row.predicted[is_known]) == pytest.approx(np.std(row.truth[is_known]), rel=1e-5)
    factor = np.std(raw.truth[is_known]) / np.std(raw.predicted[is_known])
    sign, size, unit = row.predicted_bar_text.split()
    assert (sign, unit, "┃" in row.label) == ("┃", "s.d.", False)
    size = float(size)
    assert row.predicted_bar == pytest.approx(size * factor, rel=1e-5)
    assert 0 < row.predicted_bar <= 1.5 * row.bar
    assert raw.predicted_bar == 0


def test_a_numerically_constant_prediction_is_drawn_flat(controller):
    results = controller.results
    noise = np.random.default_rng(0).normal(size=results.selected.responses.shape)
    constant = (2 + 1e-7 * noise).astype(np.float32)
    results.selected = replace(results.selected, responses=constant)
    row = trace_rows(Shown.of(controller))[0]
    is_known = np.isfinite(row.predicted)
    np.testing.assert_allclose(row.predicted[is_known], 2, atol=1e-5)
    assert (row.predicted_bar, row.predicted_bar_text) == (0, "")


def test_a_band_is_drawn_where_predictions_have_the_scale_of_the_recording(controller):
    results, rates = controller.results, controller.results.selected.responses
    results.selected = replace(results.selected, band=np.stack([rates - 1, rates + 2]))
    raw = plain_rows(controller)[0]
    np.testing.assert_allclose(
        raw.band - raw.predicted, [[-1] * 60, [2] * 60] + 0 * raw.predicted, rtol=1e-4
    )
    assert trace_rows(Shown.of(controller))[0].band is None
