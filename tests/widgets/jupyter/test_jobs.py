"""Long work in the notebook: what code asks and reads, and what a page gets.

Context sweeps, fits, rankings, files, the laboratory and sources.
"""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.ranking.curve_table import DEMO_RANKING
from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.errors import FinetuneError, ResultsFileError
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.live.controller import Controller
from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled
from omnimouse_widgets.jupyter.control_bar import ControlBar
from omnimouse_widgets.jupyter.jobs import (
    ContextSweep,
    Files,
    FineTune,
    Laboratory,
    Ranking,
    Sources,
)
from omnimouse_widgets.views.context.view import FROM_CODE
from omnimouse_widgets.views.finetune import smoothed
from tests.model.finetune_process import NEW, PATIENCE_S
from tests.model.lab.energy_neurons import energy_controller
from tests.predictors import NoisyPredictor
from tests.small_sessions import write_session

SELECTED = [3, 11, 30]
CONTENT = "block4"


@pytest.fixture
def noisy_controller(empty_controller, session, tmp_path):
    made = empty_controller
    made.sweeps.folder = tmp_path / "kept"
    made.model.choose(NoisyPredictor())
    made.loader.open_now(session)
    made.selection.select(SELECTED)
    return made


@pytest.fixture
def sweep(noisy_controller):
    return ContextSweep(noisy_controller)


def items(message):
    rows = [one for one in message["items"] if one["kind"] == "row"]
    inner = [item for row in rows for item in row["items"]]
    return {item["name"]: item for item in (*message["items"], *inner)}


def refusal(message):
    return items(message).get("start", {}).get("refusal")


def test_live_curves_are_computed_while_somebody_looks(sweep, noisy_controller, page):
    assert not noisy_controller.state.sweep_shown
    opened = page(sweep)
    opened.look()
    assert noisy_controller.state.sweep_shown
    message, _ = opened.wait_for(CONTENT, lambda one, _: "neurons" in items(one))
    assert items(message)["history_samples"]["lines"]
    assert sweep.sweep == noisy_controller.results.sweep
    assert f"{len(SELECTED)} neurons" in sweep.status
    opened.say("gone")
    assert not noisy_controller.state.sweep_shown
    opened.look()
    opened.say("choose", name="live", value=False)
    assert not sweep.is_live
    assert not noisy_controller.state.sweep_shown
    sweep.is_live = True
    assert noisy_controller.state.sweep_shown
    sweep.close()
    assert not noisy_controller.state.sweep_shown


def test_a_sweep_of_a_cell_replaces_the_live_one(sweep, noisy_controller, page):
    page(sweep, CONTENT)
    ask = {"neurons": [0, 8], "seeds": 2, "max_windows": 2}
    found = context_sweep(NoisyPredictor(), noisy_controller.state.session, **ask)
    heard = []
    sweep.observe(heard.append, "is_live")
    sweep.sweep = found
    assert not sweep.is_live
    assert len(heard) == 1
    assert [(each.name, each.sweep) for each in sweep.drawn()] == [(FROM_CODE, found)]
    sweep.is_live = True
    assert sweep.sweep == noisy_controller.results.sweep


def test_a_page_fills_the_form_and_starts_a_sweep(sweep, noisy_controller, page, tmp_path):
    opened = page(sweep, CONTENT)
    opened.say("choose", name="sweep", value=True)
    message, _ = opened.wait_for(CONTENT, lambda one, _: "settings" in items(one))
    fields = {field["name"]: field for field in items(message)["settings"]["form"]}
    held_out = [value for value, *_ in fields["targets"]["options"]].index("all others")
    typed = {"targets": held_out, "pool": held_out, "neurons": "0, 8", "history": "5"}
    for field, text in {**typed, "draws": "2", "windows": "2"}.items():
        opened.say("fill", name="settings", field=field, typed=text)
    message, _ = opened.wait_for(CONTENT, lambda one, _: refusal(one))
    assert "History" in refusal(message)
    opened.say("fill", name="settings", field="history", typed="10")
    opened.say("press", name="start")
    assert sweep.problem == ""
    assert sweep.progress == 1.0
    [entry] = noisy_controller.sweeps.entries
    assert entry.sweep.plan.asked == "held-out neurons from all others"
    assert sweep.write_csv(tmp_path / "drawn.csv").exists()
    noisy_controller.sweeps._client.choose(None)
    with pytest.raises(ValueError, match="model"):
        sweep.start(neurons=(0, 8))


@pytest.fixture
def tuned_controller(mouse_folder, script, tmp_path):
    made = Controller(load=load_in_process)
    made.finetuning.folder = tmp_path / "models"
    made.model.choose(mouse_folder / "base.safetensors")
    made.loader.open_now(mouse_folder / NEW)
    assert made.requests.wait(PATIENCE_S)
    yield made
    made.close(1.0)


@pytest.fixture
def tuning(tuned_controller):
    return FineTune(tuned_controller)


def has(name, **fields):
    """Return whether a message has an item with these values."""

    def is_it(message, _):
        item = items(message).get(name)
        return item is not None and all(item[key] == value for key, value in fields.items())

    return is_it


@pytest.mark.slow
def test_the_page_starts_it_and_its_result_is_chosen(tuning, tuned_controller, script, page):
    bar, opened = ControlBar(tuned_controller), page(tuning, "block0")
    message, _ = opened.wait_for("block0")
    assert items(message)["start"]["label"] == "Start"
    assert tuning.layout.display is None
    opened.say("fill", name="settings", field="steps", typed="-5")
    message, _ = opened.wait_for("block0", lambda message, _: items(message)["start"]["refusal"])
    assert "0 to 100,000" in items(message)["settings"]["form"][1]["reason"]
    assert tuning.steps == 300
    with pytest.raises(ValueError, match="0 to 100,000"):
        tuning.steps = -1
    opened.say("fill", name="settings", field="steps", typed="5")
    assert tuning.steps == 5
    with pytest.raises(ValueError, match="nothing"):
        tuning.train = "nothing"
    opened.wait_for("block0", has("start", refusal=""))
    opened.say("press", name="start")
    message, _ = opened.wait_for("block0", has("stop"))
    assert "settings" not in items(message)
    script.last = 5
    tuning.wait(PATIENCE_S)
    finetuning = tuned_controller.finetuning
    assert tuning.progress == 1.0
    message, buffers = opened.wait_for(
        "block0", lambda message, _: "✓" in items(message)["message"]["text"]
    )
    assert str(finetuning.request.path) in items(message)["title"]["tip"]
    arrays = [np.frombuffer(each, np.float32) for each in buffers if len(each)]
    found = [np.array(arrays[2 * k : 2 * k + 2]).T for k in range(3)]
    mean = smoothed(finetuning.losses)
    for points, expected in zip(
        found, (finetuning.losses, mean, finetuning.validations), strict=True
    ):
        np.testing.assert_allclose(points, expected, rtol=1e-5)
    assert bar.predictor == str(finetuning.request.path)
    assert "✓ Finished" in tuning.status
    opened.say("press", name="dismiss")
    assert not tuning.is_shown
    assert tuning.layout.display == "none"
    bar.close()


@pytest.mark.slow
def test_why_it_failed_is_raised_for_code_and_told_in_the_page(tuning, script, page):
    script.fault = FinetuneError("no_transfer", "'mean' has no embeddings")
    tuning.start()
    with pytest.raises(FinetuneError, match="'mean'"):
        tuning.wait(PATIENCE_S)
    message, _ = page(tuning, "block0").wait_for("block0")
    assert "'mean'" in items(message)["problem"]["text"]


# -- the notebook's ranking: what the page opens and is told, and what code reads ----
LONG_S = 120.0


def shows(kind):
    return lambda message, _: items(message)["content"]["kind"] == kind


def test_a_record_is_sent_and_its_actions_are_pressed(controller, page):
    part = Ranking(controller)
    opened = page(part, "block0")
    opened.say("press", name="refresh")
    assert "Open the results file" in part.problem
    opened.say("press", name="example")
    message, _ = opened.wait_for("block0", shows("matrix"))
    assert part.file == str(DEMO_RANKING)
    assert part.problem == ""
    assert items(message)["warnings"]["text"] == ""
    assert items(message)["content"]["texts"][0] == ["0.348 (1)"]
    part.view, part.axis = "curves", "trials"
    message, arrays = opened.wait_for("block0", shows("curves"))
    message, arrays = opened.wait_for("block0", lambda one, _: "fits" in items(one))
    curves = items(message)["content"]
    assert [line["label"] for line in curves["lines"]] == ["ranked", "random", "reverse"]
    assert np.frombuffer(arrays[0], np.float32).tolist() == [240, 480, 720, 960, 1440]
    opened.say("choose", name="view", value="gains")
    message, _ = opened.wait_for("block0", shows("table"))
    assert part.view == "gains"
    assert items(message)["content"]["rows"][2][0] == "ranked"


def test_a_wrong_file_is_told_and_a_path_is_read(controller, page, tmp_path):
    (wrong := tmp_path / "wrong.ranking.jsonl").write_text("{}\n")
    part = Ranking(controller, file=str(DEMO_RANKING)).wait(LONG_S)
    assert part.stored.ranking.sessions[0] == "spikes"
    opened = page(part, "block0")
    opened.say("press", name="open")
    message, _ = opened.wait_for("open_file")
    assert message["near"] == str(DEMO_RANKING.parent)
    opened.say("read", path=str(wrong))
    message, _ = opened.wait_for("block0", lambda one, _: bool(items(one)["error"]["text"]))
    assert "not the results file" in items(message)["error"]["text"]
    with pytest.raises(ResultsFileError):
        part.wait(LONG_S)
    opened.say("press", name="command")
    message, _ = opened.wait_for("clipboard")
    assert message["text"].startswith("omnimouse rank ")


# -- the part *Files*: exports, options of the reader, and an opening that failed ----
@pytest.fixture
def files_page(controller, page):
    return page(Files(controller), "block0", "block2")


def test_the_page_gets_the_file_that_the_form_describes(files_page):
    for number, name, start in (
        (0, "neurons.csv", b"# predictor"),
        (1, "window.npz", b"PK"),
        (2, "report.html", b"<!doctype html>"),
    ):
        files_page.say("fill", name="export", field="content", typed=number)
        files_page.say("press", name="save")
        message, (data,) = files_page.wait_for("file")
        assert message["name"] == name
        assert data[: len(start)].lower() == start.lower()


def test_the_recording_is_read_again_with_the_options(files_page, controller):
    files_page.say("fill", name="reading", field="split_seed", typed="-1")
    files_page.say("press", name="open_again")
    assert "Split: at least 0, found -1" in files_page.part.problem
    assert not controller.loader.is_busy
    files_page.say("fill", name="reading", field="split_seed", typed="7")
    files_page.say("press", name="open_again")
    assert controller.loader.wait(60)
    assert controller.state.session.options == {"split_seed": 7}


def test_an_opening_that_failed_says_why(files_page, controller, tmp_path):
    controller.loader.open(tmp_path / "absent")
    controller.loader.wait(60)
    message, _ = files_page.wait_for(
        "block0", lambda message, _: message["items"][-1]["text"].startswith("Not opened: absent: ")
    )
    assert message["items"][-1]["tone"] == "problem"


def test_a_file_that_cannot_be_sent_is_a_problem_once(files_page, controller, monkeypatch, caplog):
    monkeypatch.setattr("omnimouse_widgets.jupyter.jobs.MAX_SENT", 3)
    files_page.say("press", name="save")
    assert len(caplog.records) == 1
    controller.exports.changed.emit()
    assert len(caplog.records) == 1


# -- the notebook's laboratory: what the page presses, and what code sets and reads --


@pytest.fixture
def laboratory_controller(session, tmp_path):
    with energy_controller(session, tmp_path) as made:
        yield made


def test_the_page_runs_an_experiment_and_gets_its_table(laboratory_controller, page, tmp_path):
    part = Laboratory(laboratory_controller, repeats=1)
    opened = page(part, "block1")
    opened.say("press", name="csv")
    assert "Run it first" in part.problem
    opened.say("press", name="run")
    opened.wait_for("block1", lambda message, _: message["items"][-1]["kind"] == "polar")
    assert part.progress == 1.0
    assert "40 neurons" in part.found
    opened.say("press", name="csv")
    message, (table,) = opened.wait_for("file")
    assert message["name"] == "directions.csv"
    assert bytes(table).count(b"\n") == 41
    opened.say("press", name="python")
    assert "by name" in part.problem
    laboratory_controller.loader.open_now(write_session(tmp_path / "other", 12))
    opened.wait_for("block1", lambda message, _: message["items"][-1]["kind"] == "message")
    assert part.found == ""


def test_an_experiment_is_chosen_here_or_elsewhere(laboratory_controller):
    part = Laboratory(laboratory_controller, experiment="fields", repeats=3)
    laboratory = laboratory_controller.laboratory
    assert (laboratory.chosen, laboratory.repeats) == ("fields", 3)
    laboratory.choose("contrast")
    assert (part.experiment, part.repeats) == ("contrast", 2)
    part.repeats = 1
    part.start().wait(LONG_S)
    assert part.result.experiment.name == "contrast"
    part.experiment = "exciting"
    with pytest.raises(ValueError, match="gradient"):
        part.start().wait(LONG_S)


# -- the notebook's sources: traits, wait, result ------------------------------------
def test_code_asks_waits_and_reads(controller, tmp_path):
    controller.sources.folder = tmp_path
    spec = CoupledSpec(n_neurons=24, minutes=1.5)
    controller.loader.open_now(om.open_session(simulate_coupled(spec).arrays))
    part = Sources(controller)
    controller.selection.select([])
    with pytest.raises(ValueError, match="No neuron is selected"):
        part.start().wait(60.0)
    part.targets, part.windows = "area LM", 8
    found = part.start().wait(60.0).result
    assert found.is_complete
    assert part.progress == 1.0
    assert part.found.startswith("12 of 12 neurons, 8 windows, linear-gaussian")
    part.question = "areas"
    assert part.result is None
    part.lagged = part.group = True
    part.model = "chosen"
    asked = controller.sources
    assert (asked.is_lagged, asked.has_group, asked.is_quick) == (True, True, False)
    asked.set(is_quick=True)
    assert part.model == "quick"
    with pytest.raises(ValueError, match="area of the recording"):
        part.targets = "LM"
    assert part.targets == "area LM"


def test_all_windows_of_sources_are_none_in_code_too(controller):
    panel = Sources(controller)
    controller.sources.set(windows=None)
    assert panel.windows is None
    panel.windows = 20
    assert controller.sources.windows == 20
