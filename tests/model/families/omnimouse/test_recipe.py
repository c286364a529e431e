"""The official recipe: groups, schedule, the balanced cycle, masks by weight, files."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.omnimouse import batches as configs
from omnimouse_model.families.omnimouse import checkpoint as official
from omnimouse_model.families.omnimouse import training
from omnimouse_model.families.omnimouse.batches import (
    Group,
    Phase,
    TrainConfig,
    epoch_batches,
    windows_of_turn,
)
from omnimouse_model.families.omnimouse.training import (
    OmniMouseTraining,
    learning_rate,
    with_epochs,
    write_official,
)
from omnimouse_model.inference.families import training_plan
from omnimouse_model.masks.strategies import Strategy
from omnimouse_model.progress import CallbackJob
from omnimouse_model.storage import journal
from omnimouse_model.training.checkpoints import last_state, read_state
from omnimouse_model.training.config import SessionChoice
from omnimouse_model.training.distributed import Team
from omnimouse_model.training.loop import train
from omnimouse_model.training.metrics_log import FILE, MetricsLog, log_rows
from tests.bench.step_cost import step_cost
from tests.model.few_steps import open_training_session, train_some
from tests.model.official_shards import SMALL as NARROW
from tests.model.small_net import SMALL
from tests.model.train_process import check_compiled
from tests.small_sessions import write_session

CONFIG = TrainConfig(
    seed=2,
    model=SMALL,
    phases=(Phase("only", 6, 2, {"train": 1.0}),),
    core=Group(lr=7e-4, weight_decay=0.1),
    session=Group(lr=3e-3, weight_decay=0.001),
    sampling="balanced",
    animals="core",
    validate_every=1000,
    precision="fp32",
)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    root = tmp_path_factory.mktemp("t")
    folders = [write_session(root / f"m{k}-1-1", 10 + k) for k in (1, 2)]
    return [open_training_session(f, SessionChoice(f.name)) for f in folders]


def test_rates_rise_stay_and_fall_as_officially():
    config = training_plan("omnimouse-5M").config
    constant, decay = config.phases
    for group in (config.core, config.session):
        assert learning_rate(group, constant, 0) == pytest.approx(1e-7)
        one = 1e-7 + (group.lr - 1e-7) / 19_999
        assert learning_rate(group, constant, 1) == pytest.approx(one)
        for step in (19_999, 20_000, 999_999):
            assert learning_rate(group, constant, step) == pytest.approx(group.lr)
        for step in (0, 1, 9_999):
            falling = group.lr * (1 - step / 10_000)
            assert learning_rate(group, decay, step) == pytest.approx(falling)


def test_sessions_take_turns_and_an_epoch_reads_every_window_once(sessions):
    counts, batch = [8, 23], 4
    read: dict[int, list[int]] = {0: [], 1: []}
    pairs = zip(sessions, counts, strict=True)
    sources = [replace(one, starts=np.arange(float(count))) for one, count in pairs]
    for number in range(2 * epoch_batches(counts, batch)):
        source, rows = windows_of_turn(sources, 7, number, batch)
        which = sources.index(source)
        assert which == number % 2
        assert len(rows) == batch
        read[which] += rows.astype(int).tolist()
    long = np.array(read[1])
    epochs = long[:20], long[20:]
    assert all(len(set(epoch.tolist())) == 20 for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    short = np.array(read[0]).reshape(-1, 8)
    assert (np.sort(short, axis=1) == np.arange(8)).all()
    assert len({tuple(epoch) for epoch in short.tolist()}) > 1


def test_epochs_end_a_phase_where_its_steps_would_not(sessions):
    def steps_until_end(steps: int, epochs: int | None, accumulate: int = 1) -> int:
        phase = replace(CONFIG.phases[0], steps=steps, epochs=epochs, accumulate=accumulate)
        found = with_epochs(replace(CONFIG, phases=(phase,)), sessions, Team())
        return found.total_steps

    in_epoch = 2 * max(len(s.starts) // 2 for s in sessions)
    assert steps_until_end(10**6, 3) == 3 * in_epoch
    assert steps_until_end(10**6, 3, accumulate=2) == 3 * in_epoch // 2
    assert steps_until_end(10, 3) == 10
    assert steps_until_end(10**6, None) == 10**6
    phase = replace(CONFIG.phases[0], epochs=1)
    weighted = replace(CONFIG, sampling="weighted", phases=(phase,))
    with pytest.raises(ValueError, match="sampling: balanced"):
        with_epochs(weighted, sessions, Team())


def test_masks_are_drawn_by_their_weights(monkeypatch):
    def heavy(name: str) -> Strategy:
        return Strategy(n_visible_neurons=1, weight=120.0 if name == "train/7" else 1.0)

    rng = np.random.default_rng(0)
    even = [configs.draw_task({"train": 1.0}, rng) for _ in range(400)]
    assert even.count("train/7") < 20
    assert len(set(even)) > 90
    monkeypatch.setattr(configs, "find_strategy", heavy)
    configs._official_shares.cache_clear()
    try:
        drawn = [configs.draw_task({"train": 1.0}, rng) for _ in range(400)]
    finally:
        configs._official_shares.cache_clear()
    assert 160 < drawn.count("train/7") < 240


@pytest.mark.slow
def test_each_group_is_clipped_by_itself(sessions, tmp_path):
    core = replace(CONFIG.core, clip=1e-3)
    session = replace(CONFIG.session, clip=1e-4)
    config = replace(CONFIG, core=core, session=session)
    train_some(OmniMouseTraining, config, sessions, tmp_path, 1)
    state = read_state(last_state(tmp_path) / "rank_0.pt")
    for name, clip in (("core", 1e-3), ("session", 1e-4)):
        first = [own["exp_avg"].flatten() for own in state[name]["state"].values()]
        # Adam's first average is a tenth of the gradient
        assert torch.cat(first).norm() == pytest.approx(0.1 * clip, rel=1e-3)


def test_several_processes_refuse_what_only_one_can_do(sessions):
    several = Team(rank=0, size=2)

    def untrained(config):
        return OmniMouseTraining(config, sessions, Path("run"), team=several)

    with pytest.raises(ValueError, match="animals: core"):
        untrained(replace(CONFIG, animals="session"))
    with pytest.raises(ValueError, match="without torchrun"):
        untrained(replace(CONFIG, motion_energy=True))
    with pytest.raises(ValueError, match="1 sessions cannot be shared by 2"):
        several.share_of(["a"])


@pytest.mark.slow
def test_another_number_of_processes_does_not_resume(sessions, tmp_path):
    train_some(OmniMouseTraining, CONFIG, sessions, tmp_path, 1)
    path = last_state(tmp_path) / "rank_0.pt"
    torch.save(read_state(path) | {"ranks": 4}, path)
    with pytest.raises(ValueError, match=r"4 processes, these are 1.*Start it with 4"):
        train(OmniMouseTraining, CONFIG, sessions, tmp_path)
    torch.save(read_state(path) | {"ranks": 1}, path)
    with pytest.raises(ValueError, match=r"other sessions.*m2-1-1"):
        train(OmniMouseTraining, CONFIG, sessions[:1], tmp_path)


@pytest.mark.slow
def test_saves_follow_the_steps_and_only_the_last_is_kept(sessions, tmp_path):
    seen: list[str] = []

    def look(step: float, total: float, text: str) -> None:
        seen.extend(sorted(path.name for path in tmp_path.glob("state-*")))

    (tmp_path / ".model.safetensors.77-01234567.part").mkdir()  # as a kill leaves it
    config = replace(CONFIG, save_every=2, save_every_s=None)
    train(OmniMouseTraining, config, sessions, tmp_path, job=CallbackJob(look))
    assert not list(tmp_path.glob(".*"))
    assert list(dict.fromkeys(seen)) == ["state-00000002", "state-00000004"]
    assert [p.name for p in tmp_path.glob("state-*")] == ["state-00000006"]


def test_a_torn_row_and_rows_after_the_save_are_dropped(tmp_path, monkeypatch):
    log = MetricsLog(tmp_path, 0)
    for step in (1.0, 2.0, 3.0):
        log.add({"step": step, "loss": float("nan") if step == 2 else 0.5})
    log.close()
    with (tmp_path / FILE).open("a") as file:
        file.write('{"step": 4, "lo')
    assert [row["step"] for row in log_rows(tmp_path / FILE)] == [1, 2, 3]
    with monkeypatch.context() as patch:
        patch.setattr(journal, "MAX_JSON_BYTES", 10)  # the log of a long run
        MetricsLog(tmp_path, 2).close()
    rows = list(log_rows(tmp_path / FILE))
    assert [row["step"] for row in rows] == [1, 2]
    assert np.isnan(rows[1]["loss"])


@pytest.mark.slow
def test_a_run_in_the_released_form_is_read_back(sessions, tmp_path, monkeypatch):
    config = replace(CONFIG, model=NARROW)
    net = train_some(OmniMouseTraining, config, sessions[:1], tmp_path / "run", 1)
    with pytest.raises(CheckpointError, match="only released sizes"):
        write_official(tmp_path / "run", tmp_path / "no", config)
    for module in (official, training):
        monkeypatch.setattr(module, "SIZES", {"tiny": NARROW})
    write_official(tmp_path / "run", tmp_path / "official", config)
    (path,) = (tmp_path / "official").iterdir()
    assert path.name == "rank_0.ckpt"
    plain = torch.load(path, weights_only=True)  # tensors and plain containers alone
    assert plain["step"] == 1
    assert set(plain["rng_state"]) == {"torch", "cuda", "numpy", "python"}
    np.random.RandomState(0).set_state(plain["rng_state"]["numpy"])
    read = official.read_official(tmp_path / "official")
    assert read.sessions == {"m1-1-1": 11}
    for name, value in read.build().state_dict().items():
        assert torch.equal(value, net.state_dict()[name])


@pytest.mark.slow
def test_costs_are_of_the_same_batches(sessions):
    cost = step_cost(CONFIG, sessions, "cpu", 2)
    assert cost.windows.tolist() == [2.0, 2.0]
    assert (cost.tokens > 0).all()
    assert cost.step.sum() > cost.forward.sum() > 0
    assert cost.forwards_per_step == pytest.approx(cost.step.sum() / cost.forward.sum())
    assert 0 < cost.draw_share < 1
    assert 0 <= cost.waited_share < 1


@pytest.mark.slow
@pytest.mark.process
def test_compiled_blocks_give_the_same_loss(tmp_path):
    """In a process of its own: the checks of shapes in tests cannot be compiled."""
    write_session(tmp_path / "mice" / "m1-1-1", 11)
    child = multiprocessing.get_context("spawn").Process(
        target=check_compiled, args=(tmp_path / "mice", tmp_path / "run")
    )
    child.start()
    child.join(600)
    assert child.exitcode == 0
