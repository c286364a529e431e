"""Clips of a session: what the network sees, and the responses it shall predict."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.window_spec import WINDOW_S, WindowSpec
from omnimouse_model.families.twin.predictor import N_GAZE, RATE_HZ, twin_spec
from omnimouse_model.families.twin.training_config import TwinTrainConfig
from omnimouse_model.training.config import Targets
from omnimouse_model.training.sessions import TrainingSession

_TOLERANCE_S = 1e-6
"""Rounding error of starts."""


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """N clips of one session.

    Attributes
    ----------
    frames
        uint8 (T, N, H, W).
    pupil, behavior
        float32 (T, N, 2), z-scored.
    responses
        float32 (T, N, U), in units of each neuron's mean; NaN where nothing was
        recorded.
    """

    session: str
    frames: Tensor
    pupil: Tensor
    behavior: Tensor
    responses: Tensor

    def to(self, device: torch.device) -> "Clips":
        """Return the clips on a device."""
        parts = ("frames", "pupil", "behavior", "responses")
        return replace(self, **{k: getattr(self, k).to(device) for k in parts})

    @property
    def gray(self) -> Tensor:
        """Grey levels (T, N, 1, H, W) from 0 to 1."""
        return self.frames[:, :, None].to(torch.float32) / 255


def clip_spec(config: TwinTrainConfig) -> WindowSpec:
    """Return the windows that are the clips of training."""
    spec = twin_spec(*config.frame_size, warmup_s=0.0)
    return replace(spec, duration_s=config.frames / RATE_HZ)


def clip_starts(source: TrainingSession, spec: WindowSpec) -> np.ndarray:
    """Return the starts of all clips in the train windows, without held-out ones.

    Raises
    ------
    ValueError
        There is no clip.
    """
    session = source.session
    starts = session.window_starts("train", include_blanks=True, spec=spec)
    # A part of the train tier, if the source has fewer windows.
    if len(source.starts):
        first, last = source.starts[[0, -1]] + (-_TOLERANCE_S, WINDOW_S + _TOLERANCE_S)
        starts = starts[(starts >= first) & (starts + spec.duration_s <= last)]
    for held_out in source.held_out:
        is_apart = (starts + spec.duration_s <= held_out + _TOLERANCE_S) | (
            starts >= held_out + WINDOW_S - _TOLERANCE_S
        )
        starts = starts[is_apart]
    if not len(starts):
        raise ValueError(
            f"Session {source.key!r} has no stretch of tier 'train' as long as a clip "
            f"({spec.duration_s:.3g} s) beside the held-out windows: use fewer frames "
            "per clip."
        )
    return np.asarray(starts)


def mean_responses(source: TrainingSession) -> np.ndarray:
    """Return the mean response of each neuron, float32 (P,) in recorded units."""
    mean = np.asarray(source.session.units.mean, np.float32)
    # A silent neuron has the mean 0, of which nothing is a multiple.
    return np.where(mean > 0, mean, np.float32(1))


def read_clips(
    source: TrainingSession,
    starts: np.ndarray,
    spec: WindowSpec,
    mean: np.ndarray,
    targets: Targets,
) -> Clips:
    """Read the clips that begin at some times."""
    windows = [source.session.window(float(start), spec) for start in starts]
    scale = source.session.response_scale / mean
    responses = []
    for window in windows:
        values = source.target_rates(window, targets, sees_responses=False) * scale
        recorded = window.valid["responses"][:, None]
        # Deconvolved activity is clipped at 0, as in the release.
        responses.append(np.where(recorded, np.maximum(values, 0), np.nan))
    behavior = np.stack([window.behavior for window in windows], 1)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    return Clips(
        source.key,
        torch.from_numpy(np.stack([window.frames_u8 for window in windows], 1)),
        tensor(behavior[..., :N_GAZE]),
        tensor(behavior[..., N_GAZE:]),
        tensor(np.stack(responses, 1)),
    )
