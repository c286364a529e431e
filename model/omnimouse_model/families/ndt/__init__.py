"""Neural data transformers: network, checkpoints, training and transfer, as a `Family`."""

from functools import partial
from pathlib import Path

from omnimouse_model.predict.family import Transfer, later, shipped_family
from omnimouse_model.training.config import TransferOptions, transfer_seconds

DEMO = Path(__file__).with_name("ndt-demo.safetensors")
"""Weights of the demo transformer of spikes, trained on six simulated animals."""

FAMILY = shipped_family(
    __file__,
    "predictor:NdtPredictor",
    "training:NdtTraining",
    title="Neural data transformer",
    summary="Transformer of binned spikes, trained on masked neurons, bins and regions.",
    names={"ndt-demo": partial(later(f"{__name__}.predictor:NdtPredictor.load"), DEMO)},
    transfer=Transfer(
        TransferOptions,
        later(f"{__name__}.training:NdtTraining.transfer"),
        # Measured with the demo transformer, for an animal of 100 units.
        transfer_seconds(
            start_s=2.0,
            step_s=0.03,
            neuron_s=3e-4,
            validation_steps=1.0,
            validations=10,
            n_bytes=8.3e5,
        ),
        held_out="the validation part, or without one a tenth of the train part",
    ),
    # Of response traces, too.
    held_out_metric="bits_per_spike",
    published="MtM",
)
