"""A panel on a screen, and a hand on the mouse."""

from typing import Any

import pytest
from qtpy.QtWidgets import QApplication

from omnimouse_widgets.qt.style.redraw import Redraw


@pytest.fixture
def show(qtbot, redraw):
    """Put a panel on screen at a size, and wait until it is there."""

    def show(panel: Any, width: int = 600, height: int = 300) -> Any:
        qtbot.addWidget(panel)
        panel.resize(width, height)
        with qtbot.waitExposed(panel, timeout=30_000):
            panel.show()
        with qtbot.waitActive(panel, timeout=30_000):  # keys go to the active window
            panel.activateWindow()
        redraw()
        return panel

    return show


@pytest.fixture
def redraw(qapp):
    """Draw at once what is in sight and was asked to be drawn."""

    def redraw() -> None:
        for _ in range(3):  # what is drawn may ask for more
            QApplication.processEvents()
            for window in QApplication.topLevelWidgets():
                for parts in window.findChildren(Redraw):
                    if not parts.parent().visibleRegion().isEmpty():
                        parts.flush()

    return redraw
