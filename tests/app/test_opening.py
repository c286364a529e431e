"""`launch()`: what it opens, and what the user's own choice wins over."""

from types import SimpleNamespace

import pytest

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.memory import Remembered, remember

pytestmark = pytest.mark.gui


@pytest.fixture
def controller(monkeypatch, tmp_path, session_folder):
    """The instrument's, with the small session and `mean` remembered."""
    memory = tmp_path / "live.json"
    remember(Remembered(str(session_folder), "mean"), memory)
    made = Controller(synchronous=True, memory=memory)
    dock = SimpleNamespace(controller=made)
    monkeypatch.setattr("omnimouse_app.docks.open_instrument", lambda viewer: dock)
    yield made
    made.close()


def launched(**chosen):
    from omnimouse_app.opening import launch

    return launch(viewer=object(), **chosen).controller.state


def test_the_chosen_model_wins_over_the_remembered_one(controller, session_folder):
    state = launched(model="last")
    assert state.session.path == session_folder
    assert state.predictor_name == "last"


def test_without_a_choice_it_is_as_it_was_left(controller, session_folder):
    state = launched()
    assert state.session.path == session_folder
    assert state.predictor_name == "mean"


def test_where_the_remembered_session_is_gone_the_demo_is_opened(
    controller, session_folder, monkeypatch, tmp_path
):
    remember(Remembered(str(tmp_path / "gone"), "mean"), tmp_path / "live.json")
    monkeypatch.setattr("omnimouse_app.samples.demo_folder", lambda: session_folder)
    state = launched(model="last")
    assert state.session.path == session_folder
    assert state.predictor_name == "last"
