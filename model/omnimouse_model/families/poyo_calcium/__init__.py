"""Calcium POYO+: behaviour decoded from the responses of neurons, as a `Family`."""

from operator import attrgetter
from pathlib import Path

from omnimouse_model.predict.family import Family, Training, Transfer, later, shipped_configs
from omnimouse_model.training.config import TransferOptions

FAMILY = Family(
    "poyo_calcium",
    load=later(f"{__name__}.predictor:load_poyo"),
    title="Calcium POYO+",
    summary="Transformer of single response samples: decodes behaviour from any neurons.",
    describe=later(f"{__name__}.checkpoint:describe_poyo"),
    training=Training(
        later(f"{__name__}.training:read_poyo_config"),
        attrgetter("model.spec"),
        later(f"{__name__}.training:start_poyo"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    transfer=Transfer(TransferOptions, later(f"{__name__}.training:transfer_poyo")),
    export=later(f"{__name__}.training:export_poyo"),
    published="POYO+",
)
