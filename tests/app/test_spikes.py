"""A spiking session in a real window: schemes by region, trials, averages, ticks."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from omnimouse_app.field.canvas import Canvas, core_places
from omnimouse_app.tour.hand import Hand, settle, wait_for
from omnimouse_model.masks import HIDDEN
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets.views.record import press
from tests.app.test_families import choose, choose_model
from tests.app.windows import drop_file, is_answered

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton
LOST = 5
"""A unit without a depth."""


@pytest.fixture(scope="module")
def spiking(tmp_path_factory):
    arrays = dict(spiking_arrays(SpikingSpec(n_trials=40)))
    arrays["xyz_um"][LOST] = np.nan
    path = tmp_path_factory.mktemp("spiking") / "probes.npz"
    np.savez(path, **arrays)
    return path


def wheel(view, steps):
    """Turn the wheel over the middle of a view."""
    middle = QPointF(view.rect().center())
    event = QWheelEvent(
        *(middle, QPointF(view.mapToGlobal(view.rect().center()))),
        *(QPoint(), QPoint(0, 120 * steps)),
        *(Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier),
        *(Qt.ScrollPhase.NoScrollPhase, False),
    )
    QApplication.sendEvent(view, event)


def averages_text(panel):
    """What the panel says of its averages, once it draws them."""
    return panel.widgets["predicted"].full_text if "predicted" in panel.widgets else ""


def test_a_spiking_session_is_explored(dock, spiking):
    controller, state = dock.controller, dock.controller.state
    drop_file(dock, spiking)
    wait_for(lambda: state.session.path == spiking, "the recording")
    choose_model(dock, "toy-counts")
    field = dock.instrument.layers.field
    assert field.without_pixels.tolist() == [LOST]
    # dark under the white rims of selected units, also on the canvas of a light theme
    probes = dock.instrument.layers.by_role["outlines of probes"]
    np.testing.assert_array_equal(probes.face_color, [[0, 0, 0, 1]] * len(field.outlines))
    # a region of the menu is predicted from the others, and painted over
    task, areas = dock.control.task, state.session.units.area
    choose(dock, task.preset, "Between regions")
    choose(dock, task.region, "V1")
    assert state.preset == "inter_region/V1"
    asked = state.mask.target.all(axis=0)
    np.testing.assert_array_equal(asked, areas == "V1")
    wait_for(lambda: is_answered(dock), "the answer")
    canvas = Canvas(dock.viewer, dock.main_window)
    places = canvas.places(core_places(field))
    hand = Hand(canvas.widget)
    dock.instrument.brush.radius = 4.0
    hand.key(Qt.Key.Key_2)
    hand.drag([places[20], places[20] + 1])
    assert (state.mask.cells[:, 20] == HIDDEN).all()
    assert not state.preset
    wait_for(lambda: not task.region.isVisible(), "the menu of regions is hidden")
    # trials: averages by their condition, a click, and the keys
    controller.selection.select([2])
    dock.bring_up("Trials")
    trials = dock.panels["Trials"]
    wait_for(lambda: "predicted for all" in averages_text(trials), "the averages")
    table = trials.content("trials")
    index = table.model().index(6, 0)
    table.scrollTo(index)
    place = table.visualRect(index).center()
    QTest.mouseClick(table.viewport(), LEFT, pos=place)
    assert controller.navigation.trial == 6
    hand.key(Qt.Key.Key_PageDown)
    assert controller.navigation.trial == 7
    text = trials.widgets["trial"]
    wait_for(lambda: text.full_text.startswith("trial 8 · "), "its text")
    # the raster has bins, and ticks where it is zoomed in
    dock.bring_up("Raster")
    raster = dock.panels["Raster"].content("cells")
    picture = raster.pictures["truth"]
    settle(0.2)
    press(dock.panels["Raster"].view, "all")
    settle(0.2)
    assert picture.ticks.spikes is None
    wheel(raster.canvas.viewport(), 12)
    wait_for(lambda: picture.ticks.spikes is not None, "the ticks")

    def are_in_view():
        low, high = picture.box.viewRange()[1]
        rows = picture.ticks.spikes[:, 1]
        return low - 1 <= rows.min() <= rows.max() <= high

    wait_for(are_in_view, "the ticks of the rows in view alone")
