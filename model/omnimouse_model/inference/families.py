"""Families of models: the names and checkpoints from which each builds predictors.

Another package adds a family through an entry point of the group `omnimouse.families`
that names a `Family`. Nothing in this repository changes for that:

    [project.entry-points."omnimouse.families"]
    twin = "my_package.twin:FAMILY"
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path

from omnimouse_model.data.window_spec import default_spec
from omnimouse_model.errors import CheckpointError, SessionFormatError
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.storage.trees import read_json

GROUP = "omnimouse.families"
OMNIMOUSE_FAMILY = "omnimouse"
TWIN_FAMILY = "twin"
NDT_FAMILY = "ndt"
RELEASED_TWIN = "params_core.pt"
"""File by which a folder of released digital twins is recognised."""
BASELINES = (
    *("mean", "last", "interpolation", "ridge", "context-ridge", "video-ridge"),
    "linear-gaussian",
)
"""Predictors that are fitted to a session, from the simplest to the best."""
Build = Callable[[str], Predictor]
"""Function from a device to a predictor."""

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
    names: Mapping[str, Build] = field(default_factory=dict)


# Cached: reading the entry points of all installed packages takes milliseconds.
@cache
def families() -> Mapping[str, Family]:
    """Return all families by name: those of this package, then entry points.

    An entry point that cannot be imported is left out with a warning, so that a broken
    package does not take the other families away.
    """
    own = (_omnimouse(), _twin(), _ndt(), _factorised(), _baselines())
    registered = {family.name: family for family in own}
    for point in entry_points(group=GROUP):
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
            f"{path} is a checkpoint of family {name[:80]!r}; the installed families "
            f"are {', '.join(families())}. Install the package that adds this family."
        )
    return families()[name].load(path, device)


def family_of(path: Path) -> str:
    """Return the family that a checkpoint names.

    Official checkpoints, and those saved before families had names, are OmniMouse's.
    """
    if (path / RELEASED_TWIN).is_file():
        return TWIN_FAMILY
    descriptions = sorted(path.glob("*.json"))
    if not path.is_dir():
        descriptions = [path.with_suffix(".json")]
    for file in descriptions:
        try:
            description = read_json(file)
        except SessionFormatError:
            continue  # the loader of the family reports what is wrong with the file
        if isinstance(description, dict) and isinstance(description.get("family"), str):
            return str(description["family"])
    return OMNIMOUSE_FAMILY


# -- the families of this package -----------------------------------------------------
# They import their code when a predictor is built: torch alone takes seconds.


def _omnimouse() -> Family:
    def load(path: Path, device: str) -> Predictor:
        from omnimouse_model.families.omnimouse.loading import load_checkpoint_predictor

        return load_checkpoint_predictor(path, device=device)

    def load_demo(device: str) -> Predictor:
        from omnimouse_model.families.omnimouse.checkpoint import DEMO

        return load(DEMO, device)

    def load_plain_demo(device: str) -> Predictor:
        from omnimouse_model.families.omnimouse.checkpoint import DEMO
        from omnimouse_model.families.omnimouse.loading import load_checkpoint_predictor

        return load_checkpoint_predictor(DEMO, device=device, name="demo-plain", with_context=False)

    names = {"demo": load_demo, "demo-plain": load_plain_demo}
    return Family(OMNIMOUSE_FAMILY, load, names)


def _twin() -> Family:
    def load(path: Path, device: str) -> Predictor:
        from omnimouse_model.families.twin.predictor import load_twin

        return load_twin(path, device)

    def load_demo(device: str) -> Predictor:
        from omnimouse_model.families.twin.checkpoint import TWIN_CHECKPOINT
        from omnimouse_model.families.twin.predictor import load_twin

        return load_twin(TWIN_CHECKPOINT, device, "twin-demo")

    return Family(TWIN_FAMILY, load, {"twin-demo": load_demo})


def _ndt() -> Family:
    def load(path: Path, device: str) -> Predictor:
        from omnimouse_model.families.ndt.predictor import load_ndt

        return load_ndt(path, device)

    def load_demo(device: str) -> Predictor:
        from omnimouse_model.families.ndt.checkpoint import NDT_CHECKPOINT

        return load(NDT_CHECKPOINT, device)

    return Family(NDT_FAMILY, load, {"ndt-demo": load_demo})


def _factorised() -> Family:
    def load(path: Path, device: str) -> Predictor:
        from omnimouse_model.families.sensorium_factorised.checkpoint import load_factorised

        return load_factorised(path, device)

    return Family("sensorium_factorised", load)


def _baselines() -> Family:
    def load(path: Path, device: str) -> Predictor:
        raise CheckpointError(f"{path}: baselines are fitted, they have no checkpoint.")

    def build(name: str, device: str) -> Predictor:
        # The device is ignored: baselines use numpy alone.
        from omnimouse_model.families.classical.predictor import naive_predictor
        from omnimouse_model.families.parts.linear_gaussian.predictor import LinearGaussian

        spec = default_spec()
        is_gaussian = name == LinearGaussian.name
        return LinearGaussian(spec) if is_gaussian else naive_predictor(name, spec)

    return Family("baseline", load, {name: partial(build, name) for name in BASELINES})
