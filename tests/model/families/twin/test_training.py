"""Training of twins: exact resume, one core, transfer on a frozen core, configs."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

import omnimouse_model as om
from omnimouse_model.errors import FinetuneError, StoppedError
from omnimouse_model.families.parts.clips import clip_starts
from omnimouse_model.families.twin.network import TwinConfig, TwinNetwork
from omnimouse_model.families.twin.training import (
    TwinTrainConfig,
    TwinTraining,
    _positions,
    clip_spec,
)
from omnimouse_model.families.twin.twin import TwinCheckpoint
from omnimouse_model.inference.families import config_path, training_plan
from omnimouse_model.progress import CallbackJob
from omnimouse_model.training.checkpoints import last_state, read_state
from omnimouse_model.training.config import RunSettings, SessionChoice, write_record
from omnimouse_model.training.loop import train
from omnimouse_model.training.metrics_log import FILE, log_rows
from tests import FIXTURES
from tests.model.few_steps import open_training_session, train_some
from tests.small_sessions import write_session

pytestmark = pytest.mark.slow  # every test trains
assert_same = partial(torch.testing.assert_close, rtol=0, atol=0)

STOPPED = CallbackJob(cancelled=lambda: True)
MODEL = TwinConfig(
    streams=2,
    retina_height=12,
    retina_width=18,
    block_channels=(4, 4),
    block_groups=(1, 1),
    block_layers=(1, 1),
    block_temporals=(2, 2),
    block_spatials=(3, 3),
    block_pools=(2, 1),
    feedforward_channels=4,
    core="conv-lstm",
    recurrent_channels=4,
    hidden_channels=4,
    common_channels=4,
    out_channels=4,
    groups=1,
)
CONFIG = TwinTrainConfig(
    seed=3,
    frame_size=(18, 32),
    model=MODEL,
    clips=2,
    frames=12,
    burn_in=2,
    cycles=2,
    cycle_epochs=2,
    epoch_steps=1,
    warmup_epochs=1,
    validate_every=100,
    save_every_s=None,
)


@pytest.fixture(autouse=True)
def rough_centres(monkeypatch):
    """No test compares scores, most of whose time is spent on train windows."""
    monkeypatch.setattr("omnimouse_model.evaluation.shard.TRAIN_WINDOWS", 2)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mice")
    return [
        open_training_session(write_session(folder / name, count), SessionChoice(name))
        for name, count in (("a-1-1", 9), ("b-1-1", 7))
    ]


@pytest.fixture(scope="module")
def twins(sessions, tmp_path_factory):
    """Folder of a complete run over both sessions."""
    out = tmp_path_factory.mktemp("run")
    train(TwinTraining, CONFIG, sessions, out)
    return out


def tensors(path):
    return {k.removeprefix("sessions."): v for k, v in TwinCheckpoint.read(path).state.items()}


def test_a_stopped_run_goes_on_to_the_bit(sessions, twins, tmp_path):
    train_some(TwinTraining, CONFIG, sessions, tmp_path, 1)
    with pytest.raises(StoppedError):
        train(TwinTraining, CONFIG, sessions, tmp_path, job=STOPPED)
    nets = train(TwinTraining, CONFIG, sessions, tmp_path)
    assert_same(tensors(tmp_path / "model.safetensors"), tensors(twins / "model.safetensors"))
    rows = list(log_rows(tmp_path / FILE))
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert nets["a-1-1"].core is nets["b-1-1"].core


def test_a_save_of_another_training_is_refused(sessions, twins):
    with pytest.raises(ValueError, match="model"):
        train(TwinTraining, replace(CONFIG, model=replace(MODEL, out_channels=8)), sessions, twins)
    with pytest.raises(ValueError, match="sessions"):
        train(TwinTraining, CONFIG, sessions[:1], twins)
    with pytest.raises(ValueError, match="same id"):
        train(TwinTraining, CONFIG, [sessions[0], sessions[0]], twins)


def test_the_noise_and_the_momentum_start_again_with_a_cycle(sessions, tmp_path):
    one_epoch = replace(CONFIG, cycles=2, cycle_epochs=1, lr=0.0)
    train_some(TwinTraining, one_epoch, sessions, tmp_path, 1)
    state = read_state(last_state(tmp_path) / "rank_0.pt")
    name = "readout.position.sigma"
    state["nets"]["a-1-1"][name] *= 0.5
    torch.save(state, last_state(tmp_path) / "rank_0.pt")
    nets = train(TwinTraining, one_epoch, sessions, tmp_path)
    sigma = nets["a-1-1"].state_dict()[name]
    torch.testing.assert_close(sigma[0], 0.4 * torch.eye(2))


def test_it_learns_what_the_neurons_see(sessions, tmp_path):
    longer = replace(CONFIG, cycles=1, cycle_epochs=12, clips=4, frames=20)
    train(TwinTraining, longer, sessions[:1], tmp_path)
    losses = [row["loss"] for row in log_rows(tmp_path / FILE)]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_receptive_fields_are_the_first_positions(sessions, tmp_path):
    config = replace(CONFIG, start="receptive-fields", position_sd=0.2, lr=0.0)
    nets = train_some(TwinTraining, config, sessions[:1], tmp_path, 1)
    net = nets["a-1-1"].eval()
    positions = net.positions().detach()
    # Frames are flatter than the retina: their edges are where they are on the frame.
    corners = np.array([[0.5, 0.1], [0.5, 0.9], [0.1, 0.5]])
    placed = torch.tanh(_positions(net, corners, CONFIG.frame_size)).detach()
    there = net.perspective.seen_points(placed, net.start()).detach()
    half_height = 18 / 32
    torch.testing.assert_close(
        there[:2, 1] / half_height, torch.tensor([-0.8, 0.8]), atol=1e-3, rtol=0
    )
    assert positions.unique(dim=0).shape[0] > 1
    # What a neuron reads lies on the monitor, whose half width is 1.
    seen = net.perspective.seen_points(positions, net.start()).detach()
    assert seen[:, 0].abs().max() < 1.01
    back = net.perspective.map_points(
        net.perspective.retina_points(seen[None], torch.zeros(1, 2), net.start())[0]
    )
    torch.testing.assert_close(back.detach(), positions, atol=1e-4, rtol=0)


def test_clips_do_not_overlap_held_out_windows(sessions):
    spec = clip_spec(CONFIG)
    source = sessions[0]
    held_out = source.starts[[len(source.starts) // 2]]
    starts = clip_starts(replace(source, held_out=held_out), spec)
    assert 0 < len(starts) < len(clip_starts(source, spec))
    is_before = starts + spec.duration_s <= held_out + 1e-6
    assert (is_before | (starts >= held_out + 2 - 1e-6)).all()


def test_a_transfer_trains_all_but_the_core(sessions, twins, tmp_path):
    twin = om.load_predictor(twins / "model.safetensors", device="cpu")
    session = replace(sessions[1].session, id="c-1-1")
    stops = iter([False, True])
    stopped = CallbackJob(cancelled=lambda: next(stops))
    with pytest.raises(StoppedError):
        om.finetune(twin, session, tmp_path, steps=4, batch=2, job=stopped)
    mine = om.finetune(twin, session, tmp_path, steps=4, batch=2)
    assert mine.needs.sessions == {"a-1-1", "b-1-1", "c-1-1"}
    before, after = (
        tensors(p) for p in (twins / "model.safetensors", tmp_path / "finetuned.safetensors")
    )
    assert_same({k: after[k] for k in before}, before)
    own = {k.removeprefix("c-1-1."): v for k, v in after.items() if k.startswith("c-1-1.")}
    start = {k.removeprefix("a-1-1."): v for k, v in before.items() if k.startswith("a-1-1.")}
    frozen = [k for k in own if k.startswith("modulation.lstm.")]
    assert frozen
    assert all(torch.equal(own[k], start[k]) for k in frozen)
    assert any(own[f"readout.feature.weights.{stream}"].any() for stream in (0, 1))
    with pytest.raises(FinetuneError, match="knows session"):
        om.finetune(mine, session, tmp_path / "again", steps=1)


def test_a_transfer_from_the_release_keeps_what_it_knew(sessions, tmp_path):
    release = om.load_predictor(FIXTURES / "twin_parity" / "release", device="cpu")
    known = replace(sessions[1].session, id="4-7")
    assert release.needs.n_neurons["4-7"] == known.n_neurons
    spec = release.needs.spec
    mask = om.Mask.nothing(known, spec).ask(slice(None), slice(30, None))
    mask = mask.with_frames(True).with_behavior("visible")
    window = known.window(6.0, spec)
    before = release.predict(window, mask).responses
    mine = om.finetune(release, sessions[0].session, tmp_path, steps=1, batch=1)
    after = mine.predict(window, mask).responses
    np.testing.assert_allclose(after, before, rtol=1e-5)


def test_only_known_parts_can_be_trained(sessions, twins, tmp_path):
    twin = om.load_predictor(twins / "model.safetensors", device="cpu")
    # With the checks of types, the call itself is refused.
    with pytest.raises((ValueError, TypeCheckError), match="embedding"):
        om.finetune(twin, sessions[0].session, tmp_path, train="embedding")


def test_a_session_without_a_validation_tier_is_trained_without_scores(sessions, tmp_path):
    source = sessions[0]
    tiers = np.where(
        source.session.trials.tier == "validation", "train", source.session.trials.tier
    )
    trials = replace(source.session.trials, tier=tiers)
    plain = replace(source, session=replace(source.session, trials=trials))
    config = replace(CONFIG, validate_every=1, patience=1)
    train(TwinTraining, config, [plain], tmp_path)
    rows = list(log_rows(tmp_path / FILE))
    assert len(rows) == config.total_steps
    assert "validation" not in rows[-1]


def test_a_gradient_that_is_not_finite_changes_nothing(sessions, tmp_path, monkeypatch):
    train_some(TwinTraining, CONFIG, sessions[:1], tmp_path, 1)
    before = tensors(tmp_path / "model.safetensors")
    loss = TwinNetwork.loss

    def wild(self, *arguments):
        # Finite itself, with an infinite slope.
        return loss(self, *arguments) + 0 * (self.readout.biases[0] * 0).sqrt().sum()

    monkeypatch.setattr(TwinNetwork, "loss", wild)
    train_some(TwinTraining, CONFIG, sessions[:1], tmp_path, 1)
    assert_same(tensors(tmp_path / "model.safetensors"), before)


def test_an_export_renames_sessions(sessions, twins, tmp_path):
    write_record(twins, RunSettings(notes={"renames": {"a-1-1": "a-2-1"}}))
    TwinTraining.export(twins, tmp_path / "t.safetensors")
    assert om.load_predictor(tmp_path / "t.safetensors").needs.sessions == {
        "a-2-1",
        "b-1-1",
    }


def test_the_shipped_config_is_one(tmp_path):
    path = config_path("twin-demo")
    plan = training_plan(path)
    assert plan.family == "twin"
    assert plan.settings.sessions
    config = plan.config
    assert TwinNetwork(config.model, 3).n_units == 3
    wrong = tmp_path / "c.yaml"
    for line, field in (
        ("clips: 0", "clips"),
        ("frames: 5", "burn_in"),
        ("model: {streems: 2}", "streems"),
        ("targets: rates", "targets"),
        ("sessions_per_step: 0", "sessions_per_step"),
    ):
        wrong.write_text(f"family: twin\nseed: 1\nframe_size: [18, 32]\n{line}\n")
        with pytest.raises(ValueError, match=field):
            training_plan(wrong)
