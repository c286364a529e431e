"""The digital twin as a predictor of recorded windows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import BehaviorSpec, VideoSpec, WindowSpec
from omnimouse_model.families.parts.network_predictor import MaskedWindow, NetworkPredictor, Rates
from omnimouse_model.families.twin import RELEASED
from omnimouse_model.families.twin.network import TwinNetwork, TwinState
from omnimouse_model.families.twin.twin import MEAN, SESSIONS, TwinCheckpoint, read_release
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import weights_hash
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import Needs, Prediction
from omnimouse_model.progress import Cancelled, never, stop_if

RATE_HZ = 30.0
WARMUP_S = 1.0
"""Time that the twin sees before a window; docs/twin.md shows what less changes."""
CHANNELS = ("pupil_x", "pupil_y", "pupil_size", "running")
"""Behaviour by name: the gaze, then the state of the animal."""
N_GAZE = 2
MICRONS = "17797-"
"""Animal of the released scans, before session and scan in the id of a recording."""
HIDDEN_GRAY = 113
"""Gray level of frames that a mask hides: the mean of natural movies."""
Inputs = tuple[Tensor, Tensor, Tensor]
"""Frames, gaze and behaviour, each (T, N, ...)."""
_BATCH, _BATCH_PIXELS = 8, 2**15
"""Windows predicted at once, and the limit of the pixels of their frames together."""


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


@dataclass(slots=True, eq=False, repr=False)
class TwinPredictor(NetworkPredictor):
    """Rates from video, gaze and behaviour; never from recorded responses.

    Parameters
    ----------
    spec
        Windows that it reads.
    build
        Returns the network of a session, the same at each call, on the device.
    n_neurons
        Number of neurons of each session.
    means
        Session -> mean responses that its rates multiply, float32 (P,) in units of the
        recording; others have the means that the recording states.
    device
        Where it computes.
    checkpoint
        Returns the weights of all sessions, from which a transfer starts; None for a
        twin that is still trained.
    """

    solution = "A new animal needs a transfer."
    spec: WindowSpec
    build: Callable[[str], TwinNetwork]
    n_neurons: Mapping[str, int]
    means: Mapping[str, np.ndarray]
    device: torch.device
    checkpoint: Callable[[], TwinCheckpoint] | None = None

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> "TwinPredictor":
        """Load a predictor from a checkpoint or released files (`Family.load`).

        A released folder serves all its scans, whose sessions are named like "4-7" or
        "17797-4-7".

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        path = Path(path)
        is_release = (path / RELEASED).exists()
        checkpoint = read_release(path) if is_release else TwinCheckpoint.read(path)
        place = resolve_device(device)

        @cache
        def build(session: str) -> TwinNetwork:
            key = session.removeprefix(MICRONS) if is_release else session
            # Frozen: gradients of the weights would keep the activations of every request.
            return checkpoint.build(key).requires_grad_(False).eval().to(place)

        hashed = {k.removeprefix(SESSIONS): v for k, v in checkpoint.state.items()}
        counts = dict(checkpoint.sessions)
        means = {key: checkpoint.part(key)[MEAN].numpy() for key in counts}
        if is_release:
            # Recordings of the release are named with the animal, its files without.
            counts = {f"{MICRONS}{key}": n for key, n in counts.items()} | counts
            # The first scan is hashed with the core; means are not.
            first = f"{next(iter(checkpoint.sessions))}."
            hashed = {k.removeprefix(first): v for k, v in hashed.items()}
            hashed = {k: v for k, v in hashed.items() if k.rpartition(".")[2] != MEAN}
        return cls(
            path.name if is_release else path.stem,
            weights_hash(hashed),
            twin_spec(*checkpoint.frame_size),
            build,
            counts,
            # NaN: the checkpoint does not know it.
            {key: mean for key, mean in means.items() if np.isfinite(mean).all()},
            place,
            lambda: checkpoint,
        )

    @staticmethod
    def describe(path: Path) -> Description:
        """Return what `omnimouse info` prints of a checkpoint, or of a released folder."""
        twin = TwinPredictor.load(path, "cpu")
        assert twin.checkpoint is not None  # every loaded twin has one
        checkpoint = twin.checkpoint()
        config, (height, width) = checkpoint.config, checkpoint.frame_size
        retina = f"{config.retina_height} x {config.retina_width}"
        found = checkpoint.described(
            "digital twin",
            network=f"{config.streams} streams, {config.core}, retina {retina}",
            frames=f"{height} x {width} px",
            shared_parameters=sum(value.numel() for value in checkpoint.core.values()),
        )
        return replace(found, sessions=twin.n_neurons)

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        return Needs(
            sees_responses=False,
            sees_video=True,
            always_sees_video=True,
            sees_behavior=True,
            spec=self.spec,
            sessions=frozenset(self.n_neurons),
            n_neurons=self.n_neurons,
            methods=frozenset({"step", "stimulus_gradient", "embeddings", "stimulus_positions"}),
        )

    def prepare(self, session: Session) -> None:
        """Load the network of a session; see `NetworkPredictor`."""
        self._net_of(session)

    # -- optional methods -------------------------------------------------------------
    def start(self, session: Session, cancelled: Cancelled = never) -> TwinState:
        """Return the state before the first frame."""
        stop_if(cancelled)
        return self._net_of(session).start()

    @torch.inference_mode()
    def step(
        self, state: TwinState, inputs: Window, cancelled: Cancelled = never
    ) -> tuple[Prediction, TwinState]:
        """Return the prediction of the next frames, and the state after them.

        The given state does not change, so that several continuations can begin there.
        """
        session, state = inputs.session, state.copy()
        every = Mask.nothing(session, inputs.spec)
        every = every.with_frames(True).with_behavior("visible")
        values = self._inputs(inputs, every.frames, every.channel_modes)
        parts = []
        for part in self._net_of(session).maps(*values, state):
            parts.append(part)
            stop_if(cancelled)
        maps = torch.cat(parts)
        neurons = np.arange(session.n_neurons)
        rates, _ = self._rates(maps, inputs, neurons)
        return self._prediction(inputs, neurons, rates, mask_id=every.mask_id), state

    @torch.enable_grad()
    def stimulus_gradient(
        self, clip: Clip, neurons: np.ndarray, objective: np.ndarray, cancelled: Cancelled = never
    ) -> tuple[float, np.ndarray]:
        """Return a weighted sum of responses, and its gradient by gray level."""
        session = clip.session
        seen = np.ones(clip.spec.n_frames, bool)
        frames, pupil, behavior = self._inputs(clip, seen, ["visible"] * len(CHANNELS))
        frames.requires_grad_()
        chosen = torch.as_tensor(np.asarray(neurons), device=self.device)
        net = self._net_of(session)
        state, parts = net.start(), []
        for maps in net.maps(frames, pupil, behavior, state):
            stop_if(cancelled)
            # The way back passes the same maps, in the other direction.
            maps.register_hook(lambda _: stop_if(cancelled))
            parts.append(net.readout(maps, state, chosen))
        rates = net.rates(torch.cat(parts).mean(2))
        scale = torch.from_numpy(self._scale(session)[neurons])
        weights = torch.from_numpy(np.asarray(objective, np.float32))
        value = (rates[:, 0] * (scale * weights).to(self.device)).sum()
        (gradient,) = torch.autograd.grad(value, frames)
        # Frames are divided by 255 on their way in.
        by_gray = gradient[:, 0].mean(1) / 255
        return float(value.detach()), by_gray.cpu().numpy().astype(np.float32)

    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the functional barcode of each neuron, float32 (P, S * C)."""
        stop_if(cancelled)
        return self._net_of(session).barcodes().detach().cpu().numpy()

    @torch.inference_mode()
    def stimulus_positions(self, session: Session) -> np.ndarray:
        """Return the place of the frame that each neuron reads, float32 (P, 2).

        Row and column, as shares of height and width, for the mean gaze.
        """
        net, video = self._net_of(session), self.spec.video
        assert video is not None
        seen = net.perspective.seen_points(net.positions(), net.start())
        # Points are in half widths of the monitor, whose center is 0.
        size = seen.new_tensor([1.0, video.height / video.width])
        column_row = (seen / size + 1) / 2
        return column_row.flip(-1).cpu().numpy().astype(np.float32)

    # -- parts ------------------------------------------------------------------------
    @property
    def at_once(self) -> int:
        """Maximum number of windows that are computed at once."""
        video = self.spec.video
        assert video is not None
        return max(1, min(_BATCH, _BATCH_PIXELS // (video.height * video.width)))

    def _key(self, window: Window, mask: Mask) -> Any:
        return mask.frames.tobytes(), mask.channel_modes

    def _rates(self, state: Tensor, window: Window, neurons: np.ndarray) -> Rates:
        net = self._net_of(window.session)
        chosen = torch.as_tensor(neurons, device=self.device)
        logits = net.readout(state, net.start(), chosen).mean(2)
        rates = net.rates(logits)[:, 0].cpu().numpy()
        return np.asarray(rates * self._scale(window.session)[neurons], np.float32), {}

    def _net_of(self, session: Session) -> TwinNetwork:
        NetworkPredictor.prepare(self, session)
        return self.build(session.id)

    @torch.inference_mode()
    def _states(self, requests: Sequence[MaskedWindow], cancelled: Cancelled) -> Sequence[Tensor]:
        """Return the core's maps (T, 1, C, H, W) of windows after their warm-up."""
        net = self._net_of(requests[0][0].session)
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
        return torch.cat(parts).split(1, dim=1)

    def _inputs(self, window: Window, seen: np.ndarray, modes: Sequence[str]) -> Inputs:
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

    def _scale(self, session: Session) -> np.ndarray:
        """Return normalised units per rate, float32 (P,)."""
        mean = self.means.get(session.id, session.units.mean)
        return np.asarray(mean / session.response_scale, np.float32)


def _joined(inputs: Sequence[Inputs]) -> Inputs:
    """Return inputs as those of several clips."""
    frames, gaze, behavior = (torch.cat(x, 1) for x in zip(*inputs, strict=True))
    return frames, gaze, behavior
