import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from omnimouse_widgets.qt.control.score_histogram import ScoreHistogram
from tests.predictors import NoisyPredictor


@pytest.fixture
def histogram(controller, show):
    controller.editor.apply_preset("video_behavior")
    controller.model.choose(NoisyPredictor())
    widget = show(ScoreHistogram(controller), 300, 46)
    widget.draw()
    return widget


def test_a_click_and_the_arrows_select_the_neurons_of_a_bar(histogram, controller):
    scores = controller.results.shown_scores
    edges = histogram._distribution.edges
    counts = np.histogram(scores[np.isfinite(scores)], edges)[0]
    first, second = np.flatnonzero(counts)[:2]
    place = QPoint(int((first + 0.5) / len(counts) * histogram.width()), 10)
    QTest.mouseClick(histogram, Qt.LeftButton, Qt.NoModifier, place)
    for bar in (first, second):
        chosen = scores[list(controller.state.selection)]
        assert len(chosen) == counts[bar]
        assert ((edges[bar] <= chosen) & (chosen < edges[bar + 1])).all()
        QTest.keyClick(histogram, Qt.Key_Right)
