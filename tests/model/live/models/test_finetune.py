"""Background fine-tuning: start, stop, continue, and choose the result."""

import json
import multiprocessing
import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import fields, replace
from multiprocessing.process import BaseProcess

import pytest

import omnimouse_model as om
from omnimouse_model.analysis import fit as fits
from omnimouse_model.analysis.finetune_process import Arguments, spawn_finetune
from omnimouse_model.analysis.fit import fit_on_record
from omnimouse_model.errors import FinetuneError, StoppedError, WorkerError
from omnimouse_model.inference.families import small_config, training_plan
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models import finetune as live_finetune
from omnimouse_model.live.models.finetune import FINISHING, Finetuning, finetuned_in
from omnimouse_model.live.results import NOT_FITTED
from omnimouse_model.predict.compatibility import FALLBACK
from omnimouse_model.predict.devices import process_bytes
from omnimouse_model.progress import QUIET, RESUMING, SAVING, STARTING, CallbackJob
from omnimouse_model.training.checkpoints import saved_step
from omnimouse_model.training.metrics_log import FILE, log_rows
from omnimouse_widgets.views.finetune import FinetuneView, open_label
from omnimouse_widgets.views.record import press, record
from tests.model.finetune_process import (
    KNOWN,
    NEW,
    PATIENCE_S,
    ScriptedFinetuning,
    finetune_until_owner_dies,
    long_run,
    run_finetune,
)
from tests.predictors import EchoPredictor

pytestmark = pytest.mark.slow


@pytest.fixture
def open_controller(mouse_folder, tmp_path):
    """Function that opens the new mouse with a model that does not know it."""
    made: list[Controller] = []

    def controller() -> Controller:
        memory = tmp_path / "live.json"
        made.append(Controller(load=load_in_process, session_file=memory))
        made[-1].finetuning.folder = tmp_path / "models"
        made[-1].model.choose(mouse_folder / "base.safetensors")
        made[-1].loader.open_now(mouse_folder / NEW)
        assert made[-1].requests.wait(PATIENCE_S)
        return made[-1]

    yield controller
    for one in made:
        one.close(1.0)


@pytest.fixture
def controller(open_controller):
    return open_controller()


@pytest.fixture
def finetuning(controller, script):
    return controller.finetuning


def run_to(finetuning: Finetuning, script: ScriptedFinetuning, step: int) -> None:
    """Wait for the message of a step, and raise the error of the fine-tuning."""
    told = threading.Event()
    finetuning.changed.connect(told.set)
    script.last = step
    while finetuning.step < step:
        assert told.wait(PATIENCE_S)
        told.clear()
        if finetuning.error is not None:
            raise finetuning.error
    finetuning.changed.disconnect(told.set)


def run_and_stop(finetuning: Finetuning, script: ScriptedFinetuning) -> None:
    """Begin a run of ten steps, and stop it after three."""
    finetuning.start(steps=10)
    run_to(finetuning, script, 3)
    finetuning.stop()
    assert finetuning.wait(PATIENCE_S)


def processes() -> list[BaseProcess]:
    everyone = multiprocessing.active_children()
    return [one for one in everyone if one.name == "omnimouse-finetune"]


# -- with a process -------------------------------------------------------------------
@pytest.mark.process
def test_the_result_is_chosen_and_found_after_a_restart(controller, open_controller):
    finetuning, stages = controller.finetuning, []
    finetuning.changed.connect(lambda: stages.append(finetuning.stage))
    finetuning.start(steps=2)
    assert finetuning.is_busy
    assert finetuning.wait(PATIENCE_S)
    assert finetuning.error is None
    assert finetuning.is_finished
    assert [step for step, _ in finetuning.losses] == [1, 2]
    assert [step for step, _ in finetuning.validations] == [0, 1, 2]
    assert {STARTING, "step 2 of 2", SAVING} <= set(stages)
    mine = finetuning.request.path
    assert controller.state.predictor_name == str(mine)
    assert controller.requests.wait(PATIENCE_S)
    assert controller.results.error is None
    assert controller.results.population is not None
    (result,) = finetuning.results
    assert (result.path, result.session, result.step) == (mine, NEW, 2)
    assert result.start_score == finetuning.start_score
    assert result.best_score == finetuning.best_score
    assert result.best_step == finetuning.best_step
    controller.close()
    later = open_controller()
    assert [one.path for one in later.finetuning.results] == [mine]
    assert later.finetuning.saved_result() == result


@pytest.mark.process
def test_errors_and_the_death_of_the_process_are_reported(mouse_folder, tmp_path):
    run = long_run(mouse_folder, tmp_path / "run")
    with pytest.raises(FinetuneError) as error:
        spawn_finetune(replace(run, model="ridge"), QUIET, lambda rows: None)
    assert error.value.code == "no_transfer"

    def kill(done, total, text):
        for process in processes():
            process.kill()

    with pytest.raises(WorkerError):
        spawn_finetune(run, CallbackJob(kill), lambda rows: None)


@pytest.mark.process
@pytest.mark.parametrize("is_hurried", [False, True])
def test_a_stop_ends_the_process_which_saves_first(mouse_folder, tmp_path, is_hurried):
    steps, started = [], []
    run = long_run(mouse_folder, tmp_path / "run")

    def report(rows):
        steps.extend(row["step"] for row in rows)
        started.extend(processes())

    job = CallbackJob(cancelled=lambda: max(steps, default=0) >= 1)
    with pytest.raises(StoppedError):
        spawn_finetune(run, job, report, lambda: is_hurried)
    assert started
    assert not any(process.is_alive() for process in started)
    assert is_hurried or saved_step(tmp_path / "run") == steps[-1]


@pytest.mark.process
@pytest.mark.parametrize("asked", [0, 2])
def test_the_result_of_a_save_is_of_its_steps_whatever_was_told(mouse_folder, tmp_path, asked):
    out = run_finetune(mouse_folder, tmp_path / "run", steps=1)
    for path in out.glob("finetuned.*"):
        path.unlink()
    with (out / FILE).open("a") as file:
        file.write(json.dumps({"step": 2.0, "loss": 0.5}) + "\n")
    assert finetuned_in(out).step == 2
    settings = {"train": "embeddings", "steps": asked, "batch": 1}
    model, session = str(mouse_folder / "base.safetensors"), om.open_session(mouse_folder / NEW)
    run = Arguments(model, session, out, "cpu", settings, is_reached=True)
    told, stages = [], []
    spawn_finetune(run, CallbackJob(lambda done, total, text: stages.append(text)), told.extend)
    assert max(row["step"] for row in told) == 1
    assert stages[0] == RESUMING
    assert STARTING not in stages
    found = finetuned_in(out)
    assert (found.step, found.is_finished, found.scored[1]) == (1, True, 9)


@pytest.mark.process
def test_a_start_trains_the_steps_that_a_kill_has_lost(controller, mouse_folder, tmp_path):
    finetuning, told = controller.finetuning, set()
    out = run_finetune(mouse_folder, tmp_path / "run", steps=1)
    for path in out.glob("finetuned.*"):
        path.unlink()
    with (out / FILE).open("a") as file:
        file.writelines(json.dumps({"step": step, "loss": 0.5}) + "\n" for step in (2.0, 3.0))
    finetuning.changed.connect(lambda: told.add(finetuning.message))
    finetuning.start(out=out, steps=2, batch=1)
    assert finetuning.wait(PATIENCE_S)
    assert finetuning.error is None
    assert finetuned_in(out).step == 2
    assert not any(FINISHING in message for message in told)


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="kills by signal, which is POSIX's")
def test_a_process_ends_and_saves_when_its_owner_is_killed(mouse_folder, tmp_path):
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    out = tmp_path / "run"
    arguments = (mouse_folder, out, theirs)
    owner = context.Process(target=finetune_until_owner_dies, args=arguments)
    owner.start()
    assert ours.poll(2 * PATIENCE_S)
    number = ours.recv()
    owner.join()
    assert owner.exitcode == -signal.SIGKILL
    end = time.monotonic() + PATIENCE_S
    while process_bytes(number):  # nobody is told of the end of another's child
        assert time.monotonic() < end
        time.sleep(0.01)
    assert finetuned_in(out).step >= 2
    assert saved_step(out) == finetuned_in(out).step


# -- with a scripted one --------------------------------------------------------------
def test_fine_tuning_is_offered_for_an_unknown_recording(controller, mouse_folder):
    finetuning = controller.finetuning
    assert finetuning.is_offered
    assert finetuning.saved_result() is None
    assert finetuning.estimate()
    controller.loader.open_now(mouse_folder / KNOWN)
    assert not finetuning.is_offered
    controller.loader.open_now(mouse_folder / NEW)
    controller.model.choose(EchoPredictor())
    assert controller.requests.wait(PATIENCE_S)
    assert not finetuning.is_offered


def test_it_continues_after_a_restart(controller, finetuning, script, open_controller):
    finetuning.start(steps=10)
    run_to(finetuning, script, 3)
    controller.close()
    assert script.hurried()
    later = open_controller().finetuning
    # A kill may leave the card of the result, which is written before its weights.
    (later.saved_result().path / "finetuned.json").write_text("{}")
    assert not later.saved_result().is_finished
    assert later.saved_result().step == 3
    later.start(steps=10)
    # The time of a whole run is not that of what is left.
    assert " · in all " not in later.message
    run_to(later, script, 5)
    assert [step for step, _ in later.losses] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("is_saved", [False, True])
def test_the_current_weights_are_those_of_a_step_of_the_run(
    controller, finetuning, script, mouse_folder, is_saved
):
    view = FinetuneView.of(controller)
    run_and_stop(finetuning, script)
    assert finetuning.request.expected
    if is_saved:
        finetuning.clear()
        controller.model.choose(mouse_folder / "base.safetensors")
        assert controller.requests.wait(PATIENCE_S)
        offered = record(view)["message"].text
        assert offered == (
            "A run stopped at step 3 and can be resumed. 300 steps train the embeddings"
        )
    press(view, "use")
    assert finetuning.wait(PATIENCE_S)
    assert finetuning.error is None
    assert record(view)["message"].text.startswith("✓ Finished after a stop at step 3 of 10")


def test_a_run_with_other_options_than_the_form_is_started_over_in_a_new_folder(
    controller, finetuning, script, mouse_folder
):
    view = FinetuneView.of(controller)
    run_and_stop(finetuning, script)
    finetuning.clear()
    controller.model.choose(mouse_folder / "base.safetensors")
    assert controller.requests.wait(PATIENCE_S)
    path, batch = finetuning.saved_result().path, view.form.read().batch
    about = json.loads((path / "finetune.json").read_text())
    (path / "finetune.json").write_text(json.dumps(about | {"batch": batch + 1}))
    told = f"A run stopped at step 3, with Batch {batch + 1}, not {batch}. With its own settings"
    assert record(view)["message"].text.startswith(told)
    assert record(view)["start"].label == "Start over"
    view.form.set("batch", batch + 1)
    assert record(view)["start"].label == "Resume"
    view.form.set("batch", batch)
    press(view, "start")
    assert finetuning.request.path != path
    finetuning.stop()
    assert finetuning.wait(PATIENCE_S)


def test_the_time_of_a_whole_run_is_not_told_when_it_goes_on(finetuning, script):
    run_and_stop(finetuning, script)
    finetuning.resume()
    assert " · in all " not in finetuning.message


def test_the_step_during_which_a_run_was_stopped_is_told(controller, finetuning, script):
    view, told = FinetuneView.of(controller), []
    run_and_stop(finetuning, script)
    finetuning.changed.connect(lambda: told.append(record(view)["message"].text))
    finetuning._take_rows(finetuning.request, [{"step": 4.0, "loss": 0.5}])
    assert told == ["Stopped at step 4 of 10; the run is saved."]


def test_a_run_that_goes_on_keeps_its_curves_until_they_are_sent_again(finetuning, script):
    run_and_stop(finetuning, script)
    losses, validations = list(finetuning.losses), list(finetuning.validations)
    assert losses
    finetuning.resume()
    assert (finetuning.losses, finetuning.validations) == (losses, validations)
    finetuning.stop()
    finetuning.start_over()
    assert finetuning.losses == []


def test_a_baseline_answers_while_the_model_is_trained(controller, finetuning, script, monkeypatch):
    name = controller.state.predictor_name
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    said = finetuning.estimate(2)
    on_screen: list[str] = []
    begin = finetuning._task.start
    monkeypatch.setattr(
        finetuning._task,
        "start",
        lambda *told: (on_screen.append(controller.state.predictor_name), begin(*told)),
    )
    finetuning.start(steps=2)
    # First: a run that only writes its result may end, and choose it, at once.
    assert on_screen == [FALLBACK]
    # Until a pace is known, it says how long all of it takes, as the form did.
    assert said.startswith("roughly")
    assert finetuning.message == f"{finetuning.stage} · in all {said}"
    assert controller.requests.wait(PATIENCE_S)
    model = controller.model
    assert (controller.state.predictor_name, model.unfamiliar) == (FALLBACK, name)
    assert (controller.results.error, controller.results.freshness) == (None, "fresh")
    said = record(FinetuneView.of(controller))["stand_in"].text
    assert said == "Until it ends, linear-gaussian predicts on screen in place of base.safetensors."
    script.last = 2
    assert finetuning.wait(PATIENCE_S)
    assert (finetuning.is_chosen, model.unfamiliar) == (True, "")
    assert "stand_in" not in record(FinetuneView.of(controller))


def test_a_stopped_run_goes_on_though_a_baseline_is_on_screen(controller, finetuning, script):
    name = controller.state.predictor_name
    run_and_stop(finetuning, script)
    assert controller.state.predictor_name == FALLBACK
    finetuning.start(steps=10)
    assert finetuning.request.model == name
    run_to(finetuning, script, 5)
    assert [step for step, _ in finetuning.losses] == [1, 2, 3, 4, 5]
    assert controller.model.unfamiliar == name


def test_a_restart_keeps_the_model_in_whose_place_a_baseline_answers(
    controller, finetuning, script, tmp_path, mouse_folder
):
    name = controller.state.predictor_name
    run_and_stop(finetuning, script)
    controller.close()
    with closing(Controller(load=load_in_process, session_file=tmp_path / "live.json")) as later:
        later.finetuning.folder = tmp_path / "models"
        later.model.choose(FALLBACK, is_default=True)  # as a window does
        assert later.project.restore()
        assert later.loader.wait(PATIENCE_S)
        assert (later.state.predictor_name, later.model.unfamiliar) == (FALLBACK, name)
        later.finetuning.start(steps=10)
        assert later.finetuning.request.model == name
        later.finetuning.stop()
        # It comes back with a recording that it knows.
        later.loader.open_now(mouse_folder / KNOWN)
        assert later.requests.wait(PATIENCE_S)
        assert (later.state.predictor_name, later.model.unfamiliar) == (name, "")


def test_a_copied_recording_has_the_fine_tuning_of_the_original(controller, finetuning, script):
    finetuning.start(steps=2)
    script.last = 2
    assert finetuning.wait(PATIENCE_S)
    session = controller.state.session
    copy = replace(session, fingerprint="of another time")
    assert finetuning.folder_for("base", copy) == finetuning.folder_for("base", session)
    other = replace(session, id="another")
    assert finetuning.folder_for("base", other) != finetuning.folder_for("base", session)


def test_a_chosen_fine_tuning_of_a_command_shows_its_log(controller, mouse_folder, tmp_path):
    out = run_finetune(mouse_folder, tmp_path / "mine", steps=2)
    assert not FinetuneView.of(controller)._shows_run
    controller.model.choose(out)
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    assert finetuning._reader.wait(PATIENCE_S)
    rows = list(log_rows(out / FILE))
    assert finetuning.validations == [(int(row["step"]), row["validation"]) for row in rows]
    assert [step for step, _ in finetuning.losses] == [1, 2]
    items = record(view)
    assert items["message"].text.startswith("✓ Finished, and the model is selected: ")
    assert items["title"].text == f"Fine-tune base to {NEW}"
    assert len(items["scores"].lines[0].x) == 3
    assert "start" not in items
    # It leaves with its model.
    controller.model.choose(mouse_folder / "base.safetensors")
    assert finetuning.request is None
    assert "curves" not in record(view)


def test_an_interrupted_run_that_is_chosen_by_its_folder_has_curves_and_goes_on(
    controller, finetuning, script, mouse_folder, tmp_path
):
    out, steps = tmp_path / "mine", [0]
    job = CallbackJob(cancelled=lambda: steps[-1] == 2)
    with pytest.raises(StoppedError):
        run_finetune(mouse_folder, out, job=job, on_step=lambda step, row: steps.append(step))
    controller.model.choose(out)
    assert finetuning._reader.wait(PATIENCE_S)
    assert [step for step, _ in finetuning.losses] == [1, 2]
    # Where its model is a file, the folder does not say where that is.
    items = record(view := FinetuneView.of(controller))
    assert "start" not in items
    assert items["message"].text == (
        "Stopped at step 2 of 5; the run is saved. Its folder does not say where the "
        "model base is. To go on, repeat the command omnimouse finetune … --out mine."
    )
    finetuning.folder = out.parent
    assert record(view)["message"].text.endswith("To go on, choose the model base.")
    about = json.loads((out / "finetune.json").read_text()) | {"model": "demo@1"}

    def items_of(about):
        (out / "finetune.json").write_text(json.dumps(about))
        controller.model.choose(FALLBACK)
        controller.model.choose(out)
        assert finetuning._reader.wait(PATIENCE_S)
        return record(view)

    items = items_of(about | {"neurons_of": KNOWN})
    assert not {"start", "use"} & items.keys()
    assert f"does not say where the recording {KNOWN} of neurons_of is" in items["message"].text
    # Folders of older versions do not have the number of steps.
    items = items_of({name: value for name, value in about.items() if name != "steps"})
    assert "start" not in items
    assert "Stopped at step 2; the run is saved." in items["message"].text
    items = items_of(about)
    assert items["start"].label == "Resume"
    assert len(items["loss"].lines[0].x) == 2
    # It goes on with the options that it had.
    script.last = 3
    press(view, "start")
    request = finetuning.request
    assert (request.model, request.path, request.others) == ("demo", out, {"batch": 1})
    assert (request.steps, request.expected) == (5, "")
    run_to(finetuning, script, 3)
    assert [step for step, _ in finetuning.losses] == [1, 2, 3]


def test_a_stopped_run_stays_when_a_finished_result_is_chosen(
    controller, finetuning, script, mouse_folder, tmp_path
):
    out = run_finetune(mouse_folder, tmp_path / "mine", steps=2)
    run_and_stop(finetuning, script)
    request, losses = finetuning.request, list(finetuning.losses)
    controller.model.choose(out)
    assert finetuning._reader.wait(PATIENCE_S)
    assert finetuning.request is request
    assert finetuning.losses == losses
    assert finetuning.can_resume
    # A model that knows all neurons needs no fine-tuning.
    assert controller.requests.wait(PATIENCE_S)
    assert not open_label(finetuning)
    controller.model.choose(FALLBACK)
    assert open_label(finetuning) == "Fine-tune…"
    # Without it, the result shows its curves, and no error of before.
    finetuning.clear()
    controller.model.choose(FALLBACK)
    finetuning._fail("of another run")
    controller.model.choose(out)
    assert finetuning._reader.wait(PATIENCE_S)
    assert [step for step, _ in finetuning.losses] == [1, 2]
    assert finetuning.error is None


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "none/of/these"])
def test_a_model_of_any_name_can_be_chosen(controller, finetuning, name):
    controller.model.choose(name)
    assert finetuning._reader.wait(PATIENCE_S)
    assert controller.state.predictor_name == name
    assert (finetuning.request, finetuning.error) == (None, None)


def test_a_fine_tuning_that_cannot_start_reports_the_reason(controller, finetuning):
    finetuning.start(steps=10)
    finetuning.start(steps=10)
    assert finetuning.error.code == "busy"
    assert finetuning.is_busy
    finetuning.clear()
    controller.model.choose(EchoPredictor())
    finetuning.start()
    assert finetuning.error.code == "no_model_or_session"


def test_other_results_are_not_chosen(controller, finetuning, script, mouse_folder):
    name = controller.state.predictor_name
    finetuning.start(steps=1)
    controller.loader.open_now(mouse_folder / KNOWN)
    script.last = 1
    assert finetuning.wait(PATIENCE_S)
    assert finetuning.is_finished
    assert controller.state.predictor_name == name
    finetuning.use()
    assert controller.state.predictor_name == str(finetuning.request.path)


# -- models without weights, which are fitted ------------------------------------------
@pytest.fixture
def fits_here(monkeypatch, mouse_folder, tmp_path):
    """Fits run in the thread of the task, with a config of two steps."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    monkeypatch.setattr(fits, "small_config", lambda name: path)
    asked = []

    def run(arguments, job, report_rows, closing):
        asked.append(arguments)
        fit_on_record(
            arguments.model,
            arguments.session,
            arguments.out,
            job=job,
            on_step=lambda step, row: report_rows([row]),
            **arguments.settings,
        )

    monkeypatch.setattr(live_finetune, "spawn_finetune", run)
    return asked


TINY = """family: poyo_calcium
model: {n_latents: 2, width: 16, depth: 1, head: 8, cross_heads: 1, self_heads: 2, turned: 4}
units: null
batch: 2
steps: 4
validate_every: 2
validation_windows: 2
"""


def test_a_model_without_weights_is_fitted_and_found_after_a_restart(
    fits_here, controller, open_controller
):
    finetuning = controller.finetuning
    assert not finetuning.is_fit
    controller.model.choose("poyo-calcium")
    assert controller.requests.wait(PATIENCE_S)
    assert "om.fit('poyo-calcium', session)" in controller.results.error
    assert finetuning.is_fit
    # The app names its action, not a call of Python.
    assert controller.laboratory.problem == NOT_FITTED
    controller.sources.set(is_quick=False)
    assert controller.sources.problem == NOT_FITTED
    assert finetuning.is_offered
    assert [one.name for one in fields(finetuning.options)] == ["steps"]
    finetuning.start(steps=2)
    assert finetuning.wait(PATIENCE_S)
    assert finetuning.error is None
    (arguments,) = fits_here
    assert (arguments.is_fit, arguments.settings) == (True, {"steps": 2})
    assert controller.state.predictor_name == str(finetuning.request.path)
    assert controller.requests.wait(PATIENCE_S)
    # It knows the recording now, and decodes behaviour alone.
    assert "predicts behaviour, not responses" in controller.results.error
    (result,) = finetuning.results
    assert (result.step, result.n_steps, result.is_fit) == (2, 2, True)
    assert result.text == f"poyo-calcium, fitted to {NEW}"
    controller.close()
    later = open_controller()
    assert [one.path for one in later.finetuning.results] == [result.path]
    # It goes on in its folder, up to the asked step.
    later.model.choose("poyo-calcium")
    assert later.requests.wait(PATIENCE_S)
    assert later.finetuning.saved_result() == result
    later.finetuning.start(steps=3)
    assert later.finetuning.wait(PATIENCE_S)
    assert later.finetuning.error is None
    assert finetuned_in(result.path).step == 3


def test_a_start_of_a_fit_trains_the_steps_that_a_kill_has_lost(fits_here, controller):
    finetuning = controller.finetuning
    controller.model.choose("poyo-calcium")
    assert controller.requests.wait(PATIENCE_S)
    finetuning.start(steps=2)
    assert finetuning.wait(PATIENCE_S)
    path = finetuning.request.path
    # As a kill leaves it: a step in the log that no save has.
    about = json.loads((path / "finetune.json").read_text())
    (path / "finetune.json").write_text(json.dumps(about | {"is_finished": False, "steps": 4}))
    with (path / FILE).open("a") as file:
        file.write(json.dumps({"step": 3.0, "loss": 0.5}) + "\n")
    controller.model.choose("poyo-calcium")
    assert controller.requests.wait(PATIENCE_S)
    told = []
    finetuning.changed.connect(lambda: told.append(finetuning.message))
    finetuning.start(steps=3)
    assert finetuning.wait(PATIENCE_S)
    assert finetuning.error is None
    assert saved_step(path) == 3
    assert not any(FINISHING in message for message in told)


def test_a_model_to_be_fitted_claims_nothing_and_keeps_the_mask(controller):
    controller.editor.set_behavior("visible")
    window, mask = controller.state.window, controller.state.mask
    controller.model.choose("latent-zig")
    assert controller.requests.wait(PATIENCE_S)
    assert controller.results.error
    assert controller.results.needs is None
    assert (controller.state.window, controller.state.mask) == (window, mask)


def test_the_time_of_a_fit_is_that_of_the_last_one(controller, monkeypatch, tmp_path):
    last = live_finetune.FinetunedModel(
        tmp_path / "cebra_other_1",
        "cebra",
        "other",
        "embeddings",
        step=40,
        is_finished=True,
        minutes=20.0,
    )
    monkeypatch.setattr(live_finetune, "finetuned_under", lambda folder: (last,))
    controller.model.choose("cebra")
    assert controller.finetuning.estimate(20).startswith("about 10 min")
    assert controller.finetuning.estimate(0).startswith("about 20 min")  # all steps


@pytest.mark.parametrize(
    "name",
    [
        *("sensorium-factorised", "latent-zig", "dwiseneuro", "poyo-calcium", "cebra", "mtm"),
        *("ndt", "ndt-forecast", "omnimouse", "twin"),
    ],
)
def test_the_first_fit_of_a_family_has_an_estimate(name, monkeypatch, controller):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert training_plan(small_config(name)).settings.notes["core_minutes"] <= 40
    controller.state.predictor_name = name
    load = 0.4
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load), raising=False)
    text = controller.finetuning.estimate(0)
    assert text.startswith("roughly")
    assert text.endswith("for a recording like the demo's on this processor if nothing else runs")
    # Beside work, its own or another's, nobody knows how long it takes.
    load = 2.0
    least = controller.finetuning.estimate(0)
    assert least.startswith(text.replace("roughly", "at least").partition(" on this")[0])
    assert least.endswith("other work on this processor can make it ten times as long or more")
