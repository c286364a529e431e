"""The notebook's scores: what a page gets and selects, and what code reads."""

import numpy as np

from omnimouse_widgets.jupyter.results import NeuronScores
from tests.predictors import NoisyPredictor


def test_a_page_gets_the_plots_and_selects(controller, page):
    controller.model.choose(NoisyPredictor())
    controller.editor.apply_preset("video_behavior")
    controller.requests.score_tier(False)
    part = NeuronScores(controller)
    opened = page(part, "block2")
    message, _ = opened.wait_for("block2", lambda one, _: bool(one["items"]))
    kinds = [item["kind"] for item in message["items"][0]["items"]]
    assert kinds == ["curves", "curves"]
    spread = part.spread
    bar = int(np.argmax(spread.counts))
    outline = np.array([[spread.places[bar], 0.5]], np.float32)
    opened.say("select", outline.tobytes(), name="histogram", add=False)
    assert list(part.selection) == spread.in_bar(bar).tolist()
    part.tool = "lasso"
    assert part.view.tool == "lasso"
