"""Training: it learns, resumes exactly, and reads its config strictly."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from omnimouse_model.data.session import Window
from omnimouse_model.families.omnimouse.batches import (
    Group,
    Phase,
    TrainConfig,
    config_from,
    draw_batch,
    first_recordings,
    sessions_of_phase,
)
from omnimouse_model.families.omnimouse.network import OmniMouse, behavior_loss, poisson_loss
from omnimouse_model.families.omnimouse.training import OmniMouseTraining, batch_loss
from omnimouse_model.inference.families import config_path, training_plan
from omnimouse_model.training.checkpoints import last_state, read_state
from omnimouse_model.training.config import SessionChoice
from omnimouse_model.training.distributed import Team
from omnimouse_model.training.loop import ALONE, train
from omnimouse_model.training.metrics_log import FILE, log_rows
from omnimouse_model.training.sessions import TrainingSession
from tests.model.few_steps import open_training_session, train_some
from tests.model.small_net import SMALL
from tests.small_sessions import write_session

PHASE = Phase(
    name="only",
    steps=6,
    batch=2,
    tasks={"train": 2.0, "video-36": 1.0, "half-video-decode": 1.0},
    warmup=2,
    decay=0.5,
)
CONFIG = TrainConfig(
    seed=3,
    model=SMALL,
    sessions=(SessionChoice("a"),),
    phases=(PHASE,),
    core=Group(lr=1e-3, weight_decay=0.1),
    session=Group(lr=3e-3, weight_decay=0.001),
    average=0.9,
    validate_every=1000,
    precision="fp32",
)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    folder = write_session(tmp_path_factory.mktemp("t") / "a", 12)
    return [open_training_session(folder, SessionChoice("a"))]


def losses(out: Path) -> list[float]:
    return [row["response_loss"] for row in log_rows(out / FILE)]


def weights(net: OmniMouse) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def untrained(
    sessions: list[TrainingSession], config: TrainConfig = CONFIG, team: Team = ALONE
) -> OmniMouseTraining:
    return OmniMouseTraining(config, sessions, Path("run"), team=team)


def last_save(out: Path) -> dict[str, Any]:
    """What the run in a folder would go on from."""
    return read_state(last_state(out) / "rank_0.pt")


@pytest.mark.slow
def test_accumulated_batches_are_a_step_of_the_mean(sessions, tmp_path, monkeypatch):
    hiera = replace(SMALL.hiera, drop_path_rate=0.0)
    still = replace(SMALL, drop_path_rate=0.0, hiera=hiera)

    def gradient(name: str, accumulate: int) -> torch.Tensor:
        """The first step's, as the core's optimiser remembers it."""
        phase = replace(PHASE, accumulate=accumulate)
        config = replace(CONFIG, model=still, phases=(phase,))
        train_some(OmniMouseTraining, config, sessions, tmp_path / name, 1)
        state = last_save(tmp_path / name)
        held = state["core"]["state"].values()
        return torch.cat([own["exp_avg"].flatten() for own in held])

    fixed = draw_batch(sessions, PHASE, CONFIG.model, np.random.default_rng(1))
    monkeypatch.setattr("omnimouse_model.families.omnimouse.training.draw_batch", lambda *_: fixed)
    once, thrice = gradient("once", 1), gradient("thrice", 3)
    assert once.norm() > 0
    assert (once - thrice).norm() < 1e-3 * once.norm()


@pytest.mark.slow
def test_a_phase_may_go_on_from_the_average_with_fresh_optimisers(sessions, tmp_path):
    still = replace(PHASE, name="still", steps=1, lr_scale=0.0, from_average=True)
    first = replace(PHASE, steps=2)
    averaged = train(OmniMouseTraining, replace(CONFIG, phases=(first,)), sessions, tmp_path)
    train(OmniMouseTraining, replace(CONFIG, phases=(first, still)), sessions, tmp_path)
    state = last_save(tmp_path)
    assert state["step"] == 3
    for name, value in averaged.named_parameters():
        torch.testing.assert_close(state["net"][name], value, msg=name)
    assert {int(own["step"]) for own in state["core"]["state"].values()} == {1}


@pytest.mark.slow
def test_a_batch_asks_only_what_it_withholds(sessions):
    rng = np.random.default_rng(0)
    for _ in range(30):
        batch = draw_batch(sessions, PHASE, SMALL, rng)
        layout = batch.layout
        seen = torch.zeros(60, layout.n_neurons, dtype=torch.bool)
        for offset in range(10):
            seen[layout.token_samples + offset, layout.token_neurons] = True
        asked = torch.zeros_like(seen)
        for offset in range(5):
            asked[layout.query_samples + offset, layout.query_neurons] = True
        assert not (seen & asked).any()
        assert (batch.rates is None) == (not asked.any())
        assert not (batch.windows.behavior is not None and batch.behavior is not None)


@pytest.mark.slow
def test_missing_responses_are_left_out_of_the_loss(sessions, monkeypatch, tmp_path):
    whole = TrainingSession.target_rates

    def with_gap(self: TrainingSession, *asked: Any) -> np.ndarray:
        rates = whole(self, *asked).copy()
        rates[:, 3] = np.nan
        return rates

    monkeypatch.setattr(TrainingSession, "target_rates", with_gap)
    config = replace(CONFIG, phases=(replace(PHASE, tasks={"video-36": 1.0}),))
    net = train_some(OmniMouseTraining, config, sessions, tmp_path, 2)
    assert np.isfinite(losses(tmp_path)).all()
    assert torch.isfinite(weights(net)).all()


@pytest.mark.slow
def test_behavior_that_was_not_recorded_is_no_target(sessions, monkeypatch):
    phase = replace(PHASE, tasks={"half-video-decode": 1.0})
    complete = draw_batch(sessions, phase, SMALL, np.random.default_rng(0))
    streams = Window.valid.fget

    def without_the_second_half(window: Window) -> dict[str, np.ndarray]:
        valid = streams(window)
        return valid | {"behavior": valid["behavior"] & (np.arange(40) < 20)}

    monkeypatch.setattr(Window, "valid", property(without_the_second_half))
    partial = draw_batch(sessions, phase, SMALL, np.random.default_rng(0))
    net = untrained(sessions).net
    video = net.encode_video(partial.video, partial.layout)
    context = net.encode(partial.windows, partial.layout, video)
    predicted, _ = net.decode_behavior(context)
    recorded = behavior_loss(predicted[..., :20], complete.behavior[..., :20])
    _, row = batch_loss(net, partial, phase, "fp32")
    assert row["behavior_loss"] == pytest.approx(float(recorded.detach()))


@pytest.mark.slow
def test_a_batch_without_recorded_targets_has_no_gradient(sessions):
    phase = replace(PHASE, tasks={"half-video-decode": 1.0})
    batch = draw_batch(sessions, phase, SMALL, np.random.default_rng(0))
    nothing = {
        name: None if values is None else torch.full_like(values, torch.nan)
        for name, values in (("rates", batch.rates), ("behavior", batch.behavior))
    }
    net = untrained(sessions).net
    loss, row = batch_loss(net, replace(batch, **nothing), phase, "fp32")
    assert (float(loss), row, loss.requires_grad) == (0.0, {}, False)


@pytest.mark.slow
def test_missing_hidden_frames_cannot_change_the_blank_video(sessions):
    phase = replace(PHASE, tasks={"video-36": 1.0})
    batch = draw_batch(sessions, phase, SMALL, np.random.default_rng(0))
    hidden = ~batch.layout.frames
    assert hidden.any()
    video = batch.video.clone()
    video[:, :, hidden] = torch.nan
    net = untrained(sessions).net.eval()
    expected = net.encode_video(batch.video, batch.layout)
    torch.testing.assert_close(net.encode_video(video, batch.layout), expected)


class OtherRankFails(Team):
    """A team in which another rank has a loss that is not finite."""

    def sums(self, numbers: list[float]) -> list[float]:
        return [*numbers[:-1], numbers[-1] + 1]


@pytest.mark.slow
def test_all_ranks_stop_in_the_same_step_if_one_only_skips(sessions):
    config = replace(CONFIG, phases=(replace(PHASE, steps=40),))
    run = untrained(sessions, config, OtherRankFails())
    drawn = run.draw(0)
    for _ in range(9):
        run.step(drawn)
    with pytest.raises(ValueError, match="not finite in 10 steps"):
        run.step(drawn)


@pytest.mark.slow
def test_a_run_that_only_skips_says_so(sessions, tmp_path):
    wild = replace(CONFIG, core=replace(CONFIG.core, lr=float("inf")))
    phase = replace(PHASE, steps=40, tasks={"video-36": 1.0}, warmup=0)
    with pytest.raises(ValueError, match="not finite in 10 steps"):
        train(OmniMouseTraining, replace(wild, phases=(phase,)), sessions, tmp_path)


@pytest.mark.slow
def test_another_model_does_not_resume(sessions, tmp_path):
    train_some(OmniMouseTraining, CONFIG, sessions, tmp_path, 1)
    other = replace(CONFIG, model=replace(SMALL, num_layers=1))
    with pytest.raises(ValueError, match="another model:"):
        train(OmniMouseTraining, other, sessions, tmp_path)


@pytest.mark.slow
def test_validation_scores_every_condition(sessions, tmp_path):
    config = replace(CONFIG, validate_every=1, validation_windows=1)
    train_some(OmniMouseTraining, config, sessions, tmp_path, 1)
    (row,) = log_rows(tmp_path / FILE)
    assert {"video_behavior", "half", "forecast", "decode_running"} <= row.keys()


def test_losses_clamp_as_officially():
    rates, targets = torch.tensor([1e6, 1.0]), torch.tensor([0.0, 1.0])
    expected = (100 + 1.0 - np.log(1 + 1e-5)) / 2
    assert float(poisson_loss(rates, targets)) == pytest.approx(expected)
    far = torch.full((1, 5, 40), 9.0)
    assert float(behavior_loss(far, torch.zeros_like(far))) == 10.0


def test_the_shipped_config_is_read_and_a_wrong_one_names_the_field(tmp_path):
    plan = training_plan("demo")
    assert len(plan.settings.sessions) >= 8
    assert plan.config.model.hidden_video == "blank"
    wrong = tmp_path / "wrong.yaml"
    text = config_path("demo").read_text().replace("seed: 1", "sead: 1")
    wrong.write_text(text)
    with pytest.raises(ValueError, match="sead"):
        training_plan(wrong)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("    batch: 8\n", "", r"phases\[0\]\.batch: found nothing"),
        (
            "core: {lr: 1.0e-3",
            "core: {lr: 1e-3",
            r"core\.lr: found '1e-3', expected a finite number.*1\.0e-3",
        ),
        ("targets: truth", "targets: trth", "trth"),
        ("phases:", "phases: []\nother:", "phases: found .*, expected 1|'other'"),
        ("seed: 1", "seed: [1", r"line \d+: not valid YAML"),
    ],
)
def test_a_wrong_config_says_what_and_where(tmp_path, before, after, message):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(config_path("demo").read_text().replace(before, after, 1))
    with pytest.raises(ValueError, match=message):
        training_plan(wrong)
    wrong.write_text("- demo\n")
    with pytest.raises(ValueError, match=r"must hold .*, found a list"):
        training_plan(wrong)


def test_a_long_name_of_a_size_is_cut_in_the_message(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    values = yaml.safe_load(config_path("demo").read_text()) | {"model": "a" * 5000}
    wrong.write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match="there is no size 'aaa") as caught:
        training_plan(wrong)
    assert len(str(caught.value)) < 1000


@pytest.mark.slow
def test_recordings_of_the_same_neurons_share_their_parameters(tmp_path):
    first, second = (write_session(tmp_path / name, 12) for name in "ab")
    alone = open_training_session(first, SessionChoice("a"))
    further = SessionChoice("b", neurons=alone.key)
    both = [alone, open_training_session(second, further)]
    phase = replace(PHASE, steps=1, sessions=("b",))
    net = train(OmniMouseTraining, replace(CONFIG, phases=(phase,)), both, tmp_path / "run")
    assert net.session_sizes == {alone.key: 12}
    assert first_recordings(both) == [alone]


def test_a_phase_reads_the_sessions_that_it_names(sessions):
    other = replace(sessions[0], mouse="b")
    both = [*sessions, other]
    assert sessions_of_phase(both, PHASE) == both
    phase = replace(PHASE, sessions=("b",))
    assert sessions_of_phase(both, phase) == [other]
    # A benchmark opens recordings that the config does not name.
    unnamed = replace(other, mouse="")
    assert sessions_of_phase([unnamed], phase) == [unnamed]


def test_a_phase_that_names_an_unknown_session_is_refused():
    raw = yaml.safe_load(config_path("demo").read_text("utf-8"))
    raw["phases"][0]["sessions"] = ["c"]
    with pytest.raises(ValueError, match=r"phases\[0\].*'c'.*demo, mouse-1"):
        config_from(raw)
