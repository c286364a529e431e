"""The Context dock in the real window: opened by its command, and what it costs."""

import numpy as np
import pytest

from omnimouse_app.tour.hand import wait_for
from omnimouse_app.window import commands

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def test_in_front_it_shows_the_numbers_and_a_stroke_moves_its_mark_alone(
    dock, monkeypatch
):
    controller, context = dock.controller, dock.panels["Context"]
    state, results = controller.state, controller.results
    monkeypatch.setattr(commands, "_open_dock", lambda: dock)
    assert not state.sweep_shown
    commands.show_context()
    wait_for(lambda: state.sweep_shown, "the dock to be seen")
    wait_for(lambda: "● fresh" in context.status.full_text, "the sweep")

    def is_drawn(curve):
        points = np.array(context.plot.drawn_points(curve.axis, curve.label))[:, :2]
        wanted = np.array([curve.values, [point.score for point in curve.points]]).T
        return points.shape == wanted.shape and np.allclose(points, wanted)

    wait_for(lambda: all(map(is_drawn, results.sweep.curves())), "the curves")
    before, mark = results.sweep, context.plot.axes["history_samples"].line
    controller.paint_cells(range(150), slice(15, 25), 1)
    wait_for(lambda: results.sweep_freshness == "fresh", "the answer")
    wait_for(lambda: mark.value() == pytest.approx(10), "the mark at 10 samples")
    assert results.sweep is before
    dock.bring_up("Traces")
    wait_for(lambda: not state.sweep_shown, "it to be hidden")
