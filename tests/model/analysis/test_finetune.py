"""Fine-tuning: a session is learned, nothing else moves, and a kill changes nothing."""

import itertools
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.analysis import finetune_process
from omnimouse_model.analysis.fit import is_finished
from omnimouse_model.data.session import Session
from omnimouse_model.errors import FinetuneError, StoppedError
from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
from omnimouse_model.families.omnimouse.context_part import STEP, fit_context
from omnimouse_model.live.models.finetune import finetuned_in
from omnimouse_model.predict.checkpoint_file import ABOUT, read_about, weights_hash
from omnimouse_model.progress import SAVING, STARTING, CallbackJob
from omnimouse_model.training.checkpoints import last_state, saved_step
from omnimouse_model.training.metrics_log import FILE, log_rows
from omnimouse_model.training.sessions import WINDOW_S, hold_out
from tests.model.finetune_process import (
    KNOWN,
    NEW,
    few_windows,
    long_run,
    run_finetune,
    write_mouse_folder,
)
from tests.model.small_net import save_checkpoint
from tests.small_sessions import write_session

pytestmark = pytest.mark.slow
E = 16
STEPS = ["first of 1 steps", "scoring the start values", "step 1 of 1: scoring", "step 1 of 1"]
STAGES = [STARTING, *STEPS, STEP, SAVING]
KIN = "a-2-1"
"""A second recording of the known mouse."""


@pytest.fixture(scope="module")
def mouse_folder(tmp_path_factory):
    """As `write_mouse_folder`, and a second recording of the known mouse."""
    root = write_mouse_folder(tmp_path_factory.mktemp("finetune"))
    write_session(root / KIN, 7)
    with few_windows():
        yield root


@pytest.fixture(scope="module")
def base(mouse_folder):
    return mouse_folder / "base.safetensors"


@pytest.fixture
def rising_score(monkeypatch):
    """Every step is the best so far, and quick to validate."""
    scores = (float(step) for step in itertools.count())
    where = "omnimouse_model.families.omnimouse.training.OmniMouseTraining.scores"
    monkeypatch.setattr(where, lambda *_: {"validation": next(scores)})


@pytest.fixture(scope="module")
def plain_run(mouse_folder):
    """A fine-tuning that nothing disturbed."""
    return run_finetune(mouse_folder, mouse_folder / "whole")


def card_of(out: Path) -> dict[str, Any]:
    return read_about(out / "finetuned.json")["card"]["finetuned"]


def check_same(out: Path, other: Path) -> None:
    """Two runs logged and ended the same, to the bit."""
    mine, theirs = (
        [(row["step"], row.get("loss")) for row in log_rows(run / FILE)] for run in (out, other)
    )
    assert mine == theirs
    check_holds(out, other)
    assert read_checkpoint(out).state.keys() == read_checkpoint(other).state.keys()


def check_holds(out: Path, base: Path) -> None:
    """A result holds every tensor of the model it began at, to the bit."""
    result = read_checkpoint(out).state
    for name, value in read_checkpoint(base).state.items():
        assert torch.equal(result[name], value), name


def check_answers(out: Path, base: Path, session: Session) -> None:
    """Two models answer alike; how weights lie in memory changes the last bits."""
    mask = om.Mask.from_strategy("test/video_behavior", session)
    mine, theirs = (
        om.load_predictor(path).predict(session.window(3.0), mask).responses for path in (out, base)
    )
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


# -- what is learned, and what is not -------------------------------------------------
def test_the_frozen_core_is_unchanged_and_the_result_says_so(base, plain_run):
    assert read_checkpoint(plain_run).sessions == {KNOWN: 12, NEW: 9}
    check_holds(plain_run, base)
    state = read_checkpoint(base).state
    core = {k: v for k, v in state.items() if not k.startswith("sess_params.")}
    card = card_of(plain_run)
    assert card["frozen_hash"] == weights_hash(core)
    assert card["n_trained"] == (9 + 1 + 1) * E + 9
    assert not card["animal_was_known"]


def test_the_log_and_the_result_say_over_what_the_held_out_score_is(mouse_folder, plain_run):
    held_out = hold_out(om.open_session(mouse_folder / NEW), 0).held_out
    scored = [row for row in log_rows(plain_run / FILE) if "validation" in row]
    assert {(row["scored_windows"], row["scored_neurons"]) for row in scored} == {
        (min(len(held_out), 48), 9)
    }
    assert finetuned_in(plain_run).scored == (min(len(held_out), 48), 9)


def test_a_run_tells_the_number_of_steps_that_it_was_last_asked_for(mouse_folder, tmp_path):
    for steps in (0, 1):
        run_finetune(mouse_folder, tmp_path / "out", steps=steps)
        assert json.loads((tmp_path / "out" / ABOUT).read_text())["steps"] == steps


def test_a_known_animals_vector_is_reused(mouse_folder, base, tmp_path):
    out = run_finetune(mouse_folder, tmp_path, session=KIN, steps=1)
    check_holds(out, base)
    assert read_checkpoint(out).animals == {KNOWN: "a", KIN: "a"}
    assert card_of(out)["animal_was_known"]
    assert card_of(out)["n_trained"] == (7 + 1) * E + 7


def test_neurons_that_the_model_knows_start_at_their_vectors(mouse_folder, base, tmp_path):
    for name, ids in ((KNOWN, 101 + np.arange(12)), (KIN, [103, 500, 101, 501, 502, 503, 112])):
        shutil.copytree(mouse_folder / name, tmp_path / name)
        np.save(tmp_path / name / "responses/meta/unit_ids.npy", np.array(ids))
    for path in (base, base.with_suffix(".json")):
        shutil.copyfile(path, tmp_path / path.name)
    known = om.open_session(tmp_path / KNOWN)
    out = run_finetune(tmp_path, tmp_path / "out", session=KIN, steps=0, neurons_of=known)
    state, name = read_checkpoint(out).state, "_neuron_embeddings.weight"
    own, theirs = state[f"sess_params.{KIN}.{name}"], state[f"sess_params.{KNOWN}.{name}"]
    assert torch.equal(own[[0, 2, 6]], theirs[[2, 0, 11]])
    assert not torch.equal(own[1], theirs[1])
    check_holds(out, base)


def test_neurons_of_a_recording_that_the_model_does_not_know_are_refused(
    mouse_folder, base, tmp_path
):
    other = om.open_session(mouse_folder / NEW)
    with pytest.raises(FinetuneError, match=r"does not know session 'b-1-1'") as caught:
        run_finetune(mouse_folder, tmp_path / "out", session=KIN, steps=0, neurons_of=other)
    assert caught.value.code == "neurons_of"
    assert not (tmp_path / "out").exists()


def test_a_model_without_animals_is_given_none(mouse_folder, base, tmp_path):
    """Two sessions of one animal would bring its vector into both."""
    known = read_checkpoint(base)
    config = replace(known.config, always_use_animal_embeddings=False)
    path = tmp_path / "base.safetensors"
    save_checkpoint(path, replace(known, config=config).build())
    (tmp_path / KIN).symlink_to(mouse_folder / KIN)
    out = run_finetune(tmp_path, tmp_path / "out", session=KIN, steps=1)
    assert read_checkpoint(out).animals == {KNOWN: "a", KIN: KIN}
    check_holds(out, path)
    check_answers(out, path, om.open_session(mouse_folder / KNOWN))


@pytest.mark.usefixtures("rising_score")
def test_everything_can_be_trained_of_a_known_session(mouse_folder, base, tmp_path):
    known = om.open_session(mouse_folder / KNOWN)
    session = replace(known, animal_id="another")
    om.finetune(base, session, tmp_path, train="all", steps=2, batch=1)
    known, result = read_checkpoint(base).state, read_checkpoint(tmp_path)
    assert result.sessions == {KNOWN: 12}
    assert result.animals == {KNOWN: "a"}
    assert card_of(tmp_path)["frozen_hash"] is None
    name = "enc.attention.wq.weight"
    assert not torch.equal(result.state[name], known[name])
    name = f"sess_params.{KNOWN}._neuron_embeddings.weight"
    assert float((result.state[name] - known[name]).abs().max()) < 0.1


def test_no_train_window_reaches_into_a_held_out_one(mouse_folder):
    session = om.open_session(mouse_folder / NEW)
    for seed in range(5):
        source = hold_out(session, seed)
        apart = np.abs(source.starts[:, None] - source.held_out[None])
        assert apart.min() > WINDOW_S - 1e-6
        assert np.diff(source.held_out).min(initial=1.0) > 0.99
        assert set(source.held_out) <= set(session.window_starts("train", 1, True))
        np.testing.assert_array_equal(hold_out(session, seed).held_out, source.held_out)


class KillError(BaseException):
    """Stands for a kill: nothing catches it."""


def test_a_run_killed_goes_on_to_the_bit(mouse_folder, plain_run, tmp_path):
    def kill(step: int, row: dict[str, float]) -> None:
        if step == 3:
            raise KillError

    out = tmp_path / "killed"
    with pytest.raises(KillError):
        run_finetune(mouse_folder, out, on_step=kill)
    assert not is_finished(out)
    saved = saved_step(out)
    assert 0 <= saved < 3
    run_finetune(mouse_folder, out, steps=saved)  # not what was logged after it
    assert card_of(out)["steps"] == saved
    run_finetune(mouse_folder, out)
    check_same(out, plain_run)


def tell_waiting(connection, _):
    connection.send(("progress", (0, 1, os.environ["GOMP_SPINCOUNT"])))
    connection.send(("done", None))


@pytest.mark.process
def test_threads_of_the_process_that_wait_for_one_another_leave_the_core_soon(
    mouse_folder, tmp_path, monkeypatch
):
    told = []
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setattr(finetune_process, "serve", tell_waiting)
    job = CallbackJob(lambda done, total, text: told.append(text))
    finetune_process.spawn_finetune(long_run(mouse_folder, tmp_path), job, lambda rows: None)
    assert told == ["3000"]


def test_a_run_cancelled_has_saved(mouse_folder, tmp_path):
    steps = [0]
    job = CallbackJob(cancelled=lambda: steps[-1] == 2)
    with pytest.raises(StoppedError):
        run_finetune(mouse_folder, tmp_path, job=job, on_step=lambda step, row: steps.append(step))
    assert last_state(tmp_path) == tmp_path / "state-00000002"
    assert not is_finished(tmp_path)
    # As when it is finished, it has the name of its folder.
    assert om.load_predictor(tmp_path).predictor_id.startswith(f"{tmp_path.name}@")


def test_a_copy_of_the_recording_goes_on(mouse_folder, base, tmp_path):
    out = run_finetune(mouse_folder, tmp_path / "out", steps=1)
    new = om.open_session(mouse_folder / NEW)
    copy = replace(new, fingerprint="of another time")
    with few_windows():
        om.finetune(base, copy, out, steps=2, batch=1, device="cpu")
        assert card_of(out)["steps"] == 2
        # Records of older versions have the fingerprint.
        record = json.loads((out / ABOUT).read_text())
        (out / ABOUT).write_text(json.dumps(record | {"recording": new.fingerprint}))
        om.finetune(base, new, out, steps=3, batch=1, device="cpu")
    assert card_of(out)["steps"] == 3
    (out / ABOUT).write_text(json.dumps(record | {"recording": "another"}))
    assert refusal(base, new, out, batch=1) == "other_run"


# -- what is refused ------------------------------------------------------------------
def refusal(predictor: str | Path, session: Session, out: Path, **options: int) -> str:
    """The kind of an error, which says the same in words."""
    with pytest.raises(FinetuneError) as error:
        om.finetune(predictor, session, out, **options)
    assert str(error.value) == error.value.message
    return error.value.code


def test_a_refusal_writes_nothing(mouse_folder, base, tmp_path, monkeypatch):
    out = tmp_path / "out"
    new = om.open_session(mouse_folder / NEW)
    known = om.open_session(mouse_folder / KNOWN)
    assert refusal("ridge", new, out) == "no_transfer"
    assert refusal(base, known, out) == "known"
    assert refusal(base, replace(new, id=KNOWN), out) == "neurons"
    assert refusal(base, replace(new, id="b.1"), out) == "session_id"
    trials = replace(new.trials, tier=np.full(len(new.trials), "final_test_1"))
    assert refusal(base, replace(new, trials=trials), out) == "no_train"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert refusal(base, new, out) == "processes"
    assert not out.exists()


def test_a_recording_without_a_score_is_refused_at_the_start(base, tmp_path, monkeypatch):
    class Events:
        """Events of TensorBoard, which makes its folder at the start."""

        def __init__(self, folder: Path, step: int) -> None:
            folder.mkdir()
            (folder / "events").write_text("")

        def close(self) -> None:
            """Close no file."""

    monkeypatch.setattr("omnimouse_model.training.metrics_log._events", Events)
    silent = write_session(tmp_path / "c-1-1", 6)
    responses = np.load(silent / "responses" / "data.npy")
    np.save(silent / "responses" / "data.npy", np.full_like(responses, np.nan))
    out = tmp_path / "out"
    assert refusal(base, om.open_session(silent), out, batch=2) == "no_score"
    assert not out.exists()
    # What was there before stays.
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert refusal(base, om.open_session(silent), out, batch=2, seed=1) == "no_score"
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_a_folder_of_another_run_is_left_alone(mouse_folder, base, plain_run, tmp_path):
    new = om.open_session(mouse_folder / NEW)
    with pytest.raises(FinetuneError, match="seed 0, not 1"):
        om.finetune(base, new, plain_run, seed=1, batch=1)
    with pytest.raises(FinetuneError, match="batch 1, not 3"):
        om.finetune(base, new, plain_run, batch=3)
    (tmp_path / "metrics.jsonl").write_text("")
    assert refusal(base, new, tmp_path) == "other_run"


@pytest.mark.parametrize("lacking", ["behavior", "stimulus"])
def test_what_a_recording_lacks_is_never_shown(mouse_folder, base, tmp_path, lacking, caplog):
    absent = {"behavior": {"behavior": {}}, "stimulus": {"stimulus": None}}
    session = replace(om.open_session(mouse_folder / NEW), **absent[lacking])
    rows: list[dict[str, float]] = []
    add = {"on_step": lambda step, row: rows.append(row)}
    mine = om.finetune(base, session, tmp_path, steps=1, batch=1, **add)
    assert mine.needs.n_neurons[NEW] == 9
    assert "validation" in rows[-1]
    decodes = any(score.startswith("decode") for score in rows[0])
    assert decodes is (lacking == "stimulus")
    said = {"behavior": "no behaviour: it stays hidden", "stimulus": "no video: all its frames"}
    assert said[lacking] in caplog.text


def test_a_model_with_a_context_part_gets_one_for_the_session(mouse_folder, tmp_path):
    plain = om.load_predictor(mouse_folder / "base.safetensors")
    context = fit_context(plain, om.open_session(mouse_folder / KNOWN))
    path = save_checkpoint(tmp_path / "both", plain.net, context=context)
    new, stages = om.open_session(mouse_folder / NEW), []
    job = CallbackJob(lambda done, total, text: stages.append((text, done / total)))
    ask = {"steps": 1, "batch": 1, "job": job}
    tuned = om.finetune(path, new, tmp_path / "out", **ask)
    assert tuned.has_context(new)
    assert {k: v for k, v in tuned.context.items() if k.startswith(KNOWN)}.keys() == (
        context.keys()
    )
    assert [*dict.fromkeys(stage for stage, _ in stages)] == STAGES
    # One share of all of the work: it never falls.
    shares = [share for _, share in stages]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    # Older versions wrote no family, and the hash of the network without its context part.
    record = tmp_path / "out" / ABOUT
    about = json.loads(record.read_text()) | {"weights": plain.weights_hash}
    record.write_text(json.dumps({k: v for k, v in about.items() if k != "family"}))
    # The part of a finished run is not fitted again, unless its result is cut short.
    for is_complete in (True, False):
        if not is_complete:
            (tmp_path / "out" / "finetuned.safetensors").unlink()
        stages.clear()
        assert om.finetune(path, new, tmp_path / "out", **ask).has_context(new)
        assert (STEP in dict(stages)) is not is_complete
    record.write_text(json.dumps(json.loads(record.read_text()) | {"weights": "00000000"}))
    with pytest.raises(FinetuneError, match="weights"):
        om.finetune(path, new, tmp_path / "out", **ask)
