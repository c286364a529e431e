"""The OmniMouse transformer as a predictor: device, caches, batches.

What a new mask costs is kept to what the mask changes: video tokens are computed once
per window (and, for models that blank hidden frames, per choice of frames), the
encoded context once per mask, and decoding answers any neurons from it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import groupby, islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window
from omnimouse_model.errors import (
    CheckpointError,
    StoppedError,
    UnsupportedRequestError,
)
from omnimouse_model.masks import Mask, asked_cells
from omnimouse_model.nets.checkpoint import Checkpoint, read_checkpoint
from omnimouse_model.nets.layout import Layout
from omnimouse_model.nets.omnimouse import Clip, Context, OmniMouse
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Request
from omnimouse_model.tokens import (
    clip_from_windows,
    layout_from_mask,
    place_predictions,
    select_queries,
)

Precision = Literal["auto", "fp32", "bf16"]
VIDEO_CACHE_WINDOWS = 64
BATCH_WINDOWS = 8
QUERIES_PER_STEP = 512
"""Decoded between two looks at whether the answer is still wanted: some 10 ms."""


@dataclass(frozen=True, slots=True)
class _State:
    """What an encoded request holds; `items` windows share one layout."""

    layout: Layout
    clip: Clip
    context: Context


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
    """

    net: OmniMouse
    name: str
    weights_hash: str = ""
    precision: Precision = "auto"
    counters: dict[str, int] = field(
        default_factory=lambda: {"video_encodings": 0, "tokens": 0, "encodings": 0}
    )
    _video: OrderedDict[Hashable, Tensor] = field(
        default_factory=OrderedDict, repr=False
    )
    _layouts: OrderedDict[str, Layout] = field(default_factory=OrderedDict, repr=False)
    _outdated: Callable[[], bool] = field(default=lambda: False, repr=False)

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
        return Needs(
            sees_responses=True,
            sees_video=True,
            sees_behavior=True,
            predicts_behavior=True,
            behavior_channels=self.net.config.behavior_channels,
            withholds_video=self.net.config.hidden_video == "blank",
            response_rate_hz=self.net.config.sample_rate_hz,
            sessions=frozenset(self.net.sess_params),
        )

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
                f"{shown}. Choose a naive predictor, or a checkpoint trained on it."
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
        return Encoded(window, mask, self._encode([window], mask))

    def decode(self, encoded: Encoded, neurons: np.ndarray | None = None) -> Prediction:
        """Answer the asked cells of some neurons (all asked ones by default)."""
        return self._decode(encoded.state, encoded.mask, [encoded.window], neurons)[0]

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
        """Answer requests in order; neighbours with one mask are batched.

        A batch shares the attention plan of its first window. Recorded clocks differ
        by rounding noise that official checkpoints must keep, so only models with
        ideal times are batched.
        """
        size = BATCH_WINDOWS if self.net.config.ideal_times else 1

        def same(request: Request) -> tuple[str, str, bytes | None]:
            window, mask, neurons = request
            asked = None if neurons is None else np.asarray(neurons).tobytes()
            return window.session.id, mask.mask_id, asked

        for _, group in groupby(requests, key=same):
            while batch := list(islice(group, size)):
                if cancelled():
                    return
                windows, (_, mask, neurons) = [r[0] for r in batch], batch[0]
                yield from self._decode(
                    self._encode(windows, mask), mask, windows, neurons
                )

    # -- how --------------------------------------------------------------------
    def _computing(self) -> AbstractContextManager[None]:
        bf16 = self.precision == "bf16" or (
            self.precision == "auto" and self.device.type == "cuda"
        )
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)

    @torch.inference_mode()
    def _encode(self, windows: list[Window], mask: Mask) -> _State:
        session = windows[0].session
        self.prepare(session)
        self._check(session, mask)
        layout = self._layout(mask)
        masks = [mask] * len(windows)
        clip = clip_from_windows(
            windows, masks, self.net.config, session.id, self.device
        )
        self.counters["tokens"] += len(layout.token_neurons) * len(windows)
        self.counters["encodings"] += 1
        self._check_on()
        with self._computing():
            video = None
            if not layout.video_missing:
                parts = [self._video_tokens(w, layout) for w in windows]
                video = parts[0] if len(parts) == 1 else torch.cat(parts)
            self._check_on()
            return _State(layout, clip, self.net.encode(clip, layout, video))

    def _check(self, session: Session, mask: Mask) -> None:
        channels = len(session.behavior_names)
        wanted = self.net.config.behavior_channels
        if mask.behavior == "visible" and channels != wanted:
            raise UnsupportedRequestError(
                f"{self.name!r} reads {wanted} behaviour channels, session "
                f"{session.id!r} has {channels} ({', '.join(session.behavior_names)}). "
                "Hide behaviour, or ask for it."
            )
        if mask.frames.any() and session.stimulus is None:
            raise UnsupportedRequestError(
                f"Session {session.id!r} has no stimulus video: hide all frames."
            )
        if mask.n_neurons != session.n_neurons:
            raise UnsupportedRequestError(
                f"The mask is for {mask.n_neurons} neurons, session {session.id!r} has "
                f"{session.n_neurons}."
            )

    def _layout(self, mask: Mask) -> Layout:
        """The mask's indices on the device; the last few are kept."""
        if mask.mask_id not in self._layouts:
            self._layouts[mask.mask_id] = layout_from_mask(mask).to(self.device)
            while len(self._layouts) > 8:
                self._layouts.popitem(last=False)
        return self._layouts[mask.mask_id]

    def _video_tokens(self, window: Window, layout: Layout) -> Tensor:
        """Tokens of the visible steps (1, V, tokens, d), encoded once per window.

        Where hidden frames are cut and not blanked, the whole clip is encoded
        whatever is visible, so one encoding serves every choice of frames.
        """
        blanks = self.net.config.hidden_video == "blank"
        key = (window.key, layout.frames.numpy().tobytes() if blanks else None)
        if key not in self._video:
            video = torch.from_numpy(window.video)[None, None].to(self.device)
            whole = layout if blanks else _every_step(layout, self.net)
            self._video[key] = self.net.encode_video(video, whole)
            self.counters["video_encodings"] += 1
            while len(self._video) > VIDEO_CACHE_WINDOWS:
                self._video.popitem(last=False)
        self._video.move_to_end(key)
        tokens = self._video[key]
        return tokens if blanks or layout.all_steps else tokens[:, layout.video_steps]

    def _rates(self, state: _State, layout: Layout) -> Tensor:
        """Rates (B, Q, 5), in parts on a CPU so that a newer request can cut in."""
        parts = [layout] if self.device.type == "cuda" else list(_chunks(layout))
        rates = []
        for part in parts:
            self._check_on()
            rates.append(self.net.decode_responses(state.clip, part, state.context)[0])
        return torch.cat(rates, dim=1)

    @torch.inference_mode()
    def _decode(
        self,
        state: _State,
        mask: Mask,
        windows: list[Window],
        neurons: np.ndarray | None,
    ) -> list[Prediction]:
        columns = _columns(mask, neurons)
        layout = state.layout
        if neurons is not None:
            layout = select_queries(layout, mask, columns)
        rates = behavior = None
        with self._computing():
            if len(layout.query_neurons):
                rates = self._rates(state, layout).float().cpu()
            if layout.behavior == "target":
                decoded, _ = self.net.decode_behavior(state.context)
                behavior = decoded.transpose(1, 2).cpu().numpy()
        scale = windows[0].session.response_scale[columns]
        nothing = np.full((len(mask.cells), len(columns)), np.nan, np.float32)
        return [
            Prediction(
                responses=(
                    nothing
                    if rates is None
                    else place_predictions(rates[item], layout, mask, columns)
                ),
                neurons=columns,
                behavior=None if behavior is None else behavior[item],
                mask_id=mask.mask_id,
                predictor_id=self.predictor_id,
                scale=scale,
            )
            for item in range(len(windows))
        ]


def _chunks(layout: Layout) -> Iterator[Layout]:
    """Parts of the queries, in order; whole runs stay what they are."""
    runs, start = [], 0
    for sample, count in layout.query_runs:
        for first in range(start, start + count, QUERIES_PER_STEP):
            runs.append((sample, first, min(first + QUERIES_PER_STEP, start + count)))
        start += count
    for sample, first, stop in runs:
        yield replace(
            layout,
            query_neurons=layout.query_neurons[first:stop],
            query_samples=layout.query_samples[first:stop],
            query_runs=((sample, stop - first),),
        )


def _columns(mask: Mask, neurons: np.ndarray | None) -> np.ndarray:
    if neurons is not None:
        return np.asarray(neurons, np.int64)
    return np.flatnonzero(asked_cells(mask).any(axis=0))


def _every_step(layout: Layout, net: OmniMouse) -> Layout:
    steps = torch.arange(net.config.hiera.grid[0], device=layout.video_steps.device)
    return replace(layout, video_steps=steps, frames=torch.ones_like(layout.frames))


# -- loading ------------------------------------------------------------------------


def resolve_device(device: str) -> torch.device:
    """Find a device by name: "auto" is a CUDA GPU where there is one, else the CPU.

    Raises
    ------
    UnsupportedRequestError
        The device is not there, or cannot hold the net's float64 rotary frequencies.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedRequestError(
            "No CUDA GPU was found; choose the device cpu (`omnimouse doctor` says "
            "more)."
        )
    if device == "mps":
        raise UnsupportedRequestError(
            "Apple GPUs have no float64, which the rotary frequencies need; choose the "
            "device cpu."
        )
    return torch.device(device)


def load_demo(device: str = "auto") -> TransformerPredictor:
    """The shipped demo model."""
    from omnimouse_model.demo import CHECKPOINT

    return load_checkpoint_predictor(CHECKPOINT, device=device, name="demo")


def load_checkpoint_predictor(
    path: str | Path, *, device: str = "auto", name: str | None = None
) -> TransformerPredictor:
    """A predictor from a checkpoint of ours or an official one."""
    path = Path(path)
    checkpoint = read_checkpoint(path)
    return predictor_from_checkpoint(checkpoint, name or path.stem, device)


def predictor_from_checkpoint(
    checkpoint: Checkpoint, name: str, device: str = "auto"
) -> TransformerPredictor:
    """Build the net on a device and wrap it."""
    if not checkpoint.sessions:
        raise CheckpointError(f"{checkpoint.source} knows no session.")
    net = checkpoint.build().requires_grad_(False)
    net.to(resolve_device(device))
    return TransformerPredictor(net, name, _hash(checkpoint.state))


def _hash(state: dict[str, Tensor]) -> str:
    """Eight hex digits over names and values."""
    digest = blake2b(digest_size=4)
    for key in sorted(state):
        digest.update(key.encode())
        values = state[key].contiguous().flatten().view(torch.uint8)
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
