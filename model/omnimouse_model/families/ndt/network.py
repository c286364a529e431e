"""The neural data transformer, from spike counts to log-rates, top to bottom.

    counts, masked -> Stitcher of the session -> Embedding -> bins (+ position)
    session, prompt -> tokens before the bins
    tokens -> blocks of attention -> Stitcher of the session -> log-rates

Every bin of a trial is a token. The stitchers belong to sessions, whatever their number
of neurons; all else is shared. The prompt tells the masking scheme.

Axes: B trials, T bins, N neurons, K prepended tokens.

Source: Zhang et al. 2024 (MtM) with its public code, and Jiang et al. 2025. Parameter
names are those of the public code, apart from the stitchers (`public`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.predict.checkpoint_file import Copies, Record, Size, no_record
from omnimouse_model.storage.trees import Within

PROMPTS: Final = ("neuron", "causal", "inter-region", "intra-region")
"""Masking schemes with a prompt, in the order of their embeddings."""
CAUSAL: Final = "causal"
Share = Annotated[float, Within(0.0, 0.999)]


@dataclass(frozen=True, slots=True)
class NdtConfig:
    """Sizes and choices of the network; the defaults are those of Jiang et al. 2025.

    Attributes
    ----------
    d_token
        Width after the stitcher.
    mult
        The embedding has `mult * d_token` hidden units.
    n_bins
        Maximum number of bins of a trial.
    d_model, n_layers, n_heads, d_inner
        Width, number of blocks and heads, and hidden units of a block.
    dropout, block_dropout
        Of the embedding, and within the blocks.
    has_prompt, has_session
        Whether a token tells the scheme, and one the session.
    leaks
        Whether prepended tokens see all bins under the causal scheme, as in the public
        code. With two blocks or more they carry later bins back to earlier ones.
    """

    d_token: Size = 668
    mult: Copies = 2
    n_bins: Size = 150
    d_model: Size = 512
    n_layers: Copies = 5
    n_heads: Copies = 8
    d_inner: Size = 1024
    dropout: Share = 0.2
    block_dropout: Share = 0.2
    has_prompt: bool = True
    has_session: bool = True
    leaks: bool = False

    def __post_init__(self) -> None:
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads is {self.n_heads}; expected a divisor of d_model ({self.d_model})."
            )


# -- parts -----------------------------------------------------------------------------
class Dropout(nn.Module):
    """Dropout that draws 16 random bits per entry on a CPU.

    There, the random numbers of `nn.Dropout` take a tenth of a training step with one
    thread, and more with several, because they are drawn one after the other.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return the entries that are kept, divided by their share; 0 elsewhere."""
        if not self.training or not self.p:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64)
        bits = words.random_(-(2**63), None).view(torch.int16)[: x.numel()]
        dropped = round(self.p * 2**16)
        kept = bits.view(x.shape) >= dropped - 2**15
        return x * (kept.to(x.dtype) * (2**16 / (2**16 - dropped)))


def _embedding(n_rows: int, width: int) -> nn.Embedding:
    """Return an embedding with normal values, or without values on "meta".

    PyTorch would load its compiler, which takes two seconds, to draw values on "meta".
    """
    weight = torch.empty(n_rows, width)
    embedding: nn.Embedding = nn.Embedding.from_pretrained(weight, freeze=False)
    if not weight.is_meta:
        embedding.reset_parameters()
    return embedding


class Embedder(nn.Module):
    """Embedding of time bins, preceded by tokens of the session and the scheme."""

    def __init__(self, config: NdtConfig, n_sessions: int) -> None:
        super().__init__()
        inner = config.mult * config.d_token
        self.embed_spikes = nn.Linear(config.d_token, inner)
        self.projection = nn.Linear(inner, config.d_model)
        self.embed_pos = _embedding(config.n_bins, config.d_model)
        if config.has_prompt:
            self.embed_prompt = _embedding(len(PROMPTS), config.d_model)
        if config.has_session:
            self.embed_session = _embedding(n_sessions, config.d_model)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, prompt: int | None, session: int | None, record: Record) -> Tensor:
        """Return tokens (B, K + T, d_model) of stitched bins (B, T, d_token)."""
        x = self.embed_spikes(x)
        record("embed_spikes_out", x)
        bins = self.project(x) + self.embed_pos.weight[: x.shape[1]]
        before = []
        if session is not None:
            before.append(self.embed_session.weight[session])
        if prompt is not None:
            before.append(self.embed_prompt.weight[prompt])
        if before:
            tokens = torch.stack(before).expand(len(bins), -1, -1)
            bins = torch.cat([tokens, bins], 1)
        record("tokens", bins)
        return self.dropout(bins)

    def project(self, x: Tensor) -> Tensor:
        """Return the values (..., d_model) of the first layer's output."""
        return self.projection(F.softsign(x))


class Attention(nn.Module):
    """Multi-head attention with biases, limited by an attention mask."""

    def __init__(self, config: NdtConfig) -> None:
        super().__init__()
        self.n_heads, width = config.n_heads, config.d_model
        self.head_size = width // config.n_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.dropout = Dropout(config.block_dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the mixed tokens (B, K + T, d_model); without a mask, of all."""
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        seen = None if mask is None else mask[:, None]
        if self.training and self.dropout.p and x.device.type == "cpu":
            scores = q * self.head_size**-0.5 @ k.transpose(-2, -1)
            if seen is not None:
                scores = scores.masked_fill(~seen, float("-inf"))
            mixed = self.dropout(scores.softmax(-1)) @ v
        else:
            dropped = self.dropout.p if self.training else 0.0
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropped)
        return self.out_proj(self.dropout(mixed.transpose(1, 2).flatten(2)))


class Mlp(nn.Module):
    """Two linear layers with a GELU."""

    def __init__(self, config: NdtConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.d_model, config.d_inner)
        self.down_proj = nn.Linear(config.d_inner, config.d_model)
        self.dropout = Dropout(config.block_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens of the next layer."""
        return self.dropout(self.down_proj(F.gelu(self.up_proj(x))))


class Block(nn.Module):
    """Transformer block: attention and MLP, each with layer norm and residual sum."""

    def __init__(self, config: NdtConfig) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(config.d_model)
        self.attn = Attention(config)
        self.ln2 = nn.LayerNorm(config.d_model)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor, mask: Tensor | None, record: Record) -> Tensor:
        """Return the tokens of the next block."""
        mixed = self.attn(self.ln1(x), mask)
        record("attn_out", mixed)
        x = x + mixed
        out: Tensor = x + self.mlp(self.ln2(x))
        record("out", out)
        return out


class Encoder(nn.Module):
    """The part that all sessions share: embedding, blocks and last layer norm."""

    def __init__(self, config: NdtConfig, n_sessions: int) -> None:
        super().__init__()
        self.embedder = Embedder(config, n_sessions)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.out_norm = nn.LayerNorm(config.d_model)


# -- network ---------------------------------------------------------------------------
class Ndt(nn.Module):
    """Log-rates of masked spike counts.

    Parameters
    ----------
    sessions
        Session -> number of neurons; their order is that of the session embeddings.

    Raises
    ------
    ValueError
        A session's name has a dot, which names of parameters cannot have.
    """

    def __init__(self, config: NdtConfig, sessions: Mapping[str, int]) -> None:
        super().__init__()
        for name in sessions:
            if "." in name or not name:
                raise ValueError(f"Session {name!r} has a dot in its name, or none.")
        self.config, self.sessions = config, dict(sessions)
        self.encoder = Encoder(config, len(sessions))
        self.stitchers = nn.ModuleDict(
            {name: nn.Linear(n, config.d_token) for name, n in sessions.items()}
        )
        self.readouts = nn.ModuleDict(
            {name: nn.Linear(config.d_model, n) for name, n in sessions.items()}
        )
        # Scaled ("fixup"), for stable training.
        factor = 0.67 * config.n_layers**-0.25
        with torch.no_grad():
            for block in self.encoder.layers:
                assert isinstance(block, Block)
                for layer in (block.attn.out_proj, block.mlp.up_proj, block.mlp.down_proj):
                    layer.weight *= factor
                block.attn.value.weight *= factor * 2**0.5

    def forward(self, counts: Tensor, session: str, scheme: str) -> Tensor:
        """Return the log-rates (B, T, N) of counts (B, T, N) whose masked entries are 0.

        The rate per bin is the exponential. See `encode` for the parameters and errors.
        """
        return self.read(self.encode(counts, session, scheme), session)

    def encode(
        self,
        counts: Tensor,
        session: str,
        scheme: str,
        *,
        is_real: Tensor | None = None,
        backward: int = 0,
        record: Record = no_record,
    ) -> Tensor:
        """Return the bins (B, T, d_model) after the last norm.

        Parameters
        ----------
        counts
            (B, T, N), 0 where entries are masked.
        session
            Session of the trials.
        scheme
            The masking scheme; "causal" hides later bins from earlier ones.
        is_real
            bool (B, T): False for padded bins.
        backward
            Number of earlier bins that a bin sees; 0 for all.
        record
            Called with name and value of intermediate maps.

        Raises
        ------
        UnsupportedRequestError
            The session is unknown, has another number of neurons, the trial is too
            long, or the scheme has no prompt.
        """
        x = self.embed(counts, session, scheme, record)
        is_causal, n_bins, size = scheme == CAUSAL, counts.shape[1], x.shape[1]
        n_prepended = size - n_bins
        lag = torch.arange(n_bins, device=x.device)
        lag = lag[:, None] - lag
        # Query by key, (B or 1, K + T, K + T).
        mask = torch.ones(1, size, size, dtype=torch.bool, device=x.device)
        bins = mask[:, n_prepended:, n_prepended:]
        if is_causal:
            bins &= lag >= 0
        if backward > 0:
            bins &= lag <= backward
        if is_causal and not self.config.leaks:
            mask[:, :n_prepended, n_prepended:] = False
        if is_real is not None:
            # Padding is seen by itself alone.
            keys = torch.cat([is_real.new_ones(len(is_real), n_prepended), is_real], 1)
            mask = (mask & keys[:, None]) | torch.eye(size, dtype=torch.bool, device=x.device)
        record("attn_mask", mask.expand(len(counts), -1, -1))
        is_full = not is_causal and backward == 0 and is_real is None
        # Attention without a mask is faster than under one that hides nothing.
        return self.mix(x, None if is_full else mask, record)[:, n_prepended:]

    def embed(
        self, counts: Tensor, session: str, scheme: str, record: Record = no_record
    ) -> Tensor:
        """Return the tokens (B, K + T, d_model) before the blocks; see `encode`."""
        known = self.sessions.get(session)
        if known is None:
            raise UnsupportedRequestError(
                f"Session {session!r} is unknown; known are {', '.join(self.sessions)}."
            )
        if counts.shape[-1] != known:
            raise UnsupportedRequestError(
                f"Session {session!r} has {known} neurons, not {counts.shape[-1]}."
            )
        if counts.shape[1] > self.config.n_bins:
            raise UnsupportedRequestError(
                f"A trial has {counts.shape[1]} bins; at most {self.config.n_bins}."
            )
        if self.config.has_prompt and scheme not in PROMPTS:
            raise UnsupportedRequestError(
                f"Scheme {scheme!r} has no prompt; those with one are {', '.join(PROMPTS)}."
            )
        counts = counts.to(self.encoder.out_norm.weight.dtype)
        stitched = self.stitchers[session](counts)
        record("stitcher_out", stitched)
        config = self.config
        prompt = PROMPTS.index(scheme) if config.has_prompt else None
        place = list(self.sessions).index(session) if config.has_session else None
        return self.encoder.embedder(stitched, prompt, place, record)

    def embed_bins(self, counts: Tensor, session: str, bins: Tensor) -> Tensor:
        """Return the tokens (n, d_model) of single bins with counts (n, N)."""
        embedder = self.encoder.embedder
        values = embedder.project(embedder.embed_spikes(self.stitchers[session](counts)))
        return values + embedder.embed_pos.weight[bins]

    def mix(self, tokens: Tensor, mask: Tensor | None, record: Record = no_record) -> Tensor:
        """Return tokens after the blocks and the last norm, under an attention mask."""
        for number, block in enumerate(self.encoder.layers):
            tokens = block(tokens, mask, _prefixed(record, f"block.{number}."))
        encoded: Tensor = self.encoder.out_norm(tokens)
        record("encoder_out", encoded)
        return encoded

    def read(self, bins: Tensor, session: str, neurons: Tensor | None = None) -> Tensor:
        """Return log-rates (B, T, n) of encoded bins (B, T, d_model).

        Parameters
        ----------
        neurons
            Indices of the neurons to read; all by default.
        """
        readout = self.readouts[session]
        assert isinstance(readout, nn.Linear)
        if neurons is None:
            return readout(bins)
        return F.linear(bins, readout.weight[neurons], readout.bias[neurons])

    def read_own(self, bins: Tensor, session: str, neurons: Tensor) -> Tensor:
        """Return log-rates (B, T) of one neuron per sequence of encoded bins."""
        readout = self.readouts[session]
        assert isinstance(readout, nn.Linear)
        found = bins @ readout.weight[neurons, :, None]
        return found[..., 0] + readout.bias[neurons, None]

    def shared(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Return the parameters that sessions share, with their names."""
        own = ("stitchers.", "readouts.")
        return ((name, p) for name, p in self.named_parameters() if not name.startswith(own))


def _prefixed(record: Record, prefix: str) -> Record:
    return lambda name, value: record(prefix + name, value)


def poisson_loss(
    log_rates: Tensor, counts: Tensor, scored: Tensor, *, is_sum: bool = False
) -> Tensor:
    """Return the Poisson loss of scored entries without its constant; mean or sum.

    Parameters
    ----------
    scored
        bool (B, T, N): targets at real bins.
    is_sum
        The sum, as in the public code; it changes what a gradient clip does.
    """
    losses = torch.where(scored, log_rates.exp() - counts * log_rates, 0.0)
    total = losses.sum()
    return total if is_sum else total / scored.sum().clamp(min=1)
