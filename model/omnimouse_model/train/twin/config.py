"""Configuration of a training of digital twins, read from one YAML file."""

from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, Literal

from omnimouse_model.nets.twin.config import TwinConfig
from omnimouse_model.nets.twin.network import POSITION_SD
from omnimouse_model.train.config import (
    SessionChoice,
    Targets,
    check_counts,
    checked_fields,
    read_fields,
    session_choices,
)

FAMILY = "twin"
_COUNTS = ("clips", "frames", "cycles", "cycle_epochs", "epoch_steps", "validate_every")
_LIMITS = ("sessions_per_step", "validation_windows", "patience")
"""Counts that may be None, for no limit."""
Start = Literal["center", "receptive-fields"]


@dataclass(frozen=True, slots=True)
class TwinTrainConfig:
    """All settings of a training; the defaults are those of Wang et al. 2025.

    Attributes
    ----------
    seed
        Seed of start values, clips, streams and noise.
    model
        Sizes of the network.
    frame_size
        Height and width in pixels of the frames.
    sessions
        Sessions to train on, with weights by which they are drawn.
    sessions_per_step
        Sessions of one step in each process; None for all.
    clips, frames, burn_in
        Clips of a session per step; frames of a clip at 30 Hz; its first frames that
        have no loss.
    targets
        The noisy "responses", or the exact conditional means of the simulator
        ("truth").
    start
        First positions of the readout: the center of the monitor, or each neuron's
        receptive field by a ridge regression on motion energy.
    position_sd
        First standard deviation of the positions.
    cycles, cycle_epochs, epoch_steps
        Cycles of the learning rate, epochs of a cycle, and steps of an epoch.
    warmup_epochs
        Epochs of the first cycle over which the rate rises.
    lr, momentum, weight_decay, clip, clip_eps
        See `AdaptiveSgd`.
    frozen
        Modules that are not trained, such as "core".
    validate_every, validation_windows, patience
        Steps between validations; windows of each; steps without a better score after
        which the run ends.
    save_every, save_every_s
        Steps, and seconds, between saves.
    notes
        `renames`: key of a session -> key of another recording of the same neurons.
    """

    seed: int
    frame_size: tuple[int, int]
    model: TwinConfig = field(default_factory=TwinConfig)
    sessions: tuple[SessionChoice, ...] = ()
    sessions_per_step: int | None = None
    clips: int = 5
    frames: int = 70
    burn_in: int = 10
    targets: Targets = "responses"
    start: Start = "center"
    position_sd: float = POSITION_SD
    cycles: int = 2
    cycle_epochs: int = 100
    epoch_steps: int = 512
    warmup_epochs: int = 10
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 0.01
    clip_eps: float = 1e-3
    frozen: tuple[str, ...] = ()
    validate_every: int = 512
    validation_windows: int | None = 48
    patience: int | None = None
    save_every: int | None = None
    save_every_s: float | None = 120.0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def total_steps(self) -> int:
        """Number of steps of all cycles."""
        return self.cycles * self.cycle_epochs * self.epoch_steps

    def epoch_of(self, step: int) -> tuple[int, int]:
        """Return the cycle of a step, and the epoch within it."""
        epoch = min(step, self.total_steps - 1) // self.epoch_steps
        return divmod(epoch, self.cycle_epochs)


def read_twin_config(path: Path) -> TwinTrainConfig:
    """Read a training config of twins from a YAML file.

    Raises
    ------
    ValueError
        The file is not YAML, or a field is unknown, missing or of another type; the
        message names the field.
    """
    values = read_fields(path)
    try:
        return _config(values)
    except TypeError as error:
        raise ValueError(f"{path} is not a training config: {error}") from error


def _config(values: Any) -> TwinTrainConfig:
    if isinstance(values, dict):
        values = {k: v for k, v in values.items() if k != "family"}
    settings = checked_fields(TwinTrainConfig, values, "the file")
    model = checked_fields(TwinConfig, settings.pop("model", {}), "model")
    choices = session_choices(settings.pop("sessions", ()))
    config = TwinTrainConfig(model=TwinConfig(**model), sessions=choices, **settings)
    check_counts(config, _COUNTS, _LIMITS)
    size = config.frame_size
    if len(size) != 2 or not all(isinstance(n, int) and n > 1 for n in size):
        raise TypeError(f"frame_size must be height and width, found {shortened(size)}")
    if config.burn_in >= config.frames:
        raise TypeError(f"burn_in must be below frames ({config.frames}), found {config.burn_in}")
    return config
