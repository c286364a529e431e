"""Means of several predictors as a `Family`."""

from pathlib import Path

from omnimouse_model.predict.family import Family, later

_HERE = "omnimouse_model.families.ensemble.ensemble"
SUFFIX = ".ensemble.json"


def _recognises(path: Path) -> bool:
    return path.name.endswith(SUFFIX) and path.is_file()


FAMILY = Family(
    "ensemble",
    title="Ensemble",
    summary="Mean of the rates of several predictors, such as trainings with other seeds.",
    recognises=_recognises,
    load=later(f"{_HERE}:load_members"),
)
