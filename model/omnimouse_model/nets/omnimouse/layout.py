"""Input of the network: a `Layout` (which cells) and a `WindowBatch` (their values).

A layout contains positions in the neuron order and sample numbers, but no neurons,
values or seconds. One layout therefore serves every window and every batch item of
one mask. `tokens.py` makes both from a window and a mask.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

BehaviorMode = Literal["visible", "target", "hidden"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Indices of the tokens and queries of one mask.

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
        int64 (V,): visible time steps of the video encoder.
    frames
        bool (60,): visible frames.
    context_span
        (start, stop) samples in which time-slot latents exist.
    """

    # Times are not here: the same mask in another window has the same layout.
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
        """There is no response token."""
        return not len(self.token_neurons)

    @property
    def video_missing(self) -> bool:
        """There is no visible frame."""
        return not bool(self.frames.any())

    @property
    def all_steps(self) -> bool:
        """Every frame is visible."""
        return bool(self.frames.all())

    def to(self, device: torch.device | str) -> "Layout":
        """Move the indices to a device; a copy to a GPU does not block."""
        is_gpu = torch.device(device).type == "cuda"

        def moved(indices: Tensor) -> Tensor:
            return indices.to(device, non_blocking=is_gpu)

        # `frames` stays on the CPU: it decides branches, and reading one value from
        # a GPU would wait for all work in its queue.
        return replace(
            self,
            token_neurons=moved(self.token_neurons),
            token_samples=moved(self.token_samples),
            query_neurons=moved(self.query_neurons),
            query_samples=moved(self.query_samples),
            video_steps=moved(self.video_steps),
        )


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Values of one batch of windows of one session, without the video.

    Attributes
    ----------
    session
        Key of the session's embeddings.
    neuron_ids
        int64 (B, N): the population in its order, per item.
    responses
        float32 (B, 60, N): values in that order; only visible ones are used.
    behavior
        float32 (B, C, 40), used only when it is visible.
    response_times, video_times
        seconds since the first sample of each item, (B or 1, 60) each, CPU.
    start_times
        absolute seconds of the first sample (B,), for the experiment-time embedding.
    """

    # Items may have different neurons, or one population in different orders.
    session: str
    neuron_ids: Int[Tensor, "batch neuron"]
    responses: Float[Tensor, "batch sample neuron"]
    behavior: Float[Tensor, "batch channel time"] | None
    response_times: Tensor
    video_times: Tensor
    start_times: Tensor | None = None

    def items(self, start: int, stop: int) -> "WindowBatch":
        """Return the items `start` to `stop` as a batch of their own."""

        def cut(values: Tensor) -> Tensor:
            # Times with one row are shared by all items.
            return values if len(values) == 1 else values[start:stop]

        return replace(
            self,
            neuron_ids=self.neuron_ids[start:stop],
            responses=self.responses[start:stop],
            behavior=None if self.behavior is None else self.behavior[start:stop],
            response_times=cut(self.response_times),
            video_times=cut(self.video_times),
            start_times=None if self.start_times is None else cut(self.start_times),
        )

    def to(self, device: torch.device | str) -> "WindowBatch":
        """Move the values to a device; a copy to a GPU does not block."""
        is_gpu = torch.device(device).type == "cuda"

        def moved(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.to(device, non_blocking=is_gpu)

        # Response and video times stay on the CPU, where intervals are computed from
        # them.
        return replace(
            self,
            neuron_ids=self.neuron_ids.to(device),
            responses=self.responses.to(device),
            behavior=moved(self.behavior),
            start_times=moved(self.start_times),
        )
