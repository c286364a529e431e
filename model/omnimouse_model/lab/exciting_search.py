"""Most exciting inputs of a predictor: the search from several starts, and its files."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session
from omnimouse_model.errors import ExportError, UnsupportedRequestError
from omnimouse_model.extras import missing_extra, named_extras
from omnimouse_model.lab.stimuli.stimulus import GRAY
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Differentiable, Predictor, of_family, prediction_of
from omnimouse_model.progress import QUIET, Cancelled, Job, lasting, never, shows_progress, stop_if
from omnimouse_model.storage.arrays.npy import packed_arrays
from omnimouse_model.storage.write import atomic_path, write_bytes

# -- most exciting inputs: the image or video to which chosen neurons respond most ----
# Pixels of any size are normalised, scaled and bounded to grey levels from 0 to 1, so
# that a step never leaves the monitor. The objective is a sum over frames of the mean of
# r^-τ over the neurons, plus a penalty on the difference to a blurred stimulus.
#
# Source: Wang et al. 2025 and its public code.
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
        self, start: Float[np.ndarray, "frame height width"], settings: ExcitingSettings
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
        return grey.round().to(torch.uint8).cpu().numpy()


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


# -- searches of most exciting inputs of a predictor, from several starts -------------
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

    @property
    def summary(self) -> str:
        """Response to the best stimulus and to grey, and how well two searches agree."""
        n = len(self.neurons)
        text = (
            f"{n:,} neuron{'s' if n > 1 else ''}: response {self.best_response:z.2f} "
            f"s.d., to a grey screen {self.gray_response:z.2f}"
        )
        if self.agreement is None:
            return text
        return f"{text}; two searches agree with r = {self.agreement:z.2f}"


@shows_progress
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
    name, cancelled = predictor.predictor_id, lasting(cancelled)
    with of_family(name, cancelled):
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
            found = prediction_of(predictor, ctx.clip, mask, neurons, cancelled)
            return torch.from_numpy(found.responses.copy())

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            objective = gradients[0].cpu().numpy()
            # Torch records nothing in a backward pass, but a predictor may need it to.
            with torch.enable_grad(), of_family(name, cancelled):
                _, by_gray = differentiable.stimulus_gradient(
                    ctx.clip, neurons, objective, cancelled
                )
            return torch.from_numpy(by_gray * 255)

    def respond(frames: Tensor) -> Tensor:
        apply: Callable[[Tensor], Tensor] = Rates.apply
        return apply(frames)

    return respond


# -- files of most exciting inputs: arrays, and a picture or a film of the best one ---
_HEIGHT: Final = 288
"""Height of a film in pixels, about; players show small ones as a stamp."""
_QUALITY: Final = "12"
"""Rate factor of H.264: differences to the arrays are below the steps of the eye."""


def write_exciting(found: ExcitingInputs, folder: Path) -> list[Path]:
    """Write all stimuli as NPZ, and the best one as PNG (an image) or MP4 (a video).

    Returns the paths. Existing files are replaced, each as a whole.

    Raises
    ------
    ExportError
        PyAV (the extra `video`), which writes films, is not installed. The arrays are
        written.
    """
    with named_extras():
        from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    arrays = folder / "exciting.npz"
    write_bytes(arrays, packed_arrays(_arrays(found)))
    best = found.videos[0]
    picture = folder / ("exciting.png" if found.settings.is_static else "exciting.mp4")
    with atomic_path(picture) as temporary:
        if found.settings.is_static:
            Image.fromarray(best[0]).save(temporary, "PNG")
        else:
            write_film(temporary, best, found.rate_hz)
    return [picture, arrays]


def write_film(path: Path, frames: UInt8[np.ndarray, "frame height width"], rate_hz: float) -> None:
    """Write gray frames as MP4 (H.264); pixels become blocks of an even number.

    Raises
    ------
    ExportError
        PyAV is not installed.
    """
    av = film_module()
    # H.264 in four to two colours, which all players read, needs even sizes.
    side = 2 * max(1, round(_HEIGHT / (2 * frames.shape[1])))
    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("h264", rate=Fraction(rate_hz).limit_denominator(1001))
        stream.height, stream.width = (side * n for n in frames.shape[1:])
        stream.pix_fmt, stream.options = "yuv420p", {"crf": _QUALITY}
        for frame in frames:
            large = np.repeat(np.repeat(frame, side, axis=0), side, axis=1)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(large, format="gray")))
        film.mux(stream.encode())


def film_module() -> Any:
    """Return PyAV; raise `ExportError` if it is missing."""
    try:
        return import_module("av")
    except ImportError as error:
        raise ExportError(missing_extra(error) or str(error)) from None


def _arrays(found: ExcitingInputs) -> dict[str, np.ndarray]:
    about = {
        "settings": asdict(found.settings),
        "rate_hz": found.rate_hz,
        "seeds": found.seeds,
        "neurons": found.neurons.tolist(),
        "predictor": found.predictor_id,
        "session": found.session_id,
        "gray": GRAY,
        "gray_response": found.gray_response,
    }
    return {
        "videos": found.videos,
        "responses": found.responses,
        "courses": found.courses,
        "about": np.array(json.dumps(about)),
    }
