"""From a training run to a shipped checkpoint: averaged weights, renamed sessions."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.checkpoint import Checkpoint, save_checkpoint
from omnimouse_model.nets.checkpoint_formats import read_checkpoint
from omnimouse_model.train.config import TrainConfig


def export_run(run: Path, path: Path, config: TrainConfig) -> Path:
    """Write a run's averaged weights to `path`, with what the model card needs.

    Parameters
    ----------
    run
        Folder of a training run.
    path
        The checkpoint to write (.safetensors, a JSON beside it).
    config
        What the run was trained with; its `notes["renames"]` maps a session's key in
        training to the key of another recording of the same neurons.
    """
    renames = config.notes.get("renames", {})
    checkpoint = renamed(read_checkpoint(run / "model.safetensors"), renames)
    card = (checkpoint.card or {}) | model_card(config)
    return save_checkpoint(path, checkpoint.build(), card)


def model_card(config: TrainConfig) -> dict[str, Any]:
    """How a run was trained, as plain data; steps and hours are the run's own."""
    return {
        "trained_on": [choice.mouse for choice in config.sessions],
        "same_neurons": config.notes.get("renames", {}),
        "targets": [f"{phase.name}: {phase.targets}" for phase in config.phases],
        "phases": [asdict(phase) for phase in config.phases],
    }


def forgotten(checkpoint: Checkpoint, session: str) -> Checkpoint:
    """A checkpoint that never met a session, nor its animal if it has no other."""
    animals = {k: a for k, a in checkpoint.animals.items() if k != session}
    gone = [f"sess_params.{session}."]
    if checkpoint.animals[session] not in animals.values():
        gone.append(f"animal_params._animal_embeddings.{checkpoint.animals[session]}")
    return replace(
        checkpoint,
        state={
            k: v for k, v in checkpoint.state.items() if not k.startswith(tuple(gone))
        },
        sessions={k: n for k, n in checkpoint.sessions.items() if k != session},
        animals=animals,
    )


def renamed(checkpoint: Checkpoint, renames: dict[str, str]) -> Checkpoint:
    """Give sessions other keys; the neurons must be the same, in the same order."""
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
