"""Fine-tuning: a session is learned, nothing else moves, and a kill changes nothing."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

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
from tests.model.finetune_process import KNOWN, finetuned, small_net, write_place
from tests.model.official_shards import ANIMALS, SESSIONS, write_shards
from tests.model.official_shards import SMALL as OFFICIAL
from tests.small_sessions import write_session

E = 16


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """As `write_place`, and a second recording of the known mouse."""
    root = write_place(tmp_path_factory.mktemp("finetune"))
    write_session(root / "a-2-1", 7)
    return root


@pytest.fixture(scope="module")
def whole(place):
    """A fine-tuning that nothing disturbed."""
    return finetuned(place, place / "whole")


def weights(out: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(out).state


def losses(out: Path) -> list[tuple[float, float | None]]:
    return [(row["step"], row.get("loss")) for row in log_rows(out / FILE)]


def check_same(out: Path, other: Path) -> None:
    """Two runs logged and ended the same, to the bit."""
    assert losses(out) == losses(other)
    mine, theirs = weights(out), weights(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


# -- what is learned, and what is not -------------------------------------------------
def test_the_frozen_core_is_unchanged_and_the_result_says_so(place, whole):
    base, result = read_checkpoint(place / "base.safetensors"), read_checkpoint(whole)
    assert result.sessions == {KNOWN: 12, "b-1-1": 9}
    kept = {name: result.state[name] for name in base.state}
    assert weights_hash(kept) == weights_hash(base.state)
    core = {k: v for k, v in base.state.items() if not k.startswith("sess_params.")}
    assert result.card is not None
    about = result.card["finetuned"]
    assert about["frozen_hash"] == weights_hash(core)
    assert about["n_trained"] == (9 + 1 + 1) * E + 9
    assert not about["animal_was_known"]


def test_what_was_known_is_answered_as_before(place, whole):
    before, after = (
        om.load_predictor(place / "base.safetensors"),
        om.load_predictor(whole),
    )
    session = om.open_session(place / KNOWN)
    window = session.window(3.0)
    mask = om.mask_from_strategy("test/video_behavior", session)
    answers = [p.predict(window, mask).responses for p in (before, after)]
    np.testing.assert_array_equal(*answers)
    new = om.open_session(place / "b-1-1")
    asked = om.mask_from_strategy("test/video_behavior", new)
    assert np.isfinite(after.predict(new.window(3.0), asked).responses[30:]).all()


def test_a_known_animals_vector_is_reused(place, tmp_path):
    out = finetuned(place, tmp_path, session="a-2-1", steps=2)
    base, result = read_checkpoint(place / "base.safetensors"), read_checkpoint(out)
    name = "animal_params._animal_embeddings.a"
    assert torch.equal(result.state[name], base.state[name])
    assert result.animals == {KNOWN: "a", "a-2-1": "a"}
    about = read_card(out / "finetuned.json")["finetuned"]
    assert about["animal_was_known"]
    assert about["n_trained"] == (7 + 1) * E + 7


def test_a_model_that_tells_no_animals_apart_is_given_none(place, tmp_path):
    """Two sessions of one animal would bring its vector into both."""
    known = read_checkpoint(place / "base.safetensors")
    config = replace(known.config, always_use_animal_embeddings=False)
    root = tmp_path / "place"
    root.mkdir()
    save_checkpoint(root / "base.safetensors", replace(known, config=config).build())
    (root / "a-2-1").symlink_to(place / "a-2-1")
    out = finetuned(root, tmp_path / "out", session="a-2-1", steps=1)
    assert read_checkpoint(out).animals == {KNOWN: "a", "a-2-1": "a-2-1"}
    session = om.open_session(place / KNOWN)
    mask = om.mask_from_strategy("test/video_behavior", session)
    before, after = (
        om.load_predictor(path).predict(session.window(3.0), mask).responses
        for path in (root / "base.safetensors", out)
    )
    np.testing.assert_array_equal(before, after)


def test_a_known_session_keeps_the_animal_that_the_model_has_for_it(place, tmp_path):
    session = replace(om.open_session(place / KNOWN), animal_id="another", _cache={})
    base = place / "base.safetensors"
    om.finetune(base, session, tmp_path, train="all", steps=0, batch=1)
    assert read_checkpoint(tmp_path).animals == {KNOWN: "a"}


def test_everything_can_be_trained_also_for_a_known_session(place, tmp_path):
    out = finetuned(place, tmp_path, session=KNOWN, steps=3, train="all")
    base, result = read_checkpoint(place / "base.safetensors"), read_checkpoint(out)
    assert result.sessions == {KNOWN: 12}
    name = "enc.attention.wq.weight"
    assert not torch.equal(result.state[name], base.state[name])
    about = read_card(out / "finetuned.json")["finetuned"]
    assert about["frozen_hash"] is None
    known = base.state[f"sess_params.{KNOWN}._neuron_embeddings.weight"]
    tuned = result.state[f"sess_params.{KNOWN}._neuron_embeddings.weight"]
    assert float((tuned - known).abs().max()) < 0.1


def test_an_official_checkpoint_is_fine_tuned_and_keeps_what_was_assumed(
    place, tmp_path, monkeypatch
):
    monkeypatch.setattr(official, "SIZES", {"tiny": OFFICIAL})
    monkeypatch.setattr(borrowed, "WINDOWS", 2)
    net = OmniMouse(OFFICIAL, SESSIONS, ANIMALS)
    initialise(net, torch.Generator().manual_seed(1))
    shards = write_shards(net, tmp_path / "official")
    session = om.open_session(place / "b-1-1")
    om.finetune(shards, session, tmp_path / "mine", steps=1, batch=1)
    result = read_checkpoint(tmp_path / "mine")
    assert result.sessions == SESSIONS | {"b-1-1": 9}
    assert "local:global ratio (1, 1)" in result.assumed[0]
    for name, value in net.state_dict().items():
        assert torch.equal(result.state[name], value), name


# -- start values and held-out windows ------------------------------------------------
def test_a_neuron_begins_at_the_known_one_that_does_as_it_does(place, monkeypatch):
    """The new mouse's neurons are the known ones, in another order."""
    net = small_net({KNOWN: 12})
    session = om.open_session(place / KNOWN)
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
        read_checkpoint(place / "base.safetensors"),
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


def test_no_train_window_reaches_into_a_held_out_one(place):
    session = om.open_session(place / "b-1-1")
    for seed in range(5):
        source = hold_out(session, seed)
        apart = np.abs(source.starts[:, None] - source.held_out[None])
        assert apart.min() > WINDOW_S - 1e-6
        assert np.diff(source.held_out).min(initial=1.0) > 0.99
        assert set(source.held_out) <= set(session.window_starts("train", 1, True))
        np.testing.assert_array_equal(hold_out(session, seed).held_out, source.held_out)


# -- stopping and going on ------------------------------------------------------------
def test_a_run_killed_goes_on_to_the_bit(place, whole, tmp_path):
    out = tmp_path / "killed"
    given = [str(place), str(out), "5"]
    child = subprocess.run(
        [sys.executable, "-m", "tests.model.finetune_process", *given],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert child.returncode == -signal.SIGKILL
    assert not is_finished(out)
    saved = saved_step(out)
    assert 0 <= saved < 5
    finetuned(place, out, steps=saved)  # not what was logged after it
    assert read_card(out / "finetuned.json")["finetuned"]["steps"] == saved
    finetuned(place, out)
    check_same(out, whole)


def test_a_run_cancelled_goes_on_and_can_be_used_as_it_is(place, whole, tmp_path):
    told: list[FinetuneProgress] = []
    with pytest.raises(StoppedError, match="stopped at step 3 of 12; saved in"):
        finetuned(
            place, tmp_path, progress=told.append, cancelled=lambda: told[-1].step == 3
        )
    assert last_state(tmp_path) == tmp_path / "state-00000003"
    assert not is_finished(tmp_path)
    finetuned(place, tmp_path, steps=3)
    assert read_card(tmp_path / "finetuned.json")["finetuned"]["steps"] == 3
    finetuned(place, tmp_path)
    check_same(tmp_path, whole)


def test_no_steps_are_the_start_values(place, tmp_path):
    out = finetuned(place, tmp_path, steps=0)
    about = read_card(out / "finetuned.json")["finetuned"]
    assert (about["steps"], about["best_step"]) == (0, 0)
    assert about["before"] == about["validation"]


def test_reports_tell_stage_scores_and_time_left(place, tmp_path):
    told: list[FinetuneProgress] = []
    finetuned(place, tmp_path, steps=4, progress=told.append)
    assert [t.stage for t in told] == ["starting", *["training"] * 5, "saving"]
    assert [t.step for t in told[1:-1]] == [0, 1, 2, 3, 4]
    first, last = told[1], told[-2]
    assert first.before == first.validation == first.best is not None
    assert first.loss is None
    assert last.before == first.before
    assert last.best == max(t.validation for t in told if t.validation is not None)
    assert all(t.seconds_left is not None for t in told[2:])
    assert "video_behavior" in last.row
    assert asdict(last)["of"] == 4
    about = read_card(tmp_path / "finetuned.json")["finetuned"]
    assert (about["before"], about["validation"]) == (first.before, last.best)


def test_a_run_that_gains_no_more_ends_early(place, tmp_path, monkeypatch):
    monkeypatch.setattr("omnimouse_model.train.finetune.SESSION_LR", 0.0)
    told: list[FinetuneProgress] = []
    finetuned(place, tmp_path, steps=12, progress=told.append)
    assert told[-1].step < 12
    assert is_finished(tmp_path)


# -- what is refused ------------------------------------------------------------------
def refusal(predictor: str | Path, session: Session, out: Path) -> str:
    with pytest.raises(FinetuneError) as error:
        om.finetune(predictor, session, out)
    assert str(error.value) == error.value.message
    return error.value.code


def test_what_cannot_be_fine_tuned_is_refused_before_anything_is_written(
    place, tmp_path, monkeypatch
):
    out, base = tmp_path / "out", place / "base.safetensors"
    new, known = om.open_session(place / "b-1-1"), om.open_session(place / KNOWN)
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
    place, tmp_path
):
    silent = write_session(tmp_path / "c-1-1", 6)
    responses = np.load(silent / "responses" / "data.npy")
    np.save(silent / "responses" / "data.npy", np.full_like(responses, np.nan))
    told: list[FinetuneProgress] = []
    with pytest.raises(FinetuneError, match="are no numbers there") as error:
        om.finetune(
            place / "base.safetensors",
            om.open_session(silent),
            tmp_path / "out",
            batch=2,
            progress=told.append,
        )
    assert error.value.code == "no_score"
    assert [one.stage for one in told] == ["starting"]


def test_a_folder_of_another_run_is_left_alone(place, whole, tmp_path):
    new, base = om.open_session(place / "b-1-1"), place / "base.safetensors"
    with pytest.raises(FinetuneError, match="seed 0, not 1"):
        om.finetune(base, new, whole, seed=1)
    with pytest.raises(FinetuneError, match="batch 2, not 3"):
        om.finetune(base, new, whole, batch=3)
    (tmp_path / "metrics.jsonl").write_text("")
    assert refusal(base, new, tmp_path) == "other_run"


def test_what_a_recording_lacks_is_never_shown(place, tmp_path):
    session = om.open_session(place / "b-1-1")
    deaf = replace(session, behavior={}, behavior_names=(), _cache={})
    blind = replace(session, stimulus=None, _cache={})
    for name, lacking in (("deaf", deaf), ("blind", blind)):
        told: list[FinetuneProgress] = []
        mine = om.finetune(
            place / "base.safetensors",
            lacking,
            tmp_path / name,
            steps=2,
            batch=1,
            progress=told.append,
        )
        assert mine.needs.n_neurons["b-1-1"] == 9
        assert told[-1].best is not None
        decodes = any(score.startswith("decode") for score in told[1].row)
        assert decodes is (name == "blind")
