import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from pyqtgraph.functions import ndarray_from_qimage
from qtpy import API_NAME
from qtpy.QtCore import QObject, QPointF, Qt
from qtpy.QtTest import QTest

from omnimouse_model.analysis.similarity import similarity_order
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.raster_pixels import OVERLAYS
from omnimouse_widgets.drawn.raster_rows import UNSEEN
from omnimouse_widgets.drawn.raster_values import RESIDUAL, VIEWS, levels_of, shown_in
from omnimouse_widgets.qt.hop import qt_post
from omnimouse_widgets.qt.raster import RasterPanel
from tests.predictors import EchoPredictor
from tests.widgets.mouse import RIGHT, drag, pixel, place_of, wheel


@pytest.fixture
def raster(controller, show):
    """The raster in stored order: neuron n is row n."""
    controller.set_active_span(58, 60)
    panel: RasterPanel = show(RasterPanel(controller), 800, 560)
    panel.set_ordering("stored")
    return panel


def at(panel: RasterPanel, sample: float, row: float) -> QPointF:
    return place_of(panel.canvas, panel.pictures["truth"].box, sample, row)


def over(panel: RasterPanel) -> Any:
    return panel.canvas.viewport()


# -- from state to screen ---------------------------------------------------------
@pytest.mark.parametrize("code", [HIDDEN, VISIBLE, TARGET])
def test_a_cell_has_the_colour_of_its_state_over_its_value(
    raster, controller, drawn, code
):
    controller.set_cursor(0)
    controller.paint_cells(slice(None), slice(20, 50), code)
    drawn()
    low, high = levels_of(controller.state.window)
    neuron, sample = 7, 41
    value = controller.state.window.responses[sample, neuron]
    grey = np.clip((value - low) / (high - low), 0, 1) * 255
    share = OVERLAYS["truth"][code] / 255
    tint = np.array(palette.rgb(palette.STATE_COLOURS[code]))
    expected = grey * (1 - share) + tint * share
    found = pixel(over(raster), at(raster, sample + 0.5, neuron + 0.5))
    np.testing.assert_allclose(found, expected, atol=3)


def test_short_visible_runs_are_marked_as_not_seen(raster, controller, drawn):
    controller.paint_cells([3], slice(10, 16), VISIBLE)
    controller.paint_cells([5], slice(10, 30), VISIBLE)
    drawn()
    codes = raster.pictures["truth"].codes
    assert (codes[3, 10:16] == UNSEEN).all()
    assert (codes[5, 10:30] == VISIBLE).all()
    rects = raster.pictures["truth"].hatch.rects
    assert [(r.x(), r.y(), r.width(), r.height()) for r in rects] == [(10, 3, 6, 1)]
    said = "▨ too short: the model sees runs of 10 samples or more"
    assert said in raster.status.words
    assert raster.status.text() == raster.status.words  # in full, at this width
    assert raster._words_at(12.5, 3.5).endswith(f"visible · sample 12 · {said}")
    assert raster._words_at(12.5, 5.5).endswith("visible · sample 12")
    controller.paint_cells([3], slice(10, 16), HIDDEN)
    drawn()
    assert "▨" not in raster.status.words


def test_order_and_view_are_the_states_so_that_an_analysis_keeps_them(
    raster, controller, drawn
):
    raster.set_ordering("depth")
    raster.set_view("pair")
    assert controller.state.raster_order == "depth"
    assert controller.state.raster_view == "pair"
    controller.set_raster("score", "residual")
    drawn()
    assert raster.ordering.ordering == "score"
    assert raster.view.currentData() == "residual"
    assert controller.state.raster_order == "score"
    assert [shown for shown, _ in raster._shown] == ["residual"]


def test_rows_by_state_follow_the_mask(raster, controller, drawn):
    raster.set_ordering("state")
    controller.set_active_span(0, 60)
    controller.paint_cells([11, 30], slice(0, 60), TARGET)
    drawn()
    assert list(raster.gestures.neurons_at(0.5)) == [11]
    assert list(raster.gestures.neurons_at(1.5)) == [30]
    assert (raster.pictures["truth"].codes[:2, 10:] == TARGET).all()


def choose(panel: RasterPanel, word: str) -> None:
    """Pick an order with the keyboard, as a user would."""
    box = panel.ordering.box
    box.setFocus()
    for _ in range(box.count()):
        if box.currentText() == word:
            return
        QTest.keyClick(box, Qt.Key.Key_Down)
    QTest.keyClick(box, Qt.Key.Key_Home)
    while box.currentText() != word:
        QTest.keyClick(box, Qt.Key.Key_Down)


def test_rows_by_similarity_are_those_of_the_library(raster, controller, drawn):
    choose(raster, "by similarity")
    drawn()
    expected = similarity_order(controller.state.session)
    rows = [int(raster.gestures.neurons_at(row + 0.5)[0]) for row in range(40)]
    assert rows == expected.tolist() != sorted(rows)
    assert raster.status.words == ""
    assert not raster.ordering.button.isVisible()


def test_comparing_neurons_tells_how_far_it_is_and_can_be_stopped(
    session, show, qtbot, monkeypatch
):
    gate = threading.Semaphore(0)

    def slowly(session: Session, progress: Any) -> np.ndarray:
        progress(0.25)
        assert gate.acquire(timeout=10)
        progress(0.5)
        return np.arange(session.n_neurons)[::-1]

    monkeypatch.setattr("omnimouse_model.live.similarity.similarity_order", slowly)
    controller = Controller(post=qt_post(), load=lambda *_: EchoPredictor())
    controller.open_session(session)
    panel = show(RasterPanel(controller), 800, 400)
    choose(panel, "by similarity")
    qtbot.waitUntil(lambda: panel.status.words.startswith("◌ Comparing neurons: 25 %"))
    assert panel.gestures.neurons_at(0.5).tolist() == [0]  # as stored till then
    assert panel.ordering.button.text() == "Stop"
    qtbot.mouseClick(panel.ordering.button, Qt.MouseButton.LeftButton)
    gate.release()
    qtbot.waitUntil(lambda: panel.status.words.startswith("not compared"))
    assert controller.similarity.order is None
    qtbot.mouseClick(panel.ordering.button, Qt.MouseButton.LeftButton)
    gate.release()
    qtbot.waitUntil(lambda: panel.gestures.neurons_at(0.5).tolist() == [39])
    assert not panel.ordering.button.isVisible()
    controller.close()


def test_the_prediction_and_the_residual_are_those_of_the_results(
    raster, controller, drawn
):
    controller.apply_preset("random_half_video_behavior")
    raster.set_view("beside")
    drawn()
    population = controller.results.population
    assert population is not None
    shown = raster.pictures["prediction"].values[population.neurons]
    np.testing.assert_array_equal(shown, population.responses.T)
    known = np.isfinite(shown)
    assert known.any()
    # this predictor's answer is the truth plus one
    residual = raster.pictures["residual"].values[population.neurons]
    np.testing.assert_allclose(residual[known], 1, atol=1e-5)


def test_every_view_follows_every_other_and_shows_its_pictures(
    raster, controller, drawn
):
    raster.resize(560, 300)
    controller.apply_preset("random_half_video_behavior")
    views = list(VIEWS)
    for first in views:
        for then in views:
            raster.set_view(first)
            raster.set_view(then)
            drawn()
            on_screen = {
                shown
                for shown, picture in raster.pictures.items()
                if picture.plot.scene() is not None
            }
            assert on_screen == set(shown_in(then)), (first, then)
            widths = [raster.pictures[s].box.width() for s in shown_in(then)]
            assert np.ptp(widths) < 3, (first, then)
            box = raster.pictures[shown_in(then)[0]].box
            assert box.viewRange()[0] == pytest.approx([0, 60]), (first, then)


def test_a_residual_says_what_its_colours_mean(raster, controller, drawn):
    controller.apply_preset("random_half_video_behavior")
    raster.set_view("residual")
    drawn()
    low, high = levels_of(controller.state.window)
    reach = (high - low) / 2
    words = raster.pictures["residual"].plot.titleLabel.text
    assert f"−{reach:.2g}" in words
    assert f"{reach:+.2g}" in words
    # no difference is the middle of the colours, darker than both ends
    darkness = RESIDUAL.sum(axis=1)
    assert abs(int(darkness.argmin()) - 127.5) < 2


def test_the_cursor_the_span_and_the_selection_are_shown(raster, controller, drawn):
    controller.set_cursor(33)
    controller.set_active_span(12, 48)
    controller.select([9, 2])
    drawn()
    picture = raster.pictures["truth"]
    assert picture.cursor.value() == 33.5
    assert picture.span.span == (12, 48)
    assert picture.marks.rows == [9.5, 2.5]


def test_drawing_twice_changes_nothing(raster, drawn):
    before = raster.grab().toImage()
    raster.redraw.start()
    drawn()
    assert raster.grab().toImage() == before


def test_without_a_session_the_raster_is_empty_and_says_so(empty, show):
    panel = show(RasterPanel(empty))
    assert panel.pictures["truth"].pixels.is_empty
    assert panel.status.words == "no session"


def receivers(sender: QObject, name: str) -> int:
    """How many slots hear a signal, which PySide6 knows by its signature."""
    if API_NAME != "PySide6":
        return int(sender.receivers(getattr(sender, name)))
    meta = sender.metaObject()
    methods = (meta.method(i) for i in range(meta.methodCount()))
    [signal] = [m for m in methods if m.name().data().decode() == name]
    return int(sender.receivers("2" + signal.methodSignature().data().decode()))


def test_a_resize_adds_no_listeners(raster, controller, drawn):
    canvas, scene = raster.canvas, raster.canvas.scene()

    def listeners() -> tuple[int, int]:
        return (
            receivers(scene, "sigMouseMoved"),
            receivers(canvas, "sigDeviceRangeChanged"),
        )

    before = listeners()
    for width in (700, 640):
        raster.resize(width, 500)
        drawn()
    assert listeners() == before


@pytest.mark.parametrize("tool", ["look", "brush", "box", "column", "row"])
def test_without_a_session_every_tool_does_nothing(empty, show, tool):
    panel = show(RasterPanel(empty))
    panel.set_tool(tool)
    drag(over(panel), [at(panel, x, 0.5) for x in (10.5, 20.5, 40.5)])
    assert not panel.gestures.is_painting
    assert not empty.can_undo


# -- from screen to state ---------------------------------------------------------
def test_a_brush_stroke_paints_the_cells_it_crosses_as_one_undo_step(
    raster, controller
):
    controller.set_brush(VISIBLE)
    before = controller.state.mask
    path = [at(raster, x, 20.5) for x in np.linspace(10.5, 30.5, 9)]
    drag(over(raster), path)
    cells = controller.state.mask.cells
    assert (cells[10:31, 20] == VISIBLE).all()
    assert (cells[:, :18] == HIDDEN).all()
    assert (cells[:, 23:] == HIDDEN).all()
    assert (cells[33:] == HIDDEN).all()
    controller.undo()
    assert np.array_equal(controller.state.mask.cells, before.cells)
    assert not controller.undo_name.startswith("Paint")


def test_a_tool_chosen_in_mid_drag_is_for_the_next_stroke(raster, controller):
    controller.set_brush(TARGET)
    gestures, box = raster.gestures, raster.pictures["truth"].box
    gestures.pressed((10.5, 20.5), box)
    raster.set_tool("look")
    gestures.dragged((14.5, 20.5), box)
    gestures.released((14.5, 20.5), box)
    assert not controller.in_stroke
    assert (controller.state.mask.cells[10:15, 20] == TARGET).all()
    controller.undo()
    assert not (controller.state.mask.cells == TARGET).any()


def test_a_press_alone_paints_at_once(raster, controller):
    controller.set_brush(TARGET)
    drag(over(raster), [at(raster, 40.5, 15.5)])
    assert controller.state.mask.cells[40, 15] == TARGET


def test_a_box_paints_exactly_the_cells_it_touches(raster, controller):
    raster.set_tool("box")
    controller.set_brush(TARGET)
    drag(
        over(raster),
        [at(raster, 12.5, 5.5), at(raster, 20.0, 9.0), at(raster, 24.5, 11.5)],
    )
    expected = np.zeros((60, 40), np.uint8)
    expected[12:25, 5:12] = TARGET
    assert np.array_equal(controller.state.mask.cells, expected)


def test_the_box_is_outlined_until_it_is_painted(raster, controller, drawn):
    raster.set_tool("box")
    picture = raster.pictures["truth"]
    raster.gestures.pressed((10.5, 3.5), picture.box)
    raster.gestures.dragged((20.5, 8.5), picture.box)
    drawn()
    assert picture.rubber.isVisible()
    assert (controller.state.mask.cells == HIDDEN).all()
    raster.gestures.released((20.5, 8.5), picture.box)
    drawn()
    assert not picture.rubber.isVisible()
    assert (controller.state.mask.cells[10:21, 3:9] == VISIBLE).all()


def test_the_column_tool_paints_samples_of_all_neurons(raster, controller):
    raster.set_tool("column")
    controller.set_brush(VISIBLE)
    drag(over(raster), [at(raster, 8.5, 3.5), at(raster, 12.5, 30.5)])
    expected = np.zeros((60, 40), np.uint8)
    expected[8:13] = VISIBLE
    assert np.array_equal(controller.state.mask.cells, expected)


def test_the_row_tool_paints_all_samples_of_neurons(raster, controller):
    raster.set_tool("row")
    controller.set_brush(VISIBLE)
    drag(over(raster), [at(raster, 8.5, 3.5), at(raster, 12.5, 6.5)])
    expected = np.zeros((60, 40), np.uint8)
    expected[:, 3:7] = VISIBLE
    assert np.array_equal(controller.state.mask.cells, expected)


def test_rows_stay_where_they_are_during_a_stroke(raster, controller, drawn):
    controller.set_active_span(0, 60)
    raster.set_ordering("state")
    raster.set_tool("row")
    controller.set_brush(VISIBLE)
    picture = raster.pictures["truth"]
    raster.gestures.pressed((5.5, 30.5), picture.box)
    drawn()
    raster.gestures.dragged((5.5, 31.5), picture.box)
    raster.gestures.released((5.5, 31.5), picture.box)
    drawn()
    assert sorted(np.flatnonzero(controller.state.mask.cells[0])) == [30, 31]
    assert list(raster.gestures.neurons_at(0.5)) == [30]


def test_look_selects_the_neuron_and_moves_the_cursor(raster, controller):
    raster.set_tool("look")
    drag(over(raster), [at(raster, 17.5, 22.5), at(raster, 44.5, 22.5)])
    assert controller.state.selection == (22,)
    assert controller.state.cursor == 44
    assert (controller.state.mask.cells == HIDDEN).all()


def test_dragging_the_time_axis_moves_the_cursor(raster, controller):
    axis = raster.pictures["truth"].axis
    below = raster.canvas.mapFromScene(axis.sceneBoundingRect().center()).y()
    path = [QPointF(at(raster, x, 5).x(), below) for x in (10.5, 20.5, 51.5)]
    drag(over(raster), path)
    assert controller.state.cursor == 51


def test_the_wheel_zooms_rows_and_what_is_painted_follows(raster, controller, drawn):
    for _ in range(6):
        wheel(over(raster), at(raster, 30, 20), 1)
    drawn()
    low, high = raster.pictures["truth"].box.viewRange()[1]
    assert high - low < 38
    assert raster.pictures["truth"].box.viewRange()[0] == [0, 60]
    drag(over(raster), [at(raster, 30.5, 20.5)])
    assert controller.state.mask.cells[30, 20] == VISIBLE
    raster.show_all()
    assert raster.pictures["truth"].box.viewRange()[1] == [0, 40]


def test_a_right_drag_pans_a_zoomed_raster_and_paints_nothing(raster, controller):
    box = raster.pictures["truth"].box
    box.setRange(yRange=(10, 20), padding=0)
    drag(over(raster), [at(raster, 30, 15), at(raster, 30, 12)], button=RIGHT)
    assert box.viewRange()[1][0] == pytest.approx(13, abs=0.3)
    assert (controller.state.mask.cells == HIDDEN).all()


def test_keys_choose_the_brush_and_undo(raster, controller):
    raster.setFocus()
    QTest.keyClick(raster, Qt.Key.Key_3)
    assert controller.state.brush_code == TARGET
    QTest.keyClick(raster, Qt.Key.Key_2)
    assert controller.state.brush_code == HIDDEN
    QTest.keyClick(raster, Qt.Key.Key_Period)
    assert controller.state.cursor == 1
    controller.paint_cells([0], slice(0, 60), VISIBLE)
    QTest.keyClick(raster, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (controller.state.mask.cells == HIDDEN).all()


def window_pixels(panel: RasterPanel) -> np.ndarray:
    """What is in the window: unlike `grab`, this paints nothing."""
    picture = panel.screen().grabWindow(panel.winId()).toImage()
    picture = picture.convertToFormat(picture.Format.Format_RGB32)
    return ndarray_from_qimage(picture)[..., :3]


def test_a_session_opened_later_is_repainted_in_every_row(empty, session, show, qtbot):
    panel = show(RasterPanel(empty), 800, 560)
    empty.open_session(session)
    panel.set_ordering("stored")
    empty.apply_preset("nothing")
    empty.set_cursor(58)
    qtbot.wait(100)
    before = window_pixels(panel).copy()
    empty.paint_cells([2, 20, 38], slice(5, 50), TARGET)
    qtbot.wait(100)
    for row in (2, 20, 38):
        spot = over(panel).mapTo(panel, at(panel, 30.5, row + 0.5).toPoint())
        place = (spot.y(), spot.x())
        assert (window_pixels(panel)[place] != before[place]).any(), row


def test_grey_levels_keep_no_closed_recording(session_folder):
    window = open_session(session_folder).window(0.0)
    assert levels_of(window) == levels_of(window)
    closed = weakref.ref(window)
    del window
    gc.collect()
    assert closed() is None
