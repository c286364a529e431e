"""Calcium POYO+: behaviour decoded from the responses of neurons, as a `Family`."""

from omnimouse_model.predict.family import Transfer, later, shipped_family
from omnimouse_model.training.config import TransferOptions

FAMILY = shipped_family(
    __file__,
    "predictor:PoyoPredictor",
    "training:PoyoTraining",
    title="Calcium POYO+",
    summary="Transformer of single response samples: decodes behaviour from any neurons.",
    transfer=Transfer(TransferOptions, later(f"{__name__}.training:transfer_poyo")),
    published="POYO+",
)
