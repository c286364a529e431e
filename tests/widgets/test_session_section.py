"""The section that opens recordings: what it shows, and what it asks."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from omnimouse_model.data.open import open_session
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.memory import recall
from omnimouse_widgets.qt.control_session import SessionSection
from tests.model.live_sessions import EchoPredictor

SUITE2P = Path(__file__).parents[1] / "fixtures" / "sessions" / "suite2p_small"


@pytest.fixture
def without_rate(tmp_path: Path) -> Path:
    """A suite2p folder in which no file says how often planes were scanned."""
    root = Path(shutil.copytree(SUITE2P, tmp_path / "m5"))
    for path in root.glob("suite2p/plane*/ops.npy"):
        ops = np.load(path, allow_pickle=True).item()
        del ops["fs"]
        np.save(path, ops, allow_pickle=True)
    return root


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Controller]:
    """A controller that remembers where it was."""
    made = Controller(synchronous=True, memory=tmp_path / "live.json")
    made.choose_predictor(EchoPredictor())
    yield made
    made.close()


def test_a_missing_rate_is_asked_for_and_remembered(
    keeping: Controller, without_rate: Path, show: Any, qtbot: Any, tmp_path: Path
) -> None:
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
    assert keeping.state.mask.note == "this session has no video and no behaviour"
    assert recall(tmp_path / "live.json").options == {"rate_hz": 12.5}


def test_it_goes_back_to_a_session_read_with_a_rate(
    keeping: Controller, without_rate: Path, tmp_path: Path
) -> None:
    keeping.open_session(open_session(without_rate, rate_hz=12.5))
    again = Controller(synchronous=True, memory=tmp_path / "live.json")
    assert again.restore()
    assert again.state.session.responses.rate_hz == 12.5
    again.close()


def test_folders_and_files_are_chosen_from_one_menu(
    controller: Controller, show: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    section: SessionSection = show(SessionSection(controller), 400, 300)
    folder, file = section.open.menu().actions()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(SUITE2P))
    folder.trigger()
    assert controller.state.session.format == "suite2p"
    monkeypatch.setattr(
        QFileDialog, "getOpenFileName", lambda *_: (str(SUITE2P / "none.nwb"), "")
    )
    file.trigger()
    qtbot.waitUntil(lambda: "none.nwb" in section.problem.text())
