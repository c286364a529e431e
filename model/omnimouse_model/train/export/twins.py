"""Export of a training of digital twins as one checkpoint."""

from dataclasses import asdict, replace
from pathlib import Path

from omnimouse_model.nets.twin.checkpoint import MEAN, read_twins, save_twins
from omnimouse_model.train.checkpoints import BEST, MODEL
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
    best = run / BEST
    checkpoint = read_twins(best if best.exists() else run / MODEL)
    renames = config.notes.get("renames", {})
    nets = {renames.get(key, key): checkpoint.build(key) for key in checkpoint.sessions}
    means = {
        renames.get(key, key): own[MEAN] for key, own in checkpoint.sessions.items()
    }
    card = dict(checkpoint.card or {}) | {
        "trained_on": [choice.mouse for choice in config.sessions],
        "same_neurons": renames,
        "targets": config.targets,
        "start": config.start,
        "settings": {
            k: v
            for k, v in asdict(replace(config, sessions=(), notes={})).items()
            if k not in ("model", "sessions", "notes")
        },
    }
    save_twins(path, nets, means, checkpoint.frame_size, card)
    return path
