import gc

import pytest
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QEvent, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from omnimouse_widgets.qt.redraw import Redraw


class Source:
    first = Signal()
    second = Signal()


class Panel(QWidget):
    def __init__(self, source: Source) -> None:
        super().__init__()
        self.drawn: list[str] = []
        self.redraw = Redraw(
            self,
            [
                (lambda: self.drawn.append("a"), [source.first]),
                (lambda: self.drawn.append("b"), [source.first, source.second]),
            ],
        )


def test_a_hidden_panel_holds_no_connection_and_draws_nothing(qtbot):
    source = Source()
    panel = Panel(source)
    qtbot.addWidget(panel)
    source.first.emit()
    assert len(source.first) == 0
    assert panel.drawn == []


def test_showing_draws_everything_in_order(qtbot):
    panel = Panel(Source())
    qtbot.addWidget(panel)
    panel.show()
    assert panel.drawn == ["a", "b"]


def test_a_signal_draws_the_parts_that_depend_on_it(show, drawn):
    source = Source()
    panel = show(Panel(source))
    panel.drawn.clear()
    source.second.emit()
    drawn()
    assert panel.drawn == ["b"]


def test_many_signals_are_one_drawing(show, drawn):
    source = Source()
    panel = show(Panel(source))
    panel.drawn.clear()
    for _ in range(50):
        source.first.emit()
        source.second.emit()
    assert panel.drawn == []
    drawn()
    assert panel.drawn == ["a", "b"]


def test_hiding_drops_every_connection_and_showing_draws_again(show):
    source = Source()
    panel = show(Panel(source))
    source.first.emit()
    panel.drawn.clear()
    panel.hide()
    assert len(source.first) == len(source.second) == 0
    assert panel.drawn == []
    panel.show()
    assert panel.drawn == ["a", "b"]


def test_a_destroyed_panel_leaves_no_connection(qtbot):
    source = Source()
    panel = Panel(source)
    panel.show()
    assert len(source.first) == 2
    panel.deleteLater()
    QCoreApplication.sendPostedEvents(panel, QEvent.Type.DeferredDelete)
    del panel
    gc.collect()
    assert len(source.first) == 0
    source.first.emit()


def test_a_part_that_fails_leaves_the_others_drawn(qtbot):
    drawn: list[str] = []

    def fail() -> None:
        drawn.append("failing")
        raise ValueError("no such colour")

    panel = QWidget()
    qtbot.addWidget(panel)
    parts = [(fail, []), (lambda: drawn.append("after"), [])]
    redraw = Redraw(panel, parts)
    redraw.ask(0)
    redraw.ask(1)
    with pytest.raises(ValueError, match="no such colour"):
        redraw.flush()
    assert drawn == ["failing", "after"]


def test_a_panel_behind_another_tab_is_drawn_when_it_comes_to_the_front(
    qtbot, show, drawn
):
    source, window = Source(), QMainWindow()
    panels, docks = (Panel(source), Panel(source)), []
    for number, panel in enumerate(panels):
        docks.append(QDockWidget(str(number)))
        docks[-1].setWidget(panel)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, docks[-1])
    window.tabifyDockWidget(*docks)
    show(window, 400, 300)
    docks[0].raise_()
    drawn()
    for panel in panels:
        panel.drawn.clear()
    for _ in range(3):
        source.first.emit()
        drawn()
    assert panels[0].drawn == ["a", "b"] * 3
    assert panels[1].drawn == []
    docks[1].raise_()
    qtbot.waitUntil(lambda: panels[1].drawn == ["a", "b"])
