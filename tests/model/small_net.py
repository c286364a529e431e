"""The small architecture of the tests; knows no test, so that processes start fast."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from omnimouse_model.families.omnimouse.checkpoint import OmniMouseCheckpoint
from omnimouse_model.families.omnimouse.config import HieraConfig, OmniMouseConfig
from omnimouse_model.families.omnimouse.network import OmniMouse, initialise

SMALL = OmniMouseConfig(
    d_model=32,
    num_heads=2,
    num_layers=2,
    local_to_global_ratio=(1, 1),
    d_embedding=16,
    num_response_latent_groups=4,
    num_global_latents=4,
    softplus_beta=1.0,
    hidden_video="blank",
    ideal_times=True,
    max_recording_len_s=60,
    hiera=HieraConfig(
        embed_dim=16,
        num_heads=1,
        stages=(1, 1),
        patch_stride=(2, 4, 4),
        windows="spatial",
    ),
)


def small_net(sessions: dict[str, int], config: OmniMouseConfig = SMALL) -> OmniMouse:
    """A net of random weights, large enough for every path to show."""
    net = OmniMouse(config, sessions, {key: key.split("-")[0] for key in sessions})
    initialise(net, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5).add_(0.01)
    return net.eval()


def small_plan(recordings: Path, task: str, steps: int) -> dict[str, Any]:
    """The fields of a scaling study of the small architecture."""
    group = {"lr": 1.0e-3, "weight_decay": 0.1}
    phase = {"name": "only", "steps": steps, "batch": 2, "tasks": {task: 1}}
    training = {"sampling": "balanced", "animals": "core", "phases": [phase]}
    training |= {"core": group, "session": group, "save_every": 2, "precision": "fp32"}
    return {
        "models": {"tiny": json.loads(json.dumps(asdict(SMALL)))},
        "sessions": [str(recordings)],
        "steps_of": "each session",
        "max_windows": 2,
        "training": training,
    }


def save_checkpoint(path: Path, net: OmniMouse, card: Any = None, context: Any = None) -> Path:
    """Write the checkpoint of a network, with a context part if there is one."""
    found = OmniMouseCheckpoint.of_network(net, card=card or {}, context=context or {})
    return found.save(path)
