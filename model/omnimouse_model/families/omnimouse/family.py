"""OmniMouse as a `Family`; its code is imported when a predictor is built."""

from pathlib import Path

from omnimouse_model.predict.family import Family, stated_family
from omnimouse_model.predict.predictor import Predictor


def _load(path: Path, device: str) -> Predictor:
    from omnimouse_model.families.omnimouse.loading import load_checkpoint_predictor

    return load_checkpoint_predictor(path, device=device)


def _demo(device: str) -> Predictor:
    from omnimouse_model.families.omnimouse.checkpoint import DEMO

    return _load(DEMO, device)


def _plain_demo(device: str) -> Predictor:
    from omnimouse_model.families.omnimouse.checkpoint import DEMO
    from omnimouse_model.families.omnimouse.loading import load_checkpoint_predictor

    return load_checkpoint_predictor(DEMO, device=device, name="demo-plain", with_context=False)


def _recognises(path: Path) -> bool:
    # Official checkpoints, and those saved before families had names, name none.
    return stated_family(path) in ("", FAMILY.name)


FAMILY = Family("omnimouse", _load, {"demo": _demo, "demo-plain": _plain_demo}, _recognises)
