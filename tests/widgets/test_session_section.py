"""The section that opens recordings: what it shows, and what it asks."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QWidget

from omnimouse_model.analysis.alignment import AlignmentReport, Lag
from omnimouse_model.data.open import open_session
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.memory import recall
from omnimouse_widgets.qt.control_alignment import AlignmentSection, lines_of
from omnimouse_widgets.qt.control_session import SessionSection
from omnimouse_widgets.qt.hop import qt_post
from tests import SUITE2P
from tests.hub_server import Hub, Repository, serving
from tests.model.nwb_files import write_nwb
from tests.predictors import EchoPredictor


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
def keeping(tmp_path):
    """A controller that remembers where it was."""
    made = Controller(synchronous=True, memory=tmp_path / "live.json")
    made.choose_predictor(EchoPredictor())
    yield made
    made.close()


def test_a_missing_rate_is_asked_for_and_remembered(
    keeping, without_rate, show, qtbot, tmp_path
):
    section: SessionSection = show(SessionSection(keeping), 400, 300)
    assert not section.rate.isVisible()
    section.open_folder(without_rate)
    qtbot.waitUntil(section.rate.isVisible)
    assert "gives fs" in section.problem.text()
    QTest.keyClick(section.rate, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(section.rate, "12.5")
    QTest.mouseClick(section.use_rate, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not section.rate.isVisible())
    session = keeping.state.session
    assert session is not None
    assert session.responses.rate_hz == 12.5
    assert "no video · no behaviour" in section.facts.text()
    assert keeping.state.mask is not None
    assert not keeping.state.mask.frames.any()
    assert keeping.state.mask.behavior == "hidden"
    assert keeping.state.mask.note == "this session has no behaviour"
    assert recall(tmp_path / "live.json").options == {"rate_hz": 12.5}


def test_it_goes_back_to_a_session_read_with_a_rate(keeping, without_rate, tmp_path):
    keeping.open_session(open_session(without_rate, rate_hz=12.5))
    again = Controller(synchronous=True, memory=tmp_path / "live.json")
    assert again.restore()
    assert again.state.session.responses.rate_hz == 12.5
    again.close()


def test_folders_and_files_are_chosen_from_one_menu(
    controller, show, qtbot, monkeypatch
):
    section: SessionSection = show(SessionSection(controller), 400, 300)
    folder, file, *_ = section.open.menu().actions()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(SUITE2P))
    folder.trigger()
    assert controller.state.session.format == "suite2p"
    monkeypatch.setattr(
        QFileDialog, "getOpenFileName", lambda *_: (str(SUITE2P / "none.nwb"), "")
    )
    file.trigger()
    qtbot.waitUntil(lambda: "none.nwb" in section.problem.text())


def test_a_folder_of_recordings_is_chosen_from_the_menu(controller, show, monkeypatch):
    section: SessionSection = show(SessionSection(controller), 400, 300)
    (folder,) = [a for a in _actions(section) if "in a folder" in a.text()]
    asked = []
    controller.recordings.asked.connect(lambda: asked.append(True))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    folder.trigger()
    assert not asked
    place = str(SUITE2P.parent)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: place)
    folder.trigger()
    assert asked == [True]
    assert SUITE2P in [entry.path for entry in controller.recordings.found]


# -- another series ------------------------------------------------------------------
def test_another_series_is_chosen_and_opened(
    keeping, tmp_path, show, qtbot, session_folder
):
    section: SessionSection = show(SessionSection(keeping), 400, 400)
    keeping.open_session(session_folder)
    qtbot.wait(20)
    assert not section.series.isVisible()  # one kind of responses
    section.open_folder(shutil.copytree(SUITE2P, tmp_path / "m7"))
    qtbot.waitUntil(section.series.isVisible)
    assert section.series.currentText() == "Responses: spks"
    assert "as suite2p stored it" in section.series.toolTip()
    choose(section.series, "Responses: F-neu")
    qtbot.waitUntil(lambda: "less neuropil" in section.series.toolTip())
    assert keeping.state.session.series == "F-neu"
    assert section.series.currentText() == "Responses: F-neu"
    assert recall(tmp_path / "live.json").options == {"series": "F-neu"}
    (tmp_path / "m7" / "suite2p" / "plane0" / "spks.npy").unlink()
    choose(section.series, "Responses: spks")
    qtbot.waitUntil(section.problem.isVisible)
    assert "no series 'spks'" in section.problem.text()
    assert section.series.currentText() == "Responses: F-neu"  # it is still open
    assert keeping.state.session.series == "F-neu"


def choose(box: Any, words: str) -> None:
    """With the mouse, out of the list."""
    press(box)
    place = box.view().visualRect(box.model().index(box.findText(words), 0)).center()
    none, left = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
    QTest.mouseMove(box.view().viewport(), place)
    QTest.qWait(QApplication.doubleClickInterval())  # a release too soon is no choice
    QTest.mouseClick(box.view().viewport(), left, none, place)


# -- the clocks ----------------------------------------------------------------------
def test_the_clocks_are_checked_with_progress_and_a_stop(session_folder, show, qtbot):
    made = Controller(post=qt_post(), load=lambda *_: EchoPredictor())
    section: AlignmentSection = show(AlignmentSection(made), 400, 300)
    assert not section.button.isEnabled()
    made.open_session(session_folder)
    qtbot.waitUntil(section.button.isEnabled)
    press(section.button)
    assert made.alignment.is_busy  # the press itself waited for nothing
    qtbot.waitUntil(lambda: "%" in section.progress.text(), timeout=30_000)
    assert section.button.text() == "Stop"
    press(section.button)
    qtbot.waitUntil(lambda: section.button.text() == "Check alignment")
    assert made.alignment.report is None
    assert not section.progress.isVisible()
    press(section.button)
    qtbot.waitUntil(section.lags.isVisible, timeout=60_000)
    assert "too short to tell" in section.lags.text()
    assert section.button.text() == "Hide alignment"
    press(section.button)
    qtbot.waitUntil(lambda: not section.lags.isVisible())
    assert section.button.text() == "Check alignment"
    made.close()


def press(button: QWidget) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_what_is_odd_about_the_clocks_stands_apart():
    usual = (0.04, 0.28)
    late = Lag("screen", "responses", 0.5, usual, 0.01, 20.0)
    vague = Lag("running", "pupil", 0.5, usual, 9.0, 2.0)
    quiet, alert = lines_of(AlignmentReport((late, vague), ("screen: dropped frames",)))
    assert alert[0].startswith(
        "responses follow screen by 500 ms (+15 frames): shifted"
    )
    assert "20 SD above chance (8 are needed), parts" in alert[0]
    assert alert[1] == "screen: dropped frames"
    assert len(quiet) == 1
    assert "cannot tell" in quiet[0]
    nothing = AlignmentReport((), ("late",), "nothing to compare")
    assert lines_of(nothing) == (["nothing to compare"], ["late"])


def test_an_address_is_asked_for_and_read_where_it_is(
    keeping, show, tmp_path, monkeypatch
):
    data = write_nwb(tmp_path / "mouse.nwb").read_bytes()
    repository = Repository({"mouse.nwb": data})
    with serving(Hub({("dataset", "lab/mice"): repository})) as hub:
        section: SessionSection = show(SessionSection(keeping), 400, 300)
        address = f"{hub.store}/dataset/lab/mice/mouse.nwb"
        monkeypatch.setattr(QInputDialog, "getText", lambda *_: (f" {address} ", True))
        (action,) = [a for a in _actions(section) if "Address" in a.text()]
        action.trigger()
        assert section.problem.text() == ""
        session = keeping.state.session
        assert session is not None
        assert session.format == "nwb"
        assert str(session.path).endswith("mice/mouse.nwb")


def _actions(section: SessionSection) -> list[Any]:
    menu = section.open.menu()
    assert menu is not None
    return list(menu.actions())
