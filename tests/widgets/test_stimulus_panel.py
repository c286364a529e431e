import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtTest import QTest

from omnimouse_widgets import palette
from omnimouse_widgets.drawn.playback import samples_due
from omnimouse_widgets.qt.playback import Playback
from omnimouse_widgets.qt.stimulus import StimulusPanel
from tests.widgets.mouse import drag, pixel, place_of

SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def panel(controller, show):
    controller.set_frames(True)
    made: StimulusPanel = show(StimulusPanel(controller), 360, 280)
    return made


def strip_at(panel: StimulusPanel, frame: int) -> QPointF:
    return QPointF((frame + 0.5) * panel.strip.width() / 60, panel.strip.height() / 2)


def test_the_frame_at_the_cursor_is_on_screen(panel, controller, drawn):
    controller.set_cursor(23)
    drawn()
    frame = controller.state.window.frames_u8[23]
    for row, column in ((5, 7), (18, 40), (30, 60)):
        place = place_of(panel.canvas, panel.view, column + 0.5, row + 0.5)
        found = pixel(panel.canvas.viewport(), place)
        np.testing.assert_allclose(found, frame[row, column], atol=1)


def test_a_hidden_frame_says_so_and_has_another_border(panel, controller, drawn):
    assert not panel.label.isVisible()
    solid = panel.border.pen()
    controller.set_frames(slice(0, 10))
    controller.set_cursor(30)
    drawn()
    assert panel.label.toPlainText().strip() == "hidden from the model"
    assert panel.border.pen().style() != solid.style()
    controller.set_cursor(5)
    drawn()
    assert not panel.label.isVisible()


def test_the_strip_shows_which_frames_are_visible(panel, controller, drawn):
    controller.set_cursor(50)
    controller.set_frames(slice(0, 30))
    drawn()
    upper = QPointF(0, panel.strip.height() * 0.3)
    visible = pixel(panel.strip, strip_at(panel, 10) - QPointF(0, 4))
    np.testing.assert_array_equal(visible, palette.rgb(palette.VISIBLE))
    hidden = pixel(panel.strip, QPointF(strip_at(panel, 40).x(), upper.y()))
    assert (hidden != palette.rgb(palette.VISIBLE)).any()


def test_dragging_the_strip_scrubs(panel, controller):
    drag(panel.strip, [strip_at(panel, 10), strip_at(panel, 30), strip_at(panel, 47)])
    assert controller.state.cursor == 47
    drag(panel.strip, [strip_at(panel, 10), QPointF(9999, 5)])
    assert controller.state.cursor == 59


def test_a_shift_drag_hides_frames_as_one_undo_step(panel, controller, drawn):
    path = [strip_at(panel, frame) for frame in (20, 24, 29)]
    drag(panel.strip, path, keys=SHIFT)
    frames = controller.state.mask.frames
    assert not frames[20:30].any()
    assert frames[:20].all()
    assert frames[30:].all()
    controller.undo()
    assert controller.state.mask.frames.all()


def test_buttons_and_keys_step_exactly_one_frame_across_windows(panel, controller):
    QTest.mouseClick(panel.on, Qt.MouseButton.LeftButton)
    QTest.keyClick(panel, Qt.Key.Key_Period)
    assert controller.state.cursor == 2
    QTest.keyClick(panel, Qt.Key.Key_Comma)
    assert controller.state.cursor == 1
    controller.seek(6.0)
    start = controller.state.window.start_s
    controller.set_cursor(59)
    QTest.keyClick(panel, Qt.Key.Key_Period)
    assert controller.state.cursor == 0
    assert controller.state.window.start_s == pytest.approx(start + 2)


def test_the_clock_tells_session_time(panel, controller, drawn):
    controller.set_cursor(30)
    drawn()
    at = controller.state.window.timestamps["responses"][30]
    assert panel.clock.text() == f"{at:.2f} s · frame 30"


def test_playing_runs_the_cursor_and_the_key_pauses_it(panel, controller, qtbot):
    QTest.keyClick(panel, Qt.Key.Key_K)
    assert panel.playback.is_playing
    assert panel.play.toolTip().startswith("Pause (K)")
    qtbot.waitUntil(lambda: controller.state.cursor >= 3)
    QTest.keyClick(panel, Qt.Key.Key_K)
    assert not panel.playback.is_playing


def test_playing_stops_at_the_end_of_the_session(panel, controller, qtbot):
    controller.seek(1e6)
    controller.set_cursor(56)
    panel.playback.speed = 2.0
    panel.playback.play()
    qtbot.waitUntil(lambda: not panel.playback.is_playing)
    assert controller.state.cursor == 59


def test_a_hidden_panel_does_not_play(panel):
    panel.playback.play()
    panel.hide()
    assert not panel.playback.is_playing


def test_speed_is_a_choice(panel):
    panel.speed.setCurrentIndex(panel.speed.findData(0.25))
    panel.speed.activated.emit(panel.speed.currentIndex())
    assert panel.playback.speed == 0.25


@pytest.mark.parametrize(("stride", "cursor"), [(60, 0), (30, 30), (3, 57)])
def test_playing_slides_the_window_by_the_chosen_stride(
    panel, controller, monkeypatch, stride, cursor
):
    """Sample after sample of the session is shown, whatever the stride."""
    controller.seek(4.0)
    controller.set_cursor(59)
    start = controller.state.window.start_s
    panel.strides[stride].trigger()
    now = [0.0]
    monkeypatch.setattr("omnimouse_widgets.qt.playback.perf_counter", lambda: now[0])
    panel.playback.play()
    now[0] = 1.02 / 30
    panel.playback._tick()
    panel.playback.pause()
    assert controller.state.cursor == cursor
    moved = controller.state.window.start_s - start
    assert moved == pytest.approx(stride / 30, abs=1e-3)


@pytest.mark.parametrize(
    ("elapsed", "speed", "samples"),
    [(0.0, 1.0, 0), (1.0, 1.0, 30), (1.0, 0.25, 7), (0.5, 2.0, 30), (0.034, 1.0, 1)],
)
def test_samples_follow_wall_time(elapsed, speed, samples):
    assert samples_due(elapsed, speed) == samples


def test_nothing_plays_without_a_session(empty, qtbot):
    playback = Playback(empty)
    playback.play()
    assert not playback.is_playing


def test_without_a_session_the_panel_says_so(empty, show):
    panel = show(StimulusPanel(empty))
    assert panel.message.words == "No session is open"


def test_without_a_session_strip_and_buttons_do_nothing(empty, show):
    panel = show(StimulusPanel(empty), 360, 280)
    drag(panel.strip, [strip_at(panel, 10), strip_at(panel, 20)], keys=SHIFT)
    QTest.mouseClick(panel.back, Qt.MouseButton.LeftButton)
    QTest.keyClick(panel, Qt.Key.Key_Comma)
    assert empty.state.cursor == 0
    assert not empty.can_undo
