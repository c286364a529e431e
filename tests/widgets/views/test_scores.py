"""The panel Scores: bars and points of the scores, and the neurons that they select."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.display import number_text
from omnimouse_model.evaluation.tier_score import TierScoring
from omnimouse_model.live.neurons.neuron_info import NeuronInfo, NeuronProperties
from omnimouse_model.live.results import ScoresOnScreen
from omnimouse_model.live.state import COMPARED
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import Cancelled, never
from omnimouse_widgets.views import record
from omnimouse_widgets.views.scores import BIN_WIDTH, ScoresView, spread
from omnimouse_widgets.views.text.tier_score import shown_score_tip, tier_score_tip
from tests.model.live.test_laboratory import with_areas
from tests.predictors import EchoPredictor, open_controller


class GradedPredictor(EchoPredictor):
    """The further on a neuron, the worse it is predicted; and without behaviour."""

    def encode(self, window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        found = EchoPredictor.encode(self, window, mask)
        n_samples, n = window.responses.shape
        noise = np.random.default_rng(3).normal(size=(n_samples, n))
        noise *= np.linspace(0.0, 3.0, n) * (1 if mask.behavior == "visible" else 2)
        return Encoded(window, mask, found.state + noise.astype(np.float32))


@pytest.fixture
def controller(controller):
    controller.model.choose(GradedPredictor())
    controller.editor.apply_preset("video_behavior")
    controller.requests.score_tier(False)
    return controller


@pytest.fixture
def view(controller):
    made = ScoresView.of(controller)
    made.blocks()[0].follow(True)
    return made


def select(view, name, outline, is_added):
    record.select(record.record(view)[name], outline, is_added)


def corners(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def test_bars_and_points_are_the_scores_on_screen(view, controller):
    scores = controller.results.shown_scores
    known = np.flatnonzero(np.isfinite(scores))
    items = record.record(view)
    (points,) = items["scatter"].lines
    np.testing.assert_allclose(points.y, scores[known], rtol=1e-6)
    means = controller.state.session.units.mean
    np.testing.assert_allclose(points.x, means[known], rtol=1e-6)
    bars = items["histogram"].lines[0]
    np.testing.assert_array_equal(bars.y, np.histogram(scores[known], view.spread.edges)[0])
    assert bars.bar == pytest.approx(0.92 * BIN_WIDTH)
    assert f"{len(known)} neurons" in items["summary"].text
    assert number_text(scores[known].mean()) in items["summary"].text
    assert items["summary"].tip.endswith(tier_score_tip(controller.results.tier_score))
    # Those of one window do not stand in for the first score over a tier.
    controller.requests.score_tier(True)
    items = record.record(view)
    assert items["histogram"].text == "scoring…"
    assert not items["summary"].text.strip()  # the reason stands once
    assert not len(view.spread.neurons)


def test_a_mask_that_only_decodes_behaviour_scores_no_neuron(view, controller):
    controller.requests.score_tier(True)
    controller.editor.apply_preset("all_response_only")
    assert "paint targets" in record.record(view)["histogram"].text


def test_presses_and_drags_select_neurons(view, controller):
    (points,) = record.record(view)["scatter"].lines
    chosen = view.spread.neurons
    for at, is_added in ((5, False), (9, True)):
        place = np.array([[points.x[at], points.y[at]]])
        select(view, "scatter", place, is_added)
    assert controller.state.selection == (chosen[5], chosen[9])
    low = float(np.median(points.y))
    box = corners(points.x.min() - 1, low, points.x.max() + 1, 2.0)
    select(view, "scatter", box, False)
    scores = controller.results.shown_scores
    found = scores[list(controller.state.selection)]
    assert len(found) == (points.y > low).sum()
    assert np.all(np.diff(found) >= 0)
    marked = record.record(view)["selected points"]
    assert sorted(marked.y) == pytest.approx(sorted(found))
    select(view, "scatter", np.array([[points.x.min() - 9.0, -3.0]]), False)
    assert controller.state.selection == ()


def test_bars_select_their_neurons(view, controller):
    found = view.spread
    first, second = np.flatnonzero(found.counts)[:2]
    select(view, "histogram", np.array([[found.places[first], 0.5]]), False)
    assert list(controller.state.selection) == found.in_bar(int(first)).tolist()
    record.press(view, "higher_bar")
    assert list(controller.state.selection) == found.in_bar(int(second)).tolist()
    items = record.record(view)
    assert items["bar"].text == found.bar_text(int(second))
    assert items["selected bars"].y[second] == found.counts[second]
    outline = corners(found.places[first], 0.0, found.places[second], 1.0)
    select(view, "histogram", outline, False)
    assert len(controller.state.selection) == found.counts[first : second + 1].sum()


def test_ranks_and_axes_are_chosen(view, controller):
    record.press(view, "highest")
    scores = controller.results.shown_scores
    best = np.argsort(scores, kind="stable")[-16:]
    assert set(controller.state.selection) == set(best.tolist())
    record.choose(view, "tool", "lasso")
    assert record.record(view)["histogram"].outline == "lasso"
    name = record.record(view)["against"].options[-1][0]
    record.choose(view, "against", name)
    view.blocks()[0].follow(True)  # as a front end does after each change
    assert view.against == name


def test_an_area_says_how_many_neurons_of_it_are_drawn(session):
    with open_controller(with_areas(session), GradedPredictor()) as controller:
        controller.editor.apply_preset("video_behavior")
        controller.requests.score_tier(False)
        view = ScoresView.of(controller)
        view.set_against("area")
        scatter = record.record(view)["scatter"]
        areas = controller.state.session.units.area[view.spread.neurons]
    names = [f"{name} ({(areas == name).sum()})" for name in sorted({*areas.tolist()} - {""})]
    assert len(names) > 1
    assert [text for _, text in scatter.ticks] == names
    assert scatter.across == "Area (neurons)"


def test_a_score_is_drawn_against_that_of_the_baseline_over_the_same_windows(view, controller):
    state, baseline = controller.state, controller.baseline
    state.baseline_name, own = "ridge", controller.results.neuron_scores
    baseline.neuron_scores = ScoresOnScreen(own.values - 0.1, tier=own.tier, evidence=own.evidence)
    view.set_against("baseline")
    _, points = record.record(view)["scatter"].lines  # the first: equal scores
    np.testing.assert_allclose(points.x, points.y - 0.1, rtol=1e-6)
    baseline.neuron_scores = ScoresOnScreen(own.values - 0.1, tier="test", evidence="over 4 of 9")
    assert "over the same windows follow" in record.record(view)["scatter"].text


def test_a_predictor_is_not_drawn_against_itself(view, controller):
    view.set_against("baseline")
    view.set_predictor("baseline")
    assert (view.predictor, view.against) == ("baseline", "model")
    assert controller.state.compared == ("baseline", "model")
    view.set_predictor("model")
    view.set_against("mean")
    view.set_predictor("baseline")
    assert controller.state.compared == ("baseline", "model")


@pytest.fixture
def pinned(view, controller):
    """A and B are pinned, with and without behaviour; B is drawn against A."""
    for preset in ("video_behavior", "video_only"):
        controller.editor.apply_preset(preset)
        controller.pins.pin()
    view.set_predictor("B")
    view.set_against("A")
    return controller.pins.predictions.windows


def test_the_name_of_a_pin_that_is_drawn_against_has_its_letter_where_it_is_cut(view, pinned):
    labels = {name: label for name, label, _ in record.record(view)["against"].options}
    assert labels["A"].split(" · ")[:2] == ["x: Score of A", "Video + behaviour"]
    # No title stands beside the boxes.
    shown = {name: label for name, label, _ in record.record(view)["predictor"].options}
    assert shown["model"] == "Scores of the model"
    assert shown["B"].startswith("Scores of B ")
    assert record.record(view)["tool"].options[0][1] == "Select: box"


def test_scores_of_two_pins_are_drawn_against_each_other(view, controller, pinned):
    scatter = record.record(view)["scatter"]
    assert scatter.across == f"{controller.state.metric.symbol}, pin A"
    equal, points = scatter.lines
    np.testing.assert_allclose(points.y, pinned[1].scores[view.spread.neurons])
    np.testing.assert_allclose(points.x, pinned[0].scores[view.spread.neurons])
    np.testing.assert_array_equal(equal.x, equal.y)
    select(view, "scatter", np.array([[points.x[3], points.y[3]]]), False)
    assert controller.state.selection == (view.spread.neurons[3],)
    controller.colouring.choose("difference")
    scale = controller.colouring.scale
    np.testing.assert_allclose(scale.values, pinned[1].scores - pinned[0].scores)
    assert scale.quantity.label == "r of B minus A's"
    assert "difference" in [quantity.name for quantity in controller.colouring.choices]
    controller.pins.unpin(0)
    assert not controller.colouring.scale.is_known
    assert "Nothing is pinned as A" in controller.colouring.message
    assert "Nothing is pinned as A" in record.record(view)["scatter"].text
    view.set_predictor("model")
    view.set_against("baseline")
    assert controller.state.compared == COMPARED


def test_pins_are_compared_over_a_tier_where_both_are_scored_over_it(view, controller, pinned):
    scores = {}
    for slot in (0, 1):
        controller.pins.make_current(slot)
        scoring = TierScoring(
            GradedPredictor(), controller.state.open_session, controller.state.open_mask
        )
        *_, scores[slot] = scoring.refine(lambda: False)
    in_window = controller.colouring.scores_of("B", "A")
    assert not in_window.tier
    pinned[1] = replace(pinned[1], find_tier_score=lambda: scores[1])
    controller.pins.changed.emit()
    assert not controller.colouring.scores_of("B", "A").tier
    assert controller.colouring.scores_of("B", "depth").tier
    pinned[0] = replace(pinned[0], find_tier_score=lambda: scores[0])
    controller.pins.changed.emit()
    pair = controller.colouring.scores_of_pair(("B", "A"))
    assert [one.tier for one in pair] == [scores[0].tier] * 2
    neurons = scores[0].score.neurons
    np.testing.assert_allclose(pair[1].values[neurons], scores[0].score.per_neuron)
    assert record.record(view)["summary"].text.count(f"{scores[0].n_total} ")


def test_of_few_neurons_no_spread_is_told(view, controller):
    ids = controller.state.session.units.names
    scores = controller.results.shown_scores
    view.set_filter(f"id={ids[5]}")
    summary = record.record(view)["summary"].text
    assert f"· r {number_text(scores[5])}" in summary
    view.set_filter(f"id<{ids[3]}")
    assert f"· mean r {number_text(scores[:3].mean())}" in record.record(view)["summary"].text
    assert "quartiles" not in record.record(view)["summary"].text
    view.set_filter(f"id<{ids[4]}")
    assert "quartiles" in record.record(view)["summary"].text


def test_the_filter_counts_those_that_it_keeps(view, controller):
    view.set_filter("score>0.5")
    count = int((controller.results.shown_scores > 0.5).sum())
    items = record.record(view)
    assert len(items["scatter"].lines[0].y) == count
    assert "score>0.5" in items["summary"].text
    with pytest.raises(ValueError, match="<<"):
        view.set_filter("<<")
    assert view.filter == "score>0.5"


def test_a_score_on_an_edge_belongs_to_the_bar_above_it():
    scores = np.array([-0.05, 0.0, 0.1, 0.15, 0.3, 1.0])
    found = spread(np.arange(6), scores)
    assert found.counts.sum() == 6
    for bar in range(len(found.counts)):
        assert len(found.in_bar(bar)) == found.counts[bar]
    assert spread(np.empty(0, int), np.empty(0)).counts.size == 0
    perfect = spread(np.arange(3), np.array([0.92, 1.0, 1.0]))
    assert perfect.edges[-1] == 1.0
    assert perfect.counts.tolist() == [1, 2]
    for multiple in range(-20, 21):
        for toward in (-2, 2):
            score = np.nextafter(multiple * 0.05, toward)
            edges = spread(np.zeros(1, int), np.array([score])).edges
            assert edges[0] <= score <= edges[-1]
    np.testing.assert_allclose(spread(np.zeros(1, int), np.ones(1)).edges, [0.95, 1])


def test_a_plot_of_what_is_still_computed_says_so(view, controller, monkeypatch):
    info, n = controller.neuron_info, len(view.spread.neurons)
    tuning = SimpleNamespace(problem="", osi=0.2)
    some = [NeuronProperties(neuron, tuning=tuning) for neuron in view.spread.neurons[:3].tolist()]
    monkeypatch.setattr(NeuronInfo, "computed", some)
    view.set_against("osi")
    assert record.record(view)["scatter"].title == f"3 of {n} known"
    info.population.message = "All neurons"
    assert record.record(view)["scatter"].title == f"3 of {n} known, computing"
    info.population.message = ""


def test_the_tip_of_a_score_says_that_its_clips_are_known():
    arrays = {
        "responses": np.random.default_rng(0).gamma(1.0, 2.0, (1800, 5)),
        "rate_hz": 30.0,
        "video": np.zeros((1800, 4, 6), np.uint8),
        "video_rate_hz": 30.0,
        "trial_start": np.arange(6) * 10.0,
        "trial_stop": np.arange(6) * 10.0 + 10.0,
        "trial_tier": ["train", "train", "train", "train", "test", "test"],
    }
    for names, is_known in (("aaabba", True), ("abcdef", False)):
        session = open_session(arrays | {"trial_stim_id": list(names)})
        with open_controller(session) as made:
            tip = shown_score_tip(made.state, made.results, made.colouring)
        assert ("⚠ All 2 clips of the test part are also shown in train" in tip) == is_known
