"""OmniMouse predictors from checkpoints: reading, device, identification by weights."""

from dataclasses import replace
from pathlib import Path

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.omnimouse.checkpoint import Checkpoint, read_checkpoint
from omnimouse_model.families.omnimouse.context_part import OmniMouseWithContext
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.predict.description import weights_hash
from omnimouse_model.predict.devices import resolve_device

OmniMousePredictor = TransformerPredictor | OmniMouseWithContext


def load_checkpoint_predictor(
    path: str | Path,
    device: str = "auto",
    *,
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
