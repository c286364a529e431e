"""A constructed input: frames and behaviour that were never shown to the animal."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import numpy as np

from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Window, without_missing
from omnimouse_model.data.stimulus import fit_video
from omnimouse_model.data.window_spec import Edit, WindowSpec, default_spec

# Without it, rounding could put a sample at the onset of a frame before that frame.
_TOLERANCE = 1e-4
_NO_BEHAVIOR: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True, kw_only=True)
class Clip(Window):
    """Frames and behaviour of the user, for the neurons of a session.

    Examples
    --------
    >>> frames = np.full((60, 36, 64), 128, np.uint8)
    >>> clip = om.Clip(session=session, frames=frames, rate_hz=30.0)
    >>> clip.video.shape, bool(clip.valid["responses"].any())
    ((60, 36, 64), False)

    Notes
    -----
    Every predictor takes a clip in place of a window. Responses of the session are
    not read: they are 0 and not valid, so that a mask may ask for all and show none.
    The session only identifies the neurons; a worker gets its key and these arrays.

    Parameters
    ----------
    session
        The session whose neurons are predicted.
    frames
        uint8 (n, height, width) gray levels.
    rate_hz
        Frames per second.
    behavior_by_name
        Channel name -> (m,) values in the recording's units; none by default.
    behavior_rate_hz
        Samples of behaviour per second.
    degrees_per_pixel
        Size of a pixel at the centre of the monitor; None if unknown.
    spec
        Duration, rates and sizes at which a predictor reads the clip; see `at`.

    Raises
    ------
    ValueError
        An array has another shape or type, or a rate is not above 0.
    """

    start_index: int = field(default=0, init=False)
    edits: tuple[Edit, ...] = field(default=(), init=False)
    exact_start: float | None = field(default=None, init=False)
    spec: WindowSpec = field(default_factory=default_spec)
    frames: np.ndarray
    rate_hz: float
    behavior_by_name: Mapping[str, np.ndarray] = field(default_factory=lambda: _NO_BEHAVIOR)
    behavior_rate_hz: float = 20.0
    degrees_per_pixel: float | None = None

    def __post_init__(self) -> None:
        if self.frames.ndim != 3 or self.frames.dtype != np.uint8:
            raise ValueError(
                f"frames is {self.frames.shape} {self.frames.dtype}; uint8 (frame, "
                "height, width) expected."
            )
        for name in ("rate_hz", "behavior_rate_hz"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}; a finite number above 0 expected.")
        recorded = self.session.behavior_names
        for name, values in self.behavior_by_name.items():
            # A misspelled channel would otherwise be ignored silently.
            if name not in recorded:
                raise ValueError(
                    f"behavior has {name!r}; session {self.session.id!r} has "
                    f"{', '.join(recorded) or 'no behaviour'}."
                )
            if np.ndim(values) != 1:
                raise ValueError(f"behavior[{name!r}] is {np.shape(values)}, not (m,).")

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the class without the session: arrays and numbers alone."""
        return {
            "frames": self.frames,
            "rate_hz": self.rate_hz,
            "behavior_by_name": dict(self.behavior_by_name),
            "behavior_rate_hz": self.behavior_rate_hz,
            "degrees_per_pixel": self.degrees_per_pixel,
            "spec": self.spec,
        }

    @property
    def key(self) -> Hashable:
        """Identity of a clip: the session, a hash of the arrays, and the spec."""
        session = self.session
        digest = cached(self, "digest", self._digest)
        return session.id, session.fingerprint, digest, self.spec

    def _digest(self) -> str:
        digest = blake2b(digest_size=12)
        digest.update(np.ascontiguousarray(self.frames).tobytes())
        for name in sorted(self.behavior_by_name):
            values = np.asarray(self.behavior_by_name[name], np.float64)
            digest.update(name.encode() + values.tobytes())
        numbers = (self.rate_hz, self.behavior_rate_hz, self.degrees_per_pixel)
        digest.update(repr((self.frames.shape, numbers)).encode())
        return digest.hexdigest()

    @property
    def has_video(self) -> bool:
        """Whether there are frames: always, also without a recorded video."""
        return True

    @property
    def native_start(self) -> float:
        """Start of the clip: the time of session second 0."""
        return self.session.t0

    def _make_warmup(self) -> "Clip":
        """Return the first frame and the first behaviour, held for the warm-up."""
        first = {name: values[:1] for name, values in self.behavior_by_name.items()}
        # One sample lasts as long as the whole warm-up.
        rate_hz = 1 / self.spec.warmup_s
        return replace(
            self,
            frames=self.frames[:1],
            rate_hz=rate_hz,
            behavior_by_name=first,
            behavior_rate_hz=rate_hz,
            spec=self.spec.of_warmup,
        )

    # -- reading ------------------------------------------------------------------
    def _read_responses(self) -> tuple[np.ndarray, np.ndarray]:
        shape = (self.spec.n_samples, self.session.n_neurons)
        return np.zeros(shape, np.float32), np.zeros(shape[0], bool)

    def _read_behavior(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Behaviour of one stream: z-scored or raw, 0 and invalid where unknown."""
        spec = self.spec.behavior
        if spec is None:
            raise ValueError("The spec of this clip reads no behaviour.")
        channels = self._channels(name)
        times = np.arange(self.spec.n_behavior) / spec.rate_hz
        rows = np.floor(times * self.behavior_rate_hz + _TOLERANCE).astype(np.int64)
        values = np.full((len(times), len(channels)), np.nan, np.float32)
        for column, channel in enumerate(channels):
            samples = self.behavior_by_name.get(channel.name)
            if samples is None:
                continue
            inside = rows < len(samples)
            values[inside, column] = np.asarray(samples, np.float32)[rows[inside]]
            if not spec.is_raw:
                values[:, column] = (values[:, column] - channel.mean) / channel.std
        # Channels that the spec does not read need no values.
        is_read = [spec.stored_order or c.name in spec.channels for c in channels]
        valid = np.asarray(np.isfinite(values[:, is_read]).all(axis=1))
        return without_missing(values), valid

    def _frames_at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spec, count = self.spec.video, len(positions)
        if spec is None or not count:
            return np.zeros((count, 0, 0), np.uint8), np.zeros(count, bool)
        step = self.rate_hz / spec.rate_hz
        rows = np.floor(positions * step + _TOLERANCE).astype(np.int64)
        valid = (rows >= 0) & (rows < len(self.frames))
        size = (spec.height, spec.width)
        fitted = np.zeros((count, *size), np.float32)
        fitted[valid] = fit_video(self.frames[rows[valid]], size)
        # Gray levels stay whole if the frames already have the size of the model.
        is_whole = self.frames.shape[1:] == size
        return fitted.astype(np.uint8) if is_whole else fitted, valid
