"""Families of models: the names and checkpoints from which each builds predictors.

Another package adds a family through an entry point of the group `omnimouse.families`
that names a `Family`. Nothing in this repository changes for that:

    [project.entry-points."omnimouse.families"]
    twin = "my_package.twin:FAMILY"
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path

from omnimouse_model.errors import CheckpointError
from omnimouse_model.predict.predictor import Predictor

GROUP = "omnimouse.families"
OMNIMOUSE_FAMILY = "omnimouse"
NAIVE = ("mean", "last", "ridge", "context-ridge", "video-ridge")

_log = logging.getLogger(__name__)


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
    """

    name: str
    load: Callable[[Path, str], Predictor]
    names: Mapping[str, Callable[[str], Predictor]] = field(default_factory=dict)


@cache
def families() -> Mapping[str, Family]:
    """Return all families by name: those of this package, then entry points.

    An entry point that cannot be imported is left out with a warning, so that a broken
    package does not take the other families away.
    """
    known = {family.name: family for family in (_omnimouse(), _baselines())}
    for point in entry_points(group=GROUP):
        try:
            family = point.load()
        except Exception as error:  # foreign code fails in many ways
            _log.warning("Family %s (%s) is left out: %r", point.name, point, error)
            continue
        if not isinstance(family, Family) or family.name in known:
            _log.warning(
                "Family %s is left out: %s is not a Family with a name of its own.",
                point.name,
                point.value,
            )
            continue
        known[family.name] = family
    return known


def builders() -> dict[str, Callable[[str], Predictor]]:
    """Return the predictors that need no file, by name, of all families."""
    found: dict[str, Callable[[str], Predictor]] = {}
    for family in families().values():
        for name, build in family.names.items():
            found.setdefault(name, build)
    return found


def load_of_family(path: Path, device: str) -> Predictor:
    """Build a predictor from a checkpoint, by the family that the checkpoint names.

    Raises
    ------
    CheckpointError
        No installed package knows the family.
    """
    name = family_of(path)
    if name not in families():
        raise CheckpointError(
            f"{path} is a checkpoint of family {name!r}; the installed families are "
            f"{', '.join(families())}. Install the package that adds this family."
        )
    return families()[name].load(path, device)


def family_of(path: Path) -> str:
    """Return the family that a checkpoint names.

    Official checkpoints, and those saved before families had names, are OmniMouse's.
    """
    described = [path] if path.suffix == ".json" else [path.with_suffix(".json")]
    if path.is_dir():
        described = sorted(path.glob("*.json"))
    for file in described:
        try:
            facts = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # the loader of the family says what is wrong with the file
        if isinstance(facts, dict) and isinstance(facts.get("family"), str):
            return str(facts["family"])
    return OMNIMOUSE_FAMILY


def _omnimouse() -> Family:
    def load(path: Path, device: str) -> Predictor:
        from omnimouse_model.predict.omnimouse.loading import load_checkpoint_predictor

        return load_checkpoint_predictor(path, device=device)

    def demo(device: str) -> Predictor:
        from omnimouse_model.predict.omnimouse.loading import load_demo

        return load_demo(device=device)

    return Family(OMNIMOUSE_FAMILY, load, {"demo": demo})


def _baselines() -> Family:
    def load(path: Path, device: str) -> Predictor:
        raise CheckpointError(f"{path}: baselines are fitted, they have no checkpoint.")

    def build(name: str, device: str) -> Predictor:
        # numpy alone: baselines compute on the CPU
        from omnimouse_model.predict.baselines.predictor import naive_predictor

        return naive_predictor(name)

    return Family("baseline", load, {name: partial(build, name) for name in NAIVE})
