import numpy as np
import pytest

from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import Cancelled, never
from omnimouse_widgets.drawn.model.tier_score import tier_score_tip
from omnimouse_widgets.drawn.neurons.score_distribution import BIN_WIDTH, spread
from omnimouse_widgets.jupyter.score_chart import BARS, POINTS
from omnimouse_widgets.jupyter.scores import NeuronScores
from tests.predictors import EchoPredictor


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
    return controller


@pytest.fixture
def part(controller):
    return NeuronScores(controller)


@pytest.fixture
def scores_page(part, page):
    opened = page(part, "figure")
    opened.wait_for("scores", lambda m, _: bool(m["bars"]))
    return opened


def figure_values(part):
    """(x, y) of the points, and heights of the bars, as they are on the figure."""
    bars, chosen_bars, points, chosen = part.chart.figure.data
    return {
        "points": np.stack([points.x, points.y]),
        "chosen": np.stack([chosen.x, chosen.y]),
        "bars": np.asarray(bars.y),
        "chosen_bars": np.asarray(chosen_bars.y),
    }


def pick(page, trace, places, *, add=False):
    """What the page says where something was clicked or drawn around."""
    content, _ = page.of("scores")[-1]
    raw = np.array(places, np.uint32).tobytes()
    page.say("pick", raw, trace=trace, drawing=content["drawing"], add=add)


def test_bars_and_points_are_the_scores_of_the_window(part, controller, scores_page):
    scores = controller.results.scores
    known = np.flatnonzero(np.isfinite(scores))
    found = figure_values(part)
    np.testing.assert_allclose(found["points"][1], scores[known], rtol=1e-6)
    means = controller.state.session.units.mean
    np.testing.assert_allclose(found["points"][0], means[known], rtol=1e-6)
    edges = part.spread.edges
    np.testing.assert_array_equal(found["bars"], np.histogram(scores[known], edges)[0])
    np.testing.assert_allclose(np.diff(edges), BIN_WIDTH)
    assert f"{len(known)} neurons" in part.summary
    assert f"{scores[known].mean():.2f}" in part.summary
    ((shown, _), *_) = scores_page.of("summary")
    assert shown["tip"] == tier_score_tip(controller.results.tier_score)


def test_clicks_and_boxes_select_neurons(controller, scores_page):
    pick(scores_page, POINTS, [5])
    assert controller.state.selection == (5,)
    pick(scores_page, POINTS, [9], add=True)
    assert controller.state.selection == (5, 9)
    pick(scores_page, POINTS, [30, 1, 2])
    scores = controller.results.scores
    assert set(controller.state.selection) == {1, 2, 30}
    assert np.all(np.diff(scores[list(controller.state.selection)]) >= 0)


def test_bars_select_their_neurons(part, controller, scores_page):
    number = int(np.argmax(part.spread.counts))
    low, high = part.spread.edges[number : number + 2]
    scores = controller.results.scores
    wanted = set(np.flatnonzero((scores >= low) & (scores < high)).tolist())
    pick(scores_page, BARS, [number])
    assert set(controller.state.selection) == wanted
    controller.selection.select([])
    scores_page.say("bar", bar=number)
    assert set(controller.state.selection) == wanted
    words = scores_page.of("scores")[-1][0]["bars"][number]
    assert all(v in words for v in (f"{low:.2f}", f"{high:.2f}", f"{len(wanted)} "))


def test_the_filter_counts_those_that_it_keeps(part, controller, scores_page):
    part.filter = "score>0.5"
    count = int((controller.results.scores > 0.5).sum())
    scores_page.wait_for("scores", lambda *_: len(figure_values(part)["points"][1]) == count)
    assert f"{count} neurons" in part.summary
    assert "score>0.5" in part.summary
    with pytest.raises(ValueError, match="<<"):
        part.filter = "<<"


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


def test_a_pick_in_a_former_drawing_is_ignored(part, controller, scores_page):
    content, _ = scores_page.of("scores")[-1]
    part.filter = "score>0.5"
    scores_page.wait_for("scores", lambda m, _: m["drawing"] > content["drawing"])
    raw = np.array([3], np.uint32).tobytes()
    scores_page.say("pick", raw, trace=POINTS, drawing=content["drawing"], add=False)
    assert controller.state.selection == ()
