"""Start values of digital twins."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.nets.twin.checkpoint import MEAN, TwinCheckpoint
from omnimouse_model.nets.twin.network import TwinNetwork
from omnimouse_model.predict.gabor_features import PLACES
from omnimouse_model.train.batches import TrainingSession
from omnimouse_model.train.config import Targets
from omnimouse_model.train.initialisation.embeddings import tuning_weights
from omnimouse_model.train.twin.config import TwinTrainConfig

_MAX_POSITION = 0.95
"""Largest first position, because tanh is flat beyond."""


def draw_twins(
    config: TwinTrainConfig,
    sessions: Mapping[str, TrainingSession],
    nets: Mapping[str, TwinNetwork],
    origin: TwinCheckpoint | None,
) -> None:
    """Set the start values of all sessions, in place.

    With `origin`, core, perspective and modulation are those of a trained model: of the
    same session if it knows it, else of its first. Without, the response of the retina
    to the session's luminance gets mean 0 and variance 1.
    """
    for key, net in nets.items():
        with torch.no_grad():
            if origin is None:
                _standardise_retina(net, sessions[key])
            else:
                _copy(net, origin, key)
            net.readout.position.reset_noise(config.position_sd)
            if config.start == "receptive-fields":
                centers = receptive_field_centers(sessions[key], config.targets)
                positions = _positions(net, centers, config.frame_size)
                net.readout.position.mu.copy_(positions)


def _copy(net: TwinNetwork, origin: TwinCheckpoint, key: str) -> None:
    """Copy all parts of a trained model but the readout."""
    own = origin.sessions.get(key) or next(iter(origin.sessions.values()))
    kept = {k: v for k, v in own.items() if k != MEAN and not k.startswith("readout.")}
    net.load_state_dict(net.state_dict() | dict(origin.core) | kept)


def _standardise_retina(net: TwinNetwork, source: TrainingSession) -> None:
    """Choose scale and offset of the retina for grey levels of a session."""
    if not len(source.starts):
        raise ValueError(f"Session {source.key!r} has no train window of 2 s.")
    starts = source.starts[np.linspace(0, len(source.starts) - 1, 20).astype(int)]
    gray = np.stack([source.session.window(float(s)).frames_u8[::20] for s in starts])
    perspective = net.perspective
    pixels = torch.from_numpy(gray.reshape(-1)).to(perspective.monitor.center) / 255
    response = perspective.to_response(perspective.monitor_pixel(pixels))
    pixel = perspective.retina_pixel
    spread = response.std().clamp(min=1e-3)
    pixel.offset.copy_(-response.mean() / spread)
    pixel.scale.copy_(pixel.scale / spread)


def receptive_field_centers(source: TrainingSession, targets: Targets) -> np.ndarray:
    """Return the center (P, 2) of each receptive field: x and y from 0 to 1.

    It is the center of mass of the largest weights of a ridge regression on the motion
    energy at 4 x 9 places.
    """
    weights = tuning_weights(source, targets)
    energy = (weights.reshape(len(weights), -1, np.prod(PLACES)) ** 2).sum(1)
    # Places with average weights tell nothing about the position.
    energy = np.maximum(energy - energy.mean(axis=1, keepdims=True), 0) ** 2
    energy /= energy.sum(axis=1, keepdims=True) + 1e-30
    rows, columns = PLACES
    y, x = np.divmod(np.arange(rows * columns), columns)
    places = np.stack([(x + 0.5) / columns, (y + 0.5) / rows], 1)
    return np.asarray(energy @ places)


def _positions(net: TwinNetwork, centers: np.ndarray, frame_size: tuple[int, int]) -> Tensor:
    """Return readout positions before tanh (U, 2) for centers on the monitor."""
    # Points of the monitor are in half widths.
    aspect = frame_size[0] / frame_size[1]
    xy = torch.from_numpy((2 * centers - 1) * [1, aspect]).to(net.readout.position.mu)
    perspective = net.eval().perspective
    rest = xy.new_zeros(1, net.config.pupil)
    seen = perspective.retina_points(xy[None], rest, net.start())
    on_maps = perspective.map_points(seen[0])
    return torch.atanh(on_maps.clamp(-_MAX_POSITION, _MAX_POSITION))
