"""Training of the networks that are built on the factorised core.

    RUN/model.safetensors, .json   the last weights
    RUN/best.safetensors, .json    those of the best validation score so far

A step has one batch of each session; their gradients are summed. The learning rate
falls when the validation score has not risen for some validations, and then the best
weights so far are restored. A family adds its loss.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.run import evaluate_predictors
from omnimouse_model.evaluation.tier_windows import spread_starts, tier_starts
from omnimouse_model.families.parts.clip_models import (
    ClipCheckpoint,
    ClipFamily,
    ClipPredictor,
    load_clip_model,
)
from omnimouse_model.families.parts.video_clips import (
    RATE_HZ,
    GrayLevels,
    Inputs,
    clip_starts,
    cortical_grids,
    measured_gray,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.progress import QUIET, Job
from omnimouse_model.training.checkpoints import (
    BEST,
    MODEL,
    best_or_last,
    check_saved,
    exported,
    last_state,
    run_card,
    state_of_rank,
    write_state,
)
from omnimouse_model.training.config import (
    Count,
    SessionChoice,
    Targets,
    check_sessions,
    run_record,
)
from omnimouse_model.training.distributed import Team, current_team
from omnimouse_model.training.loop import SUMMARY, LoopState, run_training
from omnimouse_model.training.metrics_log import OnStep
from omnimouse_model.training.sessions import TrainingSession, key_number, training_sessions

ALONE = Team()


@dataclass(frozen=True, slots=True)
class ClipTrainConfig:
    """Settings of a training; a family adds `model`, the sizes of its network.

    The defaults are those of the public Sensorium-2023 baseline.

    Attributes
    ----------
    seed
        Seed of start values, clips and drawn places.
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

    def check(self, lost_frames: int) -> None:
        """Raise `ValueError` if a clip has no output of a core that takes some frames."""
        if self.frames <= lost_frames:
            raise ValueError(
                f"frames must be more than the {lost_frames} that the core takes, "
                f"found {self.frames}"
            )


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


@dataclass(slots=True)
class ClipTraining(ABC):
    """The training as the loop drives it; a family adds `start` and `loss`.

    Attributes
    ----------
    best
        Weights of the best score.
    decays, flat
        How often the learning rate has fallen, and validations without a better score
        since then.
    """

    family: ClassVar[ClipFamily]
    settings: Any
    sessions: dict[str, TrainingSession]
    starts: dict[str, np.ndarray]
    net: Any
    gray: GrayLevels
    spec: WindowSpec
    out: Path
    device: torch.device
    optimiser: torch.optim.AdamW
    best: dict[str, Tensor] = field(default_factory=dict)
    decays: int = 0
    flat: int = 0
    state: LoopState = field(default_factory=LoopState)

    @classmethod
    def of(
        cls,
        config: Any,
        sessions: list[TrainingSession],
        out: Path,
        device: torch.device,
    ) -> "ClipTraining":
        """Return a training before its first step."""
        by_key = {s.key: s for s in sessions}
        if len(by_key) < len(sessions):
            raise ValueError("Two sessions have the same id; each needs one of its own.")
        coordinates, readout = cortical_grids(sessions, config.model.readout)
        model = replace(config.model, readout=readout)
        with torch.random.fork_rng([]):
            torch.manual_seed(config.seed)
            n_neurons = {key: s.session.n_neurons for key, s in by_key.items()}
            net = cls.family.network(model, n_neurons, coordinates).to(device)
        duration_s = config.frames / RATE_HZ
        spec = replace(cls.family.spec(model), duration_s=duration_s, warmup_s=0.0)
        optimiser = torch.optim.AdamW(net.parameters(), config.lr, weight_decay=config.weight_decay)
        starts = {key: clip_starts(source, spec) for key, source in by_key.items()}
        gray = measured_gray(by_key, starts, spec)
        return cls(config, by_key, starts, net, gray, spec, out, device, optimiser)

    # -- start and resume --------------------------------------------------------------
    @abstractmethod
    def start(self) -> bool:
        """Set start values; return whether a step was made."""

    @abstractmethod
    def loss(self, batch: "Batch", inputs: Inputs) -> tuple[Tensor, float]:
        """Return the loss of a batch, and the number of responses over which it is a sum."""

    @abstractmethod
    def condition(self) -> Condition:
        """Return the condition of the validation."""

    def resume(self) -> bool:
        """Load the last save; return whether there is one."""
        folder = last_state(self.out)
        if folder is None:
            return False
        saved = state_of_rank(folder, ALONE)
        wanted = {"model": repr(self.net.config), "sessions": self.net.n_neurons}
        check_saved(saved, wanted, folder)
        self.net.load_state_dict(saved["net"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.best, self.decays, self.flat = saved["best_net"], saved["decays"], saved["flat"]
        self.gray = GrayLevels(*saved["gray"])
        self.state.load(saved)
        return True

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> list[Batch]:
        """Draw clips of each session, from generators of the step's number."""
        batches = []
        for key, source in self.sessions.items():
            rng = np.random.default_rng([self.settings.seed, key_number(key), number])
            starts = rng.choice(self.starts[key], self.settings.clips)
            batches.append(self.read(source, starts))
        return batches

    def read(self, source: TrainingSession, starts: np.ndarray) -> Batch:
        """Read the clips that begin at some times."""
        windows = [source.session.window(float(start), self.spec) for start in starts]
        responses = []
        for window in windows:
            sees_responses = self.family.reads_responses
            values = source.target_rates(window, self.settings.targets, sees_responses)
            recorded = window.valid["responses"][:, None]
            # A Poisson loss needs rates: deconvolved activity is cut at 0.
            responses.append(np.where(recorded, np.maximum(values, 0), np.nan))
        frames = np.stack([self.gray.normalised(window.frames_u8) for window in windows])
        behavior = None
        if self.spec.behavior is not None:
            behavior = np.nan_to_num(np.stack([window.behavior for window in windows]))
        inputs = Inputs.of(frames, behavior, self.net.config.core.channels)
        return Batch(source.key, inputs, torch.from_numpy(np.stack(responses)).float())

    def begin_step(self) -> None:  # noqa: B027  # the loop asks for it
        """Nothing is to be prepared."""

    def step(self, drawn: list[Batch]) -> dict[str, float]:
        """Train on one batch of each session."""
        config = self.settings
        self.net.train()
        self.optimiser.zero_grad()
        gpus = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(gpus):
            # Seeded by step: a resumed run draws the same places.
            torch.manual_seed(config.seed + self.state.step)
            losses = [self._backward(batch) for batch in drawn]
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        is_finite = bool(torch.stack(torch._foreach_norm(gradients)).isfinite().all())
        lr = max(config.lr * config.lr_factor**self.decays, config.min_lr)
        self.state.count(is_skipped=not is_finite)
        if is_finite:
            for group in self.optimiser.param_groups:
                group["lr"] = lr
            self.optimiser.step()
        return {
            "loss": float(np.mean(losses)),
            "windows": float(len(drawn) * config.clips),
            "step": self.state.step,
            "lr": lr,
        }

    def _backward(self, batch: Batch) -> float:
        """Add the gradients of a batch, and return the loss per response."""
        fit, n_responses = self.loss(batch, batch.inputs.to(self.device))
        # As in the public code: the weight of a batch follows the size of the data.
        scale = math.sqrt(self._n_clips(batch.session) / len(batch.responses))
        (fit * scale + self.net.penalty(batch.session)).backward()
        return float(fit.detach()) / max(n_responses, 1)

    def _n_clips(self, session: str) -> float:
        """Return the number of clips that the train tier has side by side."""
        step_s = self.sessions[session].session.start_grid
        apart = self.spec.duration_s / float(np.median(np.diff(step_s)))
        return max(1.0, len(self.starts[session]) / apart)

    # -- validation and results --------------------------------------------------------
    def scores(self) -> dict[str, float]:
        """Return the mean correlation of validation windows; lower the rate if flat."""
        scores = self._validation()
        score = scores.get(SUMMARY, float("-inf"))
        if score > self.state.best[0]:
            state = self.net.state_dict()
            self.best, self.flat = {k: v.detach().clone() for k, v in state.items()}, 0
            return scores
        self.flat += 1
        if self.flat >= self.settings.lr_patience and self.best:
            self.net.load_state_dict(self.best)
            self.decays, self.flat = self.decays + 1, 0
        return scores

    def _validation(self) -> dict[str, float]:
        predictor = ClipPredictor(
            "training",
            str(self.state.step),
            self.family,
            self.net.eval(),
            self.gray,
            self.device,
        )
        found = []
        for source in self.sessions.values():
            spec = predictor.needs.spec
            starts = source.held_out
            if not len(starts):
                starts = tier_starts(source.session, "validation", spec)
            if not len(starts):
                continue
            results = evaluate_predictors(
                [predictor],
                [source.session],
                [self.condition()],
                starts=spread_starts(starts, self.settings.validation_windows),
            )
            found += [s.value for s in results.scores if math.isfinite(s.value)]
        return {SUMMARY: float(np.mean(found))} if found else {}

    def save(self) -> None:
        """Save the state of the run, and the weights as checkpoints."""
        state = {
            "step": self.state.step,
            "seconds": self.state.seconds,
            "best": self.state.best,
            "model": repr(self.net.config),
            "sessions": self.net.n_neurons,
            "net": self.net.state_dict(),
            "best_net": self.best,
            "optimiser": self.optimiser.state_dict(),
            "decays": self.decays,
            "flat": self.flat,
            "gray": [self.gray.mean, self.gray.std],
        }
        write_state(self.out, self.state.step, state, ALONE, self._write_result)

    def _write_result(self, _folder: Path) -> None:
        step, best = self.state.step, self.state.best
        card = {"steps": step, "hours": round(self.state.seconds / 3600, 2)}
        last = ClipCheckpoint(
            self.family,
            self.net.config,
            self.gray,
            self.net.n_neurons,
            self.net.state_dict(),
            card,
        )
        last.save(self.out / MODEL)
        if self.best:
            scored = {"steps": best[1], "validation": best[0]}
            replace(last, state=self.best, card=card | scored).save(self.out / BEST)


# -- a run ---------------------------------------------------------------------------
def train_clips(
    training: type[ClipTraining],
    config: Any,
    sessions: list[TrainingSession],
    out: Path,
    *,
    device: torch.device | str = "cpu",
    team: Team = ALONE,
    max_steps: int | None = None,
    on_step: OnStep = lambda step, row: None,
    job: Job = QUIET,
) -> Any:
    """Train until the steps end or the score is flat, save in `out`, return the network.

    Raises
    ------
    OutputBusyError
        Another process trains in `out`.
    StoppedError
        The job is cancelled; the run is saved.
    ValueError
        A session has no clip, a save belongs to another training, or there are several
        processes.
    """
    if team.size > 1:
        raise ValueError(f"{training.family.title} trains in one process.")
    place = torch.device(device)

    def open_training() -> ClipTraining:
        return training.of(config, sessions, out, place)

    return run_training(open_training, out, place, team, max_steps, on_step, job).net


def start_clips(
    training: type[ClipTraining],
    config: Any,
    sessions: Sequence[Session],
    out: Path,
    job: Job,
    seed: int = 0,
) -> ClipPredictor:
    """Train on open sessions, or resume, and return the best model (`Training.start`)."""
    settings, family = run_record(out), training.family
    config = replace(config, seed=seed, **settings.shared)
    check_sessions(config.sessions, family.title)
    sources = training_sessions(sessions, settings)
    device = resolve_device(job.device)
    train_clips(training, config, sources, out, device=device, team=current_team(), job=job)
    return load_clip_model(family, best_or_last(out), job.device)


def export_clips(family: ClipFamily, run: Path, path: Path) -> None:
    """Write the best weights of a run, else the last (`Family.export`)."""
    settings = exported(run, path, family.title)
    checkpoint = ClipCheckpoint.read(family, best_or_last(run))
    replace(checkpoint, card=run_card(checkpoint.card, settings)).save(path)
