import threading
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from ipywidgets.widgets.widget import _instances as widgets
from traitlets import TraitError

import omnimouse_model as om
from omnimouse_model.errors import CheckpointError, MaskError, SessionFormatError
from omnimouse_model.masks import TARGET
from omnimouse_widgets.jupyter import explorer as module
from omnimouse_widgets.jupyter.explorer import Explorer
from omnimouse_widgets.jupyter.transport.part import Part
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


def test_scores_come_without_a_page_and_are_those_of_the_bar(session_folder, page):
    explorer = settled_explorer(session_folder)
    explorer.controller.editor.apply_preset("video_behavior")
    assert explorer.settled(60.0, scores=True).scores.is_complete
    shown = page(explorer.bar, "actions").wait_for("actions", lambda told, _: told["score"])[0]
    assert repr(explorer.scores).startswith("r = 1.00 ")
    assert shown["score"].startswith("r = 1.00")
    explorer.close()


def test_scores_that_were_stopped_are_not_waited_for(session_folder):
    explorer = settled_explorer(session_folder)
    explorer.controller.editor.apply_preset("video_behavior")
    found = explorer.settled(60.0, scores=True).scores
    explorer.controller.results.tier_score = replace(found, n_total=found.n_total + 1)
    explorer.controller.requests.client.stop()
    assert not explorer.settled(1.0, scores=True).scores.is_complete
    explorer.close()


def test_a_file_that_does_not_exist_is_an_error_of_the_cell(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "nofile.npz", "~/nofile.npz"):
        with pytest.raises(SessionFormatError) as of_explorer:
            Explorer(path, EchoPredictor())
        with pytest.raises(SessionFormatError) as of_library:
            om.open_session(path)
        assert str(of_explorer.value) == str(of_library.value)
        assert str(tmp_path / "nofile.npz") in str(of_explorer.value)


def test_a_model_that_does_not_exist_is_an_error_of_the_cell(session_folder):
    with pytest.raises(CheckpointError, match=r"no predictor 'no-such'.* the names are "):
        Explorer(session_folder, "no-such")
    explorer = Explorer(session_folder, "mean")
    with pytest.raises(CheckpointError, match="no predictor 'no-such'"):
        explorer.bar.predictor = "no-such"
    assert explorer.bar.predictor == "mean"
    assert explorer.settled(60.0).controller.state.predictor_name == "mean"
    for wrong in (np.array("V1"), om.Mask.nothing(3)):
        with pytest.raises(MaskError, match=r"mask is (a Mask, such as .* found|for 3 neurons)"):
            explorer.mask = wrong
    explorer.close()


WRONG = {
    "explorer.selection = [3, 5000, 7000]": "MaskError: selection: found 5000 and 1 more, expected",
    "explorer.traces.selection = (-1,)": "MaskError: selection: found -1, expected 0..39.",
    "explorer.table.filter = 'depth<<3'": "MaskError: 'depth<<3' is no comparison",
    "explorer.bar.video = 'half'": "SettingError: Video is one of ",
    "explorer.painter.paint_area('V9')": "MaskError: area: found 'V9', but the recording has none.",
}


def test_a_cell_that_asks_for_what_cannot_be_shows_its_line_and_the_reason(controller, capsys):
    explorer, shell = Explorer(controller=controller), InteractiveShell()
    shell.push({"explorer": explorer})
    for line, error in WRONG.items():
        shell.run_cell(line)
        shown = capsys.readouterr().out.strip().splitlines()
        assert shown[0] == f"line 1: {line}"
        assert shown[1].startswith(error), shown
        assert len(shown) == 2
    explorer.close()


def test_a_path_in_the_home_folder_is_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    responses = np.random.default_rng(0).random((1800, 6), np.float32)
    np.savez(tmp_path / "here.npz", responses=responses, rate_hz=30.0)
    explorer = Explorer("~/here.npz", EchoPredictor())
    assert explorer.settled().session.n_neurons == 6
    explorer.close()


def test_arrays_are_a_recording():
    responses = np.random.default_rng(0).random((1800, 6), np.float32)
    arrays = {"responses": responses, "rate_hz": 30.0}
    assert om.evaluate("mean", arrays, "test/causal_response_25").scores
    explorer = Explorer(arrays, EchoPredictor()).settled(60.0)
    assert explorer.controller.state.session.n_neurons == 6
    explorer.close()


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


ODD = (None, -1, 10**12, 1e308, float("nan"), float("inf"), "", "../..", "\x00", [], [[]], {})
"""Values that no page of this project sends."""
FIELDS = ("name", "value", "field", "place", "add", "start", "stop", "column", "picks", "code")
FIELDS += ("rows", "neurons", "radius", "begin", "end", "seq", "path", "text", "view")


@pytest.mark.slow
def test_odd_messages_of_a_page_and_odd_traits_change_nothing_but_themselves(session_folder):
    draw = Random(58)
    explorer = settled_explorer(session_folder)
    parts = [part for part in vars(explorer).values() if isinstance(part, Part)]
    assert len(parts) > 5
    for part in parts:
        owners = [owner for owner in type(part).__mro__ if issubclass(owner, Part)]
        names = {name for owner in owners for name in vars(owner) if name.startswith("on_")}
        for op in [*sorted(names), "on_msg", "on_close"]:
            fields = {name: draw.choice(ODD) for name in FIELDS if draw.random() < 0.8}
            fields |= {"op": op.removeprefix("on_"), "view": "page"}
            part._handle_custom_msg(fields, [memoryview(b"\xff" * draw.randrange(9))])
        for trait in part.keys:
            if trait not in ("layout", "comm"):
                for value in ODD:
                    with suppress(TraitError, ValueError, KeyError):
                        part.set_state({trait: value})
    explorer.controller.model.choose(EchoPredictor())
    explorer.controller.editor.apply_preset("video_behavior")
    explorer.settled(60.0)
    explorer.close()
