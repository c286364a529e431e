"""Most exciting inputs: the image or video to which chosen neurons respond most.

Pixels of any size are normalised, scaled and bounded to grey levels from 0 to 1, so
that a step never leaves the monitor. The objective is a sum over frames of the mean of
r^-τ over the neurons, plus a penalty on the difference to a blurred stimulus.

Source: Wang et al. 2025 and its public code.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

Responses = Float32[Tensor, "frame neuron"]
Respond = Callable[[Float32[Tensor, "frame height width"]], Responses]
"""Returns the rates of the chosen neurons to frames, and can be differentiated."""


@dataclass(frozen=True, slots=True)
class ExcitingSettings:
    """Settings of a search.

    Attributes
    ----------
    is_static
        One image for all frames, instead of a video.
    temperature
        τ: a large one makes weak responses count most. A negative one minimises the
        response.
    burn_in
        First frames whose responses do not count.
    penalty
        Weight of the difference to the blurred stimulus.
    spatial_sd, temporal_sd, cutoff
        Blur in pixels and frames; its kernels end at `cutoff` standard deviations.
    contrast
        First gain of the normalised pixels.
    lr, momentum
        Of gradient descent.
    """

    is_static: bool = True
    temperature: float = 0.5
    burn_in: int = 0
    penalty: float = 1e-3
    spatial_sd: float = 1.0
    temporal_sd: float = 1.0
    cutoff: float = 4.0
    contrast: float = 0.1
    lr: float = 2.0
    momentum: float = 0.9


class ExcitingStimulus(nn.Module):
    """Parameters of the stimulus that is optimised: pixels, contrast, brightness.

    Parameters
    ----------
    start
        First pixels (frame, height, width), of any size. A static stimulus takes the
        first frame for all.
    """

    def __init__(
        self,
        start: Float[np.ndarray, "frame height width"],
        settings: ExcitingSettings,
    ) -> None:
        super().__init__()
        raw = torch.from_numpy(np.array(start, np.float32))
        if settings.is_static:
            raw = raw[:1].expand_as(raw).clone()
        self.settings = settings
        self.raw = nn.Parameter(raw)
        self.gain = nn.Parameter(torch.tensor(float(settings.contrast)))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def pixels(self) -> Float32[Tensor, "frame height width"]:
        """Return the pixels with a mean square of 1."""
        norm = self.raw.norm()
        if not norm:
            return self.raw.clone()
        pixels: Tensor = self.raw / norm * math.sqrt(self.raw.numel())
        if self.settings.is_static and pixels.requires_grad:
            # All frames move together.
            pixels.register_hook(lambda g: g.mean(0, keepdim=True).expand_as(g))
        return pixels

    def frames(self, pixels: Tensor) -> Float32[Tensor, "frame height width"]:
        """Return grey levels from 0 to 1."""
        return torch.sigmoid(pixels * self.gain + self.bias)

    def penalty(self, pixels: Tensor) -> Tensor:
        """Return the squared difference to the blurred pixels."""
        settings = self.settings
        temporal_sd = 0.0 if settings.is_static else settings.temporal_sd
        blurred = blur(pixels, settings.spatial_sd, temporal_sd, settings.cutoff)
        return ((pixels - blurred) ** 2).sum()

    @torch.no_grad()
    def video(self) -> np.ndarray:
        """Return the stimulus as uint8 (frame, height, width)."""
        grey = self.frames(self.pixels()) * 255
        video: np.ndarray = grey.round().to(torch.uint8).cpu().numpy()
        return video


@dataclass(frozen=True, slots=True)
class ExcitingStep:
    """State of a search before a step.

    Attributes
    ----------
    loss, penalty
        Sum over frames of the mean of r^-τ; the penalty without its weight.
    response
        Mean response over the frames that count.
    """

    loss: float
    penalty: float
    response: float


def search_exciting(
    stimulus: ExcitingStimulus, respond: Respond, n_steps: int
) -> Iterator[ExcitingStep]:
    """Change a stimulus by gradient descent, and yield the loss before each step.

    The stimulus is changed in place.

    Parameters
    ----------
    respond
        Returns the responses of the chosen neurons; its weights must not need
        gradients.

    Raises
    ------
    ValueError
        The objective is not finite, because all responses are 0.
    """
    settings = stimulus.settings
    velocity = {p: torch.zeros_like(p) for p in stimulus.parameters()}
    for _ in range(n_steps):
        stimulus.zero_grad()
        loss, penalty, response = exciting_loss(stimulus, respond)
        if not torch.isfinite(loss):
            raise ValueError(
                "The objective is not finite: the neurons do not respond to this "
                "stimulus. Begin with another one."
            )
        (loss + settings.penalty * penalty).backward()
        yield ExcitingStep(float(loss.detach()), float(penalty.detach()), float(response.detach()))
        with torch.no_grad():
            for parameter, speed in velocity.items():
                assert parameter.grad is not None
                gradient = parameter.grad
                # Contrast and brightness act on all pixels at once.
                if parameter is not stimulus.raw:
                    gradient = gradient / stimulus.raw.numel()
                speed.mul_(settings.momentum).add_(gradient)
                parameter.sub_(settings.lr * speed)


def exciting_loss(stimulus: ExcitingStimulus, respond: Respond) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss, penalty and mean response of a stimulus."""
    settings = stimulus.settings
    pixels = stimulus.pixels()
    rates = respond(stimulus.frames(pixels))[settings.burn_in :]
    loss = (rates**-settings.temperature).mean(1).sum()
    return loss, stimulus.penalty(pixels), rates.mean()


def blur(
    pixels: Float32[Tensor, "frame height width"],
    spatial_sd: float,
    temporal_sd: float,
    cutoff: float,
) -> Float32[Tensor, "frame height width"]:
    """Return pixels blurred by a Gaussian in time and space, with repeated edges."""
    x = pixels[None, None]
    for axis, sd in ((2, temporal_sd), (3, spatial_sd), (4, spatial_sd)):
        kernel = gaussian_kernel(sd, cutoff).to(pixels)
        pad = [0] * 6
        # Pads are listed from the last axis to the first.
        pad[2 * (4 - axis)] = pad[2 * (4 - axis) + 1] = len(kernel) // 2
        shape = [1] * 5
        shape[axis] = len(kernel)
        padded = F.pad(x, pad, mode="replicate") if len(kernel) > 1 else x
        x = F.conv3d(padded, kernel.reshape(shape))
    return x[0, 0]


def gaussian_kernel(sd: float, cutoff: float) -> Tensor:
    """Return a Gaussian of sum 1, up to `cutoff` standard deviations; [1] for sd 0."""
    half = math.ceil(sd * cutoff)
    if not half:
        return torch.ones(1)
    x = np.arange(-half, half + 1)
    kernel = np.exp(-0.5 * (x / sd) ** 2)
    return torch.from_numpy((kernel / kernel.sum()).astype(np.float32))
