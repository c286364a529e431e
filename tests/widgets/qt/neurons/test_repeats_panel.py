import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_widgets.qt.neurons.repeats_panel import RepeatsPanel
from omnimouse_widgets.qt.neurons.repeats_plot import MAX_ROWS, binned_rows
from tests.predictors import open_controller
from tests.small_sessions import simulate_mouse
from tests.widgets.pointer import canvas_position, drag

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mouse(tmp_path_factory):
    """Twenty neurons, a clip that is shown four times."""
    return simulate_mouse(tmp_path_factory.mktemp("clips") / "mouse", 20, 1.6, times=4)


@pytest.fixture
def controller(mouse):
    with open_controller(mouse) as made:
        made.select([7, 3, 11])
        made.repeats.go_to_clip(0)
        yield made


@pytest.fixture
def panel(controller, show):
    return show(RepeatsPanel(controller), 800, 240)


def test_a_press_goes_to_that_moment_of_that_repeat(panel, controller, redraw):
    side, found = panel.side_by_side, controller.repeats.responses
    place = canvas_position(panel.canvas, side.box, 2 * side.pitch + 4.0, 0.5)
    drag(panel.canvas.viewport(), [place])
    redraw()
    middle = controller.state.window.start_s + 1
    assert middle == pytest.approx(found.onset_s[2] + 4.0, abs=0.1)
    assert panel.ceiling.full_text.endswith(" · repeat 3")
    x, _ = side.window.getData()
    start = controller.state.window.start_s - found.onset_s[2] + 2 * side.pitch
    assert (x.min(), x.max()) == pytest.approx((start, start + 2), abs=1e-6)


def test_away_from_repeats_it_says_so_and_the_box_goes_there(panel, controller, redraw):
    trials = controller.state.session.trials
    once = int(np.flatnonzero(trials.tier == "train")[0])
    controller.navigation.seek(float(trials.t_on[once]) + 1)
    redraw()
    assert panel.side_by_side.message.text
    assert panel.clip.currentIndex() == -1
    QTest.keyClick(panel.clip, Qt.Key.Key_Down)
    redraw()
    assert controller.repeats.repeat == 0
    assert not panel.side_by_side.message.text


def test_many_neurons_share_rows():
    values = np.arange(256 * 2 * 3, dtype=float).reshape(256, 2, 3)
    rows = binned_rows(values)
    assert len(rows) == MAX_ROWS
    np.testing.assert_allclose(rows[5], values[20:24].mean(axis=0))
