"""Training of DwiseNeuro: clips of all mice in one batch, CutMix, averaged weights.

A second training can be taught by the model of a first one: its rates are the targets of
each clip for the mice that did not see it.
"""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from omnimouse_model.families.dwiseneuro.network import (
    DwiseCheckpoint,
    DwiseConfig,
    DwiseNetwork,
    stacked,
)
from omnimouse_model.families.parts.clip_training import (
    ClipTrainConfig,
    ClipTraining,
    poisson_sum,
)
from omnimouse_model.storage.trees import Within
from omnimouse_model.training.config import Count
from omnimouse_model.training.sessions import key_number

Share = Annotated[float, Within(0, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DwiseTrainConfig(ClipTrainConfig):
    """Settings of a training; the defaults are those of the public code.

    Attributes
    ----------
    model
        Sizes of the network.
    warmup_steps
        First steps, in which the learning rate rises to `lr`; then it falls to `min_lr`
        along a cosine.
    average
        Share of the averaged weights that a step keeps.
    mixed, mix_alpha
        Share of clips that get a box of another clip, and the parameter of the beta
        distribution of the size of the box.
    teacher
        Checkpoint of a first training on the same sessions; None for recorded responses
        alone.
    distilled
        Share of all weights that the targets of the teacher have.
    """

    model: DwiseConfig = field(default_factory=DwiseConfig)
    clips: Count = 32
    # 18 epochs of 72 000 clips, after 3 with a rising learning rate.
    total_steps: Count = 47_250
    warmup_steps: Annotated[int, Within(0, 10**9)] = 6_750
    lr: float = 2.4e-3
    min_lr: float = 2.4e-5
    weight_decay: float = 0.05
    validate_every: Count = 2_250
    average: Share = 0.999
    mixed: Share = 0.5
    mix_alpha: Annotated[float, Within(1e-6, 1e6)] = 1.0
    teacher: str | None = None
    distilled: Annotated[float, Within(0, 0.999)] = 0.36

    @property
    def frames(self) -> int:
        """Number of frames of a clip; the network reads every `step`-th of them."""
        return self.model.sliding.span


@dataclass(frozen=True, slots=True, eq=False)
class MixedClips:
    """Clips of one mouse, some with a box of another clip.

    Attributes
    ----------
    images
        (B, C, n, height, width).
    responses
        (B, N, n) in units of the rates, NaN where nothing was recorded.
    """

    session: str
    images: Tensor
    responses: Tensor


class DwiseTraining(ClipTraining):
    """A training of all mice together.

    Attributes
    ----------
    averaged
        The network with averaged weights, which is validated and saved.
    teacher
        The network of the first training; None without one.
    """

    title = DwiseNetwork.title
    config, checkpoint = DwiseTrainConfig, DwiseCheckpoint
    load_model = DwiseCheckpoint.load
    parts = (*ClipTraining.parts, "averaged")
    averaged: DwiseNetwork
    teacher: DwiseNetwork | None = None

    # -- start and resume --------------------------------------------------------------
    def __post_init__(self) -> None:
        """Build the networks.

        Raises
        ------
        CheckpointError
            The checkpoint of the teacher is damaged.
        ValueError
            There are several processes, or the teacher knows other neurons.
        """
        super().__post_init__()
        self.averaged = deepcopy(self.net).requires_grad_(False)
        if self.settings.teacher is not None and self.settings.distilled:
            self.teacher = _read_teacher(self.settings, self.net.n_neurons).to(self.device)

    @property
    def result(self) -> DwiseNetwork:
        """The network with averaged weights."""
        return self.averaged

    def start(self) -> bool:
        """Set the biases to the mean responses: else the first rates are far from small ones."""
        for key, source in self.by_key.items():
            mean = np.maximum(source.session.units.mean, 0) / source.session.response_scale
            rates = mean / self.net.units(source.session)
            beta, bias = self.net.config.softplus, self.net.readout_of(key).layer[1].bias
            least = np.maximum(rates, 1e-3)
            with torch.no_grad():
                bias[: len(rates)] = torch.as_tensor(np.log(np.expm1(beta * least)) / beta)
        self.averaged.load_state_dict(self.net.state_dict())
        return False

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> list[MixedClips]:
        """Draw clips of mice, each as probable as the others, and mix some of them."""
        config, keys = self.settings, list(self.by_key)
        rng = np.random.default_rng([config.seed, number])
        counts = np.bincount(rng.integers(len(keys), size=config.clips), minlength=len(keys))
        drawn = zip(keys, counts.tolist(), strict=True)
        return [self._mixed(key, n, number) for key, n in drawn if n]

    def _mixed(self, key: str, n_clips: int, number: int) -> MixedClips:
        config = self.settings
        rng = np.random.default_rng([config.seed, key_number(key), number])
        is_mixed = np.flatnonzero(rng.random(n_clips) < config.mixed)
        starts = rng.choice(self.starts[key], n_clips + len(is_mixed))
        clips, sliding = self.clips(self.by_key[key], starts), config.model.sliding
        images = stacked(config.model, clips.inputs)[:, :, :: sliding.step]
        responses = clips.responses[:, :: sliding.step].transpose(1, 2)
        for other, clip in enumerate(is_mixed, n_clips):
            share = rng.beta(config.mix_alpha, config.mix_alpha)
            row, column = (int(rng.integers(size)) for size in config.model.size)
            images[clip], responses[clip] = cut_mix(
                (images[clip], images[other]),
                (responses[clip], responses[other]),
                share,
                row,
                column,
            )
        return MixedClips(key, images[:n_clips], responses[:n_clips])

    def backward(self, drawn: list[MixedClips]) -> tuple[float, int]:
        """Add the gradients of the clips of all mice."""
        net, device = self.net, self.device
        images = torch.cat([mixed.images for mixed in drawn]).to(device)
        mice = list(net.n_neurons)
        owner = [mice.index(mixed.session) for mixed in drawn for _ in mixed.images]
        weights = F.one_hot(torch.tensor(owner), len(mice)).float().to(device)
        taught = None
        if self.teacher is not None:
            weights = distillation_weights(weights, self.settings.distilled)
            with torch.no_grad():
                taught = self.teacher.features(images)
        recorded = {mixed.session: mixed.responses.to(device) for mixed in drawn}
        features = net.features(images)
        rates, targets = [], []
        for mouse, key in enumerate(mice):
            rate = net.readout_of(key)(features[weights[:, mouse] != 0])
            target = recorded.get(key, rate.new_empty(0, *rate.shape[1:]))
            if self.teacher is not None and taught is not None:
                own, target = target, self.teacher.readout_of(key)(taught).detach()
                target[torch.tensor(owner) == mouse] = own
            is_recorded = target.isfinite()
            # The loss of a rate of 0 and a response of 0 is 0.
            rates.append(rate.where(is_recorded, 0.0))
            targets.append(target.where(is_recorded, 0.0))
        loss = mice_poisson(rates, targets, weights)
        loss.backward()
        n_neurons = sum(net.n_neurons.values()) / len(mice)
        return float(loss.detach()) / (n_neurons * images.shape[2]), len(images)

    def step(self, drawn: Any) -> dict[str, float]:
        """Train on the batches of a step, and average the weights."""
        row = super().step(drawn)
        keep, state = self.settings.average, self.net.state_dict()
        for name, mean in self.averaged.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(state[name], 1 - keep)
            else:
                mean.copy_(state[name])
        return row

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        config, step = self.settings, self.state.step
        if step < config.warmup_steps:
            return float(config.lr * (step + 1) / config.warmup_steps)
        n_steps = max(1, config.total_steps - config.warmup_steps)
        turn = math.pi * (step - config.warmup_steps) / n_steps
        return float(config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(turn)) / 2)


# -- loss, distillation weights and CutMix, as in the public code of the winning solution --
def mice_poisson(
    rates: Sequence[Tensor], responses: Sequence[Tensor], weights: Tensor, eps: float = 1e-8
) -> Tensor:
    """Return the Poisson loss, summed over neurons and frames, of weighted clips.

    Parameters
    ----------
    rates, responses
        (b, N, T) per mouse, of the clips in which it has a weight.
    weights
        (B, M), which are divided by their sum over the batch.
    """
    shares = weights / weights.sum()
    loss = weights.new_zeros(())
    for share, rate, response in zip(shares.T, rates, responses, strict=True):
        for part, own, target in zip(share[share != 0], rate, response, strict=True):
            loss = loss + part * poisson_sum(own, target, eps)
    return loss


def distillation_weights(weights: Tensor, ratio: float) -> Tensor:
    """Return the weights (B, M) with the mice without a recording in equal parts.

    `ratio` of all weights goes to them: 0.36 is 36 %.
    """
    is_distilled = weights == 0
    each = ratio / (1 - ratio) * weights.sum() / is_distilled.sum().clamp(min=1)
    return weights.masked_fill(is_distilled, float(each))


def cut_mix(
    clips: tuple[Tensor, Tensor],
    targets: tuple[Tensor, Tensor],
    share: float,
    row: int,
    column: int,
    *,
    is_public: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return a clip with a box from another one, and the mixed target.

    Parameters
    ----------
    clips, targets
        Two clips (..., H, W), and their targets.
    share, row, column
        Part of the image that the box covers before it is cut at the edges, and its
        center.
    is_public
        As in the public code, which exchanges the axes of the box: the same for square
        images only.

    Returns
    -------
    The target of the other clip weighs as much as its part of the pixels.
    """
    height, width = clips[0].shape[-2:]
    center, size = (row, column), (height, width)
    if is_public:
        center, size = (column, row), (width, height)
    half = [int(n * share**0.5) // 2 for n in size]
    (top, bottom), (left, right) = (
        (max(0, c - h), min(n, c + h)) for c, h, n in zip(center, half, size, strict=True)
    )
    mixed = clips[0].clone()
    mixed[..., top:bottom, left:right] = clips[1][..., top:bottom, left:right]
    part = (bottom - top) * (right - left) / (height * width)
    return mixed, (1 - part) * targets[0] + part * targets[1]


# -- the model of a first training -----------------------------------------------------
def _read_teacher(config: DwiseTrainConfig, n_neurons: Mapping[str, int]) -> DwiseNetwork:
    path = Path(str(config.teacher))
    checkpoint = DwiseCheckpoint.read(path)
    shared = ("channels", "size", "sliding", "unit")
    wanted, found = (
        {"sessions": dict(counts)} | {name: getattr(model, name) for name in shared}
        for counts, model in (
            (n_neurons, config.model),
            (checkpoint.sessions, checkpoint.config),
        )
    )
    for name, value in wanted.items():
        if found[name] != value:
            raise ValueError(
                f"teacher {path} has {name} {found[name]}, and this training {value}: "
                "train both on the same sessions, windows and units."
            )
    network: DwiseNetwork = checkpoint.build()
    return network
