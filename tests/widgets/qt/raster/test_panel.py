from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import QPointF, Qt
from qtpy.QtTest import QTest

from omnimouse_model.data.open import open_session
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.raster.gestures import RasterBlock, box_block, brush_blocks
from omnimouse_widgets.qt.raster.panel import RasterArea
from omnimouse_widgets.views.raster import COLUMNS, OVERLAYS, RasterView, levels_of
from omnimouse_widgets.views.record import choose
from tests.widgets.pointer import canvas_position, drag, pixel, wheel


def area_of(panel: RecordPanel) -> RasterArea:
    """Return the pictures of a panel; `panel` and `view` are what it belongs to."""
    area: RasterArea = panel.content("cells")
    area.panel, area.view = panel, panel.view
    return area


@pytest.fixture
def raster(controller, show):
    """The raster in stored order: neuron n is row n."""
    controller.editor.set_active_span(58, 60)
    controller.state.raster_order = "stored"
    return area_of(show(RecordPanel.of(RasterView.of(controller), controller), 800, 560))


def position_of(panel: RasterArea, sample: float, row: float) -> QPointF:
    return canvas_position(panel.canvas, panel.pictures["truth"].box, sample, row)


def viewport_of(panel: RasterArea) -> Any:
    return panel.canvas.viewport()


# -- from state to screen ---------------------------------------------------------
def test_the_first_picture_says_what_the_numbers_below_it_count(raster, redraw):
    choose(raster.view, "pictures", "beside")
    redraw()
    names = {name: picture.axis.name for name, picture in raster.pictures.items()}
    assert [name for name, item in names.items() if item.isVisible()] == ["truth"]
    left = names["truth"].mapRectToScene(names["truth"].boundingRect())
    assert names["truth"].text() == COLUMNS
    assert left.left() > 0
    assert raster.canvas.sceneRect().contains(left)


@pytest.mark.parametrize("code", [HIDDEN, VISIBLE, TARGET])
def test_a_cell_has_the_colour_of_state_and_value(raster, controller, redraw, code):
    controller.navigation.set_cursor(0)
    controller.editor.paint_cells(slice(None), slice(20, 50), code)
    redraw()
    low, high = levels_of(controller.state.window)
    neuron, sample = 7, 41
    value = controller.state.window.responses[sample, neuron]
    grey = np.clip((value - low) / (high - low), 0, 1) * 255
    share = OVERLAYS["truth"][code] / 255
    tint = np.array(palette.rgb(palette.STATE_COLOURS[code]))
    expected = grey * (1 - share) + tint * share
    found = pixel(viewport_of(raster), position_of(raster, sample + 0.5, neuron + 0.5))
    np.testing.assert_allclose(found, expected, atol=3)


def test_prediction_and_residual_are_those_of_the_results(raster, controller, redraw):
    controller.editor.apply_preset("random_half_video_behavior")
    controller.state.raster_view = "beside"
    redraw()
    population = controller.results.population
    shown = raster.pictures["prediction"].values[population.neurons]
    np.testing.assert_array_equal(shown, population.responses.T)
    known = np.isfinite(shown)
    assert known.any()
    residual = raster.pictures["residual"].values[population.neurons]
    np.testing.assert_allclose(residual[known], 1, atol=1e-5)  # truth plus one


def test_an_old_prediction_is_darker_and_the_status_changes(raster, controller, redraw):
    controller.editor.apply_preset("random_half_video_behavior")
    controller.state.raster_view = "beside"
    redraw()
    status, fresh = raster.panel.widgets["status"].full_text, raster.canvas.grab().toImage()
    controller.results.population_freshness = "stale"
    controller.results.changed.emit()
    redraw()
    faded = {shown for shown, picture in raster.pictures.items() if picture.is_faded}
    assert faded == {"prediction", "residual"}
    assert raster.panel.widgets["status"].full_text != status
    assert raster.canvas.grab().toImage() != fresh
    controller.results.population_freshness = "fresh"
    redraw()
    assert not any(picture.is_faded for picture in raster.pictures.values())


@pytest.mark.parametrize("tool", ["look", "paint", "box", "columns", "rows"])
def test_without_a_session_no_tool_does_anything(empty_controller, show, tool):
    panel = show(RecordPanel.of(RasterView.of(empty_controller), empty_controller))
    assert panel.widgets["status"].full_text
    panel.view.set_tool(tool)
    drag(panel.content("cells"), [QPointF(x, 9) for x in (10, 20, 40)])
    assert not empty_controller.editor.in_stroke
    assert not empty_controller.editor.can_undo


def test_a_recording_that_opens_in_a_shown_panel_is_drawn_once_its_values_are_there(
    empty_controller, show, session_folder, redraw
):
    panel = show(RecordPanel.of(RasterView.of(empty_controller), empty_controller))
    # pytest-qt reports an error of a slot: the new range calls one in mid drawing.
    empty_controller.loader.open_now(open_session(session_folder))
    redraw()
    picture = area_of(panel).pictures["truth"]
    assert picture.values.shape == picture.codes.shape


# -- from screen to state ---------------------------------------------------------
def test_a_brush_stroke_paints_what_it_crosses_as_one_step(raster, controller):
    controller.editor.set_brush(VISIBLE)
    before = controller.state.mask
    path = [position_of(raster, x, 20.5) for x in np.linspace(10.5, 30.5, 9)]
    drag(viewport_of(raster), path)
    cells = controller.state.mask.cells
    assert (cells[10:31, 20] == VISIBLE).all()
    samples, neurons = np.nonzero(cells != HIDDEN)
    assert samples.max() < 33
    assert (neurons.min() >= 18) & (neurons.max() < 23)
    controller.editor.undo()
    assert np.array_equal(controller.state.mask.cells, before.cells)


def test_a_tool_chosen_in_mid_drag_is_for_the_next_stroke(raster, controller):
    controller.editor.set_brush(TARGET)
    gestures, box = raster.gestures, raster.pictures["truth"].box
    gestures.pressed((10.5, 20.5), box)
    raster.view.set_tool("look")
    gestures.dragged((14.5, 20.5), box)
    gestures.cells = None  # as while another recording is being set
    gestures.released((14.5, 20.5), box)
    assert not controller.editor.in_stroke
    assert (controller.state.mask.cells[10:15, 20] == TARGET).all()
    controller.editor.undo()
    assert not (controller.state.mask.cells == TARGET).any()


@pytest.mark.parametrize(
    ("tool", "path", "samples", "neurons"),
    [
        ("paint", [(40.5, 15.5)], slice(40, 41), slice(15, 16)),
        ("box", [(12.5, 5.5), (20, 9), (24.5, 11.5)], slice(12, 25), slice(5, 12)),
        ("columns", [(8.5, 3.5), (12.5, 30.5)], slice(8, 13), slice(None)),
        ("rows", [(8.5, 3.5), (12.5, 6.5)], slice(None), slice(3, 7)),
    ],
)
def test_tools_paint_what_they_touch(raster, controller, tool, path, samples, neurons):
    raster.view.set_tool(tool)
    controller.editor.set_brush(TARGET)
    drag(viewport_of(raster), [position_of(raster, *place) for place in path])
    cells = controller.state.mask.cells
    assert (cells[samples, neurons] == TARGET).all()
    if tool != "paint":  # which is round, and as wide as it is
        assert (cells == TARGET).sum() == cells[samples, neurons].size


def test_look_selects_the_neuron_and_moves_the_cursor(raster, controller, redraw):
    raster.view.set_tool("look")
    path = [position_of(raster, x, 22.5) for x in (17.5, 44.5)]
    drag(viewport_of(raster), path)
    assert controller.state.selection == (22,)
    redraw()
    assert controller.state.cursor == 44
    assert raster.pictures["truth"].cursor.value() == 44.5
    assert (controller.state.mask.cells == HIDDEN).all()


def test_the_wheel_zooms_rows_and_what_is_painted_follows(raster, controller, redraw):
    for _ in range(6):
        wheel(viewport_of(raster), position_of(raster, 30, 20), 1)
    redraw()
    low, high = raster.pictures["truth"].box.viewRange()[1]
    assert high - low < 38
    assert raster.pictures["truth"].box.viewRange()[0] == [0, 60]
    drag(viewport_of(raster), [position_of(raster, 30.5, 20.5)])
    assert controller.state.mask.cells[30, 20] == VISIBLE
    QTest.keyClick(raster.canvas, Qt.Key.Key_Home)
    redraw()
    assert raster.pictures["truth"].box.viewRange()[1] == [0, 40]


def test_a_new_order_begins_at_the_top_with_the_same_zoom(raster, redraw):
    box = raster.pictures["truth"].box
    box.setYRange(20, 30, padding=0)
    choose(raster.view, "order", "score")
    redraw()
    assert box.viewRange()[1] == pytest.approx([0, 10])


def test_keys_choose_the_brush_undo_and_redo(raster, controller):
    for key, code in ((Qt.Key.Key_3, TARGET), (Qt.Key.Key_2, HIDDEN)):
        QTest.keyClick(raster, key)
        assert controller.state.brush_code == code
    QTest.keyClick(raster, Qt.Key.Key_Period)
    assert controller.state.cursor == 1
    controller.editor.paint_cells([0], slice(0, 60), VISIBLE)
    control, shift = (Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(raster, Qt.Key.Key_Z, control)
    assert (controller.state.mask.cells == HIDDEN).all()
    QTest.keyClick(raster, Qt.Key.Key_Z, control | shift)
    assert (controller.state.mask.cells[:, 0] == VISIBLE).all()


def test_another_window_is_drawn_and_painted_to_its_end(show, look_at):
    controller = look_at()
    state = controller.state
    state.raster_order = "stored"
    panel = area_of(show(RecordPanel.of(RasterView.of(controller), controller)))
    picture = panel.pictures["truth"]
    np.testing.assert_allclose(picture.box.viewRange()[0], (0, 150))
    # So few rows have room for ticks: as many as the bins have spikes.
    sample, row = picture.ticks.spikes.T.astype(int)
    counts = np.zeros((24, 150))
    np.add.at(counts, (row, sample), 1)
    np.testing.assert_array_equal(counts, state.window.responses.T)
    assert not picture.values.any()
    panel.gestures.pressed((149.5, 2.5), picture.box)
    panel.gestures.released((149.5, 2.5), picture.box)
    assert state.mask.cells[149, 2] == state.brush_code


def test_a_picture_without_a_place_belongs_to_the_scene(raster):
    """Python does not own it: Qt's end would delete its parts a second time."""
    area = raster
    area._place_pictures(["truth", "prediction", "residual"])
    area._place_pictures(["truth"])
    assert len(area._visible) < len(area.pictures)
    for picture in area.pictures.values():
        assert picture.plot.scene() is area.canvas.scene()
        assert picture.plot.isVisible() == (picture in area._visible.values())


PLACES = st.tuples(st.floats(0, 59.99), st.floats(0, 30))


def covered_cells(blocks: list[RasterBlock], n_rows: int = 40) -> np.ndarray:
    """Cells (samples, rows) that blocks cover."""
    cells = np.zeros((60, n_rows), bool)
    for block in blocks:
        low, high = int(np.floor(block.low)), int(np.floor(block.high))
        cells[block.samples, max(low, 0) : max(high + 1, 0)] = True
    return cells


@given(PLACES, PLACES)
def test_a_stroke_has_no_gaps(start, stop):
    cells = covered_cells(brush_blocks(start, stop, (0.6, 0.6), 60))
    for t in np.linspace(0, 1, 200):
        x = start[0] + t * (stop[0] - start[0])
        y = start[1] + t * (stop[1] - start[1])
        assert cells[int(x), int(y)]


@given(PLACES, PLACES, st.floats(0.6, 4), st.floats(0.6, 4))
def test_a_stroke_stays_within_its_radius(start, stop, across, down):
    blocks = brush_blocks(start, stop, (across, down), 60)
    samples, rows = np.nonzero(covered_cells(blocks))
    left, right = sorted((start[0], stop[0]))
    top, bottom = sorted((start[1], stop[1]))
    assert (samples + 1 >= left - across).all()
    assert (samples <= right + across).all()
    assert (rows + 1 >= top - down).all()
    assert (rows <= bottom + down).all()


def test_strokes_leave_the_window_without_harm():
    blocks = brush_blocks((-5.0, 3.0), (70.0, 3.0), (1.0, 1.0), 60)
    assert covered_cells(blocks)[:, 3].all()
    assert brush_blocks((-9.0, 3.0), (-9.0, 3.0), (1.0, 1.0), 60) == []


@pytest.mark.parametrize(
    ("start", "stop", "samples"),
    [
        ((3.2, 1.5), (6.1, 4.2), slice(3, 7)),
        ((6.1, 4.2), (3.2, 1.5), slice(3, 7)),
        ((55.0, 1.5), (80.0, 4.2), slice(55, 60)),
        ((-4.0, 1.5), (2.0, 4.2), slice(0, 3)),
    ],
)
def test_a_box_takes_every_cell_of_the_window_it_touches(start, stop, samples):
    assert box_block(start, stop, 60) == RasterBlock(samples, 1.5, 4.2)
