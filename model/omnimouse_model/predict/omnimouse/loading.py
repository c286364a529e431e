"""Transformers from checkpoints: found, built on a device, named by their weights."""

from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.nets.checkpoint import Checkpoint
from omnimouse_model.nets.checkpoint_formats import read_checkpoint
from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor


def resolve_device(device: str) -> torch.device:
    """Find a device by name: "auto" is a CUDA GPU where there is one, else the CPU.

    Raises
    ------
    UnsupportedRequestError
        The device is not there, or cannot hold the net's float64 rotary frequencies.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedRequestError(
            "No CUDA GPU was found; choose the device cpu (`omnimouse doctor` says "
            "more)."
        )
    if device == "mps":
        raise UnsupportedRequestError(
            "Apple GPUs have no float64, which the rotary frequencies need; choose the "
            "device cpu."
        )
    return torch.device(device)


def load_demo(device: str = "auto") -> TransformerPredictor:
    """The shipped demo model."""
    from omnimouse_model.demo import CHECKPOINT

    return load_checkpoint_predictor(CHECKPOINT, device=device, name="demo")


def load_checkpoint_predictor(
    path: str | Path, *, device: str = "auto", name: str | None = None
) -> TransformerPredictor:
    """A predictor from a checkpoint of ours or an official one."""
    path = Path(path)
    checkpoint = read_checkpoint(path)
    return predictor_from_checkpoint(checkpoint, name or path.stem, device)


def predictor_from_checkpoint(
    checkpoint: Checkpoint, name: str, device: str = "auto"
) -> TransformerPredictor:
    """Build the net on a device and wrap it."""
    if not checkpoint.sessions:
        raise CheckpointError(f"{checkpoint.source} knows no session.")
    net = checkpoint.build().requires_grad_(False)
    net.to(resolve_device(device))
    hashed = weights_hash(checkpoint.state)
    return TransformerPredictor(
        net, name, hashed, can_move=True, assumed=checkpoint.assumed
    )


def weights_hash(state: dict[str, Tensor]) -> str:
    """Eight hex digits over names and values."""
    digest = blake2b(digest_size=4)
    for key in sorted(state):
        digest.update(key.encode())
        values = state[key].contiguous().flatten().view(torch.uint8)
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
