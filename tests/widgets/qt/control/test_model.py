"""The section that chooses the model: the hub, what it knows, where it computes."""

import pytest
import torch
from qtpy.QtWidgets import QFileDialog, QInputDialog

from omnimouse_model.nets import official
from omnimouse_model.nets.checkpoint import save_checkpoint
from omnimouse_model.nets.omnimouse.initialisation import initialise
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_widgets.qt.control.model import ADDRESS, FILE, FOLDER, ModelSection
from tests.hub_server import Hub, Repository, hub_endpoint
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
    with hub_endpoint(Hub({MODEL: Repository(files, "mit")})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def section(controller, show):
    return show(ModelSection(controller), 400, 300)


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
    info = section.info
    wait(qtbot, info.remedy.isVisible)
    assert "40 neurons" in info.remedy.text()
    assert info.line.full_text.startswith("✕")
    assert not section.error.isVisible()
    press(info.instead)
    assert controller.state.predictor_name == "linear-gaussian"
    wait(qtbot, lambda: not info.remedy.isVisible())
    assert info.line.full_text.startswith("✓")
