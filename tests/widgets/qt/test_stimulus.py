import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtTest import QTest

from omnimouse_model.data.window_spec import VideoSpec, WindowSpec
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.timeline import VideoPlayer
from omnimouse_widgets.views import record
from omnimouse_widgets.views.stimulus import StimulusView
from omnimouse_widgets.views.text.model import NO_VIDEO
from tests.widgets.pointer import canvas_position, drag, pixel, press, wait

SHIFT = Qt.KeyboardModifier.ShiftModifier


def shown(show, controller) -> VideoPlayer:
    """Return the frames of a panel; `panel` and `playback` are what they belong to."""
    panel = show(RecordPanel.of(StimulusView.of(controller), controller), 360, 280)
    player: VideoPlayer = panel.content("frames")
    player.panel, player.playback = panel, panel.view.playback
    return player


@pytest.fixture
def panel(controller, show):
    controller.editor.set_frames(True)
    return shown(show, controller)


def strip_at(panel: VideoPlayer, frame: int) -> QPointF:
    return QPointF((frame + 0.5) * panel.strip.width() / 60, panel.strip.height() / 2)


def test_the_frame_at_the_cursor_is_on_screen(panel, controller, redraw):
    controller.navigation.set_cursor(23)
    redraw()
    window = controller.state.window
    for row, column in ((5, 7), (18, 40), (30, 60)):
        place = canvas_position(panel.canvas, panel.view, column + 0.5, row + 0.5)
        found = pixel(panel.canvas.viewport(), place)
        np.testing.assert_allclose(found, window.frames_u8[23][row, column], atol=1)
    at = window.timestamps["responses"][23]
    assert panel.panel.widgets["clock"].full_text == f"{at:.2f} s · frame 23"


def test_dragging_the_strip_scrubs_and_with_shift_hides_frames(panel, controller):
    drag(panel.strip, [strip_at(panel, 10), strip_at(panel, 30), strip_at(panel, 47)])
    assert controller.state.cursor == 47
    drag(panel.strip, [strip_at(panel, 10), QPointF(9999, 5)])
    assert controller.state.cursor == 59
    path = [strip_at(panel, frame) for frame in (20, 24, 29)]
    drag(panel.strip, path, keys=SHIFT)
    assert np.flatnonzero(~controller.state.mask.frames).tolist() == [*range(20, 30)]
    controller.editor.undo()
    assert controller.state.mask.frames.all()


def test_buttons_and_keys_step_exactly_one_frame_across_windows(panel, controller):
    press(panel.panel.widgets["next"])
    QTest.keyClick(panel.canvas, Qt.Key.Key_Period)
    assert controller.state.cursor == 2
    QTest.keyClick(panel.canvas, Qt.Key.Key_Comma)
    assert controller.state.cursor == 1
    controller.navigation.seek(6.0)
    start = controller.state.window.start_s
    controller.navigation.set_cursor(59)
    QTest.keyClick(panel.canvas, Qt.Key.Key_Period)
    assert controller.state.cursor == 0
    assert controller.state.window.start_s == pytest.approx(start + 2)


def test_playing_runs_the_cursor_until_it_is_paused_or_hidden(panel, controller, qtbot, redraw):
    speed = panel.panel.widgets["speed"]
    speed.setCurrentIndex(speed.findData("2"))
    speed.activated.emit(speed.currentIndex())
    assert panel.playback.speed == 2.0
    QTest.keyClick(panel.canvas, Qt.Key.Key_K)
    assert panel.playback.is_playing
    wait(qtbot, lambda: controller.state.cursor >= 3)
    QTest.keyClick(panel.canvas, Qt.Key.Key_K)
    assert not panel.playback.is_playing
    panel.playback.play(True)
    panel.panel.hide()
    redraw()
    assert not panel.playback.is_playing


def test_playing_stops_at_the_end_of_the_session(panel, controller, qtbot):
    controller.navigation.seek_nearest(1e6)
    controller.navigation.set_cursor(56)
    panel.playback.set_speed(2.0)
    panel.playback.play(True)
    wait(qtbot, lambda: not panel.playback.is_playing)
    assert controller.state.cursor == 59


def test_an_entry_of_the_menu_sets_the_stride(panel):
    record.press(panel.panel.view, "stride30")
    assert panel.playback.stride == 30


def test_without_a_session_nothing_plays_steps_or_scrubs(empty_controller, show):
    panel = shown(show, empty_controller)
    assert panel.accessibleName() == record.NO_SESSION
    panel.playback.play(True)
    assert not panel.playback.is_playing
    drag(panel, [QPointF(10, 10), QPointF(20, 10)], keys=SHIFT)
    press(panel.panel.widgets["back"])
    QTest.keyClick(panel, Qt.Key.Key_Comma)
    assert empty_controller.state.cursor == 0
    assert not empty_controller.editor.can_undo


def test_large_video_of_another_rate_and_no_video(show, redraw, look_at, session):
    spec = WindowSpec(2.0, 30.0, video=VideoSpec(60.0, 144, 256, is_raw=True))
    state = (controller := look_at(session, spec)).state
    panel = shown(show, controller)
    panel.strip.scrubbed.emit(47)
    redraw()
    assert state.cursor == 24  # of 60 samples; it shows frame 48 of 120
    np.testing.assert_array_equal(panel.frame.image, state.window.frames_u8[48])
    look_at()
    redraw()
    assert panel.message.text == NO_VIDEO
