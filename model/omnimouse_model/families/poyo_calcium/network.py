"""The network of calcium POYO+, from response samples to behaviour, top to bottom.

    one token per neuron and sample -> cross-attention of the latents -> self-attention
    latents -> cross-attention of the queries (session, task, time) -> one linear per task

Tokens carry their times, so that sampling rates and numbers of neurons may differ.

Axes: B items, K input tokens, L latents, Q queries, D width.

Source: Azabou et al. 2025 and its public code; module names are the public ones.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimouse_model.data.window_spec import BehaviorSpec, WindowSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.predict.checkpoint_file import Record, no_record
from omnimouse_model.storage.trees import Within
from omnimouse_model.training.config import Count

TRACES = ("pupil_size", "pupil_dsize", "pupil_x", "pupil_y", "running")
PADDING = "NA"
"""The word of row 0 of both vocabularies."""
_MULTIPLE = 8
"""Sequences are padded to a multiple of this many tokens."""
_FIRST_SD = 0.02
_MOST_STEPS = 1000
"""Times of latents in a window."""


# -- attention with rotary embeddings of continuous times, as in POYO ------------------
# Half of each head's dimensions turn with time, in adjacent pairs and at log-spaced
# periods. Optionally the values turn, too, and the result is turned back by the time of
# the query, so that it depends on time differences alone.
# H heads, E dimensions of a head.
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
        # Most times occur often: once for each neuron.
        distinct, place = times.double().unique(return_inverse=True)
        angles = distinct[:, None] * self.omega.double()
        both = torch.cat([angles.cos(), angles.sin()], -1).to(self.omega.dtype)
        return both.repeat_interleave(2, -1)[place]


def turn(x: Tensor, rotation: Tensor, sign: int = 1) -> Tensor:
    """Turn adjacent pairs of (B, H, n, E) by a result of `RotaryTimes` (B, n, 2 E)."""
    cosine, sine = rotation[:, None].to(x.dtype).chunk(2, -1)
    even, odd = x[..., ::2], x[..., 1::2]
    across = torch.stack([-odd, even], -1).flatten(-2)
    return x * cosine + sign * across * sine


class _RotaryAttention(nn.Module):
    """Attention of queries to keys under their rotations.

    Parameters
    ----------
    turns_values
        Whether values turn, too, and the result is turned back.
    """

    def __init__(
        self, width: int, heads: int, head: int, dropout: float, *, turns_values: bool = True
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.turns_values = heads, dropout, turns_values
        self.norm = nn.LayerNorm(width)
        self.to_out = nn.Linear(heads * head, width)

    def attend(
        self,
        projected: Sequence[Tensor],
        of_query: Tensor,
        of_key: Tensor,
        is_real: Tensor | None = None,
    ) -> Tensor:
        """Return (B, Q, D) of queries, keys and values; bool (B, K) tells keys from padding."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in projected)
        q, k = turn(q, of_query), turn(k, of_key)
        v = turn(v, of_key) if self.turns_values else v
        seen = None if is_real is None else is_real[:, None, None]
        dropout = self.dropout if self.training else 0.0
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout)
        x = turn(x, of_query, -1) if self.turns_values else x
        return self.to_out(x.transpose(1, 2).flatten(2))


class RotaryCrossAttention(_RotaryAttention):
    """Attention of one sequence to another."""

    def __init__(
        self, width: int, heads: int, head: int, dropout: float, *, turns_values: bool
    ) -> None:
        super().__init__(width, heads, head, dropout, turns_values=turns_values)
        self.norm_context = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, heads * head, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * head, bias=False)

    def forward(self, queries: Tensor, context: Tensor, *at: Tensor) -> Tensor:
        """Return (B, Q, D) for queries (B, Q, D) and context (B, K, D); `attend` takes the rest."""
        k, v = self.to_kv(self.norm_context(context)).chunk(2, -1)
        return self.attend((self.to_q(self.norm(queries)), k, v), *at)


class RotarySelfAttention(_RotaryAttention):
    """Attention of a sequence to itself; values turn."""

    def __init__(self, width: int, heads: int, head: int, dropout: float) -> None:
        super().__init__(width, heads, head, dropout)
        self.to_qkv = nn.Linear(width, 3 * heads * head, bias=False)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """Return (B, n, D) of a sequence (B, n, D)."""
        return self.attend(self.to_qkv(self.norm(x)).chunk(3, -1), rotation, rotation)


class _GatedUnits(nn.Module):
    """First half of the units times the GELU of the second."""

    def forward(self, x: Tensor) -> Tensor:
        values, gates = x.chunk(2, -1)
        return values * F.gelu(gates)


def feed_forward(width: int, mult: int, dropout: float) -> nn.Sequential:
    """Return the layer norm and the gated feed-forward layers of a block, in order."""
    gated = nn.Linear(width, 2 * mult * width), _GatedUnits(), nn.Dropout(dropout)
    layers = nn.Sequential(*gated, nn.Linear(mult * width, width))
    # The names of the public files: 1.net.0, 1.net.3.
    return nn.Sequential(nn.LayerNorm(width), nn.Sequential(OrderedDict(net=layers)))


# -- the network -----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Task:
    """A behaviour that is decoded.

    Attributes
    ----------
    number
        Row of its embedding, from 1.
    size
        Number of values.
    channels
        Channels of a recording that these values are; none for a task that no recording
        has, such as a kind of stimulus.
    """

    number: Count
    size: Count
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.channels and len(self.channels) != self.size:
            raise ValueError(f"channels: found {len(self.channels)} for {self.size} values")


def _traces() -> dict[str, Task]:
    """Return one task for each behaviour trace of the comparison of the OmniMouse paper."""
    return {name: Task(number, 1, (name,)) for number, name in enumerate(TRACES, 1)}


Layers = Annotated[int, Within(0, 64)]
Size = Annotated[int, Within(1, 4096)]


@dataclass(frozen=True, slots=True)
class PoyoConfig:
    """Sizes of the network; the defaults are the published ones for many sessions.

    Attributes
    ----------
    tasks
        Name -> task.
    window_s, step_s
        Length of a window, and time between groups of latents.
    n_latents
        Latents per step.
    width, depth, head
        Width, number of self-attention layers, and dimensions of a head.
    cross_heads, self_heads
        Number of heads.
    turned
        Dimensions of a head that turn with time.
    shortest_s, longest_s
        Periods of the rotation.
    mult
        Units of a feed-forward layer, in widths.
    dropout, linear_dropout, attention_dropout
        In feed-forward layers, after each layer, and in attention.
    rate_hz
        Samples per second of responses and behaviour. The network reads any: it is that
        of the windows with which it is trained.
    """

    tasks: dict[str, Task] = field(default_factory=_traces)
    window_s: float = 1.0
    step_s: float = 0.125
    n_latents: Size = 32
    width: Size = 128
    depth: Layers = 24
    head: Size = 64
    cross_heads: Size = 4
    self_heads: Size = 8
    turned: Size = 32
    shortest_s: float = 1e-4
    longest_s: float = 2.0627
    mult: Size = 4
    dropout: float = 0.2
    linear_dropout: float = 0.4
    attention_dropout: float = 0.2
    rate_hz: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.step_s <= self.window_s <= _MOST_STEPS * self.step_s:
            raise ValueError(
                f"step_s is {self.step_s}, of windows of {self.window_s} s: expected 1 to "
                f"{_MOST_STEPS:,} steps"
            )

    @property
    def decoded(self) -> dict[str, Task]:
        """The tasks that are channels of recordings."""
        return {name: task for name, task in self.tasks.items() if task.channels}

    @property
    def spec(self) -> WindowSpec:
        """Windows that the network reads; the behaviour is what it decodes."""
        channels = tuple(name for task in self.decoded.values() for name in task.channels)
        behavior = BehaviorSpec(self.rate_hz, channels) if channels else None
        return WindowSpec(self.window_s, self.rate_hz, behavior=behavior)


# -- tokens ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Item:
    """One window of one session.

    Attributes
    ----------
    session, units
        Name of the session, and those of its neurons.
    traces, times_s
        float32 (T, n) responses, and their float64 times from the start of the window.
    queries
        Task -> float64 times at which it is decoded, in the order of the output.
    shown
        bool (T, n): the responses that become tokens; None for all.
    """

    session: str
    units: Sequence[str]
    traces: np.ndarray
    times_s: np.ndarray
    queries: Mapping[str, np.ndarray]
    shown: np.ndarray | None = None

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return self.traces.size if self.shown is None else int(self.shown.sum())

    def of_tokens(self, values: np.ndarray) -> np.ndarray:
        """Return the values (T, n) of the tokens: first those of the first sample."""
        full = np.broadcast_to(values, self.traces.shape)
        return full.ravel() if self.shown is None else full[self.shown]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Items as padded sequences of tokens.

    Attributes
    ----------
    values, units, times_s, is_real
        Of the input, (B, K); values (B, K, 1).
    sessions, tasks, query_times_s
        Of the queries, (B, Q).
    """

    values: Tensor
    units: Tensor
    times_s: Tensor
    is_real: Tensor
    sessions: Tensor
    tasks: Tensor
    query_times_s: Tensor

    def to(self, device: torch.device) -> "Tokens":
        """Return the tokens on a device."""
        return Tokens(*(getattr(self, one.name).to(device) for one in fields(self)))


def _padded(rows: Sequence[np.ndarray]) -> Tensor:
    """Return rows of different lengths, padded with 0 to a common multiple of 8."""
    longest = max(len(row) for row in rows)
    full = np.zeros((len(rows), -(-longest // _MULTIPLE) * _MULTIPLE), rows[0].dtype)
    for out, row in zip(full, rows, strict=True):
        out[: len(row)] = row
    return torch.from_numpy(full)


class Vocabulary:
    """Words and their rows.

    Raises
    ------
    UnsupportedRequestError
        A word is unknown.
    """

    def __init__(self, words: Sequence[str], what: str) -> None:
        self._what, self._rows = what, {word: row for row, word in enumerate(words)}

    def rows(self, words: Sequence[str]) -> np.ndarray:
        """Return the rows of words, int64."""
        unknown = [word for word in words if word not in self._rows or word == PADDING]
        if unknown:
            raise UnsupportedRequestError(
                f"{len(unknown)} {self._what} are unknown, such as {unknown[0]!r}: their "
                "embeddings must be trained first."
            )
        return np.array([self._rows[word] for word in words], np.int64)


# -- network ---------------------------------------------------------------------------
class _Readout(nn.Module):
    def __init__(self, config: PoyoConfig) -> None:
        super().__init__()
        self.projections = nn.ModuleDict(
            {name: nn.Linear(config.width, task.size) for name, task in config.tasks.items()}
        )


def _embedding(n_rows: int, width: int) -> nn.Embedding:
    weight = torch.empty(n_rows, width)
    if not weight.is_meta:
        weight.normal_(0, _FIRST_SD)
    return nn.Embedding.from_pretrained(weight, freeze=False)


class PoyoNetwork(nn.Module):
    """Behaviour of the windows of several sessions.

    Parameters
    ----------
    units, sessions
        Words of the vocabularies; the first is "NA".
    """

    def __init__(self, config: PoyoConfig, units: Sequence[str], sessions: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.units = Vocabulary(units, "neurons")
        self.sessions = Vocabulary(sessions, "sessions")
        width, head = config.width, config.head
        self.input_value_map = nn.Linear(1, width // 2)
        self.unit_emb = _embedding(len(units), width // 2)
        self.session_emb = _embedding(len(sessions), width)
        # Of the public files; unused.
        self.token_type_emb = _embedding(4, width)
        n_tasks = max((task.number for task in config.tasks.values()), default=0)
        self.task_emb = _embedding(1 + n_tasks, width)
        self.latent_emb = _embedding(config.n_latents, width)
        self.rotary_emb = RotaryTimes(head, config.turned, config.shortest_s, config.longest_s)
        cross = (width, config.cross_heads, head, config.attention_dropout)
        fed = (width, config.mult, config.dropout)
        self.enc_atn = RotaryCrossAttention(*cross, turns_values=True)
        self.enc_ffn = feed_forward(*fed)
        attention = (width, config.self_heads, head, config.attention_dropout)
        self.proc_layers = nn.ModuleList(
            nn.ModuleList([RotarySelfAttention(*attention), feed_forward(*fed)])
            for _ in range(config.depth)
        )
        self.dec_atn = RotaryCrossAttention(*cross, turns_values=False)
        self.dec_ffn = feed_forward(*fed)
        self.readout = _Readout(config)
        self.dropout = nn.Dropout(config.linear_dropout)

    def tokens(self, items: Sequence[Item]) -> Tokens:
        """Return items as tokens: all neurons of the first sample, then of the next."""
        numbers = {name: task.number for name, task in self.config.tasks.items()}
        unknown = [name for item in items for name in item.queries if name not in numbers]
        if unknown:
            raise UnsupportedRequestError(
                f"{unknown[0]!r} is not decoded; the tasks are {', '.join(numbers)}."
            )
        times_s = [np.asarray(item.times_s, np.float64)[:, None] for item in items]
        query_times_s = [np.concatenate([*i.queries.values()]).astype(np.float64) for i in items]
        tasks = [[numbers[n] for n, times in i.queries.items() for _ in times] for i in items]
        sessions = [self.sessions.rows([item.session]) for item in items]
        pairs = zip(sessions, tasks, strict=True)
        return Tokens(
            values=_padded([i.of_tokens(i.traces.astype(np.float32)) for i in items])[..., None],
            units=_padded([item.of_tokens(self.units.rows(item.units)) for item in items]),
            times_s=_padded([i.of_tokens(t) for i, t in zip(items, times_s, strict=True)]),
            is_real=_padded([item.of_tokens(np.ones((1, 1), bool)) for item in items]),
            sessions=_padded([np.repeat(row, len(own)) for row, own in pairs]),
            tasks=_padded([np.array(own, np.int64) for own in tasks]),
            query_times_s=_padded(query_times_s),
        )

    def latent_times(self) -> Tensor:
        """Return the times (L,) of the latents, float64."""
        config = self.config
        n_steps = round(config.window_s / config.step_s)
        steps = (torch.arange(n_steps, dtype=torch.float64) + 0.5) * config.step_s
        return steps.repeat_interleave(config.n_latents)

    def input_tokens(self, tokens: Tokens) -> Tensor:
        """Return the embedded input (B, K, D): the value's part first."""
        return torch.cat([self.input_value_map(tokens.values), self.unit_emb(tokens.units)], -1)

    def encode(self, tokens: Tokens, record: Record = no_record) -> Tensor:
        """Return the latents (B, L, D) of the input."""
        times = self.latent_times().to(tokens.times_s.device)
        rotation = self.rotary_emb(times[None])
        n_steps = len(times) // self.config.n_latents
        x: Tensor = self.latent_emb.weight.repeat(n_steps, 1).expand(len(tokens.values), -1, -1)
        of_input = self.rotary_emb(tokens.times_s)
        found = self.enc_atn(x, self.input_tokens(tokens), rotation, of_input, tokens.is_real)
        record("enc_atn", found)
        x = x + found
        record("enc_ffn", found := self.enc_ffn(x))
        x = x + found
        for number, layer in enumerate(self.proc_layers):
            assert isinstance(layer, nn.ModuleList)
            attention, fed = layer
            record(f"proc{number}.attn", found := attention(x, rotation))
            x = x + self.dropout(found)
            x = x + self.dropout(fed(x))
        return x

    def decode(self, x: Tensor, tokens: Tokens, record: Record = no_record) -> Tensor:
        """Return the embedded answers (B, Q, D) to the queries."""
        query: Tensor = self.session_emb(tokens.sessions) + self.task_emb(tokens.tasks)
        rotation = self.rotary_emb(self.latent_times().to(x.device)[None])
        of_query = self.rotary_emb(tokens.query_times_s)
        record("dec_atn", found := self.dec_atn(query, x, of_query, rotation))
        query = query + found
        record("dec_ffn", found := self.dec_ffn(query))
        query = query + found
        return query

    def answers(self, embedded: Tensor, tokens: Tokens) -> dict[str, Tensor]:
        """Return task -> values (n, size) of all its queries, item after item."""
        return {
            name: projection(embedded[tokens.tasks == self.config.tasks[name].number])
            for name, projection in self.readout.projections.items()
        }

    def forward(self, tokens: Tokens) -> dict[str, Tensor]:
        """Return task -> values (n, size) of all its queries, item after item."""
        return self.answers(self.decode(self.encode(tokens), tokens), tokens)
