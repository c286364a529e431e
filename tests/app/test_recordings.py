"""The table of a folder of recordings, and a recording dropped on a real window."""

import shutil
from functools import partial

import pytest

from omnimouse_app.field.layers import TOKEN
from omnimouse_app.tour.hand import wait_for
from omnimouse_app.window.launch import launch
from omnimouse_model.errors import SessionFormatError
from omnimouse_widgets.qt.recordings import RecordingsPanel
from tests import SUITE2P
from tests.app.windows import drop_file

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture
def folder(tmp_path, session_folder):
    shutil.copytree(session_folder, tmp_path / "recordings" / "small")
    shutil.copytree(SUITE2P, tmp_path / "recordings" / "lab" / "m5")
    return tmp_path / "recordings"


def test_a_launched_folder_is_a_table_and_a_dropped_session_opens(dock, folder):
    state, before = dock.controller.state, dock.controller.state.session
    (folder.parent / "empty").mkdir()
    with pytest.raises(SessionFormatError):
        launch(folder.parent / "empty", viewer=dock.viewer)
    # A folder is read, not opened: it has no error of an earlier opening.
    assert launch(folder, "last", viewer=dock.viewer) is dock
    assert state.predictor_name == "last"
    find = partial(dock.main_window.findChild, RecordingsPanel)
    wait_for(lambda: find() is not None and find().isVisible(), "the recordings")
    panel = find()
    panel.filter.clear()  # the words of an earlier test
    wait_for(lambda: panel.rows.rowCount() == 2, "its rows")
    assert panel.isWindow()
    assert str(folder) in panel.windowTitle()
    assert state.session is before
    panel.close()
    drop_file(dock, folder / "small")
    wait_for(lambda: state.session is not before, "the session")

    def roles():
        return [one.metadata.get(TOKEN) for one in dock.viewer.layers]

    expected = {"mean image", "neurons", "planes"}
    wait_for(lambda: set(roles()) - {None} == expected, "its layers")
    assert len(roles()) - roles().count(None) == 3
    assert not panel.isVisible()
