"""Which masks of one window can be computed together.

The encoder reads each mask's tokens by itself; from there on a context is latents of
the span, video and queries. Masks that agree in those go through the processor and the
decoder as one batch, which is what a GPU needs to be busy.
"""

from typing import Protocol, runtime_checkable

from omnimouse_model.masks import Mask
from omnimouse_model.nets.omnimouse.layout import Layout


@runtime_checkable
class Joining(Protocol):
    """A predictor whose `predict_many` computes several masks of a window together."""

    @property
    def at_once(self) -> int:
        """How many, at most; 1 where it computes them one by one."""
        ...


def at_once(predictor: object) -> int:
    """How many requests of one window are worth being asked together."""
    return predictor.at_once if isinstance(predictor, Joining) else 1


def shared_part(mask: Mask, layout: Layout) -> tuple[object, ...]:
    """All that a mask and its layout say but which responses are visible."""
    return (
        mask.require_layout().order.tobytes(),
        layout.behavior,
        layout.context_span,
        layout.frames.numpy().tobytes(),
        layout.query_neurons.numpy().tobytes(),
        layout.query_samples.numpy().tobytes(),
    )
