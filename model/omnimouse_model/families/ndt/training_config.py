"""Configuration of a training of neural data transformers, read from one YAML file."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.families.ndt.network import CAUSAL, PROMPTS, NdtConfig
from omnimouse_model.families.ndt.predictor import TRIALS
from omnimouse_model.masks.schemes import RATIO, SCHEMES
from omnimouse_model.storage.trees import Within, decode
from omnimouse_model.training.config import ADDED, Count, TrainFields

# -- optimiser and learning rate of the neural data transformer -----------------------
LR = 1e-4
WEIGHT_DECAY = 0.01
EPS = 1e-8
RISE = 0.15
"""Share of the steps over which the rate rises."""
START, END = 10.0, 1e4
"""The first rate is the highest divided by `START`, the last the first by `END`."""


def one_cycle(
    parameters: Iterable[Tensor],
    total_steps: int,
    lr: float = LR,
    weight_decay: float = WEIGHT_DECAY,
) -> tuple[torch.optim.AdamW, OneCycleLR]:
    """Return AdamW, and the schedule that is stepped after each of its steps.

    Weight decay acts on all parameters. The rate rises and falls along a cosine; beta1
    goes from .95 to .85 and back.
    """
    optimiser = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, eps=EPS)
    schedule = OneCycleLR(
        optimiser,
        max_lr=lr,
        total_steps=total_steps,
        pct_start=RISE,
        div_factor=START,
        final_div_factor=END,
    )
    return optimiser, schedule


# -- configuration of a training of neural data transformers --------------------------
Trained = Literal["all", "stitchers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NdtTrainConfig(TrainFields):
    """All settings of a training; the defaults are those of Jiang et al. 2025.

    Each session is visited in proportion to its number of batches; its weight is not read.

    Attributes
    ----------
    model
        Sizes of the network.
    spec
        Trials: duration, bins per second, and start relative to the onset.
    stride_s
        Time between the starts of train windows that are not aligned to trials; None lets
        them follow each other without overlap.
    schemes
        Masking schemes, of which each batch has one.
    ratio, causal_ratio
        Share of neurons, and of bins under "causal", that are hidden.
    horizon
        Fewest and most last bins that "causal" hides, as a forecast does; None hides
        random bins, by `causal_ratio`.
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
    start
        "random" values, or a linear forecast of principal "components".
    validation_trials
        Trials of each session in a validation; None for all.
    """

    model: NdtConfig = field(default_factory=NdtConfig)
    spec: WindowSpec = TRIALS
    stride_s: Annotated[float, Within(0.0, 3600.0)] | None = field(default=None, metadata=ADDED)
    schemes: tuple[str, ...] = PROMPTS
    ratio: float = RATIO
    causal_ratio: float = RATIO
    horizon: tuple[Count, Count] | None = field(default=None, metadata=ADDED)
    allow_degenerate: bool = False
    batch: Count = 16
    epochs: Count = 1000
    steps: Count | None = None
    lr: float = LR
    weight_decay: float = WEIGHT_DECAY
    clip: float | None = 1.0
    reduction: Literal["mean", "sum"] = "mean"
    trained: Trained = "all"
    mean_rates: bool = False
    start: Literal["random", "components"] = field(default="random", metadata=ADDED)
    validate_every: Count = 500
    validation_trials: Count | None = 48

    @property
    def total_steps(self) -> int:
        """Number of steps; 0 as long as epochs are not counted (`run.with_steps`)."""
        return self.steps or 0

    def ratio_of(self, scheme: str) -> float:
        """Return the share that a scheme hides."""
        return self.causal_ratio if scheme == "causal" else self.ratio


def read_ndt_config(tree: Mapping[str, Any]) -> NdtTrainConfig:
    """Return the training config of neural data transformers from a parsed file.

    Raises
    ------
    ValueError
        A field is unknown, missing or out of range; the message names it.
    """
    if isinstance(trials := tree.get("spec", {}), Mapping):
        tree = {**tree, "spec": asdict(TRIALS) | dict(trials)}
    config = decode(NdtTrainConfig, tree, "the file")
    if config.spec.n_samples > config.model.n_bins:
        raise ValueError(
            f"spec has {config.spec.n_samples} bins; model.n_bins is {config.model.n_bins}"
        )
    known = PROMPTS if config.model.has_prompt else SCHEMES
    model = config.model
    if config.start == "components" and (
        model.mult != 1 or model.d_model < model.d_token + 3 or CAUSAL not in config.schemes
    ):
        raise ValueError(
            "start: components needs model.mult 1, a d_model of at least d_token + 3, and the "
            f"scheme {CAUSAL}"
        )
    if not config.schemes or not set(config.schemes) <= set(known):
        raise ValueError(f"schemes are {config.schemes}; choose of {known}")
    if config.horizon and not config.horizon[0] <= config.horizon[1] < config.spec.n_samples:
        raise ValueError(
            f"horizon is {config.horizon}; expected two numbers in order, below the "
            f"{config.spec.n_samples} bins"
        )
    for name in ("ratio", "causal_ratio"):
        if not 0 < getattr(config, name) <= 1:
            raise ValueError(f"{name} is {getattr(config, name)}; expected 0 to 1")
    return config
