"""Start values for training from scratch (spec §15)."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.nets.embeddings import SessionParameters
from omnimouse_model.nets.omnimouse import OmniMouse

FRAMES_PER_S = 30.0
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


ORIENTATIONS = 4
WAVELENGTHS_PX = (13.0, 17.0, 23.0)
SPEED_HZ = 3.0
N_ENERGIES = 2 * ORIENTATIONS * len(WAVELENGTHS_PX)


def set_motion_energy(net: OmniMouse, clips: Tensor) -> None:
    """Start the video encoder as motion energy (Adelson & Bergen, 1985).

    The first channels of its patches become drifting Gabors in quadrature, both
    directions; the first block's feed-forward squares each and adds the pairs into the
    channels after them (silu(z) z + silu(-z)(-z) = z²). All stay free to learn.

    Parameters
    ----------
    clips
        (B, 1, frames, height, width) normalised video, to give every channel unit
        variance.

    Raises
    ------
    ValueError
        The encoder has too few channels or feed-forward units.
    """
    backbone = net.hiera.backbone
    patches, block = backbone.patch_embed["proj"], backbone.blocks[0]
    assert isinstance(patches, nn.Conv3d)
    assert patches.bias is not None
    gabors = drifting_gabors(patches.kernel_size)
    n_gabors, n_free = len(gabors), patches.out_channels - len(gabors)
    up, gate, down = (
        getattr(block.mlp, f"{name}_proj").weight for name in ("up", "gate", "down")
    )
    if n_free < N_ENERGIES or len(up) < 2 * n_gabors:
        raise ValueError(
            f"A start from motion energy needs {n_gabors + N_ENERGIES} channels and "
            f"{2 * n_gabors} hidden units; found {patches.out_channels}, {len(up)}."
        )
    energies = slice(n_gabors, n_gabors + N_ENERGIES)
    codes = backbone.pos_embed_spatial, backbone.pos_embed_temporal
    with torch.no_grad():
        patches.weight[:n_gabors, 0] = gabors
        patches.weight[energies] = 0
        patches.bias[: energies.stop] = 0
        size = patches(clips)[:, :n_gabors].std(dim=(0, 2, 3, 4))
        patches.weight[:n_gabors] /= size[:, None, None, None, None]
        for code in codes:
            code[..., : energies.stop] = 0
        for unit in range(2 * n_gabors):
            sign = 1.0 if unit < n_gabors else -1.0
            channel = unit % n_gabors
            for weight in (up, gate, down.T):
                weight[unit] = 0
            up[unit, channel] = gate[unit, channel] = sign
            down[n_gabors + channel // 2, unit] = 0.5


def drifting_gabors(size: tuple[int, ...]) -> Tensor:
    """Gabors (48, frames, height, width); neighbours are quadrature pairs."""
    t, y, x = (torch.arange(n) - (n - 1) / 2 for n in size)
    window = torch.einsum(
        "t,y,x->tyx", *(torch.cos(math.pi * a / (len(a) + 1)) ** 2 for a in (t, y, x))
    )
    y, x = y[None, :, None], x[None, None, :]
    found = []
    for wavelength in WAVELENGTHS_PX:
        for angle in torch.arange(2 * ORIENTATIONS) * (math.pi / ORIENTATIONS):
            along = x * angle.cos() + y * angle.sin()
            phase = (
                2
                * math.pi
                * (along / wavelength - SPEED_HZ * t[:, None, None] / FRAMES_PER_S)
            )
            envelope = window * torch.exp(-(x**2 + y**2) / (0.84 * wavelength) ** 2 * 2)
            for wave in (phase.cos(), phase.sin()):
                gabor = envelope * wave
                found.append(gabor - envelope * (gabor.sum() / envelope.sum()))
    return torch.stack(found)


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
