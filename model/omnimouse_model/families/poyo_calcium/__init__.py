"""Calcium POYO+: behaviour decoded from the responses of neurons, as a `Family`."""

from omnimouse_model.predict.family import Transfer, later, shipped_family
from omnimouse_model.training.config import TransferOptions, transfer_seconds

FAMILY = shipped_family(
    __file__,
    "model:PoyoPredictor",
    "model:PoyoTraining",
    title="Calcium POYO+",
    summary="Transformer of single response samples: decodes behaviour from any neurons.",
    transfer=Transfer(
        TransferOptions,
        later(f"{__name__}.model:PoyoTraining.transfer"),
        # Measured with `poyo_calcium-small`, for a mouse of 100 and of 400 neurons.
        transfer_seconds(
            start_s=1.0,
            step_s=0.03,
            neuron_s=2.6e-4,
            validation_steps=2.8,
            validations=6,
            n_bytes=1.3e6,
        ),
    ),
    published="POYO+",
)
