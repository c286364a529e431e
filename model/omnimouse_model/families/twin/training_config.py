"""Configuration of a training of digital twins, read from one YAML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.families.twin.config import TwinConfig
from omnimouse_model.families.twin.network import POSITION_SD
from omnimouse_model.families.twin.predictor import twin_spec
from omnimouse_model.storage.trees import Within, decode
from omnimouse_model.training.config import Count, Targets, TrainFields

Side = Annotated[int, Within(2, 4096)]
Start = Literal["center", "receptive-fields"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinTrainConfig(TrainFields):
    """All settings of a training; the defaults are those of Wang et al. 2025.

    Attributes
    ----------
    model
        Sizes of the network.
    frame_size
        Height and width in pixels of the frames.
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
    validation_windows
        Windows of each validation; None for all.
    """

    frame_size: tuple[Side, Side]
    model: TwinConfig = field(default_factory=TwinConfig)
    sessions_per_step: Count | None = None
    clips: Count = 5
    frames: Count = 70
    burn_in: int = 10
    targets: Targets = "responses"
    start: Start = "center"
    position_sd: float = POSITION_SD
    cycles: Count = 2
    cycle_epochs: Count = 100
    epoch_steps: Count = 512
    warmup_epochs: int = 10
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 0.01
    clip_eps: float = 1e-3
    frozen: tuple[str, ...] = ()
    validate_every: Count = 512
    validation_windows: Count | None = 48

    @property
    def spec(self) -> WindowSpec:
        """Windows of the twins that are trained."""
        return twin_spec(*self.frame_size)

    @property
    def total_steps(self) -> int:
        """Number of steps of all cycles."""
        return self.cycles * self.cycle_epochs * self.epoch_steps

    def epoch_of(self, step: int) -> tuple[int, int]:
        """Return the cycle of a step, and the epoch within it."""
        epoch = min(step, self.total_steps - 1) // self.epoch_steps
        return divmod(epoch, self.cycle_epochs)


def read_twin_config(tree: Mapping[str, Any]) -> TwinTrainConfig:
    """Return the training config of twins from a parsed file (`Training.read`).

    Raises
    ------
    ValueError
        A field is unknown, missing or of another type; the message names it.
    """
    config = decode(TwinTrainConfig, tree, "the file")
    if config.burn_in >= config.frames:
        raise ValueError(f"burn_in must be below frames ({config.frames}), found {config.burn_in}")
    return config
