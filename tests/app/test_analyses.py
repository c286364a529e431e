"""Analyses in a real window: keys, drops, commands, and the file on disk."""

from threading import Event

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog

from omnimouse_app import commands
from omnimouse_app.hand import settle, wait_for
from omnimouse_app.keys import all_keys
from omnimouse_app.reader import get_reader
from omnimouse_model.live.analysis_file import read_analysis
from omnimouse_model.masks import HIDDEN

pytestmark = pytest.mark.gui


def strike_save(widget):
    widget.window().activateWindow()
    widget.setFocus()
    settle(0.05)
    QTest.keyClick(widget, Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
    settle(0.05)


def test_the_key_saves_in_our_panels_every_time_and_napari_keeps_its_own(
    dock, tmp_path, monkeypatch
):
    path = tmp_path / "forecast.omnimouse.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    napari_asked = []
    monkeypatch.setattr(
        "napari._qt.qt_viewer.QtViewer._save_layers_dialog",
        lambda self, selected=False: napari_asked.append(selected),
    )
    panel = dock.panels["Neurons"]
    dock.docks["Neurons"].raise_()
    strike_save(panel.filter)
    assert dock.controller.analyses.path == path
    for neurons in ([3], [4], [5]):  # not every other time, as two equal keys would
        dock.controller.paint(neurons, HIDDEN)
        assert dock.controller.analyses.is_changed
        strike_save(panel.filter)
        assert not dock.controller.analyses.is_changed
    assert read_analysis(path).mask == dock.controller.state.mask
    assert napari_asked == []
    assert "Ctrl+S" in all_keys()


def test_a_dropped_analysis_is_opened(dock, tmp_path):
    controller = dock.controller
    path = tmp_path / "a.omnimouse.json"
    controller.apply_preset("video_only")
    controller.select([7, 8])
    assert controller.analyses.save(path)
    controller.apply_preset("nothing")
    controller.analyses.save(tmp_path / "b.omnimouse.json")
    assert get_reader(str(path)) is not None
    dock.open_folder(str(path))
    wait_for(lambda: controller.analyses.name == "a", "the analysis", 30)
    assert controller.state.preset == "video_only"
    assert controller.state.selection == (7, 8)
    section = dock.control.analysis
    wait_for(lambda: section.name.words == "a", "its name", 10)


def test_the_commands_export_what_is_on_screen(dock, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_open", lambda: dock)
    section = dock.control.analysis
    for command, name in (
        ("export_table", "neurons.csv"),
        ("export_arrays", "window.npz"),
        ("export_figure", "traces.svg"),
    ):
        file = (str(tmp_path / name), "")
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, file=file: file)
        getattr(commands, command)()
        said = f"Written: {name}"
        wait_for(lambda said=said: said in section.name.words, name, 30)
        assert (tmp_path / name).stat().st_size > 1000
    commands.copy_as_python()
    assert "load_predictor('echo'" in QApplication.clipboard().text()


def test_the_report_is_written_from_the_menu(dock, tmp_path, monkeypatch):
    page = tmp_path / "what I saw.html"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(page), ""))
    section = dock.control.analysis
    dock.bring_up("OmniMouse")
    menu = section.more.menu()
    menu.popup(section.more.mapToGlobal(section.more.rect().bottomLeft()))
    settle(0.1)
    assert section.report_action.isVisible()
    QTest.mouseClick(
        menu,
        Qt.MouseButton.LeftButton,
        pos=menu.actionGeometry(section.report_action).center(),
    )
    wait_for(lambda: "Written: what I saw.html" in section.name.words, "the page", 30)
    text = page.read_text("utf-8")
    scores = dock.controller.results.scores
    median = float(np.median(scores[np.isfinite(scores)]))
    assert f"<b>{median:.3f}</b>" in text
    assert "answered by echo" in text


def test_a_report_is_stopped_and_leaves_the_file_as_it_was(dock, tmp_path, monkeypatch):
    page = tmp_path / "kept.html"
    page.write_text("before")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(page), ""))
    section, begun, go_on = dock.control.analysis, Event(), Event()

    def draw(what, tell):
        tell("Report: scores", 0.5)
        begun.set()
        go_on.wait(30)
        tell("Report: traces", 0.6)
        return b"after"

    monkeypatch.setattr(section, "_draw_report", draw)
    dock.bring_up("OmniMouse")
    section.export_report()
    wait_for(begun.is_set, "the drawing", 30)
    wait_for(lambda: section.stop_button.isVisible(), "the button", 10)
    QTest.mouseClick(section.stop_button, Qt.MouseButton.LeftButton)
    go_on.set()
    wait_for(lambda: not section.stop_button.isVisible(), "the end", 10)
    settle(0.3)
    assert page.read_text() == "before"
    assert "Written" not in section.name.words
