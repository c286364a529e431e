"""OmniMouse predictors from checkpoints: reading, device, identification by weights."""

import logging
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.nets.checkpoint import Checkpoint
from omnimouse_model.nets.checkpoint_formats import read_checkpoint
from omnimouse_model.predict.devices import MEMORY_IS_FULL, is_out_of_memory
from omnimouse_model.predict.omnimouse.context_part import OmniMouseWithContext
from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor

logger = logging.getLogger(__name__)

OmniMousePredictor = TransformerPredictor | OmniMouseWithContext


def resolve_device(device: str) -> torch.device:
    """Return a torch device by name.

    "auto" is a CUDA GPU if there is one with free memory, or the CPU.

    Raises
    ------
    UnsupportedRequestError
        The device does not exist, has no free memory, or has no float64 for the rotary
        frequencies.
    """
    # Never "mps" by itself: see below.
    if device == "auto":
        return torch.device("cuda" if _is_free_gpu() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedRequestError(
            "No CUDA GPU was found; choose the device cpu (`omnimouse doctor` says "
            "more)."
        )
    if device == "cuda" and not _is_free_gpu():
        raise UnsupportedRequestError(MEMORY_IS_FULL)
    if device == "mps":
        raise UnsupportedRequestError(
            "Apple GPUs have no float64, which the rotary frequencies need; choose the "
            "device cpu."
        )
    return torch.device(device)


def _is_free_gpu() -> bool:
    """Return whether there is a GPU with memory for CUDA itself, about 500 MiB."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.empty(1, device="cuda")
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        logger.warning("The GPU is not used: its memory is full.")
        return False
    return True


def load_checkpoint_predictor(
    path: str | Path,
    *,
    device: str = "auto",
    name: str | None = None,
    with_context: bool = True,
) -> OmniMousePredictor:
    """Load a predictor from a checkpoint of this project or an official one.

    Its context part, if it has one, is left out with `with_context=False`.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    if not with_context:
        checkpoint = replace(checkpoint, context={})
    return predictor_from_checkpoint(checkpoint, name or path.stem, device)


def predictor_from_checkpoint(
    checkpoint: Checkpoint, name: str, device: str = "auto"
) -> OmniMousePredictor:
    """Build the network of a checkpoint on a device, as a predictor."""
    if not checkpoint.sessions:
        raise CheckpointError(f"{checkpoint.source} knows no session.")
    # Frozen: gradients of the weights would keep the activations of every request.
    net = checkpoint.build().requires_grad_(False)
    net.to(resolve_device(device))
    predictor = TransformerPredictor(
        net,
        name,
        weights_hash(checkpoint.state),
        can_move=True,
        assumed=checkpoint.assumed,
    )
    if not checkpoint.context:
        return predictor
    hash_of_both = weights_hash({**checkpoint.state, **checkpoint.context})
    return OmniMouseWithContext(predictor, checkpoint.context, hash_of_both)


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
