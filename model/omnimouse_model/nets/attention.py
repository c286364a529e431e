"""Transformer blocks with rotary attention (spec §11)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.nets import kernels, rowwise
from omnimouse_model.nets.kernels import score_type
from omnimouse_model.nets.plan import AttentionPlan


@dataclass(frozen=True, slots=True)
class Phases:
    """Rotations of feature pairs, complex64 (batch or 1, 1, length, head_dim / 2)."""

    turns: Tensor

    @staticmethod
    def join(parts: Sequence["Phases"]) -> "Phases":
        """Concatenate along the sequence."""
        batch = max(p.turns.shape[0] for p in parts)
        turns = [p.turns.expand(batch, -1, -1, -1) for p in parts]
        return Phases(torch.cat(turns, dim=2))

    def take(self, rows: Tensor | slice) -> "Phases":
        """Phases of some positions, in the given order."""
        return Phases(self.turns[:, :, rows])


def rotary_phases(
    times: Float[Tensor, "batch length"], inverse_frequencies: Float[Tensor, " pair"]
) -> Phases:
    """Angles in float64, cast to float32, then cosine and sine (spec §11)."""
    angles = (times.double()[..., None] * inverse_frequencies).float()[:, None]
    return Phases(torch.polar(torch.ones_like(angles), angles))


def rotate(
    x: Float[Tensor, "batch head length dim"], phases: Phases
) -> Float[Tensor, "batch head length dim"]:
    """Rotate neighbouring feature pairs, in float32, back in x's type."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * phases.turns).flatten(-2).to(x.dtype)


class Norm(nn.RMSNorm):
    """Root-mean-square normalisation, always computed in float32."""

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        """Apply to the last axis."""
        return rowwise.rms_norm(x.float(), self.weight, self.eps)


class GatedFeedForward(nn.Module):
    """down(silu(up x) * gate x): the activation is on `up_proj` (spec §11)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, hidden, bias=False)
        self.up_proj = nn.Linear(dim, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        """Apply to the last axis."""
        if rowwise.is_by_rows(x):
            return rowwise.gated_feed_forward(
                x, self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight
            )
        up, gate = self.up_proj(x), self.gate_proj(x)
        if torch.is_grad_enabled():
            inner = F.silu(up) * gate
        else:  # in place: fresh memory costs a CPU as much as the activation does
            inner = F.silu(up, inplace=True).mul_(gate)
        out: Tensor = self.down_proj(inner)
        return out


class DropPath(nn.Module):
    """Drop a residual branch per batch item in training, scaled by 1 / keep."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "*items"]) -> Float[Tensor, "*items"]:
        """Return x, or x with some items zeroed."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        shape = (x.shape[0], *([1] * (x.ndim - 1)))
        return x * torch.empty(shape, device=x.device).bernoulli_(keep).to(
            x.dtype
        ).div_(keep)


class _Heads(nn.Module):
    """What self- and cross-attention share: heads, normalisation, rotation."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, eps: float) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.eps = n_heads, n_kv_heads, eps
        self.head_dim = dim // n_heads
        self.kv_dim = n_kv_heads * self.head_dim
        self.wo = nn.Linear(dim, dim, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        return heads

    def _turn(self, x: Tensor, phases: Phases | None) -> Tensor:
        kind = score_type(x)
        x = rowwise.rms_norm(x.float(), None, self.eps).to(kind)
        return x if phases is None else rotate(x, phases)

    def _mix(
        self, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan | None
    ) -> Tensor:
        if self.n_kv_heads != self.n_heads:
            repeats = self.n_heads // self.n_kv_heads
            k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
        mixed = kernels.planned_attention(q, k, v, plan)
        out: Tensor = self.wo(mixed.transpose(1, 2).flatten(2))
        return out


class SelfAttention(_Heads):
    """Attention of a sequence to itself."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, eps: float) -> None:
        super().__init__(dim, n_heads, n_kv_heads, eps)
        self.wqkv = nn.Linear(dim, dim + 2 * self.kv_dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        phases: Phases | None,
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch row dim"]:
        """Attend under the plan; without phases nothing is rotated.

        With `rows` only those are answered; the plan's queries are then these.
        """
        dim, asking = x.shape[-1], phases
        if rows is None:
            q, k, v = self.wqkv(x).split((dim, self.kv_dim, self.kv_dim), dim=-1)
        else:
            weight = self.wqkv.weight
            q = F.linear(x[:, rows], weight[:dim])
            k, v = F.linear(x, weight[dim:]).chunk(2, dim=-1)
            asking = None if phases is None else phases.take(rows)
        return self._mix(
            self._turn(self._split(q), asking),
            self._turn(self._split(k), phases),
            self._split(v).to(score_type(v)),
            plan,
        )


class CrossAttention(_Heads):
    """Attention of queries to a context; keys can be prepared once."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, eps: float) -> None:
        super().__init__(dim, n_heads, n_kv_heads, eps)
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wkv = nn.Linear(dim, 2 * self.kv_dim, bias=False)

    def keys(
        self, context: Float[Tensor, "batch key dim"], phases: Phases
    ) -> tuple[Tensor, Tensor]:
        """Rotated keys and values of the context, (batch, head, key, head_dim)."""
        k, v = self.wkv(context).chunk(2, dim=-1)
        return self._turn(self._split(k), phases), self._split(v).to(score_type(v))

    def forward(
        self,
        x: Float[Tensor, "batch row dim"],
        phases: Phases,
        keys: tuple[Tensor, Tensor],
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Attend to prepared keys under the plan; query i is x[rows[i]]."""
        q = self._turn(self._split(self.wq(x)), None)
        if rows is not None:
            q = q[:, :, rows]
        return self._mix(rotate(q, phases), *keys, plan)


class SelfBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(
        self,
        dim: int,
        n_heads: int,
        n_kv_heads: int,
        hidden: int,
        eps: float,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.attn_pre_norm = Norm(dim, eps=eps)
        self.attention = SelfAttention(dim, n_heads, n_kv_heads, eps)
        self.ffn_pre_norm = Norm(dim, eps=eps)
        self.feed_forward = GatedFeedForward(dim, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        phases: Phases | None,
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch row dim"]:
        """Attention, then feed-forward, each added to the residual.

        With `rows`, for those alone; all are attended.
        """
        read = self.attention(self.attn_pre_norm(x), phases, plan, rows)
        x = (x if rows is None else x[:, rows]) + self.drop_path(read)
        out: Tensor = x + self.drop_path(self.feed_forward(self.ffn_pre_norm(x)))
        return out


class CrossBlock(nn.Module):
    """Pre-norm block whose attention reads a context."""

    def __init__(
        self, dim: int, n_heads: int, n_kv_heads: int, hidden: int, eps: float
    ) -> None:
        super().__init__()
        self.attn_pre_norm_context = Norm(dim, eps=eps)
        self.attn_pre_norm = Norm(dim, eps=eps)
        self.attention = CrossAttention(dim, n_heads, n_kv_heads, eps)
        self.ffn_pre_norm = Norm(dim, eps=eps)
        self.feed_forward = GatedFeedForward(dim, hidden)

    def keys(
        self, context: Float[Tensor, "batch key dim"], phases: Phases
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of a context, to be reused over queries."""
        return self.attention.keys(self.attn_pre_norm_context(context), phases)

    def forward(
        self,
        x: Float[Tensor, "batch row dim"],
        phases: Phases,
        keys: tuple[Tensor, Tensor],
        plan: AttentionPlan | None,
        rows: Tensor | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Read the context, then feed-forward.

        With `rows`, query i is x[rows[i]] at its own phase: a neuron asked at six
        times is normalised and projected once.
        """
        read = self.attention(self.attn_pre_norm(x), phases, keys, plan, rows)
        x = (x if rows is None else x[:, rows]) + read
        out: Tensor = x + self.feed_forward(self.ffn_pre_norm(x))
        return out
