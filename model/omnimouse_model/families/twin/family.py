"""The digital twin as a `Family`; its code is imported when a predictor is built."""

from pathlib import Path

from omnimouse_model.predict.family import Family, stated_family
from omnimouse_model.predict.predictor import Predictor

RELEASED = "params_core.pt"
"""File by which a folder of released digital twins is recognised."""


def _load(path: Path, device: str) -> Predictor:
    from omnimouse_model.families.twin.predictor import load_twin

    return load_twin(path, device)


def _demo(device: str) -> Predictor:
    from omnimouse_model.families.twin.checkpoint import TWIN_CHECKPOINT
    from omnimouse_model.families.twin.predictor import load_twin

    return load_twin(TWIN_CHECKPOINT, device, "twin-demo")


def _recognises(path: Path) -> bool:
    return (path / RELEASED).is_file() or stated_family(path) == FAMILY.name


FAMILY = Family("twin", _load, {"twin-demo": _demo}, _recognises)
