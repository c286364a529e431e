import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtTest import QTest

from omnimouse_model.evaluation.repeats import RepeatedClip
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views.time import TimeView, tier_at, tier_bars
from tests import SUITE2P
from tests.small_sessions import with_trials
from tests.widgets.pointer import canvas_position, drag, pixel


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
    assert [bar.kind for bar in bars] == ["train", "validation", "final_test_1"]
    trials = (overview.trial_on, overview.trial_off, overview.trial_tier)
    for on, off, tier in zip(*trials, strict=True):
        assert tier_at(bars, (on + off) / 2) == tier
    assert [bar.letter for bar in bars] == ["", "V", "T"]


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
    clip = RepeatedClip("c", "train", (0, 2), 5.0)
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
    assert [bar.kind for bar in panel.drawn.bars["parts"].bars] == ["train", "test"]
    assert panel.drawn.place.toPlainText().endswith(" s · test")
    controller.navigation.seek(61.5)  # in the pause between the two
    redraw()
    assert panel.drawn.place.toPlainText() == f"{controller.state.window.start_s:.1f} s"
