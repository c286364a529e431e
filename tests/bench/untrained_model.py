"""A transformer with random weights for any session, to time its predictions.

The weights do not change the cost of a prediction. This module does not import Qt,
because worker processes use it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnimouse_model.predict.predictor import Predictor


def untrained_model(size: str, session_id: str, n_neurons: int, device: str) -> "Predictor":
    """Return a model of a released size, or of the size "demo", for one session."""
    import torch

    from omnimouse_model.demo import CHECKPOINT
    from omnimouse_model.nets.checkpoint_formats import read_checkpoint
    from omnimouse_model.nets.omnimouse.config import SIZES
    from omnimouse_model.nets.omnimouse.initialisation import initialise
    from omnimouse_model.nets.omnimouse.network import OmniMouse
    from omnimouse_model.predict.omnimouse.loading import resolve_device
    from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor

    config = read_checkpoint(CHECKPOINT).config if size == "demo" else SIZES[size]
    animal = session_id.split("-")[0]
    net = OmniMouse(config, {session_id: n_neurons}, {session_id: animal})
    initialise(net, torch.Generator().manual_seed(0))
    net.eval().requires_grad_(False).to(resolve_device(device))
    return TransformerPredictor(net, "untrained")
