"""Panels of the docks: built when they first come to the front, and seen at once."""

from itertools import islice

import pytest
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_app.window.docks import LAYOUT, DockLayout
from omnimouse_app.window.panels import PanelFrame
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state_store import LastSession, StateStore
from omnimouse_widgets.views.registry import Dock, docks

pytestmark = pytest.mark.gui


class EmptyPaints(QObject):
    """Notes whether a frame was painted before it had its panel."""

    def __init__(self, frame: PanelFrame) -> None:
        super().__init__(frame)
        self.frame, self.seen = frame, False
        frame.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.Paint:
            self.seen |= not self.frame.is_built
        return False


@pytest.fixture
def controller():
    controller = Controller()
    yield controller
    controller.close()


@pytest.fixture
def tabs(qtbot, controller):
    """A window with three tabs; the first is in front."""
    window, tabs = QMainWindow(), {}
    qtbot.addWidget(window)
    for panel, place in islice(docks(), 3):
        frame = PanelFrame(place, controller)
        tabs[panel.title] = dock = QDockWidget(panel.title, window)
        dock.setObjectName(panel.title)
        dock.setWidget(frame)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        dock.visibilityChanged.connect(frame.follow)
    window.tabifyDockWidget(tabs["Traces"], tabs["Context"])
    window.tabifyDockWidget(tabs["Context"], tabs["Behaviour"])
    tabs["Traces"].raise_()
    window.resize(700, 500)
    with qtbot.waitExposed(window):
        window.show()
    settle()
    return window, tabs


def built(docks):
    return {title for title, dock in docks.items() if dock.widget().is_built}


def test_a_tab_in_front_has_its_panel_before_it_is_painted(tabs):
    window, docks = tabs
    assert built(docks) == {"Traces"}
    sizes = window.size(), docks["Traces"].size()
    frame = docks["Context"].widget()
    paints = EmptyPaints(frame)
    docks["Context"].raise_()
    wait_for(lambda: not frame.build().visibleRegion().isEmpty(), "the panel")
    assert not paints.seen
    assert built(docks) == {"Traces", "Context"}
    assert (window.size(), docks["Context"].size()) == sizes


def test_a_layout_that_returns_and_a_dock_that_floats_show_their_panels(tabs):
    window, docks = tabs
    front = window.saveState()
    docks["Behaviour"].close()
    docks["Context"].raise_()
    settle()
    assert built(docks) == {"Traces", "Context"}
    docks["Behaviour"].setFloating(True)
    docks["Behaviour"].show()
    wait_for(lambda: built(docks) == set(docks), "the panel that floats")
    assert window.restoreState(front)
    wait_for(lambda: docks["Traces"].widget().build().isVisible(), "the panel")


def test_a_panel_that_cannot_be_built_says_why_in_its_dock(qtbot, controller, panel_errors):
    frame = PanelFrame(Dock("qt.traces:Missing", "right", "results"), controller)
    qtbot.addWidget(frame)
    frame.show()
    frame.follow(True)
    texts = [label.text() for label in frame.findChildren(QWidget) if hasattr(label, "text")]
    assert any("Missing" in text for text in texts)
    assert len(panel_errors) == 1
    panel_errors.clear()
    with pytest.raises(AttributeError, match="Missing"):
        frame.build()


def test_each_of_two_windows_comes_back_with_its_own_tabs(qtbot, tmp_path):
    left = Qt.DockWidgetArea.LeftDockWidgetArea

    def opened(store):
        window = QMainWindow()
        qtbot.addWidget(window)
        tabs = [QDockWidget(name, window) for name in ("a", "b")]
        for tab in tabs:
            tab.setObjectName(tab.windowTitle())
            window.addDockWidget(left, tab)
        window.tabifyDockWidget(*tabs)
        layout = DockLayout(window, store.file_of_window(LAYOUT))
        window.show()
        layout.restore()
        settle(0.05)
        return window, tabs

    stores = [StateStore(tmp_path / "live.json") for _ in range(2)]
    windows = [opened(store) for store in stores]
    for number, (window, tabs) in enumerate(windows):
        tabs[number].raise_()
        settle(0.05)
        stores[number].save(LastSession(session=f"of {number}"))
        assert window.close()
        stores[number].end()
    # The newest comes back first; the window that was closed last is "of 1".
    for number in (1, 0):
        store = StateStore(tmp_path / "live.json")
        assert store.load().session == f"of {number}"
        _, tabs = opened(store)
        assert not tabs[number].visibleRegion().isEmpty()
        assert tabs[1 - number].visibleRegion().isEmpty()
        stores.append(store)
    for store in stores[2:]:
        store.end()
