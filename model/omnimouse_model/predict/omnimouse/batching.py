"""Which requests can be computed together, and the results of a batch on the CPU.

The encoder reads the tokens of each mask separately. After it, a context consists of
the latents of the span, the video and the queries. Masks that agree in these pass
through the trunk and the decoder as one batch, which keeps a GPU busy.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from omnimouse_model.masks import Mask
from omnimouse_model.nets.omnimouse.layout import Layout


def batch_key(mask: Mask, layout: Layout) -> tuple[object, ...]:
    """Return a key of all that a mask determines, except the visible responses."""
    # Bytes of whole arrays: comparing them is cheap beside a forward pass.
    return (
        mask.require_layout().order.tobytes(),
        layout.behavior,
        layout.context_span,
        layout.frames.numpy().tobytes(),
        layout.query_neurons.numpy().tobytes(),
        layout.query_samples.numpy().tobytes(),
    )


def copy_to_cpu(parts: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors to the CPU as float32, in one transfer."""
    # The program waits for the device only here: at most once per result (contract).
    flat = torch.cat([part.float().flatten() for part in parts]).cpu()
    pieces = flat.split([part.numel() for part in parts])
    return [p.view(part.shape) for p, part in zip(pieces, parts, strict=True)]
