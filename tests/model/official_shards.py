"""Small official checkpoints for tests: the 1M architecture narrowed, in two shards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnimouse_model.families.omnimouse.config import SIZES
from omnimouse_model.families.omnimouse.network import OmniMouse, initialise

SESSIONS = {"111-1-1": 5, "111-2-1": 4, "222-1-1": 3}
ANIMALS = {"111-1-1": "111", "111-2-1": "111", "222-1-1": "222"}
SMALL = replace(SIZES["1M"], d_model=64, num_heads=1, d_embedding=16, num_response_latent_groups=8)
"""The 1M architecture, narrowed so that a test writes little."""


def official_net() -> OmniMouse:
    """Return a net of the narrowed architecture with random weights."""
    net = OmniMouse(SMALL, SESSIONS, ANIMALS)
    initialise(net, torch.Generator().manual_seed(0))
    return net.eval()


def write_shards(
    net: OmniMouse, folder: Path, prefix: str = "", extras: dict[str, Any] | None = None
) -> Path:
    """Two shards in the official form: rank 1 holds only its own session."""
    folder.mkdir(parents=True)
    state = net.state_dict()
    owners = {"111-1-1": 0, "111-2-1": 0, "222-1-1": 1}
    for rank in (0, 1):

        def mine(key: str, rank: int = rank) -> bool:
            if not key.startswith("sess_params."):
                return rank == 0
            return owners[key.split(".")[1]] == rank

        shard = {
            "epoch": 3,
            "step": 1000,
            "state_dict": {prefix + k: v for k, v in state.items() if mine(k)},
            "session_map": {
                key: {
                    "n_neurons": n,
                    "animal_id": ANIMALS[key],
                    "on_rank": owners[key] == rank,
                }
                for key, n in SESSIONS.items()
            },
            "rng_state": {"numpy": np.random.RandomState(0).get_state()},
        } | (extras or {})
        torch.save(shard, folder / f"rank_{rank}.ckpt")
    return folder
