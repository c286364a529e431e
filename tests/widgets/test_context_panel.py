"""The Context panel: live curves, the mark, sweeps in the background, kept ones."""

import csv
from collections.abc import Callable
from time import thread_time
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QImage
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget, QFileDialog, QMainWindow, QWidget

from omnimouse_model.analysis.contexts import Context, context_mask, inputs_label
from omnimouse_model.analysis.live_sweep import SEEDS, live_draw, live_sweep
from omnimouse_model.analysis.sweep import context_sweep
from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window
from omnimouse_model.live.context_mark import mark_of
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.context_spots import place_on
from omnimouse_widgets.drawn.context_words import NO_SELECTION, NO_SESSION
from omnimouse_widgets.qt.context import REST_MS, ContextPanel
from omnimouse_widgets.qt.context_plot import fitting
from omnimouse_widgets.qt.hop import qt_post
from tests.predictors import EchoPredictor, GatedPredictor
from tests.widgets.mouse import NO_BUTTON, place_of, send

SELECTED = [3, 11, 30]
LABELS = tuple(palette.CONDITION_COLOURS)


class Noisy(EchoPredictor):
    """Wrong by an amount that only mask and window decide."""

    def encode(self, window: Window, mask: Mask) -> Encoded:
        found = EchoPredictor.encode(self, window, mask)
        seed = int(np.flatnonzero(mask.visible.ravel()).sum()) + window.start_index
        seed += 7 * bool(mask.frames.any()) + 13 * (mask.behavior == "visible")
        noise = np.random.default_rng(seed).normal(size=window.responses.shape)
        return Encoded(window, mask, found.state + noise.astype(np.float32))


@pytest.fixture
def drawn(qtbot):
    """The panel waits a while for more before it draws; a busy machine for longer."""

    def drawn() -> None:
        qtbot.wait(REST_MS + 100)
        for panel in QApplication.topLevelWidgets():
            if isinstance(panel, ContextPanel) and panel.isVisible():
                panel.redraw.flush()

    return drawn


@pytest.fixture
def noisy(session, tmp_path):
    made = Controller(synchronous=True)
    made.sweeps.folder = tmp_path / "kept"
    made.choose_predictor(Noisy())
    made.open_session(session)
    made.select(SELECTED)
    yield made
    made.close()


@pytest.fixture
def panel(noisy, show):
    return shown(ContextPanel(noisy), show)


def shown(panel: ContextPanel, show: Callable[..., Any]) -> ContextPanel:
    found: ContextPanel = show(panel, 400, 380)
    return found


def test_the_live_curves_are_the_librarys_numbers(panel, noisy, drawn):
    drawn()
    window = noisy.state.window
    assert window is not None
    *_, sweep = live_sweep(
        Noisy(), window, np.array(SELECTED), behavior=(True, False), seeds=SEEDS
    )
    checked = 0
    for curve in sweep.curves():
        on_screen = panel.plot.drawn(curve.axis, curve.label)
        expected = [
            (value, point.score, np.nan_to_num(point.sem))
            for value, point in zip(curve.values, curve.points, strict=True)
        ]
        np.testing.assert_allclose(on_screen, expected, atol=1e-9)
        checked += any(sem > 1e-6 for _, _, sem in on_screen)
    assert checked == 4  # the curves over neurons have error bars
    assert "● fresh" in panel.status.words
    assert f"{len(SELECTED)} neurons" in panel.status.words


def test_every_condition_has_its_colour_and_its_symbol():
    labels = {inputs_label(v, b) for v in (True, False) for b in (True, False)}
    assert set(palette.CONDITION_COLOURS) == set(palette.CONDITION_SYMBOLS) == labels
    assert len(set(palette.CONDITION_COLOURS.values())) == 4
    assert len(set(palette.CONDITION_SYMBOLS.values())) == 4


def test_the_mask_on_screen_is_marked_on_its_point(panel, noisy, drawn):
    draw = live_draw(40, np.array(SELECTED))
    noisy.set_mask(context_mask(Context(16, video=False), draw))
    drawn()
    mark = mark_of(noisy.state, noisy.results)
    assert mark is not None
    plot = panel.plot.axes["neurons"]
    assert plot.line.isVisible()
    assert plot.line.value() == pytest.approx(place_on("neurons", 16))
    [x], [y] = plot.star.getData()
    assert (x, y) == pytest.approx((place_on("neurons", 16), mark.score))
    sweep = noisy.results.sweep
    assert sweep is not None
    [row] = [
        r
        for r in sweep.rows
        if r.context == Context(16, video=False) and r.seed == SEEDS[0]
    ]
    assert y == pytest.approx(row.score, abs=1e-5)
    assert "16 neurons" in panel.mark.words
    assert "behaviour" in panel.mark.words
    noisy.set_mask(context_mask(Context(0, 25), draw))
    drawn()
    assert panel.plot.axes["history_samples"].line.value() == 25


def test_the_star_is_there_where_no_selected_neuron_is_asked(panel, noisy, drawn):
    noisy.apply_preset("random_half_video_behavior")
    assert noisy.state.mask is not None
    seen = np.flatnonzero(~noisy.state.mask.target.any(axis=0))
    noisy.select(seen[:3])
    drawn()
    mark = mark_of(noisy.state, noisy.results)
    assert mark is not None
    [x], [y] = panel.plot.axes["neurons"].star.getData()
    assert (x, y) == pytest.approx((place_on("neurons", 20), mark.score))
    assert panel.mark.words.startswith("☆ this mask: r = ")
    assert panel.mark.toolTip().startswith(panel.mark.words)
    noisy.apply_preset("all_response_only")
    drawn()
    assert len(panel.plot.axes["neurons"].star.getData()[0]) == 0
    assert "not marked: no neuron is asked" in panel.mark.words


def test_it_follows_window_and_selection(panel, noisy, drawn):
    drawn()
    seen = [panel.plot.drawn("neurons", "video")]
    for act in (lambda: noisy.step_window(-1), lambda: noisy.select([5, 6])):
        act()
        drawn()
        seen.append(panel.plot.drawn("neurons", "video"))
    assert seen[0] != seen[1] != seen[2]
    assert len(seen[2]) == 2
    noisy.select([])
    drawn()
    assert panel.plot.message == NO_SELECTION
    assert panel.plot.drawn("neurons", "video") == []


def test_without_a_session_it_says_so(empty, show):
    panel = shown(ContextPanel(empty), show)
    assert panel.plot.message == NO_SESSION
    panel.sweep.click()
    assert not panel.form.button.isEnabled()


def test_nothing_drawn_is_not_exported_and_no_file_asked_for(empty, show, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *w: asked.append(w[1]))
    panel = shown(ContextPanel(empty), show)
    click(panel.export)
    assert asked == []
    assert panel.problem.text().endswith(f"could be saved. {NO_SESSION}.")


def test_a_condition_pressed_out_of_the_legend_is_not_drawn(panel, drawn):
    QTest.mouseClick(panel.conditions["nothing"], Qt.MouseButton.LeftButton)
    drawn()
    assert panel.plot.drawn("neurons", "nothing") == []
    assert len(panel.plot.drawn("neurons", "video")) == 2
    QTest.keyClick(panel.conditions["nothing"], Qt.Key.Key_Space)
    drawn()
    assert len(panel.plot.drawn("neurons", "nothing")) == 2


def test_hidden_it_asks_nothing(panel, noisy, drawn):
    assert noisy.state.sweep_shown
    panel.hide()
    drawn()
    assert not noisy.state.sweep_shown
    counted = dict(asked(noisy).counters)
    noisy.ask_again()
    assert asked(noisy).counters["encodings"] == counted["encodings"] + 1
    panel.show()
    drawn()
    assert noisy.state.sweep_shown
    panel.live.click()
    drawn()
    assert not noisy.state.sweep_shown
    assert panel.plot.drawn("neurons", "video") == []


def asked(controller: Controller) -> Noisy:
    found = controller._asking.predictor
    assert isinstance(found, Noisy)
    return found


def test_in_a_tab_behind_another_it_asks_nothing(noisy, qtbot, drawn):
    window, panel = QMainWindow(), ContextPanel(noisy)
    docks = []
    for widget in (panel, QWidget()):
        dock = QDockWidget("dock", window)
        dock.setWidget(widget)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        docks.append(dock)
    window.tabifyDockWidget(*docks)
    qtbot.addWidget(window)
    window.resize(500, 400)
    docks[1].raise_()
    with qtbot.waitExposed(window):
        window.show()
    qtbot.wait(50)
    assert not noisy.state.sweep_shown
    docks[0].raise_()
    qtbot.waitUntil(lambda: noisy.state.sweep_shown)
    docks[1].raise_()
    qtbot.waitUntil(lambda: not noisy.state.sweep_shown)


def test_a_point_tells_its_numbers(panel, noisy, drawn):
    drawn()
    plot, sweep = panel.plot.axes["neurons"], noisy.results.sweep
    assert sweep is not None
    point = sweep.point(Context(16))
    [tip] = [spot.tip for spot in plot._spots if spot.point == point]
    assert tip.splitlines() == [
        "Live",
        "video + behaviour · 16 neurons",
        f"mean r = {point.score:.3f} ± {point.sem:.3f} s.e.m.",
        "n = 3 draws of 3 neurons, 1 window",
        f"95 % over neurons: {point.ci_low:.3f} to {point.ci_high:.3f}",
    ]
    x = place_on("neurons", 16) + plot._dodge("video + behaviour")
    view = panel.plot.canvas.viewport()
    at = place_of(panel.plot.canvas, plot.plot.getViewBox(), x, point.score)
    for _ in range(2):
        send(view, QEvent.Type.MouseMove, at, NO_BUTTON, NO_BUTTON)
    QTest.qWait(50)
    assert tip in plot.plot.getViewBox().toolTip()


def test_labels_of_an_axis_are_drawn_where_they_do_not_touch(panel, drawn):
    drawn()
    plot = panel.plot.axes["history_samples"]
    plot.show([], (0, 10, 15, 20, 25))
    found = []
    for width in (400, 1200):
        panel.resize(width, 380)
        drawn()
        [ticks] = plot.plot.getAxis("bottom")._tickLevels
        found.append([label.split("\n")[0] for _, label in ticks])
    assert found[1] == ["0", "10", "15", "20", "25"]
    assert set(found[0]) < set(found[1])
    assert found[0][-1] == "25"


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
def set_up(panel: ContextPanel) -> None:
    panel.sweep.click()
    panel.form.neurons.setText("0, 8")
    panel.form.history.setText("0, 10")
    panel.form.draws.setValue(2)
    panel.form.windows.setValue(2)
    panel.form.name.setText("mine")


def expected_sweep(session: Session) -> list[dict[str, object]]:
    return context_sweep(
        Noisy(),
        session,
        neurons=[0, 8],
        history_samples=[0, 10],
        video=[True, False],
        behavior=[True, False],
        seeds=2,
        max_windows=2,
    ).table()


def test_a_sweep_started_in_the_form_is_drawn_and_kept(panel, noisy, session, drawn):
    set_up(panel)
    words = "24 points × 2 windows = 48 predictions · roughly "
    assert panel.form.summary.text().startswith(words)
    assert panel.form.summary.text().endswith("going by the quickest answer so far")
    QTest.mouseClick(panel.form.button, Qt.MouseButton.LeftButton)
    drawn()
    [entry] = noisy.sweeps.found
    assert entry.sweep is not None
    assert entry.sweep.table() == expected_sweep(session)
    for curve in entry.sweep.curves():
        on_screen = panel.plot.drawn(curve.axis, curve.label, line=1)
        expected = [
            (value, p.score, p.sem)
            for value, p in zip(curve.values, curve.points, strict=True)
        ]
        np.testing.assert_allclose(on_screen, expected, atol=1e-9)
    assert not panel.sweep.isChecked()
    assert panel.plot.canvas.isVisible()
    panel.keep.click()
    drawn()
    assert panel.kept.list.item(0).text() == f"mine\n{entry.begun}"


def test_the_form_leaves_the_curves_where_there_is_room(panel):
    panel.resize(400, 700)
    panel.sweep.click()
    assert panel.plot.canvas.isVisible()
    assert not panel.no_room.isVisible()
    panel.resize(400, 240)
    assert not panel.plot.canvas.isVisible()
    assert "No room for the curves" in panel.no_room.text()
    panel.sweep.click()
    assert panel.plot.canvas.isVisible()
    assert not panel.no_room.isVisible()


def test_a_tier_without_windows_is_told_before_the_start(panel):
    set_up(panel)
    panel.form.tier.addItem("nowhere")
    panel.form.tier.setCurrentText("nowhere")
    assert "no window of tier 'nowhere'" in panel.form.summary.text()
    assert not panel.form.button.isEnabled()


def test_what_is_wrong_in_the_form_is_said_there(panel):
    set_up(panel)
    panel.form.history.setText("0, 5")
    assert "history_samples is 0 or 10 to 25" in panel.form.summary.text()
    assert not panel.form.button.isEnabled()
    panel.form.history.setText("0, ten")
    assert "whole numbers" in panel.form.summary.text()
    panel.form.history.setText("0, 10")
    assert panel.form.button.isEnabled()


def test_kept_sweeps_are_compared_exported_and_deleted(panel, noisy, tmp_path, drawn):
    for name in ("one", "two"):
        set_up(panel)
        panel.form.name.setText(name)
        panel.form.button.click()
    panel.keep.click()
    drawn()
    assert [panel.plot.drawn("neurons", "video", line) != [] for line in range(3)] == [
        True,
        True,
        True,
    ]
    assert panel.legend.isVisible()
    assert panel.legend.names == ["Live", "one", "two"]
    panel.save(tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["sweep"] for row in rows} == {"Live", "one", "two"}
    assert len(rows) == sum(len(d.sweep.table()) for d in panel.sweeps())
    for name in ("all.png", "all.svg"):
        panel.save(tmp_path / name)
    picture, view = QImage(str(tmp_path / "all.png")), panel.plot.canvas.viewport()
    assert picture.width() == 2 * view.width()
    assert picture.height() > 2 * view.height()  # the legend above
    assert QSvgRenderer(str(tmp_path / "all.svg")).isValid()
    words = (tmp_path / "all.svg").read_text()
    assert all(name in words for name in ("nothing", "Live", "one", "two"))
    panel.save(tmp_path / "nowhere" / "all.png")
    assert panel.problem.text().startswith("Not saved")

    kept = panel.kept
    kept.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    drawn()
    assert len(noisy.sweeps.compared) == 1
    assert panel.legend.names == ["Live", "one"]
    kept.list.setCurrentRow(0)
    kept.delete.click()
    assert kept.delete.text() == "Really?"
    assert len(noisy.sweeps.found) == 2
    kept.delete.click()
    drawn()
    assert [entry.name for entry in noisy.sweeps.found] == ["one"]
    assert len(list(noisy.sweeps.folder.iterdir())) == 1


@pytest.fixture
def gated():
    return GatedPredictor("echo")


@pytest.fixture
def live(qapp, session, tmp_path, gated):
    """Answers come on threads; the background's own predictor waits at a gate."""
    made_so_far: list[EchoPredictor] = []

    def load(name: str, session: Session | None, device: str) -> EchoPredictor:
        made_so_far.append(gated if made_so_far else Noisy())
        return made_so_far[-1]

    made = Controller(post=qt_post(), load=load)
    made.sweeps.folder = tmp_path / "kept"
    made.choose_predictor("echo")
    made.open_session(session)
    made.select(SELECTED)
    yield made
    for _ in range(1000):
        gated.gate.release()
    made.close()


def test_pause_resume_cancel_and_go_on_with_the_mouse(live, gated, show, qtbot):
    panel = shown(ContextPanel(live), show)
    qtbot.waitUntil(lambda: "● fresh" in panel.status.words, timeout=30_000)
    assert not panel.running.isVisible()
    set_up(panel)
    click(panel.form.button)
    qtbot.waitUntil(panel.running.isVisible)
    for _ in range(6):
        gated.gate.release()
    qtbot.waitUntil(lambda: "3 of 24 points" in panel.progress.words, timeout=30_000)
    click(panel.pause)
    qtbot.waitUntil(lambda: panel.pause.text() == "Resume")
    assert panel.progress.words.endswith("paused")
    for _ in range(100):
        gated.gate.release()
    qtbot.wait(200)
    assert gated.counters["encodings"] <= 7
    click(panel.pause)
    qtbot.waitUntil(lambda: not live.sweeps.is_busy, timeout=30_000)
    assert live.sweeps.found[0].is_complete

    while gated.gate.acquire(blocking=False):
        pass
    set_up(panel)
    click(panel.form.button)
    qtbot.waitUntil(panel.running.isVisible)
    for _ in range(4):
        gated.gate.release()
    qtbot.waitUntil(lambda: "2 of 24 points" in panel.progress.words, timeout=30_000)
    click(panel.cancel)
    qtbot.waitUntil(lambda: not panel.running.isVisible())
    for _ in range(100):
        gated.gate.release()
    click(panel.keep)
    qtbot.waitUntil(lambda: "of 24" in panel.kept.list.item(0).text())
    panel.kept.list.setCurrentRow(0)
    qtbot.waitUntil(panel.kept.go_on.isEnabled)
    click(panel.kept.go_on)
    qtbot.waitUntil(lambda: live.sweeps.found[0].is_complete, timeout=30_000)
    assert live.sweeps.fault is None


def click(button: QWidget) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_nothing_holds_the_thread_that_draws(panel, noisy):
    """A redraw of a live and four kept sweeps and of the mark, in processor time."""
    for number in range(4):
        set_up(panel)
        panel.form.name.setText(f"no {number}")
        panel.form.button.click()
    spent = []
    for number in range(12):
        noisy.step_window(-1 if number % 2 else 1)
        panel.conditions["nothing"].setChecked(number % 2 == 0)
        since = thread_time()
        panel.redraw.start()
        panel.plot.canvas.viewport().repaint()
        spent.append((thread_time() - since) * 1e3)
    assert np.median(spent) < 50, spent
