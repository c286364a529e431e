"""Responses of a predictor that can be differentiated by the stimulus."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.lab.exciting_inputs import Respond
from omnimouse_model.masks import Mask
from omnimouse_model.predict.capabilities import Differentiable
from omnimouse_model.predict.predictor import Predictor


def respond_with(
    predictor: Predictor, session: Session, neurons: Int64[np.ndarray, " n"]
) -> Respond:
    """Return a function from frames to the responses of neurons, for `search_exciting`.

    Frames have grey levels from 0 to 1, which a predictor reads after rounding to 256
    levels. Behaviour is that of an average moment.

    Raises
    ------
    UnsupportedRequestError
        The predictor does not offer the gradient of its responses.
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
            found = predictor.decode(predictor.encode(ctx.clip, mask), neurons)
            return torch.from_numpy(found.responses.copy())

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            objective = gradients[0].cpu().numpy()
            # Torch records nothing in a backward pass, but a predictor may need it to.
            with torch.enable_grad():
                _, by_gray = differentiable.stimulus_gradient(ctx.clip, neurons, objective)
            return torch.from_numpy(by_gray * 255)

    def respond(frames: Tensor) -> Tensor:
        apply: Callable[[Tensor], Tensor] = Rates.apply
        return apply(frames)

    return respond
