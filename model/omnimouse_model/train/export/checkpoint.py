"""Export of a training run as a checkpoint: averaged weights, renamed sessions."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.checkpoint import Checkpoint, save_checkpoint
from omnimouse_model.nets.checkpoint_formats import read_checkpoint
from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor
from omnimouse_model.progress import QUIET, Job
from omnimouse_model.train.config import TrainConfig
from omnimouse_model.train.context_fit import fit_context
from omnimouse_model.train.sessions import session_place


def export_run(
    run: Path,
    path: Path,
    config: TrainConfig,
    mice: Path | None = None,
    job: Job = QUIET,
) -> Path:
    """Write the averaged weights of a run to `path`, with data for the model card.

    Parameters
    ----------
    run
        Folder of a training run.
    path
        File to write (.safetensors); its JSON is written to the same folder.
    config
        Config of the run. `notes["renames"]` maps the key of a session in training to
        the key of another recording of the same neurons.
    mice
        Folder of the simulated mice, see `session_place`.
    job
        Progress and stop request; see `progress.Job`.
    """
    # The demo is trained on one recording and shown on another of the same neurons.
    renames = config.notes.get("renames", {})
    checkpoint = renamed(read_checkpoint(run / "model.safetensors"), renames)
    card = (checkpoint.card or {}) | model_card(config)
    places = [session_place(c.mouse, mice) for c in config.sessions if c.context]
    context: dict[str, Tensor] = {}
    if places:
        net = checkpoint.build().requires_grad_(False)
        transformer = TransformerPredictor(net, path.stem)
        for place in places:
            session = open_session(place)
            # A fit belongs to the neurons: it is stored under the key of the model.
            session = replace(session, id=renames.get(session.id, session.id))
            context |= fit_context(transformer, session, job)
    return save_checkpoint(path, checkpoint.build(), card, context=context)


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
