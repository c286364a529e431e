"""Windows and clips of the models of video at 30 Hz, for prediction and training.

The warm-up of a window are the frames that a model takes before its first output.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import BehaviorSpec, VideoSpec, WindowSpec
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.parts.factorised import ReadoutConfig, source_grid
from omnimouse_model.masks import Mask
from omnimouse_model.predict.devices import on_device
from omnimouse_model.training.sessions import TrainingSession

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
