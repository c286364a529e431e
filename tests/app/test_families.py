"""A model of spike counts in a real window: painted, scrubbed, scored, pinned."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_app.field.canvas import core_places
from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_model.simulate.spiking import SpikingSpec, spiking_arrays
from tests.app.windows import drop_file, is_answered
from tests.toy_predictors import TOYS

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT, CONTROL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier


@pytest.fixture(scope="module")
def spiking(tmp_path_factory):
    path = tmp_path_factory.mktemp("spiking") / "spiking.npz"
    np.savez(path, **spiking_arrays(SpikingSpec(n_trials=20)))
    return path


def choose(dock, menu, text):
    """Scroll to a menu of the control panel; choose an entry with the arrow keys."""
    dock.control.scroll_area.ensureWidgetVisible(menu)

    def row():
        return menu.findText(text, Qt.MatchFlag.MatchStartsWith)

    wait_for(lambda: row() >= 0, text)
    menu.showPopup()
    QTest.keyClick(menu.view(), Qt.Key.Key_Home)
    while menu.view().currentIndex().row() < row():
        QTest.keyClick(menu.view(), Qt.Key.Key_Down)
    QTest.keyClick(menu.view(), Qt.Key.Key_Return)


def choose_model(dock, name):
    choose(dock, dock.control.model.model, name)
    spec = TOYS[name]().needs.spec if name in TOYS else None
    state, results = dock.controller.state, dock.controller.results
    wait_for(lambda: spec is None or state.spec == spec, "the windows of the model")
    wait_for(lambda: results.error or is_answered(dock), f"the answer of {name}")
    assert results.error is None


def test_a_model_of_spike_counts_is_used_like_any_other(dock, canvas, hand, spiking):
    """`tests/model/live/test_foreign_specs.py` does the same with every family.

    It also saves and reopens an analysis.
    """
    name = "toy-counts"
    controller, traces = dock.controller, dock.panels["Traces"]
    state, pins = controller.state, controller.pins.predictions
    drop_file(dock, spiking)
    wait_for(lambda: state.session.path == spiking, "the recording")
    choose_model(dock, name)
    spec = state.spec
    dock.instrument.layers.show_whole_field()
    places = canvas.places(core_places(dock.instrument.layers.field))
    # painted
    choose(dock, dock.control.view.planes.plane, "probe B")
    dock.instrument.brush.radius = 200.0
    settle(0.1)
    hand.key(Qt.Key.Key_1)
    hand.drag([places.min(axis=0), places.max(axis=0)])
    painted = state.mask.visible.all(axis=0)
    assert painted.any()
    assert not painted[state.session.units.probe != "B"].any()
    choose(dock, dock.control.view.planes.plane, "all")
    assert state.mask.cells.shape == (spec.n_samples, state.session.n_neurons)
    target = int(np.flatnonzero(state.mask.target.any(axis=0))[0])
    hand.click(places[target], CONTROL)
    assert state.selection == (target,)
    wait_for(lambda: is_answered(dock), "the answer")
    # scrubbed
    start_s = state.window.start_s
    hand.key(Qt.Key.Key_Period)
    assert state.cursor == 1
    hand.key(Qt.Key.Key_PageUp)
    wait_for(lambda: state.window.start_s < start_s, "the trial before")
    wait_for(lambda: is_answered(dock), "the answer")
    # scored, swept
    dock.bring_up("Traces")
    unit = "bits/spike"
    wait_for(lambda: any(unit in label for label in traces.stack.labels), unit)
    dock.bring_up("Context")
    results = controller.results
    wait_for(lambda: results.sweep and len(results.sweep.rows) > 2, "the sweep")
    assert results.sweep.plan.metric == spec.metric
    # pinned beside a model of another spec
    dock.bring_up("Traces")
    choose_model(dock, "mean")
    QTest.mouseClick(traces.bar.pin, LEFT)
    own = state.spec
    assert own != spec
    choose_model(dock, name)
    wait_for(lambda: not pins.is_busy and pins.windows, "the pinned condition")
    (pinned,) = pins.windows.values()
    assert not pinned.error
    assert len(pinned.prediction.responses) == round(
        spec.duration_s * own.response_rate_hz
    )
    assert np.isfinite(pinned.scores).any()
    wait_for(lambda: np.isfinite(traces.stack.drawn_overlay(0, 0)).any(), "its curve")
