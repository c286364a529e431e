"""Plan of a scaling study: models, collections, orders and seeds, from one YAML file.

The plan also contains a training config (`config`), shared by all model sizes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from omnimouse_model.masks.strategies import find_strategy
from omnimouse_model.storage.trees import read_yaml_mapping
from omnimouse_model.storage.typed import Within, decode
from omnimouse_model.train.config import (
    TrainConfig,
    config_from,
    shipped_or_own,
)

StepsOf = Literal["each session", "the run"]
_PLANS = Path(__file__).parent / "plans"
_SOME = Within(1, 10**6)
Names = Annotated[tuple[str, ...], _SOME]
Numbers = Annotated[tuple[int, ...], _SOME]
Fields = Annotated[dict[str, Any], _SOME]
"""What YAML holds, until `config_of` checks it."""


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

    models: Fields
    collections: Numbers
    sessions: Names
    evaluated: Names
    strategies: Names
    training: Fields
    orders: Numbers = (0,)
    seeds: Numbers = (0,)
    steps_of: StepsOf = "the run"
    tier: str = "test"
    max_windows: int | None = None

    def config_of(self, model: str) -> TrainConfig:
        """Return the training config of a size; `ValueError` names a wrong field."""
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
        plan = decode(StudyPlan, read_yaml_mapping(path), "the file")
        if own := {"seed", "model", "sessions"} & set(plan.training):
            raise ValueError(f"training holds {', '.join(sorted(own))}, which vary")
        # Names and models are checked here, and not after hours of training.
        for strategy in plan.strategies:
            find_strategy(strategy)
        for model in plan.models:
            plan.config_of(model)
    except ValueError as error:
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
