"""The OmniMouse transformer as a predictor: device, caches, batches.

A new mask costs only what it changes. Video tokens are computed once per window (and,
for models that blank hidden frames, per choice of frames), response tokens once per
block of neurons that the mask changes (`token_sums`), the context once per mask, and
only requested neurons are decoded from the context. The file is long because the caches, the
batches and the fallbacks when memory runs out share one state.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.omnimouse.attention import CrossBlock, SelfBlock
from omnimouse_model.families.omnimouse.checkpoint import OmniMouseCheckpoint
from omnimouse_model.families.omnimouse.config import Layout, WindowBatch
from omnimouse_model.families.omnimouse.network import HieraBlock, OmniMouse, TrunkContext
from omnimouse_model.families.omnimouse.token_layout import layout_of
from omnimouse_model.families.omnimouse.token_sums import NeuronBlocks, TokenBlocks, TokenEncoder
from omnimouse_model.families.omnimouse.tokens import (
    MaskTokens,
    place_predictions,
    query_parts,
    responses_on,
    stored_batch,
)
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.strategies import QUERY_SAMPLES
from omnimouse_model.predict.devices import (
    ComputeSettings,
    MemoryCache,
    Precision,
    Residence,
    cache_limit,
    first_settings,
    full_memory_text,
    hardware_of,
)
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Predictor,
    Request,
    check_known,
    check_request,
)
from omnimouse_model.progress import Cancelled, never, stop_if

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item = tuple[Window, Mask]
CACHE_BYTES = 512 * 2**20
"""Limit of cached video features and responses of recent windows, on the device."""
CACHED_MASKS = 16
"""Tokens of recent masks: a live sweep alternates between about 14 contexts."""
GPU_BATCH, CPU_BATCH = 8, 4
"""Requests that a GPU computes together, and masks of one window that a CPU does; more use
memory and save little. With the demo's size, four masks take three quarters of the time on a
CPU. Windows are computed one after the other there: arrays of one window stay in its caches,
and in memory that the C library keeps, which saves a tenth of the time."""


@dataclass(frozen=True, slots=True)
class _State:
    """State of an encoded request, on the device."""

    # Without queries; they are those of the neurons that are decoded.
    tokens: MaskTokens
    windows: WindowBatch
    context: TrunkContext


COUNTED = ("video_encodings", "tokens", "encodings", "fetches")


@dataclass(slots=True, weakref_slot=True, repr=False)
class TransformerPredictor(Predictor):
    """A network that predicts for the sessions on which it was trained.

    Parameters
    ----------
    net
        In eval mode, on its device.
    name
        For the user; `predictor_id` adds a hash of the weights.
    precision
        "auto" is bf16 on a GPU and fp32 on a CPU, where it is as fast and exact.
    can_move
        Whether this predictor owns the network, and may move it to the CPU when the
        memory of the device is full.
    batch
        Number of requests that `predict_many` computes together, whose masks differ only in
        their visible responses; by default 8 on a GPU, and 4 of one window on a CPU.
    assumed
        Settings that the checkpoint does not contain and the table of sizes gave.
    sums_bytes
        Limit of the stored sums over tokens, see `TokenEncoder`; by default half of the
        free memory of the device, at most 4 GiB.
    counters
        Numbers of operations so far; "fetches" are copies from the device, each of
        which waits for it.
    """

    net: OmniMouse
    name: str
    weights_hash: str = ""
    precision: Precision = "auto"
    can_move: bool = False
    batch: int | None = None
    assumed: tuple[str, ...] = ()
    sums_bytes: int | None = None
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    needs: Needs = field(init=False)
    _settings: ComputeSettings = field(init=False)
    _cache: MemoryCache[Tensor] = field(
        default_factory=lambda: MemoryCache(CACHE_BYTES, lambda tensor: tensor.nbytes)
    )
    _masks: MemoryCache[MaskTokens] = field(default_factory=lambda: MemoryCache(CACHED_MASKS))
    _tokens: MemoryCache[TokenBlocks] = field(default_factory=lambda: MemoryCache(CACHED_MASKS))
    _blocks: MemoryCache[NeuronBlocks] = field(
        default_factory=lambda: MemoryCache(CACHE_BYTES, lambda blocks: blocks.neurons.nbytes)
    )
    _encoder: TokenEncoder = field(init=False)
    # All modules before which to check, and those of the decoders alone.
    _checked: tuple[list[nn.Module], list[nn.Module]] = field(init=False)

    def __post_init__(self) -> None:
        config = self.net.config
        self._settings = first_settings(self.device.type, self.precision)
        self._find_checked()
        limit = cache_limit(self.device.type) if self.sums_bytes is None else self.sums_bytes
        self._encoder = TokenEncoder(self.net, limit)
        # Computed once: requests are checked against it, and the network keeps its
        # sessions.
        sizes = self.net.session_sizes
        self.needs = Needs(
            sees_video=True,
            sees_behavior=True,
            predicts_behavior=True,
            behavior_channels=config.behavior_channels,
            withholds_video=config.hidden_video == "blank",
            spec=config.spec,
            sessions=frozenset(sizes),
            n_neurons=sizes,
            methods=frozenset({"embeddings"}),
        )

    @property
    def predictor_id(self) -> str:
        """Name and weights hash."""
        return f"{self.name}@{self.weights_hash}" if self.weights_hash else self.name

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.net.behavior_channel_embeddings.device

    @property
    def residence(self) -> Residence:
        """Hardware of the network, and its size."""
        tensors = [*self.net.parameters(), *self.net.buffers()]
        n_bytes = sum(tensor.nbytes for tensor in tensors)
        return Residence(hardware_of(self.device.type), n_bytes)

    @property
    def status(self) -> str:
        """Status of predictions: "ok", or how too little memory changed them."""
        return self._settings.status

    def prepare(self, session: Session) -> None:
        """Check that the checkpoint knows the session with all its neurons.

        Raises
        ------
        UnsupportedRequestError
            It does not; the message states what to do.
        """
        solution = (
            "Fine-tune it (in a terminal: omnimouse finetune; in Python: om.finetune), or choose "
            "a baseline."
        )
        check_known(self.name, self.needs.n_neurons, session, solution)

    # -- requests -----------------------------------------------------------------
    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Compute the context that queries attend."""
        return Encoded(window, mask, self._encoded([(window, mask)], cancelled))

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Predict the target cells of some neurons, by default of all with targets."""
        items = [(encoded.window, encoded.mask)]
        return self._decoded(encoded.state, items, neurons, cancelled)[0]

    def prefetch(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> None:
        """Read a window and encode its video, for a request that may follow."""
        self._check(window, mask)
        layout = self._tokens_of(mask).context_layout()

        @torch.inference_mode()
        def compute() -> None:
            self._responses(window)
            if not layout.video_missing:
                with self._autocast():
                    self._video_tokens(window, layout.to(self.device), cancelled)

        self._with_fallbacks(compute, cancelled, is_decoding=False)

    def predict_many(
        self, requests: Iterable[Request], cancelled: Cancelled = never
    ) -> Iterator[Prediction]:
        """Yield predictions in order; neighbouring requests share a batch if possible.

        Their masks may differ only in visible responses.
        """
        for _, group in groupby(requests, key=self._batch_key):
            while batch := list(islice(group, self.at_once)):
                items = [(window, mask) for window, mask, _ in batch]
                state = self._encoded(items, cancelled)
                yield from self._decoded(state, items, batch[0][2], cancelled)

    @property
    def at_once(self) -> int:
        """Number of masks of one window that `predict_many` computes together."""
        return self.batch or (GPU_BATCH if self._joins_windows else CPU_BATCH)

    @property
    def _joins_windows(self) -> bool:
        return self.batch is not None or self.device.type == "cuda"

    def _batch_key(self, request: Request) -> tuple[object, ...]:
        """Return equal keys for requests that can be computed together."""
        window, mask, neurons = request
        session = window.session
        # A batch has the attention plan of its first window. Recorded clocks differ by
        # rounding noise, which official checkpoints must keep: only models with ideal
        # times can have several windows in a batch.
        joins_windows = self._joins_windows and self.net.config.ideal_times
        place = (session.id, session.fingerprint) if joins_windows else window.key
        columns = None if neurons is None else np.asarray(neurons).tobytes()
        # All that a mask determines, except the visible responses. Bytes of whole arrays:
        # comparing them is cheap beside a forward pass.
        queries = np.packbits(self._tokens_of(mask).queries.take()).tobytes()
        span = layout_of(mask).context_span
        return place, columns, mask.behavior, span, mask.frames.tobytes(), queries

    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the learned vectors of a session's neurons, float32 (P, d)."""
        stop_if(cancelled)
        self.prepare(session)
        ids = torch.arange(session.n_neurons, device=self.device)
        vectors = self.net.session(session.id).neurons(ids)
        return vectors.detach().float().cpu().numpy()

    def checkpoint(self) -> OmniMouseCheckpoint:
        """Return the weights of the model as a checkpoint, to start a fine-tuning from."""
        return OmniMouseCheckpoint.of_network(
            self.net, source=self.predictor_id, assumed=self.assumed
        )

    def clear_caches(self) -> None:
        """Drop all values of recent windows and masks."""
        self._cache.clear()
        self._masks.clear()
        self._tokens.clear()
        self._encoder.clear()

    # -- fallbacks ----------------------------------------------------------------
    def _encoded(self, items: list[Item], cancelled: Cancelled) -> _State:
        for window, mask in items:
            self._check(window, mask)
        encode = partial(self._encode, items, cancelled)
        return self._with_fallbacks(encode, cancelled, is_decoding=False)

    def _decoded(
        self, state: _State, items: list[Item], neurons: np.ndarray | None, cancelled: Cancelled
    ) -> list[Prediction]:
        def compute() -> list[Prediction]:
            # A fallback to the CPU may have moved the network since the encoding.
            is_here = state.windows.responses.device.type == self.device.type
            here = state if is_here else self._encoded(items, cancelled)
            return self._decode(here, items, neurons, cancelled)

        return self._with_fallbacks(compute, cancelled, is_decoding=True)

    def _with_fallbacks(
        self, compute: Callable[[], T], cancelled: Cancelled, *, is_decoding: bool
    ) -> T:
        """Compute, and repeat with reduced settings until the memory is sufficient."""
        while True:
            try:
                with checked_between(self._checked[is_decoding], cancelled):
                    return compute()
            except (RuntimeError, MemoryError) as error:
                if not full_memory_text(error):
                    raise
                # The first line: CUDA appends advice for programmers.
                fault = str(error).strip().partition("\n")[0]
            # Outside of the handler, which keeps the tensors of the failed attempt.
            self._reduce(fault, is_decoding)

    def _reduce(self, fault: str, is_decoding: bool) -> None:
        reduced = self._settings.reduced(is_decoding=is_decoding, can_move=self.can_move)
        if reduced is None:
            raise UnsupportedRequestError(
                f"{self.name!r} has too little memory for this mask, even in "
                f"the smallest parts ({fault}). Show or predict fewer neurons, "
                "choose a smaller model, or close other programs on the device."
            )
        logger.warning("%s: %s (%s)", self.name, reduced.status, fault)
        # Everything on the device is dropped before the next attempt.
        self.clear_caches()
        if reduced.device != self._settings.device:
            self.net.to(reduced.device)
            self._find_checked()
        self._settings = reduced
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _find_checked(self) -> None:
        # A hook takes as long as a tenth of a small layer: a decoding has few.
        whole, decoders = (checked_modules(net, self.device) for net in (self.net, self.net.decs))
        self._checked = whole, decoders

    def _check(self, window: Window, mask: Mask) -> None:
        """Raise UnsupportedRequestError if the network cannot serve a request."""
        session = window.session
        self.prepare(session)
        check_request(self.name, self.needs, window, mask)
        n_channels = len(session.behavior_names)
        n_read = self.net.config.behavior_channels
        if mask.has_visible_behavior and n_channels != n_read:
            raise UnsupportedRequestError(
                f"{self.name!r} reads {n_read} behaviour channels, session "
                f"{session.id!r} has {n_channels} "
                f"({', '.join(session.behavior_names)}). Hide behaviour, or make it a "
                "target."
            )
        if mask.frames.any() and not window.has_video:
            raise UnsupportedRequestError(
                f"Session {session.id!r} has no stimulus video: hide all frames."
            )
        if mask.n_neurons != session.n_neurons:
            raise UnsupportedRequestError(
                f"The mask is for {mask.n_neurons} neurons, session {session.id!r} has "
                f"{session.n_neurons}."
            )

    # -- the network --------------------------------------------------------------
    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._settings.is_bf16)

    @torch.inference_mode()
    def _encode(self, items: list[Item], cancelled: Cancelled) -> _State:
        windows = [window for window, _ in items]
        tokens = self._tokens_of(items[0][1])
        layout = tokens.context_layout()
        on_device = layout.to(self.device)
        stop_if(cancelled)
        parts = [self._responses(window) for window in windows]
        # One window is a view: nothing is copied. All neurons are in stored order.
        responses = parts[0][None] if len(parts) == 1 else torch.stack(parts)
        ids = torch.arange(responses.shape[2], device=responses.device).expand(len(parts), -1)
        session, is_shown = windows[0].session.id, layout.behavior == "visible"
        batch = stored_batch(windows, self.net.config, session, ids, responses, behavior=is_shown)
        self.counters["encodings"] += 1
        before = self._encoder.n_tokens
        with self._autocast():
            # Each item alone, so that its latents do not depend on the others.
            encoded = [
                self._encoder.encode(
                    window.key,
                    batch.items(row, row + 1),
                    self._token_blocks(window, mask),
                    layout,
                    partial(stop_if, cancelled),
                )
                for row, (window, mask) in enumerate(items)
            ]
            self.counters["tokens"] += self._encoder.n_tokens - before
            video = None
            if not layout.video_missing:
                distinct = {window.key: window for window in windows}
                # The video of one window serves all its masks.
                shown = distinct.values() if len(distinct) == 1 else windows
                video = torch.cat([self._video_tokens(w, on_device, cancelled) for w in shown])
            context = self.net.process(batch, on_device, encoded, video)
            return _State(tokens, batch, context)

    def _tokens_of(self, mask: Mask) -> MaskTokens:
        """Return the tokens and queries of a mask, found from those of one before it."""
        masks = self._masks

        def find() -> MaskTokens:
            # Contexts with and without video share their cells.
            alike = (known for known in masks.values() if known.mask.cells is mask.cells)
            return MaskTokens.of(mask, next(alike, masks.latest))

        # By the object, which its tokens hold: the hash of a mask reads all its cells.
        return masks.get(id(mask), find)

    def _token_blocks(self, window: Window, mask: Mask) -> TokenBlocks:
        """Return the response tokens of a mask in a window, by block of neurons."""
        session = window.session
        starts = self._tokens_of(mask).starts_without(window.missing)

        def find() -> TokenBlocks:
            units = session.units
            blocks = self._blocks.get(
                session.fingerprint, lambda: NeuronBlocks.of(units.plane, units.xyz_um)
            )
            return TokenBlocks.of(blocks, starts, self._tokens.latest)

        return self._tokens.get((session.fingerprint, starts.key), find)

    def _responses(self, window: Window) -> Tensor:
        # In stored order and without a mask, so that they serve every mask.
        key = ("responses", window.key)
        return self._cache.get(key, lambda: responses_on(window, self.device))

    def _video_tokens(self, window: Window, layout: Layout, cancelled: Cancelled) -> Tensor:
        """Return tokens of the visible steps (1, V, tokens, d), encoded once."""
        # If hidden frames are cut and not blanked, the whole clip is encoded whichever
        # frames are visible, so that one encoding serves every choice of frames.
        blanks = self.net.config.hidden_video == "blank"
        frames = layout.frames.numpy().tobytes() if blanks else None

        def encode() -> Tensor:
            stop_if(cancelled)
            # (frame, height, width) -> (1, 1, frame, height, width)
            video = torch.from_numpy(window.video)[None, None].to(self.device)
            tokens = self.net.encode_video(video, layout if blanks else None)
            self.counters["video_encodings"] += 1
            return tokens

        tokens = self._cache.get(("video", window.key, frames), encode)
        return tokens if blanks or layout.all_steps else tokens[:, layout.video_steps]

    def _rates(
        self, state: _State, layout: Layout, neurons: np.ndarray, cancelled: Cancelled
    ) -> Tensor:
        """Return rates (B, Q, 5), decoded in parts if the settings limit queries."""
        # PyTorch takes no array in reverse.
        ids = torch.from_numpy(np.ascontiguousarray(neurons)).to(self.device)
        ids = ids.expand(len(state.windows.neuron_ids), -1)
        # The decoder reads the vectors and biases of the requested neurons only.
        responses = state.windows.responses[:, :, ids[0]]
        windows = replace(state.windows, neuron_ids=ids, responses=responses)
        vectors = self.net.neuron_vectors(windows, state.context.meta)
        # Each part has the same neurons at other times.
        queries = self.net.decoders()[0].projected(vectors)
        context = replace(state.context, neuron_vectors=vectors, neuron_queries=queries)
        most = self._settings.queries_per_step
        rates = []
        for part in [layout] if most is None else query_parts(layout, most):
            stop_if(cancelled)
            rates.append(self.net.decode_responses(windows, part.to(self.device), context)[0])
        return torch.cat(rates, dim=1)

    @torch.inference_mode()
    def _decode(
        self, state: _State, items: list[Item], neurons: np.ndarray | None, cancelled: Cancelled
    ) -> list[Prediction]:
        window, mask = items[0]
        if neurons is None:
            columns = np.flatnonzero(scored_cells(mask).any(axis=0))
        else:
            columns, n = np.asarray(neurons, np.int64), mask.n_neurons
            if len(columns) and not 0 <= columns.min() <= columns.max() < n:
                raise UnsupportedRequestError(
                    f"Neurons must be 0 to {n - 1}, found {columns.min()} to {columns.max()}."
                )
        layout = state.tokens.layout(columns)
        # A mask may have targets of one kind only, or none at all.
        results: dict[str, Tensor] = {}
        with self._autocast():
            if len(layout.query_neurons):
                results["rates"] = self._rates(state, layout, columns, cancelled)
            if layout.behavior == "target":
                # The network has (channel, time); public arrays are (time, channel).
                decoded = self.net.decode_behavior(state.context)[0]
                results["behavior"] = decoded.transpose(1, 2)
        if results:
            self.counters["fetches"] += 1
            # In one transfer: the program waits for the device only here, once per result.
            flat = torch.cat([part.float().flatten() for part in results.values()]).cpu()
            pieces = flat.split([part.numel() for part in results.values()])
            pairs = zip(pieces, results.items(), strict=True)
            results = {name: piece.view(part.shape) for piece, (name, part) in pairs}
        rates = results.get("rates", torch.empty(len(items), 0, QUERY_SAMPLES))
        behavior = results.get("behavior")
        scale = window.session.response_scale[columns]
        return [
            Prediction(
                responses=place_predictions(rates[row], layout, item_mask, columns),
                neurons=columns,
                behavior=None if behavior is None else behavior[row].numpy(),
                mask_id="",
                mask=item_mask,
                predictor_id=self.predictor_id,
                status=self.status,
                scale=scale,
                times_s=item_window.sample_times_s,
            )
            for row, (item_window, item_mask) in enumerate(items)
        ]


# -- ask between the layers of a network whether its request is cancelled
# Between two of these, the demo model computes for less than 50 ms on one core: the
# longest delay of a cancel. A norm is followed by a linear layer.
_CHECKED = (nn.Linear, nn.Conv3d)
# A GPU computes a block in a few ms, and each check delays the start of its kernels.
_CHECKED_ON_GPU = (SelfBlock, CrossBlock, HieraBlock)


def checked_modules(net: nn.Module, device: torch.device) -> list[nn.Module]:
    """Return the modules before which to check, if the network is on a device."""
    checked = _CHECKED_ON_GPU if device.type == "cuda" else _CHECKED
    return [module for module in net.modules() if isinstance(module, checked)]


@contextmanager
def checked_between(modules: Iterable[nn.Module], cancelled: Cancelled) -> Iterator[None]:
    """Raise `StoppedError` before the next of the modules once `cancelled()` is true."""

    # Hooks get the module and its inputs, which the check does not need.
    def call(*_: Any) -> None:
        stop_if(cancelled)

    hooks = [module.register_forward_pre_hook(call) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
