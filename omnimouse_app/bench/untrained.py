"""Untrained models and simulated recordings of any number of neurons, to time them.

The weights do not change the cost of a prediction. Nothing here imports Qt, because
worker processes call `untrained_model`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnimouse_model.predict.predictor import Predictor


def untrained_model(
    size: str, session_id: str, n_neurons: int, device: str
) -> "Predictor":
    """Return an untrained model of a released size, or of "demo", for one session."""
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


def simulated_session(count: int) -> Path:
    """Simulate a session of `count` neurons and about a minute, once, in the cache."""
    from omnimouse_model.cache import cache_dir
    from omnimouse_model.simulate import HeldOut, MouseSpec, write_session

    held_out = HeldOut(validation=1, final_test_1=1, oracle_clips=1, oracle_repeats=2)
    spec = MouseSpec("bench", session_id(count), count, 940001, count, 1.1, held_out)
    return write_session(spec, cache_dir() / "bench" / f"neurons{count}")


def session_id(count: int) -> str:
    """Return the id of the simulated session of `count` neurons."""
    return f"{900000 + count}-1-1"
