"""Times of tokens: which of them may attend each other, and their rotary phases.

1. `Intervals` of the elements of a sequence, and the `AttentionPlan` of two sequences
2. `Phases`: rotations by the times in seconds (RoPE; Su et al., 2024)

A query may attend a key if their half-open intervals overlap ("local sliding-window
attention"; paper, section 4). Many elements have equal intervals: all tokens of one
sample, all latents of one slot. They are stored as runs, so that a mask of 10^8 cells
becomes a table of about 1,000.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnimouse_model.nets.constants import constant_values
from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.layout import WindowBatch

# Every edge of the released configuration is a multiple of 1/30 s, so that a tick of
# 1/3000 s rounds away float32 errors and merges no two edges.
TICKS_PER_S = 3000.0
WITHOUT_FLOAT64 = ("mps",)
"""Types of devices that have no float64: Apple's GPUs."""


# -- 1. which elements may attend each other ------------------------------------------


@dataclass(frozen=True, slots=True)
class Intervals:
    """Time intervals of a sequence, stored once per run of equal neighbours.

    Attributes
    ----------
    starts, ends
        (runs,) seconds, on the CPU; the order of the two does not matter.
    counts
        Elements in each run.
    """

    starts: Tensor
    ends: Tensor
    counts: tuple[int, ...]

    @staticmethod
    def join(parts: Sequence["Intervals"]) -> "Intervals":
        """Concatenate sequences."""
        return Intervals(
            starts=torch.cat([p.starts for p in parts]),
            ends=torch.cat([p.ends for p in parts]),
            counts=tuple(c for p in parts for c in p.counts),
        )

    @staticmethod
    def of_samples(
        windows: WindowBatch,
        runs: tuple[tuple[int, int], ...],
        back_s: float,
        ahead_s: float,
    ) -> "Intervals":
        """Intervals [t - back, t + ahead) of runs (first sample, count)."""
        # Item 0 stands for the batch, so that one plan serves all items. The ends are
        # computed in the type of the times: in float64 other noisy edges would
        # overlap, and the outputs of official checkpoints would change.
        times = windows.response_times[0].cpu()[[sample for sample, _ in runs]]
        starts = times - back_s if back_s else times
        return Intervals(starts, times + ahead_s, tuple(count for _, count in runs))

    def ideal(self) -> "Intervals":
        """Round to 1/3000 s, so that windows meet exactly at their common edges."""
        # Without rounding, float32 errors decide whether a token at the edge of a
        # window is in it, as in the official code.
        return Intervals(
            torch.round(self.starts.double() * TICKS_PER_S),
            torch.round(self.ends.double() * TICKS_PER_S),
            self.counts,
        )

    @property
    def length(self) -> int:
        """Number of elements."""
        return sum(self.counts)

    def take(self, runs: Tensor) -> "Intervals":
        """The runs that bool (runs,) selects."""
        pairs = zip(self.counts, runs.tolist(), strict=True)
        counts = tuple(count for count, is_selected in pairs if is_selected)
        return Intervals(self.starts[runs], self.ends[runs], counts)

    def seen_by(self, queries: "Intervals") -> Tensor:
        """Which runs at least one query may attend, bool (runs,)."""
        return _overlap(queries, self).any(dim=0)


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Neighbouring queries that may attend exactly the same keys."""

    queries: slice
    keys: tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class PackedPlan:
    """The groups of a plan in one list, for a kernel that computes all of them at once.

    Attributes
    ----------
    keys
        int64 (packed key,): row of each key, group after group, in a batch whose items
        follow one another. A key of several groups is there several times.
    query_ends, key_ends
        int32 (item * group + 1,): where the rows of each group start and end.
    most_queries, most_keys
        Rows of the largest group.
    """

    keys: Tensor
    query_ends: Tensor
    key_ends: Tensor
    most_queries: int
    most_keys: int


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Which queries may attend which keys, as groups over contiguous slices."""

    groups: tuple[AttentionGroup, ...]
    n_queries: int
    n_keys: int
    _packed: dict[tuple[int, torch.device], PackedPlan] = field(
        default_factory=dict, compare=False, repr=False
    )

    @staticmethod
    def between(queries: Intervals, keys: Intervals, *, ideal: bool = False) -> "AttentionPlan":
        """Build the plan from the intervals of both sequences; `ideal` rounds them."""
        if ideal:
            queries, keys = queries.ideal(), keys.ideal()
        # A list: the loop below is over about 40 runs, and reading single values of a
        # tensor would cost more than the comparison.
        allowed = _overlap(queries, keys).tolist()
        rows: list[tuple[tuple[slice, ...], int]] = [
            (_true_slices(row, keys.counts), count)
            for row, count in zip(allowed, queries.counts, strict=True)
        ]
        # Neighbouring queries with the same keys make one group: one larger attention
        # is faster than several small ones.
        groups, start = [], 0
        for key_slices, members in groupby(rows, key=lambda row: row[0]):
            stop = start + sum(count for _, count in members)
            if stop > start:
                groups.append(AttentionGroup(slice(start, stop), key_slices))
            start = stop
        return AttentionPlan(tuple(groups), queries.length, keys.length)

    def packed(self, batch: int, device: torch.device) -> PackedPlan:
        """The plan of a batch for one kernel; computed once for all layers."""
        if (batch, device) not in self._packed:
            self._packed[batch, device] = self._pack(batch, device)
        return self._packed[batch, device]

    def _pack(self, batch: int, device: torch.device) -> PackedPlan:
        slices = [keys for group in self.groups for keys in group.keys]
        rows = np.concatenate(
            [np.arange(0), *(np.arange(keys.start, keys.stop) for keys in slices)]
        )
        n_keys = [sum(k.stop - k.start for k in g.keys) for g in self.groups]
        n_queries = [group.queries.stop - group.queries.start for group in self.groups]
        items = np.arange(batch)[:, None] * self.n_keys

        def ends(counts: list[int]) -> Tensor:
            edges = [0, *accumulate(counts * batch)]
            return torch.tensor(edges, dtype=torch.int32).to(device)

        return PackedPlan(
            keys=torch.from_numpy((items + rows).ravel()).to(device),
            query_ends=ends(n_queries),
            key_ends=ends(n_keys),
            most_queries=max(n_queries),
            most_keys=max(n_keys),
        )

    def dense(self) -> Tensor:
        """Return the mask as bool (queries, keys)."""
        mask = torch.zeros(self.n_queries, self.n_keys, dtype=torch.bool)
        for group in self.groups:
            for keys in group.keys:
                mask[group.queries, keys] = True
        return mask

    def row_counts(self) -> Tensor:
        """Allowed keys per query, int32 (queries,)."""
        counts = torch.zeros(self.n_queries, dtype=torch.int32)
        for group in self.groups:
            counts[group.queries] = sum(k.stop - k.start for k in group.keys)
        return counts


def _overlap(queries: Intervals, keys: Intervals) -> Tensor:
    """Bool (query runs, key runs); intervals that only touch do not overlap."""
    # The bounds are sorted first, as in the official code.
    q_low = torch.minimum(queries.starts, queries.ends)[:, None]
    q_high = torch.maximum(queries.starts, queries.ends)[:, None]
    k_low = torch.minimum(keys.starts, keys.ends)[None]
    k_high = torch.maximum(keys.starts, keys.ends)[None]
    return ~((k_high <= q_low) | (k_low >= q_high))


def _true_slices(row: list[bool], counts: tuple[int, ...]) -> tuple[slice, ...]:
    """Merge neighbouring allowed runs into slices of elements."""
    edges = [0, *accumulate(counts)]
    slices: list[slice] = []
    for run, is_allowed in enumerate(row):
        start, stop = edges[run], edges[run + 1]
        if not is_allowed or start == stop:
            continue
        # Joined slices need no copy of the keys: one slice of a tensor is a view.
        if slices and slices[-1].stop == start:
            slices[-1] = slice(slices[-1].start, stop)
        else:
            slices.append(slice(start, stop))
    return tuple(slices)


# -- 2. rotary phases -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phases:
    """Rotations of feature pairs, complex64 (batch or 1, 1, length, head_dim / 2)."""

    turns: Tensor

    @staticmethod
    def join(parts: Sequence["Phases"]) -> "Phases":
        """Concatenate along the sequence."""
        # Latents have the same times in all items, recorded samples may not.
        batch = max(p.turns.shape[0] for p in parts)
        turns = [p.turns.expand(batch, -1, -1, -1) for p in parts]
        return Phases(torch.cat(turns, dim=2))

    def take(self, rows: Tensor | slice) -> "Phases":
        """Phases of some positions, in the given order."""
        return Phases(self.turns[:, :, rows])


class RotaryFrequencies(nn.Module):
    """Inverse frequencies of the rotary angles, float64, in rad/s.

    On a device without float64 they remain on the CPU, which computes the rotations.
    """

    def __init__(self, config: OmniMouseConfig) -> None:
        super().__init__()
        head_dim = config.d_model // config.num_heads
        # Periods from 1 ms to about 2 s: 2000 = window length / 1 ms.
        base = config.rope_base or 2000.0
        scale = 2 * torch.pi if config.rope_use_radians else 1.0

        def frequencies() -> Tensor:
            pairs = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
            return scale / 0.001 * base**-pairs

        values = constant_values((math.ceil(head_dim / 2),), frequencies, torch.float64)
        self.register_buffer("inv_freq", values)
        self.inv_freq: Tensor
        self._device: torch.device | None = None  # if it is another than theirs

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RotaryFrequencies":
        """Move the frequencies, as `Module.to` asks, unless the device has no float64."""
        device = fn(torch.empty(0)).device
        if device.type in WITHOUT_FLOAT64:
            self._device = device
            return self
        self._device = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # PyTorch has no types here
        return self

    def phases(self, times: Float[Tensor, "batch length"]) -> Phases:
        """Rotations at times in seconds.

        Angles reach 12,566 rad. They are computed in float64 and then cast to float32,
        exactly as in the official code: either precision for all of it would change
        the outputs by up to 1e-3.
        """
        seconds = times.to(self.inv_freq.device).double()[..., None]
        angles = (seconds * self.inv_freq).float()[:, None]
        turns = torch.polar(torch.ones_like(angles), angles)
        return Phases(turns if self._device is None else turns.to(self._device))


def rotate(
    x: Float[Tensor, "batch head length dim"], phases: Phases
) -> Float[Tensor, "batch head length dim"]:
    """Rotate neighbouring feature pairs in float32; the result has the type of x."""
    # As a complex product: it needs no interleaved copies of cosines and sines.
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * phases.turns).flatten(-2).to(x.dtype)
