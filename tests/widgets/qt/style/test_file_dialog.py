"""File dialogs: the folder in which they open."""

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from omnimouse_widgets.qt.style.file_dialog import choose_file, choose_folder, choose_new_file


def test_each_kind_opens_where_its_last_file_was_chosen(qtbot, tmp_path, monkeypatch):
    parent, asked = QWidget(), []
    qtbot.addWidget(parent)
    table = tmp_path / "tables" / "depths.csv"
    table.parent.mkdir()

    def answer(_parent, _title, near, *_):
        asked.append(near)
        return str(table), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", answer)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *given: asked.append(given[2]))
    first = str(tmp_path)
    assert choose_file(parent, "test-table", "Open", "*.csv", first) == str(table)
    choose_file(parent, "test-table", "Open", "*.csv", first)
    choose_new_file(parent, "test-table", "Save", "n.csv", "*.csv")
    choose_folder(parent, "test-recording", "Open", first)  # cancelled: nothing is remembered
    choose_folder(parent, "test-recording", "Open", first)
    folder = table.parent
    assert asked == [first, str(folder), str(folder / "n.csv"), first, first]
    Path.rmdir(folder)
    choose_file(parent, "test-table", "Open", "*.csv", first)
    assert asked[-1] == first
