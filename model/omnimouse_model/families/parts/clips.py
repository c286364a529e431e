"""Networks of video at 30 Hz: their inputs, checkpoints, predictors and training.

A family adds what differs: its network (`ClipNetwork`), and the class of its checkpoints.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WINDOW_S, BehaviorSpec, VideoSpec, WindowSpec
from omnimouse_model.display import and_text
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.results import Score
from omnimouse_model.evaluation.shard import validation_results
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.parts.network_predictor import MaskedWindow, NetworkPredictor, Rates
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import Checkpoint, load_strictly, weights_hash
from omnimouse_model.predict.devices import on_device, resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.progress import Cancelled, stop_if
from omnimouse_model.storage.trees import Within
from omnimouse_model.training.config import Count, Targets, TrainFields
from omnimouse_model.training.loop import (
    SUMMARY,
    TrainingRun,
    has_finite_gradients,
    scored_over,
    seeded,
)
from omnimouse_model.training.sessions import TrainingSession, check_alone

# -- windows and clips, for prediction and training -------------------------------------
# The warm-up of a window are the frames that a model takes before its first output.
RATE_HZ = 30.0
FRAME_SIZE = (36, 64)
CHANNELS = ("pupil_size", "running", "pupil_x", "pupil_y")
"""Behaviour by name: the channels beside the video, then the gaze."""
N_STATE = 2


def clip_spec(lost_frames: int, *, reads_behavior: bool) -> WindowSpec:
    """Return the spec of windows of a model that takes so many frames before an output."""
    return WindowSpec(
        duration_s=2.0,
        response_rate_hz=RATE_HZ,
        video=VideoSpec(RATE_HZ, *FRAME_SIZE, is_raw=True),
        behavior=BehaviorSpec(RATE_HZ, CHANNELS) if reads_behavior else None,
        warmup_s=lost_frames / RATE_HZ,
    )


@dataclass(frozen=True, slots=True)
class GrayLevels:
    """Mean and standard deviation of the gray levels of the training."""

    mean: Annotated[float, Within(0, 255)]
    std: Annotated[float, Within(1e-3, 255)]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a network sees of some clips.

    Attributes
    ----------
    frames
        float32 (B, T, H, W).
    behavior
        float32 (B, T, 4), the `CHANNELS`; None for video alone.
    usable
        bool (B, T): False for frames that were not recorded. Hidden frames are usable.
    """

    frames: Tensor
    behavior: Tensor | None
    usable: Tensor

    @classmethod
    def of(
        cls, windows: Iterable[tuple[Window, Mask | None]], gray: GrayLevels, *, is_raw: bool
    ) -> "Inputs":
        """Return the inputs of windows, warm-up first; see `_read`."""
        frames, behavior, usable = zip(
            *(_read(window, mask, gray, is_raw) for window, mask in windows), strict=True
        )
        seen, recorded = (torch.from_numpy(np.stack(part)) for part in (frames, usable))
        values = None if behavior[0] is None else torch.from_numpy(np.stack(behavior))
        return cls(seen, values, recorded)

    def video(self, channels: int) -> Tensor:
        """Return (B, C, T, H, W): frames, and channels of behaviour of constant images."""
        video = self.frames[:, None]
        if self.behavior is None or channels == 1:
            return video
        values = self.behavior.transpose(1, 2)[:, : channels - 1, :, None, None]
        return torch.cat([video, values.expand(-1, -1, -1, *video.shape[-2:])], 1)

    @property
    def gaze(self) -> Tensor | None:
        """(B, 2, T), or None for video alone."""
        return None if self.behavior is None else self.behavior.transpose(1, 2)[:, N_STATE:]

    def to(self, device: torch.device) -> "Inputs":
        """Return the inputs on a device."""
        return on_device(self, device)


def _read(
    window: Window, mask: Mask | None, gray: GrayLevels, is_raw: bool
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return frames, behaviour and usable frames, warm-up first.

    Both are as recorded (`is_raw`) or normalised. Hidden values are the mean. A mask that
    hides the first frame hides the warm-up. The behaviour is None if the spec has none.
    """
    parts = [part for part in (window.warmup, window) if part is not None]
    frames = np.concatenate([part.frames_u8 for part in parts]).astype(np.float32)
    usable = np.concatenate([part.valid["video"] for part in parts])
    if mask is not None:
        before = np.full(len(frames) - len(mask.frames), bool(mask.frames[0]))
        is_seen = np.concatenate([before, mask.frames])
        frames[~is_seen] = gray.mean
        # A hidden frame needs no recording.
        usable = usable | ~is_seen
    if not is_raw:
        frames = (frames - np.float32(gray.mean)) / np.float32(gray.std)
    if window.spec.behavior is None:
        return frames, None, usable
    values = np.nan_to_num(np.concatenate([part.behavior for part in parts]))
    if mask is not None:
        values = np.where([mode == "visible" for mode in mask.channel_modes], values, 0.0)
    if is_raw:
        mean, std = _statistics(window.session)
        values = values * std + mean
    return frames, np.asarray(values, np.float32), usable


def _statistics(session: Session) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the `CHANNELS`; 0 and 1 of those it lacks."""
    mean, std = np.zeros(len(CHANNELS)), np.ones(len(CHANNELS))
    for signal in session.behavior.values():
        if signal is None or signal.mean is None or signal.std is None:
            continue
        for name, *values in zip(signal.names, signal.mean, signal.std, strict=True):
            if name in CHANNELS:
                mean[CHANNELS.index(name)], std[CHANNELS.index(name)] = values
    return mean, std


# -- what is a family's own ------------------------------------------------------------
class ClipNetwork(nn.Module):
    """A network of video, with what differs between families.

    Its config has `spec`, the windows that it reads; `layers`, what `omnimouse info` says of
    it; and `valid`, from usable frames (T,) to the samples (T',) that have a prediction.

    Attributes
    ----------
    family, title
        Key of the family, and its name for people.
    reads_responses
        Whether it reads responses.
    is_raw
        Whether it reads frames and behaviour as recorded, and not normalised.
    n_neurons
        Session -> number of neurons.
    """

    family: ClassVar[str]
    title: ClassVar[str]
    reads_responses: ClassVar[bool] = False
    is_raw: ClassVar[bool] = False
    config: Any
    n_neurons: dict[str, int]

    @abstractmethod
    def state_of(
        self, session: str, inputs: Inputs, visible: Tensor, cancelled: Cancelled
    ) -> tuple[Tensor | None, ...]:
        """Return what `rates_of` needs of B clips, tensors with B items.

        `visible` are responses (B, T', N), hidden ones NaN.
        """

    @abstractmethod
    def rates_of(
        self, session: str, state: tuple[Tensor | None, ...], neurons: Tensor | None
    ) -> Tensor:
        """Return the rates (B, T', n) of neurons."""

    def units(self, session: Session) -> np.ndarray:
        """Return what rates are multiplied with to be normalised responses, float32 (N,)."""
        return np.ones(session.n_neurons, np.float32)


# -- checkpoints -----------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, eq=False)
class ClipCheckpoint(Checkpoint):
    """A network with the facts that its weights do not have.

    Attributes
    ----------
    network
        Class of the network: (config, session -> number of neurons) -> network.
    gray
        How frames are normalised.
    """

    network: ClassVar[Any]
    prefixes = ()
    gray: GrayLevels

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> "ClipPredictor":
        """Load a predictor from a checkpoint (`Family.load`).

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        found, place = cls.read(path), resolve_device(device)
        digest = weights_hash(found.state)
        return ClipPredictor(path.stem, digest, found.build().to(place), found.gray, place)

    @classmethod
    def describe(cls, path: Path) -> Description:
        """Return what `omnimouse info` prints of a checkpoint (`Family.describe`)."""
        found = cls.read(path)
        inputs = ["video"]
        if found.config.spec.behavior is not None:
            inputs.append("behaviour")
        if cls.network.reads_responses:
            inputs.append("responses")
        return found.described(
            cls.network.title,
            network=found.config.layers,
            sees=and_text(inputs),
        )

    def build(self) -> Any:
        """Build the network.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        build = partial(self.network, self.config, self.sessions)
        return load_strictly(build, self.state, self.source)

    def renamed(self, names: Mapping[str, str]) -> "ClipCheckpoint":
        """Return the model as it is: names of its tensors hold those of the sessions."""
        return self


# -- prediction ------------------------------------------------------------------------
@dataclass(slots=True, eq=False, repr=False)
class ClipPredictor(NetworkPredictor):
    """Rates of the neurons of the sessions that a network knows, from their video.

    Parameters
    ----------
    network
        The network of all sessions, in evaluation mode.
    gray
        How frames are normalised.
    device
        Where it computes.
    """

    network: ClipNetwork
    gray: GrayLevels
    device: torch.device

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        spec = self.network.config.spec
        return Needs(
            sees_responses=self.network.reads_responses,
            sees_video=True,
            sees_behavior=spec.behavior is not None,
            always_sees_video=True,
            spec=spec,
            sessions=frozenset(self.network.n_neurons),
            n_neurons=self.network.n_neurons,
        )

    @property
    def solution(self) -> str:  # type: ignore[override]  # it names the family
        """How the model gets to know a session."""
        return f"A new recording needs a training: omnimouse fit {self.network.family} SESSION."

    # -- parts ------------------------------------------------------------------------
    @property
    def at_once(self) -> int:
        """Fewer than of other networks: those of whole clips need more memory."""
        return 4

    def _key(self, window: Window, mask: Mask) -> Any:
        responses = mask.visible.tobytes() if self.network.reads_responses else b""
        return mask.frames.tobytes(), mask.channel_modes, responses

    def _rates(self, state: Any, window: Window, neurons: np.ndarray) -> Rates:
        parts, valid = state
        chosen = torch.as_tensor(neurons, device=self.device)
        session = window.session
        rates = self.network.rates_of(session.id, parts, chosen)[0].cpu().numpy()
        rates = rates * self.network.units(session)[neurons]
        return np.where(valid[:, None], rates, np.float32(np.nan)), {"valid": valid}

    @torch.inference_mode()
    def _states(self, requests: Sequence[MaskedWindow], cancelled: Cancelled) -> Sequence[Any]:
        """Return what the family computes of windows, and their valid samples."""
        stop_if(cancelled)
        network = self.network
        inputs = Inputs.of(requests, self.gray, is_raw=network.is_raw)
        valid = [network.config.valid(usable) for usable in inputs.usable.numpy()]
        visible = torch.empty(len(requests), 0, 0)
        if network.reads_responses:
            shown = [np.where(m.visible, w.responses, np.nan) for w, m in requests]
            visible = torch.from_numpy(np.stack(shown)).float()
        session = requests[0][0].session.id
        seen = inputs.to(self.device), visible.to(self.device)
        state = network.state_of(session, *seen, cancelled)
        return [
            (tuple(None if part is None else part[n : n + 1] for part in state), ok)
            for n, ok in enumerate(valid)
        ]


# -- training --------------------------------------------------------------------------
#     RUN/model.safetensors, .json   the last weights
#     RUN/best.safetensors, .json    those of the best validation score so far
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
        # Starts have rounding errors.
        is_before = starts + spec.duration_s <= held_out + 1e-6
        starts = starts[is_before | (starts >= held_out + WINDOW_S - 1e-6)]
    if not len(starts):
        raise ValueError(
            f"Session {source.key!r} has no stretch of tier 'train' as long as a clip "
            f"({spec.duration_s:.3g} s) beside the held-out windows: use fewer frames per clip."
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
        found: list[Score] = []
        for results in validation_results(predictor, sources, self.condition(), most):
            found += [score for score in results.scores if math.isfinite(score.value)]
        if not found:
            return {}
        return {SUMMARY: float(np.mean([score.value for score in found]))} | scored_over(found)

    def model(self, folder: Path) -> ClipCheckpoint:
        """Return the weights of this step."""
        net = self.result
        state, sessions = net.state_dict(), net.n_neurons
        return self.checkpoint(config=net.config, gray=self.gray, sessions=sessions, state=state)
