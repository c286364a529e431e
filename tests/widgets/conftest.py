"""A controller on a small recording, a panel on a screen, and a hand on the mouse."""

from typing import Any

import pytest
from qtpy.QtWidgets import QApplication

from omnimouse_model.data.open import open_session
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.redraw import Redraw
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """Forty neurons, four trials of four tiers, video and behaviour."""
    return write_session(tmp_path_factory.mktemp("recording") / "mouse", 40)


@pytest.fixture(scope="session")
def session(session_folder):
    return open_session(session_folder)


@pytest.fixture
def controller(session):
    """A session open, with a predictor that answers at once with truth plus one."""
    made = Controller(synchronous=True)
    made.choose_predictor(EchoPredictor())
    made.open_session(session)
    made.apply_preset("nothing")
    made.select([])
    yield made
    made.close()


@pytest.fixture
def empty_controller():
    """A controller without a session."""
    made = Controller(synchronous=True)
    yield made
    made.close()


@pytest.fixture
def show(qtbot, redraw):
    """Put a panel on screen at a size, and wait until it is there."""

    def show(panel: Any, width: int = 600, height: int = 300) -> Any:
        qtbot.addWidget(panel)
        panel.resize(width, height)
        with qtbot.waitExposed(panel, timeout=30_000):
            panel.show()
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
