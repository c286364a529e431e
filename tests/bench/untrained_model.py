"""A transformer with random weights for any session, to time its predictions.

The weights do not change the cost of a prediction. This module does not import Qt,
because worker processes use it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnimouse_model.families.omnimouse.predictor import TransformerPredictor


def untrained_model(
    size: str, session_id: str, n_neurons: int, device: str
) -> "TransformerPredictor":
    """Return a model of a released size, or of the size "demo", for one session."""
    import torch

    from omnimouse_model.families.omnimouse import DEMO
    from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
    from omnimouse_model.families.omnimouse.config import SIZES
    from omnimouse_model.families.omnimouse.network import OmniMouse, initialise
    from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
    from omnimouse_model.predict.devices import resolve_device

    config = read_checkpoint(DEMO).config if size == "demo" else SIZES[size]
    animal = session_id.split("-")[0]
    net = OmniMouse(config, {session_id: n_neurons}, {session_id: animal})
    initialise(net, torch.Generator().manual_seed(0))
    net.eval().requires_grad_(False).to(resolve_device(device))
    return TransformerPredictor(net, "untrained")
