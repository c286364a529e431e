"""Plan of a scaling study: models, collections, orders and seeds, from one YAML file.

The plan also contains a training config (`config`), shared by all model sizes.
"""

from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
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
    """Plan of a scaling study.

    Every combination of models, collections, orders and seeds is one run.

    Attributes
    ----------
    models
        Name of a size -> model, as in a training config.
    collections
        Number of sessions in each nested collection.
    sessions
        Simulated mice, sessions or folders of sessions, from which collections are
        drawn.
    evaluated
        Ids or folder names of the sessions that are scored; they are in every
        collection.
    strategies
        Conditions in which every run is scored.
    training
        A training config without seed, model and sessions.
    orders, seeds
        Seeds of the order in which sessions are drawn, and of start values and batches.
    steps_of
        "the run": a phase has the same number of steps for all collections, so all
        cost the same. "each session": the steps are multiplied by the number of
        sessions, so each session is seen equally often and larger collections cost
        more.
    tier, max_windows
        Tier and maximum number of windows that are scored; None for all windows.
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
        """Return the training config of a size; `TypeError` names a wrong field."""
        # Seed 0 is a placeholder: each run of the study has its own.
        return config_from({**self.training, "seed": 0, "model": self.models[model]})


def read_plan(path: str | Path) -> StudyPlan:
    """Read the plan of a scaling study from a YAML file.

    Raises
    ------
    ValueError
        The file is not YAML, or a field is unknown, missing or wrong; the message names
        the field.
    """
    path = Path(path)
    try:
        settings = checked_fields(StudyPlan, yaml_fields(path), "the file")
        _check_kinds(settings)
        plan = StudyPlan(**settings)
        # Names and models are checked here, and not after hours of training.
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
    """Return the path of a shipped plan by name, or the given path.

    Raises
    ------
    ValueError
        Neither is a file; the message lists the shipped plans.
    """
    return shipped_or_own(name, _PLANS, "plan of a scaling study")


def _check_kinds(settings: dict[str, Any]) -> None:
    """Check the types of lists, whole numbers and mappings in a plan."""
    for name in (*_LISTS, *_NUMBERS):
        values = settings.get(name, (0,))
        found = shortened(values)
        if not isinstance(values, tuple) or not values:
            raise TypeError(f"{name} must be a list of one or more, found {found}")
        if name in _NUMBERS and not all(isinstance(v, int) for v in values):
            raise TypeError(f"{name} must be whole numbers, found {found}")
    for name in ("models", "training"):
        if not isinstance(settings[name], dict) or not settings[name]:
            raise TypeError(f"{name} must hold named fields, found {shortened(settings[name])}")
    if own := {"seed", "model", "sessions"} & set(settings["training"]):
        raise TypeError(f"training holds {', '.join(sorted(own))}, which vary")
