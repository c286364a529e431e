"""Plotly figures: a page that is reloaded, or lost messages, gets all of them."""

from queue import Queue

import numpy as np
import pytest

from omnimouse_widgets.jupyter.transport.plotly_widget import (
    FigurePart,
    new_figure_widget,
)


@pytest.fixture
def figure():
    traces = [{"type": "scatter", "x": [], "y": []}] * 2
    made = new_figure_widget(traces, {"height": 200})
    made.data[1].update(x=np.arange(3.0), y=np.array([1.0, 2.0, 4.0]))
    made.layout.yaxis.range = (0, 5)
    yield made
    made.close()


def test_the_state_of_a_figure_is_its_current_content(figure):
    state = figure.get_state()
    first, second = state["_widget_data"]
    assert not len(first["y"])
    assert second["y"]
    assert list(state["_widget_layout"]["yaxis"]["range"]) == [0, 5]


def test_a_page_that_lacks_points_gets_the_whole_figure(figure, controller, page):
    part = FigurePart(controller)
    part.add_figure(figure)
    opened, sent = page(part), Queue()
    figure.observe(lambda change: sent.put(change["new"]), "_py2js_update")
    opened.look()
    opened.say("lost")
    message = sent.get(timeout=60)
    np.testing.assert_array_equal(message["style_data"]["y"][1], [1.0, 2.0, 4.0])
    assert list(message["layout_data"]["yaxis"]["range"]) == [0, 5]
