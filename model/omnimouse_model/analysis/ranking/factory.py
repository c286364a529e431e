"""Models of any family from one config: training on sessions, transfer to others.

This is what a ranking of sessions (`om.rank_sessions`) needs of a family.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.finetune.run import is_finished, transferred
from omnimouse_model.analysis.fit import train_plan
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.inference.families import (
    TrainingPlan,
    families,
    load_of_family,
    training_plan,
)
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import CallbackJob, Job
from omnimouse_model.storage.trees import decode_json
from omnimouse_model.storage.write import write_json
from omnimouse_model.training.config import SHARED

TRAINED = "trained.json"
"""File in the folder of a training that is complete."""


@dataclass(frozen=True, slots=True)
class ModelFactory:
    """Trains models of one config, and transfers their frozen cores (`Factory`).

    Attributes
    ----------
    plan
        Config of a family; its seed and sessions are not used. One that counts epochs
        trains longer on more sessions, one that counts steps equally long.
    transfer_settings
        Options of a transfer, which is a fine-tuning of the parameters of the session
        (`om.finetune`).
    device
        Where models are trained.
    """

    plan: TrainingPlan
    transfer_settings: Mapping[str, Any]
    device: str = "auto"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Family and config, as JSON values; with defaults, which may change."""
        config, values = self.plan.config, dict(self.plan.settings.tree)
        if is_dataclass(config) and not isinstance(config, type):
            values = {k: v for k, v in asdict(config).items() if k not in SHARED}
        # Scores of earlier versions have the name of the class, where a family has its own.
        kind = type(config)
        family = kind.__name__ if self.plan.family in kind.__module__.split(".") else ""
        # Tuples become lists, as in a file.
        text = json.dumps(values, default=str)
        return {"family": family or self.plan.family, "config": decode_json(text, "the config")}

    @property
    def spec(self) -> WindowSpec:
        """Windows of the models."""
        return self.plan.spec

    def pretrain(self, sessions: Sequence[Session], seed: int, out: Path, job: Job) -> Predictor:
        """Train a model on sessions, or resume, and return its best weights."""
        if (out / TRAINED).exists():
            return load_of_family(out, self.device)
        settings = replace(self.plan.settings, seed=seed, sessions=(), is_replaced=True)
        job = CallbackJob(job.progress, job.cancelled, job.message, self.device)
        trained = train_plan(replace(self.plan, settings=settings), sessions, out, job)
        write_json(out / TRAINED, {"sessions": [s.id for s in sessions], "seed": seed})
        return trained

    def transfer(
        self, model: Predictor, session: Session, seed: int, out: Path, job: Job
    ) -> Predictor:
        """Fit the parts of a new session on the frozen core of a model."""
        # A fine-tuning that is called again writes its result anew, which can take minutes.
        if is_finished(out):
            return load_of_family(out, self.device)
        options: dict[str, Any] = dict(self.transfer_settings)
        if "seed" in _options(self.plan.family):
            options["seed"] = seed
        return transferred(model, session, out, self.device, lambda step, row: None, job, options)


def model_factory(
    config: str | Path,
    *,
    transfer_steps: int | None = None,
    transfer_batch: int | None = None,
    device: str = "auto",
) -> ModelFactory:
    """Return a factory of models of one config, for `rank_sessions`.

    Examples
    --------
    >>> factory = om.model_factory("ndt-jiang", transfer_steps=100)
    >>> factory.spec.n_samples, factory.spec.metric
    (150, 'bits_per_spike')

    Parameters
    ----------
    config
        Name of a shipped config, or a YAML file. For neural data transformers,
        `schemes: [causal]` trains forward prediction alone, as in the paper's ranking.
    transfer_steps, transfer_batch
        Steps and windows per step of a transfer; by default those of the family.
    device
        See `ModelFactory`.

    Raises
    ------
    ValueError
        There is no such config, its family has no transfer, or a field is wrong; the
        message names it. `targets` must be "responses": sessions of a ranking come
        without ground truth.
    """
    plan = training_plan(config)
    _check_targets(plan.settings.tree)
    known = _options(plan.family)
    wanted = {"steps": transfer_steps, "batch": transfer_batch}
    if unknown := [name for name, value in wanted.items() if value and name not in known]:
        raise ValueError(f"A transfer of {plan.family} has no option {', '.join(unknown)}.")
    settings = {k: known[k] if v is None else v for k, v in wanted.items() if k in known}
    return ModelFactory(plan, settings, device)


def _options(family: str) -> Mapping[str, Any]:
    """Return the options of a family's transfer, with their defaults."""
    transfer = families()[family].transfer
    if transfer is None:
        raise ValueError(f"{families()[family].label} has no transfer, which a ranking needs.")
    options = transfer.options()
    return {one.name: getattr(options, one.name) for one in fields(options)}


def _check_targets(tree: Mapping[str, Any]) -> None:
    """Refuse a config that trains on the rates of a simulator (`ValueError`)."""
    for name, value in tree.items():
        inner = value if isinstance(value, list) else [value]
        for part in inner:
            if isinstance(part, Mapping):
                _check_targets(part)
        if name == "targets" and value == "truth":
            raise ValueError(
                "targets is 'truth'; expected 'responses', since a ranking trains on what "
                "was recorded."
            )
