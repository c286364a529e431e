"""Predictors with known results; worker processes can import them by name."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.hub.servers import check_connection
from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor
from omnimouse_model.progress import Cancelled, never, stop_if

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller


@dataclass(slots=True)
class EchoPredictor(Predictor):
    """Predicts the recorded responses plus one, which tests can recognise."""

    name: str = "echo"
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def predictor_id(self) -> str:
        return self.name

    @property
    def needs(self) -> Needs:
        return Needs(sees_video=True, sees_behavior=True, predicts_behavior=True)

    def prepare(self, session: Session) -> None:
        self._count("prepared")

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        self._count("encodings")
        return Encoded(window, mask, window.responses + 1)

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        self._count("decodings")
        mask, window = encoded.mask, encoded.window
        if neurons is None:
            neurons = np.flatnonzero(mask.target.any(axis=0))
        rates = np.where(mask.target[:, neurons], encoded.state[:, neurons], np.nan)
        behavior = window.behavior * 2 if mask.behavior == "target" else None
        about = (behavior, mask.mask_id, self.predictor_id)
        scale = window.session.units.scale[neurons]
        rates, neurons = rates.astype(np.float32), np.asarray(neurons, np.int64)
        return Prediction(rates, neurons, *about, scale=scale)

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


class GatedPredictor(EchoPredictor):
    """Stops inside `encode` until the test opens the gate."""

    def __init__(self, name: str = "gated") -> None:
        EchoPredictor.__init__(self, name)
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        self.entered.release()
        assert self.gate.acquire(timeout=10)
        return super().encode(window, mask)


class NoisyPredictor(EchoPredictor):
    """Echo with an error that depends on the mask and the window."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        echo = super().encode(window, mask)
        seed = int(np.flatnonzero(mask.visible.ravel()).sum()) + window.start_index
        seed += 7 * bool(mask.frames.any()) + 13 * (mask.behavior == "visible")
        noise = np.random.default_rng(seed).normal(size=window.responses.shape)
        return Encoded(window, mask, echo.state + noise.astype(np.float32))


class RefusingPredictor(EchoPredictor):
    """Refuses masks without visible video."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        if not mask.frames.any():
            raise UnsupportedRequestError("This predictor needs video; switch it on.")
        return EchoPredictor.encode(self, window, mask)


class FarPredictor(EchoPredictor):
    """Needs a server that its file names."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        check_connection("https://data.example/weights", Path("both.ensemble.json"))
        return EchoPredictor.encode(self, window, mask)


class CrashingPredictor(EchoPredictor):
    """Aborts its process if behaviour is hidden."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        if mask.behavior == "hidden":
            os.abort()
        return EchoPredictor.encode(self, window, mask)


class FaultyPredictor(EchoPredictor):
    """Raises an error that is a bug of the model."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        raise ZeroDivisionError("a fault in the model")


class EndlessPredictor(EchoPredictor):
    """Computes until it is cancelled, if behaviour is hidden."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        while mask.behavior == "hidden":
            stop_if(cancelled)
            time.sleep(0.001)
        return EchoPredictor.encode(self, window, mask)


def tiny_transformer() -> Predictor:
    """Return a small network with random weights that knows the session "small"."""
    import torch

    from omnimouse_model.families.omnimouse.network import OmniMouse
    from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
    from tests.model.small_net import SMALL

    latents = {"num_response_latent_groups": 8, "num_global_latents": 8}
    config = replace(SMALL, max_recording_len_s=600, **latents)
    net = OmniMouse(config, {"small": 40}, {"small": "mouse"}).eval()
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.0, 0.2, generator=draw)
    return TransformerPredictor(net.requires_grad_(False), "tiny", precision="fp32")


def batching_transformer() -> Predictor:
    """Return the small network with batches of several masks, as on a GPU."""
    predictor = tiny_transformer()
    predictor.batch = 8
    return predictor


class BatchingPredictor(RefusingPredictor):
    """Refuses masks without visible video; accepts five requests in one batch."""

    at_once = 5


class SizeLimitedPredictor(EchoPredictor):
    """Refuses recordings of more than 10,000 neurons."""

    def prepare(self, session: Session) -> None:
        if session.n_neurons > 10_000:
            raise UnsupportedRequestError("Too many neurons.")
        super().prepare(session)


def example_mask(session: Session) -> Mask:
    """Return a mask with ten visible neurons and the video; the rest are targets."""
    mask = Mask.nothing(session).show(range(10)).ask(range(10, session.n_neurons))
    return mask.with_frames(True).with_behavior("target")


@contextmanager
def open_controller(
    session: Session | Path, predictor: Predictor | str | None = None, **options: Any
) -> Iterator["Controller"]:
    """Controller with an open session; computes in this thread, by default an echo.

    The traces show the window, and predictions as they are.
    """
    from omnimouse_model.live.controller import Controller  # workers need no controller
    from omnimouse_model.live.state import LiveState

    state = LiveState(trace_span="window", as_large=False)
    defaults = {"synchronous": True, "state": state}
    with closing(Controller(**defaults | options)) as controller:
        controller.model.choose(EchoPredictor() if predictor is None else predictor)
        controller.loader.open_now(session)
        yield controller
