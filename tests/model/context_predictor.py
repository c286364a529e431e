"""Recordings of noise, and a predictor whose score depends on context as it says."""

import time
from dataclasses import dataclass, field, replace

import numpy as np

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.predict.predictor import Encoded, Needs
from omnimouse_model.progress import never
from tests.model.known_sessions import write_known_session
from tests.predictors import EchoPredictor

N_NEURONS = 60
ASK = {
    "neurons": [0, 8, 32],
    "history_samples": [10, 25],
    "video": [True, False],
    "max_windows": 6,
    # Without the predictions over train windows: tests count what is asked.
    "centred": False,
}


def world(folder, key, n_neurons=N_NEURONS):
    """A minute of noise whose standard deviation is one in the model's units."""
    generator = np.random.default_rng(3)
    responses = 50 + 5 * generator.normal(size=(1800, n_neurons))
    tiers = ["train", "final_test_1"]
    place = write_known_session(folder / key, responses, tiers=tiers, key=key)
    return open_session(place)


@dataclass
class ContextPredictor(EchoPredictor):
    """The truth with noise that context takes away: its score is known.

    Noise has a variance of 1 / (1 + what is given), so the correlation is
    1 / sqrt(1 + variance).
    """

    name: str = "contextual"
    needs = Needs(sees_video=True, sees_behavior=True, predicts_behavior=True)
    refuses_video: bool = False
    asked: list = field(default_factory=list)

    def encode(self, window, mask, cancelled=never):
        if self.refuses_video and mask.frames.any():
            raise UnsupportedRequestError("reads no video.")
        self.asked.append(mask)
        generator = np.random.default_rng(window.start_index)
        noise = generator.normal(size=window.responses.shape)
        noise = noise * np.sqrt(noise_variance(mask))
        return Encoded(window, mask, window.responses + noise)

    def decode(self, encoded, neurons=None, cancelled=never):
        answer = EchoPredictor.decode(self, encoded, neurons)
        return replace(answer, behavior=encoded.window.behavior)


def noise_variance(mask):
    concurrent = mask.visible[30:].all(axis=0).sum()
    history = mask.visible[:25].all(axis=1).sum()
    known = concurrent / 4 + history / 5 + 3 * mask.frames.all()
    return 1 / (1 + known)


def expected_score(context):
    known = context.neurons / 4 + context.history_samples / 5 + 3 * context.video
    return 1 / np.sqrt(1 + 1 / (1 + known))


@dataclass
class SlowContextPredictor(ContextPredictor):
    """It takes its time, so that a worker can die meanwhile."""

    def encode(self, window, mask, cancelled=never):
        time.sleep(0.03)
        return ContextPredictor.encode(self, window, mask)
