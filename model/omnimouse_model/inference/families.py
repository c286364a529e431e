"""Families of models: the names and checkpoints from which each builds predictors.

Another package adds a family through an entry point of the group `omnimouse.families`
that names a `Family`. Nothing in this repository changes for that:

    [project.entry-points."omnimouse.families"]
    twin = "my_package.twin:FAMILY"
"""

import logging
import re
import sys
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import CheckpointError
from omnimouse_model.extras import named_extras
from omnimouse_model.own_families import family_points
from omnimouse_model.predict.compatibility import FALLBACK
from omnimouse_model.predict.family import Build, Description, Family, Training, stated_family
from omnimouse_model.predict.predictor import Needs, Predictor, of_family
from omnimouse_model.storage.trees import read_yaml_mapping
from omnimouse_model.training.config import RunSettings, run_record, shipped_or_own

_log = logging.getLogger(__name__)
_SMALL = "-small"
"""End of the names of configs for one recording."""


# Cached: reading the entry points of all installed packages takes milliseconds.
@cache
def families() -> Mapping[str, Family]:
    """Return all families by name: those of this package, then entry points.

    A family that cannot be imported is left out with a warning, so that a broken package
    does not take the other families away.
    """
    registered: dict[str, Family] = {}
    for point in family_points():
        try:
            family = point.load()
        except (Exception, SystemExit) as error:  # foreign code fails in many ways
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
            by_name.setdefault(name, partial(_built_by, family.name, name, build))
    return by_name


def _built_by(family: str, name: str, build: Build, device: str) -> Predictor:
    predictor = built(name, build, device)
    # Shipped weights lie beside the code of their family.
    code = sys.modules[type(predictor).__module__].__file__
    weights = Path(code or "").with_name(f"{name}.safetensors")
    return remember(predictor, family, weights if weights.is_file() else None)


def baseline_names() -> tuple[str, ...]:
    """Return the predictors that are fitted to a session, from the simplest to the best."""
    return next((tuple(one.names) for one in families().values() if FALLBACK in one.names), ())


def load_of_family(path: Path, device: str) -> Predictor:
    """Build a predictor from a checkpoint, by the family that recognises it.

    Of the folder of a run, the best weights are loaded, else the last.

    Raises
    ------
    CheckpointError
        No installed package knows the family.
    """
    family = _known_family(path)
    predictor = built(str(path), family.load, _weights_of(path), device)
    return remember(predictor, family.name, path)


def built(name: str, build: Callable[..., Predictor], *arguments: object) -> Predictor:
    """Return what a family builds, if it is a predictor."""
    with of_family(name):
        predictor = build(*arguments)
        is_sound = isinstance(predictor, Predictor) and isinstance(predictor.needs, Needs)
        is_sound = is_sound and isinstance(predictor.predictor_id, str)
    if not is_sound:
        found = type(predictor).__name__
        raise CheckpointError(f"{name}: its family gives a {found}, no predictor with its needs.")
    return predictor


def _weights_of(path: Path) -> Path:
    """Return the weights in the folder of a training; other paths as they are."""
    # Imported here: it imports torch, and a window lists families before it needs any.
    from omnimouse_model.predict.checkpoint_file import ABOUT, FINISHED, checkpoint_file

    # A fine-tuning, also an unfinished one, is named by its folder, and a file can be of
    # any kind.
    found = checkpoint_file(path) if path.is_dir() else path
    is_named = found.name == FINISHED or (path / ABOUT).is_file()
    return path if is_named else found


def describe(path: Path) -> tuple[Family, Description]:
    """Return the family of a checkpoint, and what it says of it.

    Raises
    ------
    CheckpointError
        No installed package knows the family, or a file is damaged.
    """
    family, weights = _known_family(path), _weights_of(path)
    with named_extras(family.name):
        return family, family.describe(weights)


def _known_family(path: Path) -> Family:
    name = family_of(path)
    if name not in families():
        raise CheckpointError(
            f"{path} is a checkpoint of family {name[:80]!r}; the installed families "
            f"are {', '.join(families())}. Install the package that adds this family."
        )
    return families()[name]


def family_of(path: Path) -> str:
    """Return the family that recognises a checkpoint, else the one that it names."""
    # The last one first: OmniMouse, the first, takes files that name no family.
    for family in reversed(tuple(families().values())):
        if family.recognises(path):
            return family.name
    return stated_family(path)


def converted(source: Path, path: Path) -> None:
    """Write weights in the official layout of a family as a checkpoint.

    Raises
    ------
    CheckpointError
        The family has no such layout, or the files are damaged.
    """
    family = _known_family(source)
    if family.export is None:
        raise CheckpointError(f"{source}: {family.title} has no official layout of weights.")
    family.export(source, path)


# -- the family of a predictor ---------------------------------------------------------
_built: dict[int, tuple[weakref.ref[Predictor], str, Path | None]] = {}


def remember(predictor: Predictor, family: str, source: Path | None = None) -> Predictor:
    """Return a predictor that a family has built, from a file or the folder of a run."""
    with suppress(TypeError):  # a class without weak references is known by its module
        key = id(predictor)
        _built[key] = (weakref.ref(predictor, lambda _: _built.pop(key, None)), family, source)
    return predictor


def source_of_predictor(predictor: Predictor) -> Path | None:
    """Return the file, or the folder of a run, from which a predictor was built."""
    reference, _, source = _built.get(id(predictor), (None, "", None))
    return source if reference is not None and reference() is predictor else None


def family_of_predictor(predictor: Predictor) -> Family | None:
    """Return the family that has built a predictor; None for one of no family."""
    reference, name, _ = _built.get(id(predictor), (None, "", None))
    if reference is not None and reference() is predictor:
        return families().get(name)
    # Built by a constructor: its code lies in the package of the family, or beside it.
    known, module = families(), type(predictor).__module__
    for point in family_points():
        code = sys.modules.get(point.module)
        folder = point.module if hasattr(code, "__path__") else point.module.rpartition(".")[0]
        if code is not None and f"{module}.".startswith(f"{folder or point.module}."):
            return next((f for f in known.values() if f is point.load()), None)
    return None


def weights_in(predictor: Predictor) -> str:
    """Return the hash at the end of a predictor's id: a file can be renamed or moved."""
    found = re.search(r"[@(]([0-9a-f]+)\)?$", predictor.predictor_id)
    return predictor.predictor_id if found is None else found[1]


def family_of_name(name: str) -> Family | None:
    """Return the family of a predictor's name, file or folder; None if it has none."""
    for family in families().values():
        if name in family.names:
            return family
    try:
        path = Path(name)
        return families().get(family_of(path)) if name and path.exists() else None
    except OSError:  # a name that is too long for a path
        return None


# -- training configs ------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """A training config that was read: what a family trains, and how.

    Attributes
    ----------
    settings
        Fields that all families share, and the tree of the family.
    config
        The frozen config that the family has read.
    """

    family: str
    settings: RunSettings
    config: Any

    @property
    def training(self) -> Training:
        """The training of the family."""
        training = families()[self.family].training
        assert training is not None  # `training_plan` refuses a family without one
        return training

    @property
    def spec(self) -> WindowSpec:
        """Windows of the models that are trained."""
        return self.training.spec(self.config)


def config_path(name: str) -> Path:
    """Return the path of a shipped training config by name, or the given path.

    Raises
    ------
    ValueError
        Neither is a file; the message lists the shipped configs.
    """
    trainings = [one.training for one in families().values() if one.training is not None]
    shipped = {k: path for training in reversed(trainings) for k, path in training.configs.items()}
    return shipped_or_own(name, shipped, "training config")


def config_of_run(source: Path, family: Family) -> str:
    """Return the shipped config with which a run was started, "" for other settings.

    Parameters
    ----------
    source
        Folder of the run, or weights in it.
    """
    started = run_record(source if source.is_dir() else source.parent).tree
    for name, path in (family.training.configs if family.training else {}).items():
        if started == RunSettings.of(read_yaml_mapping(path)).tree:
            return name
    return ""


@cache
def fit_names() -> Mapping[str, Family]:
    """Return the models that `om.fit` trains on one recording, by name, and their families.

    Not those of which weights are shipped under their names.
    """
    found: dict[str, Family] = {}
    for family in families().values():
        for config in family.training.configs if family.training else ():
            name = config.removesuffix(_SMALL).replace("_", "-")
            if config.endswith(_SMALL) and name not in builders():
                found.setdefault(name, family)
    return found


def small_config(name: str) -> Path | None:
    """Return the config with which `om.fit` trains a family or one of its models.

    It is shipped under the name `NAME-small`; None for other names.
    """
    small = {f"{name}{_SMALL}", f"{name.replace('-', '_')}{_SMALL}"}
    for family in families().values():
        for config, path in (family.training.configs if family.training else {}).items():
            if config in small:
                return path
    return None


def training_plan(config: str | Path, changes: Mapping[str, Any] | None = None) -> TrainingPlan:
    """Read a training config by the family that it names.

    Parameters
    ----------
    config
        Name of a shipped config, or a YAML file.
    changes
        Values that replace keys of the file.

    Raises
    ------
    ValueError
        There is no such config, its family trains nothing, or a field is wrong.
    """
    path = config_path(str(config))
    try:
        return plan_of({**read_yaml_mapping(path), **(changes or {})})
    except ValueError as error:
        raise ValueError(f"{path} is not a training config: {error}") from error


def plan_of(values: Mapping[str, Any]) -> TrainingPlan:
    """Return the plan of a parsed training config; see `training_plan`."""
    settings = RunSettings.of(values)
    # Configs were of the first family before they named one.
    name = settings.family or next(iter(families()))
    family = families().get(name)
    if family is None or family.training is None:
        able = ", ".join(k for k, one in families().items() if one.training is not None)
        raise ValueError(f"family is {name[:80]!r}; those that train are {able}")
    return TrainingPlan(name, settings, family.training.read(settings.tree))
