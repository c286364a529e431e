"""OmniMouse predictors from checkpoints: reading, device, identification by weights."""

import logging
import os
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.nets.checkpoint import Checkpoint
from omnimouse_model.nets.checkpoint_formats import read_checkpoint
from omnimouse_model.predict.devices import full_memory_text
from omnimouse_model.predict.omnimouse.context_part import OmniMouseWithContext
from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor

logger = logging.getLogger(__name__)

OmniMousePredictor = TransformerPredictor | OmniMouseWithContext


def resolve_device(device: str) -> torch.device:
    """Return the torch device for the name "auto", "cpu", "cuda" or "mps".

    "auto" is a CUDA GPU if there is one that can be used, or the CPU.

    Raises
    ------
    UnsupportedRequestError
        The device does not exist or cannot be used.
    """
    # Never "mps" by itself: nobody has compared its results with those of a CPU.
    if device == "auto":
        problem = _why_no_cuda()
        if problem and torch.cuda.is_available():
            logger.warning("The CPU is used. %s", problem)
        return torch.device("cpu" if problem else "cuda")
    if device == "cuda" and (problem := _why_no_cuda()):
        raise UnsupportedRequestError(problem)
    if device == "mps" and not torch.backends.mps.is_available():
        raise UnsupportedRequestError("No Apple GPU was found; choose the device cpu.")
    return torch.device(device)


def _why_no_cuda() -> str:
    """Return why the GPU of this process cannot be used; "" if it can.

    CUDA needs about 500 MiB there for itself, which it keeps until the process ends.
    """
    if not torch.cuda.is_available():
        return "No CUDA GPU was found; choose the device cpu (`omnimouse doctor` says more)."
    # Each process of `torchrun` has a GPU of its own.
    rank = int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count()
    try:
        torch.empty(1, device=torch.device("cuda", rank))
    except RuntimeError as error:
        first_line = str(error).partition("\n")[0]
        other = f"The GPU cannot be used ({first_line}); choose the device cpu."
        return full_memory_text(error) or other
    return ""


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
