"""CEBRA through its own package: behaviour decoded from the population, as a `Family`."""

from operator import attrgetter
from pathlib import Path

from omnimouse_model.predict.family import Family, Training, later, shipped_configs

FAMILY = Family(
    "cebra",
    load=later(f"{__name__}.predictor:load_cebra"),
    title="CEBRA",
    summary="Embedding of the whole population: behaviour decoded from its nearest neighbours.",
    describe=later(f"{__name__}.predictor:describe_cebra"),
    training=Training(
        later(f"{__name__}.training:read_cebra_config"),
        attrgetter("model.spec"),
        later(f"{__name__}.training:start_cebra"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    export=later(f"{__name__}.training:export_cebra"),
    published="CEBRA",
)
