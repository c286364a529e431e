"""The section that chooses the model: the hub, what it knows, where it computes."""

import pytest
import torch
from qtpy.QtWidgets import QFileDialog, QInputDialog

from omnimouse_model.live.controller import Controller
from omnimouse_model.nets import official
from omnimouse_model.nets.checkpoint import save_checkpoint
from omnimouse_model.nets.omnimouse.initialisation import initialise
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_widgets.qt.control.model import ADDRESS, FILE, FOLDER, ModelSection
from omnimouse_widgets.qt.style.ui_thread import qt_post
from tests.hub_server import Hub, Pause, Repository, serving
from tests.model.official_shards import ANIMALS, SESSIONS, SMALL, write_shards
from tests.widgets.pointer import pick, press, wait

MODEL = ("model", "the-enigma-project/omnimouse-1M")
NAME = "omnimouse-1M"


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
def threaded_controller(qtbot):
    """Without a session: what it does, it does on threads and in a process."""
    made = Controller(post=qt_post())
    yield made
    made.close(60.0)


@pytest.fixture
def section(controller, show):
    return show(ModelSection(controller), 400, 300)


@pytest.mark.process
@pytest.mark.slow
def test_a_model_of_the_hub_comes_with_a_bar_that_stops_and_goes_on(
    hub, threaded_controller, show, qtbot
):
    section: ModelSection = show(ModelSection(threaded_controller), 400, 300)
    model, fetch = section.model, section.fetch
    assert model.itemText(model.findData(NAME)) == f"{NAME} · hub"
    assert not fetch.bar.isVisible()
    size = sum(map(len, hub.repositories[MODEL].files.values()))
    hub.pause = pause = Pause(size // 2)
    pick(model, NAME)
    wait(qtbot, lambda: fetch.bar.value() > 200)
    assert "rank_" in fetch.words.text()
    press(fetch.stop)
    pause.is_over.set()
    wait(qtbot, fetch.go_on.isVisible)
    assert fetch.problem.isVisible()
    assert not fetch.bar.isVisible()
    hub.pause = None
    press(fetch.go_on)
    state = threaded_controller.state
    wait(qtbot, lambda: state.predictor_name == NAME)
    wait(qtbot, lambda: model.currentData() == NAME)
    assert model.currentText() == f"{NAME} · fetched"
    assert not fetch.problem.isVisible()
    assert not fetch.bar.isVisible()


def test_a_gated_model_says_what_to_do_and_can_be_left(
    hub, threaded_controller, show, qtbot
):
    hub.repositories[MODEL].is_gated = True
    section: ModelSection = show(ModelSection(threaded_controller), 400, 300)
    fetch = section.fetch
    pick(section.model, NAME)
    wait(qtbot, fetch.problem.isVisible)
    assert MODEL[1] in fetch.problem.text()
    assert fetch.go_on.isVisible()
    press(fetch.dismiss)
    wait(qtbot, lambda: not fetch.problem.isVisible())
    assert threaded_controller.state.predictor_name == ""


def test_files_folders_and_addresses_are_asked_for(
    section, controller, net, tmp_path, redraw, monkeypatch
):
    path = save_checkpoint(tmp_path / "mine" / "net", net)
    folder = path.parent
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("", False))
    for choice, chosen in ((FILE, path), (FOLDER, folder), (ADDRESS, folder)):
        pick(section.model, choice)
        redraw()
        assert controller.state.predictor_name == str(chosen)
        assert section.model.currentText() == chosen.name


def test_an_unseen_session_is_told_and_a_baseline_is_one_press_away(
    section, controller, qtbot
):
    controller.choose_predictor("demo")
    knows = section.knows
    wait(qtbot, knows.remedy.isVisible)
    assert "40 neurons" in knows.remedy.text()
    assert knows.line.words.startswith("✕")
    assert not section.error.isVisible()
    press(knows.instead)
    assert controller.state.predictor_name == "context-ridge"
    wait(qtbot, lambda: not knows.remedy.isVisible())
    assert knows.line.words.startswith("✓")
