"""Searches of most exciting inputs of a predictor, from several starts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.lab.exciting_inputs import (
    ExcitingSettings,
    ExcitingStimulus,
    Respond,
    blur,
    search_exciting,
)
from omnimouse_model.lab.stimuli.stimulus import GRAY
from omnimouse_model.masks import Mask
from omnimouse_model.predict.capabilities import Differentiable
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, Cancelled, Job, never, stop_if

SEARCH = ExcitingSettings(contrast=1.0, lr=30.0, spatial_sd=2.0, penalty=1e-3)
"""Settings that converge in about 20 steps for frames of 36 x 64 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class ExcitingInputs:
    """Results of searches, the best one first.

    Attributes
    ----------
    videos
        Stimulus of each start; all frames are equal for an image.
    responses
        Mean response to each, in normalised units, over the frames that count.
    courses
        Response before each step of each search.
    gray_response
        Response to a grey screen.
    rate_hz
        Frames per second.
    settings, seeds, neurons, predictor_id, session_id
        What was searched, and with what.
    """

    videos: UInt8[np.ndarray, "start frame height width"]
    responses: Float[np.ndarray, " start"]
    courses: Float[np.ndarray, "start step"]
    gray_response: float
    rate_hz: float
    settings: ExcitingSettings
    seeds: tuple[int, ...]
    neurons: Int64[np.ndarray, " n"]
    predictor_id: str
    session_id: str

    @property
    def best_response(self) -> float:
        """Response to the best stimulus."""
        return float(self.responses[0])

    @property
    def agreement(self) -> float | None:
        """Mean correlation between the stimuli of two starts; None for one start."""
        flat = self.videos.reshape(len(self.videos), -1).astype(float)
        pairs = list(combinations(range(len(flat)), 2))
        if not pairs:
            return None
        return float(np.mean([np.corrcoef(flat[a], flat[b])[0, 1] for a, b in pairs]))


def search_starts(
    predictor: Predictor,
    session: Session,
    neurons: Int64[np.ndarray, " n"],
    settings: ExcitingSettings = SEARCH,
    *,
    n_steps: int = 20,
    seeds: Iterable[int] = (0, 1),
    job: Job = QUIET,
) -> ExcitingInputs:
    """Search from smooth noise with each seed.

    The first half of a window does not count, so that the response has settled. A
    search keeps the stimulus with the largest response that it met (the smallest, for a
    negative temperature).

    Raises
    ------
    UnsupportedRequestError
        The predictor does not offer a gradient.
    StoppedError
        The job is cancelled.
    """
    respond = respond_with(predictor, session, neurons, job.cancelled)
    spec = predictor.needs.spec
    video = spec.video
    assert video is not None
    burn_in = spec.n_samples // 2
    settings = replace(settings, burn_in=burn_in)
    sign = 1 if settings.temperature > 0 else -1
    seeds = tuple(seeds)
    shape = (spec.n_frames, video.height, video.width)
    found: list[tuple[float, np.ndarray, list[float]]] = []
    for number, seed in enumerate(seeds):
        noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        start = blur(torch.from_numpy(noise), settings.spatial_sd, 0.0, 4.0)
        stimulus = ExcitingStimulus(start.numpy(), settings)
        best, course, frames = -np.inf, [], stimulus.video()
        for step, state in enumerate(search_exciting(stimulus, respond, n_steps)):
            stop_if(job.cancelled)
            course.append(state.response)
            # The step that follows `state` has not been made yet.
            if sign * state.response > best:
                best, frames = sign * state.response, stimulus.video()
            job.progress(number * n_steps + step + 1, len(seeds) * n_steps)
        found.append((best, frames, course))
    found.sort(key=lambda one: -one[0])
    gray = torch.full(shape, GRAY / 255)
    return ExcitingInputs(
        np.stack([frames for _, frames, _ in found]),
        np.array([sign * best for best, _, _ in found]),
        np.array([course for *_, course in found]),
        float(respond(gray)[burn_in:].mean()),
        video.rate_hz,
        settings,
        seeds,
        np.asarray(neurons, np.int64),
        str(predictor.predictor_id),
        session.id,
    )


# -- responses of a predictor that can be differentiated by the stimulus
def respond_with(
    predictor: Predictor,
    session: Session,
    neurons: Int64[np.ndarray, " n"],
    cancelled: Cancelled = never,
) -> Respond:
    """Return a function from frames to the responses of neurons, for `search_exciting`.

    Frames have grey levels from 0 to 1, which a predictor reads after rounding to 256
    levels. Behaviour is that of an average moment.

    Raises
    ------
    UnsupportedRequestError
        The predictor does not offer the gradient of its responses.
    StoppedError
        While it is called, `cancelled` returns True.
    """
    offers = "stimulus_gradient" in predictor.needs.methods
    if not offers or not isinstance(predictor, Differentiable):
        raise UnsupportedRequestError(
            f"{predictor.predictor_id!r} does not offer the gradient of its responses "
            "by the stimulus: choose a digital twin."
        )
    predictor.prepare(session)
    spec = predictor.needs.spec
    mask = Mask.nothing(session, spec).ask(neurons, slice(None))
    mask = mask.with_frames(True).with_behavior("hidden")
    assert spec.video is not None
    rate_hz = spec.video.rate_hz
    differentiable: Differentiable = predictor

    class Rates(torch.autograd.Function):
        """The predicted responses; the gradient is that of the predictor."""

        @staticmethod
        def forward(ctx: Any, frames: Tensor) -> Tensor:
            levels = (frames.detach() * 255).round().clamp(0, 255)
            gray = levels.to(torch.uint8).cpu().numpy()
            ctx.clip = Clip(session=session, frames=gray, rate_hz=rate_hz, spec=spec)
            found = predictor.predict(ctx.clip, mask, neurons, cancelled)
            return torch.from_numpy(found.responses.copy())

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            objective = gradients[0].cpu().numpy()
            # Torch records nothing in a backward pass, but a predictor may need it to.
            with torch.enable_grad():
                _, by_gray = differentiable.stimulus_gradient(
                    ctx.clip, neurons, objective, cancelled
                )
            return torch.from_numpy(by_gray * 255)

    def respond(frames: Tensor) -> Tensor:
        apply: Callable[[Tensor], Tensor] = Rates.apply
        return apply(frames)

    return respond
