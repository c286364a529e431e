"""Start values for training from scratch.

1. values drawn as in the released models: `initialise`
2. the mean rates and embeddings of neurons, and quiet residual branches

Only the first is part of OmniMouse. The second is ours and optional, as are the start
values of `train.initialisation`, which shorten training on few sessions.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.nets.omnimouse.trunk import SessionParameters

# -- 1. the values of the released models ---------------------------------------------


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
    # Hiera's linear layers are drawn a second time, with its own values. The first
    # draw stays: it determines the random numbers that follow.
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


def _draw(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    nn.init.trunc_normal_(parameter, std=std, a=-2, b=2, generator=generator)


def _fill_bias(module: nn.Linear | nn.Conv1d, value: float) -> None:
    if module.bias is not None:
        nn.init.constant_(module.bias, value)


def _uniform_bias(conv: nn.Conv3d, generator: torch.Generator) -> None:
    """Torch's own default for convolutions, but from the generator."""
    assert conv.bias is not None
    fan_in = conv.weight[0].numel()
    nn.init.uniform_(conv.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)


# -- 2. neurons and residual branches -------------------------------------------------


def set_mean_rates(net: OmniMouse, session: str, rates: np.ndarray) -> None:
    """Set the biases so that a zero logit gives each neuron's mean rate (N,).

    The inverse of the Softplus. From zero the readout would need thousands of steps
    to come down (measured: first loss 0.77 instead of 6.2).
    """
    beta = net.config.softplus_beta
    # A silent neuron has no finite logit.
    rates = np.maximum(np.asarray(rates, np.float64), 1e-3)
    logits = np.log(np.expm1(rates * beta)) / beta
    with torch.no_grad():
        net.session(session)._neuron_biases.copy_(torch.from_numpy(logits).float()[:, None])


def set_neuron_embeddings(net: OmniMouse, session: str, values: np.ndarray) -> None:
    """Set the embeddings of one session's neurons (N, e)."""
    with torch.no_grad():
        net.session(session)._neuron_embeddings.weight.copy_(torch.from_numpy(values))


def quiet_residuals(net: OmniMouse) -> None:
    """Set the last layer of every residual branch of the transformer to zero.

    From the official values the random outputs of the branches are as large as the
    tokens. They hide the identity of the neurons and the places of the video tokens.
    """
    for block in (net.enc, *net.proc, *net.decs):
        for name, parameter in block.named_parameters():
            if name in ("attention.wo.weight", "feed_forward.down_proj.weight"):
                nn.init.zeros_(parameter)
