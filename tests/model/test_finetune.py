"""Fine-tuning: a session is learned, nothing else moves, and a kill changes nothing."""

import itertools
import multiprocessing
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window
from omnimouse_model.errors import FinetuneError, StoppedError
from omnimouse_model.nets import official
from omnimouse_model.nets.checkpoint import read_card, read_checkpoint, save_checkpoint
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.start import initialise
from omnimouse_model.predict.loading import weights_hash
from omnimouse_model.predict.transformer import TransformerPredictor
from omnimouse_model.train import borrowed
from omnimouse_model.train.finetune import is_finished
from omnimouse_model.train.finetune_progress import FinetuneProgress
from omnimouse_model.train.held_out import WINDOW_S, hold_out
from omnimouse_model.train.metrics_log import FILE, log_rows
from omnimouse_model.train.saving import last_state, saved_step
from tests.model.finetune_process import (
    KNOWN,
    NEW,
    PATIENCE_S,
    STEPS,
    few_start_windows,
    run_finetune,
    run_finetune_until_killed,
    small_net,
    write_mouse_folder,
)
from tests.model.official_shards import ANIMALS, SESSIONS, write_shards
from tests.model.official_shards import SMALL as OFFICIAL
from tests.small_sessions import write_session

pytestmark = pytest.mark.slow
E = 16
KIN = "a-2-1"
"""A second recording of the known mouse."""


@pytest.fixture(scope="module")
def mouse_folder(tmp_path_factory):
    """As `write_place`, and a second recording of the known mouse."""
    root = write_mouse_folder(tmp_path_factory.mktemp("finetune"))
    write_session(root / KIN, 7)
    with few_start_windows():
        yield root


@pytest.fixture(scope="module")
def base(mouse_folder):
    return mouse_folder / "base.safetensors"


@pytest.fixture
def rising_score(monkeypatch):
    """Every step is the best so far, and quick to validate."""
    scores = (float(step) for step in itertools.count())
    monkeypatch.setattr(
        "omnimouse_model.train.loop.validation_scores",
        lambda *_: {"validation": next(scores)},
    )


@pytest.fixture(scope="module")
def reports():
    """What the undisturbed fine-tuning told."""
    return []


@pytest.fixture(scope="module")
def plain_run(mouse_folder, reports):
    """A fine-tuning that nothing disturbed."""
    return run_finetune(mouse_folder, mouse_folder / "whole", progress=reports.append)


def card_of(out: Path) -> dict[str, Any]:
    return read_card(out / "finetuned.json")["finetuned"]


def check_same(out: Path, other: Path) -> None:
    """Two runs logged and ended the same, to the bit."""
    mine, theirs = (
        [(row["step"], row.get("loss")) for row in log_rows(run / FILE)]
        for run in (out, other)
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
    mask = om.mask_from_strategy("test/video_behavior", session)
    mine, theirs = (
        om.load_predictor(path).predict(session.window(3.0), mask).responses
        for path in (out, base)
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


def test_the_known_is_answered_as_before_and_the_new_one_too(
    mouse_folder, base, plain_run
):
    check_answers(plain_run, base, om.open_session(mouse_folder / KNOWN))
    session = om.open_session(mouse_folder / NEW)
    mask = om.mask_from_strategy("test/video_behavior", session)
    rates = om.load_predictor(plain_run).predict(session.window(3.0), mask).responses
    assert np.isfinite(rates[30:]).all()


def test_a_known_animals_vector_is_reused(mouse_folder, base, tmp_path):
    out = run_finetune(mouse_folder, tmp_path, session=KIN, steps=1)
    check_holds(out, base)
    assert read_checkpoint(out).animals == {KNOWN: "a", KIN: "a"}
    assert card_of(out)["animal_was_known"]
    assert card_of(out)["n_trained"] == (7 + 1) * E + 7


def test_a_model_that_tells_no_animals_apart_is_given_none(
    mouse_folder, base, tmp_path
):
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
def test_everything_can_be_trained_of_a_known_session_which_keeps_its_animal(
    mouse_folder, base, tmp_path
):
    session = replace(
        om.open_session(mouse_folder / KNOWN), animal_id="another", _cache={}
    )
    om.finetune(base, session, tmp_path, train="all", steps=2, batch=1)
    known, result = read_checkpoint(base).state, read_checkpoint(tmp_path)
    assert result.sessions == {KNOWN: 12}
    assert result.animals == {KNOWN: "a"}
    assert card_of(tmp_path)["frozen_hash"] is None
    name = "enc.attention.wq.weight"
    assert not torch.equal(result.state[name], known[name])
    name = f"sess_params.{KNOWN}._neuron_embeddings.weight"
    assert float((result.state[name] - known[name]).abs().max()) < 0.1


@pytest.mark.usefixtures("rising_score")
def test_an_official_checkpoint_is_fine_tuned_and_keeps_what_was_assumed(
    mouse_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(official, "SIZES", {"tiny": OFFICIAL})
    net = OmniMouse(OFFICIAL, SESSIONS, ANIMALS)
    initialise(net, torch.Generator().manual_seed(1))
    shards = write_shards(net, tmp_path / "official")
    session = om.open_session(mouse_folder / NEW)
    om.finetune(shards, session, tmp_path / "mine", steps=1, batch=1)
    result = read_checkpoint(tmp_path / "mine")
    assert result.sessions == SESSIONS | {NEW: 9}
    assert "(1, 1)" in result.assumed[0]
    check_holds(tmp_path / "mine", shards)


# -- start values and held-out windows ------------------------------------------------
def test_a_neuron_begins_at_the_known_one_that_does_as_it_does(
    mouse_folder, base, monkeypatch
):
    """The new mouse's neurons are the known ones, in another order."""
    net = small_net({KNOWN: 12})
    session = om.open_session(mouse_folder / KNOWN)
    predictor = TransformerPredictor(net, "base")
    mask = om.mask_from_strategy("test/video_behavior", session)
    order = np.random.default_rng(0).permutation(12)
    plain = Session.window

    def answered(self: Session, start_s: float) -> Window:
        window = plain(self, start_s)
        rates = np.nan_to_num(predictor.predict(window, mask).responses)
        told = Window(self, window.start_index)
        told._cache["responses"] = (rates[:, order], window.valid["responses"])
        return told

    monkeypatch.setattr(Session, "window", answered)
    monkeypatch.setattr(borrowed, "ALIKE", 1)
    vector = net.session(KNOWN).vector.detach()
    found = borrowed.borrowed_embeddings(
        read_checkpoint(base),
        session,
        session.window_starts("train")[::10],
        {f"sess_params.{borrowed.KEY}._session_embedding": vector},
        "a",
        device=torch.device("cpu"),
        seed=0,
        cancelled=lambda: False,
    )
    embeddings = net.session(KNOWN).neurons(torch.from_numpy(order))
    torch.testing.assert_close(found, embeddings.detach())


def test_no_train_window_reaches_into_a_held_out_one(mouse_folder):
    session = om.open_session(mouse_folder / NEW)
    for seed in range(5):
        source = hold_out(session, seed)
        apart = np.abs(source.starts[:, None] - source.held_out[None])
        assert apart.min() > WINDOW_S - 1e-6
        assert np.diff(source.held_out).min(initial=1.0) > 0.99
        assert set(source.held_out) <= set(session.window_starts("train", 1, True))
        np.testing.assert_array_equal(hold_out(session, seed).held_out, source.held_out)


# -- stopping and going on ------------------------------------------------------------
@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="kills by signal, which is POSIX's")
def test_a_run_killed_goes_on_to_the_bit(mouse_folder, plain_run, tmp_path):
    out = tmp_path / "killed"
    context = multiprocessing.get_context("spawn")
    child = context.Process(
        target=run_finetune_until_killed, args=(mouse_folder, out, 3)
    )
    child.start()
    child.join(PATIENCE_S)
    assert child.exitcode == -signal.SIGKILL
    assert not is_finished(out)
    saved = saved_step(out)
    assert 0 <= saved < 3
    run_finetune(mouse_folder, out, steps=saved)  # not what was logged after it
    assert card_of(out)["steps"] == saved
    run_finetune(mouse_folder, out)
    check_same(out, plain_run)


def test_a_run_cancelled_has_saved(mouse_folder, tmp_path):
    told: list[FinetuneProgress] = []
    with pytest.raises(StoppedError):
        run_finetune(
            mouse_folder,
            tmp_path,
            progress=told.append,
            cancelled=lambda: told[-1].step == 2,
        )
    assert last_state(tmp_path) == tmp_path / "state-00000002"
    assert not is_finished(tmp_path)


def test_no_steps_are_the_start_values(mouse_folder, tmp_path):
    said = card_of(run_finetune(mouse_folder, tmp_path, steps=0))
    assert (said["steps"], said["best_step"]) == (0, 0)
    assert said["before"] == said["validation"]


def test_reports_tell_stage_scores_and_time_left(plain_run, reports):
    stages = ["starting", *["training"] * (STEPS + 1), "saving"]
    assert [told.stage for told in reports] == stages
    assert [told.step for told in reports[1:-1]] == list(range(STEPS + 1))
    first, last = reports[1], reports[-2]
    assert first.before == first.validation == first.best is not None
    assert first.loss is None
    assert last.before == first.before
    scores = [told.validation for told in reports if told.validation is not None]
    assert last.best == max(scores)
    assert all(told.seconds_left is not None for told in reports[2:])
    assert "video_behavior" in last.row
    assert asdict(last)["of"] == STEPS
    said = card_of(plain_run)
    assert (said["before"], said["validation"]) == (first.before, last.best)


def test_a_run_that_gains_no_more_ends_early(mouse_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("omnimouse_model.train.finetune.SESSION_LR", 0.0)
    monkeypatch.setattr("omnimouse_model.train.finetune.PATIENCE", 2)
    run_finetune(mouse_folder, tmp_path, steps=10)
    assert card_of(tmp_path)["steps"] == 2
    assert is_finished(tmp_path)


# -- what is refused ------------------------------------------------------------------
def refusal(predictor: str | Path, session: Session, out: Path, **options: int) -> str:
    """The kind of an error, which says the same in words."""
    with pytest.raises(FinetuneError) as error:
        om.finetune(predictor, session, out, **options)
    assert str(error.value) == error.value.message
    return error.value.code


def test_what_cannot_be_fine_tuned_is_refused_before_anything_is_written(
    mouse_folder, base, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    new, known = (
        om.open_session(mouse_folder / NEW),
        om.open_session(mouse_folder / KNOWN),
    )
    assert refusal("ridge", new, out) == "no_transformer"
    assert refusal(base, known, out) == "known"
    assert refusal(base, replace(new, id=KNOWN), out) == "neurons"
    assert refusal(base, replace(new, id="b.1"), out) == "session_id"
    trials = replace(new.trials, tier=np.full(len(new.trials), "final_test_1"))
    assert refusal(base, replace(new, trials=trials, _cache={}), out) == "no_train"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert refusal(base, new, out) == "processes"
    assert not out.exists()


def test_a_recording_that_no_score_can_be_had_of_is_refused_at_the_start(
    base, tmp_path
):
    silent = write_session(tmp_path / "c-1-1", 6)
    responses = np.load(silent / "responses" / "data.npy")
    np.save(silent / "responses" / "data.npy", np.full_like(responses, np.nan))
    out = tmp_path / "out"
    assert refusal(base, om.open_session(silent), out, batch=2) == "no_score"
    assert saved_step(out) <= 0
    assert not is_finished(out)


def test_a_folder_of_another_run_is_left_alone(mouse_folder, base, plain_run, tmp_path):
    new = om.open_session(mouse_folder / NEW)
    with pytest.raises(FinetuneError, match="seed 0, not 1"):
        om.finetune(base, new, plain_run, seed=1, batch=1)
    with pytest.raises(FinetuneError, match="batch 1, not 3"):
        om.finetune(base, new, plain_run, batch=3)
    (tmp_path / "metrics.jsonl").write_text("")
    assert refusal(base, new, tmp_path) == "other_run"


@pytest.mark.parametrize("lacking", ["behavior", "stimulus"])
def test_what_a_recording_lacks_is_never_shown(mouse_folder, base, tmp_path, lacking):
    absent = {
        "behavior": {"behavior": {}, "behavior_names": ()},
        "stimulus": {"stimulus": None},
    }
    session = replace(om.open_session(mouse_folder / NEW), **absent[lacking], _cache={})
    told: list[FinetuneProgress] = []
    mine = om.finetune(base, session, tmp_path, steps=1, batch=1, progress=told.append)
    assert mine.needs.n_neurons[NEW] == 9
    assert told[-1].best is not None
    decodes = any(score.startswith("decode") for score in told[1].row)
    assert decodes is (lacking == "stimulus")
