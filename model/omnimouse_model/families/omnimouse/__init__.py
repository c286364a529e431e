"""OmniMouse: network, checkpoints, predictor, training and transfer, as a `Family`."""

from functools import partial
from pathlib import Path
from typing import Any

from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.predict.family import (
    Family,
    Training,
    Transfer,
    later,
    shipped_configs,
    stated_family,
)
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.training.config import NeuronTransferOptions

_LOAD = later(f"{__name__}.context_part:load_checkpoint_predictor")
DEMO = Path(__file__).with_name("demo.safetensors")
"""Weights of the demo model; `demo.json` beside them describes them."""


def _demo(device: str, **options: Any) -> Predictor:
    predictor: Predictor = _LOAD(DEMO, device, **options)
    return predictor


def _recognises(path: Path) -> bool:
    # Official checkpoints, and those saved before families had names, name none.
    return stated_family(path) in ("", FAMILY.name)


FAMILY = Family(
    "omnimouse",
    load=_LOAD,
    title="OmniMouse",
    summary="Masked multi-modal transformer: any neurons, video and behaviour predict the others.",
    names={
        "demo": _demo,
        "demo-plain": partial(_demo, name="demo-plain", with_context=False),
    },
    recognises=_recognises,
    describe=later(f"{__name__}.checkpoint:describe"),
    training=Training(
        later(f"{__name__}.batches:config_from"),
        lambda config: OMNIMOUSE,
        later(f"{__name__}.training:start_omnimouse"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    transfer=Transfer(NeuronTransferOptions, later(f"{__name__}.transfer:transfer_omnimouse")),
    export=later(f"{__name__}.training:export_run"),
    published="OmniMouse-5M",
)
