"""Configuration of a training of the Sensorium-2023 baseline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omnimouse_model.families.sensorium_factorised.network import FactorisedConfig
from omnimouse_model.storage.typed import decode
from omnimouse_model.training.config import Count, SessionChoice, Targets


@dataclass(frozen=True, slots=True)
class FactorisedTrainConfig:
    """All settings of a training; the defaults are those of the public baseline.

    Attributes
    ----------
    seed
        Seed of start values, clips and drawn places.
    model
        Sizes of the network.
    sessions
        Sessions to train on.
    clips, frames
        Clips of a session per step, and frames of a clip at 30 Hz.
    targets
        The noisy "responses", or the exact conditional means of the simulator
        ("truth").
    total_steps
        Steps of the whole run; each has a batch of every session.
    lr, lr_factor, min_lr, lr_patience
        Learning rate, and its reduction after so many validations without a better
        score.
    weight_decay
        Of AdamW.
    validate_every, validation_windows, patience
        Steps between validations; windows of each; steps without a better score after
        which the run ends.
    save_every, save_every_s
        Steps, and seconds, between saves.
    notes
        Free.
    """

    seed: int = 42
    model: FactorisedConfig = field(default_factory=FactorisedConfig)
    sessions: tuple[SessionChoice, ...] = ()
    clips: Count = 8
    frames: Count = 80
    targets: Targets = "responses"
    total_steps: Count = 12_000
    lr: float = 0.005
    lr_factor: float = 0.3
    min_lr: float = 1e-4
    lr_patience: Count = 5
    weight_decay: float = 0.01
    validate_every: Count = 60
    validation_windows: Count | None = 48
    patience: Count | None = None
    save_every: int | None = None
    save_every_s: float | None = 120.0
    notes: dict[str, Any] = field(default_factory=dict)


def read_factorised_config(tree: Mapping[str, Any]) -> FactorisedTrainConfig:
    """Return the training config from a parsed file (`Training.read`).

    Raises
    ------
    ValueError
        A field is unknown or of another type; the message names it.
    """
    config = decode(FactorisedTrainConfig, tree, "the file")
    if config.frames <= config.model.core.lost_frames:
        raise ValueError(
            f"frames must be more than the {config.model.core.lost_frames} that the "
            f"core takes, found {config.frames}"
        )
    return config
