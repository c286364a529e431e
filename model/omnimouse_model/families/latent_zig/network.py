"""The latent zero-inflated gamma model, from video and responses to a distribution.

    video -> FactorisedCore -> ZigReadout of the session -> logit q, log theta
    responses, partly hidden -> ResponseEncoder -> posterior means of the latents
    latents -> weights of each neuron -> added to logit q and log theta

The posterior variance is one number. Without latents the model is the video model alone.

Axes: B clips, T frames of responses, T' frames of output, N neurons, D latents, S draws.

Source: Schmidt et al. 2025 and its public code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.families.parts.clip_models import ClipCheckpoint, Inputs, clip_spec
from omnimouse_model.families.parts.factorised import (
    CoreConfig,
    CoreNetwork,
    FactorisedCore,
    GaussianReadout,
    OnCore,
    ReadoutConfig,
    by_session,
    module_key,
    rows_of,
)
from omnimouse_model.predict.checkpoint_file import Copies, Size
from omnimouse_model.progress import Cancelled
from omnimouse_model.storage.trees import Within

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
        self,
        config: ZigConfig,
        n_neurons: int,
        coordinates: Tensor | None = None,
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
        means: Tensor = self.final_linear(states)
        return means


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
        weights: Tensor = self.network(positions)
        return weights


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
        k: Tensor = getattr(self.fitted_k, module_key(session))
        return k

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
        means: Tensor = self.encoder(responses, session)[:, -n_frames:]
        return means

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
    """A latent model, read but not built."""

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
