"""The digital twin as a predictor of recorded windows."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import BehaviorSpec, VideoSpec, WindowSpec
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.families.twin.checkpoint import MEAN, TwinCheckpoint, read_twins
from omnimouse_model.families.twin.network import TwinNetwork, TwinState
from omnimouse_model.families.twin.released import CORE, read_released, scans
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.description import describe_weights, weights_hash
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import (
    NOT_DECODED,
    Encoded,
    Needs,
    Prediction,
    Predictor,
    Request,
    check_known,
    check_request,
    check_responses_asked,
)
from omnimouse_model.predict.request_batches import predict_in_batches
from omnimouse_model.progress import Cancelled, never, stop_if

RATE_HZ = 30.0
WARMUP_S = 1.0
"""Time that the twin sees before a window; docs/twin.md shows what less changes."""
CHANNELS = ("pupil_x", "pupil_y", "pupil_size", "running")
"""Behaviour by name: the gaze, then the state of the animal."""
N_GAZE = 2
FRAME_SIZE = (144, 256)
"""Height and width in pixels of the frames of the released models."""
MICRONS_ANIMAL = 17797
"""Animal of the released scans."""
HIDDEN_GRAY = 113
"""Gray level of frames that a mask hides: the mean of natural movies."""
_BATCH, _BATCH_PIXELS = 8, 2**15
"""Windows predicted at once, and the limit of the pixels of their frames together."""
_KEPT = 8
"""Number of encoded windows in memory: going back to one costs nothing."""
NOT_READ = "visible responses are not read"


def twin_spec(height: int, width: int, warmup_s: float = WARMUP_S) -> WindowSpec:
    """Return the spec of windows that a twin reads.

    Examples
    --------
    >>> from omnimouse_model.families.twin.predictor import twin_spec
    >>> spec = twin_spec(144, 256)
    >>> spec.n_samples, spec.n_frames, spec.warmup_s
    (60, 60, 1.0)
    """
    return WindowSpec(
        duration_s=2.0,
        response_rate_hz=RATE_HZ,
        video=VideoSpec(RATE_HZ, height, width, is_raw=True),
        behavior=BehaviorSpec(RATE_HZ, CHANNELS),
        warmup_s=warmup_s,
    )


@dataclass(frozen=True, slots=True, eq=False)
class TwinOfSession:
    """The network of one session, and the mean responses that its rates multiply.

    Attributes
    ----------
    mean
        float32 (P,) in units of the recording; None for the mean that the recording
        states.
    """

    net: TwinNetwork
    mean: np.ndarray | None = None


@dataclass(slots=True, eq=False, repr=False)
class TwinPredictor(Predictor):
    """Rates from video, gaze and behaviour; never from recorded responses.

    Parameters
    ----------
    name, weights
        Name, and hash of the weights.
    spec
        Windows that it reads.
    load
        Returns the twin of a session.
    n_neurons
        Number of neurons of each session.
    device
        Where it computes.
    checkpoint
        Returns the weights of all sessions, from which a transfer starts; None for a
        twin that is still trained.
    """

    name: str
    weights: str
    spec: WindowSpec
    load: Callable[[str], TwinOfSession]
    n_neurons: Mapping[str, int]
    device: torch.device
    checkpoint: Callable[[], TwinCheckpoint] | None = None
    _twins: dict[str, TwinOfSession] = field(default_factory=dict, repr=False)
    _encoded: OrderedDict[Any, Tensor] = field(default_factory=OrderedDict, repr=False)

    @property
    def predictor_id(self) -> str:
        """Name and hash of the weights."""
        return f"{self.name} ({self.weights})"

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        return Needs(
            sees_responses=False,
            sees_video=True,
            sees_behavior=True,
            spec=self.spec,
            sessions=frozenset(self.n_neurons),
            n_neurons=self.n_neurons,
            methods=frozenset({"step", "stimulus_gradient", "embeddings", "stimulus_positions"}),
        )

    def prepare(self, session: Session) -> None:
        """Load the network of a session.

        Raises
        ------
        UnsupportedRequestError
            The session is unknown, has another number of neurons, or has no video.
        """
        self._twin_of(session)

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Compute the core's maps of a window after its warm-up."""
        self._check(window, mask)
        twin = self._twin_of(window.session)
        # Only these parts of a mask change a prediction, so that painting responses
        # costs nothing.
        key = (window.key, mask.frames.tobytes(), mask.channel_modes)
        maps = self._encoded.pop(key, None)
        if maps is None:
            maps = self._maps(twin.net, [(window, mask)], cancelled)
        self._encoded[key] = maps
        while len(self._encoded) > _KEPT:
            self._encoded.popitem(last=False)
        return Encoded(window, mask, (maps, scored_cells(mask)))

    @torch.inference_mode()
    def decode(
        self,
        encoded: Encoded,
        neurons: np.ndarray | None = None,
        cancelled: Cancelled = never,
    ) -> Prediction:
        """Read the rates of neurons from the maps."""
        stop_if(cancelled)
        maps, cells = encoded.state
        if neurons is None:
            neurons = np.flatnonzero(cells.any(axis=0))
        neurons = np.asarray(neurons, np.int64)
        session = encoded.window.session
        twin = self._twin_of(session)
        rates = self._rates(twin, maps, session, neurons)
        mask = encoded.mask
        values = np.where(cells[:, neurons], rates, np.nan)
        found = self._prediction(encoded.window, neurons, values, mask.mask_id)
        for is_so, remark in (
            (mask.has_behavior_target, NOT_DECODED),
            (bool(mask.visible.any()), NOT_READ),
        ):
            found = found.with_remark(remark) if is_so else found
        return found

    def predict_many(
        self, requests: Iterable[Request], cancelled: Cancelled = never
    ) -> Iterator[Prediction]:
        """Yield the predictions of requests in order, several windows at once.

        Small networks spend most of their time between operations, so that several
        windows take little longer than one.
        """
        video = self.spec.video
        assert video is not None
        size = max(1, min(_BATCH, _BATCH_PIXELS // (video.height * video.width)))

        def check(request: Request) -> None:
            self._check(*request[:2])

        yield from predict_in_batches(requests, size, check, self._predict_batch, cancelled)

    @torch.inference_mode()
    def _predict_batch(self, batch: list[Request], cancelled: Cancelled) -> Iterator[Prediction]:
        net = self._twin_of(batch[0][0].session).net
        maps = self._maps(net, [(window, mask) for window, mask, _ in batch], cancelled)
        for number, (window, mask, neurons) in enumerate(batch):
            own = maps[:, number : number + 1], scored_cells(mask)
            yield self.decode(Encoded(window, mask, own), neurons)

    # -- optional methods -------------------------------------------------------------
    def start(self, session: Session, cancelled: Cancelled = never) -> TwinState:
        """Return the state before the first frame."""
        stop_if(cancelled)
        return self._twin_of(session).net.start()

    @torch.inference_mode()
    def step(
        self, state: TwinState, inputs: Window, cancelled: Cancelled = never
    ) -> tuple[Prediction, TwinState]:
        """Return the prediction of the next frames, and the state after them.

        The given state does not change, so that several continuations can begin there.
        """
        session, state = inputs.session, state.copy()
        twin = self._twin_of(session)
        every = Mask.nothing(session, inputs.spec)
        every = every.with_frames(True).with_behavior("visible")
        values = self._inputs(inputs, every.frames, every.channel_modes)
        parts = []
        for part in twin.net.maps(*values, state):
            parts.append(part)
            stop_if(cancelled)
        maps = torch.cat(parts)
        neurons = np.arange(session.n_neurons)
        rates = self._rates(twin, maps, session, neurons)
        return self._prediction(inputs, neurons, rates, every.mask_id), state

    @torch.enable_grad()
    def stimulus_gradient(
        self,
        clip: Clip,
        neurons: np.ndarray,
        objective: np.ndarray,
        cancelled: Cancelled = never,
    ) -> tuple[float, np.ndarray]:
        """Return a weighted sum of responses, and its gradient by gray level."""
        session = clip.session
        twin = self._twin_of(session)
        seen = np.ones(clip.spec.n_frames, bool)
        frames, pupil, behavior = self._inputs(clip, seen, ["visible"] * len(CHANNELS))
        frames.requires_grad_()
        chosen = torch.as_tensor(np.asarray(neurons), device=self.device)
        net, state = twin.net, twin.net.start()
        parts = []
        for maps in net.maps(frames, pupil, behavior, state):
            stop_if(cancelled)
            # The way back passes the same maps, in the other direction.
            maps.register_hook(lambda _: stop_if(cancelled))
            parts.append(net.readout(maps, state, chosen))
        rates = net.rates(torch.cat(parts).mean(2))
        scale = torch.from_numpy(self._scale(twin, session)[neurons])
        weights = torch.from_numpy(np.asarray(objective, np.float32))
        value = (rates[:, 0] * (scale * weights).to(self.device)).sum()
        (gradient,) = torch.autograd.grad(value, frames)
        # Frames are divided by 255 on their way in.
        by_gray = gradient[:, 0].mean(1) / 255
        return float(value.detach()), by_gray.cpu().numpy().astype(np.float32)

    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the functional barcode of each neuron, float32 (P, S * C)."""
        stop_if(cancelled)
        return self._twin_of(session).net.barcodes().detach().cpu().numpy()

    @torch.inference_mode()
    def stimulus_positions(self, session: Session) -> np.ndarray:
        """Return the place of the frame that each neuron reads, float32 (P, 2).

        Row and column, as shares of height and width, for the mean gaze.
        """
        net, video = self._twin_of(session).net, self.spec.video
        assert video is not None
        seen = net.perspective.seen_points(net.positions(), net.start())
        # Points are in half widths of the monitor, whose center is 0.
        size = seen.new_tensor([1.0, video.height / video.width])
        column_row = (seen / size + 1) / 2
        return column_row.flip(-1).cpu().numpy().astype(np.float32)

    # -- parts ------------------------------------------------------------------------
    def _check(self, window: Window, mask: Mask) -> None:
        check_request(self.predictor_id, self.needs, window, mask)
        check_responses_asked(self.name, mask)

    def _twin_of(self, session: Session) -> TwinOfSession:
        check_known(self.name, self.n_neurons, session, "A new animal needs a transfer.")
        if session.stimulus is None:
            raise UnsupportedRequestError(
                f"{self.name!r} needs video, which session {session.id} lacks."
            )
        if session.id not in self._twins:
            twin = self.load(session.id)
            twin.net.to(self.device)
            self._twins[session.id] = twin
        return self._twins[session.id]

    @torch.inference_mode()
    def _maps(
        self, net: TwinNetwork, requests: Sequence[tuple[Window, Mask]], cancelled: Cancelled
    ) -> Tensor:
        """Return the core's maps (T, N, C, H, W) of windows of one session."""
        state = net.start(len(requests))
        before = []
        for window, mask in requests:
            if window.warmup is not None:
                # A mask that hides the first frame, or a channel, hides them before the
                # window, too: otherwise a condition without video would see some.
                n_frames = window.warmup.spec.n_frames
                seen = np.full(n_frames, bool(mask.frames[0]))
                before.append(self._inputs(window.warmup, seen, mask.channel_modes))
        if before:
            for _ in net.maps(*_joined(before), state):
                stop_if(cancelled)
        parts = []
        inputs = [self._inputs(w, m.frames, m.channel_modes) for w, m in requests]
        for maps in net.maps(*_joined(inputs), state):
            parts.append(maps)
            stop_if(cancelled)
        return torch.cat(parts)

    def _inputs(
        self, window: Window, seen: np.ndarray, modes: Sequence[str]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return frames, gaze and behaviour (T, 1, ...); hidden values are the mean."""
        gray_levels = np.where(seen[:, None, None], window.frames_u8, np.uint8(HIDDEN_GRAY))
        visible = [mode == "visible" for mode in modes]
        behavior = np.where(visible, window.behavior, 0.0)
        gray = torch.from_numpy(gray_levels).to(self.device)
        values = torch.from_numpy(np.asarray(behavior, np.float32)).to(self.device)
        return (
            gray[:, None, None].to(torch.float32) / 255,
            values[:, None, :N_GAZE],
            values[:, None, N_GAZE:],
        )

    def _rates(
        self, twin: TwinOfSession, maps: Tensor, session: Session, neurons: np.ndarray
    ) -> np.ndarray:
        """Return responses (T, n) in the model's normalised units."""
        chosen = torch.as_tensor(neurons, device=self.device)
        logits = twin.net.readout(maps, twin.net.start(), chosen).mean(2)
        rates = twin.net.rates(logits)[:, 0].cpu().numpy()
        return np.asarray(rates * self._scale(twin, session)[neurons], np.float32)

    def _scale(self, twin: TwinOfSession, session: Session) -> np.ndarray:
        """Return normalised units per rate, float32 (P,)."""
        mean = session.units.mean if twin.mean is None else twin.mean
        return np.asarray(mean / session.response_scale, np.float32)

    def _prediction(
        self, window: Window, neurons: np.ndarray, rates: np.ndarray, mask_id: str
    ) -> Prediction:
        return Prediction(
            responses=np.asarray(rates, np.float32),
            neurons=neurons,
            behavior=None,
            mask_id=mask_id,
            predictor_id=self.predictor_id,
            scale=window.session.response_scale[neurons],
            times_s=window.sample_times_s,
        )


Inputs = tuple[Tensor, Tensor, Tensor]
"""Frames, gaze and behaviour, each (T, N, ...)."""


def _joined(inputs: Sequence[Inputs]) -> Inputs:
    """Return inputs as those of several clips."""
    frames, gaze, behavior = (torch.cat(x, 1) for x in zip(*inputs, strict=True))
    return frames, gaze, behavior


def load_twin(path: str | Path, device: str = "auto", name: str = "") -> TwinPredictor:
    """Load a predictor from a checkpoint of this project, or from released files.

    A released folder serves all its scans, whose sessions are named like "4-7" or
    "17797-4-7".

    Raises
    ------
    CheckpointError
        A file is missing, damaged or of another form.
    """
    path = Path(path)
    if (path / CORE).exists():
        return _load_release(path, device, name or path.name)
    # The folder of a fine-tuning has its result.
    checkpoint = read_twins(path)
    tensors = {
        f"{key}.{tensor}": value
        for key, own in checkpoint.sessions.items()
        for tensor, value in own.items()
    }

    def load(session: str) -> TwinOfSession:
        mean = checkpoint.sessions[session][MEAN].numpy()
        # NaN: the checkpoint does not know it, and the recording states it.
        is_known = np.isfinite(mean).all()
        net = _frozen(checkpoint.build(session))
        return TwinOfSession(net, mean if is_known else None)

    return TwinPredictor(
        name or path.stem,
        weights_hash({**checkpoint.core, **tensors}),
        twin_spec(*checkpoint.frame_size),
        load,
        {key: checkpoint.n_units(key) for key in checkpoint.sessions},
        resolve_device(device),
        lambda: checkpoint,
    )


def _load_release(path: Path, device: str, name: str) -> TwinPredictor:
    keys = [f"{session}-{scan}" for session, scan in scans(path)]
    if not keys:
        raise CheckpointError(f"{path} has no params_<session>_<scan>.pt.")
    files = {key: read_released(path, key) for key in keys}
    core = {k: v for k, v in files[keys[0]].state.items() if k.startswith("core.")}

    def checkpoint() -> TwinCheckpoint:
        # The files do not state the mean responses, which rates are multiples of: NaN.
        sessions = {
            key: {k: v for k, v in file.state.items() if not k.startswith("core.")}
            | {MEAN: torch.full((file.n_units,), torch.nan)}
            for key, file in files.items()
        }
        config = files[keys[0]].config
        return TwinCheckpoint(config, FRAME_SIZE, core, sessions, str(path))

    # The core is in the first; every scan adds its own weights.
    weights = dict(files[keys[0]].state) | {
        f"{key}.{name}": value
        for key in keys[1:]
        for name, value in files[key].state.items()
        if not name.startswith("core.")
    }
    # Recordings of the release are named with the animal, its files without.
    named = {f"{MICRONS_ANIMAL}-{key}": file for key, file in files.items()} | files
    return TwinPredictor(
        name,
        weights_hash(weights),
        twin_spec(*FRAME_SIZE),
        lambda session: TwinOfSession(_frozen(named[session].build())),
        {key: file.n_units for key, file in named.items()},
        resolve_device(device),
        checkpoint,
    )


def _frozen(net: TwinNetwork) -> TwinNetwork:
    # Gradients of the weights would keep the activations of every request.
    return net.requires_grad_(False).eval()


def describe_twin(path: Path) -> Description:
    """Return what `omnimouse info` prints of a checkpoint, or of a released folder."""
    twin = load_twin(path, "cpu")
    assert twin.checkpoint is not None  # every loaded twin has one
    checkpoint = twin.checkpoint()
    config, (height, width) = checkpoint.config, checkpoint.frame_size
    state = dict(checkpoint.core)
    for key, own in checkpoint.sessions.items():
        state |= {f"{key}.{name}": value for name, value in own.items()}
    retina = f"{config.retina_height} x {config.retina_width}"
    return describe_weights(
        "digital twin",
        state,
        config,
        twin.n_neurons,
        network=f"{config.streams} streams, {config.core}, retina {retina}",
        frames=f"{height} x {width} px",
    )
