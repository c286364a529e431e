"""Configuration of a training of neural data transformers, read from one YAML file."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from omnimouse_model.data.window_spec import WindowSpec, spec_from_dict
from omnimouse_model.masks.schemes import RATIO, SCHEMES
from omnimouse_model.nets.ndt.network import PROMPTS, NdtConfig
from omnimouse_model.predict.ndt.predictor import TRIALS
from omnimouse_model.train.config import (
    SessionChoice,
    check_counts,
    checked_fields,
    read_fields,
    session_choices,
)
from omnimouse_model.train.ndt.optimiser import LR, WEIGHT_DECAY

FAMILY = "ndt"
Trained = Literal["all", "stitchers"]


@dataclass(frozen=True, slots=True)
class NdtTrainConfig:
    """All settings of a training; the defaults are those of Jiang et al. 2025.

    Attributes
    ----------
    seed
        Seed of start values, order of trials, masks and dropout.
    model
        Sizes of the network.
    spec
        Trials: duration, bins per second, and start relative to the onset.
    sessions
        Sessions to train on. Each is visited in proportion to its number of batches;
        weights are not read.
    schemes
        Masking schemes, of which each batch has one.
    ratio, causal_ratio
        Share of neurons, and of bins under "causal", that are hidden.
    allow_degenerate
        Use "inter-region" for sessions with one region, too, where it hides everything.
    batch
        Trials of one session per step.
    epochs, steps
        The run ends after so many passes over all trials, or after so many steps, if
        they are given.
    lr, weight_decay, clip
        Highest rate of the cycle; weight decay of all parameters; largest norm of the
        gradient, None for no limit.
    reduction
        Loss of a batch: the mean over its targets, or their sum, as in the public code.
    trained
        "all", or the stitchers of the sessions alone, on a frozen transformer.
    mean_rates
        Initialise the biases of the readout from the mean rates of the neurons.
    validate_every, validation_trials, patience
        Steps between validations; trials of each session; steps without a better score
        after which the run ends.
    save_every, save_every_s
        Steps, and seconds, between saves.
    notes
        `renames`: key of a session -> key of another recording of the same neurons.
    """

    seed: int
    model: NdtConfig = field(default_factory=NdtConfig)
    spec: WindowSpec = TRIALS
    sessions: tuple[SessionChoice, ...] = ()
    schemes: tuple[str, ...] = PROMPTS
    ratio: float = RATIO
    causal_ratio: float = RATIO
    allow_degenerate: bool = False
    batch: int = 16
    epochs: int = 1000
    steps: int | None = None
    lr: float = LR
    weight_decay: float = WEIGHT_DECAY
    clip: float | None = 1.0
    reduction: Literal["mean", "sum"] = "mean"
    trained: Trained = "all"
    mean_rates: bool = False
    validate_every: int = 500
    validation_trials: int | None = 48
    patience: int | None = None
    save_every: int | None = None
    save_every_s: float | None = 120.0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def total_steps(self) -> int:
        """Number of steps; 0 as long as epochs are not counted (`run.with_steps`)."""
        return self.steps or 0

    def ratio_of(self, scheme: str) -> float:
        """Return the share that a scheme hides."""
        return self.causal_ratio if scheme == "causal" else self.ratio


def read_ndt_config(path: Path) -> NdtTrainConfig:
    """Read a training config of neural data transformers from a YAML file.

    Raises
    ------
    ValueError
        The file is not YAML, or a field is unknown, missing or out of range; the
        message names the field.
    """
    values = read_fields(path)
    try:
        return _config(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a training config: {error}") from error


def _config(values: Any) -> NdtTrainConfig:
    if isinstance(values, dict):
        values = {k: v for k, v in values.items() if k != "family"}
    settings = checked_fields(NdtTrainConfig, values, "the file")
    model = checked_fields(NdtConfig, settings.pop("model", {}), "model")
    trials = settings.pop("spec", {})
    if not isinstance(trials, dict):
        raise TypeError("spec must hold named fields")
    choices = session_choices(settings.pop("sessions", ()))
    config = NdtTrainConfig(
        model=NdtConfig(**model),
        spec=spec_from_dict(asdict(TRIALS) | trials),
        sessions=choices,
        **settings,
    )
    check_counts(
        config,
        ("batch", "epochs", "validate_every"),
        ("steps", "validation_trials", "patience", "save_every"),
    )
    if config.spec.n_samples > config.model.n_bins:
        raise TypeError(
            f"spec has {config.spec.n_samples} bins; model.n_bins is {config.model.n_bins}"
        )
    known = PROMPTS if config.model.has_prompt else SCHEMES
    if not config.schemes or not set(config.schemes) <= set(known):
        raise TypeError(f"schemes are {config.schemes}; choose of {known}")
    for name in ("ratio", "causal_ratio"):
        if not 0 < getattr(config, name) <= 1:
            raise TypeError(f"{name} is {getattr(config, name)}; expected 0 to 1")
    return config
