"""The Context dock in the real window: opened by its command, its numbers, its cost."""

import numpy as np
import pytest

from omnimouse_app import commands
from omnimouse_app.hand import Hand, settle, wait_for
from omnimouse_model.analysis.live_sweep import SEEDS, live_sweep

pytestmark = pytest.mark.gui


@pytest.fixture
def context(dock, monkeypatch):
    """Brought up by the command palette's own function, and put back behind."""
    monkeypatch.setattr("napari.current_viewer", lambda: dock.viewer)
    assert not dock.controller.state.sweep_shown
    commands.show_context()
    wait_for(lambda: dock.controller.state.sweep_shown, "the dock to be seen", 20)
    yield dock.panels["Context"]
    dock.bring_up("Traces")
    wait_for(lambda: not dock.controller.state.sweep_shown, "it to be hidden", 20)


def test_behind_another_tab_it_asks_nothing_and_in_front_it_shows_the_numbers(
    dock, context, echo
):
    controller = dock.controller
    wait_for(lambda: "● fresh" in context.status.words, "the sweep", 60)
    settle(0.3)
    neurons = np.array(controller.state.selection)
    *_, expected = live_sweep(
        echo, controller.state.window, neurons, behavior=(True, False), seeds=SEEDS
    )
    for curve in expected.curves():
        drawn = np.array(context.plot.drawn(curve.axis, curve.label))
        np.testing.assert_allclose(drawn[:, 0], curve.values)
        scores = [point.score for point in curve.points]
        np.testing.assert_allclose(drawn[:, 1], scores, atol=1e-9)


def test_a_stroke_moves_the_mark_and_leaves_the_curves(dock, context):
    controller = dock.controller
    wait_for(lambda: "● fresh" in context.status.words, "the sweep", 60)
    before = controller.results.sweep
    line = context.plot.axes["history_samples"].line
    controller.paint_cells(range(150), slice(15, 25), 1)
    wait_for(lambda: controller.results.sweep_freshness == "fresh", "the answer", 60)
    settle(0.4)
    assert controller.results.sweep is before
    assert line.value() == pytest.approx(10)
    assert "10 samples before" in context.mark.words


def test_its_keys_are_those_of_every_panel(dock, context):
    from qtpy.QtCore import Qt

    before = dock.controller.state.cursor
    context.setFocus()
    Hand(context).key(Qt.Key.Key_Period)
    settle(0.1)
    assert dock.controller.state.cursor == before + 1
