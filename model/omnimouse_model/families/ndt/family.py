"""Neural data transformers as a `Family`; imported when a predictor is built."""

from pathlib import Path

from omnimouse_model.predict.family import Family
from omnimouse_model.predict.predictor import Predictor


def _load(path: Path, device: str) -> Predictor:
    from omnimouse_model.families.ndt.predictor import load_ndt

    return load_ndt(path, device)


def _demo(device: str) -> Predictor:
    from omnimouse_model.families.ndt.checkpoint import NDT_CHECKPOINT

    return _load(NDT_CHECKPOINT, device)


FAMILY = Family("ndt", _load, {"ndt-demo": _demo})
