"""Edits of a window's video and behaviour, their descriptions and their JSON form.

Each edit is a frozen value that compares by content and survives a round trip through
JSON. Edits do not change the session. They work under any spec: frames, behaviour
samples and pixels are those of the window's spec, and behaviour channels have names.
`span` is the half-open range of frames or behaviour samples that the edit changes; None
is the whole window, and what a `Shift` reads before and after it. `edits_for` maps
edits to another spec.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np

from omnimouse_model.analysis.in_silico.read_functions import (
    Span,
    column_of,
    replace_within,
    shift_frames,
    with_changed_channel,
    with_changed_frames,
)
from omnimouse_model.data.edit_protocol import Channel, Read
from omnimouse_model.data.stimulus import MEAN_GRAY
from omnimouse_model.data.window_spec import WindowSpec

MirrorAxis = Literal["horizontal", "vertical"]
ClipAt = Callable[[float], Read]


def _check(edit: Any) -> None:
    """Raise ValueError for numbers that no window can have."""
    for name in ("value", "factor", "start_s"):
        if not isfinite(getattr(edit, name, 0.0)):
            raise ValueError(f"{type(edit).__name__} needs a finite {name}.")
    check_positions(edit, None)


def check_positions(edit: Any, count: int | None) -> None:
    """Raise ValueError for a frame or sample outside a window of `count` of them."""
    span, at = getattr(edit, "span", None), getattr(edit, "at", 0)
    # A window without the stream (0 positions) has no limit: the edit has no effect.
    most, name = count or np.inf, type(edit).__name__
    if span is not None and not 0 <= span[0] < span[1] <= most:
        raise ValueError(f"{name} acts on a span within 0-{count or '…'}, not {span}.")
    if not 0 <= at < most:
        last = count - 1 if count else "…"
        raise ValueError(f"{name} at a frame 0-{last}, not {at}.")


def channel_label(name: str) -> str:
    """Return the displayed name of a channel."""
    return name.replace("_", " ")


# -- edits of the video ---------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class OtherClip:
    """Replace the video by that of the window that begins nearest to `start_s`."""

    start_s: float
    span: Span | None = None

    def __post_init__(self) -> None:
        _check(self)

    def on_video(self, read: Read, clip_at: ClipAt) -> Read:
        """Read the frames of the other window."""
        return replace_within(self.span, read, clip_at(self.start_s))

    def describe(self, spec: WindowSpec) -> str:
        """Return a description, such as `clip at 12.0 s`."""
        return f"clip at {self.start_s:.1f} s"


@dataclass(frozen=True, slots=True)
class Freeze:
    """Show one frame (index `at` of the window) in the whole span."""

    at: int
    span: Span | None = None

    def __post_init__(self) -> None:
        _check(self)

    def on_video(self, read: Read, clip_at: ClipAt) -> Read:
        """Read frame `at` at every position."""

        def frozen(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            # `read` contains the earlier edits, so the frozen frame is edited too.
            frame, valid = read(np.array([self.at]))
            count = len(positions)
            return np.repeat(frame, count, axis=0), np.repeat(valid, count)

        return replace_within(self.span, read, frozen)

    def describe(self, spec: WindowSpec) -> str:
        """Return a description, such as `frozen at frame 12`."""
        return f"frozen at frame {self.at}"


@dataclass(frozen=True, slots=True)
class Blank:
    """Show the mean gray of the screen, which is 0 in model units."""

    span: Span | None = None

    def __post_init__(self) -> None:
        _check(self)

    def on_video(self, read: Read, clip_at: ClipAt) -> Read:
        """Read gray frames, valid everywhere."""

        def gray(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            frames, valid = read(positions)
            # A blank screen is known even where the recording has no frame.
            return np.full_like(frames, MEAN_GRAY), np.ones_like(valid)

        return replace_within(self.span, read, gray)

    def describe(self, spec: WindowSpec) -> str:
        """Return `blank`."""
        return "blank"


@dataclass(frozen=True, slots=True)
class Mirror:
    """Exchange left and right ("horizontal") or top and bottom ("vertical")."""

    axis: MirrorAxis = "horizontal"
    span: Span | None = None

    def __post_init__(self) -> None:
        _check(self)
        if self.axis not in ("horizontal", "vertical"):
            raise ValueError(f"Mirror along 'horizontal' or 'vertical', not {self.axis!r}.")

    def on_video(self, read: Read, clip_at: ClipAt) -> Read:
        """Read mirrored frames."""
        # Frames are (time, row, column).
        axis = 2 if self.axis == "horizontal" else 1
        return with_changed_frames(self.span, read, lambda frames: np.flip(frames, axis))

    def describe(self, spec: WindowSpec) -> str:
        """Return `mirrored` or `upside down`."""
        return "mirrored" if self.axis == "horizontal" else "upside down"


@dataclass(frozen=True, slots=True)
class Contrast:
    """Multiply the deviation from mean gray by `factor`, clipped to 0-255."""

    factor: float
    span: Span | None = None

    def __post_init__(self) -> None:
        _check(self)
        if self.factor < 0:
            raise ValueError(f"A contrast factor is 0 or more, not {self.factor}.")

    def on_video(self, read: Read, clip_at: ClipAt) -> Read:
        """Read frames with changed contrast."""

        def scaled(frames: np.ndarray) -> np.ndarray:
            # Keep the dtype and the values exactly, without rounding or clipping.
            if self.factor == 1:
                return frames
            gray, factor = np.float32(MEAN_GRAY), np.float32(self.factor)
            grays = (frames.astype(np.float32) - gray) * factor + gray
            return np.asarray(np.clip(grays, 0, 255))

        return with_changed_frames(self.span, read, scaled)

    def describe(self, spec: WindowSpec) -> str:
        """Return a description, such as `contrast × 0.5`."""
        return f"contrast × {self.factor:g}"


@dataclass(frozen=True, slots=True)
class Shift:
    """Move the picture by pixels to the right and down, and by frames in time.

    Pixels from outside the picture are mean gray. Frames from before the window (or
    after it, if `later` is negative) are read from the recording.
    """

    right: int = 0
    down: int = 0
    later: int = 0
    span: Span | None = None

    def __post_init__(self) -> None:
        _check(self)

    def on_video(self, read: Read, clip_at: ClipAt) -> Read:
        """Read frames `later` positions earlier, with the picture moved."""

        def moved(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            # Positions outside the window are read from the recording.
            frames, valid = read(positions - self.later)
            return shift_frames(frames, self.down, self.right), valid

        return replace_within(self.span, read, moved)

    def describe(self, spec: WindowSpec) -> str:
        """Return a description, such as `4 px right, 3 frames later`."""
        moves = [
            (self.right, "px right", "px left"),
            (self.down, "px down", "px up"),
            (self.later, "frames later", "frames earlier"),
        ]
        parts = [f"{abs(n)} {on if n > 0 else back}" for n, on, back in moves if n]
        return ", ".join(parts) or "not shifted"


# -- edits of behaviour ---------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class BehaviorSet:
    """Hold a behaviour channel at a value, in units of the recording.

    Other channels do not change: the recorded change of pupil size remains if the
    pupil size is held constant.
    """

    channel: str
    value: float
    span: Span | None = None

    def __post_init__(self) -> None:
        _check(self)

    def on_behavior(self, read: Read, channels: Sequence[Channel]) -> Read:
        """Read the constant value in place of the channel."""

        def constant(values: np.ndarray, channel: Channel) -> np.ndarray:
            # `values` are z-scored; `value` is in units of the recording.
            return np.full_like(values, (self.value - channel.mean) / channel.std)

        return with_changed_channel(self.channel, self.span, read, channels, constant)

    def describe(self, spec: WindowSpec) -> str:
        """Return a description, such as `running = 0`."""
        return f"{channel_label(self.channel)} = {self.value:g}"


@dataclass(frozen=True, slots=True)
class BehaviorScale:
    """Multiply a behaviour channel by a factor, in units of the recording."""

    channel: str
    factor: float
    span: Span | None = None

    def __post_init__(self) -> None:
        _check(self)

    def on_behavior(self, read: Read, channels: Sequence[Channel]) -> Read:
        """Read the scaled channel; a factor of 1 is an exact identity."""

        def scaled(values: np.ndarray, channel: Channel) -> np.ndarray:
            # With z = (v - mean) / std, the z-score of factor · v is
            # factor · z + mean · (factor - 1) / std.
            offset = channel.mean * (self.factor - 1) / channel.std
            return np.asarray(values * np.float32(self.factor) + np.float32(offset))

        return with_changed_channel(self.channel, self.span, read, channels, scaled)

    def describe(self, spec: WindowSpec) -> str:
        """Return a description, such as `running × 2`."""
        return f"{channel_label(self.channel)} × {self.factor:g}"


@dataclass(frozen=True, slots=True)
class BehaviorShift:
    """Delay a behaviour channel by samples of the spec, which are read as recorded."""

    channel: str
    later: int
    span: Span | None = None

    def __post_init__(self) -> None:
        _check(self)

    def on_behavior(self, read: Read, channels: Sequence[Channel]) -> Read:
        """Read the channel `later` samples earlier; other channels do not change."""
        column = column_of(self.channel, channels)
        # Called for each behaviour stream: another stream has the channel.
        if column is None:
            return read

        def moved(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values, valid = read(positions)
            earlier, earlier_valid = read(positions - self.later)
            values = values.copy()
            values[:, column] = earlier[:, column]
            # Validity is per sample and not per channel, so both samples must be valid.
            return values, valid & earlier_valid

        return replace_within(self.span, read, moved)

    def describe(self, spec: WindowSpec) -> str:
        """Return a description, such as `running 0.5 s later`."""
        delay = f"{abs(self.later)} samples"
        if spec.behavior is not None:
            delay = f"{abs(self.later) / spec.behavior.rate_hz:g} s"
        direction = "later" if self.later >= 0 else "earlier"
        return f"{channel_label(self.channel)} {delay} {direction}"
