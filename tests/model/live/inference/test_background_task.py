"""Background tasks: folders, clock checks, other series."""

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from omnimouse_model.data import session_index
from omnimouse_model.data.session_index import Entry, holds_sessions
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference import background_task
from omnimouse_model.live.inference.background_task import PausableJob, percent_job
from omnimouse_model.live.state_store import read_last_session
from tests import SUITE2P
from tests.model.drawing_thread import DrawingThread
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sessions, at two levels."""
    root = tmp_path_factory.mktemp("recordings")
    for name in ("a", "b", "lab/c"):
        write_session(root / name, n_neurons=12)
    return root


@pytest.fixture
def drawing_thread():
    made = DrawingThread(load=lambda *_: EchoPredictor())
    yield made
    made.controller.close()


def test_another_thread_can_pause_work_while_listeners_are_told_that_it_waits(monkeypatch):
    monkeypatch.setattr(background_task, "TOLD_AFTER_S", 0.0)
    awaited, told = [True], []

    def listen():
        told.append(job.is_waiting)
        other = threading.Thread(target=job.pause, args=(False,), daemon=True)
        other.start()
        other.join(5.0)
        # As a listener that waits for a lock of that thread: both would wait for ever.
        assert not other.is_alive()
        awaited.clear()

    job = PausableJob(lambda: bool(awaited), listen)
    assert not job.cancelled()
    assert told == [True, False]


def test_a_folder_is_read_in_the_background(drawing_thread, folder, monkeypatch):
    read_on, entry_of = set(), session_index._entry

    def noted(path: Path, reading: Mapping[str, Any]) -> Entry:
        read_on.add(threading.current_thread())
        return entry_of(path, reading)

    monkeypatch.setattr(session_index, "_entry", noted)
    recordings, words, counts = drawing_thread.controller.recordings, [], []

    def listen() -> None:
        words.append(recordings.message)
        counts.append(len(recordings.index))

    recordings.changed.connect(listen)
    recordings.read_folder(folder)
    assert recordings.is_busy
    assert len(recordings.index) == 0
    drawing_thread.draw_until(lambda: not recordings.is_busy)
    found = [str(entry.path.relative_to(folder)) for entry in recordings.index]
    assert found == ["a", "b", str(Path("lab/c"))]
    assert sorted(set(counts)) == [0, 1, 2, 3]
    assert "2 of 3: c" in words
    assert words[-1] == ""
    assert threading.current_thread() not in read_on


def test_folders_of_sessions_are_recognised(folder, tmp_path):
    assert holds_sessions(folder)
    assert not holds_sessions(folder / "a")
    assert not holds_sessions(folder / "lab")  # one session: that is opened
    assert not holds_sessions(tmp_path / "gone")
    for number in range(3):
        (tmp_path / f"{number}.tif").touch()
    assert not holds_sessions(tmp_path)
    for name in ("x", "y"):
        shutil.copytree(SUITE2P, tmp_path / "mouse" / name)
    assert holds_sessions(tmp_path)


@pytest.mark.slow
def test_clocks_are_checked_in_the_background_with_progress(drawing_thread, folder):
    controller, words = drawing_thread.controller, []
    controller.clock_check.check()
    assert not controller.clock_check.is_busy  # there is no session
    controller.loader.open_now(folder / "a")
    check = controller.clock_check
    check.changed.connect(lambda: words.append(check.message))
    check.check()
    assert check.is_busy
    assert check.report is None
    drawing_thread.draw_until(lambda: not check.is_busy)
    assert [lag.first for lag in check.report.lags] == ["screen", "running", "running"]
    # Between the first and the last, as many as the time allows.
    shares = [int(w.split(": ")[1].split(" %")[0]) for w in words if ": " in w]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    controller.loader.open_now(folder / "b")
    assert check.report is None


@pytest.mark.slow
def test_another_series_is_read_at_the_same_window_and_after_a_restart(tmp_path):
    memory = tmp_path / "live.json"
    controller = Controller(synchronous=True, session_file=memory)
    controller.model.choose(EchoPredictor())
    controller.loader.open_now(Path(shutil.copytree(SUITE2P, tmp_path / "m7")))
    before = controller.state.session
    controller.navigation.seek(20.0)
    start_s = controller.state.window.start_s
    controller.loader.reopen(series="dff")
    state = controller.state
    assert (state.session.series, state.session.path) == ("dff", before.path)
    assert state.window.start_s == start_s
    assert read_last_session(memory).options == {"series": "dff"}
    controller.loader.reopen(series="calcium")
    assert "no series 'calcium'" in str(controller.loader.error)
    assert state.session.series == "dff"
    controller.close()
    again = Controller(synchronous=True, session_file=memory)
    assert again.project.restore()
    assert again.state.session.series == "dff"
    again.close()


def test_long_work_says_that_its_time_is_not_known_yet():
    told = []
    job = percent_job(lambda text, share: told.append(text), "All", ", no time known yet")
    for done in (1, 99):
        job.progress(done, 100)
    assert told[0] == "All: 1 %, no time known yet"
    assert told[1].startswith("All: 99 %")
    assert "no time" not in told[1]
