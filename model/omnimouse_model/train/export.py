"""From a training run to a shipped checkpoint: averaged weights, renamed sessions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.checkpoint import Checkpoint, read_checkpoint, save_checkpoint


def export_run(
    run: Path, path: Path, renames: dict[str, str], card: dict[str, Any]
) -> Path:
    """Write a run's averaged weights to `path`.

    Parameters
    ----------
    run
        Folder of a training run.
    path
        The checkpoint to write (.safetensors, a JSON beside it).
    renames
        session key in training -> key of another recording of the same neurons.
    card
        Facts for the model card.
    """
    checkpoint = renamed(read_checkpoint(run / "model.safetensors"), renames)
    return save_checkpoint(path, checkpoint.build(), card)


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
                return key.replace(old, new, 1)
        return key

    return replace(
        checkpoint,
        state={new_name(k): v for k, v in checkpoint.state.items()},
        sessions={renames.get(k, k): n for k, n in checkpoint.sessions.items()},
        animals={renames.get(k, k): a for k, a in checkpoint.animals.items()},
    )
