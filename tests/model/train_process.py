"""A training run in processes of its own: one, or several ranks, also killed ones."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from torch.distributed import TCPStore

from omnimouse_model.families.omnimouse.batches import Group, Phase, TrainConfig
from omnimouse_model.families.omnimouse.training import OmniMouseTraining, batch_loss, draw_step
from omnimouse_model.progress import CallbackJob
from omnimouse_model.storage import tensors, write
from omnimouse_model.training import checkpoints
from omnimouse_model.training.checkpoints import last_state, saved_step
from omnimouse_model.training.config import SessionChoice
from omnimouse_model.training.distributed import joined
from omnimouse_model.training.sessions import TrainingSession
from tests.model.few_steps import open_training_session, train_some
from tests.model.small_net import SMALL
from tests.small_sessions import write_session

MICE = {"m1-1-1": 12, "m2-1-1": 9, "m1-2-1": 7}
"""Session -> neurons; two ranks share the mouse m1."""
STEPS = 6
PATIENCE_S = 300.0
CONFIG = TrainConfig(
    seed=5,
    model=replace(SMALL, drop_path_rate=0.2),
    sessions=tuple(SessionChoice(name) for name in MICE),
    phases=(
        Phase("up", 4, 2, {"train": 1.0}, warmup=2, warmup_from=1e-7),
        Phase("down", STEPS - 4, 2, {"train": 1.0}, decay=1.0),
    ),
    core=Group(lr=7e-4, weight_decay=0.1),
    session=Group(lr=3e-3, weight_decay=0.001),
    sampling="balanced",
    animals="core",
    average=0.9,
    save_every=3,
    save_every_s=None,
    validate_every=4,
    validation="official",
    validation_windows=1,
    precision="fp32",
)


def write_mice(folder: Path) -> Path:
    """The recordings of all ranks."""
    for name, count in MICE.items():
        write_session(folder / name, count)
    return folder


def sessions_of(folder: Path, names: list[str]) -> list[TrainingSession]:
    """Some of them, opened for training."""
    return [open_training_session(folder / n, SessionChoice(n)) for n in names]


@contextmanager
def rank_processes(
    ranks: int, work: Callable[..., None], *arguments: object
) -> Iterator[list[BaseProcess]]:
    """Processes that do one work together; what is left of them is killed at the end.

    They find each other at a store that listens before they start, as `torchrun` lets
    them: a port that is only chosen for them may be another's by then.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    team = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1"}
    team |= {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(
            target=run_rank, args=(team | {"RANK": str(r), "LOCAL_RANK": str(r)}, work, arguments)
        )
        for r in range(ranks)
    ]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def run_ranks(ranks: int, work: Callable[..., None], *arguments: object) -> None:
    """Do one work together, and wait for all to end it."""
    with rank_processes(ranks, work, *arguments) as processes:
        for process in processes:
            process.join(PATIENCE_S)
        assert [process.exitcode for process in processes] == [0] * ranks


def run_rank(
    team: dict[str, str], work: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    """Work as one rank, with the variables that `torchrun` sets."""
    os.environ |= team
    torch.set_num_threads(1)
    work(*arguments)


def run(mice: Path, out: Path, dies_at: str = "") -> None:
    """Train, or go on; the start values are kept in OUT/start.

    It dies by SIGKILL at "step N", or at "write N": when the N-th file that it saves
    is written, but not yet in its place.
    """
    kind, _, number = dies_at.partition(" ")

    def die_at_step(step: float, total: float, text: str) -> None:
        if kind == "step" and step == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    if kind == "write":
        _die_at_write(int(number))
    with joined(torch.device("cpu")) as team:
        sessions = sessions_of(mice, team.share_of(list(MICE)))
        if last_state(out) is None:
            train_some(OmniMouseTraining, CONFIG, sessions, out, 0, team=team)
            if team.is_main and not (out / "start").exists():
                shutil.copytree(out / "state-00000000", out / "start")
            team.wait()
        left, job = STEPS - saved_step(out), CallbackJob(die_at_step)
        train_some(OmniMouseTraining, CONFIG, sessions, out, left, job, team=team)


def _die_at_write(number: int) -> None:
    whole, written = write.atomic_path, []

    @contextmanager
    def atomic_path(path: Path, **settings: bool) -> Iterator[Path]:
        with whole(path, **settings) as temporary:
            yield temporary
            if path.name == checkpoints.LAST or path.suffix == ".pt":
                written.append(path)
            if len(written) == number:
                os.kill(os.getpid(), signal.SIGKILL)

    tensors.atomic_path = write.atomic_path = atomic_path


def check_compiled(mice: Path, out: Path) -> None:
    """Compiled blocks give the same loss, under the same names."""
    from omnimouse_model.families.omnimouse.training import compile_blocks

    config = replace(CONFIG, average=0.0)
    sessions = sessions_of(mice, ["m1-1-1"])
    net = train_some(OmniMouseTraining, config, sessions, out, 0).eval()
    batch = draw_step(config, sessions, 0, 0).batches[0]
    expected, _ = batch_loss(net, batch, config.phases[0], "fp32")
    names = list(net.state_dict())
    compile_blocks(net, "eager")
    loss, _ = batch_loss(net, batch, config.phases[0], "fp32")
    loss.backward()
    torch.testing.assert_close(loss.detach(), expected.detach())
    assert list(net.state_dict()) == names
