"""Configuration of a training run, read from one YAML file; its tasks, and their draws."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from reprlib import repr as shortened
from typing import Annotated, Any, Literal

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import MaskError
from omnimouse_model.families.omnimouse.config import SIZES, OmniMouseConfig
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.masks.strategies import find_strategy
from omnimouse_model.predict.memory_fallback import Precision
from omnimouse_model.storage.trees import Within, decode
from omnimouse_model.training.config import Count, Targets, TrainFields

# -- tasks of training: the official masks and some additional ones -------------------
ALL_OFFICIAL = "train"
"""Name of the task that draws one of the official training masks."""
N_OFFICIAL_MASKS = 120
SMALL = 16
"""Number of neurons of the small masks on which `official_tasks` tests targets."""


def _video_stretch(count: int) -> Mask:
    """Return a mask that shows the last 36 frames and behaviour.

    Targets are the last second of all neurons.
    """
    # 36 frames at 30 Hz are 1.2 s: fewer video tokens than a whole window of 2 s.
    return Mask.from_strategy("test/video_behavior", count).with_frames(slice(24, 60))


EXTRA_TASKS: dict[str, Callable[[int], Mask]] = {
    "video-36": _video_stretch,
    "video-36-only": lambda n: _video_stretch(n).with_behavior("hidden"),
    "half": lambda n: half_population_mask(n, video=False, spec=OMNIMOUSE),
    "half-video": lambda n: half_population_mask(n, spec=OMNIMOUSE),
    "half-video-decode": lambda n: half_population_mask(n, spec=OMNIMOUSE).with_behavior("target"),
}
"""Additional tasks: functions from a number of neurons to a mask over positions."""


def check_task(name: str) -> None:
    """Check that a name is a task.

    Raises
    ------
    MaskError
        It is not; the message lists the tasks that are not strategies.
    """
    if name == ALL_OFFICIAL or name in EXTRA_TASKS:
        return
    try:
        find_strategy(name)
    except MaskError as error:
        extra = ", ".join((ALL_OFFICIAL, *EXTRA_TASKS))
        raise MaskError(f"{error} Tasks of training beside these: {extra}.") from error


def draw_task(tasks: dict[str, float], rng: np.random.Generator) -> str:
    """Draw a task by weight; "train" is replaced by one of the official masks."""
    names, weights = list(tasks), np.array(list(tasks.values()))
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    if name == ALL_OFFICIAL:
        return f"{ALL_OFFICIAL}/{rng.choice(N_OFFICIAL_MASKS, p=_official_shares())}"
    return name


@cache
def _official_shares() -> np.ndarray | None:
    """Return the probabilities of the official masks; None if they are equal."""
    names = (f"{ALL_OFFICIAL}/{k}" for k in range(N_OFFICIAL_MASKS))
    weights = np.array([find_strategy(name).weight for name in names])
    return None if np.ptp(weights) == 0 else weights / weights.sum()


@dataclass(frozen=True, slots=True)
class Streams:
    """Input streams of a session that a model can use: video and behaviour."""

    video: bool = True
    behavior: bool = True

    @classmethod
    def of(cls, session: Session, channels: int) -> "Streams":
        """Return the streams of a session for a model with `channels` of behaviour."""
        # The channel count is fixed by the weights, so other counts cannot be read.
        has_behavior = len(session.behavior_names) == channels
        return cls(session.stimulus is not None, has_behavior)

    def limit(self, mask: Mask) -> Mask:
        """Return the mask with missing streams hidden and not among the targets."""
        if not self.video and mask.frames.any():
            mask = mask.with_frames(False)
        if not self.behavior and mask.behavior != "hidden":
            mask = mask.with_behavior("hidden")
        return mask

    def has_targets(self, mask: Mask) -> bool:
        """Return True if a mask has targets in the available streams."""
        return bool(mask.target.any()) or (self.behavior and mask.has_behavior_target)


def official_tasks(streams: Streams) -> dict[str, float]:
    """Return weights of the official masks that have targets in the streams."""
    names = [f"{ALL_OFFICIAL}/{k}" for k in range(N_OFFICIAL_MASKS)]
    # Strategies scale with the number of neurons, so a small mask shows the same kinds
    # of targets as a full one.
    possible = [n for n in names if streams.has_targets(task_mask(n, SMALL))]
    if len(possible) == len(names):
        return {ALL_OFFICIAL: 1.0}
    return {name: find_strategy(name).weight for name in possible}


def task_mask(task: str, count: int) -> Mask:
    """Return the mask of a task over `count` positions of the neuron order."""
    make = EXTRA_TASKS.get(task)
    return make(count) if make else Mask.from_strategy(task, count)


# -- configuration of a training run, read from one YAML file -------------------------
Sampling = Literal["weighted", "balanced"]
ParameterGroup = Literal["core", "session"]
Validation = Literal["demo", "official", "held-out"]


@dataclass(frozen=True, slots=True)
class Group:
    """AdamW settings of one parameter group: the core, or the per-session parameters.

    `clip` is the largest gradient norm of the group.
    """

    lr: float
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    clip: float = 1.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a training run with fixed settings and one mixture of tasks.

    Attributes
    ----------
    tasks
        task -> weight. A task is a strategy's name, "train" for the 120 official
        training masks, or a name of `tasks.EXTRA_TASKS`.
    targets
        Targets of the predicted rates: the noisy "responses", or the exact
        conditional means of the simulator ("truth"). Where responses are visible,
        these means are also conditioned on the shared and private fluctuations.
    lr_scale
        Factor on the learning rates of both groups.
    warmup, decay
        Number of steps of linear warm-up, and the fraction of the phase, at its end,
        over which the rate falls linearly to zero.
    warmup_from
        Learning rate of the first warm-up step (1e-7 in the official recipe); None
        starts the warm-up at 1/warmup of the rate.
    epochs
        Number of passes over the train windows after which the phase ends, if this is
        sooner than `steps`; needs balanced sampling.
    accumulate
        Number of batches per step, each with its own session and task.
    max_targets
        Maximum number of target neurons per window, a random subset; None for all.
    from_average
        Start from the averaged weights, with new optimiser states.
    population_heads
        Indices of one attention head of the encoder and one of the decoder. Before the
        first step, both are set to read shared fluctuations
        (`set_population_attention_heads`). Needs simulated sessions, and starts from
        the averaged weights.
    behavior_head
        Index of one head of the encoder that is set to read behaviour; otherwise as
        `population_heads`.
    sessions
        Names of the sessions that the phase reads, as in `SessionChoice.mouse`; None
        for all. Needs weighted sampling.
    """

    name: str
    steps: int
    batch: int
    tasks: dict[str, float]
    targets: Targets = "responses"
    lr_scale: float = 1.0
    warmup: int = 0
    warmup_from: float | None = None
    decay: float = 0.0
    epochs: int | None = None
    behavior_weight: float = 0.1
    accumulate: int = 1
    max_targets: int | None = None
    from_average: bool = False
    population_heads: tuple[int, int] | None = None
    behavior_head: int | None = None
    sessions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(TrainFields):
    """All settings of a training run."""

    model: OmniMouseConfig
    phases: Annotated[tuple[Phase, ...], Within(1, 1000)]
    core: Group
    session: Group
    sampling: Sampling = "weighted"
    """Order of sessions and windows.

    "weighted" draws sessions by weight and windows at random; "balanced" takes sessions
    in turn, and every window once per epoch.
    """
    animals: ParameterGroup = "session"
    """Parameter group of the animal vectors; "core" if ranks share animals."""
    average: float = 0.0
    """Decay per step of the moving average of the weights; 0 for no average."""
    validation_windows: int | None = 48
    """Maximum number of validation windows per session; None for all."""
    validation: Validation = "demo"
    """Conditions of validation.

    "demo" uses the demo's conditions on the first session, "held-out" the same on
    windows of the train tier that training does not read, "official" the official
    validation masks on all sessions.
    """
    precision: Precision = "auto"
    """Precision of autocast; "auto" is bf16 on a GPU and fp32 on a CPU."""
    compile: bool = False
    """Compile blocks of the net; the first steps then take minutes."""
    mean_rates: bool = True
    """Initialise the biases of neurons from their mean rates instead of zero."""
    smooth_positions: bool = False
    """Initialise the spatial codes of the video smooth and with unit variance."""
    quiet_residuals: bool = False
    """Initialise the outputs of the residual branches with zero."""
    motion_energy: bool = False
    """Initialise the video encoder as motion-energy filters."""
    tuned_embeddings: bool = False
    """Initialise neuron embeddings from a ridge regression on motion energy."""

    def phase_at(self, step: int) -> tuple[Phase, int]:
        """Return the phase of a step, and the step's index within the phase."""
        for phase in self.phases:
            if step < phase.steps:
                return phase, step
            step -= phase.steps
        # Measurements (`cost`) may take more steps than the config has.
        return self.phases[-1], self.phases[-1].steps

    def batches_before(self, step: int) -> int:
        """Return the number of batches that one process has read before a step."""
        # Phases may differ in `accumulate`, so one factor for all steps is not enough.
        count = 0
        for phase in self.phases:
            taken = min(step, phase.steps)
            count, step = count + taken * phase.accumulate, step - taken
        return count

    @property
    def total_steps(self) -> int:
        """Number of steps of all phases."""
        return sum(phase.steps for phase in self.phases)


def config_from(raw: Mapping[str, Any]) -> TrainConfig:
    """Return the config from parsed YAML; `ValueError` names a wrong field.

    The key `accumulate` stands for that of every phase.
    """
    raw = {key: value for key, value in raw.items() if key != "family"}
    accumulate = raw.pop("accumulate", None)
    size = raw.get("model")
    if isinstance(size, str):
        if size not in SIZES:
            names = ", ".join(SIZES)
            raise ValueError(f"model: there is no size {shortened(size)}; choose of {names}")
        raw = {**raw, "model": asdict(SIZES[size])}
    config = decode(TrainConfig, raw, "the file")
    for number, phase in enumerate(config.phases):
        for name in phase.tasks:
            try:
                check_task(name)
            except MaskError as error:
                raise ValueError(f"phases[{number}].tasks: {error}") from error
    if accumulate is not None:
        accumulate = decode(Count, accumulate, "the file", "accumulate")
        phases = tuple(replace(phase, accumulate=accumulate) for phase in config.phases)
        config = replace(config, phases=phases)
    if config.sessions:
        check_phase_sessions(config)
    return config


def check_phase_sessions(config: TrainConfig) -> None:
    """Raise ValueError if a phase cannot read the sessions that it names."""
    known = [choice.mouse for choice in config.sessions]
    for number, phase in enumerate(config.phases):
        where = f"phases[{number}].sessions"
        if phase.sessions is not None and config.sampling == "balanced":
            raise ValueError(f"{where} needs sampling: weighted")
        if phase.sessions is not None and not phase.sessions:
            raise ValueError(f"{where} is empty; leave it out for all sessions")
        for name in phase.sessions or ():
            if name not in known:
                raise ValueError(
                    f"{where} names {shortened(name)}, but sessions has "
                    f"{', '.join(known) or 'none'}"
                )
