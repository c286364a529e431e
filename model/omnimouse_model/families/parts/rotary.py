"""Attention with rotary embeddings of continuous times, as in POYO.

Half of each head's dimensions turn with time, in adjacent pairs and at log-spaced
periods. Optionally the values turn, too, and the result is turned back by the time of
the query, so that it depends on time differences alone.

Axes: B items, Q queries, K keys, H heads, E dimensions of a head, D width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RotaryTimes(nn.Module):
    """Angles of times.

    Parameters
    ----------
    head, turned
        Dimensions of a head, and those that turn.
    shortest, longest
        Periods in seconds.
    """

    omega: Tensor

    def __init__(self, head: int, turned: int, shortest: float, longest: float) -> None:
        super().__init__()
        periods = torch.logspace(math.log10(shortest), math.log10(longest), turned // 2)
        omega = torch.zeros(head // 2)
        omega[: turned // 2] = 2 * math.pi / periods
        self.register_buffer("omega", omega)

    def forward(self, times: Tensor) -> Tensor:
        """Return the cosines, then the sines (B, n, 2 E) of float64 times (B, n).

        Angles reach 60,000 radians, so that they are formed in float64.
        """
        angles = times.double()[..., None] * self.omega.double()
        both = torch.cat([angles.cos(), angles.sin()], -1)
        return both.repeat_interleave(2, -1)


def turn(x: Tensor, rotation: Tensor, sign: int = 1) -> Tensor:
    """Turn adjacent pairs of (B, H, n, E) by a result of `RotaryTimes` (B, n, 2 E)."""
    cosine, sine = rotation[:, None].to(x.dtype).chunk(2, -1)
    even, odd = x[..., ::2], x[..., 1::2]
    across = torch.stack([-odd, even], -1).flatten(-2)
    return x * cosine + sign * across * sine


def attend_at_times(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    of_query: Tensor,
    of_key: Tensor,
    *,
    turns_values: bool,
    is_real: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return attention (B, Q, H * E) of queries to keys under their rotations.

    Parameters
    ----------
    is_real
        bool (B, K): keys that are no padding.
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    q, k = turn(q, of_query), turn(k, of_key)
    v = turn(v, of_key) if turns_values else v
    seen = None if is_real is None else is_real[:, None, None]
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout)
    if turns_values:
        out = turn(out, of_query, -1)
    return out.transpose(1, 2).flatten(2)


class RotaryCrossAttention(nn.Module):
    """Attention of one sequence to another."""

    def __init__(
        self, width: int, heads: int, head: int, dropout: float, *, turns_values: bool
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.turns_values = heads, dropout, turns_values
        self.norm, self.norm_context = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, heads * head, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * head, bias=False)
        self.to_out = nn.Linear(heads * head, width)

    def forward(
        self,
        queries: Tensor,
        context: Tensor,
        of_query: Tensor,
        of_context: Tensor,
        is_real: Tensor | None = None,
    ) -> Tensor:
        """Return (B, Q, D) for queries (B, Q, D) and context (B, K, D)."""
        k, v = self.to_kv(self.norm_context(context)).chunk(2, -1)
        out: Tensor = self.to_out(
            attend_at_times(
                self.to_q(self.norm(queries)),
                k,
                v,
                self.heads,
                of_query,
                of_context,
                turns_values=self.turns_values,
                is_real=is_real,
                dropout=self.dropout if self.training else 0.0,
            )
        )
        return out


class RotarySelfAttention(nn.Module):
    """Attention of a sequence to itself; values turn."""

    def __init__(self, width: int, heads: int, head: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * heads * head, bias=False)
        self.to_out = nn.Linear(heads * head, width)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """Return (B, n, D) of a sequence (B, n, D)."""
        q, k, v = self.to_qkv(self.norm(x)).chunk(3, -1)
        out: Tensor = self.to_out(
            attend_at_times(
                q,
                k,
                v,
                self.heads,
                rotation,
                rotation,
                turns_values=True,
                dropout=self.dropout if self.training else 0.0,
            )
        )
        return out


class _GatedUnits(nn.Module):
    """First half of the units times the GELU of the second."""

    def forward(self, x: Tensor) -> Tensor:
        values, gates = x.chunk(2, -1)
        return values * F.gelu(gates)


class _FeedForward(nn.Module):
    def __init__(self, width: int, mult: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, 2 * mult * width),
            _GatedUnits(),
            nn.Dropout(dropout),
            nn.Linear(mult * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


def feed_forward(width: int, mult: int, dropout: float) -> nn.Sequential:
    """Return the layer norm and the gated feed-forward layers of a block, in order."""
    return nn.Sequential(nn.LayerNorm(width), _FeedForward(width, mult, dropout))
