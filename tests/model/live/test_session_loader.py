"""Recordings are read off the drawing thread; the newest opening wins."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.live.session_loader import OpenRequest
from tests.model.drawing_thread import TIMEOUT, DrawingThread
from tests.small_sessions import write_session


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_session(tmp_path_factory.mktemp("opening") / "other", n_neurons=20)


class OpeningThread(DrawingThread):
    """Drawing thread of a controller that opens recordings."""

    def __init__(self) -> None:
        super().__init__()
        self.opener, self.state = self.controller.loader, self.controller.state
        self.said: list[str] = []
        self.opener.changed.connect(lambda: self.said.append(self.opener.message))

    def draw_all(self) -> None:
        self.draw_until(lambda: not self.opener.is_busy)


@pytest.fixture
def drawing_thread():
    made = OpeningThread()
    yield made
    made.controller.close()


def test_the_drawing_thread_reads_no_file(drawing_thread, session_folder, monkeypatch):
    read_on: set[threading.Thread] = set()
    read = Signal.window

    def noted(signal: Signal, *arguments: object) -> object:
        read_on.add(threading.current_thread())
        return read(signal, *arguments)

    monkeypatch.setattr(Signal, "window", noted)
    drawing_thread.opener.open(session_folder)
    assert drawing_thread.opener.is_busy
    assert drawing_thread.state.session is None
    drawing_thread.draw_all()
    state = drawing_thread.state
    assert state.session.path == session_folder
    assert len(state.selection) == 4
    assert state.window.start_s in state.session.window_starts(tier="test")
    assert read_on
    assert threading.current_thread() not in read_on
    assert drawing_thread.said == ["Opening small", ""]


def test_a_front_end_gets_the_session_before_it_is_shown(drawing_thread, session_folder):
    got: list[tuple[Session, bool, threading.Thread]] = []
    state = drawing_thread.state
    drawing_thread.opener.on_read = lambda session: got.append(
        (session, state.session is None, threading.current_thread())
    )
    drawing_thread.opener.open(session_folder)
    drawing_thread.draw_all()
    ((session, is_before, thread),) = got
    assert session is state.session
    assert is_before
    assert thread is not threading.current_thread()


def test_listeners_see_one_recording_and_its_prediction_is_already_requested(
    drawing_thread, session_folder, other
):
    state, client = drawing_thread.state, drawing_thread.controller.requests.client
    drawing_thread.controller.model.choose("mean")
    seen = []

    def note() -> None:
        session, window, mask = state.session, state.window, state.mask
        is_one = window.session is session and mask.visible.shape[1] == session.n_neurons
        seen.append((session.path, is_one, client.is_up_to_date))

    for name in ("session", "window", "mask", "selection", "cursor", "preset"):
        getattr(state.events, name).connect(note)
    for place in (session_folder, other):
        drawing_thread.opener.open(place)
        drawing_thread.draw_all()
        assert set(seen) == {(place, True, True)}
        seen.clear()


@pytest.mark.slow
def test_a_newer_opening_stops_the_previous_one(drawing_thread, other):
    begun, stopped = threading.Event(), threading.Event()

    def endless(tell: Callable[[float], None]) -> Path:
        begun.set()
        try:
            while True:
                tell(0.5)
        finally:
            stopped.set()

    drawing_thread.opener.open(OpenRequest(endless, message="Simulating"))
    assert begun.wait(TIMEOUT)
    drawing_thread.opener.open(other)
    assert stopped.wait(TIMEOUT)
    drawing_thread.draw_all()
    assert drawing_thread.state.session.path == other
    assert drawing_thread.said[-1] == ""
    assert drawing_thread.opener.error is None


def test_a_failed_opening_changes_nothing(drawing_thread, session_folder, tmp_path):
    drawing_thread.opener.open(session_folder)
    drawing_thread.draw_all()
    before = drawing_thread.state.session
    drawing_thread.opener.open(tmp_path)
    drawing_thread.draw_all()
    assert isinstance(drawing_thread.opener.error, SessionFormatError)
    assert drawing_thread.state.session is before
    drawing_thread.opener.open(session_folder)
    assert drawing_thread.opener.error is None
    drawing_thread.draw_all()


def test_the_fallback_is_opened_after_an_error(drawing_thread, other, tmp_path, caplog):
    instead = OpenRequest(other, message="Opening the other")
    drawing_thread.opener.open(OpenRequest(tmp_path, 1.0, "Opening", instead))
    drawing_thread.draw_all()
    assert drawing_thread.state.session.path == other
    assert drawing_thread.opener.error is None
    assert str(tmp_path) in caplog.text
