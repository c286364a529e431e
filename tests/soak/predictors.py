"""Predictors that are slow, fail or crash; light, as a crash costs a new process."""

import os
import time

from omnimouse_model.data.session import Window
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import Cancelled, never
from tests.predictors import EchoPredictor

LAST_ENCODE = 6
"""Encoding at which `CrashingPredictor` ends its process. One request needs fewer, so
a new process completes the request again, unless the mask is fatal."""


class SlowPredictor(EchoPredictor):
    """Takes longer than an edit."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        time.sleep(0.004)
        return EchoPredictor.encode(self, window, mask)


class FailingPredictor(EchoPredictor):
    """Raises an error for one third of the masks, always for the same ones."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        if fails(mask):
            raise ZeroDivisionError("a fault in the model")
        return EchoPredictor.encode(self, window, mask)


class CrashingPredictor(EchoPredictor):
    """Ends its process for some masks, and for any mask at its last encoding."""

    def __init__(self) -> None:
        super().__init__()
        self._encodes_left = LAST_ENCODE

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        self._encodes_left -= 1
        if crashes(mask) or not self._encodes_left:
            os._exit(3)
        return EchoPredictor.encode(self, window, mask)


def fails(mask: Mask) -> bool:
    """Whether `FailingPredictor` raises an error for a mask."""
    return int(mask.mask_id, 16) % 3 == 0


def crashes(mask: Mask) -> bool:
    """Return whether `CrashingPredictor` ends its process at this mask."""
    return int(mask.mask_id, 16) % 200 == 0


PREDICTORS = {
    "slow": SlowPredictor,
    "failing": FailingPredictor,
    "crashing": CrashingPredictor,
}
