"""Named tensors of a file of PyTorch or safetensors, read without executing code."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from omnimouse_model.errors import CheckpointError

_MAX_TENSORS = 10_000


def load_pickle(path: Path, allowed: Sequence[Any] = (), *, mmap: bool = False) -> Any:
    """Return the content of a file of `torch.save` on the CPU; execute none of it.

    Parameters
    ----------
    allowed
        Classes and functions that the restricted unpickler accepts in addition to
        tensors and plain containers; see `torch.serialization.safe_globals`.
    mmap
        Map the tensors from the file instead of reading them.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or asks for something else.
    """
    # The form of old versions of PyTorch is a tar archive, which it would unpack.
    if path.is_file() and not is_zipfile(path):
        raise CheckpointError(f"{path} is damaged or unsafe: it is no file of PyTorch.")
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing.") from None
    except Exception as error:  # torch raises many kinds for hostile and torn files
        # The name of a class that is not allowed, if that was the reason.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"it asks for {named.group(1)!r}, which a checkpoint does not need."
            if named
            else (str(error).splitlines() or [type(error).__name__])[0]
        )
        raise CheckpointError(f"{path} is damaged or unsafe: {reason}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a file of `torch.save`; nothing in it is executed.

    Raises
    ------
    CheckpointError
        The file is missing, or holds anything but named tensors.
    """
    found = load_pickle(path)
    is_named = isinstance(found, Mapping) and len(found) <= _MAX_TENSORS
    if not is_named or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()
    ):
        raise CheckpointError(f"{path} has no named tensors.")
    return {name: tensor.detach() for name, tensor in found.items()}


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the named tensors and the notes of a .safetensors file.

    Raises
    ------
    CheckpointError
        The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            # A safetensors file has keys(), but cannot be iterated.
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return state, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
