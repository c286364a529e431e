"""A scaling study as data: which models, collections, orders and seeds; one YAML file.

The rest of the file is a training config (`config`), shared by all sizes of model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omnimouse_model.errors import MaskError
from omnimouse_model.strategies import find_strategy
from omnimouse_model.train.config import (
    TrainConfig,
    checked_fields,
    config_from,
    shipped_or_own,
    yaml_fields,
)

StepsOf = Literal["each session", "the run"]
_PLANS = Path(__file__).parent / "plans"
_LISTS = ("sessions", "evaluated", "strategies")
_NUMBERS = ("collections", "orders", "seeds")


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """Every combination of its models, collections, orders and seeds is one run.

    Attributes
    ----------
    models
        Size's name -> model, as in a training config.
    collections
        Sessions in each nested collection.
    sessions
        What they are drawn from: simulated mice, sessions, folders of sessions.
    evaluated
        Of them, by id or name of the folder: in every collection, and the only ones
        that are scored.
    strategies
        Conditions that every run is scored in.
    training
        A training config without seed, model and sessions.
    orders, seeds
        Of how sessions are drawn, and of start values and batches.
    steps_of
        Whose steps a phase's are: "the run"'s, so that all collections cost the same;
        or those of "each session" of the collection, so that all sessions are seen as
        often and larger collections cost more.
    tier, max_windows
        What is scored; None for all windows.
    """

    models: dict[str, Any]  # what YAML holds, until `config_of` checks it
    collections: tuple[int, ...]
    sessions: tuple[str, ...]
    evaluated: tuple[str, ...]
    strategies: tuple[str, ...]
    training: dict[str, Any]
    orders: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0,)
    steps_of: StepsOf = "the run"
    tier: str = "test"
    max_windows: int | None = None

    def config_of(self, model: str) -> TrainConfig:
        """The training config of a size; `TypeError` names a field that is wrong."""
        return config_from({**self.training, "seed": 0, "model": self.models[model]})


def read_plan(path: str | Path) -> StudyPlan:
    """Read a study's YAML.

    Raises
    ------
    ValueError
        No YAML, or a field that is unknown, missing or wrong, by name.
    """
    path = Path(path)
    try:
        given = checked_fields(StudyPlan, yaml_fields(path), "the file")
        _check_kinds(given)
        plan = StudyPlan(**given)
        for strategy in plan.strategies:
            find_strategy(strategy)
        for model in plan.models:
            plan.config_of(model)
    except (TypeError, MaskError) as error:
        raise ValueError(
            f"{path} is not the plan of a scaling study: {error}. The shipped one is "
            f"an example: {_PLANS / 'simulated.yaml'}"
        ) from error
    return plan


def plan_path(name: str) -> Path:
    """The file of a shipped plan's name, or the path itself.

    Raises
    ------
    ValueError
        Neither is a file; names the shipped ones.
    """
    return shipped_or_own(name, _PLANS, "plan of a scaling study")


def _check_kinds(given: dict[str, Any]) -> None:
    """Lists, whole numbers and named fields where a plan has them."""
    for name in (*_LISTS, *_NUMBERS):
        values = given.get(name, (0,))
        if not isinstance(values, tuple) or not values:
            raise TypeError(f"{name} must be a list of one or more, found {values!r}")
        if name in _NUMBERS and not all(isinstance(v, int) for v in values):
            raise TypeError(f"{name} must be whole numbers, found {values!r}")
    for name in ("models", "training"):
        if not isinstance(given[name], dict) or not given[name]:
            raise TypeError(f"{name} must hold named fields, found {given[name]!r}")
    if own := {"seed", "model", "sessions"} & set(given["training"]):
        raise TypeError(f"training holds {', '.join(sorted(own))}, which vary")
