"""Start values of a factorised core and its readouts from the train tier of a recording.

With minutes of recording and of training, a core with random weights learns little more
than the behaviour. Here its first layer begins as the filters of motion energy, its second
as their energies, smoothed as calcium would be, and again with the other sign, because
responses saturate with contrast; the readouts are ridge regressions of the responses on
these features, at the receptive fields.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.families.parts.clip_models import FRAME_SIZE, RATE_HZ
from omnimouse_model.families.parts.factorised import (
    CoreConfig,
    FactorisedCore,
    GaussianReadout,
    inverse_elu,
    rows_of,
)

_WAVELENGTHS_PX = (12.0, 20.0)
_SPEED_HZ = 2.5
_ORIENTATIONS, _DIRECTIONS, _PHASES = 4, (1, -1), 3
_N_ENERGIES = len(_WAVELENGTHS_PX) * _ORIENTATIONS * len(_DIRECTIONS)
_GAIN = 0.3
_CALCIUM_S = 0.18
_PLACE_STEPS, _PLACE_LR, _EDGE = 500, 1e-2, 0.95
_ROWS = 4
"""Every so many frames are used for the readouts."""
_PENALTY = 1.0


def check_core(config: CoreConfig) -> None:
    """Raise `ValueError` if a core has not two layers that hold the start values."""
    of_behavior = 2 * (config.channels - 1)
    least = (_N_ENERGIES * _PHASES + of_behavior, _N_ENERGIES + 2 * of_behavior)
    is_wide = len(config.widths) == 2 and config.widths[0] >= least[0]
    if not (is_wide and config.widths[1] >= least[1]) or config.has_norm or not config.has_bias:
        raise ValueError(
            f"start: motion-energy needs a core with biases and without norms, and two layers of "
            f"at least {least[0]} and {least[1]} units; core is {config}"
        )


@torch.no_grad()
def start_filters(core: FactorisedCore) -> None:
    """Set the weights of a core that passes `check_core`.

    The last units of the first layer are the channels of behaviour, with both signs,
    because the nonlinearity cuts one; the second has them twice, the second time as the
    mean over its taps. Its units that are left have the energies with the other sign, and
    then mix all filters.
    """
    (space, time, *_), (space_2, time_2, *_) = _layers(core)
    for part in (space, time, space_2, time_2):
        _bias(part).zero_()
        part.weight.zero_()
    behavior = 2 * (space.in_channels - 1)
    width, n_filters = space.out_channels, _N_ENERGIES * _PHASES
    for unit, image in enumerate(_gabors(*space.kernel_size[1:])):
        space.weight[unit, 0, 0] = _GAIN * torch.from_numpy(image)
    for unit, (pair, kernels) in enumerate(_phases(time.kernel_size[0])):
        for half, kernel in enumerate(kernels):
            time.weight[unit, 2 * pair + half, :, 0, 0] = torch.from_numpy(kernel)
    for number in range(behavior):
        unit, channel = width - behavior + number, 1 + number % max(behavior // 2, 1)
        sign = 1.0 if number < behavior // 2 else -1.0
        space.weight[unit, channel] = sign / np.prod(space.kernel_size)
        time.weight[unit, unit, -1] = 1.0
    energies = torch.eye(_N_ENERGIES).repeat_interleave(_PHASES, 1)
    used = _N_ENERGIES + 2 * behavior
    middle = tuple(size // 2 for size in space_2.kernel_size)
    mixed = torch.randn(space_2.out_channels - used, n_filters) / n_filters**0.5
    taps = space_2.weight[:, :, *middle]
    taps[:_N_ENERGIES, :n_filters] = energies
    taps[_N_ENERGIES:used, width - behavior :] = torch.eye(behavior).repeat(2, 1)
    taps[used:, :n_filters] = torch.cat([-energies, mixed])[: len(taps) - used]
    lags_s = torch.arange(time_2.kernel_size[0]).flip(0) / RATE_HZ
    decay = (-lags_s / _CALCIUM_S).exp()
    units = torch.arange(time_2.out_channels)
    time_2.weight[units, units, :, 0, 0] = decay / decay.sum()
    slow = units[used - behavior : used]
    time_2.weight[slow, slow, :, 0, 0] = 1 / len(lags_s)


def _layers(core: FactorisedCore) -> list[list[Any]]:
    """Return the parts of each layer: convolutions in space and time, then the rest."""
    return [[*layer.children()] for layer in core.features.children()]


def _bias(part: nn.Module) -> Tensor:
    bias = part.bias
    assert isinstance(bias, Tensor)
    return bias


def _gabors(height: int, width: int) -> list[np.ndarray]:
    """Return pairs of even and odd filters, first of the first wavelength."""
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    images = []
    for wavelength in _WAVELENGTHS_PX:
        envelope = np.exp(-0.5 * (x**2 + y**2) / (0.42 * wavelength) ** 2)
        for angle in np.arange(_ORIENTATIONS) * np.pi / _ORIENTATIONS:
            along = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength
            for wave in (np.cos(along), np.sin(along)):
                image = envelope * wave
                # Blind to uniform light.
                image -= envelope * image.sum() / envelope.sum()
                images.append((image / np.sqrt((image**2).sum())).astype(np.float32))
    return images


def _phases(n_frames: int) -> list[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Return, for each unit, its pair of filters and their kernels in time.

    Units of one pair and direction have phases of 0, 120 and 240 degrees of one motion:
    the sum of their positive parts is about its energy.
    """
    lags_s = np.arange(n_frames)[::-1] / RATE_HZ
    envelope = (lags_s / 0.06) ** 2 * np.exp(-lags_s / 0.045)
    phase = 2 * np.pi * _SPEED_HZ * (lags_s - 0.09)
    slow, fast = (
        kernel - envelope * kernel.sum() / envelope.sum()
        for kernel in (envelope * np.cos(phase), envelope * np.sin(phase))
    )
    size = np.sqrt((slow**2 + fast**2).sum() / 2)
    units = []
    for pair in range(len(_WAVELENGTHS_PX) * _ORIENTATIONS):
        for direction in _DIRECTIONS:
            for angle in np.arange(_PHASES) * 2 * np.pi / _PHASES:
                even = np.cos(angle) * slow + direction * np.sin(angle) * fast
                odd = np.sin(angle) * slow - direction * np.cos(angle) * fast
                kernels = tuple((part / size).astype(np.float32) for part in (even, odd))
                units.append((pair, (kernels[0], kernels[1])))
    return units


@torch.no_grad()
def start_scales(core: FactorisedCore, clips: list[Tensor]) -> None:
    """Scale the units of each layer to mean 0 and variance 1 over clips (B, C, T, H, W).

    Batch norms would take the mean of a few clips from the behaviour, which is slow.
    """
    for space, time, *rest in _layers(core):
        found = [time(space(clip)) for clip in clips]
        rows = torch.cat([one.transpose(0, 1).flatten(1) for one in found], 1)
        spread = rows.std(1)
        # A recording may lack a channel.
        spread = torch.where(spread > 1e-6, spread, 1.0)
        time.weight /= spread[:, None, None, None, None]
        bias = _bias(time)
        bias.copy_((bias - rows.mean(1)) / spread)
        for part in (space, time, *rest):
            clips = [part(clip) for clip in clips]


def start_places(readout: GaussianReadout, centers: np.ndarray, core: FactorisedCore) -> None:
    """Fit the places that neurons read to centers (N, 2): x and y on the screen, 0 to 1."""
    config = core.config
    kernels = np.array(config.spatial)
    reach = (kernels - 1) * config.stride ** np.arange(len(kernels))[:, None]
    # The middle of what the first and the last place of a map see.
    offset = np.zeros(2) if config.is_padded else reach.sum(0) / 2
    step, size = config.stride ** len(kernels), np.array(FRAME_SIZE)
    count = size
    for kernel in kernels:
        lost = 2 * (kernel // 2) * config.is_padded - kernel + 1
        count = (count + lost - 1) // config.stride + 1
    pixels = centers[:, ::-1] * size - 0.5
    found = 2 * (pixels - offset) / (step * np.maximum(count - 1, 1)) - 1
    wanted = torch.from_numpy(found[:, ::-1].clip(-_EDGE, _EDGE).copy()).float()
    wanted = wanted.to(readout._features.device)
    if readout.config.places is None:
        with torch.no_grad():
            readout._mu[0, :, 0] = wanted
        return
    optimiser = torch.optim.Adam(readout.mu_transform.parameters(), _PLACE_LR)
    for _ in range(_PLACE_STEPS):
        optimiser.zero_grad()
        (readout.places() - wanted).square().mean().backward()
        optimiser.step()
    optimiser.zero_grad()


@torch.no_grad()
def start_readout(readout: GaussianReadout, chunks: list[tuple[Tensor, Tensor]]) -> None:
    """Fit the weights of each neuron by ridge regression, in front of an ELU + 1.

    Parameters
    ----------
    chunks
        Maps (B, width, T', h, w) and responses (B, T', N), NaN where missing.
    """
    weight, mean_x, mean_y = neuron_weights([features_of(readout, *chunk) for chunk in chunks])
    # Below 1, a rate is an exponential: its slope is the rate.
    weight = weight / mean_y.clamp(0.1, 1.0)[:, None]
    readout._features[0, :, 0] = weight.T
    readout.bias.copy_(inverse_elu(mean_y) - (weight * mean_x).sum(1))


def features_of(readout: GaussianReadout, maps: Tensor, responses: Tensor) -> tuple[Tensor, Tensor]:
    """Return features (R, width, N) at the places of neurons, and their responses (R, N)."""
    found = readout.features_at(rows_of(maps[:, :, ::_ROWS]))
    return found, responses[:, ::_ROWS].flatten(0, 1)


def neuron_weights(
    chunks: list[tuple[Tensor, Tensor]], *, has_bias: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ridge weights (N, width), and the means of inputs and outputs, of each neuron.

    Parameters
    ----------
    chunks
        Inputs (R, width, N) and outputs (R, N), NaN where they are not used.
    has_bias
        Whether means are free; else the weights alone explain them.
    """
    products: list[Tensor] = []
    for inputs, outputs in chunks:
        known = outputs.isfinite().to(inputs.dtype)
        x, y = inputs * known[:, None], outputs.nan_to_num() * known
        one = [
            *(known.sum(0), x.sum(0), y.sum(0)),
            *(torch.einsum("rwn,rvn->nwv", x, x), torch.einsum("rwn,rn->nw", x, y)),
        ]
        products = [a + b for a, b in zip(products, one, strict=True)] if products else one
    count, x, y, xx, xy = products
    count = count.clamp(min=1)
    mean_x, mean_y = (x / count).T, y / count
    xx, xy = xx / count[:, None, None], xy / count[:, None]
    outer = mean_x[:, :, None] * mean_x[:, None]
    variance = (xx - outer).diagonal(dim1=1, dim2=2)
    if has_bias:
        xx, xy = xx - outer, xy - mean_x * mean_y[:, None]
    penalty = _PENALTY * variance.mean(1, keepdim=True) + 1e-6
    weight = torch.linalg.solve(xx + torch.diag_embed(penalty.expand_as(variance)), xy)
    return weight, mean_x, mean_y
