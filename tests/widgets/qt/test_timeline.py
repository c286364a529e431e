from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtTest import QTest

from omnimouse_model.data.window_spec import VideoSpec, WindowSpec
from omnimouse_model.evaluation.repeats import RepeatedClip
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.timeline import VideoPlayer
from omnimouse_widgets.views import record
from omnimouse_widgets.views.stimulus import StimulusView
from omnimouse_widgets.views.time import TimeView, lanes_of, tier_at, tier_bars
from omnimouse_widgets.views.trials import TrialsView
from tests import SUITE2P
from tests.small_sessions import with_trials
from tests.widgets.pointer import canvas_position, drag, pixel, press, wait


def shown(show, controller) -> RecordPanel:
    """Return a panel; `drawn` are its lanes, and `trial` the box of trials."""
    panel = show(RecordPanel.of(TimeView.of(controller), controller), 900, 130)
    panel.drawn = panel.timelines["timeline"]
    panel.canvas, panel.box = panel.drawn.canvas, panel.drawn.box
    panel.trial = panel.widgets.get("trial")
    return panel


@pytest.fixture
def panel(controller, show):
    return shown(show, controller)


def test_trials_of_one_tier_are_one_bar_and_every_moment_has_its_tier(controller):
    overview = controller.state.session.overview(200)
    bars = tier_bars(overview)
    assert [bar.kind for bar in bars] == ["train", "validation", "test"]
    trials = (overview.trial_on, overview.trial_off, overview.trial_tier)
    for on, off, tier in zip(*trials, strict=True):
        assert tier_at(bars, (on + off) / 2) == tier.replace("final_test_1", "test")
    assert [bar.letter for bar in bars] == ["", "V", "T"]
    parts = {row[2] for row in record.record(TrialsView.of(controller))["trials"].rows}
    assert parts == {"train", "validation", "test"}


def test_a_click_or_drag_moves_the_window_there(panel, controller):
    path = [canvas_position(panel.canvas, panel.box, t, 1.5) for t in (4.0, 6.0, 9.0)]
    drag(panel.canvas.viewport(), path[:1])
    assert controller.state.window.start_s == pytest.approx(3.0, abs=0.1)
    drag(panel.canvas.viewport(), path)
    assert controller.state.window.start_s == pytest.approx(8.0, abs=0.1)


def go_to_trial(panel: RecordPanel, number: str) -> None:
    panel.trial.selectAll()
    QTest.keyClicks(panel.trial, number)
    QTest.keyClick(panel.trial, Qt.Key.Key_Return)


def test_before_the_first_trial_its_number_can_be_typed(panel, controller, redraw):
    starts = np.array([3.0, 8.0, 13.0, 18.0])
    controller.loader.open_now(with_trials(controller.state.session, starts, starts + 2))
    controller.navigation.seek(1.0)
    redraw()
    assert panel.trial.text() == "trial – / 4"
    go_to_trial(panel, "1")
    redraw()
    assert controller.state.window.start_s == pytest.approx(3.0, abs=0.05)
    assert panel.trial.text() == "trial 1 / 4"


def test_repeats_of_the_clip_are_marked(panel, controller, redraw, monkeypatch):
    assert not panel.drawn.moments.bars
    clip = RepeatedClip("c", ("train",) * 2, (0, 2), 5.0)
    clips = property(lambda _: (clip,))
    monkeypatch.setattr(type(controller.repeats), "clips", clips)
    controller.navigation.seek(11.0)
    redraw()
    starts = [bar.start_s for bar in panel.drawn.moments.bars]
    assert starts == pytest.approx([0.0, 10.0])
    place = canvas_position(panel.canvas, panel.box, 10.0, 4.5) + QPointF(1, 0)
    found = pixel(panel.canvas.viewport(), place)
    np.testing.assert_allclose(found, (255, 255, 255), atol=2)


def test_without_a_session_keys_and_clicks_do_nothing(empty_controller, show):
    panel = show(RecordPanel.of(TimeView.of(empty_controller), empty_controller), 900, 130)
    QTest.keyClick(panel, Qt.Key.Key_Right)
    drag(panel.content("timeline"), [QPointF(20, 20)])
    assert empty_controller.state.window is None
    assert not panel.timelines


def test_without_trials_the_time_line_has_none(controller, panel, redraw):
    controller.loader.open_now(SUITE2P)
    redraw()
    (ticks,) = panel.drawn.plot.getAxis("left")._tickLevels
    assert [name for _, name in ticks] == ["activity", "parts"]
    assert panel.drawn.box.viewRange()[1][1] == 2.0, "a lane without content takes a place"
    assert [bar.kind for bar in panel.drawn.bars["parts"].bars] == ["train", "test"]
    assert panel.drawn.place.toPlainText().endswith(" s · test")
    controller.navigation.seek(61.5)  # in the pause between the two
    redraw()
    assert panel.drawn.place.toPlainText() == f"{controller.state.window.start_s:.1f} s"


def test_a_recording_too_short_for_parts_has_no_lane_of_trials(session):
    overview = replace(session.overview(), has_trials=False, parts=())
    assert [lane.name for lane in lanes_of(overview)][:2] == ["stimulus", "parts"]


SHIFT = Qt.KeyboardModifier.ShiftModifier


def shown_video(show, controller) -> VideoPlayer:
    """Return the frames of a panel; `panel` and `playback` are what they belong to."""
    video = show(RecordPanel.of(StimulusView.of(controller), controller), 360, 280)
    player: VideoPlayer = video.content("frames")
    player.panel, player.playback = video, video.view.playback
    return player


@pytest.fixture
def video(controller, show):
    controller.editor.set_frames(True)
    return shown_video(show, controller)


def strip_at(video: VideoPlayer, frame: int) -> QPointF:
    return QPointF((frame + 0.5) * video.strip.width() / 60, video.strip.height() / 2)


def test_the_frame_at_the_cursor_is_on_screen(video, controller, redraw):
    controller.navigation.set_cursor(23)
    redraw()
    window = controller.state.window
    for row, column in ((5, 7), (18, 40), (30, 60)):
        place = canvas_position(video.canvas, video.view, column + 0.5, row + 0.5)
        found = pixel(video.canvas.viewport(), place)
        np.testing.assert_allclose(found, window.frames_u8[23][row, column], atol=1)
    at = window.timestamps["responses"][23]
    assert video.panel.widgets["clock"].full_text == f"{at:.2f} s · frame 23"


def test_dragging_the_strip_scrubs_and_with_shift_hides_frames(video, controller):
    drag(video.strip, [strip_at(video, 10), strip_at(video, 30), strip_at(video, 47)])
    assert controller.state.cursor == 47
    drag(video.strip, [strip_at(video, 10), QPointF(9999, 5)])
    assert controller.state.cursor == 59
    path = [strip_at(video, frame) for frame in (20, 24, 29)]
    drag(video.strip, path, keys=SHIFT)
    assert np.flatnonzero(~controller.state.mask.frames).tolist() == [*range(20, 30)]
    controller.editor.undo()
    assert controller.state.mask.frames.all()


def test_buttons_and_keys_step_exactly_one_frame_across_windows(video, controller):
    press(video.panel.widgets["next"])
    QTest.keyClick(video.canvas, Qt.Key.Key_Period)
    assert controller.state.cursor == 2
    QTest.keyClick(video.canvas, Qt.Key.Key_Comma)
    assert controller.state.cursor == 1
    controller.navigation.seek(6.0)
    start = controller.state.window.start_s
    controller.navigation.set_cursor(59)
    QTest.keyClick(video.canvas, Qt.Key.Key_Period)
    assert controller.state.cursor == 0
    assert controller.state.window.start_s == pytest.approx(start + 2)


def test_playing_runs_the_cursor_until_it_is_paused_or_hidden(video, controller, qtbot, redraw):
    speed = video.panel.widgets["speed"]
    speed.setCurrentIndex(speed.findData("2"))
    speed.activated.emit(speed.currentIndex())
    assert video.playback.speed == 2.0
    QTest.keyClick(video.canvas, Qt.Key.Key_K)
    assert video.playback.is_playing
    wait(qtbot, lambda: controller.state.cursor >= 3)
    QTest.keyClick(video.canvas, Qt.Key.Key_K)
    assert not video.playback.is_playing
    video.playback.play(True)
    video.panel.hide()
    redraw()
    assert not video.playback.is_playing


def test_playing_stops_at_the_end_of_the_session(video, controller, qtbot):
    controller.navigation.seek_nearest(1e6)
    controller.navigation.set_cursor(56)
    video.playback.set_speed(2.0)
    video.playback.play(True)
    wait(qtbot, lambda: not video.playback.is_playing)
    assert controller.state.cursor == 59


def test_an_entry_of_the_menu_sets_the_stride(video):
    record.press(video.panel.view, "stride30")
    assert video.playback.stride == 30


def test_without_a_session_nothing_plays_steps_or_scrubs(empty_controller, show):
    video = shown_video(show, empty_controller)
    assert video.accessibleName() == record.NO_SESSION
    video.playback.play(True)
    assert not video.playback.is_playing
    drag(video, [QPointF(10, 10), QPointF(20, 10)], keys=SHIFT)
    press(video.panel.widgets["back"])
    QTest.keyClick(video, Qt.Key.Key_Comma)
    assert empty_controller.state.cursor == 0
    assert not empty_controller.editor.can_undo


def test_large_video_of_another_rate_and_no_video(show, redraw, look_at, session):
    spec = WindowSpec(2.0, 30.0, video=VideoSpec(60.0, 144, 256, is_raw=True))
    state = (controller := look_at(session, spec)).state
    video = shown_video(show, controller)
    video.strip.scrubbed.emit(47)
    redraw()
    assert state.cursor == 24  # of 60 samples; it shows frame 48 of 120
    np.testing.assert_array_equal(video.frame.image, state.window.frames_u8[48])
    look_at()
    redraw()
    assert video.message.text == "This recording has no video"


@pytest.mark.parametrize("begin", np.arange(0.0, 10.0, 0.7))
def test_bars_with_a_gap_of_less_than_a_pixel_touch_at_every_place(panel, begin):
    lane = panel.drawn.bars["stimulus"]
    seconds_per_pixel = panel.drawn.box.viewPixelSize()[0]
    gap = begin + 3.0, begin + 3.0 + 0.6 * seconds_per_pixel
    lane.set_bars(
        [
            record.Bar(begin, gap[0], "video", "#0072B2", 1.0),
            record.Bar(gap[1], gap[1] + 3.0, "video", "#0072B2", 1.0),
        ]
    )
    low, high = (canvas_position(panel.canvas, panel.box, t, 4.5).x() for t in gap)
    y = canvas_position(panel.canvas, panel.box, gap[0], 4.5).y()
    found = [pixel(panel.canvas.viewport(), QPointF(x, y)) for x in (low - 1, low, high, high + 1)]
    np.testing.assert_allclose(found, [(0x00, 0x72, 0xB2)] * 4, atol=2)
