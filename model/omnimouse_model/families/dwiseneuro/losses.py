"""Loss, distillation weights and CutMix of DwiseNeuro.

Source: the public code of the winning solution of Sensorium 2023.
"""

from collections.abc import Sequence

from torch import Tensor

from omnimouse_model.families.parts.losses import poisson_sum


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
