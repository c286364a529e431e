"""The digital twin: network, files, predictor, training and transfer, as a `Family`."""

from functools import partial
from pathlib import Path

from omnimouse_model.predict.family import Transfer, later, shipped_family, stated_family
from omnimouse_model.training.config import TransferOptions, transfer_seconds

DEMO = Path(__file__).with_name("twin-demo.safetensors")
"""Weights of the demo twin, a small digital twin of the demo mouse."""
RELEASED = "params_core.pt"
"""File by which a folder of released digital twins is recognised."""


def _recognises(path: Path) -> bool:
    return (path / RELEASED).is_file() or stated_family(path) == FAMILY.name


FAMILY = shipped_family(
    __file__,
    "predictor:TwinPredictor",
    "training:TwinTraining",
    title="Digital twin",
    summary="Convolutional network with gaze and behaviour: predicts responses from video.",
    names={"twin-demo": partial(later(f"{__name__}.predictor:TwinPredictor.load"), DEMO)},
    recognises=_recognises,
    transfer=Transfer(
        TransferOptions,
        later(f"{__name__}.training:TwinTraining.transfer"),
        # Measured with the demo twin, for a mouse of 100 and of 400 neurons.
        transfer_seconds(
            start_s=7.0,
            step_s=0.75,
            neuron_s=6e-4,
            validation_steps=3.4,
            validations=6,
            n_bytes=2.2e6,
        ),
    ),
)
