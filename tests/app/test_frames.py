"""Many panels that change in one turn of the event loop are one frame of the window."""

import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QGraphicsScene, QGraphicsView, QHBoxLayout, QWidget

from omnimouse_app.frames import OneFrame
from omnimouse_app.hand import settle, wait_for

pytestmark = pytest.mark.gui
N_VIEWS = 4


class Window(QWidget):
    """Counts the update requests that reach it."""

    requests = 0

    def event(self, event):
        self.requests += event.type() == QEvent.Type.UpdateRequest
        return super().event(event)


class View(QGraphicsView):
    """Counts how often it is painted."""

    painted = 0

    def __init__(self):
        super().__init__()
        self.scenery = QGraphicsScene(0, 0, 40, 40)  # a view keeps none by itself
        self.setScene(self.scenery)
        self.item = self.scenery.addRect(0, 0, 10, 10)

    def paintEvent(self, event):
        self.painted += 1
        super().paintEvent(event)


@pytest.fixture
def row_of_views(qtbot):
    window = Window()
    qtbot.addWidget(window)
    row = QHBoxLayout(window)
    for _ in range(N_VIEWS):
        row.addWidget(View())
    with qtbot.waitExposed(window):
        window.show()
    wait_for(lambda: all(view.painted for view in views(window)), "the first pictures")
    settle(0.1)
    return window


def views(window):
    return window.findChildren(View)


def requests_of_a_change(window):
    """Move something in every view: how many requests that took."""
    before, requests = [view.painted for view in views(window)], window.requests
    for number, view in enumerate(views(window)):
        view.item.moveBy(number + 1, 1)
    wait_for(
        lambda: all(v.painted > n for v, n in zip(views(window), before, strict=True)),
        "every view's picture",
    )
    settle()
    return window.requests - requests


def test_one_frame_shows_what_all_views_changed(row_of_views):
    assert requests_of_a_change(row_of_views) > 1  # Qt alone asks for many
    OneFrame(row_of_views)
    assert requests_of_a_change(row_of_views) == 1
    assert requests_of_a_change(row_of_views) == 1


def test_a_repaint_is_drawn_too(row_of_views):
    OneFrame(row_of_views)
    view = views(row_of_views)[0]
    before = view.painted
    view.viewport().repaint()
    wait_for(lambda: view.painted > before, "the repaint")
