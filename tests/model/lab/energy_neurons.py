"""A model of four neurons whose preferred directions and places are known."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.live.controller import Controller
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor
from omnimouse_model.progress import never
from tests.predictors import open_controller

PREFERRED = np.radians([0.0, 50.0, 130.0, 245.0])
PLACES = np.array([[9.0, 12.0], [27.0, 40.0], [18.0, 60.0], [30.0, 5.0]])


def _weights(preferred: float) -> np.ndarray:
    """Return the weight of each drifting wave: rows of the space of `rfftn` over time last."""
    rows, columns = np.meshgrid(np.fft.fftfreq(36), np.fft.fftfreq(64), indexing="ij")
    # A wave exp(i (k x + w t)) with w > 0 moves against k; rows count downwards.
    motion = np.arctan2(rows, -columns)
    frequency = np.hypot(rows, columns)  # cycles per pixel
    frequency[0, 0] = 1e-9  # moves nowhere
    of_period = np.exp(-(np.log2(18 * frequency) ** 2))  # prefers a period of 18 px
    weights = of_period * np.maximum(np.cos(motion - preferred), 0.0) ** 4
    return np.asarray(weights)


_WEIGHTS = [_weights(angle) for angle in PREFERRED]


class EnergyNeurons(Predictor):
    """Neurons whose rate is the energy of motion in one of four directions.

    With `reads_places`, their rate is instead the light at one place each.
    """

    predictor_id = "energy"
    needs = Needs(sees_responses=False, sees_video=True)

    def __init__(self, *, reads_places: bool = False) -> None:
        self.reads_places = reads_places
        self.asked = 0

    def prepare(self, session):
        pass

    def encode(self, window, mask, cancelled=never):
        assert not mask.visible.any()
        assert mask.frames.all()
        self.asked += 1
        return Encoded(window, mask, window.frames_u8.astype(float) / 255 - 0.5)

    def decode(self, encoded, neurons=None, cancelled=never):
        frames = encoded.state
        if self.reads_places:
            rates = [frames[:, int(y), int(x)] + 0.5 for y, x in PLACES]
        else:
            energy = np.abs(np.fft.rfftn(frames, axes=(1, 2, 0))[1:]) ** 2 / frames.size**2
            rates = [np.full(60, (energy * weights).sum() + 1e-4) for weights in _WEIGHTS]
        cells = encoded.mask.target[:, neurons]
        values = np.where(cells, np.stack(rates, 1)[:, neurons % 4], np.nan)
        about = (None, encoded.mask.mask_id, self.predictor_id)
        scale = encoded.window.session.units.scale[neurons]
        return Prediction(values.astype(np.float32), neurons, *about, scale=scale)


@contextmanager
def energy_controller(session: Session, folder: Path) -> Iterator[Controller]:
    """Controller with these neurons as model, neuron 7 selected."""
    with open_controller(session, EnergyNeurons()) as made:
        made.editor.apply_preset("video_only")
        made.selection.select([7])
        made.laboratory.folder = folder
        yield made
