"""Training of the networks of video at 30 Hz, and of those on the factorised core.

    RUN/model.safetensors, .json   the last weights
    RUN/best.safetensors, .json    those of the best validation score so far

On the factorised core, a step has one batch of each session; their gradients are summed.
The learning rate falls when the validation score has not risen for some validations, and
then the best weights so far are restored. A family adds its loss.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.shard import validation_results
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.parts.clip_models import (
    RATE_HZ,
    ClipCheckpoint,
    ClipFamily,
    ClipPredictor,
    GrayLevels,
    Inputs,
    clip_starts,
    cortical_grids,
    measured_gray,
)
from omnimouse_model.families.parts.core_start import (
    check_core,
    start_filters,
    start_places,
    start_scales,
)
from omnimouse_model.families.parts.motion_energy import receptive_field_centers
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import TRAINED, checkpoint_file
from omnimouse_model.storage.trees import decode
from omnimouse_model.training.checkpoints import BEST, MODEL, exported, run_card
from omnimouse_model.training.config import (
    ADDED,
    Count,
    Targets,
    TrainFields,
)
from omnimouse_model.training.loop import (
    SUMMARY,
    TrainingRun,
    has_finite_gradients,
    seeded,
)
from omnimouse_model.training.sessions import TrainingSession, check_alone, key_number


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTrainConfig(TrainFields):
    """Settings of a training; a family adds `model`, the sizes of its network, and `frames`.

    Attributes
    ----------
    clips
        Clips per step.
    targets
        The noisy "responses", or the exact conditional means of the simulator
        ("truth").
    total_steps
        Steps of the whole run.
    lr, min_lr, weight_decay
        First or highest, and lowest learning rate, and weight decay of AdamW.
    validation_windows
        Windows of each validation; None for all.
    """

    clips: Count = 8
    targets: Targets = "responses"
    total_steps: Count = 12_000
    lr: float = 0.005
    min_lr: float = 1e-4
    weight_decay: float = 0.01
    validate_every: Count = 60
    validation_windows: Count | None = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreTrainConfig(ClipTrainConfig):
    """Settings of a training on the factorised core: `clips` of each session per step.

    The defaults are those of the public Sensorium-2023 baseline.

    Attributes
    ----------
    frames
        Frames of a clip at 30 Hz.
    lr_factor, lr_patience
        Reduction of the learning rate after so many validations without a better score.
    start
        First values: "random" ones, or those of a "motion-energy" model (`core_start`).
    """

    frames: Count = 80
    lr_factor: float = 0.3
    lr_patience: Count = 5
    start: Literal["random", "motion-energy"] = field(default="random", metadata=ADDED)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Clips of one session.

    Attributes
    ----------
    responses
        float32 (B, T, N), NaN where nothing was recorded.
    """

    session: str
    inputs: Inputs
    responses: Tensor


def poisson_sum(rates: Tensor, responses: Tensor, eps: float = 1e-8) -> Tensor:
    """Return the sum of rates - responses log(rates + eps).

    The default is that of PyTorch, of the Sensorium baseline and of DwiseNeuro.
    """
    return (rates - responses * (rates + eps).log()).sum()


@dataclass(slots=True)
class ClipTraining(TrainingRun):
    """A training on video clips; `result` has the weights that are validated and saved.

    Attributes
    ----------
    best_net
        Weights of the best score.
    """

    family: ClassVar[ClipFamily]
    parts: ClassVar[tuple[str, ...]] = ("net", "optimiser", "best_net")
    starts: dict[str, np.ndarray] = field(init=False)
    gray: GrayLevels = field(init=False)
    spec: WindowSpec = field(init=False)
    best_net: dict[str, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Build the network and its optimiser; raise `ValueError` with several processes."""
        config, sessions = self.settings, self.by_key
        check_alone(self.sessions, self.team, self.title)
        with seeded(config.seed):
            self.net = self.network(config, self.sessions).to(self.device)
        # Where a recording has no places of neurons, the network is another one.
        self.settings = replace(config, model=self.net.config)
        self.spec = replace(
            self.family.spec(self.net.config),
            duration_s=config.frames / RATE_HZ,
            warmup_s=0.0,
        )
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), config.lr, weight_decay=config.weight_decay
        )
        self.starts = {key: clip_starts(one, self.spec) for key, one in sessions.items()}
        self.gray = measured_gray(sessions, self.starts, self.spec)

    # -- as parts of a `Family` -------------------------------------------------------
    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> Any:
        """Return the training config from a parsed file (`Training.read`).

        Raises
        ------
        ValueError
            A field is unknown, of another type or out of range; the message names it.
        """
        config: Any = decode(cls.config, tree, "the file")
        lost_frames = cls.windows(config).of_warmup.n_frames
        if config.frames <= lost_frames:
            raise ValueError(
                f"frames must be more than the {lost_frames} that the core takes, "
                f"found {config.frames}"
            )
        return config

    @classmethod
    def windows(cls, config: Any) -> WindowSpec:
        """Return the windows of the models that a config trains (`Training.spec`)."""
        return cls.family.spec(config.model)

    @classmethod
    def export(cls, run: Path, path: Path) -> None:
        """Write the weights of a run as a checkpoint: the best, else the last (`Family.export`)."""
        record = exported(run, path, cls.title)
        found = ClipCheckpoint.read(cls.family, checkpoint_file(run, TRAINED))
        replace(found, card=run_card(found.card, record)).save(path)

    # -- start and resume --------------------------------------------------------------
    @classmethod
    @abstractmethod
    def network(cls, config: Any, sessions: Sequence[TrainingSession]) -> Any:
        """Return the network before the first step."""

    @abstractmethod
    def backward(self, drawn: Any) -> tuple[float, int]:
        """Add the gradients of the batches of a step; return their loss, and how many clips."""

    @property
    @abstractmethod
    def rate(self) -> float:
        """Learning rate of the next step."""

    def condition(self) -> Condition:
        """Return the condition of the validation: video, and behaviour where it is read."""
        name = "test/video_behavior" if self.spec.behavior else "test/video_only"
        return Condition(name.removeprefix("test/"), partial(Mask.from_strategy, name))

    # -- steps -------------------------------------------------------------------------
    def clips(self, source: TrainingSession, starts: np.ndarray) -> Batch:
        """Read the clips that begin at some times."""
        windows = [source.session.window(float(start), self.spec) for start in starts]
        unit = self.family.units(self.net.config, source.session)
        responses = []
        for window in windows:
            sees_responses = self.family.reads_responses
            values = source.target_rates(window, self.settings.targets, sees_responses)
            recorded = window.valid["responses"][:, None]
            # A Poisson loss needs rates: deconvolved activity is cut at 0.
            responses.append(np.where(recorded, np.maximum(values, 0) / unit, np.nan))
        inputs = Inputs.of(
            [(window, None) for window in windows], self.gray, is_raw=self.family.is_raw
        )
        return Batch(source.key, inputs, torch.from_numpy(np.stack(responses)).float())

    def step(self, drawn: Any) -> dict[str, float]:
        """Train on the batches of a step."""
        self.net.train()
        self.optimiser.zero_grad()
        with seeded(self.settings.seed + self.state.step, self.device):
            loss, n_clips = self.backward(drawn)
        is_finite = has_finite_gradients(self.net)
        lr = self.rate
        self.state.count(is_skipped=not is_finite)
        if is_finite:
            for group in self.optimiser.param_groups:
                group["lr"] = lr
            self.optimiser.step()
        return {"loss": loss, "windows": float(n_clips), "step": self.state.step, "lr": lr}

    # -- validation and results --------------------------------------------------------
    def scores(self) -> dict[str, float]:
        """Return the mean correlation of validation windows, and keep the best weights."""
        scores = self._validation()
        if scores.get(SUMMARY, float("-inf")) > self.state.best[0]:
            state = self.result.state_dict()
            self.best_net = {k: v.detach().clone() for k, v in state.items()}
        return scores

    def _validation(self) -> dict[str, float]:
        predictor = ClipPredictor(
            "training",
            str(self.state.step),
            self.family,
            self.result.eval(),
            self.gray,
            self.device,
        )
        sources = ((one.session, one.held_out) for one in self.sessions)
        most = self.settings.validation_windows
        found = []
        for results in validation_results(predictor, sources, self.condition(), most):
            found += [s.value for s in results.scores if math.isfinite(s.value)]
        return {SUMMARY: float(np.mean(found))} if found else {}

    def write_result(self, folder: Path) -> None:
        """Write the weights as checkpoints."""
        best, card = self.state.best, self.state.card
        net = self.result
        last = ClipCheckpoint(
            self.family, net.config, self.gray, net.n_neurons, net.state_dict(), card
        )
        last.save(self.out / MODEL)
        if self.best_net:
            scored = {"steps": best[1], "validation": best[0]}
            replace(last, state=self.best_net, card=card | scored).save(self.out / BEST)


START_CLIPS, _EVERY = 200, 5
"""Train clips of a session that start values are fitted to; scales, to every fifth."""


class CoreTraining(ClipTraining):
    """A training on the factorised core; a family adds its config, `start` and `loss`.

    Attributes
    ----------
    decays, flat
        How often the learning rate has fallen, and validations without a better score
        since then.
    """

    parts: ClassVar[tuple[str, ...]] = (*ClipTraining.parts, "decays", "flat")
    decays = flat = 0

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> Any:
        """Return the training config from a parsed file (`Training.read`)."""
        config = super().read(tree)
        if config.start == "motion-energy":
            check_core(config.model.core)
        return config

    @classmethod
    def network(cls, config: Any, sessions: Sequence[TrainingSession]) -> Any:
        """Return the network, with places from the cortex where all are known."""
        coordinates, readout = cortical_grids(sessions, config.model.readout)
        n_neurons = {s.key: s.session.n_neurons for s in sessions}
        return cls.family.network(replace(config.model, readout=readout), n_neurons, coordinates)

    @torch.no_grad()
    def start_core(self) -> dict[str, list[tuple[Tensor, Tensor]]]:
        """Start at motion energy; return maps and responses of some train clips by session."""
        core = self.net.core
        with seeded(self.settings.seed):
            start_filters(core)
        some = [video for key in self.by_key for video, _ in self._start_clips(key, _EVERY)]
        start_scales(core, some)
        chunks = {}
        for key, source in self.by_key.items():
            centers = receptive_field_centers(source, self.settings.targets)
            with torch.enable_grad():
                start_places(self.net.readout_of(key), centers, core)
            found = ((core(video), responses) for video, responses in self._start_clips(key))
            chunks[key] = [(maps, values[:, -maps.shape[2] :]) for maps, values in found]
        return chunks

    def _start_clips(self, key: str, every: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield video and responses of clips of a session, one by one."""
        starts = spread_starts(self.starts[key], START_CLIPS)[::every]
        for start in starts:
            clip = self.clips(self.by_key[key], np.array([start]))
            inputs = clip.inputs.to(self.device)
            yield inputs.video(self.net.core.config.channels), clip.responses.to(self.device)

    @abstractmethod
    def loss(self, batch: Batch, inputs: Inputs) -> tuple[Tensor, float]:
        """Return the loss of a batch, and the number of responses over which it is a sum."""

    def draw(self, number: int) -> list[Batch]:
        """Draw clips of each session, from generators of the step's number."""
        batches = []
        for key, source in self.by_key.items():
            rng = np.random.default_rng([self.settings.seed, key_number(key), number])
            starts = rng.choice(self.starts[key], self.settings.clips)
            batches.append(self.clips(source, starts))
        return batches

    def backward(self, drawn: list[Batch]) -> tuple[float, int]:
        """Add the gradients of one batch of each session."""
        losses = [self._backward(batch) for batch in drawn]
        return float(np.mean(losses)), sum(len(batch.responses) for batch in drawn)

    def _backward(self, batch: Batch) -> float:
        """Add the gradients of a batch, and return the loss per response."""
        fit, n_responses = self.loss(batch, batch.inputs.to(self.device))
        # As in the public code: the weight of a batch follows the size of the data.
        scale = math.sqrt(self._n_clips(batch.session) / len(batch.responses))
        (fit * scale + self.net.penalty(batch.session)).backward()
        return float(fit.detach()) / max(n_responses, 1)

    def _n_clips(self, session: str) -> float:
        """Return how many clips without overlap fill the train tier of a session."""
        step_s = self.by_key[session].session.start_grid
        apart = self.spec.duration_s / float(np.median(np.diff(step_s)))
        return max(1.0, len(self.starts[session]) / apart)

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        config = self.settings
        return float(max(config.lr * config.lr_factor**self.decays, config.min_lr))

    def scores(self) -> dict[str, float]:
        """Return the scores; lower the learning rate if they are flat."""
        scores = super().scores()
        self.flat = 0 if scores.get(SUMMARY, float("-inf")) > self.state.best[0] else self.flat + 1
        if self.flat >= self.settings.lr_patience and self.best_net:
            self.net.load_state_dict(self.best_net)
            self.decays, self.flat = self.decays + 1, 0
        return scores
