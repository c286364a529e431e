"""Export of a training of digital twins as one checkpoint."""

from dataclasses import asdict, replace
from pathlib import Path

from omnimouse_model.nets.twin.checkpoint import read_twins, save_twins
from omnimouse_model.train.checkpoints import best_or_last
from omnimouse_model.train.twin.config import TwinTrainConfig


def export_twins(run: Path, path: Path, config: TwinTrainConfig) -> Path:
    """Write the best twins of a run, else the last, with data for the model card.

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
    checkpoint = read_twins(best_or_last(run))
    renames = config.notes.get("renames", {})
    sessions = {renames.get(key, key): own for key, own in checkpoint.sessions.items()}
    settings = asdict(config)
    for name in ("model", "sessions", "notes"):
        del settings[name]
    card = dict(checkpoint.card or {}) | {
        "trained_on": [choice.mouse for choice in config.sessions],
        "same_neurons": renames,
        "targets": config.targets,
        "start": config.start,
        "settings": settings,
    }
    save_twins(path, replace(checkpoint, sessions=sessions, card=card))
    return path
