"""The OmniMouse transformer as a predictor: device, caches, batches.

What a new mask costs is kept to what the mask changes: video tokens are computed once
per window (and, for models that blank hidden frames, per choice of frames), the
encoded context once per mask, and decoding answers any neurons from it.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.nets.omnimouse.layout import Clip, Layout
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.nets.omnimouse.trunk import Context
from omnimouse_model.predict.devices import Residence, hardware_of
from omnimouse_model.predict.omnimouse.batching import shared_part
from omnimouse_model.predict.omnimouse.device_cache import DeviceCache
from omnimouse_model.predict.omnimouse.interrupt import checked_between_layers
from omnimouse_model.predict.omnimouse.memory_fallback import (
    Effort,
    Precision,
    first_effort,
)
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Request,
    require_spec,
)
from omnimouse_model.tokens import (
    clip_from_windows,
    layout_from_mask,
    place_predictions,
    query_parts,
    responses_on,
    select_queries,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item = tuple[Window, Mask]
KEPT_BYTES = 512 * 2**20
"""Of video features and responses of recent windows, on the device."""
KEPT_LAYOUTS = 16
BATCH = 8


@dataclass(frozen=True, slots=True)
class _State:
    """What an encoded request holds; `layout` is on the CPU, the rest on the device."""

    layout: Layout
    clip: Clip
    context: Context


def _tensor_bytes(tensor: Tensor) -> int:
    return tensor.nbytes


def _new_counters() -> dict[str, int]:
    return dict.fromkeys(("video_encodings", "tokens", "encodings", "fetches"), 0)


@dataclass(slots=True)
class TransformerPredictor:
    """A net that answers requests for the sessions it was trained on.

    Parameters
    ----------
    net
        In eval mode, on its device.
    name
        For people; `predictor_id` adds a hash of the weights.
    precision
        "auto" is bf16 on a GPU and fp32 on a CPU, where it is as quick and exact.
    can_move
        Whether the net is this predictor's own, to go on with on the CPU when the
        device's memory is full.
    joins_masks
        Whether `predict_many` computes masks together that differ in their visible
        responses alone; by default on a GPU, which a single one does not fill. On a
        CPU it is no quicker, and the first answer waits for the others.
    assumed
        What its checkpoint did not say, and was taken from the table of sizes.
    counters
        What was done so far; "fetches" are copies from the device, which wait for it.
    """

    net: OmniMouse
    name: str
    weights_hash: str = ""
    precision: Precision = "auto"
    can_move: bool = False
    joins_masks: bool | None = None
    assumed: tuple[str, ...] = ()
    counters: dict[str, int] = field(default_factory=_new_counters)
    _effort: Effort = field(init=False, repr=False)
    _kept: DeviceCache[Tensor] = field(
        default_factory=lambda: DeviceCache(KEPT_BYTES, _tensor_bytes), repr=False
    )
    _layouts: OrderedDict[str, tuple[Layout, Layout]] = field(
        default_factory=OrderedDict, repr=False
    )
    _outdated: Callable[[], bool] = field(default=lambda: False, repr=False)

    def __post_init__(self) -> None:
        self._effort = first_effort(self.device.type, self.precision)

    @property
    def predictor_id(self) -> str:
        """Name and weights hash."""
        return f"{self.name}@{self.weights_hash}" if self.weights_hash else self.name

    @property
    def device(self) -> torch.device:
        """Where the net computes."""
        return self.net.behavior_channel_embeddings.device

    @property
    def needs(self) -> Needs:
        """Everything is seen and predicted, for the sessions in the checkpoint."""
        known = {key: self.net.session(key).n_neurons for key in self.net.sess_params}
        return Needs(
            sees_responses=True,
            sees_video=True,
            sees_behavior=True,
            predicts_behavior=True,
            behavior_channels=self.net.config.behavior_channels,
            withholds_video=self.net.config.hidden_video == "blank",
            spec=self._spec,
            sessions=frozenset(known),
            n_neurons=known,
        )

    @property
    def _spec(self) -> WindowSpec:
        rate_hz = self.net.config.sample_rate_hz
        if rate_hz == OMNIMOUSE.response_rate_hz:
            return OMNIMOUSE
        return replace(OMNIMOUSE, response_rate_hz=rate_hz)

    @property
    def residence(self) -> Residence:
        """Where the net is, and how large."""
        tensors = [*self.net.parameters(), *self.net.buffers()]
        n_bytes = sum(tensor.nbytes for tensor in tensors)
        return Residence(hardware_of(self.device.type), n_bytes)

    def prepare(self, session: Session) -> None:
        """Check that the checkpoint knows the session, neuron for neuron.

        Raises
        ------
        UnsupportedRequestError
            With what to do about it.
        """
        known = sorted(self.net.sess_params)
        if session.id not in self.net.sess_params:
            shown = ", ".join(known[:3]) + (", …" if len(known) > 3 else "")
            raise UnsupportedRequestError(
                f"{self.name!r} does not know session {session.id!r}; it knows "
                f"{shown}. Fine-tune it (`omnimouse finetune`), or choose a naive "
                "predictor."
            )
        expected = self.net.session(session.id).n_neurons
        if session.n_neurons != expected:
            raise UnsupportedRequestError(
                f"{self.name!r} knows session {session.id!r} with {expected} neurons, "
                f"this recording has {session.n_neurons}. Is it the same export?"
            )

    def stop_when(self, outdated: Callable[[], bool]) -> None:
        """Give up with `StoppedError` at the next step once `outdated()` is true."""
        self._outdated = outdated

    def _check_on(self) -> None:
        if self._outdated():
            raise StoppedError

    # -- asking -----------------------------------------------------------------
    def encode(self, window: Window, mask: Mask) -> Encoded:
        """Tokens through the encoder and the processor."""
        return Encoded(window, mask, self._encoded([(window, mask)]))

    def decode(self, encoded: Encoded, neurons: np.ndarray | None = None) -> Prediction:
        """Answer the asked cells of some neurons (all asked ones by default)."""
        items = [(encoded.window, encoded.mask)]
        return self._answers(encoded.state, items, neurons)[0]

    def look_ahead(self, window: Window, mask: Mask) -> None:
        """Read a window and encode its video, for a question that may come."""
        self.prepare(window.session)
        self._check(window, mask)
        layout, on_device = self._layout(mask)
        self._fitting(
            lambda: self._look_ahead(window, layout, on_device), is_decoding=False
        )

    def predict(
        self, window: Window, mask: Mask, neurons: np.ndarray | None = None
    ) -> Prediction:
        """`decode(encode(window, mask), neurons)`."""
        return self.decode(self.encode(window, mask), neurons)

    def predict_many(
        self,
        requests: Iterable[Request],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Prediction]:
        """Answer requests in order; neighbours are computed together where they can be.

        Those share a mask, or with `joins_masks` all of it but visible responses. A
        batch shares the attention plan of its first window. Recorded clocks differ by
        rounding noise that official checkpoints must keep, so windows are batched by
        models with ideal times only.
        """
        for _, group in groupby(requests, key=self._likeness):
            while batch := list(islice(group, BATCH)):
                if cancelled():
                    return
                items = [(window, mask) for window, mask, _ in batch]
                yield from self._answers(self._encoded(items), items, batch[0][2])

    @property
    def at_once(self) -> int:
        """How many masks of one window `predict_many` computes together."""
        return BATCH if self._joins_masks else 1

    @property
    def _joins_masks(self) -> bool:
        is_gpu = self.device.type == "cuda"
        return is_gpu if self.joins_masks is None else self.joins_masks

    def _likeness(self, request: Request) -> tuple[object, ...]:
        """Equal for requests that can be computed together."""
        window, mask, neurons = request
        session = window.session
        ideal = self.net.config.ideal_times
        place = (session.id, session.fingerprint) if ideal else window.key
        asked = None if neurons is None else np.asarray(neurons).tobytes()
        joins = self._joins_masks
        rest = shared_part(mask, self._layout(mask)[0]) if joins else mask.mask_id
        return place, asked, rest

    # -- how --------------------------------------------------------------------
    def _encoded(self, items: list[Item]) -> _State:
        for window, mask in items:
            self.prepare(window.session)
            self._check(window, mask)
        return self._fitting(lambda: self._encode(items), is_decoding=False)

    def _answers(
        self, state: _State, items: list[Item], neurons: np.ndarray | None
    ) -> list[Prediction]:
        def compute() -> list[Prediction]:
            is_here = state.clip.responses.device.type == self.device.type
            here = state if is_here else self._encoded(items)
            return self._decode(here, items, neurons)

        return self._fitting(compute, is_decoding=True)

    def _fitting(self, compute: Callable[[], T], *, is_decoding: bool) -> T:
        """Compute; with less where the memory is full, until it fits."""
        while True:
            try:
                with checked_between_layers(self.net, self._check_on):
                    return compute()
            except torch.OutOfMemoryError as error:
                fault = str(error)
            # out of the handler, which would hold the tensors of what failed
            self._lower_effort(fault, is_decoding)

    def _lower_effort(self, fault: str, is_decoding: bool) -> None:
        lower = self._effort.lower(is_decoding=is_decoding, can_move=self.can_move)
        if lower is None:
            raise UnsupportedRequestError(
                f"{self.name!r} has not enough memory for this question, however it "
                f"is computed ({fault}). Show or ask for fewer neurons, choose a "
                "smaller model, or close what else uses the device."
            )
        logger.warning("%s: %s (%s)", self.name, lower.status, fault)
        self._kept.clear()
        self._layouts.clear()
        if lower.device != self._effort.device:
            self.net.to(lower.device)
        self._effort = lower
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _computing(self) -> AbstractContextManager[None]:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self._effort.is_bf16
        )

    @torch.inference_mode()
    def _encode(self, items: list[Item]) -> _State:
        windows, masks = [window for window, _ in items], [mask for _, mask in items]
        layout, on_device = self._layout(masks[0])
        self._check_on()
        clip = clip_from_windows(
            windows,
            masks,
            self.net.config,
            windows[0].session.id,
            self.device,
            [self._responses(window) for window in windows],
        )
        self.counters["encodings"] += 1
        with self._computing():
            reads, start = [], 0
            for _, alike in groupby(masks, key=lambda mask: mask.mask_id):
                same = list(alike)
                here, there = self._layout(same[0])
                part = clip.items(start, start + len(same))
                reads.append(self.net.read(part, there))
                self.counters["tokens"] += len(here.token_neurons) * len(same)
                start += len(same)
            video = None
            if not layout.video_missing:
                shown = {window.key: window for window in windows}
                # one serves all masks of one window
                parts = shown.values() if len(shown) == 1 else windows
                video = torch.cat([self._video_tokens(w, on_device) for w in parts])
            context = self.net.process(clip, on_device, reads, video)
            return _State(layout, clip, context)

    @torch.inference_mode()
    def _look_ahead(self, window: Window, layout: Layout, on_device: Layout) -> None:
        self._responses(window)
        if not layout.video_missing:
            with self._computing():
                self._video_tokens(window, on_device)

    def _check(self, window: Window, mask: Mask) -> None:
        require_spec(self.name, self._spec, window, mask)
        session = window.session
        channels = len(session.behavior_names)
        wanted = self.net.config.behavior_channels
        if mask.has_visible_behavior and channels != wanted:
            raise UnsupportedRequestError(
                f"{self.name!r} reads {wanted} behaviour channels, session "
                f"{session.id!r} has {channels} ({', '.join(session.behavior_names)}). "
                "Hide behaviour, or ask for it."
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

    def _layout(self, mask: Mask) -> tuple[Layout, Layout]:
        """The mask's indices here and on the device; the last few are kept."""
        if mask.mask_id not in self._layouts:
            layout = layout_from_mask(mask)
            self._layouts[mask.mask_id] = layout, layout.to(self.device)
            while len(self._layouts) > KEPT_LAYOUTS:
                self._layouts.popitem(last=False)
        return self._layouts[mask.mask_id]

    def _responses(self, window: Window) -> Tensor:
        key = ("responses", window.key)
        return self._kept.get(key, lambda: responses_on(window, self.device))

    def _video_tokens(self, window: Window, layout: Layout) -> Tensor:
        """Tokens of the visible steps (1, V, tokens, d), encoded once per window.

        Where hidden frames are cut and not blanked, the whole clip is encoded
        whatever is visible, so one encoding serves every choice of frames.
        """
        blanks = self.net.config.hidden_video == "blank"
        frames = layout.frames.numpy().tobytes() if blanks else None

        def encoded() -> Tensor:
            self._check_on()
            video = torch.from_numpy(window.video)[None, None].to(self.device)
            whole = layout if blanks else _every_step(layout, self.net)
            tokens = self.net.encode_video(video, whole)
            self.counters["video_encodings"] += 1
            return tokens

        tokens = self._kept.get(("video", window.key, frames), encoded)
        return tokens if blanks or layout.all_steps else tokens[:, layout.video_steps]

    def _rates(self, state: _State, layout: Layout) -> Tensor:
        """Rates (B, Q, 5), in parts where there are too many queries at once."""
        most = self._effort.queries_per_step
        parts = [layout] if most is None else list(query_parts(layout, most))
        rates = []
        for part in parts:
            self._check_on()
            there = part.to(self.device)
            rates.append(self.net.decode_responses(state.clip, there, state.context)[0])
        return torch.cat(rates, dim=1)

    def _fetched(self, rates: Tensor | None, behavior: Tensor | None) -> list[Tensor]:
        """Bring results here: one copy, for which alone the device is waited for."""
        found = [part for part in (rates, behavior) if part is not None]
        if not found:
            return []
        self.counters["fetches"] += 1
        flat = torch.cat([part.float().flatten() for part in found]).cpu()
        pieces = flat.split([part.numel() for part in found])
        return [p.view(part.shape) for p, part in zip(pieces, found, strict=True)]

    @torch.inference_mode()
    def _decode(
        self,
        state: _State,
        items: list[Item],
        neurons: np.ndarray | None,
    ) -> list[Prediction]:
        (window, mask), layout = items[0], state.layout
        columns = _columns(mask, neurons)
        if neurons is not None:
            layout = select_queries(layout, mask, columns)
        rates = behavior = None
        with self._computing():
            if len(layout.query_neurons):
                rates = self._rates(state, layout)
            if layout.behavior == "target":
                behavior = self.net.decode_behavior(state.context)[0].transpose(1, 2)
        fetched = self._fetched(rates, behavior)
        here = fetched[0] if rates is not None else None
        decoded = fetched[-1].numpy() if behavior is not None else None
        scale = window.session.response_scale[columns]
        nothing = np.full((len(mask.cells), len(columns)), np.nan, np.float32)
        return [
            Prediction(
                responses=(
                    nothing
                    if here is None
                    else place_predictions(here[number], layout, asked, columns)
                ),
                neurons=columns,
                behavior=None if decoded is None else decoded[number],
                mask_id=asked.mask_id,
                predictor_id=self.predictor_id,
                status=self._effort.status,
                scale=scale,
                times_s=source.sample_times_s,
            )
            for number, (source, asked) in enumerate(items)
        ]


def _columns(mask: Mask, neurons: np.ndarray | None) -> np.ndarray:
    if neurons is not None:
        return np.asarray(neurons, np.int64)
    return np.flatnonzero(scored_cells(mask).any(axis=0))


def _every_step(layout: Layout, net: OmniMouse) -> Layout:
    steps = torch.arange(net.config.hiera.grid[0], device=layout.video_steps.device)
    return replace(layout, video_steps=steps, frames=torch.ones_like(layout.frames))
