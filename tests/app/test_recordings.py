"""The table of a folder of recordings, and a recording dropped on a real window."""

import shutil

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_app.field.layers import TOKEN
from omnimouse_app.tour.hand import wait_for
from omnimouse_app.window.launch import launch
from omnimouse_widgets.qt.recordings.panel import RecordingsPanel
from tests import SUITE2P
from tests.app.windows import drop_file

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture
def folder(tmp_path, session_folder):
    """Two recordings, of two formats."""
    shutil.copytree(session_folder, tmp_path / "recordings" / "small")
    shutil.copytree(SUITE2P, tmp_path / "recordings" / "lab" / "m5")
    return tmp_path / "recordings"


def visible_table(dock):
    panel = dock.main_window.findChild(RecordingsPanel)
    return panel if panel is not None and panel.isVisible() else None


def wait_for_table(dock):
    """The window with the recordings, once all of them are there."""
    wait_for(lambda: visible_table(dock) is not None, "the recordings")
    panel = visible_table(dock)
    panel.filter.clear()  # the words of an earlier test
    wait_for(lambda: not dock.controller.recordings.is_busy, "the folder")
    wait_for(lambda: panel.rows.rowCount() == 2, "its rows")
    return panel


def double_click(panel, row):
    place = panel.view.visualRect(panel.rows.index(row, 0)).center()
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(panel.view.viewport(), left, none, place)
    QTest.mouseDClick(panel.view.viewport(), left, none, place)


def own_layers(dock):
    """What our layers in the viewer show."""
    layers = [layer for layer in dock.viewer.layers if TOKEN in layer.metadata]
    return sorted(layer.metadata[TOKEN] for layer in layers)


def test_a_launched_folder_of_recordings_is_a_table_out_of_which_one_is_opened(
    dock, folder
):
    state, before = dock.controller.state, dock.controller.state.session
    assert launch(folder, "last", viewer=dock.viewer) is dock
    assert state.predictor_name == "last"
    panel = wait_for_table(dock)
    assert panel.isWindow()
    assert str(folder) in panel.windowTitle()
    assert [panel.rows.index(row, 0).data() for row in (0, 1)] == ["lab/m5", "small"]
    assert state.session is before
    double_click(panel, 1)
    wait_for(lambda: state.session is not before, "the session")
    assert state.session.path == folder / "small"
    assert panel.isVisible()
    panel.close()
    before = state.session
    drop_file(dock, folder / "small")  # a session itself is opened, and no table
    wait_for(lambda: state.session is not before, "the session")
    roles = ["mean image", "neurons", "planes"]
    wait_for(lambda: own_layers(dock) == roles, "its layers alone")
    assert visible_table(dock) is None
