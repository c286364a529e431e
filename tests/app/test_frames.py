"""Many panels that change in one turn of the event loop are one frame of the window."""

import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QGraphicsScene, QGraphicsView, QHBoxLayout, QWidget

from omnimouse_app.frames import OneFrame
from omnimouse_app.hand import settle, wait_for

N_VIEWS = 4


class Window(QWidget):
    """Counts the update requests that reach it."""

    def __init__(self):
        super().__init__()
        self.requests = 0

    def event(self, event):
        self.requests += event.type() == QEvent.Type.UpdateRequest
        return super().event(event)


class View(QGraphicsView):
    """Counts how often it is painted."""

    def __init__(self):
        super().__init__()
        self.scenery = QGraphicsScene(0, 0, 40, 40)  # a view keeps none by itself
        self.setScene(self.scenery)
        self.painted = 0
        self.item = self.scenery.addRect(0, 0, 10, 10)

    def paintEvent(self, event):
        self.painted += 1
        super().paintEvent(event)


@pytest.fixture
def window(qapp):
    window = Window()
    row = QHBoxLayout(window)
    for _ in range(N_VIEWS):
        row.addWidget(View())
    window.show()
    settle(0.3)
    yield window
    window.close()


def painted(window):
    return [view.painted for view in window.findChildren(View)]


def change(window):
    """Move something in every view, and say how many requests and paintings it took."""
    before, requests = painted(window), window.requests

    def all_are_new():
        return all(a > b for a, b in zip(painted(window), before, strict=True))

    for number, view in enumerate(window.findChildren(View)):
        view.item.moveBy(number + 1, 1)
    wait_for(all_are_new, "every view's picture")
    settle(0.05)
    return window.requests - requests


def test_qt_alone_asks_for_many_frames(window):
    assert change(window) > 1


def test_one_frame_shows_what_all_views_changed(window):
    OneFrame(window)
    assert change(window) == 1
    assert change(window) == 1


def test_a_repaint_is_drawn_too(window):
    OneFrame(window)
    view = window.findChildren(View)[0]
    before = view.painted
    view.viewport().repaint()
    wait_for(lambda: view.painted > before, "the repaint")
