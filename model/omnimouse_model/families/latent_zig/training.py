"""Training of the latent model: likelihood of hidden responses, and a prior of latents.

The first steps train the video model alone. Then half of the responses are hidden, the
others give the posterior of the latents, and the likelihood is that of the hidden ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.latent_zig.density import (
    Variant,
    divergence,
    fit_shape,
    log_likelihood,
)
from omnimouse_model.families.latent_zig.network import LATENT_ZIG, ZigConfig, theta_and_q
from omnimouse_model.families.parts.clip_training import Batch, CoreTrainConfig, CoreTraining
from omnimouse_model.families.parts.video_clips import Inputs
from omnimouse_model.masks import Mask
from omnimouse_model.training.config import Count

_HIDDEN = 0.5
"""Share of the responses that are hidden."""
_SHAPE_CLIPS = 200
"""Train clips from which the shape of each neuron is fitted."""


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


class ZigTraining(CoreTraining):
    """Training of the latent model on video and responses."""

    family = LATENT_ZIG
    config = ZigTrainConfig

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> ZigTrainConfig:
        """Return the training config from a parsed file (`Training.read`)."""
        config: ZigTrainConfig = super().read(tree)
        if config.model.latent is not None and config.model.latent.position_layers:
            raise ValueError("latent.position_layers is read from published weights only: use [].")
        return config

    def start(self) -> bool:
        """Fit the shape of the gamma part of each neuron to train clips."""
        for key, source in self.sessions.items():
            clips = self.clips(source, spread_starts(self.starts[key], _SHAPE_CLIPS))
            shape = fit_shape(clips.responses.flatten(0, 1))
            self.net.shape(key).copy_(shape)
        return False

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
        is_latent = self.state.step > self.settings.video_steps

        def mask(session: Session) -> Mask:
            spec = self.family.spec(self.net.config)
            made = Mask.nothing(session, spec).with_frames(True)
            neurons = np.arange(session.n_neurons)
            if is_latent and self.settings.model.latent is not None:
                made = made.show(neurons[::2])
            return made.ask(neurons[1::2])

        return Condition("video and half of the population", mask)
