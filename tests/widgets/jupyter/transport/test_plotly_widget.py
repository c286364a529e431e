from queue import Queue

import comm
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


def test_a_page_first_gets_a_complete_figure(monkeypatch):
    opened = []
    create = comm.create_comm
    monkeypatch.setattr(comm, "create_comm", lambda **new: opened.append(new) or create(**new))
    made = new_figure_widget([{"type": "heatmap", "z": [[1.0]]}], {"height": 200})
    made.close()
    state = opened[-1]["data"]["state"]
    assert state["_widget_data"][0]["z"] == [[1.0]]
    assert state["_widget_layout"]["height"] == 200
    assert len(opened) == 1


def test_what_a_page_reports_changes_no_content(figure):
    uid = figure.data[1].uid
    delta = {"uid": uid, "x": [9.0], "y": [9.0]}
    report = {"trace_deltas": [delta], "trace_edit_id": figure._last_trace_edit_id}
    figure.set_state({"_js2py_traceDeltas": report})
    edit = figure._last_layout_edit_id
    report = {"layout_delta": {"yaxis": {"range": [1, 2]}}, "layout_edit_id": edit}
    figure.set_state({"_js2py_layoutDelta": report})
    assert figure.data[1].y.tolist() == [1.0, 2.0, 4.0]
    assert figure.layout.yaxis.range == (0, 5)


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
