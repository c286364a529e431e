"""The Context panel: live curves, the mark, sweeps in the background, kept ones."""

import csv
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QImage
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from omnimouse_model.analysis.contexts import Context, context_mask, inputs_label
from omnimouse_model.analysis.live_sweep import SEEDS, live_draw, live_sweep
from omnimouse_model.analysis.sweep import context_sweep
from omnimouse_model.data.windows import Window
from omnimouse_model.live.context_mark import mark_of
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.context_spots import place_on
from omnimouse_widgets.drawn.context_words import NO_SELECTION, NO_SESSION
from omnimouse_widgets.qt.context import ContextPanel
from omnimouse_widgets.qt.context_plot import fitting
from omnimouse_widgets.qt.hop import qt_post
from tests.predictors import EchoPredictor, GatedPredictor
from tests.widgets.pointer import NO_BUTTON, canvas_position, press, send, wait

SELECTED = [3, 11, 30]


class NoisyPredictor(EchoPredictor):
    """Wrong by an amount that only mask and window decide."""

    def encode(self, window: Window, mask: Mask) -> Encoded:
        found = EchoPredictor.encode(self, window, mask)
        seed = int(np.flatnonzero(mask.visible.ravel()).sum()) + window.start_index
        seed += 7 * bool(mask.frames.any()) + 13 * (mask.behavior == "visible")
        noise = np.random.default_rng(seed).normal(size=window.responses.shape)
        return Encoded(window, mask, found.state + noise.astype(np.float32))


@pytest.fixture
def predictor():
    return NoisyPredictor()


@pytest.fixture
def controller(session, predictor, tmp_path):
    made = Controller(synchronous=True)
    made.sweeps.folder = tmp_path / "kept"
    made.choose_predictor(predictor)
    made.open_session(session)
    made.select(SELECTED)
    yield made
    made.close()


@pytest.fixture
def panel(controller, show):
    return show(ContextPanel(controller), 400, 380)


def assert_drawn(panel: ContextPanel, sweep: Any, line: int = 0) -> None:
    """The points and bars on screen are those of a sweep."""
    for curve in sweep.curves():
        expected = [
            (value, point.score, np.nan_to_num(point.sem))
            for value, point in zip(curve.values, curve.points, strict=True)
        ]
        on_screen = panel.plot.drawn(curve.axis, curve.label, line=line)
        np.testing.assert_allclose(on_screen, expected, atol=1e-9)


def test_the_live_curves_are_the_librarys_numbers(panel, controller):
    neurons = np.array(SELECTED)
    *_, sweep = live_sweep(
        NoisyPredictor(),
        controller.state.window,
        neurons,
        behavior=(True, False),
        seeds=SEEDS,
    )
    assert_drawn(panel, sweep)
    bars = [curve.points[1].sem for curve in sweep.curves() if curve.axis == "neurons"]
    assert len(bars) == 4
    assert min(bars) > 1e-6
    assert "fresh" in panel.status.words
    assert f"{len(SELECTED)} neurons" in panel.status.words


def test_every_condition_has_its_colour_and_its_symbol():
    labels = {inputs_label(v, b) for v in (True, False) for b in (True, False)}
    for looks in (palette.CONDITION_COLOURS, palette.CONDITION_SYMBOLS):
        assert set(looks) == labels
        assert len(set(looks.values())) == 4


def test_the_mask_on_screen_is_marked_on_its_point(panel, controller, redraw):
    context, draw = Context(16, video=False), live_draw(40, np.array(SELECTED))
    controller.set_mask(context_mask(context, draw))
    redraw()
    mark = mark_of(controller.state, controller.results)
    plot, place = panel.plot.axes["neurons"], place_on("neurons", 16)
    assert plot.line.isVisible()
    assert plot.line.value() == pytest.approx(place)
    [x], [y] = plot.star.getData()
    assert (x, y) == pytest.approx((place, mark.score))
    rows = controller.results.sweep.rows
    [row] = [r for r in rows if r.context == context and r.seed == SEEDS[0]]
    assert y == pytest.approx(row.score, abs=1e-5)
    assert "16 neurons" in panel.mark.words
    controller.set_mask(context_mask(Context(0, 25), draw))
    redraw()
    assert panel.plot.axes["history_samples"].line.value() == 25


def test_the_star_is_there_where_no_selected_neuron_is_asked(panel, controller, redraw):
    star = panel.plot.axes["neurons"].star
    controller.apply_preset("random_half_video_behavior")
    seen = np.flatnonzero(~controller.state.mask.target.any(axis=0))
    controller.select(seen[:3])
    redraw()
    mark = mark_of(controller.state, controller.results)
    [x], [y] = star.getData()
    assert (x, y) == pytest.approx((place_on("neurons", 20), mark.score))
    assert f"{mark.score:.3f}"[:4] in panel.mark.words
    controller.apply_preset("all_response_only")
    redraw()
    assert len(star.getData()[0]) == 0


def test_it_follows_window_and_selection(panel, controller, redraw):
    curves = [panel.plot.drawn("neurons", "video")]
    controller.step_window(-1)
    redraw()
    curves.append(panel.plot.drawn("neurons", "video"))
    controller.select([5, 6])
    redraw()
    curves.append(panel.plot.drawn("neurons", "video"))
    assert curves[0] != curves[1] != curves[2]
    assert len(curves[2]) == 2
    controller.select([])
    redraw()
    assert panel.plot.message == NO_SELECTION
    assert panel.plot.drawn("neurons", "video") == []


def test_without_a_session_nothing_can_be_swept_or_exported(
    empty_controller, show, monkeypatch
):
    dialogs: list[str] = []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *w: dialogs.append(w[1]))
    panel = show(ContextPanel(empty_controller), 400, 380)
    assert panel.plot.message == NO_SESSION
    panel.sweep.click()
    assert not panel.form.button.isEnabled()
    press(panel.export)
    assert dialogs == []
    assert NO_SESSION in panel.problem.text()


def test_a_condition_pressed_out_of_the_legend_is_not_drawn(panel, redraw):
    press(panel.conditions["nothing"])
    redraw()
    assert panel.plot.drawn("neurons", "nothing") == []
    assert len(panel.plot.drawn("neurons", "video")) == 2
    QTest.keyClick(panel.conditions["nothing"], Qt.Key.Key_Space)
    redraw()
    assert len(panel.plot.drawn("neurons", "nothing")) == 2


def test_hidden_it_asks_nothing(panel, controller, predictor, redraw):
    assert controller.state.sweep_shown
    panel.hide()
    redraw()
    assert not controller.state.sweep_shown
    encodings = predictor.counters["encodings"]
    controller.ask_again()
    assert predictor.counters["encodings"] == encodings + 1
    panel.show()
    redraw()
    assert controller.state.sweep_shown
    panel.live.click()
    redraw()
    assert not controller.state.sweep_shown
    assert panel.plot.drawn("neurons", "video") == []


def test_in_a_tab_behind_another_it_asks_nothing(controller, docks, qtbot):
    own, other = docks(ContextPanel(controller), in_front=False)
    assert not controller.state.sweep_shown
    own.raise_()
    wait(qtbot, lambda: controller.state.sweep_shown)
    other.raise_()
    wait(qtbot, lambda: not controller.state.sweep_shown)


def test_a_point_tells_its_numbers(panel, controller):
    plot, box = panel.plot.axes["neurons"], panel.plot.axes["neurons"].plot.getViewBox()
    point = controller.results.sweep.point(Context(16))
    [tip] = [spot.tip for spot in plot._spots if spot.point == point]
    for number in (point.score, point.sem, point.ci_low, point.ci_high):
        assert f"{number:.3f}" in tip
    assert "16 neurons" in tip
    x = place_on("neurons", 16) + plot._dodge("video + behaviour")
    at = canvas_position(panel.plot.canvas, box, x, point.score)
    for _ in range(2):
        view = panel.plot.canvas.viewport()
        send(view, QEvent.Type.MouseMove, at, NO_BUTTON, NO_BUTTON)
    assert tip in box.toolTip()


@pytest.mark.parametrize(
    ("spans", "shown"),
    [
        ([], []),
        ([(0, 9)], [True]),
        ([(0, 9), (14, 20), (15, 22), (40, 50)], [True, False, True, True]),
        ([(0, 9), (16, 20), (25, 30), (31, 40)], [True, True, False, True]),
        ([(0, 9), (10, 20)], [False, True]),
    ],
)
def test_labels_that_would_touch_are_left_out(spans, shown):
    assert fitting(spans, 6) == shown


# -- sweeps in the background ----------------------------------------------------------
def fill_form(panel: ContextPanel, name: str = "mine") -> None:
    panel.sweep.click()
    panel.form.neurons.setText("0, 8")
    panel.form.history.setText("0, 10")
    panel.form.draws.setValue(2)
    panel.form.windows.setValue(2)
    panel.form.name.setText(name)


@pytest.mark.slow
def test_a_sweep_started_in_the_form_is_drawn_and_kept(
    panel, controller, session, redraw
):
    fill_form(panel)
    for number in ("24 points", "2 windows", "48 predictions"):
        assert number in panel.form.summary.text()
    press(panel.form.button)
    redraw()
    [entry] = controller.sweeps.found
    expected = context_sweep(
        NoisyPredictor(),
        session,
        neurons=[0, 8],
        history_samples=[0, 10],
        video=[True, False],
        behavior=[True, False],
        seeds=2,
        max_windows=2,
    )
    assert entry.sweep.table() == expected.table()
    assert_drawn(panel, entry.sweep, line=1)
    assert not panel.sweep.isChecked()
    assert panel.plot.canvas.isVisible()
    panel.keep.click()
    redraw()
    assert panel.kept.list.item(0).text().splitlines() == ["mine", entry.begun]


def test_the_form_leaves_the_curves_where_there_is_room(panel):
    panel.resize(400, 700)
    panel.sweep.click()
    for height, has_room in ((700, True), (240, False)):
        panel.resize(400, height)
        assert panel.plot.canvas.isVisible() == has_room
        assert panel.no_room.isVisible() != has_room
    panel.sweep.click()
    assert panel.plot.canvas.isVisible()
    assert not panel.no_room.isVisible()


def test_what_is_wrong_in_the_form_is_said_there(panel):
    fill_form(panel)
    for history, problem in (("0, 5", "history_samples"), ("0, ten", "whole numbers")):
        panel.form.history.setText(history)
        assert problem in panel.form.summary.text()
        assert not panel.form.button.isEnabled()
    panel.form.history.setText("0, 10")
    assert panel.form.button.isEnabled()
    panel.form.tier.addItem("nowhere")
    panel.form.tier.setCurrentText("nowhere")
    assert "'nowhere'" in panel.form.summary.text()
    assert not panel.form.button.isEnabled()


@pytest.mark.slow
def test_kept_sweeps_are_compared_exported_and_deleted(
    panel, controller, tmp_path, redraw
):
    for name in ("one", "two"):
        fill_form(panel, name)
        panel.form.button.click()
    panel.keep.click()
    redraw()
    assert all(panel.plot.drawn("neurons", "video", line) for line in range(3))
    assert panel.legend.names == ["Live", "one", "two"]
    for name in ("all.csv", "all.png", "all.svg"):
        panel.save(tmp_path / name)
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["sweep"] for row in rows} == {"Live", "one", "two"}
    assert len(rows) == sum(len(each.sweep.table()) for each in panel.sweeps())
    picture, view = QImage(str(tmp_path / "all.png")), panel.plot.canvas.viewport()
    assert picture.width() == 2 * view.width()
    assert picture.height() > 2 * view.height()  # the legend above
    assert QSvgRenderer(str(tmp_path / "all.svg")).isValid()
    words = (tmp_path / "all.svg").read_text()
    assert all(name in words for name in ("nothing", "Live", "one", "two"))
    panel.save(tmp_path / "nowhere" / "all.png")
    assert "nowhere" in panel.problem.text()

    kept = panel.kept
    kept.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    redraw()
    assert len(controller.sweeps.compared) == 1
    assert panel.legend.names == ["Live", "one"]
    kept.list.setCurrentRow(0)
    kept.delete.click()
    assert len(controller.sweeps.found) == 2  # once more, to be sure
    kept.delete.click()
    assert [entry.name for entry in controller.sweeps.found] == ["one"]
    assert len(list(controller.sweeps.folder.iterdir())) == 1


@pytest.fixture
def gate():
    """Holds back the predictor of background sweeps."""
    return GatedPredictor("echo")


@pytest.fixture
def threaded_controller(qapp, session, tmp_path, gate):
    """Answers come on threads; the background's own predictor waits at the gate."""
    loaded: list[EchoPredictor] = []

    def load(*_: object) -> EchoPredictor:
        loaded.append(gate if loaded else NoisyPredictor())
        return loaded[-1]

    made = Controller(post=qt_post(), load=load)
    made.sweeps.folder = tmp_path / "kept"
    made.choose_predictor("echo")
    made.open_session(session)
    made.select(SELECTED)
    yield made
    gate.gate.release(1000)
    made.close()


@pytest.mark.slow
def test_pause_resume_cancel_and_go_on_with_the_mouse(
    threaded_controller, gate, show, qtbot
):
    sweeps = threaded_controller.sweeps
    panel = show(ContextPanel(threaded_controller), 400, 380)

    wait(qtbot, lambda: "fresh" in panel.status.words)
    assert not panel.running.isVisible()
    fill_form(panel)
    press(panel.form.button)
    wait(qtbot, panel.running.isVisible)
    gate.gate.release(6)
    wait(qtbot, lambda: "3 of 24 points" in panel.progress.words)
    press(panel.pause)
    wait(qtbot, lambda: panel.pause.text() == "Resume")
    assert sweeps.is_paused
    press(panel.pause)
    assert not sweeps.is_paused
    gate.gate.release(42)
    wait(qtbot, lambda: not sweeps.is_busy)
    assert sweeps.found[0].is_complete

    while gate.gate.acquire(blocking=False):
        pass
    fill_form(panel)
    press(panel.form.button)
    wait(qtbot, panel.running.isVisible)
    gate.gate.release(4)
    wait(qtbot, lambda: "2 of 24 points" in panel.progress.words)
    press(panel.cancel)
    wait(qtbot, lambda: not panel.running.isVisible())
    gate.gate.release(100)
    press(panel.keep)
    wait(qtbot, lambda: "of 24" in panel.kept.list.item(0).text())
    panel.kept.list.setCurrentRow(0)
    wait(qtbot, panel.kept.go_on.isEnabled)
    press(panel.kept.go_on)
    wait(qtbot, lambda: sweeps.found[0].is_complete)
    assert sweeps.fault is None
