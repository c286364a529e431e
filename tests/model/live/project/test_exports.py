"""Export of the screen as a script, a table and arrays with the same numbers."""

import ast
import csv
import os
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.stimulus_edits import Contrast, Mirror
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Window
from omnimouse_model.errors import ExportError
from omnimouse_model.evaluation.tier_score import TierScoring
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.project import exports
from omnimouse_model.live.project import script as as_python
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import HIDDEN, VISIBLE, Mask, scored_cells
from omnimouse_model.metrics import METRICS
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import Cancelled, never
from tests.predictors import EchoPredictor, EndlessPredictor, open_controller
from tests.small_sessions import simulate_mouse, write_session

TIMEOUT = 60.0


class NoisyPredictor(EchoPredictor):
    """Echo with an error that depends on the mask and the video."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        draw = np.random.default_rng(int(np.count_nonzero(mask.visible)))
        video = window.video.mean(axis=(1, 2))[:, None]
        wrong = draw.normal(size=(60, mask.n_neurons)) + video
        return Encoded(window, mask, window.responses + wrong.astype(np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_session(tmp_path_factory.mktemp("shown") / "it's a mouse")


@pytest.fixture(scope="module")
def session(folder):
    return open_session(folder)


def load(name: str, *_: object) -> NoisyPredictor:
    return NoisyPredictor(name)


@pytest.fixture
def controller(session, tmp_path):
    memory = tmp_path / "live.json"
    with open_controller(session, "noisy", session_file=memory, load=load) as made:
        made.editor.apply_preset("causal_response_25_video_behavior")
        made.selection.select([4, 9])
        yield made


# -- as Python -----------------------------------------------------------------------
@pytest.fixture
def script_output(monkeypatch, capsys):
    """Run a script with the predictors of this module, and return its output."""
    monkeypatch.setattr(om, "load_predictor", load)

    def run(script: str) -> str:
        exec(compile(script, "script", "exec"), {})
        return capsys.readouterr().out

    return run


@pytest.fixture
def checked_script(controller, script_output):
    """Check that the script of the screen prints its score."""

    def check() -> str:
        script = controller.project.script()
        check_score(script_output(script), controller)
        return script

    return check


def check_score(printed: str, controller: Controller) -> None:
    *lines, line = printed.splitlines()
    text = shown_score(controller.results.tier_score)
    assert lines == ([text] if text else [])
    r, n = re.fullmatch(r"in this window: median r = (\S+) over (\d+) neurons", line).groups()
    known = controller.results.scores[np.isfinite(controller.results.scores)]
    assert (float(r), int(n)) == (pytest.approx(np.median(known), abs=2e-6), len(known))


def shown_score(found) -> str:
    """The score over a tier as the bar shows it, with its windows."""
    if found is None:
        return ""
    return repr(found).removesuffix(", preliminary")


def content_of(controller):
    return exports.screen_content(controller.state, controller.results, controller.colouring)


def test_a_name_in_a_script_is_text_that_controls_no_terminal(session):
    hostile = '"""\nraise SystemExit\n"""\\\x1b[201~\u202e\0'
    with open_controller(replace(session, id=hostile)) as controller:
        controller.editor.apply_preset("video_only")
        controller.model.choose_baseline("mean")
        script = as_python.script_of(controller.state, None, "mean", None, Path())
    assert script.replace("\n", "").isprintable()
    assert "raise SystemExit" in ast.get_docstring(ast.parse(script))


@pytest.mark.slow
@pytest.mark.process
def test_a_script_prints_the_score_on_screen(session, tmp_path):
    with open_controller(session, "ridge") as controller:
        controller.editor.apply_preset("causal_response_25_behavior")
        command = [sys.executable, "-c", controller.project.script()]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        check_score(done.stdout, controller)


@pytest.mark.parametrize("n_batches", [1, 2, None])
def test_a_script_prints_the_score_over_the_same_windows_of_the_tier(
    tmp_path, script_output, n_batches
):
    session = open_session(simulate_mouse(tmp_path / "mouse", 20, 3.0, tests=3, times=2))
    with open_controller(session, "noisy", load=load) as controller:
        controller.editor.apply_preset("causal_response_25_behavior")
        scoring = TierScoring(load("noisy"), session, controller.state.mask)
        *_, found = islice(scoring.refine(lambda: False), n_batches)
        assert found.is_complete == (n_batches is None)
        controller.results.take_refined(found)
        printed = script_output(controller.project.script())
        assert shown_score(found) in printed
        check_score(printed, controller)


@pytest.mark.parametrize("metric", METRICS)
def test_a_script_runs_with_every_metric(controller, script_output, monkeypatch, metric):
    # The metric is that of the model's windows.
    monkeypatch.setattr(LiveState, "metric", METRICS[metric])
    assert script_output(controller.project.script())


def test_a_script_contains_the_edits(controller, script_output):
    controller.stimulus_edits.put(Contrast(0.5, (30, 60)), Mirror("vertical"))
    *_, changed = script_output(controller.project.script()).splitlines()
    change = np.nanmedian(controller.results.what_if.change)
    assert change > 0
    assert changed == f"{controller.stimulus_edits.text}: median change {change:.6f}"


@pytest.mark.slow
def test_a_rounded_start_gives_the_same_window(controller, session):
    n = len(session.start_grid) - 60
    for index in range(0, n, max(n // 20, 1)):
        controller.navigation.seek(float(session.start_grid[index] - session.t0))
        window = controller.state.window
        written = re.search(r"session\.window\((.*)\)", controller.project.script())
        assert len(written[1].partition(".")[2]) <= 3
        again = session.window(float(written[1]))
        assert (again.key, again.start_s) == (window.key, window.start_s)


@pytest.mark.slow
def test_a_preset_of_the_selection_names_its_neurons(controller, checked_script):
    controller.selection.select([], add=False)
    controller.editor.apply_preset("random_half_video_behavior")
    assert "mask_for('random_half_video_behavior', session)" in checked_script()
    seen = np.flatnonzero(controller.state.mask.visible.any(axis=0))[:2].tolist()
    controller.selection.select(seen)
    controller.editor.apply_preset("random_half_video_behavior")
    assert controller.state.mask.target[30:, seen].all()
    assert f"session, {seen})" in checked_script()
    controller.selection.select(np.flatnonzero(controller.state.mask.visible.any(axis=0))[:2])
    assert "mask_for" not in checked_script()  # whom one selects later is not in it


def test_a_mask_by_hand_is_written_out_in_spans(controller, checked_script):
    controller.editor.paint_cells([1, 2, 3], slice(30, 60), HIDDEN)
    script = checked_script()
    assert "om.Mask.from_dict(" in script
    assert "'1-3'" in script


def test_a_long_mask_is_in_a_file(controller, checked_script, tmp_path, monkeypatch):
    monkeypatch.setattr(as_python, "MAX_CHARACTERS", 600)
    scatter(controller)
    path = tmp_path / "masks" / f"{controller.state.mask.mask_id}.json"
    assert str(path) in checked_script()


def test_a_saved_mask_is_read_from_its_analysis(controller, checked_script, tmp_path):
    scatter(controller)
    path = tmp_path / "a.omnimouse.json"
    controller.project.save(path)
    assert str(path) in checked_script()
    controller.editor.paint([5], HIDDEN)
    assert str(path) not in controller.project.script()


def test_a_script_that_cannot_reproduce_the_screen_is_refused(controller):
    controller.editor.apply_preset("nothing")
    with pytest.raises(ExportError, match="There is no target"):
        controller.project.script()
    controller.editor.apply_preset("video_only")
    controller.model.choose(EchoPredictor())
    with pytest.raises(ExportError, match="passed as an object"):
        controller.project.script()
    with pytest.raises(ExportError, match="Open a recording"):
        Controller(synchronous=True).project.script()


def scatter(controller: Controller) -> None:
    """Session in which every neuron has other properties."""
    mask = controller.state.mask
    cells = mask.cells.copy()
    for neuron in range(40):
        cells[: 10 + neuron // 2, neuron] = VISIBLE
        cells[40 + neuron % 3 :, neuron] = HIDDEN
    controller.editor.set_mask(mask.with_cells(cells))


# -- tables --------------------------------------------------------------------------
def test_the_table_of_neurons_has_the_numbers_of_the_screen(controller, tmp_path):
    controller.editor.paint_cells([1], slice(0, 60), HIDDEN)
    path = tmp_path / "neurons.csv"
    controller.exports.export(path)
    lines = path.read_text().splitlines()
    about = [line for line in lines if line.startswith("# ")]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    scores, mask = controller.results.scores, controller.state.mask
    assert [int(row["neuron"]) for row in rows] == list(range(40))
    ids = controller.state.session.units.unit_id
    assert [int(row["unit_id"]) for row in rows] == ids.tolist()
    read = [float(row["r"]) if row["r"] else np.nan for row in rows]
    np.testing.assert_array_equal(np.array(read, np.float32), scores)
    assert rows[1]["r"] == ""
    asked = [int(row["asked_samples"]) for row in rows]
    assert asked == scored_cells(mask).sum(axis=0).tolist()
    assert [n for n, row in enumerate(rows) if row["selected"] == "1"] == [4, 9]
    assert rows[1]["state"] == "hidden"
    words = "\n".join(about)
    for told in (mask.mask_id, "noisy", f"{controller.state.window.start_s:.2f} s"):
        assert told in words


def test_scores_over_a_tier_are_exported_beside_those_of_the_window(controller):
    controller.requests.finish_scores()
    found = controller.results.tier_score
    content = content_of(controller)
    table = exports.neuron_columns(content)
    neurons = found.score.neurons
    np.testing.assert_array_equal(table["r_test"][neurons], found.score.per_neuron)
    assert next(name for name in table if name.startswith("r")) == "r_test"  # as on screen
    np.testing.assert_array_equal(table["r"], controller.results.scores)
    assert f"over {found.n_total} test windows" in content.definitions["r_test"]
    assert "r_test (neuron,)" in str(exports.arrays_of(content)["README"])


def test_neurons_are_marked_as_selected_whatever_the_recording_calls_them(controller):
    session = controller.state.session
    units = replace(session.units, unit_id=session.units.unit_id + 5)
    what = content_of(controller)
    what = replace(what, session=replace(session, units=units))
    columns = exports.neuron_columns(what)
    assert (columns["neuron"][0], columns["unit_id"][0]) == (0, 5)
    assert np.flatnonzero(columns["selected"]).tolist() == [4, 9]


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def test_the_arrays_give_the_scores_of_the_screen(controller, tmp_path):
    controller.exports.export(tmp_path / "arrays.npz")
    found = arrays(tmp_path / "arrays.npz")
    state = controller.state
    np.testing.assert_array_equal(found["mask"], state.mask.cells)
    np.testing.assert_array_equal(found["recorded"], state.window.responses)
    asked = found["asked"]
    assert np.isfinite(found["predicted"]).any(axis=0).all()
    for neuron in (0, 7, 39):
        rows = asked[:, neuron]
        pair = found["predicted"][rows, neuron], found["recorded"][rows, neuron]
        r = np.corrcoef(*pair)[0, 1]
        assert r == pytest.approx(controller.results.scores[neuron], abs=1e-5)
    np.testing.assert_array_equal(found["unit_id"], state.session.units.unit_id)
    assert found["times_s"][0] == pytest.approx(state.window.start_s, abs=1e-3)
    assert found["selected"].tolist() == [4, 9]
    readme = str(found["README"])
    assert state.mask.mask_id in readme
    missing = [name for name in found if name != "README" and name not in readme]
    assert missing == []


def test_decoded_behaviour_is_among_the_arrays(controller, tmp_path):
    controller.editor.apply_preset("all_response_only")
    controller.exports.export(tmp_path / "arrays.npz")
    found = arrays(tmp_path / "arrays.npz")
    recorded = found["behavior_recorded"]
    np.testing.assert_allclose(found["behavior_predicted"], 2 * recorded)
    assert len(found["behavior_times_s"]) == 40
    assert np.isnan(found["r"]).all()


# -- refusals ------------------------------------------------------------------------
def test_an_older_answer_is_not_exported(session, tmp_path):
    with closing(Controller()) as controller:
        made = controller.exports
        controller.model.choose(EndlessPredictor())
        controller.loader.open_now(session)
        assert controller.requests.wait(TIMEOUT)
        controller.editor.set_behavior("hidden")  # computes until stopped
        for _ in range(2):
            made.export(tmp_path / "arrays.npz")
            assert isinstance(made.error, ExportError)
            controller.requests.cancel()
        made.dismiss()
        assert made.error is None
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words"), [("neurons.xlsx", r"\.csv"), ("gone/neurons.csv", "No such file")]
)
def test_an_export_that_cannot_be_written_is_told(controller, tmp_path, name, words):
    controller.exports.export(tmp_path / name)
    assert re.search(words, str(controller.exports.error))
    assert controller.exports.written_path is None


def test_properties_of_neurons_are_columns_and_replace_none(controller, tmp_path):
    path = tmp_path / "units.csv"
    ids = controller.state.session.units.unit_id
    path.write_text(f"unit_id,selected,cc\n{ids[0]},7,0.5\n")
    controller.loader.reopen(unit_tables=str(path))
    controller.selection.select([1])
    content = content_of(controller)
    columns = exports.neuron_columns(content)
    assert columns["selected"][:2].tolist() == [False, True]
    assert columns["property_selected"][0] == 7
    assert columns["cc"][0] == 0.5
