"""Several processes train as one would; a run that is killed goes on to the bit."""

import os
import signal
from pathlib import Path

import pytest
import torch

from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
from omnimouse_model.families.omnimouse.network import OmniMouse
from omnimouse_model.families.omnimouse.training import (
    batch_loss,
    draw_step,
    learning_rate,
    split_parameters,
)
from omnimouse_model.training.checkpoints import last_state, rank_files, read_state, saved_step
from omnimouse_model.training.metrics_log import FILE, log_rows
from tests.model.train_process import (
    CONFIG,
    MICE,
    PATIENCE_S,
    STEPS,
    rank_processes,
    run,
    run_ranks,
    sessions_of,
    write_mice,
)

pytestmark = [pytest.mark.slow, pytest.mark.process]
RANKS = 2


@pytest.fixture(scope="module")
def mice(tmp_path_factory):
    return write_mice(tmp_path_factory.mktemp("mice"))


@pytest.fixture(scope="module")
def run_of_two(mice, tmp_path_factory):
    """A run of two processes that nothing disturbed."""
    out = tmp_path_factory.mktemp("together")
    run_ranks(RANKS, run, mice, out)
    return out


def run_until_killed(mice: Path, out: Path, ranks: int, dies_at: str) -> None:
    """All end with the first, which ends itself."""
    with rank_processes(ranks, run, mice, out, dies_at) as (first, *_):
        first.join(PATIENCE_S)
        assert first.exitcode == -signal.SIGKILL


def losses(out: Path) -> list[tuple[float, float]]:
    return [(row["step"], row["loss"]) for row in log_rows(out / FILE)]


def weights(out: Path) -> list[dict[str, torch.Tensor]]:
    return [read_state(path)["net"] for path in rank_files(last_state(out))]


def check_same(out: Path, undisturbed: Path) -> None:
    """Two runs logged and ended the same, to the bit."""
    assert losses(out) == losses(undisturbed)
    assert [step for step, _ in losses(out)] == list(range(1, STEPS + 1))
    shown = [f"{name}.safetensors" for name in ("model", "best")]
    pairs = [*zip(weights(out), weights(undisturbed), strict=True)]
    pairs += [
        (read_checkpoint(out / name).state, read_checkpoint(undisturbed / name).state)
        for name in shown
    ]
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.acceptance
@pytest.mark.skipif(os.name == "nt", reason="kills by signal, which is POSIX's")
def test_a_run_killed_between_saves_and_in_one_goes_on_to_the_bit(mice, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "killed"
    run(mice, whole)
    run_until_killed(mice, out, 1, "step 2")
    assert (saved_step(out), len(losses(out))) == (0, 2)
    run_until_killed(mice, out, 1, "write 4")
    assert saved_step(out) == 3
    assert (out / "state-00000006").exists() or (out / "state-00000004").exists()
    run(mice, out)
    check_same(out, whole)


@pytest.mark.skipif(os.name == "nt", reason="kills by signal, which is POSIX's")
def test_two_killed_processes_go_on_to_the_bit(mice, run_of_two, tmp_path):
    run_until_killed(mice, tmp_path, RANKS, "step 5")
    assert 0 < saved_step(tmp_path) < 5
    run_ranks(RANKS, run, mice, tmp_path)
    check_same(tmp_path, run_of_two)


def test_two_processes_train_as_one_that_accumulates_both_batches(run_of_two, mice):
    out = run_of_two
    shares = [sessions_of(mice, list(MICE)[rank::RANKS]) for rank in range(RANKS)]
    animals = {name: name.split("-")[0] for name in MICE}
    held = {s.key: s.session.n_neurons for share in shares for s in share}
    net = OmniMouse(CONFIG.model, held, animals)
    state: dict[str, torch.Tensor] = {}
    for path in rank_files(out / "start"):
        state |= read_state(path)["net"]
    net.load_state_dict(state)
    core, _ = split_parameters(net, "core")
    own = [[p for s in share for p in net.session(s.key).parameters()] for share in shares]
    groups = [(core, CONFIG.core), *((part, CONFIG.session) for part in own)]
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
    merged = {name: value for part in weights(out)[::-1] for name, value in part.items()}
    assert merged.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(merged[name], value, atol=1e-5, rtol=0, msg=name)
