"""The table of a folder's recordings: fills, sorts, filters, opens."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from omnimouse_model.data import catalogue
from omnimouse_model.data.catalogue import Catalogue, Entry
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.hop import qt_post
from omnimouse_widgets.qt.recordings import RecordingsPanel
from omnimouse_widgets.qt.recordings_table import TITLES
from tests import SUITE2P
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session


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
def live():
    """Works in threads, as in the app."""
    made = Controller(post=qt_post(), load=lambda *_: EchoPredictor())
    yield made
    made.close()


@pytest.fixture
def panel(live, folder, show, qtbot):
    made: RecordingsPanel = show(RecordingsPanel(live), 1000, 300)
    live.recordings.look_in(folder)
    qtbot.waitUntil(lambda: not made.stop.isVisible() and made.rows.rowCount() == 4)
    return made


def column(panel: RecordingsPanel, title: str) -> list[str]:
    at, rows = TITLES.index(title), range(panel.rows.rowCount())
    return [panel.rows.index(row, at).data() for row in rows]


def row_at(panel: RecordingsPanel, row: int) -> QPoint:
    return panel.view.visualRect(panel.rows.index(row, 0)).center()


def test_every_recording_is_a_row_in_words(panel):
    assert column(panel, "path") == ["broken", "few", "lab/many", "m5"]
    assert column(panel, "neurons") == ["–", "12", "30", "16"]
    assert column(panel, "format")[1:] == ["experanto", "experanto", "suite2p"]
    assert column(panel, "by tier")[1].startswith("train 0.2, validation")
    assert column(panel, "by stimulus")[1] == "video 0.3"
    assert "running" in column(panel, "behaviour")[1]
    assert "data.npy" in column(panel, "problems")[0]
    assert panel.count.text() == "4 of 4"


def test_every_problem_is_in_the_tip(panel, folder):
    odd = Entry(folder / "odd", problems=("a " * 40, "and another"))
    panel.table.show_found(Catalogue(folder, (odd,)))
    cell = panel.rows.index(0, TITLES.index("problems"))
    assert cell.data().endswith("… (+1)")
    assert cell.data(Qt.ItemDataRole.ToolTipRole).endswith("and another")


def test_a_click_on_a_title_sorts_numbers_as_numbers(panel):
    titles = panel.view.horizontalHeader()
    at = TITLES.index("neurons")
    place = QPoint(titles.sectionViewportPosition(at) + 20, titles.height() // 2)
    for expected in (["–", "12", "16", "30"], ["30", "16", "12", "–"]):
        QTest.mouseClick(
            titles.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0), place
        )
        assert column(panel, "neurons") == expected


def test_words_choose_rows(panel):
    QTest.keyClicks(panel.filter, "EXPER run")
    assert column(panel, "path") == ["few", "lab/many"]
    assert panel.count.text() == "2 of 4"
    panel.filter.clear()
    QTest.keyClicks(panel.filter, "found 1 bytes")
    assert column(panel, "path") in ([], ["broken"])
    panel.filter.clear()
    assert panel.rows.rowCount() == 4


def test_a_double_click_opens_a_recording(panel, live, folder, qtbot):
    view = panel.view.viewport()
    place = row_at(panel, 2)
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0), place)
    assert not live.opener.is_busy
    QTest.mouseDClick(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0), place)
    qtbot.waitUntil(lambda: live.state.session is not None, timeout=30_000)
    assert live.state.session.path == folder / "lab" / "many"
    bold = Qt.ItemDataRole.FontRole
    qtbot.waitUntil(lambda: panel.rows.index(2, 0).data(bold) is not None)
    assert panel.rows.index(2, 0).data(bold).bold()
    assert panel.rows.index(1, 0).data(bold) is None


def test_words_and_enter_open_a_recording(panel, live, folder, qtbot):
    panel.filter.setFocus()
    QTest.keyClicks(panel.filter, "few")
    QTest.keyClick(panel.filter, Qt.Key.Key_Return)
    assert not live.opener.is_busy
    qtbot.waitUntil(panel.view.hasFocus)
    QTest.keyClick(panel.view, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: live.state.session is not None, timeout=30_000)
    assert live.state.session.path == folder / "few"


def test_a_broken_one_says_why(panel, qtbot):
    panel.view.setFocus()
    panel.view.selectRow(0)
    QTest.keyClick(panel.view, Qt.Key.Key_Enter)
    qtbot.waitUntil(panel.problem.isVisible, timeout=30_000)
    assert panel.problem.text().startswith("Not opened: broken:")


def test_it_stops_and_says_how_far_it_is(live, folder, show, qtbot, monkeypatch):
    import threading

    go_on, read, entry_of = threading.Event(), [], catalogue._entry

    def slow(path: Path, reading: Mapping[str, Any]) -> Entry:
        if read:
            assert go_on.wait(60)
        read.append(path)
        return entry_of(path, reading)

    monkeypatch.setattr(catalogue, "_entry", slow)
    panel: RecordingsPanel = show(RecordingsPanel(live), 1000, 300)
    live.recordings.look_in(folder)
    qtbot.waitUntil(lambda: "1 of 4: few" in panel.progress.words)
    assert panel.rows.rowCount() == 1
    QTest.mouseClick(panel.stop, Qt.MouseButton.LeftButton)
    go_on.set()
    qtbot.waitUntil(lambda: not panel.stop.isVisible())
    assert panel.rows.rowCount() == 1
    assert panel.progress.words == ""
    go_on.clear()
    read.clear()
    live.recordings.look_in(folder)
    qtbot.waitUntil(lambda: "1 of 4: few" in panel.progress.words)
    panel.close()
    assert not live.recordings.is_busy  # nobody looks
    go_on.set()


def test_a_folder_without_recordings_says_so(live, tmp_path, show, qtbot):
    panel: RecordingsPanel = show(RecordingsPanel(live), 1000, 300)
    live.recordings.look_in(tmp_path)
    qtbot.waitUntil(panel.problem.isVisible)
    assert "No recording in this folder" in panel.problem.text()


def test_the_same_recordings_seen_from_another_folder_have_other_names(panel, folder):
    only = tuple(e for e in panel.table.entries if e.path.name == "many")
    panel.table.show_found(Catalogue(folder, only))
    assert column(panel, "path") == ["lab/many"]
    panel.table.show_found(Catalogue(folder / "lab", only))
    assert column(panel, "path") == ["many"]


def test_thousands_of_rows_are_added_sorted_and_filtered_at_once(panel, folder):
    from time import thread_time

    entries = tuple(
        Entry(folder / f"r{i:05d}", neurons=(i * 7919) % 9973) for i in range(5000)
    )
    since = thread_time()
    for stop in range(500, 5001, 500):
        panel.table.show_found(Catalogue(folder, entries[:stop]))
    panel.view.sortByColumn(TITLES.index("neurons"), Qt.SortOrder.DescendingOrder)
    panel.rows.keep("r0001")
    assert thread_time() - since < 3.0
    assert panel.rows.rowCount() == 10
    shown = [int(words.replace(",", "")) for words in column(panel, "neurons")[:9]]
    assert shown == sorted(shown, reverse=True)
