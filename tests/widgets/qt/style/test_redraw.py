import sys
import threading
from functools import partial

import pytest
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, Qt, QThread
from qtpy.QtWidgets import QPushButton, QWidget

from omnimouse_widgets.qt.style.redraw import (
    FaultNotice,
    Redraw,
    VisibilityMonitor,
    field_first,
    qt_post,
)
from omnimouse_widgets.views.record import REST_S
from tests.widgets.pointer import next_turn, pass_time, stop_clock, wait


class Source:
    first = Signal()
    second = Signal()


class Panel(QWidget):
    def __init__(self, source: Source) -> None:
        super().__init__()
        self.calls: list[str] = []
        parts = [
            (lambda: self.calls.append("a"), [source.first]),
            (lambda: self.calls.append("b"), [source.first, source.second]),
        ]
        self.redraw = Redraw(self, *parts)


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def panel(source, qtbot):
    made = Panel(source)
    qtbot.addWidget(made)
    return made


def test_a_hidden_panel_holds_no_connection_and_draws_nothing(panel, source, show):
    source.first.emit()
    assert len(source.first) == 0
    assert panel.calls == []
    panel.show()
    assert panel.calls == ["a", "b"]
    source.first.emit()
    panel.calls.clear()
    panel.hide()
    assert len(source.first) == len(source.second) == 0
    assert panel.calls == []
    panel.show()
    assert panel.calls == ["a", "b"]


@pytest.mark.parametrize(("n_first", "parts"), [(0, ["b"]), (50, ["a", "b"])])
def test_many_signals_are_one_drawing(panel, source, show, redraw, n_first, parts):
    show(panel)
    panel.calls.clear()
    for _ in range(n_first):
        source.first.emit()
    for _ in range(50):
        source.second.emit()
    assert panel.calls == []
    redraw()
    assert panel.calls == parts


def test_panels_follow_a_stroke_on_the_field_a_little_later(
    panel, source, show, qapp, qtbot, monkeypatch
):
    monkeypatch.setattr("omnimouse_widgets.qt.style.redraw._WAIT_MS", 3_600_000)
    show(panel)
    panel.calls.clear()
    with field_first():
        source.second.emit()
        qapp.processEvents()
        assert panel.calls == []
    panel.redraw.flush()
    assert panel.calls == ["b"]
    monkeypatch.setattr("omnimouse_widgets.qt.style.redraw._WAIT_MS", 1)
    with field_first():
        source.second.emit()
    qtbot.waitUntil(lambda: panel.calls == ["b", "b"])
    source.second.emit()
    qapp.processEvents()
    assert panel.calls == ["b", "b", "b"]


def test_a_part_that_fails_is_shown_and_leaves_the_others_drawn(qtbot, qapp, show, panel_errors):
    calls: list[str] = []

    def fail() -> None:
        raise ValueError("no such colour")

    panel = QWidget()
    redraw = Redraw(panel, (fail, []), (lambda: calls.append("after"), []))
    show(panel)
    assert calls[-1] == "after"
    (notice,) = panel.findChildren(FaultNotice)
    assert notice.isVisible()
    assert "ValueError: no such colour" in notice.label.text()
    qtbot.mouseClick(notice.copy, Qt.MouseButton.LeftButton)
    assert "in fail" in qapp.clipboard().text()
    redraw.start()
    # The same error again is not reported again.
    assert len(panel_errors) == 1
    panel_errors.clear()


class PanelWithButton(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton("Fit", self)
        self.button.clicked.connect(lambda: self.fit())
        self.redraw = Redraw(self)

    def fit(self) -> None:
        raise ValueError("no curve fits")


def test_an_error_of_a_button_is_shown_in_its_panel_alone(qtbot, show, panel_errors, monkeypatch):
    others = []
    monkeypatch.setattr(sys, "excepthook", lambda *told: others.append(told[1]))
    panel = PanelWithButton()
    show(panel)
    panel.repaint()
    qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    (notice,) = panel.findChildren(FaultNotice)
    assert "ValueError: no curve fits" in notice.label.text()
    assert len(panel_errors) == 1
    panel_errors.clear()
    assert not others
    outside = KeyError("of no panel")
    sys.excepthook(KeyError, outside, None)
    assert others == [outside]


def test_a_panel_that_is_hidden_before_it_was_seen_is_told(panel):
    reports = []
    monitor = VisibilityMonitor(panel, reports.append)
    panel.show()
    panel.hide()
    assert not monitor.is_visible
    assert reports == [False]


def test_a_part_that_grows_rests_between_two_drawings(source, qtbot, show, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("omnimouse_widgets.qt.style.redraw.monotonic", lambda: now[0])
    panel = QWidget()
    calls: list[str] = []
    parts = [
        (lambda: calls.append("a"), [source.first]),
        (lambda: calls.append("b"), [source.first]),
    ]
    panel.redraw = Redraw(panel, *parts, resting=[1])
    show(panel)
    calls.clear()
    now[0] += REST_S / 2
    source.first.emit()
    panel.redraw.flush(is_due=True)
    assert calls == ["a"]
    now[0] += REST_S
    panel.redraw.flush(is_due=True)
    assert calls == ["a", "b"]


# -- calls from other threads ----------------------------------------------------------
def test_calls_run_on_the_qt_thread_in_order(qtbot):
    post, calls = qt_post(), []

    def call(number: int) -> None:
        is_there = QThread.currentThread() is QCoreApplication.instance().thread()
        calls.append((number, is_there))

    def work() -> None:
        for number in range(20):
            post(partial(call, number))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert calls == []  # posting never runs the call, and never waits
    wait(qtbot, lambda: len(calls) == 20)
    assert calls == [(number, True) for number in range(20)]


def test_a_call_from_the_qt_thread_is_also_put_off(qtbot):
    calls: list[int] = []
    post = qt_post()
    post(partial(calls.append, 1))
    assert calls == []
    wait(qtbot, lambda: calls == [1])


# -- panels and frames leave each other turns -----------------------------------------
@pytest.fixture
def clock(monkeypatch):
    return stop_clock(monkeypatch)


@pytest.mark.parametrize(
    ("frame_s", "pause_s", "n_waits"), [(0.02, 0.0, 3), (0.01, 0.0, 0), (0.02, 0.02, 0)]
)
def test_a_panel_waits_at_most_three_turns_after_a_long_frame(
    panel, source, show, clock, frame_s, pause_s, n_waits
):
    show(panel)
    panel.calls.clear()
    pass_time(clock, Redraw.frames, frame_s)
    clock[0] += pause_s
    source.first.emit()
    for _ in range(n_waits):
        next_turn(panel.redraw)
        assert panel.calls == []
    next_turn(panel.redraw)
    assert panel.calls == ["a", "b"]


def test_panels_that_are_drawn_together_are_long_together(source, show, qtbot, clock):
    panels = []
    for _ in range(2):
        panel = QWidget()
        qtbot.addWidget(panel)

        def draw() -> None:
            clock[0] += 0.01

        panel.redraw = Redraw(panel, (draw, [source.first]))
        show(panel)
        panels.append(panel)
    clock[0] += 1.0
    for panel, is_long in zip(panels, (False, True), strict=True):
        panel.redraw.request(0)
        panel.redraw.flush()
        assert Redraw.panels.is_long == is_long
    clock[0] += 0.02
    assert not Redraw.panels.is_long
