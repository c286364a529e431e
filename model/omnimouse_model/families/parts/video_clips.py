"""Windows and clips of the models that are built on the factorised core.

The warm-up of a window are the frames that the core takes without giving an output.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import BehaviorSpec, VideoSpec, WindowSpec
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.parts.factorised import CoreConfig, ReadoutConfig, source_grid
from omnimouse_model.masks import Mask
from omnimouse_model.training.sessions import TrainingSession

RATE_HZ = 30.0
FRAME_SIZE = (36, 64)
CHANNELS = ("pupil_size", "running", "pupil_x", "pupil_y")
"""Behaviour by name: the channels beside the video, then the gaze."""
N_STATE = 2
_MEASURED = 40
"""Train windows from which the gray levels are measured."""


def core_spec(core: CoreConfig, *, reads_behavior: bool) -> WindowSpec:
    """Return the spec of windows of a model with this core."""
    return WindowSpec(
        duration_s=2.0,
        response_rate_hz=RATE_HZ,
        video=VideoSpec(RATE_HZ, *FRAME_SIZE, is_raw=True),
        behavior=BehaviorSpec(RATE_HZ, CHANNELS) if reads_behavior else None,
        warmup_s=core.lost_frames / RATE_HZ,
    )


@dataclass(frozen=True, slots=True)
class GrayLevels:
    """Mean and standard deviation of the gray levels of the training."""

    mean: float
    std: float

    def normalised(self, frames: np.ndarray) -> np.ndarray:
        """Return uint8 frames in standard deviations from the mean, float32."""
        return (frames.astype(np.float32) - np.float32(self.mean)) / np.float32(self.std)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the network sees of some clips.

    Attributes
    ----------
    video
        (B, C, T, H, W): normalised frames, and channels of behaviour.
    pupil
        (B, 2, T), or None for video alone.
    """

    video: Tensor
    pupil: Tensor | None

    @classmethod
    def of(cls, frames: np.ndarray, behavior: np.ndarray | None, channels: int) -> "Inputs":
        """Return the inputs of normalised frames (B, T, H, W) and behaviour (B, T, 4)."""
        video = torch.from_numpy(frames)[:, None]
        if behavior is None:
            return cls(video, None)
        values = torch.from_numpy(np.asarray(behavior, np.float32)).transpose(1, 2)
        flat = values[:, : channels - 1, :, None, None].expand(-1, -1, -1, *video.shape[-2:])
        return cls(torch.cat([video, flat], 1), values[:, N_STATE:])

    def to(self, device: torch.device) -> "Inputs":
        """Return the inputs on a device."""
        pupil = None if self.pupil is None else self.pupil.to(device)
        return Inputs(self.video.to(device), pupil)


def read_window(
    window: Window, mask: Mask, gray: GrayLevels
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return normalised frames, behaviour and valid samples, warm-up first.

    Hidden values are the mean. A mask that hides the first frame hides the warm-up. The
    behaviour is None if the spec has none.
    """
    warmup = window.warmup
    assert warmup is not None
    n_lost = warmup.spec.n_frames
    levels = np.concatenate([warmup.frames_u8, window.frames_u8])
    before = np.full(n_lost, bool(mask.frames[0]))
    seen = np.concatenate([before, mask.frames])
    frames = np.where(seen[:, None, None], gray.normalised(levels), np.float32(0))
    recorded = np.concatenate([warmup.valid["video"], window.valid["video"]])
    # A hidden frame needs no recording. An output needs its frame and those before.
    usable = recorded | ~seen
    valid = np.asarray(sliding_window_view(usable, n_lost + 1).all(-1))
    if window.spec.behavior is None:
        return frames, None, valid
    visible = np.array([mode == "visible" for mode in mask.channel_modes])
    values = np.concatenate([warmup.behavior, window.behavior])
    return frames, np.where(visible, np.nan_to_num(values), 0.0), valid


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
