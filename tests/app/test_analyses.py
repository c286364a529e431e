"""Analyses in a real window: keys, drops, commands, and the file on disk."""

import numpy as np
import pytest
from click.testing import CliRunner
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QFileDialog, QWidget

from omnimouse_app.cli import group
from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_app.window import commands
from omnimouse_app.window import launch as opening
from omnimouse_app.window.reader import get_reader
from omnimouse_model.display import number_text
from omnimouse_model.live.analysis_file import read_analysis
from omnimouse_model.masks import HIDDEN
from tests.app.windows import drop_file

pytestmark = [pytest.mark.gui, pytest.mark.slow]
CLICK = Qt.FocusPolicy.ClickFocus


def answer_dialogs(monkeypatch, path):
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))


def test_the_key_saves_and_napari_keeps_its_own(dock, tmp_path, monkeypatch):
    path = tmp_path / "forecast.omnimouse.json"
    answer_dialogs(monkeypatch, path)
    napari_asked = []
    monkeypatch.setattr(
        "napari._qt.qt_viewer.QtViewer._save_layers_dialog",
        lambda self, selected=False: napari_asked.append(selected),
    )
    analyses = dock.controller.project
    words, menu = (
        dock.panels["Neurons"].widgets["filter"].controls["text"].native,
        dock.panels["Raster"].findChildren(QComboBox)[-1],
    )
    dock.bring_up("Neurons")
    dock.main_window.activateWindow()
    # Not every other time, as two equal keys would; a menu takes letters as a search.
    for neuron, focus in zip((3, 4, 5, 6), (words, words, menu, menu), strict=True):
        focus.setFocus()
        settle()
        dock.controller.editor.paint([neuron], HIDDEN)
        QTest.keyClick(focus, Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
        assert analyses.path == path
        assert not analyses.is_changed
    assert read_analysis(path).mask == dock.controller.state.mask
    saves = []
    monkeypatch.setattr(analyses, "save", lambda: saves.append(1))
    for title, panel in dock.docks.items():
        dock.bring_up(title)
        # One control of each kind: some kinds take keys for themselves.
        controls = panel.widget().findChildren(QWidget)
        usable = (c for c in controls if c.isVisible() and c.isEnabled())
        kinds = {type(c): c for c in usable if c.focusPolicy() & CLICK}
        for kind, control in kinds.items():
            control.setFocus()
            n_saves = len(saves)
            QTest.keyClick(control, Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
            assert len(saves) == n_saves + 1, (title, kind)
    assert len(saves) > len(dock.docks)
    assert napari_asked == []


def from_command_line(dock, path, monkeypatch):
    launch = opening.launch

    def launch_in_window(place, model, *, block, **how):
        return launch(place, model, viewer=dock.viewer, **how)

    monkeypatch.setattr(opening, "launch", launch_in_window)
    CliRunner().invoke(group, ["app", str(path)], catch_exceptions=False)


@pytest.mark.parametrize("is_dropped", [True, False])
def test_an_analysis_is_dropped_or_launched(dock, tmp_path, monkeypatch, is_dropped):
    controller = dock.controller
    path = tmp_path / "a.omnimouse.json"
    controller.editor.apply_preset("video_only")
    controller.selection.select([7, 8])
    assert controller.project.save(path)
    controller.editor.apply_preset("nothing")
    controller.project.save(tmp_path / "b.omnimouse.json")
    assert get_reader(str(path)) is not None
    if is_dropped:
        drop_file(dock, path)
    else:
        from_command_line(dock, path, monkeypatch)
    wait_for(lambda: controller.project.name == "a", "the analysis")
    assert controller.state.preset == "video_only"
    assert controller.state.selection == (7, 8)
    wait_for(lambda: dock.control.analysis.name.full_text == "a", "its name")


def test_an_analysis_that_is_gone_or_torn_opens_no_window(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(opening, "launch", lambda *_, **__: opened.append(1))
    path = tmp_path / "a.omnimouse.json"
    gone = CliRunner().invoke(group, ["app", str(path)])
    assert isinstance(gone.exception, FileNotFoundError)
    path.write_text("{")
    torn = CliRunner().invoke(group, ["app", str(path)])
    assert path.name in str(torn.exception)
    assert not opened


def test_the_commands_export_what_is_on_screen(dock, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_open_dock", lambda: dock)
    section, results = dock.control.analysis, dock.controller.results
    # The score over the tier is then final.
    wait_for(lambda: results.tier_score and results.tier_score.is_complete, "the tier")
    names = {"export_table": "neurons.csv", "export_arrays": "window.npz"}
    names |= {"export_figure": "traces.svg", "export_report": "what I saw.html"}
    for command, name in names.items():
        path = tmp_path / name
        answer_dialogs(monkeypatch, path)
        getattr(commands, command)()
        told = f"Written: {name}"
        wait_for(lambda told=told: told in section.name.full_text, told)
        assert path.stat().st_size > 1000
        assert notification_manager.records[-1].message == f"Saved {name} in {tmp_path}"
    page = (tmp_path / "what I saw.html").read_text("utf-8")
    assert f"<b>{number_text(float(np.nanmedian(results.shown_scores)), 3)}</b>" in page
    commands.copy_as_python()
    assert "load_predictor('echo'" in QApplication.clipboard().text()
