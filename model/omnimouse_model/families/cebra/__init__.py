"""CEBRA through its own package: behaviour decoded from the population, as a `Family`."""

from omnimouse_model.predict.family import shipped_family

FAMILY = shipped_family(
    __file__,
    "model:CebraPredictor",
    "model:CebraTraining",
    title="CEBRA",
    summary="Embedding of the whole population: behaviour decoded from its nearest neighbours.",
    published="CEBRA",
)
