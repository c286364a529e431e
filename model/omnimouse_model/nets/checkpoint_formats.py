"""Reading a checkpoint of any format: this project's own, or an official one."""

from pathlib import Path

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.checkpoint import FINISHED, Checkpoint, read_own
from omnimouse_model.nets.official import read_official


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint: a .safetensors file of ours, or an official folder or shard.

    Raises
    ------
    CheckpointError
        The checkpoint does not exist, is damaged, or is not safe to read.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        # A fine-tuning has its last and best weights in the folder of its result.
        if path / FINISHED in files:
            return read_own(path / FINISHED)
        if len(files) > 1:
            names = [file.name for file in files]
            raise CheckpointError(f"{path} holds several checkpoints: {names}; name one.")
        if files:
            return read_own(files[0])
    elif path.suffix in (".safetensors", ".json"):
        return read_own(path.with_suffix(".safetensors"))
    return read_official(path)
