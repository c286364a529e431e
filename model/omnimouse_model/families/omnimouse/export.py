"""Export of a run of OmniMouse: a checkpoint of this project, or the published format.

The published format is one file `rank_<r>.ckpt` per process, with tensors and plain
containers only, so that torch's restricted unpickler can read it. The official loader
finds the weights by the same names.
"""

import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.omnimouse.checkpoint import (
    Checkpoint,
    read_checkpoint,
    read_official,
    save_checkpoint,
)
from omnimouse_model.families.omnimouse.config import SIZES, OmniMouseConfig
from omnimouse_model.families.omnimouse.context_part import fit_context
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.omnimouse.training_config import TrainConfig, config_from
from omnimouse_model.storage.tensors import write_pickle
from omnimouse_model.training.checkpoints import MODEL, last_state, rank_files, read_state
from omnimouse_model.training.config import run_record

SHARDS = "rank_*.ckpt"
"""Files of the published format."""


def export_run(run: Path, path: Path) -> None:
    """Write the averaged weights of a run, or official shards (`Family.export`).

    A path that ends with .safetensors becomes a checkpoint of this project, with data
    for the model card; any other a folder in the published format.
    """
    if run.match(SHARDS) or any(run.glob(SHARDS)):
        official = read_official(run)
        save_checkpoint(path, official.build(), assumed=official.assumed)
        return
    settings = run_record(run)
    config = replace(config_from(settings.tree), **settings.shared)
    if path.suffix != ".safetensors":
        write_official(run, path, config)
        return
    # The demo is trained on one recording and shown on another of the same neurons.
    renames = config.notes.get("renames", {})
    checkpoint = renamed(read_checkpoint(run / MODEL), renames)
    card = (checkpoint.card or {}) | model_card(config)
    places = [
        place
        for choice, place in zip(config.sessions, settings.places, strict=False)
        if choice.context
    ]
    context: dict[str, Tensor] = {}
    if places:
        net = checkpoint.build().requires_grad_(False)
        transformer = TransformerPredictor(net, path.stem)
        for place in places:
            session = open_session(place)
            # A fit belongs to the neurons: it is stored under the key of the model.
            session = replace(session, id=renames.get(session.id, session.id))
            context |= fit_context(transformer, session)
    save_checkpoint(path, checkpoint.build(), card, context=context)


def model_card(config: TrainConfig) -> dict[str, Any]:
    """Return how a run was trained, as plain data without steps and hours."""
    return {
        "trained_on": [choice.mouse for choice in config.sessions],
        "same_neurons": config.notes.get("renames", {}),
        "targets": [f"{phase.name}: {phase.targets}" for phase in config.phases],
        "phases": [asdict(phase) for phase in config.phases],
    }


def renamed(checkpoint: Checkpoint, renames: dict[str, str]) -> Checkpoint:
    """Give sessions other keys; the neurons must be the same, in the same order."""
    # A session that exists already would lose its own weights.
    for old, new in renames.items():
        if old not in checkpoint.sessions or new in checkpoint.sessions:
            raise CheckpointError(
                f"Cannot rename session {old!r} to {new!r}: the checkpoint has "
                f"{sorted(checkpoint.sessions)}."
            )

    def new_name(key: str) -> str:
        for old, new in renames.items():
            if key.startswith(f"sess_params.{old}."):
                return f"sess_params.{new}.{key.removeprefix(f'sess_params.{old}.')}"
        return key

    return replace(
        checkpoint,
        state={new_name(k): v for k, v in checkpoint.state.items()},
        sessions={renames.get(k, k): n for k, n in checkpoint.sessions.items()},
        animals={renames.get(k, k): a for k, a in checkpoint.animals.items()},
    )


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
