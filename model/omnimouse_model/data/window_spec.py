"""The time base of a model: duration, rates and sizes of its windows, and changes of these.

A reader returns the values at positions. A position is a frame or a behaviour sample
of the window's spec, counted from the window's first; positions before the window and
after its end are read from the recording too. An edit makes one reader of another, so
that edits follow each other in any order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isclose, isfinite
from reprlib import repr as shortened
from sys import float_info
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from omnimouse_model.storage.trees import decode

MAX_SAMPLES = 1_000_000
"""Most samples of a window, which is a matrix in memory: nine hours at 30 Hz."""
MAX_PIXELS = 2**24
"""Most pixels of a frame of a window: 4096 x 4096."""


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """Video of a window.

    Parameters
    ----------
    rate_hz
        Frames per second.
    height, width
        Size of a frame in pixels.
    is_raw
        True for uint8 frames as recorded, False for normalised frames.
    """

    rate_hz: float
    height: int
    width: int
    is_raw: bool = False

    def __post_init__(self) -> None:
        _require_positive("video.rate_hz", self.rate_hz)
        _require_positive("video.height", self.height)
        _require_positive("video.width", self.width)
        if self.height * self.width > MAX_PIXELS:
            raise ValueError(
                f"video of {self.height} x {self.width}; at most {MAX_PIXELS:,} pixels expected."
            )


@dataclass(frozen=True, slots=True)
class BehaviorSpec:
    """Behaviour of a window.

    Parameters
    ----------
    rate_hz
        Samples per second.
    channels
        Names of the channels, in the order in which a predictor reads them.
    is_raw
        True for values as recorded, False for z-scored values.
    stored_order
        True to read every channel of the session in stored order, whatever its name.
        OmniMouse was trained so, because the order of the pupil's channels in the
        released recordings is uncertain.
    """

    rate_hz: float
    channels: tuple[str, ...]
    is_raw: bool = False
    stored_order: bool = False

    def __post_init__(self) -> None:
        _require_positive("behavior.rate_hz", self.rate_hz)
        if not self.channels or len(set(self.channels)) != len(self.channels):
            raise ValueError(
                f"behavior.channels is {shortened(self.channels)}; expected at least "
                "one name, and each name once."
            )


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """Duration, rates and sizes of the windows that a predictor reads.

    Examples
    --------
    >>> spec = om.WindowSpec(duration_s=3.0, response_rate_hz=50.0, responses="count")
    >>> spec.n_samples, spec.n_frames, spec.n_behavior
    (150, 0, 0)

    Parameters
    ----------
    duration_s
        Length of a window in seconds.
    response_rate_hz
        Response samples per second.
    responses
        "trace" for sampled signals, which are interpolated, or "count" for events,
        which are counted per bin and never interpolated.
    video, behavior
        None for a predictor that does not read the stream.
    warmup_s
        Time before the window that is read and never scored.
    align
        "grid" for windows on the sampling grid of the session, "trial" for windows
        that begin at a trial.
    trial_offset_s
        Start of a window relative to the onset of its trial; 0 for "grid".

    Raises
    ------
    ValueError
        A value is out of range, or a window does not contain a whole number of
        samples. The message names the field and the value.
    """

    duration_s: float
    response_rate_hz: float
    responses: str = "trace"
    video: VideoSpec | None = None
    behavior: BehaviorSpec | None = None
    warmup_s: float = 0.0
    align: str = "grid"
    trial_offset_s: float = 0.0

    def __post_init__(self) -> None:
        _require_positive("duration_s", self.duration_s)
        _require_positive("response_rate_hz", self.response_rate_hz)
        if self.responses not in ("trace", "count"):
            raise ValueError(f"responses is {shortened(self.responses)}, not 'trace' or 'count'.")
        if self.align not in ("grid", "trial"):
            raise ValueError(f"align is {shortened(self.align)}, not 'grid' or 'trial'.")
        if not (isfinite(self.warmup_s) and self.warmup_s >= 0):
            raise ValueError(f"warmup_s is {self.warmup_s!r}; expected at least 0.")
        if not isfinite(self.trial_offset_s):
            raise ValueError(f"trial_offset_s is {self.trial_offset_s!r}, not finite.")
        if self.align == "grid" and self.trial_offset_s:
            raise ValueError(
                f"trial_offset_s is {self.trial_offset_s!r}, but align is 'grid'; "
                "only windows that begin at a trial have an offset."
            )
        # Otherwise streams of one window would cover different spans.
        rates = {"response_rate_hz": self.response_rate_hz}
        if self.video is not None:
            rates["video.rate_hz"] = self.video.rate_hz
        if self.behavior is not None:
            rates["behavior.rate_hz"] = self.behavior.rate_hz
        for name, rate_hz in rates.items():
            _require_integer_samples("duration_s", self.duration_s, name, rate_hz)
            # The warm-up is read as a window of its own.
            if self.warmup_s:
                _require_integer_samples("warmup_s", self.warmup_s, name, rate_hz)

    @property
    def n_samples(self) -> int:
        """Response samples of a window."""
        return round(self.duration_s * self.response_rate_hz)

    @property
    def n_frames(self) -> int:
        """Video frames of a window; 0 without video."""
        return 0 if self.video is None else round(self.duration_s * self.video.rate_hz)

    @property
    def n_behavior(self) -> int:
        """Behaviour samples of a window; 0 without behaviour."""
        if self.behavior is None:
            return 0
        return round(self.duration_s * self.behavior.rate_hz)

    def behavior_names(self, recorded: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the columns of behaviour, from those of a session."""
        if self.behavior is None:
            return ()
        return recorded if self.behavior.stored_order else self.behavior.channels

    @property
    def metric(self) -> str:
        """Name of the metric that scores predictions by default; see `metrics`."""
        # A correlation of counts in short bins is small even for the true rates.
        return "bits_per_spike" if self.responses == "count" else "correlation"

    @property
    def sample_times_s(self) -> np.ndarray:
        """float64 (n_samples,): times of the response samples in the window."""
        return np.arange(self.n_samples) / self.response_rate_hz

    @property
    def of_warmup(self) -> "WindowSpec":
        """The spec of the warm-up, which is read as a window before the window."""
        return replace(self.with_duration(self.warmup_s), warmup_s=0.0)

    def with_duration(self, duration_s: float) -> "WindowSpec":
        """Return the spec for windows of another duration, which begin at any time.

        Raises
        ------
        ValueError
            The duration is not a whole number of samples at a rate of the spec.
        """
        return replace(self, duration_s=duration_s, align="grid", trial_offset_s=0.0)


def spec_from_dict(fields: Any) -> WindowSpec:
    """Return the spec of which `dataclasses.asdict` gave these JSON values.

    Raises
    ------
    ValueError
        A field is unknown, of another type or out of range.
    """
    return decode(WindowSpec, fields, "the window spec")


def is_positive_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a finite number above 0; True and False are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Not `isfinite`, which fails for integers above the largest float.
    return 0 < value <= float_info.max


def _require_positive(field: str, value: int | float) -> None:
    if not is_positive_number(value):
        raise ValueError(f"{field} is {shortened(value)}; expected a finite value above 0.")


def _require_integer_samples(field: str, seconds: float, rate: str, rate_hz: float) -> None:
    """Raise unless a time is a whole number of samples, and not too many."""
    if seconds * rate_hz > MAX_SAMPLES:
        raise ValueError(
            f"{field} = {seconds!r} at {rate} = {rate_hz!r} is more than {MAX_SAMPLES:,} samples."
        )
    # A duration such as 0.3 s has no exact binary value: compare with a tolerance.
    count = round(seconds * rate_hz)
    if count < 1 or not isclose(seconds * rate_hz, count, rel_tol=1e-9):
        raise ValueError(
            f"{field} = {seconds!r} at {rate} = {rate_hz!r} is "
            f"{seconds * rate_hz:.6g} samples; expected a whole number."
        )


OMNIMOUSE = WindowSpec(
    duration_s=2.0,
    response_rate_hz=30.0,
    video=VideoSpec(rate_hz=30.0, height=36, width=64),
    behavior=BehaviorSpec(
        rate_hz=20.0,
        channels=("pupil_size", "pupil_dsize", "pupil_x", "pupil_y", "running"),
        stored_order=True,
    ),
)
"""Windows of OmniMouse: 60 response samples, 60 frames of 36 x 64, 40 of behaviour."""


def default_spec() -> WindowSpec:
    """Return the spec that public methods use where the user gives none."""
    return OMNIMOUSE


# OmniMouse's values by name, for code that belongs to OmniMouse alone.
RESPONSE_RATE_HZ = SCREEN_RATE_HZ = 30.0
ASSUMED_RATE_HZ = 8.0
"""Rate of a recording that states none, before it was upsampled: the most frequent one
of the released recordings."""
VIDEO_SIZE = (36, 64)
WINDOW_S = OMNIMOUSE.duration_s
N_SAMPLES, N_FRAMES = OMNIMOUSE.n_samples, OMNIMOUSE.n_frames


Read = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From ascending positions, int64 (n,), to values (n, …) and bool (n,) validity."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of behaviour, with the statistics of its z-scores."""

    name: str
    mean: float
    std: float


@runtime_checkable
class VideoEdit(Protocol):
    """Changes gray frames, 0-255, before they are normalised."""

    def on_video(self, read: Read, clip_at: Callable[[float], Read]) -> Read:
        """Return a reader of edited frames.

        Parameters
        ----------
        read
            Reader of the frames before this edit.
        clip_at
            From the start of another window, in seconds, to a reader of its frames.
        """


@runtime_checkable
class BehaviorEdit(Protocol):
    """Changes z-scored behaviour, a stream of channels at a time."""

    def on_behavior(self, read: Read, channels: Sequence[Channel]) -> Read:
        """Return a reader of edited behaviour (n, channel)."""


Edit = VideoEdit | BehaviorEdit
