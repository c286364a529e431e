"""Which elements of two sequences may see each other, from their time intervals.

A query may attend a key iff their half-open intervals overlap (spec §10). Sequences
are runs of elements with equal intervals (all tokens of one sample, all latents of
one slot), so a mask is a small table of runs. `AttentionPlan` turns that table into
groups of queries that share one set of keys. Nothing here knows what the elements are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

import torch
from torch import Tensor

TICKS_PER_S = 3000.0


@dataclass(frozen=True, slots=True)
class Intervals:
    """Time intervals of a sequence, held once per run of equal neighbours.

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

    def ideal(self) -> "Intervals":
        """Round to 1/3000 s: windows meet exactly at the edges they are meant to."""
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
        """The runs that bool (runs,) chooses."""
        kept = zip(self.counts, runs.tolist(), strict=True)
        counts = tuple(count for count, is_kept in kept if is_kept)
        return Intervals(self.starts[runs], self.ends[runs], counts)

    def seen_by(self, queries: "Intervals") -> Tensor:
        """Which runs some query may attend, bool (runs,)."""
        return _overlap(queries, self).any(dim=0)


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Neighbouring queries that may attend exactly the same keys."""

    queries: slice
    keys: tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Which queries may attend which keys, as groups over contiguous slices."""

    groups: tuple[AttentionGroup, ...]
    n_queries: int
    n_keys: int

    @staticmethod
    def between(queries: Intervals, keys: Intervals) -> "AttentionPlan":
        """Build the plan from the intervals of both sequences."""
        allowed = _overlap(queries, keys).tolist()
        rows: list[tuple[tuple[slice, ...], int]] = [
            (_true_slices(row, keys.counts), count)
            for row, count in zip(allowed, queries.counts, strict=True)
        ]
        groups, start = [], 0
        for key_slices, members in groupby(rows, key=lambda row: row[0]):
            stop = start + sum(count for _, count in members)
            if stop > start:
                groups.append(AttentionGroup(slice(start, stop), key_slices))
            start = stop
        return AttentionPlan(tuple(groups), queries.length, keys.length)

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
    """Bool (query runs, key runs); compared in the intervals' own precision."""
    q_low = torch.minimum(queries.starts, queries.ends)[:, None]
    q_high = torch.maximum(queries.starts, queries.ends)[:, None]
    k_low = torch.minimum(keys.starts, keys.ends)[None]
    k_high = torch.maximum(keys.starts, keys.ends)[None]
    return ~((k_high <= q_low) | (k_low >= q_high))


def _true_slices(row: list[bool], counts: tuple[int, ...]) -> tuple[slice, ...]:
    """Merge neighbouring allowed runs into slices of elements."""
    edges = [0, *accumulate(counts)]
    found: list[slice] = []
    for run, is_allowed in enumerate(row):
        start, stop = edges[run], edges[run + 1]
        if not is_allowed or start == stop:
            continue
        if found and found[-1].stop == start:
            found[-1] = slice(found[-1].start, stop)
        else:
            found.append(slice(start, stop))
    return tuple(found)
