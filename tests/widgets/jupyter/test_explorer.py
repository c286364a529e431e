import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from ipywidgets.widgets.widget import _instances as widgets

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.masks import TARGET
from omnimouse_widgets.jupyter import explorer as module
from omnimouse_widgets.jupyter.explorer import Explorer
from tests.predictors import EchoPredictor


@pytest.fixture
def run_cell(monkeypatch, tmp_path):
    """Call it to be in another run of a notebook's cell."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "mouse.ipynb"))
    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path / "config"))

    def run(name: str, number: int) -> None:
        told = {"metadata": {"cellId": name}, "header": {"msg_id": f"{name}{number}"}}
        shell = SimpleNamespace(get_parent=lambda: told)
        monkeypatch.setattr(module, "get_ipython", lambda: shell)

    return run


def settled_explorer(session_folder: Path) -> Explorer:
    return Explorer(session_folder, EchoPredictor()).settled(60.0)


def test_a_cell_that_runs_again_offers_what_was_painted(run_cell, session_folder):
    run_cell("one", 1)
    first = settled_explorer(session_folder)
    first.controller.editor.apply_preset("nothing")
    first.painter.paint([1, 2], TARGET)
    cells = first.mask.cells.copy()
    run_cell("one", 2)
    again = settled_explorer(session_folder)
    assert first.painter.comm is None
    assert (again.mask.cells != cells).any()
    again.restore()
    again.settled(60.0)
    assert (again.mask.cells == cells).all()
    assert again.bar._offer == ""
    again.close()


def test_a_file_that_does_not_exist_is_an_error_of_the_cell(tmp_path):
    with pytest.raises(SessionFormatError, match=r"nofile\.npz is missing"):
        Explorer(tmp_path / "nofile.npz", EchoPredictor())


def test_the_baseline_is_an_argument_and_is_restored(run_cell, session_folder):
    run_cell("one", 1)
    first = settled_explorer(session_folder)
    assert first.controller.state.baseline_name == "linear-gaussian"
    first.controller.model.choose_baseline("mean")
    first.painter.paint([1, 2], TARGET)
    run_cell("one", 2)
    again = Explorer(session_folder, EchoPredictor(), baseline="").settled(60.0)
    assert again.controller.state.baseline_name == ""
    again.restore()
    again.settled(60.0)
    assert again.controller.state.baseline_name == "mean"
    again.close()


def test_several_explorers_live_side_by_side(run_cell, session_folder):
    run_cell("one", 1)
    several = [settled_explorer(session_folder), settled_explorer(session_folder)]
    run_cell("two", 1)
    several.append(settled_explorer(session_folder))
    assert all(one.painter.comm is not None for one in several)
    for one in several:
        one.close()
        one.close()
    assert not [t.name for t in threading.enumerate() if "last-state" in t.name]


def test_an_explorer_that_is_closed_leaves_no_widget_behind(controller, page):
    before = set(widgets)
    explorer = Explorer(controller=controller)
    explorer.close()
    again = Explorer(controller=controller)
    page(again.neuron_scores, "block2")
    again.close()
    assert set(widgets) == before


def test_what_could_not_be_fetched_is_raised(controller, monkeypatch):
    errand = controller.downloads._task
    monkeypatch.setattr(errand, "error", ConnectionError("The hub is away."))
    explorer = Explorer(controller=controller)
    with closing(explorer), pytest.raises(ConnectionError, match="away"):
        explorer.settled(60.0)
