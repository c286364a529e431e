"""Export of a run in the format of the released checkpoints (spec "Checkpoint files").

The format has one file `rank_<r>.ckpt` per process. Here, the files contain tensors and
plain containers only, so that `nets.official` and torch's restricted unpickler can read
them. The official loader finds the weights by the same names.
"""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.omnimouse.config import SIZES, OmniMouseConfig
from omnimouse_model.storage.tensors import write_pickle
from omnimouse_model.train.checkpoints import last_state, rank_files, read_state
from omnimouse_model.train.config import TrainConfig


def write_official(out: Path, folder: Path, config: TrainConfig) -> list[Path]:
    """Write the last save of the run in `out` as `folder/rank_<r>.ckpt`.

    The weights are averaged if the run averages; the states of the optimisers are those
    of the run. The random states are the current ones, which our runs do not use.

    Raises
    ------
    CheckpointError
        The run has no save, or its architecture is not a released one. The format does
        not store the architecture, so a reader could not build the net.
    """
    saved = last_state(out)
    if saved is None:
        raise CheckpointError(f"{out} holds no saved run; train first.")
    _check_released(config.model)
    states = [read_state(path) for path in rank_files(saved)]
    sessions = {key: n for state in states for key, n in state["sessions"].items()}
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for rank, state in enumerate(states):
        shard = {
            "epoch": 0,
            "step": state["step"],
            "state_dict": state["average"] or state["net"],
            # Each file lists all sessions, so that rank 0's file alone is sufficient to
            # find which neurons exist.
            "session_map": {
                key: {
                    "n_neurons": n,
                    "animal_id": state["animals"][key],
                    "on_rank": key in state["sessions"],
                }
                for key, n in sessions.items()
            },
            "rank_optimizer_state_dict": state["session"],
            "rng_state": _random_states(),
        }
        # As in the released files, only rank 0 has the optimiser of the core.
        if state["core"] is not None:
            shard["shared_optimizer_state_dict"] = state["core"]
        written.append(folder / f"rank_{rank}.ckpt")
        write_pickle(written[-1], shard)
    return written


def _check_released(config: OmniMouseConfig) -> None:
    """Raise CheckpointError unless a reader can infer the architecture."""
    for size in SIZES.values():
        # A reader infers these two fields from the shapes of the weights, and takes all
        # others from the table of sizes.
        readable = replace(
            size,
            num_response_latent_groups=config.num_response_latent_groups,
            d_embedding=config.d_embedding,
        )
        if readable == config:
            return
    raise CheckpointError(
        "Released checkpoints do not store the architecture, so only released sizes "
        f"({', '.join(SIZES)}) can be exported in this format. model.safetensors has "
        "this one."
    )


def _random_states() -> dict[str, Any]:
    """Return the states of four random generators, as plain values."""
    # The array of NumPy's state becomes a list for the restricted unpickler.
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002  # the official loader's
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (kind, np.asarray(keys).tolist(), *rest),
        "python": random.getstate(),
    }
