"""Start values of the video encoder: smooth position codes, motion energy."""

import math

import torch
from torch import Tensor, nn

from omnimouse_model.nets.omnimouse.network import OmniMouse

FRAMES_PER_S = 30.0
PLACE_SCALE_PATCHES = 2.5
"""Distance in patches at which two smooth position codes become dissimilar."""
ORIENTATIONS = 4
WAVELENGTHS_PX = (13.0, 17.0, 23.0)
SPEED_HZ = 3.0
N_ENERGIES = 2 * ORIENTATIONS * len(WAVELENGTHS_PX)


def set_smooth_positions(net: OmniMouse, generator: torch.Generator) -> None:
    """Set the spatial codes of the video encoder to smooth codes of unit variance.

    From 0.02 the codes are a thousandth of the variance of the video tokens, and
    neurons need thousands of steps to find their receptive fields. Random Fourier
    features (Rahimi & Recht, 2007) make neighbouring places similar: a neuron can
    approach its receptive field by small steps.
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
        # The mean square of a cosine is 1/2.
        codes.copy_(math.sqrt(2) * torch.cos(place @ waves + phase)[None])


def set_motion_energy(net: OmniMouse, clips: Tensor) -> None:
    """Start the video encoder as motion energy (Adelson & Bergen, 1985).

    The first channels of its patches become drifting Gabors in quadrature, in both
    directions. The feed-forward of the first block squares each and adds the pairs
    into the channels after them. All of these weights remain trainable.

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
    up, gate, down = (getattr(block.mlp, f"{name}_proj").weight for name in ("up", "gate", "down"))
    if n_free < N_ENERGIES or len(up) < 2 * n_gabors:
        raise ValueError(
            f"A start from motion energy needs {n_gabors + N_ENERGIES} channels and "
            f"{2 * n_gabors} hidden units; found {patches.out_channels}, {len(up)}."
        )
    energies = slice(n_gabors, n_gabors + N_ENERGIES)
    codes = backbone.pos_embed_spatial, backbone.pos_embed_temporal
    with torch.no_grad():
        patches.weight[:n_gabors, 0] = gabors
        # The energies come from the feed-forward alone.
        patches.weight[energies] = 0
        patches.bias[: energies.stop] = 0
        # The spectrum of natural video falls with frequency: without unit variance
        # fine Gabors would be weak.
        size = patches(clips)[:, :n_gabors].std(dim=(0, 2, 3, 4))
        patches.weight[:n_gabors] /= size[:, None, None, None, None]
        # Position codes in these channels would be squared with the Gabors.
        for code in codes:
            code[..., : energies.stop] = 0
        # Two units per Gabor give its exact square: silu(z) z + silu(-z) (-z) = z².
        for unit in range(2 * n_gabors):
            sign = 1.0 if unit < n_gabors else -1.0
            channel = unit % n_gabors
            for weight in (up, gate, down.T):
                weight[unit] = 0
            up[unit, channel] = gate[unit, channel] = sign
            # Neighbouring channels are a pair, whose squares are added.
            down[n_gabors + channel // 2, unit] = 0.5


def drifting_gabors(size: tuple[int, ...]) -> Tensor:
    """Gabors (48, frames, height, width); neighbours are quadrature pairs."""
    t, y, x = (torch.arange(n) - (n - 1) / 2 for n in size)
    # Tapered: otherwise a Gabor would respond to the edge of its patch.
    window = torch.einsum(
        "t,y,x->tyx", *(torch.cos(math.pi * a / (len(a) + 1)) ** 2 for a in (t, y, x))
    )
    y, x = y[None, :, None], x[None, None, :]
    gabors = []
    for wavelength in WAVELENGTHS_PX:
        # Twice as many angles as orientations: both directions of motion.
        for angle in torch.arange(2 * ORIENTATIONS) * (math.pi / ORIENTATIONS):
            along = x * angle.cos() + y * angle.sin()
            phase = 2 * math.pi * (along / wavelength - SPEED_HZ * t[:, None, None] / FRAMES_PER_S)
            envelope = window * torch.exp(-(x**2 + y**2) / (0.84 * wavelength) ** 2 * 2)
            for wave in (phase.cos(), phase.sin()):
                gabor = envelope * wave
                # The mean is removed: a Gabor must not respond to luminance.
                gabors.append(gabor - envelope * (gabor.sum() / envelope.sum()))
    return torch.stack(gabors)
