"""A small fine-tuning, also in a process of its own that is killed.

    python -m tests.model.finetune_process PLACE OUT STEP

It ends itself with SIGKILL when STEP is told.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

import omnimouse_model as om
from omnimouse_model.nets.checkpoint import save_checkpoint
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.start import initialise
from omnimouse_model.train.finetune_progress import FinetuneProgress
from tests.model.small_net import SMALL
from tests.small_sessions import write_session

STEPS = 12
KNOWN, NEW = "a-1-1", "b-1-1"
"""Sessions of `write_place`."""


def small_net(sessions: dict[str, int]) -> OmniMouse:
    """A net of random weights, large enough for every path to show."""
    net = OmniMouse(SMALL, sessions, {key: key.split("-")[0] for key in sessions})
    initialise(net, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5).add_(0.01)
    return net.eval()


def write_place(root: Path) -> Path:
    """Recordings of a known mouse and of a new one, and a model of the first."""
    for name, count in ((KNOWN, 12), (NEW, 9)):
        write_session(root / name, count)
    save_checkpoint(root / "base.safetensors", small_net({KNOWN: 12}))
    return root


def finetuned(place: Path, out: Path, session: str = NEW, **options: Any) -> Path:
    """Fine-tune PLACE's model to one of its recordings; the folder of the run."""
    settings = {"steps": STEPS, "batch": 2, "device": "cpu"} | options
    om.finetune(
        place / "base.safetensors", om.open_session(place / session), out, **settings
    )
    return out


def main(place: Path, out: Path, step: int) -> None:
    """Fine-tune until the step is told."""

    def killing(told: FinetuneProgress) -> None:
        if told.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    finetuned(place, out, progress=killing)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
