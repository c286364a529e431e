"""Fine-tuning in the background: started, stopped, gone on with, and chosen at once."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import FinetuneError, WorkerError
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.finetuning import STAGES, Finetuning
from omnimouse_model.live.tuned import place_for, tuned_in
from omnimouse_model.predict.catalogue import load_in_process
from omnimouse_model.predict.devices import process_bytes
from omnimouse_model.train.saving import last_state
from tests.model.finetune_process import KNOWN, NEW, write_place
from tests.predictors import EchoPredictor

LONG = 4000
"""Steps that nobody waits for."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_place(tmp_path_factory.mktemp("finetuning"))


@pytest.fixture
def controller(place, tmp_path):
    """The new mouse on screen, and the model that does not know it."""
    made = Controller(load=load_in_process, memory=tmp_path / "live.json")
    made.finetuning.folder = tmp_path / "models"
    made.choose_predictor(place / "base.safetensors")
    made.open_session(place / NEW)
    assert made.wait(120.0)
    yield made
    made.close(1.0)


@pytest.fixture
def finetuning(controller):
    return controller.finetuning


def until(claim: Callable[[], bool], timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.005)


def has_step(finetuning: Finetuning, step: int = 1) -> bool:
    """Whether it got there; a fault is the test's."""
    if finetuning.fault is not None:
        raise finetuning.fault
    return finetuning.step >= step


def test_it_is_offered_for_a_model_that_does_not_know_the_recording(controller, place):
    finetuning = controller.finetuning
    assert finetuning.is_offered
    assert finetuning.here() is None
    assert "roughly" in finetuning.estimate()
    controller.open_session(place / KNOWN)
    assert not finetuning.is_offered
    controller.open_session(place / NEW)
    controller.choose_predictor(EchoPredictor())
    controller.wait(120.0)
    assert not finetuning.is_offered


def test_the_result_is_chosen_at_once_and_is_there_after_a_restart(
    controller, finetuning, place, tmp_path
):
    words, stages = [], []
    finetuning.changed.connect(lambda: words.append(finetuning.words))
    finetuning.changed.connect(lambda: stages.append(finetuning.stage))
    finetuning.start(steps=5)
    assert finetuning.is_busy
    assert finetuning.wait(120.0)
    assert finetuning.fault is None
    assert finetuning.is_finished
    assert [step for step, _ in finetuning.losses] == [1, 2, 3, 4, 5]
    assert [step for step, _ in finetuning.validations] == list(range(6))
    assert finetuning.before == finetuning.validations[0][1]
    assert finetuning.best == max(score for _, score in finetuning.validations)
    assert {"", "starting", "training"} <= set(stages)
    assert STAGES["starting"] in words
    assert any(found.startswith("step 3 of 5") for found in words)
    assert finetuning.wanted is not None
    mine = finetuning.wanted.path
    assert controller.state.predictor_name == str(mine)
    assert controller.wait(120.0)
    assert controller.results.error is None
    assert controller.results.population is not None
    assert not finetuning.is_offered
    (kept,) = finetuning.results
    assert (kept.path, kept.session, kept.step) == (mine, NEW, 5)
    assert (kept.before, kept.best) == (finetuning.before, finetuning.best)
    controller.close()
    later = Controller(load=load_in_process, memory=tmp_path / "live.json")
    later.finetuning.folder = tmp_path / "models"
    assert later.remembered.predictor == str(mine)
    assert [one.path for one in later.finetuning.results] == [mine]
    later.choose_predictor(place / "base.safetensors")
    later.open_session(place / NEW)
    assert later.wait(120.0)
    assert later.finetuning.here() == kept
    card = mine / "finetuned.json"
    card.write_text(card.read_text().replace('"minutes": 0.', '"minutes": 2.'))
    assert later.finetuning.estimate(5) == "about 2 min, going by the last one"
    later.finetuning.use_kept(kept)
    assert later.state.predictor_name == str(mine)
    later.close()


def test_a_stop_is_at_once_and_what_was_reached_can_be_used(controller, finetuning):
    finetuning.start(steps=LONG)
    until(lambda: has_step(finetuning, 3))
    assert finetuning.seconds_left is not None
    began = time.monotonic()
    finetuning.stop()
    assert time.monotonic() - began < 1
    assert not finetuning.is_busy
    reached = finetuning.step
    assert finetuning.can_go_on
    assert finetuning.can_be_used
    finetuning.use()
    assert finetuning.wait(120.0)
    assert finetuning.fault is None
    assert finetuning.is_finished
    assert finetuning.losses[-1][0] >= reached
    assert finetuning.wanted is not None
    assert controller.state.predictor_name == str(finetuning.wanted.path)


def test_what_was_stopped_goes_on_also_after_a_restart(controller, finetuning, place):
    finetuning.start(steps=LONG)
    until(lambda: has_step(finetuning, 3))
    controller.close()
    other = Controller(load=load_in_process)
    other.finetuning.folder = finetuning.folder
    other.choose_predictor(place / "base.safetensors")
    other.open_session(place / NEW)
    assert other.wait(120.0)
    here = other.finetuning.here()
    assert here is not None
    assert not here.is_finished
    assert here.step >= 1
    other.finetuning.start(steps=LONG)
    until(lambda: has_step(other.finetuning, here.step + 2))
    other.finetuning.stop()
    steps = [step for step, _ in other.finetuning.losses]
    assert steps == list(range(1, other.finetuning.step + 1))
    other.close()


def test_closing_ends_the_process_soon(controller, finetuning):
    finetuning.start(steps=LONG)
    until(lambda: has_step(finetuning))
    (process,) = [
        one
        for one in multiprocessing.active_children()
        if one.name == "omnimouse-finetune"
    ]
    number = process.pid
    assert process_bytes(number)
    began = time.monotonic()
    finetuning.close()
    assert time.monotonic() - began < 3
    assert not process.is_alive()


KILLED = """
import multiprocessing, os, signal, sys
from pathlib import Path
from omnimouse_model.data.open import open_session
from omnimouse_model.train.apart import Job, finetune_apart

def tell(kind, told):
    if told["step"] >= 2:
        print(multiprocessing.active_children()[0].pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

place, out = map(Path, sys.argv[1:])
session = open_session(place / "b-1-1")
job = Job(str(place / "base.safetensors"), session, out, settings={"steps": 4000})
finetune_apart(job, tell, lambda: False)
"""


@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
def test_a_process_ends_and_saves_when_its_owner_is_killed(place, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-c", KILLED, str(place), str(out)]
    owner = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert owner.returncode == -signal.SIGKILL, owner.stderr
    number = int(owner.stdout)
    until(lambda: not process_bytes(number))
    kept = tuned_in(out)
    assert kept is not None
    assert kept.step >= 2
    saved = last_state(out)
    assert saved is not None
    assert int(saved.name.removeprefix("state-")) == kept.step


def test_a_process_that_dies_is_told_and_can_be_gone_on_with(finetuning):
    finetuning.start(steps=LONG)
    until(lambda: has_step(finetuning))
    for process in multiprocessing.active_children():
        if process.name == "omnimouse-finetune":
            process.kill()
    assert finetuning.wait(120.0)
    assert isinstance(finetuning.fault, WorkerError)
    assert "exit code -9" in str(finetuning.fault)
    assert finetuning.can_go_on
    finetuning.go_on()
    assert finetuning.fault is None
    until(lambda: has_step(finetuning))
    finetuning.forget()
    assert finetuning.wanted is None
    assert finetuning.words == ""


def test_what_cannot_be_fine_tuned_says_why(controller, finetuning, place):
    finetuning.start("context-ridge", open_session(place / NEW), steps=1)
    assert finetuning.wait(120.0)
    assert isinstance(finetuning.fault, FinetuneError)
    assert finetuning.fault.code == "no_transformer"
    controller.choose_predictor(EchoPredictor())
    finetuning.start()
    assert "choose a model by its name" in str(finetuning.fault)


def test_one_runs_at_a_time(finetuning):
    finetuning.start(steps=LONG)
    finetuning.start(steps=LONG)
    assert "runs already" in str(finetuning.fault)
    assert finetuning.is_busy


def test_a_result_of_what_is_not_on_screen_any_more_is_not_chosen(
    controller, finetuning, place
):
    name = controller.state.predictor_name
    finetuning.start(steps=1)
    controller.open_session(place / KNOWN)
    assert finetuning.wait(120.0)
    assert finetuning.is_finished
    assert controller.state.predictor_name == name
    finetuning.use()
    assert finetuning.wanted is not None
    assert controller.state.predictor_name == str(finetuning.wanted.path)


def test_a_folder_of_another_run_is_left_and_a_fresh_one_begun(finetuning, place):
    session = open_session(place / NEW)
    stale = finetuning.place(str(place / "base.safetensors"), session)
    stale.mkdir(parents=True)
    (stale / "finetune.json").write_text('{"model": "other", "session": "x"}')
    finetuning.start(steps=1)
    assert finetuning.wait(120.0)
    assert finetuning.is_stale
    finetuning.start_over()
    assert finetuning.wait(120.0)
    assert finetuning.is_finished
    assert finetuning.wanted is not None
    assert finetuning.wanted.path.name == f"{stale.name}-2"
    again = finetuning.place(str(place / "base.safetensors"), session)
    assert again == finetuning.wanted.path


def test_a_folder_says_what_is_in_it_and_what_is_none_is_passed_over(place, tmp_path):
    session = open_session(place / NEW)
    path = place_for(tmp_path, os.fspath(place / "base.safetensors"), session, "all")
    assert path.parent == tmp_path
    assert path.name.startswith(f"base.safetensors_{NEW}_")
    assert path != place_for(tmp_path, "demo", session, "all")
    assert tuned_in(path) is None
    path.mkdir()
    (path / "finetune.json").write_text("{torn")
    assert tuned_in(path) is None
