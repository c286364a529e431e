"""The Sensorium-2023 baseline as a `Family`; imported when a predictor is built."""

from pathlib import Path

from omnimouse_model.predict.family import Family
from omnimouse_model.predict.predictor import Predictor


def _load(path: Path, device: str) -> Predictor:
    from omnimouse_model.families.sensorium_factorised.checkpoint import load_factorised

    return load_factorised(path, device)


FAMILY = Family("sensorium_factorised", _load)
