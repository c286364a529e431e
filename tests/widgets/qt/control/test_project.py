"""Analyses in the panel: saved, opened, exported, copied; what is amiss in words."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyqtgraph.functions import ndarray_from_qimage
from qtpy.QtCore import QByteArray
from qtpy.QtGui import QImage
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QFileDialog, QMessageBox

from omnimouse_model.analysis.stimulus_edits import Contrast
from omnimouse_model.live.analysis_file import write_analysis
from omnimouse_model.masks import HIDDEN
from omnimouse_widgets import palette
from omnimouse_widgets.qt.control.panel import Sections
from omnimouse_widgets.qt.control.project import AnalysisSection
from omnimouse_widgets.qt.traces import traces_figure
from omnimouse_widgets.views.files import CONTENTS
from tests.predictors import open_controller
from tests.small_sessions import write_session

KIND = "Analyses (*.omnimouse.json)"


@pytest.fixture
def controller(tmp_path):
    """A recording of its own open, which may be moved; answered by ridges."""
    memory, folder = tmp_path / "live.json", tmp_path / "recordings" / "mouse"
    write_session(folder)
    with open_controller(folder, "video-ridge", session_file=memory) as made:
        yield made


@pytest.fixture
def section(controller, show):
    return show(Sections.of(controller).analysis, 400, 200)


@pytest.fixture
def answer_dialogs(monkeypatch):
    """What dialogs answer: a file and its kind, or a folder."""

    def answer_dialogs(path: Path | str, kind: str = "") -> None:
        for name in ("getSaveFileName", "getOpenFileName"):
            monkeypatch.setattr(QFileDialog, name, lambda *_: (str(path), kind))
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(path))

    return answer_dialogs


@pytest.mark.parametrize("typed", ["mine", "mine.omnimouse", "mine.json", "mine.v2"])
def test_its_ending_is_added_if_not_typed(section, tmp_path, answer_dialogs, typed):
    answer_dialogs(tmp_path / typed, KIND)
    section.save_as()
    stem = "mine.v2" if typed == "mine.v2" else "mine"
    assert [p.name for p in tmp_path.glob("mine*")] == [f"{stem}.omnimouse.json"]


def test_changes_are_marked(section, controller, tmp_path, answer_dialogs, redraw):
    assert not section.mark.isVisible()
    assert section.save_button.isEnabled()
    answer_dialogs("")  # thought better of it
    section.save_button.click()
    assert controller.project.path is None
    answer_dialogs(tmp_path / "forecast", KIND)
    section.save_button.click()
    redraw()
    assert (tmp_path / "forecast.omnimouse.json").is_file()
    assert section.name.full_text == "forecast"
    assert not section.mark.isVisible()
    assert not section.save_button.isEnabled()
    for change in (
        lambda: controller.editor.paint([3], HIDDEN),
        lambda: controller.stimulus_edits.put(Contrast(0.5)),
        lambda: controller.pins.pin("mine"),
        lambda: controller.pins.rename(0, "yours"),
    ):
        change()
        redraw()
        assert section.mark.isVisible()
        section.save_button.click()
        redraw()
        assert not section.mark.isVisible()


@pytest.mark.parametrize("said", ["Save", "Discard", "Cancel"])
def test_changes_are_asked_about_before_another_is_opened(
    section, controller, tmp_path, answer_dialogs, monkeypatch, said
):
    questions: list[str] = []

    def question(*words: Any) -> Any:
        questions.append(words[2])
        return getattr(QMessageBox.StandardButton, said)

    monkeypatch.setattr(QMessageBox, "question", question)
    first, second = (tmp_path / f"{n}.omnimouse.json" for n in ("one", "two"))
    controller.project.save(first)
    controller.editor.apply_preset("video_only")
    controller.project.save(second)
    answer_dialogs(first)
    section.open_analysis()
    assert not questions
    assert controller.state.preset == "video_behavior"
    controller.editor.apply_preset("nothing")
    before = first.read_bytes()
    section.open(second)
    assert "one" in questions[0]
    assert (controller.state.preset == "nothing") == (said == "Cancel")
    assert (first.read_bytes() != before) == (said == "Save")


def test_a_recording_is_located(section, controller, tmp_path, answer_dialogs, redraw):
    path = tmp_path / "a.omnimouse.json"
    controller.project.save(path)
    shutil.move(tmp_path / "recordings" / "mouse", tmp_path / "moved")
    section.open(path)
    redraw()
    assert section.problem.isVisible()
    answer_dialogs(tmp_path / "moved")
    section.find_button.click()
    redraw()
    assert controller.state.session.path == tmp_path / "moved"
    assert not section.problem.isVisible()
    assert not section.find_button.isVisible()


def test_a_server_that_an_analysis_names_is_asked_about(section, controller, tmp_path, redraw):
    path = tmp_path / "far.omnimouse.json"
    analysis = controller.project.current
    write_analysis(path, replace(analysis, recording="https://data.example/<b>mouse.nwb"))
    controller.project.open(path)
    redraw()
    assert section.connect_button.isVisible()
    assert section.connect_button.text() == "Connect to data.example"
    controller.project.dismiss()
    redraw()
    assert not section.connect_button.isVisible()


def test_the_figure_has_the_traces_and_their_condition(section, controller, tmp_path):
    controller.selection.select([3, 14, 15])
    for ending in ("png", "svg"):
        section.write("figure", tmp_path / f"traces.{ending}")
    assert controller.exports.error is None
    image = QImage(str(tmp_path / "traces.png"))
    mask_id = controller.state.mask.mask_id
    assert mask_id in image.text("Description")
    for colour in (palette.PREDICTED, palette.RECORDED):
        on_white = palette.rgb(palette.ON_PAPER[colour])
        assert pixels_near(image, on_white) > 200
    assert pixels_near(image, (255, 255, 255)) > 0.5 * image.width() * image.height()
    written = (tmp_path / "traces.svg").read_text()
    assert mask_id in written
    assert "unit 14" in written
    assert QSvgRenderer(QByteArray(written.encode())).isValid()
    assert not list(tmp_path.glob(".traces*"))


def test_an_exported_figure_is_drawn_once(
    section, controller, tmp_path, answer_dialogs, monkeypatch
):
    drawn = []

    def draw(*args: Any, **options: Any) -> bytes:
        drawn.append(options)
        return traces_figure(*args, **options)

    monkeypatch.setattr("omnimouse_widgets.qt.traces.traces_figure", draw)
    controller.selection.select([3, 14])
    for ending in ("png", "svg"):
        drawn.clear()
        answer_dialogs(tmp_path / f"traces.{ending}")
        section.export("figure", ending)
        assert (tmp_path / f"traces.{ending}").stat().st_size > 1000
        assert len(drawn) == 1


def pixels_near(image: QImage, colour: tuple[int, int, int]) -> int:
    """How many pixels have about a colour."""
    plain = image.convertToFormat(QImage.Format.Format_RGB32)
    pixels = ndarray_from_qimage(plain)[..., 2::-1].astype(int)
    return int((np.abs(pixels - np.array(colour)).max(axis=-1) < 40).sum())


@pytest.mark.parametrize(
    ("ending", "selection", "problem"), [("gif", [3], ".png"), ("png", [], "Select")]
)
def test_a_figure_of_nothing_or_of_no_kind_is_refused(
    section, controller, tmp_path, redraw, ending, selection, problem
):
    controller.selection.select(selection)
    section.write("figure", tmp_path / f"traces.{ending}")
    redraw()
    assert problem in section.problem.text()
    assert not list(tmp_path.glob("traces*"))


@pytest.fixture
def dialog_titles(monkeypatch):
    """Titles of the dialogs that were opened; nobody answers them."""
    titles: list[str] = []

    def opened(_: object, title: str, *__: str) -> tuple[str, str]:
        titles.append(title)
        return "", ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", opened)
    return titles


EXPORTS = tuple(f"export {content}" for content in CONTENTS)


def run(section: AnalysisSection, name: str) -> None:
    method, *content = name.split()
    getattr(section, method)(*content)


@pytest.mark.parametrize("export", [*EXPORTS, "save", "save_as"])
def test_no_file_is_asked_for_without_a_recording(
    empty_controller, show, dialog_titles, redraw, export
):
    section: AnalysisSection = show(Sections.of(empty_controller).analysis, 400, 200)
    assert not section.save_button.isEnabled()
    run(section, export)
    redraw()
    assert dialog_titles == []
    assert section.problem.isVisible()


@pytest.mark.parametrize("export", EXPORTS)
def test_no_file_is_asked_in_vain(section, controller, dialog_titles, redraw, export):
    controller.selection.select([3])
    run(section, export)
    assert len(dialog_titles) == 1
    controller.results.population_freshness = "stopped"
    if export == "export figure":
        controller.results.population_freshness = "fresh"
        controller.selection.select([])
    run(section, export)
    redraw()
    assert len(dialog_titles) == 1
    assert section.problem.isVisible()
