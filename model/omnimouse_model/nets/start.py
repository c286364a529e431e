"""Start values for training from scratch (spec §15)."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.nets.embeddings import SessionParameters
from omnimouse_model.nets.omnimouse import OmniMouse

PLACE_SCALE_PATCHES = 2.5
"""Distance at which two smooth place codes become unlike, in patches."""


def initialise(net: OmniMouse, generator: torch.Generator) -> None:
    """Draw every parameter as the released models did.

    Truncated normals cut at 2: linear layers with in_features^-1/2, embeddings and
    free parameters with (last dimension)^-1/2, the response convolution and Hiera's
    backbone with 0.02; norms 1, biases 0 (0.02 in Hiera's linear layers).
    """
    backbone = net.hiera.backbone
    for module in net.modules():
        if isinstance(module, nn.Linear):
            _draw(module.weight, module.in_features**-0.5, generator)
            _fill_bias(module, 0.0)
        elif isinstance(module, nn.Embedding):
            _draw(module.weight, module.embedding_dim**-0.5, generator)
        elif isinstance(module, nn.RMSNorm):
            nn.init.ones_(module.weight)
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            _draw(module.weight, 0.02, generator)
            _fill_bias(module, 0.02)
    patches = backbone.patch_embed["proj"]
    assert isinstance(patches, nn.Conv3d)
    _draw(patches.weight, 0.02, generator)
    _uniform_bias(patches, generator)
    for position in (backbone.pos_embed_spatial, backbone.pos_embed_temporal):
        _draw(position, 0.02, generator)
    _draw(net.response_featx._feature_proj.weight, 0.02, generator)
    _fill_bias(net.response_featx._feature_proj, 0.0)
    free = (
        net.behavior_channel_embeddings,
        net.missing_modality_embeddings,
        net.behavior_readout_proj,
        *net.animal_params.parameters(),
    )
    for parameter in free:
        _draw(parameter, parameter.shape[-1] ** -0.5, generator)
    for session in net.sess_params.values():
        assert isinstance(session, SessionParameters)
        _draw(session.vector, session.vector.shape[-1] ** -0.5, generator)
        nn.init.zeros_(session._neuron_biases)


def set_smooth_positions(net: OmniMouse, generator: torch.Generator) -> None:
    """Start the video encoder's spatial codes as smooth codes of unit variance.

    From 0.02 the codes are a thousandth of the video tokens' variance, and neurons
    take thousands of steps to find where they look. Random Fourier features make
    near places alike: a neuron can slide to its receptive field.
    """
    codes = net.hiera.backbone.pos_embed_spatial
    _, rows, columns = net.config.hiera.grid
    place = torch.cartesian_prod(
        torch.arange(rows, dtype=torch.float32),
        torch.arange(columns, dtype=torch.float32),
    )
    dim = codes.shape[-1]
    waves = torch.randn(2, dim, generator=generator) / PLACE_SCALE_PATCHES
    phase = torch.rand(dim, generator=generator) * 2 * math.pi
    with torch.no_grad():
        codes.copy_(math.sqrt(2) * torch.cos(place @ waves + phase)[None])


def quiet_residuals(net: OmniMouse) -> None:
    """Start every residual branch of the transformer at zero.

    From the official values the branches' random outputs are as large as the tokens,
    and drown which neuron asks and where a video token lies.
    """
    for block in (net.enc, *net.proc, *net.decs):
        for name, parameter in block.named_parameters():
            if name in ("attention.wo.weight", "feed_forward.down_proj.weight"):
                nn.init.zeros_(parameter)


def set_mean_rates(net: OmniMouse, session: str, rates: np.ndarray) -> None:
    """Start the biases where a zero logit gives each neuron's mean rate (N,).

    The inverse of the Softplus; from zero the readout would need thousands of steps
    to come down (measured: first loss 0.77 instead of 6.2).
    """
    beta = net.config.softplus_beta
    rates = np.maximum(np.asarray(rates, np.float64), 1e-3)
    logits = np.log(np.expm1(rates * beta)) / beta
    with torch.no_grad():
        net.session(session)._neuron_biases.copy_(
            torch.from_numpy(logits).float()[:, None]
        )


def set_neuron_embeddings(net: OmniMouse, session: str, values: np.ndarray) -> None:
    """Give one session's neurons their first embeddings (N, e)."""
    with torch.no_grad():
        net.session(session)._neuron_embeddings.weight.copy_(torch.from_numpy(values))


def _draw(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    nn.init.trunc_normal_(parameter, std=std, a=-2, b=2, generator=generator)


def _fill_bias(module: nn.Linear | nn.Conv1d, value: float) -> None:
    if module.bias is not None:
        nn.init.constant_(module.bias, value)


def _uniform_bias(conv: nn.Conv3d, generator: torch.Generator) -> None:
    assert conv.bias is not None
    fan_in = conv.weight[0].numel()
    nn.init.uniform_(
        conv.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator
    )
