"""Analyses in the panel: saved, opened, exported, copied; what is amiss in words."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QByteArray
from qtpy.QtGui import QImage
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox

from omnimouse_model.analysis.edits import Contrast
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.look import Look
from omnimouse_widgets.qt.control_analysis import AnalysisSection
from tests.small_sessions import write_session

pytestmark = pytest.mark.gui


@pytest.fixture
def keeping(tmp_path):
    """A recording of its own open, which may be moved; answered by the mean."""
    controller = Controller(synchronous=True, memory=tmp_path / "live.json")
    controller.choose_predictor("video-ridge")
    controller.open_session(write_session(tmp_path / "recordings" / "mouse"))
    yield controller
    controller.close()


@pytest.fixture
def section(keeping, show):
    made: AnalysisSection = show(AnalysisSection(keeping), 400, 200)
    return made


@pytest.fixture
def answer(monkeypatch):
    """What dialogs answer: a file and its kind, or a folder."""

    def answered(path: Path | str, kind: str = "") -> None:
        for name in ("getSaveFileName", "getOpenFileName"):
            monkeypatch.setattr(QFileDialog, name, lambda *_: (str(path), kind))
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(path))

    return answered


@pytest.mark.parametrize("typed", ["mine", "mine.omnimouse", "mine.json", "mine.v2"])
def test_its_ending_is_added_where_it_was_not_typed(section, tmp_path, answer, typed):
    answer(tmp_path / typed, "Analyses (*.omnimouse.json)")
    section.save_as()
    stem = "mine.v2" if typed == "mine.v2" else "mine"
    assert [p.name for p in tmp_path.glob("mine*")] == [f"{stem}.omnimouse.json"]


def test_it_is_saved_where_the_user_says_and_marked_when_it_changes(
    section, keeping, tmp_path, answer, drawn
):
    assert section.name.words == "Analysis not saved"
    assert not section.mark.isVisible()
    assert section.save_button.isEnabled()
    answer("")  # thought better of it
    section.save_button.click()
    assert keeping.analyses.path is None
    answer(tmp_path / "forecast", "Analyses (*.omnimouse.json)")
    section.save_button.click()
    drawn()
    assert (tmp_path / "forecast.omnimouse.json").is_file()
    assert section.name.words == "forecast"
    assert not section.mark.isVisible()
    assert not section.save_button.isEnabled()
    keeping.paint([3], HIDDEN)
    drawn()
    assert section.mark.isVisible()
    section.save_button.click()
    drawn()
    assert not section.mark.isVisible()


@pytest.mark.parametrize("said", ["Save", "Discard", "Cancel"])
def test_changes_are_asked_about_before_another_is_opened(
    section, keeping, tmp_path, answer, monkeypatch, said
):
    asked: list[str] = []
    button = getattr(QMessageBox.StandardButton, said)

    def question(*words: Any) -> Any:
        asked.append(words[2])
        return button

    monkeypatch.setattr(QMessageBox, "question", question)
    first, second = (tmp_path / f"{n}.omnimouse.json" for n in ("one", "two"))
    keeping.analyses.save(first)
    keeping.apply_preset("video_only")
    keeping.analyses.save(second)
    answer(first)
    section.open_analysis()
    assert not asked
    assert keeping.state.preset == "video_behavior"
    keeping.apply_preset("nothing")
    before = first.read_bytes()
    section.open(second)
    assert "“one”" in asked[0]
    assert (keeping.state.preset == "nothing") == (said == "Cancel")
    assert (first.read_bytes() != before) == (said == "Save")


def test_recent_analyses_are_in_the_menu(section, keeping, tmp_path):
    section.more.menu().aboutToShow.emit()
    assert not section.recent.isEnabled()
    for name in ("one", "two"):
        keeping.analyses.save(tmp_path / f"{name}.omnimouse.json")
    keeping.apply_preset("nothing")
    keeping.analyses.save(tmp_path / "three & more.omnimouse.json")
    (tmp_path / "one.omnimouse.json").unlink()
    section.more.menu().aboutToShow.emit()
    actions = section.recent.actions()
    assert [action.text() for action in actions] == ["three && more", "two"]
    actions[1].trigger()
    assert keeping.analyses.name == "two"
    assert keeping.state.preset == "video_behavior"


def test_a_recording_that_moved_is_asked_for_in_place(
    section, keeping, tmp_path, answer, drawn
):
    path = tmp_path / "a.omnimouse.json"
    keeping.analyses.save(path)
    shutil.move(tmp_path / "recordings" / "mouse", tmp_path / "moved")
    section.open(path)
    drawn()
    assert "is not where it was" in section.problem.text()
    assert section.find_button.isVisible()
    answer(tmp_path / "moved")
    section.find_button.click()
    drawn()
    assert keeping.state.session.path == tmp_path / "moved"
    assert not section.problem.isVisible()
    assert not section.find_button.isVisible()


def test_what_is_wrong_is_said_until_it_is_dismissed(section, keeping, tmp_path, drawn):
    path = tmp_path / "torn.omnimouse.json"
    path.write_text("{")
    section.open(path)
    drawn()
    assert "cut short" in section.problem.text()
    section.dismiss.click()
    drawn()
    assert not section.problem.isVisible()
    assert not section.dismiss.isVisible()


def test_table_and_arrays_are_written_and_told(section, tmp_path, answer, drawn):
    answer(tmp_path / "neurons", "CSV (*.csv)")
    section.export_table()
    drawn()
    assert "neurons.csv" in section.name.words
    assert (tmp_path / "neurons.csv").read_text().startswith("# predictor: video-ridge")
    answer(tmp_path / "window.npz", "NumPy (*.npz)")
    section.export_arrays()
    drawn()
    assert "window.npz" in section.name.words
    with np.load(tmp_path / "window.npz") as found:
        assert found["predicted"].shape == (60, 40)


def test_no_control_moves_when_something_was_written(section, tmp_path, answer, drawn):
    drawn()
    named, height = section.name.words, section.sizeHint().height()
    places = [section.save_button.geometry(), section.more.geometry()]
    answer(tmp_path / "neurons", "CSV (*.csv)")
    section.export_table()
    drawn()
    assert section.dismiss.isVisible()
    assert str(tmp_path / "neurons.csv") in section.name.toolTip()
    assert section.sizeHint().height() == height
    assert [section.save_button.geometry(), section.more.geometry()] == places
    section.dismiss.click()
    drawn()
    assert section.name.words == named


def test_the_script_is_on_the_clipboard(section, keeping, drawn):
    section.copy_as_python()
    drawn()
    assert QApplication.clipboard().text() == keeping.as_python()
    assert "Copied as Python" in section.name.words
    keeping.apply_preset("nothing")
    section.copy_as_python()
    drawn()
    assert "Nothing is asked" in section.problem.text()
    assert "Copied" not in section.name.words


def test_the_figure_has_the_traces_and_their_condition(
    section, keeping, tmp_path, drawn
):
    keeping.select([3, 14, 15])
    section.write_figure(tmp_path / "traces.png")
    section.write_figure(tmp_path / "traces.svg")
    drawn()
    assert keeping.exports.fault is None
    image = QImage(str(tmp_path / "traces.png"))
    mask_id = keeping.state.mask.mask_id
    assert mask_id in image.text("Description")
    for colour in (palette.PREDICTED, palette.HELD):
        on_white = palette.rgb(palette.ON_PAPER[colour])
        assert pixels_near(image, on_white) > 200
    assert pixels_near(image, (255, 255, 255)) > 0.5 * image.width() * image.height()
    written = (tmp_path / "traces.svg").read_text()
    assert mask_id in written
    assert "neuron 14" in written
    assert QSvgRenderer(QByteArray(written.encode())).isValid()
    assert not list(tmp_path.glob(".traces*"))


def test_the_figure_is_drawn_as_the_traces_are_and_names_the_pins(
    section, keeping, tmp_path, drawn
):
    keeping.select([3, 14])
    keeping.pins.pin("the <first>")
    keeping.apply_preset("all_response_only")
    keeping.apply_preset("video_only")
    section.write_figure(tmp_path / "plain.svg")
    section.draw_traces_as(lambda: Look(is_large=True))
    section.write_figure(tmp_path / "large.svg")
    section.draw_traces_as(lambda: Look(scale="common"))
    section.write_figure(tmp_path / "common.svg")
    drawn()
    plain, large, common = (
        (tmp_path / f"{name}.svg").read_text() for name in ("plain", "large", "common")
    )
    assert "A the &lt;first&gt;" in plain
    assert palette.ON_PAPER[palette.PINS[0]].lower() in plain
    assert "as large as the recording" in large
    assert "as large as the recording" not in plain
    assert len({curves(plain), curves(large), curves(common)}) == 3


def curves(svg: str) -> str:
    """The drawn lines of a figure."""
    return "".join(re.findall(r'points="[^"]*"| d="[^"]*"', svg))


def pixels_near(image: QImage, colour: tuple[int, int, int]) -> int:
    """How many pixels have about a colour."""
    drawn = image.convertToFormat(QImage.Format.Format_RGB888)
    bits = drawn.constBits()
    if hasattr(bits, "setsize"):
        bits.setsize(drawn.sizeInBytes())
    rows = np.frombuffer(bits, np.uint8).reshape(drawn.height(), -1)
    pixels = rows[:, : 3 * drawn.width()].reshape(-1, 3).astype(int)
    return int((np.abs(pixels - np.array(colour)).max(axis=1) < 40).sum())


def test_a_figure_of_nothing_or_of_no_kind_is_refused(
    section, keeping, tmp_path, drawn
):
    section.write_figure(tmp_path / "traces.gif")
    drawn()
    assert "end it in .png or .svg" in section.problem.text()
    keeping.select([])
    section.write_figure(tmp_path / "traces.png")
    drawn()
    assert "Select neurons first" in section.problem.text()
    assert not (tmp_path / "traces.png").exists()


@pytest.fixture
def dialogs(monkeypatch):
    """Titles of the dialogs that were opened; nobody answers them."""
    asked: list[str] = []

    def opened(_: object, title: str, *__: str) -> tuple[str, str]:
        asked.append(title)
        return "", ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", opened)
    return asked


EXPORTS = ("export_table", "export_arrays", "export_figure", "export_report")


@pytest.mark.parametrize("export", [*EXPORTS, "save_as"])
def test_no_file_is_asked_for_where_there_is_nothing_to_write(
    empty, show, dialogs, drawn, export
):
    section: AnalysisSection = show(AnalysisSection(empty), 400, 200)
    section.offer_report(lambda what, tell: b"")
    getattr(section, export)()
    drawn()
    assert dialogs == []
    assert "Open a recording first" in section.problem.text()


@pytest.mark.parametrize("export", EXPORTS)
def test_no_file_is_asked_for_before_the_answer(
    section, keeping, dialogs, drawn, export
):
    section.offer_report(lambda what, tell: b"")
    keeping.select([3])
    getattr(section, export)()
    assert len(dialogs) == 1
    keeping.results.population_freshness = "stopped"
    getattr(section, export)()
    drawn()
    assert len(dialogs) == 1
    assert "not answered yet" in section.problem.text()


def test_no_file_is_asked_for_a_figure_of_nobody(section, keeping, dialogs, drawn):
    keeping.select([])
    section.export_figure()
    drawn()
    assert dialogs == []
    assert "Select neurons first" in section.problem.text()


def test_without_a_recording_nothing_is_saved(empty, show, tmp_path, answer, drawn):
    section: AnalysisSection = show(AnalysisSection(empty), 400, 200)
    assert not section.save_button.isEnabled()
    answer(tmp_path / "a.omnimouse.json")
    section.save()
    drawn()
    assert "Open a recording first" in section.problem.text()


def test_pins_and_edits_are_marked_as_changes(section, keeping, tmp_path, drawn):
    for change in (
        lambda: keeping.what_if.put(Contrast(0.5)),
        lambda: keeping.pins.pin("mine"),
        lambda: keeping.pins.rename(0, "yours"),
    ):
        keeping.analyses.save(tmp_path / "a.omnimouse.json")
        drawn()
        assert not section.mark.isVisible()
        change()
        drawn()
        assert section.mark.isVisible()
        assert section.save_button.isEnabled()


def test_kept_copies_are_opened_from_the_menu(section, keeping, tmp_path, monkeypatch):
    section.more.menu().aboutToShow.emit()
    assert not section.kept_action.isEnabled()
    keeping.paint([3], HIDDEN)
    mask = keeping.state.mask
    keeping.open_session(keeping.state.session)
    section.more.menu().aboutToShow.emit()
    assert section.kept_action.isEnabled()
    (kept,) = (tmp_path / "unsaved").iterdir()
    asked: list[str] = []

    def chosen(_: object, title: str, near: str, __: str) -> tuple[str, str]:
        asked.extend((title, near))
        return str(kept), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", chosen)
    section.kept_action.trigger()
    assert asked == ["Kept copies", str(tmp_path / "unsaved")]
    assert keeping.state.mask == mask
