"""OmniMouse predictors from checkpoints: reading, device, identification by weights."""

from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.nets.checkpoint import Checkpoint
from omnimouse_model.nets.checkpoint_formats import read_checkpoint
from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor


def resolve_device(device: str) -> torch.device:
    """Return a torch device by name: "auto" is a CUDA GPU if there is one, or the CPU.

    Raises
    ------
    UnsupportedRequestError
        The device does not exist, or has no float64 for the rotary frequencies.
    """
    # Never "mps" by itself: see below.
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


def load_checkpoint_predictor(
    path: str | Path, *, device: str = "auto", name: str | None = None
) -> TransformerPredictor:
    """Load a predictor from a checkpoint of this project or an official one."""
    path = Path(path)
    return predictor_from_checkpoint(read_checkpoint(path), name or path.stem, device)


def predictor_from_checkpoint(
    checkpoint: Checkpoint, name: str, device: str = "auto"
) -> TransformerPredictor:
    """Build the network of a checkpoint on a device, as a predictor."""
    if not checkpoint.sessions:
        raise CheckpointError(f"{checkpoint.source} knows no session.")
    # Frozen: gradients of the weights would keep the activations of every request.
    net = checkpoint.build().requires_grad_(False)
    net.to(resolve_device(device))
    hashed = weights_hash(checkpoint.state)
    return TransformerPredictor(
        net, name, hashed, can_move=True, assumed=checkpoint.assumed
    )


def weights_hash(state: dict[str, Tensor]) -> str:
    """Return eight hexadecimal digits that identify names and values of weights."""
    # Sorted, because the order of a state dict depends on how it was made.
    digest = blake2b(digest_size=4)
    for key in sorted(state):
        digest.update(key.encode())
        # As bytes: numpy has no bfloat16.
        values = state[key].contiguous().flatten().view(torch.uint8)
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
