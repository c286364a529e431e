"""Export of a training of neural data transformers as one checkpoint."""

from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from omnimouse_model.nets.ndt.checkpoint import NdtCheckpoint, read_ndt, save_ndt
from omnimouse_model.train.checkpoints import best_or_last
from omnimouse_model.train.ndt.config import NdtTrainConfig


def export_ndt(run: Path, path: Path, config: NdtTrainConfig) -> Path:
    """Write the best weights of a run, else the last, with data for the model card.

    Parameters
    ----------
    run
        Folder of a training run.
    path
        File to write (.safetensors); its JSON is written to the same folder.
    config
        Config of the run. `notes["renames"]` maps the key of a session in training to
        the key of another recording of the same neurons.
    """
    checkpoint = read_ndt(best_or_last(run))
    renames = config.notes.get("renames", {})
    settings = asdict(config)
    for name in ("model", "spec", "sessions", "notes"):
        del settings[name]
    card = dict(checkpoint.card or {}) | {
        "trained_on": [choice.mouse for choice in config.sessions],
        "same_neurons": renames,
        "settings": settings,
    }
    save_ndt(path, replace(_renamed(checkpoint, renames), card=card))
    return path


def _renamed(checkpoint: NdtCheckpoint, renames: dict[str, str]) -> NdtCheckpoint:
    state: dict[str, Tensor] = checkpoint.shared
    sessions = {}
    for key, count in checkpoint.sessions.items():
        name = renames.get(key, key)
        sessions[name] = count
        for tensor, value in checkpoint.stitchers(key).items():
            state[tensor.replace(f".{key}.", f".{name}.", 1)] = value
    return replace(checkpoint, state=state, sessions=sessions)
