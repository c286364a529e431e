"""A constructed input: frames and behaviour that were never shown to the animal."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import numpy as np

from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.data.frames import fit_video
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window, without_missing
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec

# A frame that begins within this share of a frame of a sample's time is on screen.
_TOLERANCE = 1e-4
_NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True, kw_only=True)
class Clip(Window):
    """Frames and behaviour of the user, for the neurons of a session.

    Every predictor takes a clip in place of a window. Responses of the session are
    not read: they are 0 and not valid, so that a mask may ask for all and show none.
    The session stands for its neurons only; a worker gets its key and these arrays.

    Parameters
    ----------
    session
        The session whose neurons are predicted.
    frames
        uint8 (n, height, width) gray levels.
    rate_hz
        Frames per second.
    behavior
        Channel name -> (m,) values in the recording's units; none by default.
    behavior_rate_hz
        Samples of behaviour per second.
    degrees_per_pixel
        Size of a pixel at the centre of the monitor; None if unknown.
    spec
        Rates and sizes at which a predictor reads the clip; see `at`.

    Raises
    ------
    ValueError
        An array has another shape or type, or a rate is not above 0.

    Examples
    --------
    >>> frames = np.full((60, 36, 64), 128, np.uint8)
    >>> clip = om.Clip(session=session, frames=frames, rate_hz=30.0)
    >>> clip.video.shape, bool(clip.valid["responses"].any())
    ((60, 36, 64), False)
    """

    start_index: int = field(default=0, init=False)
    edits: tuple[Edit, ...] = field(default=(), init=False)
    exact_start: float | None = field(default=None, init=False)
    spec: WindowSpec = OMNIMOUSE
    frames: np.ndarray
    rate_hz: float
    behavior_by_name: Mapping[str, np.ndarray] = field(default_factory=lambda: _NOTHING)
    behavior_rate_hz: float = 20.0
    degrees_per_pixel: float | None = None
    _cache: dict[str, Any] = field(default_factory=dict, repr=False, init=False)

    def __post_init__(self) -> None:
        if self.frames.ndim != 3 or self.frames.dtype != np.uint8:
            raise ValueError(
                f"frames is {self.frames.shape} {self.frames.dtype}; uint8 (frame, "
                "height, width) expected."
            )
        for name in ("rate_hz", "behavior_rate_hz"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(
                    f"{name} is {value}; a finite number above 0 expected."
                )
        known = self.session.behavior_names
        for name, values in self.behavior_by_name.items():
            if name not in known:
                raise ValueError(
                    f"behavior has {name!r}; session {self.session.id!r} has "
                    f"{', '.join(known) or 'no behaviour'}."
                )
            if np.ndim(values) != 1:
                raise ValueError(f"behavior[{name!r}] is {np.shape(values)}, not (m,).")

    def __reduce__(self) -> tuple[Any, ...]:
        return clip_of, (self.session, *self.arrays)

    @property
    def arrays(self) -> tuple[Any, ...]:
        """Arguments of `clip_of` after the session: arrays and numbers alone."""
        return (
            self.frames,
            self.rate_hz,
            dict(self.behavior_by_name),
            self.behavior_rate_hz,
            self.degrees_per_pixel,
            self.spec,
        )

    @property
    def key(self) -> Hashable:
        """Identity of a clip: the session, a hash of the arrays, and the spec."""
        if "key" not in self._cache:
            digest = blake2b(digest_size=12)
            digest.update(np.ascontiguousarray(self.frames).tobytes())
            for name in sorted(self.behavior_by_name):
                values = np.asarray(self.behavior_by_name[name], np.float64)
                digest.update(name.encode() + values.tobytes())
            rest = (self.frames.shape, self.rate_hz, self.behavior_rate_hz)
            digest.update(repr(rest).encode())
            self._cache["key"] = digest.hexdigest()
        session = self.session
        return session.id, session.fingerprint, self._cache["key"], self.spec

    @property
    def has_video(self) -> bool:
        """Whether there are frames to show: always, also without recorded video."""
        return True

    @property
    def native_start(self) -> float:
        """Start of the clip: the time of session second 0."""
        return self.session.t0

    @property
    def warmup(self) -> "Clip | None":
        """The first frame and the first behaviour, held for the warm-up."""
        seconds = self.spec.warmup_s
        if not seconds:
            return None
        first = {name: values[:1] for name, values in self.behavior_by_name.items()}
        spec = replace(self.spec, duration_s=seconds, warmup_s=0.0)
        rate_hz = 1 / seconds
        return replace(
            self,
            frames=self.frames[:1],
            rate_hz=rate_hz,
            behavior_by_name=first,
            behavior_rate_hz=rate_hz,
            spec=spec,
        )

    def at(self, spec: WindowSpec) -> "Clip":
        """Return the clip at the rates and sizes of another spec."""
        duration_s = self.spec.duration_s
        spec = replace(spec, duration_s=duration_s, align="grid", trial_offset_s=0.0)
        return replace(self, spec=spec)

    # -- reading ------------------------------------------------------------------
    def _normalised(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        if name == "responses":
            shape = (self.spec.n_samples, self.session.n_neurons)
            return np.zeros(shape, np.float32), np.zeros(shape[0], bool)
        return self._constructed(name)

    def _constructed(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Behaviour of one stream: z-scored or raw, 0 and invalid where not given."""
        channels, wanted = self._channels(name), self.spec.behavior
        count = self.spec.n_behavior
        times = np.arange(count) / (wanted.rate_hz if wanted else self.behavior_rate_hz)
        rows = np.floor(times * self.behavior_rate_hz + _TOLERANCE).astype(np.int64)
        values = np.full((count, len(channels)), np.nan, np.float32)
        for column, channel in enumerate(channels):
            given = self.behavior_by_name.get(channel.name)
            if given is None:
                continue
            inside = rows < len(given)
            values[inside, column] = np.asarray(given, np.float32)[rows[inside]]
            if wanted is not None and not wanted.is_raw:
                values[:, column] = (values[:, column] - channel.mean) / channel.std
        valid = np.asarray(np.isfinite(values).all(axis=1))
        return without_missing(values), valid

    def _shown(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wanted = self.spec.video
        if wanted is None or not len(positions):
            return np.zeros((len(positions), 0, 0), np.uint8), np.zeros(0, bool)
        step = self.rate_hz / wanted.rate_hz
        rows = np.floor(positions * step + _TOLERANCE).astype(np.int64)
        valid = (rows >= 0) & (rows < len(self.frames))
        size = (wanted.height, wanted.width)
        shown = np.zeros((len(positions), *size), np.float32)
        shown[valid] = fit_video(self.frames[rows[valid]], size)
        # Gray levels stay whole where the frames already have the size of the model.
        whole = self.frames.shape[1:] == size
        return shown.astype(np.uint8) if whole else shown, valid


def clip_of(
    session: Session,
    frames: np.ndarray,
    rate_hz: float,
    behavior: Mapping[str, np.ndarray],
    behavior_rate_hz: float,
    degrees_per_pixel: float | None,
    spec: WindowSpec,
) -> Clip:
    """Return a clip of its arrays, in a process that has the session open."""
    return Clip(
        session=session,
        frames=frames,
        rate_hz=rate_hz,
        behavior_by_name=behavior,
        behavior_rate_hz=behavior_rate_hz,
        degrees_per_pixel=degrees_per_pixel,
        spec=spec,
    )
