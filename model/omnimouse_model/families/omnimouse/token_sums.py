"""Incremental encoder for inference: a change of tokens costs the blocks that it touches.

Latents attend the tokens once (`network`, stage 3), and their queries do not depend on
the tokens. Queries and keys are RMS-normalised, so that |score| <= sqrt(head_dim): the
exponentials need no maximum, and attention is a quotient of two sums over tokens,

    numerator = sum of exp(q k / sqrt(d)) v,    denominator = sum of exp(q k / sqrt(d)).

Both sums are computed per block of neurons, and the blocks are added in a fixed binary
tree; blocks that together have no more tokens than three full ones are one unit. A sum is
stored under the tokens that it contains, so that a stroke, its undo and another mask of
the same window find the sums that they share.

The same tokens give the same bits, on one device and thread count: the sum of a block is
computed from its tokens alone, in shapes that depend on nothing else, and the order of
the additions depends on the number of blocks only.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from math import e, log2
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnimouse_model.families.omnimouse.attention import AttentionPlan, Phases
from omnimouse_model.families.omnimouse.config import Layout, WindowBatch
from omnimouse_model.families.omnimouse.network import EncodedLatents, OmniMouse, token_intervals
from omnimouse_model.families.omnimouse.tokens import Columns
from omnimouse_model.families.parts.linear_gaussian.posterior import tree_sum
from omnimouse_model.predict.devices import MemoryCache, on_device

BLOCK = 32
"""Neurons of a block: a brush stroke of 8 neighbours touches about two. With blocks of 64 a
stroke takes a tenth longer; blocks of 16 need twice the memory."""
FAN = 8
"""Children of a stored sum: without the sums of blocks, a change costs that many blocks."""
NEURON_TOKENS = 11
"""Tokens of a neuron that is visible throughout."""
UNIT_BLOCKS = 3
"""Neighbouring blocks that have no more tokens than so many full ones are summed at once, such
as `FAN` blocks with a quarter of their neurons: eight small products cost three times as much."""
N_QUERIES = 64
"""Kinds of queries that are kept: a live sweep has about six per context span."""
KEYS_BYTES = 2**24
"""Limit of the keys and values of response tokens that are kept: a live sweep sums the tokens
of each context twice, for queries with and without video."""
BEHAVIOR = b"behavior"
"""Key of the sum over the behaviour tokens of a window."""


# -- which tokens: blocks of neurons, and the keys of their contents -------------------


@dataclass(frozen=True, slots=True)
class NeuronBlocks:
    """Division of a population into blocks of neighbours on the field.

    Attributes
    ----------
    neurons
        int64 (P,): neurons of the recording in the order of the blocks.
    block_of
        int64 (P,): block of each neuron of the recording.
    """

    neurons: np.ndarray
    block_of: np.ndarray

    @staticmethod
    def of(plane: np.ndarray, positions: Float[np.ndarray, "neuron axis"]) -> "NeuronBlocks":
        """Divide by plane, then by halving the longer side; full blocks but the last.

        Neurons without a position follow the others of their plane.
        """
        parts: list[np.ndarray] = []
        for number in np.unique(plane):
            members = np.flatnonzero(plane == number)
            has_place = np.isfinite(positions[members]).all(axis=1)
            _halve(members[has_place], positions, parts)
            parts.append(members[~has_place])
        neurons = np.concatenate(parts) if parts else np.empty(0, np.int64)
        block_of = np.empty(len(neurons), np.int64)
        block_of[neurons] = np.arange(len(neurons)) // BLOCK
        return NeuronBlocks(neurons, block_of)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return -(-len(self.neurons) // BLOCK)

    def members(self, level: int, number: int) -> np.ndarray:
        """Neurons of a block, or of all blocks below a place in the tree, int64 (n,)."""
        size = BLOCK * FAN**level
        return self.neurons[number * size : (number + 1) * size]


def _halve(members: np.ndarray, positions: np.ndarray, parts: list[np.ndarray]) -> None:
    if len(members) <= BLOCK:
        parts.append(members)
        return
    places = positions[members]
    axis = int(np.argmax(np.ptp(places, axis=0)))
    members = members[np.argsort(places[:, axis], kind="stable")]
    # A multiple of the block, so that only one block is not full.
    half = -(-len(members) // (2 * BLOCK)) * BLOCK
    _halve(members[:half], positions, parts)
    _halve(members[half:], positions, parts)


@dataclass(frozen=True, eq=False)
class TokenBlocks:
    """Response tokens of one mask and window, by block, with the key of each sum.

    Attributes
    ----------
    blocks
        Division of the population.
    starts
        bool (place, P): where tokens begin, by neuron of the recording.
    levels
        Keys of the sums, from the blocks to the root; None without any token.
    counts
        Numbers of tokens of the sums.
    """

    blocks: NeuronBlocks
    starts: Columns
    levels: list[list[bytes | None]]
    counts: list[list[int]]
    _units: dict[tuple[int, int], "Unit"] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(
        blocks: NeuronBlocks, starts: Columns, before: "TokenBlocks | None" = None
    ) -> "TokenBlocks":
        """Describe tokens; keys of blocks that are as in `before` are taken from there."""
        changed, numbers = None, list(range(blocks.count))
        if before is not None and before.blocks is blocks:
            changed = starts.changed_from(before.starts)
        if before is None or changed is None:
            sizes = [blocks.count]
            while sizes[-1] > 1:
                sizes.append(-(-sizes[-1] // FAN))
            levels: list[list[bytes | None]] = [[None] * size for size in sizes]
            counts = [[0] * size for size in sizes]
        else:
            levels = [list(level) for level in before.levels]
            counts = [list(level) for level in before.counts]
            numbers = np.unique(blocks.block_of[changed]).tolist()
        # All blocks at once, which takes a tenth of the time. Only the last one may not be full.
        named = [blocks.members(0, number) for number in numbers]
        of_all = starts.take(np.concatenate([np.empty(0, np.int64), *named]))
        for at, number in enumerate(numbers):
            of_block = of_all[:, at * BLOCK : (at + 1) * BLOCK]
            # With the number: equal patterns of two blocks are other tokens.
            content = number.to_bytes(4, "little") + np.packbits(of_block).tobytes()
            counts[0][number] = int(np.count_nonzero(of_block))
            levels[0][number] = _digest(content) if counts[0][number] else None
        for at in range(1, len(levels)):
            numbers = sorted({number // FAN for number in numbers})
            for number in numbers:
                children = slice(number * FAN, (number + 1) * FAN)
                counts[at][number] = sum(counts[at - 1][children])
                levels[at][number] = _joined(levels[at - 1][children])
        return TokenBlocks(blocks, starts, levels, counts)

    @cached_property
    def keys(self) -> frozenset[bytes]:
        """Keys of all sums that are computed for these tokens and for behaviour."""
        return frozenset(key for level in self.levels for key in level if key) | {BEHAVIOR}

    @property
    def root(self) -> bytes | None:
        """Key of all tokens; None without any."""
        return self.levels[-1][0]

    def unit(self, level: int, number: int) -> "Unit":
        """Return the tokens of a unit, found once for all windows."""
        if (level, number) not in self._units:
            members = self.blocks.members(level, number)
            starts = self.starts.take(members)
            samples, places = np.nonzero(starts)
            counts = starts.sum(axis=1).tolist()
            self._units[level, number] = Unit(
                torch.from_numpy(members[places]),
                torch.from_numpy(samples),
                tuple((at, count) for at, count in enumerate(counts) if count),
            )
        return self._units[level, number]


@dataclass(frozen=True, slots=True)
class Unit:
    """Tokens whose sum is computed in one product, sorted by sample.

    Attributes
    ----------
    neurons, samples
        int64 (token,): neuron of the recording, and first sample.
    runs
        (first sample, count) of the runs of equal first sample.
    """

    neurons: Tensor
    samples: Tensor
    runs: tuple[tuple[int, int], ...]

    def to(self, device: torch.device) -> "Unit":
        """Return the same tokens with indices on a device."""
        return self if device.type == "cpu" else on_device(self, device)


def _joined(children: Sequence[bytes | None]) -> bytes | None:
    present = [child or b"-" for child in children]
    return _digest(b"+".join(present)) if any(children) else None


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


# -- the sums, and the latents ---------------------------------------------------------


class _ResponseKeys:
    """Keys and values of the response tokens of one session.

    A token is a linear map of its responses plus the vector of its neuron, and the
    projection to keys and values is linear but for the length of the token. So the vectors
    of all neurons are projected once, and of a token only its 10 responses.
    """

    def __init__(self, net: OmniMouse, windows: WindowBatch, meta: Tensor) -> None:
        self.net = net
        features, norm = net.response_featx._feature_proj, net.enc.attn_pre_norm_context
        with torch.autocast(meta.device.type, enabled=False):
            vectors = net.neuron_vectors(windows, meta)[0]
            if features.bias is not None:
                vectors = vectors + features.bias
            # Token, then its keys and values before the token's length is divided out.
            parts = [vectors, net.enc.attention.wkv(vectors * norm.weight)]
            self._of_neurons = torch.cat(parts, dim=-1)
            kernel = features.weight[:, 0].t()
            parts = [kernel, net.enc.attention.wkv(kernel * norm.weight)]
            self._of_samples = torch.cat(parts, dim=-1)

    def of(
        self, responses: Float[Tensor, "sample neuron"], unit: Unit, phases: Phases
    ) -> tuple[Tensor, Tensor]:
        """Return rotated keys, and values, (1, kv_head, token, head_dim)."""
        config = self.net.config
        windows = responses.unfold(0, len(self._of_samples), 1)[unit.samples, unit.neurons]
        # Five times as fast as an index.
        sums = self._of_neurons.index_select(0, unit.neurons).addmm_(windows, self._of_samples)
        lengths = sums[:, : config.d_model].square().mean(dim=-1, keepdim=True)
        scaled = sums[:, config.d_model :] * lengths.add_(config.norm_eps).rsqrt_()
        return self.net.enc.attention.turned(scaled[None], phases)


class _Queries(NamedTuple):
    """Latents of a window before they attend the tokens, and their attention queries.

    Those are (head, latent, head_dim), rotated, and scaled by log2(e) / sqrt(head_dim).
    """

    first: EncodedLatents
    scaled: Tensor


@dataclass(slots=True)
class _WindowSums:
    """Stored sums of one window for one kind of queries, by the key of their tokens."""

    sample_phases: Phases
    tokens: TokenBlocks
    sums: dict[bytes, Tensor] = field(default_factory=dict)
    plans: dict[Hashable, AttentionPlan] = field(default_factory=dict)

    def drop_unused(self) -> None:
        """Drop the sums of earlier masks that the latest one does not contain."""
        used = self.tokens.keys
        if len(self.sums) > len(used):
            self.sums = {key: total for key, total in self.sums.items() if key in used}

    def drop_blocks(self) -> None:
        """Drop the sums of blocks, which are most of the memory, but keep those above."""
        for key in self.tokens.levels[0] if len(self.tokens.levels) > 1 else ():
            self.sums.pop(key or b"", None)

    @property
    def n_bytes(self) -> int:
        return sum(total.nbytes for total in self.sums.values())


def _bytes_of_all(tensors: tuple[Tensor, ...]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


class TokenEncoder:
    """Latents that have attended the tokens of a window, from stored sums.

    Parameters
    ----------
    net
        Network in eval mode, on its device.
    limit_bytes
        Limit of the stored sums. A window has blocks x latents x (d_model + heads) x 4
        bytes, and a seventh of it. Beyond the limit, sums of earlier masks are dropped
        first, then those of blocks, then windows, the one that was used longest ago
        first; they are computed again when they are needed.

    Attributes
    ----------
    n_tokens
        Number of response tokens whose keys and values were computed so far.
    n_bytes
        Bytes of the stored sums, without those of `unit_keys`.
    unit_keys
        Keys and values of response tokens, by window and key of the tokens' sum; up to
        `KEYS_BYTES` beside the stored sums.
    """

    def __init__(self, net: OmniMouse, limit_bytes: int) -> None:
        self.net, self.limit_bytes = net, limit_bytes
        self.n_tokens = self.n_bytes = 0
        self._windows: OrderedDict[Hashable, _WindowSums] = OrderedDict()
        self._queries = MemoryCache[_Queries](N_QUERIES)
        self._keys: tuple[Hashable, _ResponseKeys] | None = None
        self.unit_keys = MemoryCache[tuple[Tensor, Tensor]](KEYS_BYTES, _bytes_of_all)

    def clear(self) -> None:
        """Drop all sums."""
        self._windows.clear()
        self._queries.clear()
        self._keys = None
        self.unit_keys.clear()
        self.n_bytes = 0

    def encode(
        self,
        key: Hashable,
        windows: WindowBatch,
        tokens: TokenBlocks,
        layout: Layout,
        check: Callable[[], None] = lambda: None,
    ) -> EncodedLatents:
        """Encode one window.

        Parameters
        ----------
        key
            Identifies the values of the window.
        windows
            One window with all neurons of the recording in their order. Responses that
            are not in a token are not read.
        tokens
            Its response tokens.
        layout
            Context span, frames and behaviour of the mask; its tokens are not read.
        check
            Called before each block; may raise to stop.
        """
        missing = (tokens.root is None, layout.video_missing, layout.behavior != "visible")
        queries_key, queries = self._queries_of(windows, layout, missing)
        shows_behavior = layout.behavior == "visible"
        if self.net.config.enable_fallback_sensorium_behavior:
            # By this official option behaviour is ignored if there are no responses.
            shows_behavior &= tokens.root is not None
        place, phases = (key, queries_key), self.net.rotary_emb.phases(windows.response_times)
        store = self._windows.setdefault(place, _WindowSums(phases, tokens))
        self._windows.move_to_end(place)
        store.tokens = tokens
        one = _Encoding(self, key, store, windows, queries, layout, check)
        total = one.sum_of(len(tokens.levels) - 1, 0)
        if shows_behavior:
            total = tree_sum([total, one.behavior_sum()])
        first, enc = queries.first, self.net.enc
        # Latents without tokens pass unchanged, also without feed-forward.
        if total is None:
            return first
        return replace(first, latents=enc.joined(first.latents, enc.attention.quotient(total)))

    def _queries_of(
        self, windows: WindowBatch, layout: Layout, missing: tuple[bool, bool, bool]
    ) -> tuple[Hashable, _Queries]:
        net = self.net
        key = windows.session, self._start_time(windows), layout.context_span, missing

        def compute() -> _Queries:
            first = net.first_latents(windows, layout.context_span, missing)
            q = net.enc.queries(first.latents, first.phases)[0].float()
            return _Queries(first, q * (log2(e) * q.shape[-1] ** -0.5))

        return key, self._queries.get(key, compute)

    def response_keys(self, windows: WindowBatch, meta: Tensor) -> _ResponseKeys:
        """Return the keys and values of the session's response tokens, made once."""
        key = windows.session, self._start_time(windows)
        if self._keys is None or self._keys[0] != key:
            self._keys = key, _ResponseKeys(self.net, windows, meta)
        return self._keys[1]

    def _start_time(self, windows: WindowBatch) -> float | None:
        """Return the time of a window where the config adds it to the identity."""
        if not self.net.config.add_exp_time_embedding or windows.start_times is None:
            return None
        return float(windows.start_times[0])

    def keep(self, store: _WindowSums, key: bytes, total: Tensor) -> None:
        """Store a sum, if it is within the limit without the sums of its own window."""
        if self.n_bytes + total.nbytes > self.limit_bytes:
            self._make_room(store, total.nbytes)
        if self.n_bytes + total.nbytes <= self.limit_bytes:
            store.sums[key] = total
            self.n_bytes += total.nbytes

    def _make_room(self, store: _WindowSums, n_bytes: int) -> None:
        for other in self._windows.values():
            other.drop_unused()
        self.n_bytes = sum(other.n_bytes for other in self._windows.values())
        # The window of `store` is the last one, because it is in use.
        others = list(self._windows.items())[:-1]
        for drops_window in (False, True):
            for key, other in others:
                if self.n_bytes + n_bytes <= self.limit_bytes:
                    return
                self.n_bytes -= other.n_bytes
                if drops_window:
                    del self._windows[key]
                else:
                    other.drop_blocks()
                    self.n_bytes += other.n_bytes


@dataclass(frozen=True, slots=True)
class _Encoding:
    """The sums of one window and mask, computed where they are not stored."""

    encoder: TokenEncoder
    key: Hashable
    store: _WindowSums
    windows: WindowBatch
    queries: _Queries
    layout: Layout
    check: Callable[[], None]

    def sum_of(self, level: int, number: int) -> Tensor | None:
        """Return the sum at a place in the tree, None without any token."""
        levels, sums = self.store.tokens.levels, self.store.sums
        key = levels[level][number]
        if key is None or key in sums:
            return None if key is None else sums[key]
        # A unit is computed from its tokens, not from the sums below it.
        most = UNIT_BLOCKS * BLOCK * NEURON_TOKENS
        if level == 0 or self.store.tokens.counts[level][number] <= most:
            self.check()
            unit = self.store.tokens.unit(level, number).to(self.windows.responses.device)

            def compute() -> tuple[Tensor, Tensor]:
                self.encoder.n_tokens += len(unit.samples)
                keys = self.encoder.response_keys(self.windows, self.queries.first.meta)
                phases = self.store.sample_phases[:, :, unit.samples]
                return keys.of(self.windows.responses[0], unit, phases)

            # They do not depend on the queries.
            k, v = self.encoder.unit_keys.get((self.key, key), compute)
            layout = replace(self.layout, token_runs=unit.runs, behavior="hidden")
            total: Tensor | None = self._sum_over(layout, k, v)
        else:
            last = min((number + 1) * FAN, len(levels[level - 1]))
            total = tree_sum([self.sum_of(level - 1, n) for n in range(number * FAN, last)])
        assert total is not None  # its key would be None
        self.encoder.keep(self.store, key, total)
        return total

    def behavior_sum(self) -> Tensor:
        """Return the sum over the behaviour tokens: a block of their own."""
        if BEHAVIOR not in self.store.sums:
            none = torch.empty(0, dtype=torch.int64, device=self.windows.responses.device)
            layout = replace(self.layout, token_neurons=none, token_samples=none, token_runs=())

            def compute() -> tuple[Tensor, Tensor]:
                net, meta = self.encoder.net, self.queries.first.meta
                values = net.tokens(self.windows, layout, meta, meta[:, None])
                return net.enc.keys(values, net.rotary_emb.phases(net.behavior_timestamps[None]))

            # They do not depend on the queries.
            k, v = self.encoder.unit_keys.get((self.key, BEHAVIOR), compute)
            total = self._sum_over(layout, k, v)
            self.encoder.keep(self.store, BEHAVIOR, total)
            return total
        return self.store.sums[BEHAVIOR]

    def _sum_over(
        self,
        layout: Layout,
        k: Float[Tensor, "1 kv_head token dim"],
        v: Float[Tensor, "1 kv_head token dim"],
    ) -> Float[Tensor, "head latent sum"]:
        """Return numerators and, last, denominator of each latent over some tokens."""
        net, plans, (first, q) = self.encoder.net, self.store.plans, self.queries
        runs = layout.token_runs, layout.behavior
        if runs not in plans:
            intervals, ideal = first.intervals, net.config.ideal_times
            keys = token_intervals(net.config, self.windows, layout)
            plans[runs] = AttentionPlan.between(intervals, keys, ideal=ideal)
        return net.enc.attention.sums(q, k, v, plans[runs])
