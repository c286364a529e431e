"""Training of the latent model: likelihood of hidden responses, and a prior of latents.

The first steps train the video model alone. Then half of the responses are hidden, the
others give the posterior of the latents, and the likelihood is that of the hidden ones.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.latent_zig.network import (
    THRESHOLD,
    Variant,
    ZigCheckpoint,
    ZigConfig,
    ZigNetwork,
    divergence,
    fit_shape,
    log_likelihood,
    theta_and_q,
)
from omnimouse_model.families.parts.clip_models import Inputs
from omnimouse_model.families.parts.clip_training import (
    START_CLIPS,
    Batch,
    CoreTrainConfig,
    CoreTraining,
)
from omnimouse_model.families.parts.core_start import features_of, neuron_weights
from omnimouse_model.families.parts.factorised import inverse_elu, module_key
from omnimouse_model.masks import Mask
from omnimouse_model.training.config import Count
from omnimouse_model.training.loop import seeded

_HIDDEN = 0.5
"""Share of the responses that are hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZigTrainConfig(CoreTrainConfig):
    """Settings of a training; the defaults are those of the public code.

    Attributes
    ----------
    model
        Sizes of the network.
    video_steps
        First steps, which train the video model alone.
    draws
        Draws of the posterior.
    kl_weight
        Weight of the divergence from the prior.
    kl_variant, likelihood_variant
        "public" reproduces the public scripts, whose values are no likelihood.
    """

    lr_patience: Count = 10
    min_lr: float = 1e-5
    model: ZigConfig = field(default_factory=ZigConfig)
    video_steps: int = 3_000
    draws: Count = 100
    kl_weight: float = 5.0
    kl_variant: Variant = "correct"
    likelihood_variant: Variant = "correct"

    def __post_init__(self) -> None:
        CoreTrainConfig.__post_init__(self)
        latent = self.model.latent
        if latent is not None and latent.position_layers:
            raise ValueError("latent.position_layers is read from published weights only: use [].")
        if self.start == "motion-energy" and latent is not None:
            n = latent.n_latents
            if latent.hidden < n or latent.stitch < 2 * n or latent.layers > 1:
                raise ValueError(
                    f"start: motion-energy needs one GRU layer, latent.hidden of at least {n} and "
                    f"latent.stitch of at least {2 * n}"
                )


class ZigTraining(CoreTraining):
    """One training run of the latent model, on video and responses."""

    title = ZigNetwork.title
    config, checkpoint = ZigTrainConfig, ZigCheckpoint
    load_model = ZigCheckpoint.load

    def start(self) -> bool:
        """Fit the shape of the gamma part of each neuron, and the start that is set."""
        for key, source in self.by_key.items():
            clips = self.clips(source, spread_starts(self.starts[key], START_CLIPS))
            shape = fit_shape(clips.responses.flatten(0, 1))
            self.net.shape(key).copy_(shape)
        if self.settings.start == "random":
            return False
        for key, chunks in self.start_core().items():
            start_video(self.net, key, chunks)
            if self.net.config.latent is not None:
                with seeded(self.settings.seed):
                    start_latents(self.net, key, torch.cat([values for _, values in chunks]))
        return True

    def loss(self, batch: Batch, inputs: Inputs) -> tuple[Tensor, float]:
        """Return the loss per frame: minus the log-likelihood of hidden responses, and a penalty.

        The penalty is the divergence of the latents from their prior. The first steps,
        of the video model alone, score all responses and have no penalty.
        """
        config, net = self.settings, self.net
        maps = net.core(inputs.video(net.config.core.channels))
        n_neurons, total_frames = net.n_neurons[batch.session], len(maps) * maps.shape[2]
        n_frames = maps.shape[2]
        places = torch.randn(total_frames, n_neurons, 2, device=self.device)
        logit_q, log_theta = net.readout_of(batch.session).parameters_at(maps, noise=places)
        responses = batch.responses.to(self.device)
        scored = responses[:, -n_frames:].isfinite()
        k = net.shape(batch.session)
        if self.state.step < config.video_steps or config.model.latent is None:
            theta, q = theta_and_q(logit_q, log_theta)
            found = log_likelihood(
                responses[:, -n_frames:].nan_to_num(),
                theta,
                k,
                q,
                variant=config.likelihood_variant,
            )
            return -(found * scored).sum() / total_frames, float(scored.sum()) / total_frames
        is_hidden = torch.rand_like(responses) <= _HIDDEN
        shown = torch.where(is_hidden, 0.0, responses.nan_to_num()) / (1 - _HIDDEN)
        means = net.posterior(shown, batch.session, n_frames)
        normal = torch.randn(*means.shape, config.draws, device=self.device)
        spread = net.sigma.square()
        draws = means[..., None] + spread.sqrt() * normal
        theta, q = theta_and_q(logit_q, log_theta, draws, net.latent_weights(batch.session))
        found = log_likelihood(
            responses[:, -n_frames:].nan_to_num()[..., None],
            theta,
            k[:, None],
            q,
            variant=config.likelihood_variant,
        ).mean(-1)
        scored = scored & is_hidden[:, -n_frames:]
        apart = divergence(means, spread, config.kl_variant)
        total = config.kl_weight * apart - (found * scored).sum()
        return total / total_frames, float(scored.sum()) / total_frames

    def condition(self) -> Condition:
        """Return video; after the first steps also half of the neurons, to predict the others."""
        first = self.settings.video_steps
        is_latent = self.state.step > first or not first

        def mask(session: Session) -> Mask:
            made = Mask.nothing(session, self.net.config.spec).with_frames(True)
            neurons = np.arange(session.n_neurons)
            if is_latent and self.settings.model.latent is not None:
                made = made.show(neurons[::2])
            return made.ask(neurons[1::2])

        return Condition("video and half of the population", mask)


# -- start values ----------------------------------------------------------------------
_BIN = 6
"""Frames over which responses are averaged before their components are computed."""
_KEPT, _RISE = 0.8, 0.5
"""Share of its state that a unit of the GRU keeps, and what it takes of a component."""
_FIRST_SPREAD = 0.3
_OFFSET = 2.0
"""Added to features that have a mean of about 0."""


@torch.no_grad()
def _moments(net: ZigNetwork, session: str, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return q (N,), theta (N,), and the logarithmic excess of responses (..., N).

    The excess is about the change of log theta that would explain a response above the
    threshold; NaN for others.
    """
    k, is_known = net.shape(session), observed.isfinite()
    is_above = observed > THRESHOLD
    axes = tuple(range(observed.ndim - 1))
    q = (is_above.sum(axes) / is_known.sum(axes).clamp(min=1)).clamp(0.01, 0.99)
    excess = torch.where(is_above, observed - THRESHOLD, torch.nan)
    theta = excess.nansum(axes) / is_above.sum(axes).clamp(min=1) / k
    theta = theta.clamp(min=1e-3)
    return q, theta, excess / (k * theta) - 1


@torch.no_grad()
def start_video(net: ZigNetwork, session: str, chunks: list[tuple[Tensor, Tensor]]) -> None:
    """Fit the readout of a session to chunks of maps and responses, as `start_readout` does."""
    readout = net.readout_of(session)
    q, theta, _ = _moments(net, session, torch.cat([values for _, values in chunks]))
    rows: tuple[list[tuple[Tensor, Tensor]], ...] = ([], [])
    for chunk in chunks:
        found, observed = features_of(readout, *chunk)
        _, _, excess = _moments(net, session, observed)
        is_above = torch.where(observed.isfinite(), (observed > THRESHOLD).float(), torch.nan)
        # There is no bias: the weights of features that are never 0 have to make it.
        rows[0].append((found + _OFFSET, q.logit() + (is_above - q) / (q * (1 - q))))
        slope = theta.clamp(max=1.0)
        rows[1].append((found + _OFFSET, inverse_elu(theta) + slope * excess))
    weights = torch.stack([neuron_weights(one, has_bias=False)[0] for one in rows], -1)
    # The public code reads the memory of the weights in another shape: see `ZigReadout`.
    readout._features.view(-1, *weights.shape[:1], 2).copy_(weights.transpose(0, 1))
    assert readout.conv.bias is not None
    readout.conv.bias.fill_(_OFFSET)
    frames, channels = (size // 2 for size in readout.conv.kernel_size)
    readout.conv.weight.zero_()
    readout.conv.weight[:, :, frames, channels] = 1.0


@torch.no_grad()
def start_latents(net: ZigNetwork, session: str, responses: Tensor) -> None:
    """Start at latents that are principal components of the responses (B, T, N), smoothed.

    The units of the GRU begin as leaky integrators of the components, and the latent
    weights are linear regressions of the responses.
    """
    assert net.config.latent is not None
    filled, key = responses.nan_to_num(), module_key(session)
    encoder, n = net.encoder, net.config.latent.n_latents
    binned = filled.unfold(1, _BIN, _BIN).mean(-1).flatten(0, 1)
    middle = binned.mean(0)
    _, spreads, axes = torch.linalg.svd(binned - middle, full_matrices=False)
    axes = axes[:n] / (spreads[:n, None] / len(binned) ** 0.5)
    stitch = encoder.linear[key]
    assert isinstance(stitch, nn.Linear)
    # Both signs, because the ELU cuts one; the constants keep the norm from changing.
    stitch.weight.zero_()
    stitch.weight[:n], stitch.weight[n : 2 * n] = axes, -axes
    stitch.bias[:n], stitch.bias[n : 2 * n] = -axes @ middle, axes @ middle
    stitch.bias[2 * n :] = 2.0 * (-1.0) ** torch.arange(len(stitch.bias) - 2 * n)
    gru, size = encoder.GRU, net.config.latent.hidden
    of_gru, units = dict(gru.named_parameters()), torch.arange(n)
    for values in of_gru.values():
        # Of the gates: reset, update, new.
        values.unflatten(0, (3, size))[:, :n] = 0.0
    of_gru["weight_ih_l0"][2 * size + units, units] = _RISE
    of_gru["weight_ih_l0"][2 * size + units, n + units] = -_RISE
    of_gru["bias_ih_l0"][size : size + n] = math.log(_KEPT / (1 - _KEPT))
    last = encoder.final_linear
    last.weight.zero_()
    last.weight[units, units] = 1.0
    last.bias.zero_()
    shown = torch.where(torch.rand_like(filled) <= _HIDDEN, 0.0, filled) / (1 - _HIDDEN)
    latents = net.posterior(shown, session, filled.shape[1])
    mean, spread = latents.mean((0, 1)), latents.std((0, 1)).clamp(min=1e-3)
    last.weight /= spread[:, None]
    last.bias.copy_(-mean / spread)
    net.sigma.fill_(_FIRST_SPREAD)
    latents = ((latents - mean) / spread).flatten(0, 1)
    q, _, excess = _moments(net, session, filled.flatten(0, 1))
    is_above = (filled > THRESHOLD).float().flatten(0, 1)
    inverse = torch.linalg.inv(latents.T @ latents / len(latents) + 0.1 * torch.eye(n))
    of_q = inverse @ (latents.T @ (is_above - q)) / len(latents) / (q * (1 - q))
    of_theta = inverse @ (latents.T @ excess.nan_to_num()) / is_above.sum(0).clamp(min=1)
    net.latent_feature[f"{key}_q"].copy_(of_q)
    net.latent_feature[f"{key}_theta"].copy_(of_theta)
