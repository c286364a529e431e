"""Folders of recordings, other series and checked clocks, in a real window."""

import shutil

import pytest
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from omnimouse_app.hand import Hand, settle, wait_for
from omnimouse_widgets.qt.recordings import RecordingsPanel
from tests import SUITE2P

pytestmark = pytest.mark.gui


@pytest.fixture
def folder(tmp_path, session_folder):
    """Two recordings, of two formats."""
    shutil.copytree(session_folder, tmp_path / "recordings" / "small")
    shutil.copytree(SUITE2P, tmp_path / "recordings" / "lab" / "m5")
    return tmp_path / "recordings"


def drop(dock, path):
    """Drop a folder on the canvas, as from a file manager."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    canvas = next(
        w
        for w in dock.main_window.findChildren(QWidget)
        if type(w).__name__ == "QtViewer"
    )
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none, application = Qt.KeyboardModifier.NoModifier, QApplication.instance()
    begin = QDragEnterEvent(QPoint(20, 20), copy, data, left, none)
    application.sendEvent(canvas, begin)
    application.sendEvent(canvas, QDropEvent(QPointF(20, 20), copy, data, left, none))


def shown(dock):
    """The window with the recordings, once all of them are there."""
    wait_for(lambda: find(dock) is not None, "the recordings", 20)
    panel = find(dock)
    wait_for(lambda: not dock.controller.recordings.is_busy, "the folder", 60)
    wait_for(lambda: panel.rows.rowCount() == 2, "its rows", 20)
    return panel


def find(dock):
    panel = dock.main_window.findChild(RecordingsPanel)
    return panel if panel is not None and panel.isVisible() else None


def click(widget):
    Hand(widget).click((widget.width() / 2, widget.height() / 2))
    settle()


def double_click(panel, row):
    place = panel.view.visualRect(panel.rows.index(row, 0)).center()
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(panel.view.viewport(), left, none, place)
    QTest.mouseDClick(panel.view.viewport(), left, none, place)


def test_a_dropped_folder_of_recordings_is_a_table_out_of_which_one_is_opened(
    dock, folder
):
    before = dock.controller.state.session
    drop(dock, folder)
    panel = shown(dock)
    assert panel.isWindow()
    assert str(folder) in panel.windowTitle()
    assert [panel.rows.index(row, 0).data() for row in (0, 1)] == ["lab/m5", "small"]
    assert dock.controller.state.session is before
    double_click(panel, 1)
    state = dock.controller.state
    wait_for(lambda: state.session is not before, "the session", 60)
    assert state.session.path == folder / "small"
    assert panel.isVisible()
    panel.close()
    settle()
    drop(dock, folder / "small")  # a session itself is opened, and no table
    wait_for(lambda: not dock.controller.opener.is_busy, "the session", 60)
    settle(0.1)
    assert find(dock) is None


def test_the_table_comes_up_beside_the_window_while_the_panel_floats(dock, folder):
    panel_dock = dock.docks["OmniMouse"]
    panel_dock.setFloating(True)
    settle(0.1)
    drop(dock, folder)
    panel = shown(dock)
    assert panel.parent() is panel_dock.parent()
    panel.close()
    panel_dock.setFloating(False)
    dock.bring_up("OmniMouse")  # it comes back behind its neighbour


def test_the_menu_of_napari_asks_for_a_folder(dock, folder, monkeypatch):
    asked = []

    def choose(*arguments):
        asked.append(arguments)
        return str(folder)

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", choose)
    menu = dock.viewer.window.file_menu
    menu.aboutToShow.emit()
    [inner] = [a.menu() for a in menu.actions() if "IO" in a.text()]
    inner.aboutToShow.emit()
    actions = {action.text(): action for action in inner.actions()}
    [title] = [text for text in actions if "Recordings in a folder" in text]
    actions[title].trigger()
    panel = shown(dock)
    assert len(asked) == 1
    panel.filter.setFocus()
    QTest.keyClicks(panel.filter, "suite2p")
    QTest.keyClick(panel.filter, Qt.Key.Key_Return)
    QTest.keyClick(panel.view, Qt.Key.Key_Return)
    state = dock.controller.state
    wait_for(lambda: state.session.format == "suite2p", "the session", 60)
    panel.close()
    settle()


def test_another_series_of_the_open_recording_is_chosen(dock, folder):
    section = dock.control.session
    dock.open_folder(str(folder / "lab"))
    wait_for(section.series.isVisible, "the choice", 60)
    box = section.series
    assert box.currentText() == "Responses: spks"
    click(box)
    wait_for(box.view().isVisible, "the list", 20)
    QApplication.sendEvent(box.view(), QEvent(QEvent.Type.FocusIn))
    for _ in range(3):
        QTest.keyClick(box.view(), Qt.Key.Key_Down)
    QTest.keyClick(box.view(), Qt.Key.Key_Return)
    state = dock.controller.state
    wait_for(lambda: state.session.series == "dff", "the other series", 60)
    wait_for(lambda: box.currentText() == "Responses: dff", "its name", 20)
    assert dict(state.session.options) == {"series": "dff"}


def test_the_clocks_of_the_open_recording_are_checked(dock, session_folder):
    section = dock.control.alignment
    click(dock.control.alignment_section.title)
    dock.open_folder(str(session_folder))
    state = dock.controller.state
    wait_for(lambda: not dock.controller.opener.is_busy, "the session", 60)
    assert state.session.path == session_folder
    wait_for(lambda: section.button.text() == "Check alignment", "the button", 20)
    click(section.button)
    assert dock.controller.alignment.is_busy
    dock.controller.step_window(1)  # the window goes on meanwhile
    wait_for(lambda: "%" in section.progress.text(), "its progress", 60)
    wait_for(section.lags.isVisible, "the lags", 120)
    report = dock.controller.alignment.report
    for lag in report.lags:
        assert lag.words() in section.lags.text() + section.warnings.text()
        assert lag.confidence() in section.lags.text() + section.warnings.text()
    settle(0.1)
    assert section.progress.isHidden()
    click(section.button)
    wait_for(lambda: not section.lags.isVisible(), "it gone", 20)
