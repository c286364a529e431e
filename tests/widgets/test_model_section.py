"""The section that chooses the model: the hub, what it knows, where it computes."""

import os

import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QComboBox, QFileDialog, QInputDialog

from omnimouse_model.live.controller import Controller
from omnimouse_model.nets import official
from omnimouse_model.nets.checkpoint import save_checkpoint
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.start import initialise
from omnimouse_model.predict.devices import Residence
from omnimouse_widgets.qt.control_knows import place_tooltip, place_words, size_words
from omnimouse_widgets.qt.control_model import ADDRESS, FILE, FOLDER, ModelSection
from omnimouse_widgets.qt.hop import qt_post
from tests.hub_server import Hub, Repository, serving
from tests.model.official_shards import ANIMALS, SESSIONS, SMALL, write_shards

MODEL = ("model", "the-enigma-project/omnimouse-1M")
NAME = "omnimouse-1M"
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def net():
    made = OmniMouse(SMALL, SESSIONS, ANIMALS)
    initialise(made, torch.Generator().manual_seed(0))
    return made.eval()


@pytest.fixture
def hub(net, tmp_path, monkeypatch):
    monkeypatch.setattr(official, "SIZES", {"1M": SMALL})
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    folder = write_shards(net, tmp_path / "0-1000")
    files = {f"0-1000/{p.name}": p.read_bytes() for p in folder.iterdir()}
    with serving(Hub({MODEL: Repository(files, "mit")})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def waiting(qtbot):
    """Without a session: what it does, it does on threads of its own."""
    made = Controller(post=qt_post())
    yield made
    made.close(0.1)


def pick(box: QComboBox, data: object) -> None:
    box.setCurrentIndex(box.findData(data))
    box.activated.emit(box.currentIndex())


def test_a_model_of_the_hub_comes_with_a_bar_that_stops_and_goes_on(
    hub, waiting, show, qtbot
):
    section: ModelSection = show(ModelSection(waiting), 400, 300)
    fetch = section.fetch
    assert section.model.itemText(section.model.findData(NAME)) == f"{NAME} · hub"
    assert not fetch.bar.isVisible()
    hub.bytes_per_s = sum(map(len, hub.repositories[MODEL].files.values())) / 4
    pick(section.model, NAME)
    qtbot.waitUntil(lambda: fetch.bar.value() > 200, timeout=20000)
    assert "rank_" in fetch.words.text()
    QTest.mouseClick(fetch.stop, LEFT)
    qtbot.waitUntil(fetch.go_on.isVisible)
    assert "what arrived is kept" in fetch.problem.text()
    assert not fetch.bar.isVisible()
    hub.bytes_per_s = None
    QTest.mouseClick(fetch.go_on, LEFT)
    qtbot.waitUntil(lambda: waiting.state.predictor_name == NAME, timeout=60000)
    qtbot.waitUntil(lambda: section.model.currentData() == NAME)
    assert section.model.currentText() == f"{NAME} · fetched"
    assert not fetch.problem.isVisible()
    assert not fetch.bar.isVisible()


def test_nothing_moves_as_stop_comes_and_goes(controller, show):
    section: ModelSection = show(ModelSection(controller), 400, 300)
    heights, places = set(), set()
    for is_shown in (True, False):
        section.cancel.setVisible(is_shown)
        layout = section.layout()
        assert layout is not None
        layout.activate()
        heights.add(section.sizeHint().height())
        places.add((section.words.x(), section.words.y(), section.words.width()))
    assert len(heights) == len(places) == 1


def test_a_gated_model_says_what_to_do_and_can_be_left(hub, waiting, show, qtbot):
    hub.repositories[MODEL].is_gated = True
    section: ModelSection = show(ModelSection(waiting), 400, 300)
    pick(section.model, NAME)
    qtbot.waitUntil(section.fetch.problem.isVisible, timeout=20000)
    assert "Ask for access at" in section.fetch.problem.text()
    assert section.fetch.go_on.text() == "Try again"
    QTest.mouseClick(section.fetch.dismiss, LEFT)
    qtbot.waitUntil(lambda: not section.fetch.problem.isVisible())
    assert waiting.state.predictor_name == ""


def test_files_folders_and_addresses_are_asked_for(
    controller, net, tmp_path, show, drawn, monkeypatch
):
    path = save_checkpoint(tmp_path / "mine" / "net", net)
    section: ModelSection = show(ModelSection(controller), 400, 300)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(
        QFileDialog, "getExistingDirectory", lambda *_: str(path.parent)
    )
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("", False))
    for choice, chosen in ((FILE, path), (FOLDER, path.parent)):
        pick(section.model, choice)
        drawn()
        assert controller.state.predictor_name == str(chosen)
        assert section.model.currentText() == chosen.name
    pick(section.model, ADDRESS)
    drawn()
    assert controller.state.predictor_name == str(path.parent)
    assert section.model.currentText() == path.parent.name


def test_an_unseen_session_is_told_and_a_baseline_is_one_press_away(
    controller, show, qtbot
):
    section: ModelSection = show(ModelSection(controller), 400, 300)
    controller.choose_predictor("demo")
    knows = section.knows
    qtbot.waitUntil(knows.remedy.isVisible)
    assert "its 40 neurons need embeddings" in knows.remedy.text()
    assert knows.line.words.startswith("✕ not seen in training · CPU")
    assert not section.error.isVisible()
    QTest.mouseClick(knows.instead, LEFT)
    assert controller.state.predictor_name == "context-ridge"
    qtbot.waitUntil(lambda: not knows.remedy.isVisible(), timeout=20000)
    assert knows.line.words.startswith("✓ any session")


def test_sizes_and_places_are_told_in_words():
    here = Residence("CPU, 3 threads", 14 * 2**20, os.getpid())
    hardware, memory = place_words(here)
    assert hardware == "CPU"
    assert memory.endswith(("MB", "GB"))
    assert place_words(Residence("NVIDIA X")) == ["NVIDIA X"]
    told = place_tooltip(here)
    assert "CPU, 3 threads" in told
    assert "Weights: 14 MB" in told
    assert size_words(1536 * 2**20) == "1.5 GB"
