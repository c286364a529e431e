"""Models of other families in a real window, from the first look to a saved file."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_app.field.canvas import Canvas, core_places
from omnimouse_app.tour.hand import Hand, settle, wait_for
from omnimouse_model.live.current_point import live_sweeps
from omnimouse_model.masks import VISIBLE
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets.palette import area_table
from tests.app.test_analyses import answer_dialogs, from_command_line
from tests.app.windows import drop_file, is_answered
from tests.toy_predictors import TOYS

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT, CONTROL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier
# Model, model of another spec beside it, symbol of its metric.
CASES = [
    ("toy-counts", "mean", "bits/spike"),
    pytest.param("toy-recurrent", "demo", "r = ", marks=pytest.mark.acceptance),
    pytest.param("toy-frames", "demo", "r = ", marks=pytest.mark.acceptance),
]


@pytest.fixture(scope="module")
def spiking(tmp_path_factory):
    path = tmp_path_factory.mktemp("spiking") / "spiking.npz"
    np.savez(path, **spiking_arrays(SpikingSpec(n_trials=20)))
    return path


def choose(dock, menu, text):
    """Scroll to a menu of the control panel; choose an entry with the arrow keys."""
    for panel in (dock.control, dock.brush):
        if panel.isAncestorOf(menu):
            panel.scroll_area.ensureWidgetVisible(menu)

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


def paint_probe_and_depth(dock, hand, places):
    """Paint probe B with the brush, then deep units of probe A in the table."""
    state, units = dock.controller.state, dock.controller.state.session.units
    visible = state.mask.visible.all(axis=0)
    on_b = units.probe == "B"
    choose(dock, dock.brush.view.planes.plane, "probe B")
    dock.instrument.brush.radius = 200.0
    settle(0.1)
    hand.key(Qt.Key.Key_1)
    hand.drag([places.min(axis=0), places.max(axis=0)])
    painted = state.mask.visible.all(axis=0) & ~visible
    assert painted.any()
    assert not (painted & ~on_b).any()
    choose(dock, dock.brush.view.planes.plane, "all")
    dock.bring_up("Neurons")
    panel = dock.panels["Neurons"]
    table, words = panel.tables["rows"].table, panel.widgets["filter"].controls["text"].native
    wait_for(lambda: table.rowCount() == len(units), "the table")
    QTest.keyClicks(words, "probe=A depth>700")
    wanted = (units.probe == "A") & (units.xyz_um[:, 2] > 700)
    wait_for(lambda: table.rowCount() == wanted.sum(), "the filter")
    panel.press("paint visible")
    assert state.mask.visible.all(axis=0)[wanted].all()
    words.clear()


def colours_of_areas(dock, canvas):
    """Wait until every unit has the colour of its area."""
    choose(dock, dock.brush.view.colour_by, "Area")
    units = dock.controller.state.session.units
    names, area = np.unique(units.area, return_inverse=True)
    places = core_places(dock.instrument.layers.field)
    wanted = area_table(len(names))[area].astype(int)
    wait_for(
        lambda: np.abs(canvas.colours(places).astype(int) - wanted).max() <= 6,
        "the colours of the areas",
    )


@pytest.mark.parametrize(("name", "other", "symbol"), CASES)
def test_a_model_of_another_family_is_used_like_any_other(
    dock, name, other, symbol, spiking, session_folder, tmp_path, monkeypatch
):
    controller, traces = dock.controller, dock.panels["Traces"]
    state, pins = controller.state, controller.pins.predictions
    recording = spiking if name == "toy-counts" else session_folder
    drop_file(dock, recording)
    wait_for(lambda: state.session.path == recording, "the recording")
    choose_model(dock, name)
    spec = state.spec
    canvas = Canvas(dock.viewer, dock.main_window)
    hand = Hand(canvas.widget)
    dock.instrument.layers.show_whole_field()
    places = canvas.places(core_places(dock.instrument.layers.field))
    # painted
    before = state.mask
    if name == "toy-counts":
        colours_of_areas(dock, canvas)
        choose(dock, dock.brush.view.colour_by, "State")
        paint_probe_and_depth(dock, hand, places)
    else:
        hand.key(Qt.Key.Key_1)
        hand.drag([places[0] - 20, places[0], places[1]])
    assert (state.mask.cells != before.cells).any()
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
    wait_for(lambda: any(symbol in label for label in traces.stacks["traces"].labels), symbol)
    dock.bring_up("Context")
    results = controller.results
    wait_for(
        lambda: [s for s in live_sweeps(state, results).values() if len(s.rows) > 2], "the sweep"
    )
    (sweep, *_) = live_sweeps(state, results).values()
    assert sweep.plan.metric == spec.metric
    # pinned beside a model of another spec
    dock.bring_up("Traces")
    choose_model(dock, other)
    QTest.mouseClick(traces.widgets["pin"], LEFT)
    own = state.spec
    assert own != spec
    choose_model(dock, name)
    wait_for(lambda: not pins.is_busy and pins.windows, "the pinned condition")
    (pinned,) = pins.windows.values()
    assert not pinned.error
    n_samples = round(spec.duration_s * own.response_rate_hz)
    assert len(pinned.prediction.responses) == n_samples
    assert np.isfinite(pinned.scores).any()
    wait_for(lambda: np.isfinite(traces.stacks["traces"].drawn_values(0)[3]).any(), "its curve")
    # saved and reopened
    path = tmp_path / "mine.omnimouse.json"
    answer_dialogs(monkeypatch, path)
    QTest.keyClick(traces.stacks["traces"].canvas, Qt.Key.Key_S, CONTROL)
    wait_for(lambda: controller.project.path == path, "the file")
    mask, window, scores = state.mask, state.window, controller.results.scores
    controller.editor.paint([0], VISIBLE)
    dock.controller.loader.open_now(session_folder)
    if name == "toy-frames":
        from_command_line(dock, path, monkeypatch)
    else:
        drop_file(dock, path)
    wait_for(lambda: controller.project.name == "mine", "the analysis")
    wait_for(lambda: is_answered(dock), "the answer")
    assert (state.mask, state.window) == (mask, window)
    assert state.predictor_name == name
    np.testing.assert_array_equal(controller.results.scores, scores)
