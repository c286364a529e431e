"""The digital twin: network, files, predictor, training and transfer, as a `Family`."""

from functools import partial
from operator import attrgetter
from pathlib import Path

from omnimouse_model.predict.family import (
    Family,
    Training,
    Transfer,
    later,
    shipped_configs,
    stated_family,
)
from omnimouse_model.training.config import TransferOptions

_LOAD = later(f"{__name__}.predictor:load_twin")
DEMO = Path(__file__).with_name("twin-demo.safetensors")
"""Weights of the demo twin, a small digital twin of the demo mouse."""
RELEASED = "params_core.pt"
"""File by which a folder of released digital twins is recognised."""


def _recognises(path: Path) -> bool:
    return (path / RELEASED).is_file() or stated_family(path) == FAMILY.name


FAMILY = Family(
    "twin",
    load=_LOAD,
    title="Digital twin",
    summary="Convolutional network with gaze and behaviour: predicts responses from video.",
    names={"twin-demo": partial(_LOAD, DEMO)},
    recognises=_recognises,
    describe=later(f"{__name__}.predictor:describe_twin"),
    training=Training(
        later(f"{__name__}.training:read_twin_config"),
        attrgetter("spec"),
        later(f"{__name__}.training:start_twins"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    transfer=Transfer(TransferOptions, later(f"{__name__}.training:transfer_twin")),
    export=later(f"{__name__}.training:export_twins"),
)
