"""A family of models: all that the registry knows of a kind of model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.storage.trees import read_json

Build = Callable[[str], Predictor]
"""Function from a device to a predictor."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family of models.

    Parameters
    ----------
    name
        Written into checkpoints as `family`.
    load
        Builds a predictor from the path of a checkpoint, on a device.
    names
        Predictors that need no file: name -> builder on a device.
    recognises
        Whether a path is a checkpoint of this family; by default one that names it.
    """

    name: str
    load: Callable[[Path, str], Predictor]
    names: Mapping[str, Build] = field(default_factory=dict)
    recognises: Callable[[Path], bool] | None = None

    def owns(self, path: Path) -> bool:
        """Return whether a path is a checkpoint of this family."""
        if self.recognises is not None:
            return self.recognises(path)
        return stated_family(path) == self.name


def stated_family(path: Path) -> str:
    """Return the family that the JSON file of a checkpoint names, "" without one."""
    descriptions = sorted(path.glob("*.json")) if path.is_dir() else [path.with_suffix(".json")]
    for file in descriptions:
        try:
            description = read_json(file)
        except SessionFormatError:
            continue  # the loader of the family reports what is wrong with the file
        if isinstance(description, dict) and isinstance(description.get("family"), str):
            return str(description["family"])
    return ""
