"""Three small predictors with other specs: counts, a recurrent encoder, a CNN.

Each represents a model family other than OmniMouse. Their weights are random: they test
that every part of the product accepts windows of any spec.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model import own_families
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import BehaviorSpec, VideoSpec
from omnimouse_model.inference import families
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.family import Family
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor, check_request
from omnimouse_model.progress import Cancelled, never, stop_if

COUNTS = om.WindowSpec(duration_s=3.0, response_rate_hz=50.0, responses="count", align="trial")
RECURRENT = om.WindowSpec(
    duration_s=2.0,
    response_rate_hz=30.0,
    video=VideoSpec(rate_hz=30.0, height=144, width=256, is_raw=True),
    behavior=BehaviorSpec(20.0, ("pupil_size", "running")),
    warmup_s=1.0,
)
FRAMES = om.WindowSpec(duration_s=16 / 30, response_rate_hz=30.0, video=VideoSpec(30.0, 36, 64))


@dataclass
class ToyPredictor(Predictor):
    """Common part: selects the scored cells from rates of the complete window."""

    predictor_id = "toy"
    needs = Needs()

    def rates(self, window: Window, mask: Mask) -> np.ndarray:
        """Return rates (n_samples, P), computed from the visible data."""
        raise NotImplementedError

    def prepare(self, session: Session) -> None:
        """Do nothing."""

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        check_request(self.predictor_id, self.needs, window, mask)
        return Encoded(window, mask, self.rates(window, mask))

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        window, asked = encoded.window, scored_cells(encoded.mask)
        if neurons is None:
            neurons = np.flatnonzero(asked.any(axis=0))
        neurons = np.asarray(neurons, np.int64)
        values = np.where(asked[:, neurons], encoded.state[:, neurons], np.nan)
        counts = self.needs.spec.responses == "count"
        return Prediction(
            responses=values.astype(np.float32),
            neurons=neurons,
            behavior=None,
            mask_id=encoded.mask.mask_id,
            predictor_id=self.predictor_id,
            scale=None if counts else window.session.response_scale[neurons],
            units="spikes/s" if counts else "normalised",
            times_s=window.sample_times_s,
        )


@dataclass
class CountPredictor(ToyPredictor):
    """Counts of a trial at 50 Hz: the average of each unit over the training trials."""

    predictor_id = "toy-counts"
    needs = Needs(spec=COUNTS)
    fits: dict[str, np.ndarray] = field(default_factory=dict)

    def prepare(self, session: Session) -> None:
        starts = session.window_starts("train", spec=COUNTS)
        counts = [session.window(float(s), COUNTS).responses for s in starts]
        # There are few trials, so counts are averaged over neighbouring bins.
        smooth = np.ones(9) / 9
        mean = np.mean(counts, axis=0)
        average = np.apply_along_axis(np.convolve, 0, mean, smooth, "same")
        self.fits[session.fingerprint] = average + 0.01

    def rates(self, window: Window, mask: Mask) -> np.ndarray:
        if window.session.fingerprint not in self.fits:
            self.prepare(window.session)
        average = self.fits[window.session.fingerprint]
        visible = mask.visible
        shown = np.where(visible, window.responses, 0).sum(axis=1)
        expected = np.where(visible, average, 0).sum(axis=1)
        # The visible units determine the gain of the population in this trial.
        gain = np.where(expected > 0, (shown + 5) / (expected + 5), 1.0)
        return average * np.clip(gain, 0.5, 2.0)[:, None] * 50.0


@dataclass
class RecurrentPredictor(ToyPredictor):
    """Leaky state at 30 Hz over raw frames, pupil and running, with 1 s of warm-up."""

    predictor_id = "toy-recurrent"
    needs = Needs(
        sees_responses=False,
        sees_video=True,
        sees_behavior=True,
        spec=RECURRENT,
        methods=frozenset({"step"}),
    )

    def start(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        return np.zeros(18)

    def step(
        self, state: np.ndarray, inputs: Window, cancelled: Cancelled = never
    ) -> tuple[Prediction, np.ndarray]:
        every = np.ones(inputs.spec.n_frames, bool)
        states = self._run(state, inputs, every, (True, True))
        mask = om.Mask.nothing(inputs.session, inputs.spec)
        mask = mask.ask(slice(None), slice(None)).with_guard(guarded=False)
        encoded = Encoded(inputs, mask, self._readout(states, inputs.session))
        return self.decode(encoded), states[-1]

    def rates(self, window: Window, mask: Mask) -> np.ndarray:
        state, before = self.start(window.session), window.warmup
        modes = tuple(mode == "visible" for mode in mask.channel_modes)
        if before is not None:
            # What is hidden in the first sample is hidden before the window, too.
            seen = np.full(before.spec.n_frames, mask.frames[0])
            state = self._run(state, before, seen, modes)[-1]
        states = self._run(state, window, mask.frames, modes)
        return self._readout(states, window.session)

    def _run(self, state, window, frames, channels) -> np.ndarray:
        blocks = window.video.reshape(len(frames), 4, 36, 4, 64).mean(axis=(2, 4))
        blocks = np.where(frames[:, None, None], blocks / 128.0 - 1.0, 0.0)
        rows = np.arange(len(frames)) * window.spec.n_behavior // len(frames)
        behavior = np.where(channels, window.behavior[rows], 0.0)
        drive = np.concatenate([blocks.reshape(len(frames), 16), behavior], axis=1)
        states = []
        for row in drive:
            state = 0.9 * state + 0.1 * row
            states.append(state)
        return np.array(states)

    def _readout(self, states: np.ndarray, session: Session) -> np.ndarray:
        weight = np.random.default_rng(0).normal(size=(18, session.n_neurons))
        return np.log1p(np.exp(states @ weight))


@dataclass
class FramePredictor(ToyPredictor):
    """One spatio-temporal convolution over 16 frames and a random readout."""

    predictor_id = "toy-frames"
    needs = Needs(
        sees_responses=False,
        sees_video=True,
        spec=FRAMES,
        methods=frozenset({"stimulus_gradient"}),
    )

    def rates(self, window: Window, mask: Mask) -> np.ndarray:
        video = np.where(mask.frames[:, None, None], window.video, 0.0)
        video = torch.from_numpy(video.astype(np.float32))
        return self._rates(video, window.session).numpy()

    def stimulus_gradient(
        self,
        clip: om.Clip,
        neurons: np.ndarray,
        objective: np.ndarray,
        cancelled: Cancelled = never,
    ) -> tuple[float, np.ndarray]:
        stop_if(cancelled)
        gray = torch.from_numpy(clip.frames_u8.astype(np.float32)).requires_grad_()
        rates = self._rates((gray - 113) / 59, clip.session)[:, neurons]
        value = (rates * torch.from_numpy(objective)).sum()
        value.backward()
        return float(value.detach()), gray.grad.numpy()

    def _rates(self, video: torch.Tensor, session: Session) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        kernel = torch.randn(8, 1, 5, 9, 9, generator=generator) / 20
        weight = torch.randn(8, session.n_neurons, generator=generator)
        features = torch.nn.functional.conv3d(video[None, None], kernel, padding=(2, 0, 0))
        pooled = features.clamp(min=0).mean(dim=(3, 4))[0].T
        return torch.nn.functional.softplus(pooled @ weight)


TOYS = {
    "toy-counts": CountPredictor,
    "toy-recurrent": RecurrentPredictor,
    "toy-frames": FramePredictor,
}


def _load(path, device):
    """Return the predictor named in the JSON file of a checkpoint."""
    return TOYS[path.with_suffix(".json").read_text("utf-8").split('"')[-2]]()


FAMILY = Family(
    "toy", load=_load, names={name: lambda _, made=made: made() for name, made in TOYS.items()}
)


def write_package(folder: Path) -> None:
    """Install the toys for processes that have a folder on their path."""
    package = folder / "toy_families-0.1.dist-info"
    package.mkdir(parents=True)
    point = f"[{own_families.GROUP}]\ntoy = tests.toy_predictors:FAMILY\n"
    (package / "entry_points.txt").write_text(point, "utf-8")
    (package / "METADATA").write_text("Name: toy-families\nVersion: 0.1\n", "utf-8")


@contextmanager
def install_toys() -> Iterator[None]:
    """Add entry points of a package with the toys, and of a package that is broken."""
    points = [
        EntryPoint("broken", "tests.toy_predictors:NOTHING", own_families.GROUP),
        EntryPoint("toy", "tests.toy_predictors:FAMILY", own_families.GROUP),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_families, "entry_points", lambda group: points)
        families.families.cache_clear()
        yield
    families.families.cache_clear()
