"""The latent zero-inflated gamma model: its network, a distribution of responses, its training.

    video -> FactorisedCore -> ZigReadout of the session -> logit q, log theta
    responses, partly hidden -> ResponseEncoder -> posterior means of the latents
    latents -> weights of each neuron -> added to logit q and log theta

The posterior variance is one number. Without latents the model is the video model alone.

Axes: B clips, T frames of responses, T' frames of output, N neurons, D latents, S draws.

Source: Schmidt et al. 2025 and its public code.

The module is long because its likelihood and what is trained with it are read together.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.parts.clips import Batch, ClipCheckpoint, Inputs, clip_spec
from omnimouse_model.families.parts.factorised import (
    START_CLIPS,
    CoreConfig,
    CoreNetwork,
    CoreTrainConfig,
    CoreTraining,
    FactorisedCore,
    GaussianReadout,
    OnCore,
    ReadoutConfig,
    by_session,
    features_of,
    inverse_elu,
    module_key,
    neuron_weights,
    rows_of,
)
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import Copies, Size
from omnimouse_model.progress import Cancelled
from omnimouse_model.storage.trees import Within
from omnimouse_model.training.config import Count
from omnimouse_model.training.loop import seeded

# -- the zero-inflated gamma distribution, its moments, and the losses of the model -----
# A response is uniform on [0, rho] with probability 1 - q, and otherwise rho plus a gamma
# variable of shape k and scale theta.
#
# `variant="public"` reproduces the public scripts, whose values are no likelihood: they
# apply the gamma term to zeros, too, count y = rho twice, and exchange the two Gaussians of
# the divergence. Published numbers can be compared with them only.
Variant = Literal["correct", "public"]
THRESHOLD = 0.005
"""rho of the published model."""


def log_likelihood(
    responses: Tensor,
    theta: Tensor,
    k: Tensor,
    q: Tensor,
    rho: float | Tensor = THRESHOLD,
    variant: Variant = "correct",
) -> Tensor:
    """Return the log-likelihood of each response, in nats.

    A response of exactly `rho`, and a negative one, belongs to the uniform part.
    """
    rho = torch.as_tensor(rho, dtype=responses.dtype, device=responses.device)
    above, below = responses > rho, responses <= rho
    # 1 keeps the logarithm defined where the gamma part is not used.
    excess = torch.where(above, responses - rho, 1.0)
    shape = k * theta.log() + torch.lgamma(k)
    gamma = q.log() + (k - 1) * excess.log() - excess / theta - shape
    if variant == "correct":
        return torch.where(above, gamma, (1 - q).log() - rho.log())
    # The logarithms of the scripts have 1 - q + mask and q + mask as arguments.
    uniform = (1 - q).log() - shape
    both = (2 - q).log() + (1 + q).log() - shape
    return torch.where(above, gamma, torch.where(below & (responses >= rho), both, uniform))


def mean(theta: Tensor, k: Tensor, q: Tensor, rho: float = THRESHOLD) -> Tensor:
    """Return the mean of the distribution."""
    return q * (k * theta + rho) + (1 - q) * rho / 2


def variance(theta: Tensor, k: Tensor, q: Tensor, rho: float = THRESHOLD) -> Tensor:
    """Return the variance of the distribution."""
    between = q * (1 - q) * (k * theta + rho / 2) ** 2
    return q * k * theta**2 + (1 - q) * rho**2 / 12 + between


def divergence(means: Tensor, spread: Tensor, variant: Variant = "correct") -> Tensor:
    """Return the sum of KL(posterior || standard normal) over all latents.

    Parameters
    ----------
    means
        Posterior means, any shape.
    spread
        Posterior variance, (1,), the same for all.
    """
    n = means.numel()
    squares = means.square().sum()
    if variant == "public":
        return ((n + squares) / spread - n + n * spread.log()) / 2
    return (n * spread + squares - n - n * spread.log()) / 2


def fit_shape(responses: Tensor) -> Tensor:
    """Return the maximum-likelihood shape k (N,) of the gamma part of each neuron.

    Parameters
    ----------
    responses
        (T, N); NaN where missing. Responses of at least `THRESHOLD` are used, at most
        80 each.

    A neuron with fewer than two different such responses gets k = 1.
    """
    values = responses.double().clamp(max=80.0) - THRESHOLD
    used = values > 0
    n = used.sum(0).clamp(min=1)
    total = torch.where(used, values, 0.0).sum(0)
    logs = torch.where(used, values.clamp(min=1e-12).log(), 0.0).sum(0)
    gap = (total / n).log() - logs / n
    is_known = (used.sum(0) > 1) & (gap > 1e-9)
    gap = torch.where(is_known, gap, 0.5772)
    # Minka's start, then Newton steps on log k - digamma(k) = gap.
    k = (3 - gap + ((gap - 3) ** 2 + 24 * gap).sqrt()) / (12 * gap)
    for _ in range(8):
        slope = 1 / k - torch.polygamma(1, k)
        k = (k - (k.log() - torch.digamma(k) - gap) / slope).clamp(1e-3, 1e4)
    return torch.where(is_known, k, 1.0).float()


# -- sizes -----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class LatentConfig:
    """Sizes of the latent part; the defaults are the published ones.

    Attributes
    ----------
    n_latents
        Number of latents.
    stitch, hidden, layers
        Width after the session's linear layer, and width and layers of the GRU.
    position_layers
        Widths of the network from cortical x, y, z to a neuron's latent weights; empty
        for free weights.
    """

    n_latents: Size = 12
    stitch: Size = 42
    hidden: Size = 20
    layers: Copies = 1
    position_layers: Annotated[tuple[Size, ...], Within(0, 64)] = ()

    def __post_init__(self) -> None:
        if self.position_layers and self.position_layers[-1] != self.n_latents:
            raise ValueError(
                f"position_layers end with {self.position_layers[-1]}; expected n_latents "
                f"({self.n_latents})."
            )


@dataclass(frozen=True, slots=True)
class ZigConfig(OnCore):
    """Sizes of the model; the defaults are the published ones.

    Attributes
    ----------
    kernel
        Convolution of a neuron's features, along frames and along channels.
    latent
        The latent part; None for the video model.
    """

    core: CoreConfig = field(default_factory=lambda: CoreConfig(channels=1))
    readout: ReadoutConfig = field(default_factory=lambda: ReadoutConfig(has_bias=False))
    kernel: tuple[Size, Size] = (11, 5)
    latent: LatentConfig | None = LatentConfig()

    @property
    def spec(self) -> WindowSpec:
        """Windows that the network reads."""
        return clip_spec(self.core.lost_frames, reads_behavior=False)


class ZigReadout(GaussianReadout):
    """Two values per neuron: logit q and log theta."""

    def __init__(
        self, config: ZigConfig, n_neurons: int, coordinates: Tensor | None = None
    ) -> None:
        super().__init__(config.readout, config.core.widths[-1], n_neurons, 2, coordinates)
        padding = (config.kernel[0] // 2, config.kernel[1] // 2)
        self.conv = nn.Conv2d(1, 2, config.kernel, padding=padding)

    def parameters_at(
        self, maps: Tensor, noise: Tensor | None = None, neurons: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return logit q and log theta (B, T', n) from maps (B, width, T', h, w)."""
        n_clips = len(maps)
        found = self.features_at(rows_of(maps), noise=noise, neurons=neurons)
        # (B * n, 1, T', width): the convolution is the same for all neurons.
        found = found.unflatten(0, (n_clips, -1)).permute(0, 3, 1, 2).flatten(0, 1)[:, None]
        values = self.conv(found)
        # The public code reads the memory of (1, width, 2, N) as (width, N, 2).
        _, width, _, n = self._features.shape
        weights = self._features.reshape(width, n, 2)
        if neurons is not None:
            weights = weights[:, neurons]
        values = values.unflatten(0, (n_clips, -1))
        logit_q, log_theta = torch.einsum("bnotc,cno->obtn", values, weights)
        return logit_q, log_theta


class ResponseEncoder(nn.Module):
    """Posterior means of the latents, from responses."""

    def __init__(self, config: LatentConfig, n_neurons: Mapping[str, int]) -> None:
        super().__init__()
        self.linear = by_session((s, nn.Linear(n, config.stitch)) for s, n in n_neurons.items())
        self.norm = nn.LayerNorm(config.stitch)
        dropout = 0.1 if config.layers > 1 else 0.0
        self.GRU = nn.GRU(
            config.stitch, config.hidden, config.layers, batch_first=True, dropout=dropout
        )
        self.final_linear = nn.Linear(config.hidden, config.n_latents)

    def forward(self, responses: Tensor, session: str) -> Tensor:
        """Return posterior means (B, T, D) of responses (B, T, N), hidden ones 0."""
        stitched = self.linear[module_key(session)](responses)
        states, _ = self.GRU(F.elu(self.norm(stitched)))
        return self.final_linear(states)


class _PositionNetwork(nn.Module):
    """Latent weights of neurons from their cortical positions."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *widths[:-1]), widths, strict=True):
            layers += [nn.Linear(inputs, outputs), nn.ELU()]
        self.network = nn.Sequential(*layers)

    def forward(self, positions: Tensor) -> Tensor:
        """Return (N, D) of z-scored positions (N, 3)."""
        return self.network(positions)


class _Shapes(nn.Module):
    """The fitted shape k of each neuron, by session."""

    def __init__(self, n_neurons: Mapping[str, int]) -> None:
        super().__init__()
        for session, n in n_neurons.items():
            self.register_buffer(module_key(session), torch.ones(n))


class ZigNetwork(CoreNetwork):
    """Distribution of the responses of several sessions that share core and encoder.

    Parameters
    ----------
    n_neurons
        Session -> number of neurons.
    coordinates
        Session -> `source_grid` of its neurons; from the weights where absent.
    """

    family, title = "latent_zig", "latent zero-inflated gamma model"
    reads_responses = True

    def __init__(
        self,
        config: ZigConfig,
        n_neurons: Mapping[str, int],
        coordinates: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.n_neurons = config, dict(n_neurons)
        known = coordinates or {}
        self.core = FactorisedCore(config.core)
        self.readout = by_session(
            (s, ZigReadout(config, n, known.get(s))) for s, n in n_neurons.items()
        )
        self.sigma = nn.Parameter(torch.ones(1))
        keys = {module_key(s): n for s, n in n_neurons.items()}
        # Of the public files; unused, because rho is fixed and k is fitted beforehand.
        self.logloc, self.logk = (
            nn.ParameterDict({s: torch.zeros(1, n) for s, n in keys.items()}) for _ in range(2)
        )
        self.fitted_k = _Shapes(n_neurons)
        if (latent := config.latent) is None:
            return
        self.encoder = ResponseEncoder(latent, n_neurons)
        if latent.position_layers:
            self.mlp_q, self.mlp_theta = (
                by_session((s, _PositionNetwork(latent.position_layers)) for s in n_neurons)
                for _ in range(2)
            )
        else:
            self.latent_feature = nn.ParameterDict(
                {
                    f"{s}_{kind}": torch.zeros(latent.n_latents, n)
                    for s, n in keys.items()
                    for kind in ("q", "theta")
                }
            )

    def shape(self, session: str) -> Tensor:
        """Return the fitted k (N,) of a session."""
        return getattr(self.fitted_k, module_key(session))

    def latent_weights(
        self, session: str, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the weights (N, D) that add latents to logit q and to log theta."""
        key = module_key(session)
        if hasattr(self, "mlp_q"):
            assert positions is not None
            return self.mlp_q[key](positions), self.mlp_theta[key](positions)
        return self.latent_feature[f"{key}_q"].T, self.latent_feature[f"{key}_theta"].T

    def posterior(self, responses: Tensor, session: str, n_frames: int) -> Tensor:
        """Return the last T' posterior means (B, T', D) of responses (B, T, N)."""
        return self.encoder(responses, session)[:, -n_frames:]

    def state_of(
        self, session: str, inputs: Inputs, visible: Tensor, cancelled: Cancelled
    ) -> tuple[Tensor | None, ...]:
        """Return maps and posterior means, which are NaN for clips without visible responses."""
        maps = self.core(inputs.video(self.config.core.channels))
        if self.config.latent is None:
            return maps, None
        latents = self.posterior(scaled_to_all(visible), session, maps.shape[2])
        is_shown = visible.isfinite().flatten(1).any(1)
        return maps, torch.where(is_shown[:, None, None], latents, torch.nan)

    def rates_of(
        self, session: str, state: tuple[Tensor | None, ...], neurons: Tensor | None
    ) -> Tensor:
        """Return the means of the distribution of a clip; of the prior, over its draws."""
        maps, latents = state
        assert maps is not None
        assert len(maps) == 1
        logit_q, log_theta = self.readout_of(session).parameters_at(maps, neurons=neurons)
        k = self.shape(session)
        k = k if neurons is None else k[neurons]
        if self.config.latent is None:
            theta, q = theta_and_q(logit_q, log_theta)
            return mean(theta, k, q)
        weights = self.latent_weights(session)
        if neurons is not None:
            weights = weights[0][neurons], weights[1][neurons]
        if latents is not None and not bool(latents.isnan().any()):
            theta, q = theta_and_q(logit_q, log_theta, latents, weights)
            return mean(theta, k, q)
        generator = torch.Generator().manual_seed(0)
        draws = torch.randn(_DRAWS, self.config.latent.n_latents, generator=generator)
        theta, q = torch.zeros_like(log_theta), torch.zeros_like(logit_q)
        for draw in draws.to(maps.device):
            one = theta_and_q(logit_q, log_theta, draw.expand(*maps.shape[:1], 1, -1), weights)
            theta, q = theta + one[0] / _DRAWS, q + one[1] / _DRAWS
        return mean(theta, k, q)


@dataclass(frozen=True, kw_only=True, eq=False)
class ZigCheckpoint(ClipCheckpoint):
    """Content of a file of a latent model: config and weights, no network yet."""

    family, network = ZigNetwork.family, ZigNetwork
    config: ZigConfig


def theta_and_q(
    logit_q: Tensor,
    log_theta: Tensor,
    latents: Tensor | None = None,
    weights: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return theta and q of the distribution.

    Parameters
    ----------
    logit_q, log_theta
        (B, T', N) of the video.
    latents, weights
        (B, T', D) or draws (B, T', D, S), and `ZigNetwork.latent_weights`; draws become
        the last axis of the result.
    """
    if latents is not None and weights is not None:
        of_q, of_theta = weights
        if latents.ndim == 4:
            logit_q = logit_q[..., None] + torch.einsum("nd,btds->btns", of_q, latents)
            log_theta = log_theta[..., None] + torch.einsum("nd,btds->btns", of_theta, latents)
        else:
            logit_q, log_theta = logit_q + latents @ of_q.T, log_theta + latents @ of_theta.T
    return F.elu(log_theta) + 1 + 1e-6, torch.sigmoid(logit_q) * 0.99999 + 1e-6


# -- responses, and rates ----------------------------------------------------------------
_DRAWS = 64
"""Number of draws of the prior; all samples use the same ones, else a rate would be noisy."""
_MOST = 2.0
"""Largest factor of visible responses: in the training, half of them are hidden."""


def scaled_to_all(visible: Tensor) -> Tensor:
    """Return responses (B, T, N), hidden ones NaN, as the encoder reads them.

    Hidden ones are 0, and the others are scaled as if all were visible; at most as in
    the training, so that few visible neurons say little. A sample without any visible one
    is the last that has some, because zeros would say that the whole population is silent.
    """
    is_shown, samples = visible.isfinite().any(-1), torch.arange(visible.shape[1])
    samples = samples.to(visible.device)
    last = torch.where(is_shown, samples, -1).cummax(1).values
    last = torch.where(last < 0, is_shown.int().argmax(1, keepdim=True), last)
    visible = visible.gather(1, last[..., None].expand_as(visible))
    is_visible = visible.isfinite()
    count = is_visible.sum(-1, keepdim=True).clamp(min=1)
    factor = (visible.shape[-1] / count).clamp(max=_MOST)
    return torch.where(is_visible, visible, 0.0) * factor


# -- training: likelihood of hidden responses, and a prior of latents ------------------
# The first steps train the video model alone. Then half of the responses are hidden, the
# others give the posterior of the latents, and the likelihood is that of the hidden ones.
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
