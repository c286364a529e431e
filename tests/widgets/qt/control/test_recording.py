"""The section that opens recordings: what it shows, and what it asks."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QInputDialog

import omnimouse_model as om
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state_store import read_last_session
from omnimouse_widgets.qt.control.panel import RecordingSection, Sections
from tests import SUITE2P
from tests.predictors import EchoPredictor
from tests.widgets.pointer import press, wait


@pytest.fixture
def without_rate(tmp_path):
    """A suite2p folder in which no file says how often planes were scanned."""
    root = Path(shutil.copytree(SUITE2P, tmp_path / "m5"))
    for path in root.glob("suite2p/plane*/ops.npy"):
        ops = np.load(path, allow_pickle=True).item()
        del ops["fs"]
        np.save(path, ops, allow_pickle=True)
    return root


@pytest.fixture
def memory(tmp_path):
    """Where the controller remembers where it was."""
    return tmp_path / "live.json"


@pytest.fixture
def controller(memory):
    """Without a session."""
    made = Controller(synchronous=True, session_file=memory)
    made.model.choose(EchoPredictor())
    yield made
    made.close()


@pytest.fixture
def section(controller, show):
    return show(Sections.of(controller).recording, 400, 400)


def test_a_missing_rate_is_asked_for(section, controller, without_rate, qtbot, memory):
    assert not section.rate.isVisible()
    section.open_folder(without_rate)
    wait(qtbot, section.rate.isVisible)
    assert "fs" in section.problem.text()
    box = section.rate.controls["rate_hz"].native
    QTest.keyClick(box, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(box, "12.5")
    press(section.use_rate)
    wait(qtbot, lambda: not section.rate.isVisible())
    state = controller.state
    assert state.session.responses.rate_hz == 12.5
    assert not state.mask.frames.any()
    assert state.mask.behavior == "hidden"
    assert "behaviour" in state.mask.note
    assert read_last_session(memory).options == {"rate_hz": 12.5}


def test_recent_recordings_open_from_the_menu(section, controller, session_folder):
    section.open_folder(session_folder)
    section.open.menu().aboutToShow.emit()
    (action,) = section.recent.actions()
    assert action.text() == session_folder.name
    controller.loader.open_now(om.open_session(SUITE2P))
    action.trigger()
    assert controller.state.session.path == session_folder
    assert controller.store.recent_recordings == (str(session_folder), str(SUITE2P))


def test_one_menu_has_folders_files_addresses(section, controller, qtbot, monkeypatch):
    def choose(kind: str, path: Path | str) -> None:
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(path))
        action(section, kind).trigger()

    folder, file, *_ = (each.text() for each in actions(section))
    choose(folder, SUITE2P)
    assert controller.state.session.format == "suite2p"
    choose(file, SUITE2P / "none.nwb")
    wait(qtbot, lambda: "none.nwb" in section.problem.text())
    address = " http://127.0.0.1:9/mouse.nwb "  # where nothing listens
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: (address, True))
    action(section, "Address").trigger()
    wait(qtbot, lambda: address.strip() in section.problem.text())
    looks: list[bool] = []
    controller.recordings.requested.connect(lambda: looks.append(True))
    choose("in a folder", "")
    assert not looks
    choose("in a folder", SUITE2P.parent)
    assert looks
    assert SUITE2P in [entry.path for entry in controller.recordings.index]


def test_dialogs_open_beside_a_recording_of_the_user_alone(
    section, controller, tmp_path, monkeypatch
):
    """A sample lies in the folder of downloads, where the user has no recordings."""
    asked: list[str] = []
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path))
    # Folders that other dialogs have remembered.
    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *given: asked.append(given[2]))
    for folder in (tmp_path / "sessions" / "v1", tmp_path / "mine"):
        shutil.copytree(SUITE2P, folder / "m5")
        controller.loader.open_now(om.open_session(folder / "m5"))
        actions(section)[0].trigger()
    assert asked == ["", str(tmp_path / "mine")]


def actions(section: RecordingSection) -> list[Any]:
    return list(section.open.menu().actions())


def action(section: RecordingSection, words: str) -> Any:
    (found,) = [each for each in actions(section) if words in each.text()]
    return found
