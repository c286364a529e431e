"""Calcium POYO+ as a `Family`."""

from operator import attrgetter
from pathlib import Path

from omnimouse_model.predict.family import Family, Training, Transfer, later, shipped_configs
from omnimouse_model.training.config import TransferOptions

_HERE = "omnimouse_model.families.poyo_calcium"

FAMILY = Family(
    "poyo_calcium",
    load=later(f"{_HERE}.predictor:load_poyo"),
    title="Calcium POYO+",
    summary="Transformer of single response samples: decodes behaviour from any neurons.",
    describe=later(f"{_HERE}.checkpoint:describe_poyo"),
    training=Training(
        later(f"{_HERE}.training:read_poyo_config"),
        attrgetter("model.spec"),
        later(f"{_HERE}.training:start_poyo"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    transfer=Transfer(TransferOptions, later(f"{_HERE}.training:transfer_poyo")),
    export=later(f"{_HERE}.training:export_poyo"),
    published="POYO+",
)
