"""What a training of OmniMouse draws: its tasks, its config (one YAML file), its batches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from reprlib import repr as shortened
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import MaskError
from omnimouse_model.families.omnimouse.config import SIZES, Layout, OmniMouseConfig, WindowBatch
from omnimouse_model.families.omnimouse.token_layout import layout_of
from omnimouse_model.families.omnimouse.tokens import (
    batch_from_windows,
    labels_from_responses,
    layout_from_mask,
)
from omnimouse_model.masks import HIDDEN, TARGET, Mask, scored_cells
from omnimouse_model.masks.cells import is_stored_slowly, recording_rate
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.masks.strategies import FULL_POPULATION, find_strategy
from omnimouse_model.predict.devices import Precision
from omnimouse_model.storage.trees import Within, decode
from omnimouse_model.training.config import Count, Targets, TrainFields
from omnimouse_model.training.sessions import TrainingSession, shuffled

# -- tasks of training: the official masks and some additional ones -------------------
ALL_OFFICIAL = "train"
"""Name of the task that draws one of the official training masks."""
OFFICIAL_TASKS = tuple(f"{ALL_OFFICIAL}/{number}" for number in range(120))
"""Names of the tasks with one official training mask each."""
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
        return OFFICIAL_TASKS[rng.choice(len(OFFICIAL_TASKS), p=_official_shares())]
    return name


@cache
def _official_shares() -> np.ndarray | None:
    """Return the probabilities of the official masks; None if they are equal."""
    weights = np.array([find_strategy(name).weight for name in OFFICIAL_TASKS])
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
    # Strategies scale with the number of neurons, so a small mask shows the same kinds
    # of targets as a full one.
    possible = [name for name in OFFICIAL_TASKS if streams.has_targets(task_mask(name, SMALL))]
    if len(possible) == len(OFFICIAL_TASKS):
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

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of the optimiser; as in the official recipe, all parameters decay."""
        return {name: value for name, value in asdict(self).items() if name != "clip"}


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

    def __post_init__(self) -> None:
        for name in self.tasks:
            check_task(name)


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


# -- balanced sampling: sessions in turn, every train window once per epoch -----------
# As in the official loader, each batch comes from the next session of a cycle, whose
# windows are shuffled. A session without unread windows is shuffled again and repeated
# until the epoch of the longest session ends.
#
# Sampling has no state: the number of a turn determines its windows. A resumed run
# therefore reads the same windows as an uninterrupted run.
def windows_of_turn(
    sessions: Sequence[TrainingSession], seed: int, number: int, batch: int
) -> tuple[TrainingSession, np.ndarray]:
    """Return the session of a batch of one process, counted from 0, and the starts it reads.

    Windows that do not fill a batch at the end of an epoch are not read in it.
    """
    turn, which = divmod(number, len(sessions))
    source = sessions[which]
    epoch, place = divmod(turn, batches_of(len(source.starts), batch))
    order = shuffled(seed, source.key, epoch, len(source.starts))
    # np.resize cuts the rest of the order to one batch, and repeats windows if the
    # session has fewer windows than a batch.
    return source, source.starts[np.resize(order[place * batch :], batch)]


def batches_of(n_windows: int, batch: int) -> int:
    """Return the number of whole batches per epoch of a session, at least one."""
    return max(1, n_windows // batch)


def epoch_batches(n_windows: Sequence[int], batch: int) -> int:
    """Return the number of batches of one process per epoch of its longest session."""
    return len(n_windows) * max(batches_of(n, batch) for n in n_windows)


# -- training batches: windows of one session under one task, with their targets ------


@dataclass(frozen=True, slots=True)
class Batch:
    """Input and targets of one forward pass: B windows of one session and task.

    Attributes
    ----------
    video
        Normalised frames (B, 1, 60, 36, 64), or None if all frames are hidden.
    rates
        Target rates (B, Q, 5) of the queries, or None without response targets.
    scored
        bool (1, Q, 5): True for the target cells that the loss uses.
    behavior
        Target behaviour (B, C, 40), or None without behaviour targets.
    """

    windows: WindowBatch
    layout: Layout
    video: Tensor | None
    rates: Tensor | None
    scored: Tensor | None
    behavior: Tensor | None
    task: str

    @property
    def n_windows(self) -> int:
        """Windows in the batch, its first axis."""
        return len(self.windows.neuron_ids)

    def n_tokens(self, tokens_per_step: int) -> int:
        """Return the number of tokens of all windows that the net reads."""
        layout, behavior = self.layout, self.windows.behavior
        is_visible = layout.behavior == "visible"
        channels = behavior.shape[1] if behavior is not None and is_visible else 0
        video = 0 if layout.video_missing else len(layout.video_steps)
        each = len(layout.token_neurons) + channels + video * tokens_per_step
        return self.n_windows * each


def sessions_of_phase(sessions: list[TrainingSession], phase: Phase) -> list[TrainingSession]:
    """Return the sessions that a phase reads; a session without a name is in all."""
    names = phase.sessions
    if names is None:
        return sessions
    return [s for s in sessions if not s.mouse or s.mouse in names]


def first_recordings(sessions: list[TrainingSession]) -> list[TrainingSession]:
    """Return the first recording of each population of neurons."""
    firsts: dict[str, TrainingSession] = {}
    for source in sessions:
        firsts.setdefault(source.key, source)
    return list(firsts.values())


def draw_batch(
    sessions: list[TrainingSession],
    phase: Phase,
    config: OmniMouseConfig,
    rng: np.random.Generator,
    turn: tuple[int, int] | None = None,
) -> Batch:
    """Draw a session, a task, windows and a neuron order per window.

    With `turn`, a seed and the number of the batch, session and windows follow the
    balanced cycle (`sampling`).
    """
    starts = None
    sessions = sessions_of_phase(sessions, phase)
    if turn is None:
        weights = np.array([s.weight for s in sessions])
        chosen = sessions[rng.choice(len(sessions), p=weights / weights.sum())]
    else:
        seed, number = turn
        chosen, starts = windows_of_turn(sessions, seed, number, phase.batch)
    task = draw_task(phase.tasks, rng)
    return make_batch(chosen, task, phase, config, rng, starts)


def make_batch(
    source: TrainingSession,
    task: str,
    phase: Phase,
    config: OmniMouseConfig,
    rng: np.random.Generator,
    starts: np.ndarray | None = None,
) -> Batch:
    """Return a batch of windows of one session under one task.

    Each window has its own random neuron order. Without `starts`, windows are drawn.
    """
    session, total = source.session, source.session.n_neurons
    # The official masks are defined over 4,096 positions; larger sessions
    # enter with a random subset of neurons per window.
    count = min(total, FULL_POPULATION)
    streams = Streams.of(session, config.behavior_channels)
    slow_hz = recording_rate(session) if is_stored_slowly(session) else None
    position_mask, layout = _task_layout(task, count, streams, slow_hz)
    if phase.max_targets is not None:
        position_mask = _fewer_targets(position_mask, phase.max_targets, rng)
        layout = layout_from_mask(position_mask)
    if starts is None:
        starts = rng.choice(source.starts, phase.batch)
    windows = [session.window(float(s), OMNIMOUSE) for s in starts]
    # One layout serves the whole batch because a mask is defined over positions; only
    # the neurons at these positions differ between windows.
    orders = [rng.permutation(total)[:count] for _ in windows]
    missing = []
    for k, window in enumerate(windows):
        if window.missing is not None:
            # Neurons that miss samples are the last ones. Most strategies show the first ones:
            # so few visible cells are missing.
            incomplete = np.asarray(window.missing.any(axis=0))
            orders[k] = orders[k][np.argsort(incomplete[orders[k]], kind="stable")]
            missing.append(window.missing[:, orders[k]])
    if missing:
        # Positions at which a response of any window is missing, bool (60, N).
        layout = layout_from_mask(position_mask, np.asarray(np.any(missing, axis=0)))
    masks = [_in_order(position_mask, total, order) for order in orders]
    batch = batch_from_windows(windows, masks, config, source.key)
    sees_responses = not layout.responses_missing
    rates = scored = None
    if len(layout.query_neurons):
        ordered = [
            source.target_rates(window, phase.targets, sees_responses)[:, order]
            for window, order in zip(windows, orders, strict=True)
        ]
        rates = labels_from_responses(torch.from_numpy(np.stack(ordered)), layout)
        # A query predicts 5 samples, and not all of them need to be targets.
        cells = torch.from_numpy(scored_cells(position_mask).copy())[None]
        scored = labels_from_responses(cells, layout)
    video = behavior = None
    if not layout.video_missing:
        video = torch.from_numpy(np.stack([w.video for w in windows]))[:, None]
    if layout.behavior == "target":
        # As input a missing value is 0, the mean; as a target it would teach the mean.
        none = np.float32(np.nan)
        recorded = [np.where(w.valid["behavior"][:, None], w.behavior, none) for w in windows]
        # Windows are (time, channel); the net predicts (channel, time).
        behavior = torch.from_numpy(np.stack([values.T for values in recorded]))
    return Batch(batch, layout, video, rates, scored, behavior, task)


@lru_cache(maxsize=4096)
def _task_layout(
    task: str, count: int, streams: Streams, slow_hz: float | None
) -> tuple[Mask, Layout]:
    """Return mask and layout of a task over positions of the neuron order.

    `slow_hz` is the rate of a recording that is stored below 12 Hz, else None.
    """
    mask = streams.limit(task_mask(task, count))
    # With a name, targets are those of the official guard.
    mask = replace(mask, name=task)
    if slow_hz is not None:
        mask = replace(mask, recording_rate_hz=slow_hz).without_revealed()
    return mask, layout_from_mask(mask)


def _fewer_targets(mask: Mask, limit: int, rng: np.random.Generator) -> Mask:
    neurons = np.flatnonzero(mask.target.any(axis=0))
    if len(neurons) <= limit:
        return mask
    dropped = rng.permutation(neurons)[limit:]
    cells = mask.cells.copy()
    # Visible cells of a dropped neuron remain visible.
    cells[:, dropped] = np.where(cells[:, dropped] == TARGET, HIDDEN, cells[:, dropped])
    return replace(mask, cells=cells)


def _in_order(mask: Mask, total: int, order: np.ndarray) -> Mask:
    """Return the mask with its positions assigned to neurons."""
    cells = np.zeros((len(mask.cells), total), np.uint8)
    layout = layout_of(mask)
    cells[:, order] = mask.cells[:, layout.order]
    attachment = replace(layout, order=order)
    return Mask(cells=cells, frames=mask.frames, behavior=mask.behavior, attachment=attachment)
