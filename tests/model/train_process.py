"""A training run in a process of its own, alone or as one of several ranks.

    python -m tests.model.train_process MICE OUT STEPS

The ranks are those of the environment, as `torchrun` sets it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch.distributed import TCPStore

from omnimouse_model.train.batches import TrainingSession, open_training_session
from omnimouse_model.train.config import Group, Phase, SessionChoice, TrainConfig
from omnimouse_model.train.distributed import joined
from omnimouse_model.train.loop import train
from omnimouse_model.train.saving import last_state
from tests.model.small_net import SMALL
from tests.small_sessions import write_session

MICE = {"m1-1-1": 12, "m2-1-1": 9, "m1-2-1": 7}
"""Session -> neurons; two ranks share the mouse m1."""
STEPS = 50
CONFIG = TrainConfig(
    seed=5,
    model=replace(SMALL, drop_path_rate=0.2),
    sessions=tuple(SessionChoice(name) for name in MICE),
    phases=(
        Phase("up", 20, 2, {"train": 1.0}, warmup=10, warmup_from=1e-7),
        Phase("down", STEPS - 20, 2, {"train": 1.0}, decay=1.0),
    ),
    core=Group(lr=7e-4, weight_decay=0.1),
    session=Group(lr=3e-3, weight_decay=0.001),
    sampling="balanced",
    animals="core",
    average=0.9,
    save_every=3,
    save_every_s=None,
    validate_every=15,
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
def started(
    mice: Path, out: Path, ranks: int, steps: int = STEPS
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that train together; what is left of them is killed at the end.

    They find each other at a store that listens before they start, as `torchrun` lets
    them: a port that is only chosen for them may be another's by then.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    given = [str(mice), str(out), str(steps)]
    command = [sys.executable, "-m", "tests.model.train_process", *given]
    team = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1"}
    team |= {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    team |= {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            command, env=os.environ | team | {"RANK": str(r), "LOCAL_RANK": str(r)}
        )
        for r in range(ranks)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main(mice: Path, out: Path, steps: int) -> None:
    """Train, or go on, to a step; the start values are kept in OUT/start."""
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as team:
        sessions = sessions_of(mice, team.share_of(list(MICE)))
        if last_state(out) is None:
            train(CONFIG, sessions, out, team=team, max_steps=0)
            if team.is_main and not (out / "start").exists():
                shutil.copytree(out / "state-00000000", out / "start")
            team.wait()
        left = steps - int(str(last_state(out))[-8:])
        train(CONFIG, sessions, out, team=team, max_steps=left)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
