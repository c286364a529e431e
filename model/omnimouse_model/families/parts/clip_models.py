"""Inputs, checkpoints and predictors of the networks of video at 30 Hz.

A family states in `ClipFamily` what differs: its network, its inputs and its rates.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import BehaviorSpec, VideoSpec, WindowSpec
from omnimouse_model.errors import CheckpointError
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.parts.factorised import ReadoutConfig, source_grid
from omnimouse_model.families.parts.network_predictor import NetworkPredictor
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import (
    Counts,
    describe_weights,
    load_strictly,
    read_checkpoint,
    save_checkpoint,
    weights_hash,
)
from omnimouse_model.predict.devices import on_device, resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.progress import Cancelled, stop_if
from omnimouse_model.storage.trees import decode, refused_as
from omnimouse_model.training.sessions import TrainingSession

# -- windows and clips, for prediction and training -------------------------------------
# The warm-up of a window are the frames that a model takes before its first output.
RATE_HZ = 30.0
FRAME_SIZE = (36, 64)
CHANNELS = ("pupil_size", "running", "pupil_x", "pupil_y")
"""Behaviour by name: the channels beside the video, then the gaze."""
N_STATE = 2
_MEASURED = 40
"""Train windows from which the gray levels are measured."""


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

    mean: float
    std: float


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
        stacked = [np.stack(part) if part[0] is not None else None for part in (frames, behavior)]
        seen, values = (None if part is None else torch.from_numpy(part) for part in stacked)
        assert seen is not None
        return cls(seen, values, torch.from_numpy(np.stack(usable)))

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


# -- training --------------------------------------------------------------------------
def inverse_elu(rates: Tensor) -> Tensor:
    """Return the values whose ELU + 1 is a rate."""
    rates = rates.clamp(min=1e-3)
    return torch.where(rates > 1, rates - 1, rates.log())


def cortical_grids(
    sessions: Iterable[TrainingSession], readout: ReadoutConfig
) -> tuple[dict[str, Tensor], ReadoutConfig]:
    """Return the source grid of each session, and the config.

    Where a recording does not state the places of its neurons in the cortex, the places
    that they read are free.
    """
    if readout.places is None:
        return {}, readout
    n = readout.places.coordinates
    grids = {
        source.key: torch.from_numpy(np.asarray(source.session.units.xyz_um[:, :n], np.float32))
        for source in sessions
    }
    if all(bool(grid.isfinite().all()) and float(grid.std()) > 0 for grid in grids.values()):
        return {key: source_grid(grid) for key, grid in grids.items()}, readout
    return {}, replace(readout, places=None)


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


def measured_gray(
    sessions: Mapping[str, TrainingSession], starts: Mapping[str, np.ndarray], spec: WindowSpec
) -> GrayLevels:
    """Return mean and standard deviation of the gray levels of train clips."""
    frames = [
        source.session.window(float(start), spec).frames_u8[::8]
        for key, source in sessions.items()
        for start in spread_starts(starts[key], _MEASURED)
    ]
    gray = np.concatenate(frames)
    return GrayLevels(float(gray.mean()), max(float(gray.std()), 1.0))


# -- what is a family's own ------------------------------------------------------------
def _one(config: Any) -> float:
    return 1.0


@dataclass(frozen=True, slots=True)
class ClipFamily:
    """What is a family's own.

    Attributes
    ----------
    name, title
        Key of the family, and its name for people.
    config
        Class of its configs.
    network
        (config, session -> number of neurons, session -> coordinates) -> network. It has
        `config` and `n_neurons`.
    spec
        Config -> windows that a network reads.
    layers
        Config -> what `omnimouse info` says of a network.
    state
        (network, session, inputs, visible responses (B, T', N), hidden ones NaN, whether
        it is cancelled) -> what `rates` needs of B clips: a tensor, or several, with B items.
    rates
        (network, session, state, neurons) -> rates (B, T', n).
    valid
        (config, usable frames (T,)) -> samples (T',) that have a prediction.
    reads_responses
        Whether the family reads responses.
    is_raw
        Whether it reads frames and behaviour as recorded, and not normalised.
    unit
        Config -> unit of the rates, as a part of a neuron's standard deviation; None for
        rates in the units of the recording.
    """

    name: str
    title: str
    config: type
    network: Callable[..., nn.Module]
    spec: Callable[[Any], WindowSpec]
    layers: Callable[[Any], str]
    state: Callable[[Any, str, Inputs, Tensor, Cancelled], tuple[Tensor | None, ...]]
    rates: Callable[[Any, str, tuple[Tensor | None, ...], Tensor | None], Tensor]
    valid: Callable[[Any, np.ndarray], np.ndarray]
    reads_responses: bool = False
    is_raw: bool = False
    unit: Callable[[Any], float | None] = _one

    def units(self, config: Any, session: Session) -> np.ndarray:
        """Return normalised responses per unit of the rates, float32 (N,)."""
        unit = self.unit(config)
        if unit is None:
            return (1 / session.response_scale).astype(np.float32)
        return np.full(session.n_neurons, unit, np.float32)

    def load(self, path: Path, device: str = "auto") -> "ClipPredictor":
        """Load a predictor from a checkpoint (`Family.load`).

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        checkpoint = ClipCheckpoint.read(self, path)
        return checkpoint.predictor(
            path.stem, weights_hash(checkpoint.state), resolve_device(device)
        )

    def describe(self, path: Path) -> Description:
        """Return what `omnimouse info` prints of a checkpoint (`Family.describe`)."""
        return ClipCheckpoint.read(self, path).description


# -- checkpoints -----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ClipCheckpoint:
    """A network with the facts that its weights do not have.

    Attributes
    ----------
    config, gray
        Sizes of the network, and how frames are normalised.
    n_neurons
        Session -> number of neurons.
    state
        Name -> tensor.
    card
        Information for people: training, scores.
    """

    family: ClipFamily
    config: Any
    gray: GrayLevels
    n_neurons: Mapping[str, int]
    state: Mapping[str, Tensor]
    card: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write weights and description."""
        about = {
            "config": asdict(self.config),
            "gray": asdict(self.gray),
            "sessions": dict(self.n_neurons),
            "card": dict(self.card),
        }
        save_checkpoint(path, self.state, self.family.name, about)

    @classmethod
    def read(cls, family: ClipFamily, path: Path) -> "ClipCheckpoint":
        """Read a checkpoint.

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        described = path.with_suffix(".json")
        tensors, _, description, _ = read_checkpoint(path, family.name)
        with refused_as(CheckpointError):
            config: Any = decode(family.config, description.get("config"), described, "config")
            gray = decode(GrayLevels, description.get("gray"), described, "gray")
            counts = decode(Counts, description.get("sessions"), described, "sessions")
        return cls(family, config, gray, counts, tensors, description.get("card") or {})

    @property
    def description(self) -> Description:
        """What `omnimouse info` prints."""
        inputs = ["video"]
        if self.family.spec(self.config).behavior is not None:
            inputs.append("behaviour")
        if self.family.reads_responses:
            inputs.append("responses")
        return describe_weights(
            self.family.title,
            self.state,
            self.config,
            self.n_neurons,
            network=self.family.layers(self.config),
            sees=" and ".join([", ".join(inputs[:-1])] * (len(inputs) > 1) + inputs[-1:]),
        )

    def predictor(self, name: str, weights: str, device: torch.device) -> "ClipPredictor":
        """Return the predictor of these weights."""
        network = self.network(name).to(device)
        return ClipPredictor(name, weights, self.family, network, self.gray, device)

    def network(self, name: str) -> Any:
        """Return the network of these weights; `name` is for messages."""
        build = partial(self.family.network, self.config, self.n_neurons)
        return load_strictly(build, self.state, name)


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

    family: ClipFamily
    network: Any
    gray: GrayLevels
    device: torch.device

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        spec = self.family.spec(self.network.config)
        return Needs(
            sees_responses=self.family.reads_responses,
            sees_video=True,
            sees_behavior=spec.behavior is not None,
            always_sees_video=True,
            spec=spec,
            sessions=frozenset(self.network.n_neurons),
            n_neurons=self.network.n_neurons,
        )

    def prepare(self, session: Session) -> None:
        """Check the session, and move the network to the device; see `NetworkPredictor`."""
        NetworkPredictor.prepare(self, session)
        self.network.to(self.device)

    @property
    def solution(self) -> str:  # type: ignore[override]  # it names the family
        """How the model gets to know a session."""
        return f"A new recording needs a training: omnimouse fit {self.family.name} SESSION."

    # -- parts ------------------------------------------------------------------------
    @property
    def at_once(self) -> int:
        """Fewer than of other networks: those of whole clips need more memory."""
        return 4

    def _key(self, window: Window, mask: Mask) -> Any:
        responses = mask.visible.tobytes() if self.family.reads_responses else b""
        return mask.frames.tobytes(), mask.channel_modes, responses

    def _rates(
        self, state: Any, window: Window, neurons: np.ndarray
    ) -> tuple[np.ndarray, Mapping[str, Any]]:
        parts, valid = state
        chosen = torch.as_tensor(neurons, device=self.device)
        session = window.session
        rates = self.family.rates(self.network, session.id, parts, chosen)[0].cpu().numpy()
        rates = rates * self.family.units(self.network.config, session)[neurons]
        return np.where(valid[:, None], rates, np.float32(np.nan)), {"valid": valid}

    @torch.inference_mode()
    def _states(
        self, requests: Sequence[tuple[Window, Mask]], cancelled: Cancelled
    ) -> Sequence[Any]:
        """Return what the family computes of windows, and their valid samples."""
        stop_if(cancelled)
        inputs = Inputs.of(requests, self.gray, is_raw=self.family.is_raw)
        config = self.network.config
        valid = [self.family.valid(config, usable) for usable in inputs.usable.numpy()]
        visible = torch.empty(len(requests), 0, 0)
        if self.family.reads_responses:
            shown = [np.where(m.visible, w.responses, np.nan) for w, m in requests]
            visible = torch.from_numpy(np.stack(shown)).float()
        session = requests[0][0].session.id
        state = self.family.state(
            self.network, session, inputs.to(self.device), visible.to(self.device), cancelled
        )
        return [
            (tuple(None if part is None else part[n : n + 1] for part in state), ok)
            for n, ok in enumerate(valid)
        ]
