"""Reading a checkpoint of any format: this project's own, or an official one."""

from pathlib import Path

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.checkpoint import FINISHED, Checkpoint, read_own
from omnimouse_model.nets.official import read_official


def read_checkpoint(path: str | Path, size: str | None = None) -> Checkpoint:
    """Read a checkpoint: a .safetensors file of ours, or an official folder or shard.

    Parameters
    ----------
    path
        File or folder.
    size
        "1M" … "300M" where an official checkpoint's size cannot be told from its
        shapes.

    Raises
    ------
    CheckpointError
        Not found, not sound, or not safe to read.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    if path.is_dir():
        ours = sorted(path.glob("*.safetensors"))
        if path / FINISHED in ours:
            return read_own(path / FINISHED)
        if len(ours) > 1:
            raise CheckpointError(
                f"{path} holds several checkpoints: {[p.name for p in ours]}; name one."
            )
        if ours:
            return read_own(ours[0])
    elif path.suffix in (".safetensors", ".json"):
        return read_own(path.with_suffix(".safetensors"))
    return read_official(path, size)
