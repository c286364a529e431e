"""CEBRA as a `Family`."""

from operator import attrgetter
from pathlib import Path

from omnimouse_model.predict.family import Family, Training, later, shipped_configs

_HERE = "omnimouse_model.families.cebra"

FAMILY = Family(
    "cebra",
    load=later(f"{_HERE}.predictor:load_cebra"),
    title="CEBRA",
    summary="Embedding of the whole population: behaviour decoded from its nearest neighbours.",
    describe=later(f"{_HERE}.predictor:describe_cebra"),
    training=Training(
        later(f"{_HERE}.training:read_cebra_config"),
        attrgetter("model.spec"),
        later(f"{_HERE}.training:start_cebra"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    export=later(f"{_HERE}.training:export_cebra"),
    published="CEBRA",
)
