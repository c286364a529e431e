"""Neural data transformers: network, checkpoints, training and transfer, as a `Family`."""

from functools import partial
from operator import attrgetter
from pathlib import Path

from omnimouse_model.predict.family import (
    Family,
    Training,
    Transfer,
    later,
    shipped_configs,
)
from omnimouse_model.training.config import TransferOptions

_LOAD = later(f"{__name__}.predictor:load_ndt")
DEMO = Path(__file__).with_name("ndt-demo.safetensors")
"""Weights of the demo transformer of spikes, trained on six simulated animals."""

FAMILY = Family(
    "ndt",
    load=_LOAD,
    title="Neural data transformer",
    summary="Transformer of binned spikes, trained on masked neurons, bins and regions.",
    names={"ndt-demo": partial(_LOAD, DEMO)},
    describe=later(f"{__name__}.predictor:describe_ndt"),
    training=Training(
        later(f"{__name__}.training:read_ndt_config"),
        attrgetter("spec"),
        later(f"{__name__}.training:start_ndt"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    transfer=Transfer(TransferOptions, later(f"{__name__}.training:transfer_ndt")),
    export=later(f"{__name__}.training:export_ndt"),
    published="MtM",
)
