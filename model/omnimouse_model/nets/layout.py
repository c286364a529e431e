"""Which tokens enter the net and which queries are asked, as indices.

A layout knows positions in the neuron order and sample numbers, not neurons, values
or seconds; one layout serves every window and every batch item. `tokens.py` makes it
from a mask.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

BehaviorMode = Literal["visible", "target", "hidden"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Indices of one realised mask.

    Attributes
    ----------
    token_neurons, token_samples
        int64 (E,): position in the neuron order and first sample of each response
        token, sorted by sample, then position.
    query_neurons, query_samples
        int64 (Q,): the same for the 5-sample response queries.
    token_runs, query_runs
        (first sample, count) of the runs of equal first sample.
    video_steps
        int64 (V,): kept time steps of the video encoder.
    frames
        bool (60,): visible frames.
    context_span
        (start, stop) samples in which time-slot latents exist.
    """

    token_neurons: Tensor
    token_samples: Tensor
    query_neurons: Tensor
    query_samples: Tensor
    token_runs: tuple[tuple[int, int], ...]
    query_runs: tuple[tuple[int, int], ...]
    video_steps: Tensor
    frames: Tensor
    behavior: BehaviorMode
    context_span: tuple[int, int]
    n_neurons: int

    @property
    def responses_missing(self) -> bool:
        """No response token at all."""
        return not len(self.token_neurons)

    @property
    def video_missing(self) -> bool:
        """No visible frame at all."""
        return not bool(self.frames.any())

    @property
    def all_steps(self) -> bool:
        """Every frame is visible."""
        return bool(self.frames.all())

    def to(self, device: torch.device | str) -> "Layout":
        """Move the indices to a device; to a GPU without waiting for it."""
        is_gpu = torch.device(device).type == "cuda"

        def moved(indices: Tensor) -> Tensor:
            return indices.to(device, non_blocking=is_gpu)

        return replace(
            self,
            token_neurons=moved(self.token_neurons),
            token_samples=moved(self.token_samples),
            query_neurons=moved(self.query_neurons),
            query_samples=moved(self.query_samples),
            video_steps=moved(self.video_steps),
        )
