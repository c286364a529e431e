"""A controller on a small recording, a panel on a screen, and a hand on the mouse."""

from typing import Any

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.live.controller import Controller
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session

N_NEURONS = 40


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """Forty neurons, four trials of four tiers, video and behaviour."""
    return write_session(tmp_path_factory.mktemp("recording") / "mouse", N_NEURONS)


@pytest.fixture
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
def empty():
    """No session open."""
    made = Controller(synchronous=True)
    yield made
    made.close()


@pytest.fixture
def show(qtbot):
    """Put a panel on screen at a size, and wait until it is there."""

    def shown(panel: Any, width: int = 600, height: int = 300) -> Any:
        qtbot.addWidget(panel)
        panel.resize(width, height)
        with qtbot.waitExposed(panel):
            panel.show()
        panel.activateWindow()
        qtbot.wait(20)
        return panel

    return shown


@pytest.fixture
def drawn(qtbot):
    """Let everything that was asked to be drawn be drawn."""
    return lambda: qtbot.wait(20)
