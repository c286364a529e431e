"""Models of any family from one config: training on sessions, transfer to others.

This is what a ranking of sessions (`om.rank_sessions`) needs of a family.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.finetune.run import BATCH, STEPS, finetune, is_finished
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.families.ndt.training import train_ndt, with_steps
from omnimouse_model.families.ndt.training_config import NdtTrainConfig, read_ndt_config
from omnimouse_model.families.ndt.trials import trial_session
from omnimouse_model.families.omnimouse.training import train, with_epochs
from omnimouse_model.families.omnimouse.training_config import TrainConfig, read_config
from omnimouse_model.families.twin.predictor import twin_spec
from omnimouse_model.families.twin.training import train_twins
from omnimouse_model.families.twin.training_config import TwinTrainConfig, read_twin_config
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import Job
from omnimouse_model.storage.trees import decode_json
from omnimouse_model.storage.write import write_json
from omnimouse_model.training.checkpoints import best_or_last
from omnimouse_model.training.config import config_path, family_of_config
from omnimouse_model.training.distributed import Team
from omnimouse_model.training.sessions import training_session

Config = NdtTrainConfig | TwinTrainConfig | TrainConfig
TRAINED = "trained.json"
"""File in the folder of a training that is complete."""
_OWN = ("seed", "sessions", "save_every", "save_every_s", "notes")
"""Fields of a config that the ranking sets, or on which no model depends."""
_READERS: Mapping[str, Callable[[Path], Config]] = {
    "ndt": read_ndt_config,
    "twin": read_twin_config,
}


@dataclass(frozen=True, slots=True)
class ModelFactory:
    """Trains models of one config, and transfers their frozen cores (`Factory`).

    Attributes
    ----------
    config
        Config of a family; its seed and sessions are not used. One that counts epochs
        trains longer on more sessions, one that counts steps equally long.
    transfer_steps, transfer_batch
        Steps and windows per step of a transfer, which is a fine-tuning of the
        parameters of the session (`om.finetune`).
    device
        Where models are trained.
    """

    config: Config
    transfer_steps: int = STEPS
    transfer_batch: int = BATCH
    device: str = "auto"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Family and config, as JSON values."""
        fields = {k: v for k, v in asdict(self.config).items() if k not in _OWN}
        return {
            "family": type(self.config).__name__,
            # Tuples become lists, as in a file.
            "config": decode_json(json.dumps(fields), "the config"),
        }

    @property
    def transfer_settings(self) -> Mapping[str, Any]:
        """Steps and batch of a transfer."""
        return {"steps": self.transfer_steps, "batch": self.transfer_batch}

    @property
    def spec(self) -> WindowSpec:
        """Windows of the models."""
        if isinstance(self.config, NdtTrainConfig):
            return self.config.spec
        if isinstance(self.config, TwinTrainConfig):
            return twin_spec(*self.config.frame_size)
        return default_spec()

    def pretrain(self, sessions: Sequence[Session], seed: int, out: Path, job: Job) -> Predictor:
        """Train a model on sessions, and return its best weights."""
        if not (out / TRAINED).exists():
            self._train(sessions, seed, out, job)
            write_json(out / TRAINED, {"sessions": [s.id for s in sessions], "seed": seed})
        return load_predictor(best_or_last(out), device=self.device)

    def transfer(
        self, model: Predictor, session: Session, seed: int, out: Path, job: Job
    ) -> Predictor:
        """Fit the parts of a new session on the frozen core of a model."""
        if is_finished(out):
            return load_predictor(out, device=self.device)
        return finetune(
            model,
            session,
            out,
            steps=self.transfer_steps,
            batch=self.transfer_batch,
            seed=seed,
            device=self.device,
            job=job,
        )

    def _train(self, sessions: Sequence[Session], seed: int, out: Path, job: Job) -> None:
        """Start or resume the training of the family."""
        config = replace(self.config, seed=seed, sessions=())
        if isinstance(config, NdtTrainConfig):
            sources = [trial_session(session, config.spec) for session in sessions]
            config = with_steps(config, sources)
        else:
            sources = [training_session(session) for session in sessions]
        if isinstance(config, TrainConfig):
            config = with_epochs(config, sources, Team())
        options: dict[str, Any] = {"device": resolve_device(self.device), "job": job}
        if isinstance(config, NdtTrainConfig):
            train_ndt(config, sources, out, **options)
        elif isinstance(config, TwinTrainConfig):
            train_twins(config, sources, out, **options)
        else:
            train(config, sources, out, **options)


def model_factory(
    config: str | Path | Config,
    *,
    transfer_steps: int = STEPS,
    transfer_batch: int = BATCH,
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
        Name of a shipped config, a YAML file, or a config. For neural data
        transformers, `schemes: [causal]` trains forward prediction alone, as in the
        paper's ranking.
    transfer_steps, transfer_batch, device
        See `ModelFactory`.

    Raises
    ------
    ValueError
        There is no such config, or a field is wrong; the message names it. `targets`
        must be "responses": sessions of a ranking come without ground truth.
    """
    if isinstance(config, str | Path):
        path = config_path(str(config))
        config = _READERS.get(family_of_config(path), read_config)(path)
    _check_targets(config)
    return ModelFactory(config, transfer_steps, transfer_batch, device)


def _check_targets(config: Config) -> None:
    """Raise ValueError if a config trains on the rates of a simulator."""
    targets: list[str] = []
    if isinstance(config, TwinTrainConfig):
        targets = [config.targets]
    elif isinstance(config, TrainConfig):
        targets = [phase.targets for phase in config.phases]
    if "truth" in targets:
        raise ValueError(
            "targets is 'truth'; expected 'responses', since a ranking trains on what was recorded."
        )
