"""The table of a folder's recordings: fills, sorts, stops, and says what is broken."""

import shutil

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.recordings import TITLES, RecordingsPanel
from omnimouse_widgets.qt.style.redraw import qt_post
from tests import SUITE2P
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session
from tests.widgets.pointer import wait

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two experanto folders, one of suite2p, one that is broken."""
    root = tmp_path_factory.mktemp("recordings")
    write_session(root / "few", n_neurons=12)
    write_session(root / "lab" / "many", n_neurons=30)
    shutil.copytree(SUITE2P, root / "m5")
    write_session(root / "broken", n_neurons=12)
    (root / "broken" / "responses" / "data.npy").write_bytes(b"x")
    return root


@pytest.fixture
def controller():
    """Works in threads, as in the app."""
    made = Controller(post=qt_post(), load=lambda *_: EchoPredictor())
    yield made
    made.close()


def recordings_of(controller):
    return RecordingsPanel(controller.state, controller.loader, controller.recordings)


@pytest.fixture
def panel(controller, folder, show, qtbot):
    made: RecordingsPanel = show(recordings_of(controller), 1000, 300)
    controller.recordings.read_folder(folder)
    wait(qtbot, lambda: not made.stop.isVisible() and made.rows.rowCount() == 4)
    return made


def column(panel: RecordingsPanel, title: str) -> list[str]:
    at, rows = TITLES.index(title), range(panel.rows.rowCount())
    return [panel.rows.index(row, at).data() for row in rows]


def test_every_recording_is_a_row_in_words(panel):
    assert column(panel, "path") == ["broken", "few", "lab/many", "m5"]
    assert column(panel, "neurons") == ["–", "12", "30", "16"]
    assert column(panel, "format")[1:] == ["experanto", "experanto", "suite2p"]
    for title, row, words in (
        ("by part", 1, "train 0.2, validation"),
        ("by stimulus", 1, "video 0.3"),
        ("behaviour", 1, "running"),
        ("problems", 0, "data.npy"),
    ):
        assert words in column(panel, title)[row]
    assert panel.count.text() == "4 of 4"


def test_a_click_on_a_title_sorts_numbers_as_numbers(panel):
    titles = panel.view.horizontalHeader()
    at = titles.sectionViewportPosition(TITLES.index("neurons")) + 20
    place = QPoint(at, titles.height() // 2)
    for expected in (["–", "12", "16", "30"], ["30", "16", "12", "–"]):
        QTest.mouseClick(titles.viewport(), LEFT, Qt.KeyboardModifier(0), place)
        assert column(panel, "neurons") == expected


def test_a_broken_one_says_why(panel, qtbot):
    panel.view.setFocus()
    panel.view.selectRow(0)
    QTest.keyClick(panel.view, Qt.Key.Key_Enter)
    wait(qtbot, panel.problem.isVisible)
    assert "broken:" in panel.problem.text()


def test_a_double_click_opens_one(panel, controller, folder, qtbot):
    place = panel.view.visualRect(panel.rows.index(1, 0)).center()
    for click in (QTest.mouseClick, QTest.mouseDClick):
        click(panel.view.viewport(), LEFT, Qt.KeyboardModifier(0), place)
    wait(qtbot, lambda: controller.state.session is not None)
    assert controller.state.session.path == folder / "few"
    assert panel.isVisible()


def test_a_folder_without_recordings_says_so(controller, tmp_path, show, qtbot):
    panel = show(recordings_of(controller), 1000, 300)
    controller.recordings.read_folder(tmp_path)
    wait(qtbot, panel.problem.isVisible)
