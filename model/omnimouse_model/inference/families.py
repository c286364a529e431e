"""Families of models: the names and checkpoints from which each builds predictors.

Another package adds a family through an entry point of the group `omnimouse.families`
that names a `Family`. Nothing in this repository changes for that:

    [project.entry-points."omnimouse.families"]
    twin = "my_package.twin:FAMILY"
"""

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from omnimouse_model.errors import CheckpointError
from omnimouse_model.predict.family import Build, Family, stated_family
from omnimouse_model.predict.predictor import Predictor

GROUP = "omnimouse.families"
OWN = (
    "omnimouse_model.families.omnimouse.family:FAMILY",
    "omnimouse_model.families.twin.family:FAMILY",
    "omnimouse_model.families.ndt.family:FAMILY",
    "omnimouse_model.families.sensorium_factorised.family:FAMILY",
    "omnimouse_model.families.classical.family:FAMILY",
    "omnimouse_model.families.prediction_file.family:FAMILY",
)
"""The families of this package."""
BASELINES = "baseline"
"""Name of the family of predictors that are fitted to one session."""

_log = logging.getLogger(__name__)


def _points() -> Iterator[EntryPoint]:
    for place in OWN:
        yield EntryPoint(place.split(".")[2], place, GROUP)
    yield from entry_points(group=GROUP)


# Cached: reading the entry points of all installed packages takes milliseconds.
@cache
def families() -> Mapping[str, Family]:
    """Return all families by name: those of this package, then entry points.

    A family that cannot be imported is left out with a warning, so that a broken package
    does not take the other families away.
    """
    registered: dict[str, Family] = {}
    for point in _points():
        try:
            family = point.load()
        except Exception as error:  # foreign code fails in many ways
            _log.warning("Family %s (%s) is left out: %r", point.name, point, error)
            continue
        # The first family of a name stays: a package must not replace OmniMouse.
        if not isinstance(family, Family) or family.name in registered:
            _log.warning(
                "Family %s is left out: %s is not a Family with a name of its own.",
                point.name,
                point.value,
            )
            continue
        registered[family.name] = family
    return registered


def builders() -> dict[str, Build]:
    """Return the predictors that need no file, by name, of all families."""
    by_name: dict[str, Build] = {}
    for family in families().values():
        for name, build in family.names.items():
            # The first family that has a name keeps it, as for the families themselves.
            by_name.setdefault(name, build)
    return by_name


def baseline_names() -> tuple[str, ...]:
    """Return the predictors that are fitted to a session, from the simplest to the best."""
    family = families().get(BASELINES)
    return () if family is None else tuple(family.names)


def load_of_family(path: Path, device: str) -> Predictor:
    """Build a predictor from a checkpoint, by the family that recognises it.

    Raises
    ------
    CheckpointError
        No installed package knows the family.
    """
    name = family_of(path)
    if name not in families():
        raise CheckpointError(
            f"{path} is a checkpoint of family {name[:80]!r}; the installed families "
            f"are {', '.join(families())}. Install the package that adds this family."
        )
    return families()[name].load(path, device)


def family_of(path: Path) -> str:
    """Return the family that recognises a checkpoint, else the one that it names."""
    # The last one first: OmniMouse, the first, takes files that name no family.
    for family in reversed(tuple(families().values())):
        if family.owns(path):
            return family.name
    return stated_family(path)
