"""Training of the networks of video at 30 Hz, and of those on the factorised core.

    RUN/model.safetensors, .json   the last weights
    RUN/best.safetensors, .json    those of the best validation score so far

On the factorised core, a step has one batch of each session; their gradients are summed.
The learning rate falls when the validation score has not risen for some validations, and
then the best weights so far are restored. A family adds its loss.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
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
    ClipPredictor,
    GrayLevels,
    Inputs,
)
from omnimouse_model.families.parts.core_start import (
    check_core,
    start_filters,
    start_places,
    start_scales,
)
from omnimouse_model.families.parts.factorised import source_grid
from omnimouse_model.families.parts.motion_energy import receptive_field_centers
from omnimouse_model.masks import Mask
from omnimouse_model.training.config import ADDED, Count, Targets, TrainFields
from omnimouse_model.training.loop import SUMMARY, TrainingRun, has_finite_gradients, seeded
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
    model
        Sizes of the network, as of `OnCore`.
    frames
        Frames of a clip at 30 Hz.
    lr_factor, lr_patience
        Reduction of the learning rate after so many validations without a better score.
    start
        First values: "random" ones, or those of a "motion-energy" model (`core_start`).
    """

    model: Any
    frames: Count = 80
    lr_factor: float = 0.3
    lr_patience: Count = 5
    start: Literal["random", "motion-energy"] = field(default="random", metadata=ADDED)

    def __post_init__(self) -> None:
        lost_frames = self.model.core.lost_frames
        if self.frames <= lost_frames:
            raise ValueError(
                f"frames must be more than the {lost_frames} that the core takes, "
                f"found {self.frames}"
            )
        if self.start == "motion-energy":
            check_core(self.model.core)


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


_MEASURED = 40
"""Train windows from which the gray levels are measured."""


def clip_starts(source: TrainingSession, spec: WindowSpec) -> np.ndarray:
    """Return the starts of all clips in the train tier, apart from held-out windows.

    Raises
    ------
    ValueError
        There is no clip.
    """
    starts = source.session.window_starts("train", include_blanks=True, spec=spec)
    for held_out in source.held_out:
        starts = starts[(starts + spec.duration_s <= held_out) | (starts >= held_out + 2.0)]
    if not len(starts):
        raise ValueError(
            f"Session {source.key!r} has no stretch of tier 'train' of {spec.duration_s:.3g} s: "
            "use fewer frames per clip."
        )
    return np.asarray(starts)


@dataclass(slots=True)
class ClipTraining(TrainingRun):
    """A training on video clips; `result` has the weights that are validated and saved."""

    checkpoint: ClassVar[type[ClipCheckpoint]]
    starts: dict[str, np.ndarray] = field(init=False)
    gray: GrayLevels = field(init=False)
    spec: WindowSpec = field(init=False)

    def __post_init__(self) -> None:
        """Build the network and its optimiser; raise `ValueError` with several processes."""
        config, sessions = self.settings, self.by_key
        check_alone(self.sessions, self.team, self.title)
        with seeded(config.seed):
            self.net = self.network(config, self.sessions).to(self.device)
        # Where a recording has no places of neurons, the network is another one.
        self.settings = replace(config, model=self.net.config)
        duration_s = config.frames / RATE_HZ
        self.spec = replace(self.net.config.spec, duration_s=duration_s, warmup_s=0.0)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), config.lr, weight_decay=config.weight_decay
        )
        self.starts = {key: clip_starts(one, self.spec) for key, one in sessions.items()}
        frames = [
            source.session.window(float(start), self.spec).frames_u8[::8]
            for key, source in sessions.items()
            for start in spread_starts(self.starts[key], _MEASURED)
        ]
        gray = np.concatenate(frames)
        self.gray = GrayLevels(float(gray.mean()), max(float(gray.std()), 1.0))

    # -- as parts of a `Family` -------------------------------------------------------
    windows = attrgetter("model.spec")

    # -- start and resume --------------------------------------------------------------
    @classmethod
    def network(cls, config: Any, sessions: Sequence[TrainingSession]) -> Any:
        """Return the network before the first step."""
        return cls.checkpoint.network(config.model, {s.key: s.session.n_neurons for s in sessions})

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
        net, unit = self.net, self.net.units(source.session)
        responses = []
        for window in windows:
            values = source.target_rates(window, self.settings.targets, net.reads_responses)
            recorded = window.valid["responses"][:, None]
            # A Poisson loss needs rates: deconvolved activity is cut at 0.
            responses.append(np.where(recorded, np.maximum(values, 0) / unit, np.nan))
        unmasked = ((window, None) for window in windows)
        inputs = Inputs.of(unmasked, self.gray, is_raw=net.is_raw)
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
        """Return the mean correlation of validation windows."""
        net, step = self.result.eval(), str(self.state.step)
        predictor = ClipPredictor("training", step, net, self.gray, self.device)
        sources = ((one.session, one.held_out) for one in self.sessions)
        most = self.settings.validation_windows
        found = []
        for results in validation_results(predictor, sources, self.condition(), most):
            found += [s.value for s in results.scores if math.isfinite(s.value)]
        return {SUMMARY: float(np.mean(found))} if found else {}

    def model(self, folder: Path) -> ClipCheckpoint:
        """Return the weights of this step."""
        net = self.result
        state, sessions = net.state_dict(), net.n_neurons
        return self.checkpoint(config=net.config, gray=self.gray, sessions=sessions, state=state)


START_CLIPS, _EVERY = 200, 5
"""Train clips of a session that start values are fitted to; scales, to every fifth."""


class CoreTraining(ClipTraining):
    """A training on the factorised core; a family adds its config, `start` and `loss`.

    Attributes
    ----------
    best_net
        Weights of the best score.
    decays, flat
        How often the learning rate has fallen, and validations without a better score
        since then.
    """

    parts: ClassVar[tuple[str, ...]] = (*ClipTraining.parts, "best_net", "decays", "flat")
    best_net: dict[str, Tensor] | None = None
    decays = flat = 0

    @classmethod
    def network(cls, config: Any, sessions: Sequence[TrainingSession]) -> Any:
        """Return the network, with places from the cortex where all are known.

        Where a recording does not state them, the places that neurons read are free.
        """
        readout, grids = config.model.readout, {}
        if readout.places is not None:
            n = readout.places.coordinates
            xyz = {
                s.key: torch.from_numpy(np.asarray(s.session.units.xyz_um[:, :n], np.float32))
                for s in sessions
            }
            if all(bool(one.isfinite().all()) and float(one.std()) > 0 for one in xyz.values()):
                grids = {key: source_grid(one) for key, one in xyz.items()}
            else:
                readout = replace(readout, places=None)
        n_neurons = {s.key: s.session.n_neurons for s in sessions}
        return cls.checkpoint.network(replace(config.model, readout=readout), n_neurons, grids)

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
        """Return the scores; keep the best weights, and lower the rate after flat scores."""
        scores = super().scores()
        if scores.get(SUMMARY, float("-inf")) > self.state.best[0]:
            state = self.result.state_dict()
            self.best_net, self.flat = {k: v.detach().clone() for k, v in state.items()}, 0
        elif self.flat + 1 >= self.settings.lr_patience and self.best_net:
            self.net.load_state_dict(self.best_net)
            self.decays, self.flat = self.decays + 1, 0
        else:
            self.flat += 1
        return scores
