"""Several processes train as one would; a run that is killed goes on to the bit."""

import random
import signal
import time
from pathlib import Path

import pytest
import torch

from omnimouse_model.nets.checkpoint import read_checkpoint
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.train.metrics_log import FILE, log_rows
from omnimouse_model.train.run import split_parameters
from omnimouse_model.train.saving import last_state, rank_files, read_state
from omnimouse_model.train.schedule import learning_rate
from omnimouse_model.train.step import batch_loss, draw_step
from tests.model.train_process import (
    CONFIG,
    MICE,
    STEPS,
    sessions_of,
    started,
    write_mice,
)

RANKS = 2
SOON = 26
"""Steps of the runs that are killed: both phases, one validation, eight saves."""
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def mice(tmp_path_factory):
    return write_mice(tmp_path_factory.mktemp("mice"))


@pytest.fixture(scope="module")
def together(mice, tmp_path_factory):
    """A run of two processes that nothing disturbed."""
    return finished(mice, tmp_path_factory.mktemp("together"), RANKS, STEPS)


def finished(mice: Path, out: Path, ranks: int, steps: int) -> Path:
    with started(mice, out, ranks, steps) as processes:
        assert [process.wait(PATIENCE_S) for process in processes] == [0] * ranks
    return out


def losses(out: Path) -> list[tuple[float, float]]:
    return [(row["step"], row["loss"]) for row in log_rows(out / FILE)]


def weights(out: Path) -> list[dict[str, torch.Tensor]]:
    folder = last_state(out)
    assert folder is not None
    return [read_state(path)["net"] for path in rank_files(folder)]


def run_until_killed(mice: Path, out: Path, ranks: int, after: int) -> None:
    """End all processes with SIGKILL at some moment after a step was logged."""
    with started(mice, out, ranks, SOON) as processes:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if (out / FILE).exists() and len(losses(out)) >= after:
                break
            assert all(process.poll() is None for process in processes)
            time.sleep(0.002)
        time.sleep(random.uniform(0.0, 0.05))
        for process in processes:
            process.kill()
        ends = [process.wait() for process in processes]
    assert ends == [-signal.SIGKILL] * ranks


def check_same(out: Path, undisturbed: Path) -> None:
    """Two runs logged and ended the same, to the bit."""
    assert losses(out) == losses(undisturbed)
    assert [step for step, _ in losses(out)] == list(range(1, SOON + 1))
    for mine, other in zip(weights(out), weights(undisturbed), strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    for name in ("model", "best"):
        ours, theirs = (
            read_checkpoint(folder / f"{name}.safetensors").state
            for folder in (out, undisturbed)
        )
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_run_killed_twice_goes_on_to_the_bit(mice, tmp_path):
    undisturbed = finished(mice, tmp_path / "whole", 1, SOON)
    out = tmp_path / "killed"
    for after in (random.randrange(1, 10), random.randrange(13, SOON - 3)):
        run_until_killed(mice, out, 1, after)
    check_same(finished(mice, out, 1, SOON), undisturbed)


def test_two_killed_processes_go_on_to_the_bit(mice, together, tmp_path):
    run_until_killed(mice, tmp_path, RANKS, random.randrange(1, SOON - 3))
    finished(mice, tmp_path, RANKS, SOON)
    assert losses(tmp_path) == losses(together)[:SOON]


def test_two_processes_train_as_one_that_accumulates_both_batches(together, mice):
    out = together
    shares = [sessions_of(mice, list(MICE)[rank::RANKS]) for rank in range(RANKS)]
    animals = {name: name.split("-")[0] for name in MICE}
    held = {s.key: s.session.n_neurons for share in shares for s in share}
    net = OmniMouse(CONFIG.model, held, animals)
    state: dict[str, torch.Tensor] = {}
    for path in rank_files(out / "start"):
        state |= read_state(path)["net"]
    net.load_state_dict(state)
    core, _ = split_parameters(net, "core")
    own = [
        [p for s in share for p in net.session(s.key).parameters()] for share in shares
    ]
    groups = [
        (core, CONFIG.core),
        *((parameters, CONFIG.session) for parameters in own),
    ]
    optimisers = [
        torch.optim.AdamW(p, betas=g.betas, eps=g.eps, weight_decay=g.weight_decay)
        for p, g in groups
    ]
    found = []
    for number in range(STEPS):
        phase, step = CONFIG.phase_at(number)
        total = 0.0
        for rank, share in enumerate(shares):
            drawn = draw_step(CONFIG, share, rank, number)
            net.train()
            torch.manual_seed(drawn.seed)
            loss, _ = batch_loss(net, drawn.batches[0], phase, "fp32")
            loss.backward()
            total += float(loss.detach()) / RANKS
        for parameter in core:
            if parameter.grad is not None:
                parameter.grad /= RANKS
        for optimiser, (parameters, group) in zip(optimisers, groups, strict=True):
            torch.nn.utils.clip_grad_norm_(parameters, group.clip)
            optimiser.param_groups[0]["lr"] = learning_rate(group, phase, step)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        found.append(total)
    logged = [loss for _, loss in losses(out)]
    assert logged == pytest.approx(found, abs=1e-5)
    merged = {
        name: value for part in weights(out)[::-1] for name, value in part.items()
    }
    assert merged.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(merged[name], value, atol=1e-5, rtol=0, msg=name)


def test_what_several_processes_trained_is_one_checkpoint(together):
    checkpoint = read_checkpoint(together / "model.safetensors")
    assert checkpoint.sessions == MICE
    net = checkpoint.build()
    folder = last_state(together)
    assert folder is not None
    for path in rank_files(folder):
        for name, value in read_state(path)["average"].items():
            torch.testing.assert_close(net.state_dict()[name], value, msg=name)
    kept = [path.name for path in rank_files(folder)]
    assert kept == [f"rank_{rank}.pt" for rank in range(RANKS)]
    names = {p.name for p in together.glob("state-*")}
    assert names == {folder.name}
    assert read_state(rank_files(folder)[1])["core"] is None
