"""Edits of a window's video and behaviour, their descriptions and their JSON form.

Each edit is a frozen value that compares by content and survives a round trip through
JSON. Edits do not change the session. They work under any spec: frames, behaviour
samples and pixels are those of the window's spec, and behaviour channels have names.
`span` is the half-open range of frames or behaviour samples that the edit changes; None
is the whole window, and what a `Shift` reads before and after it. `edits_for` maps
edits to another spec.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from omnimouse_model.data.stimulus import MEAN_GRAY, rescale_area
from omnimouse_model.data.window_spec import Channel, Read, WindowSpec
from omnimouse_model.display import channel_text

# -- read functions that apply an edit to frames or behaviour -------------------------
# A read function maps positions in a window to values and their validity, see
# `edit_protocol`. An edit wraps the read function of the recording, or of another edit.
Span = tuple[int, int]


def replace_within(span: Span | None, original: Read, changed: Read) -> Read:
    """Return a function that reads changed values in a span, original ones outside.

    Positions are those of samples or frames; without a span, all are changed.
    """
    if span is None:
        return changed
    start, stop = span

    def read(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Each position is read once: frames are expensive to read and to scale.
        inside = (positions >= start) & (positions < stop)
        if inside.all():
            return changed(positions)
        old, new = original(positions[~inside]), changed(positions[inside])
        if not inside.any():
            return old
        return _merged(inside, old[0], new[0]), _merged(inside, old[1], new[1])

    return read


def _merged(inside: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    # The edit may return another dtype (float32 instead of uint8 frames).
    merged = np.empty((len(inside), *new.shape[1:]), np.result_type(old, new))
    merged[~inside], merged[inside] = old, new
    return merged


def with_changed_frames(
    span: Span | None, read: Read, paint: Callable[[np.ndarray], np.ndarray]
) -> Read:
    """Return a read function that applies `paint` to the frames inside the span."""

    def changed(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames, valid = read(positions)
        return paint(frames), valid

    return replace_within(span, read, changed)


def shift_frames(frames: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return frames (time, row, column) moved by pixels, with mean gray at the edge."""
    if not (down or right):
        return frames
    moved = np.full_like(frames, MEAN_GRAY)
    height, width = frames.shape[1:]
    # A larger shift leaves only mean gray.
    if abs(down) < height and abs(right) < width:
        to_rows, from_rows = _overlap(down, height)
        to_columns, from_columns = _overlap(right, width)
        moved[:, to_rows, to_columns] = frames[:, from_rows, from_columns]
    return moved


def _overlap(by: int, size: int) -> tuple[slice, slice]:
    to = slice(max(by, 0), size + min(by, 0))
    return to, slice(max(-by, 0), size + min(-by, 0))


def column_of(name: str, channels: Sequence[Channel]) -> int | None:
    """Return the column of a channel in its stream, None if it is in another one."""
    names = [channel.name for channel in channels]
    return names.index(name) if name in names else None


def with_changed_channel(
    name: str,
    span: Span | None,
    read: Read,
    channels: Sequence[Channel],
    change: Callable[[np.ndarray, Channel], np.ndarray],
) -> Read:
    """Return a read function that changes one channel inside the span."""
    column = column_of(name, channels)
    if column is None:
        return read

    def changed(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, valid = read(positions)
        # `read` may return an array that a window has cached.
        values = values.copy()
        values[:, column] = change(values[:, column], channels[column])
        return values, valid

    return replace_within(span, read, changed)


# -- an edit that shows a picture or a clip, such as a most exciting input ------------
MAX_BYTES = 2**24
"""Largest number of pixels in all frames together: an analysis file stores them."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Show a picture, or the frames of a clip, in place of the video.

    A clip begins with the window; its last frame is shown until the end. Frames of
    another size than those of the window are scaled. `Picture.of(frames, label)` makes
    one of an array, and `at_rate` adapts it to windows of another frame rate.

    Attributes
    ----------
    pixels
        Gray levels uint8 (frame, height, width), compressed by zlib, in base 64: text,
        so that an analysis file can store them.
    n_frames, height, width
        Size; a picture has one frame.
    label
        What it shows, such as "most exciting image".
    step
        Frames of the clip from one frame of the window to the next: the rate of the
        clip over that of the window.

    Raises
    ------
    ValueError
        `pixels` do not hold frames of this size, or the step is not positive.
    """

    pixels: str
    n_frames: int
    height: int
    width: int
    label: str = "picture"
    span: Span | None = None
    step: float = 1.0

    def __post_init__(self) -> None:
        shape = (self.n_frames, self.height, self.width)
        if min(shape) < 1 or np.prod([float(n) for n in shape]) > MAX_BYTES:
            raise ValueError(
                f"A picture of {shape} frames, rows and columns: expected at least 1 "
                f"of each, and at most {MAX_BYTES:,} pixels together."
            )
        if not 0 < self.step < np.inf:
            raise ValueError(f"step is {self.step}; a positive number is expected.")
        _frames(self.pixels, shape)

    @classmethod
    def of(cls, frames: UInt8[np.ndarray, "..."], label: str = "picture") -> "Picture":
        """Return a picture of gray levels (height, width) or (frame, height, width)."""
        clip = np.ascontiguousarray(frames if frames.ndim == 3 else frames[None])
        # All frames of a still clip are equal: one is enough.
        if (clip == clip[:1]).all():
            clip = clip[:1]
        text = b64encode(zlib.compress(clip.tobytes(), 9)).decode("ascii")
        n_frames, height, width = clip.shape
        return cls(text, n_frames, height, width, label)

    @property
    def frames(self) -> UInt8[np.ndarray, "frame height width"]:
        """Gray levels, read-only."""
        return _frames(self.pixels, (self.n_frames, self.height, self.width))

    def at_rate(self, old_hz: float, new_hz: float) -> "Picture":
        """Return the same clip, as long in seconds, in windows of another frame rate.

        Parameters
        ----------
        old_hz, new_hz
            Frame rates of the windows before and now.
        """
        return replace(self, step=self.step * old_hz / new_hz)

    def on_video(self, read: Read, clip_at: object) -> Read:
        """Read the frames of the picture, valid everywhere."""

        def shown(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            # Read for the size of the frames only; they may have edits of their own.
            frames, valid = read(positions)
            # The frame that is on the screen at this time. Rounding errors of the step
            # must not show the one before.
            passed = np.floor(positions * self.step + 1e-6).astype(np.int64)
            at = np.clip(passed, 0, self.n_frames - 1)
            own: np.ndarray = self.frames[at]
            if own.shape[1:] != frames.shape[1:]:
                own = rescale_area(own, frames.shape[1:3])
            return own, np.ones_like(valid)

        return replace_within(self.span, read, shown)

    def describe(self, spec: WindowSpec) -> str:
        """Return the label."""
        return self.label


@lru_cache(maxsize=8)
def _frames(pixels: str, shape: tuple[int, int, int]) -> UInt8[np.ndarray, "frame height width"]:
    """Return the frames of a text of `Picture`; at most `MAX_BYTES` are unpacked."""
    expected = int(np.prod(shape))
    unpacker = zlib.decompressobj()
    try:
        # One byte more than expected, so that a longer text is found, not unpacked.
        content = unpacker.decompress(b64decode(pixels, validate=True), expected + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"The pixels of a picture cannot be read: {error}.") from error
    if len(content) != expected:
        more = "more than " if len(content) > expected else ""
        found = min(len(content), expected)
        raise ValueError(
            f"The pixels of a picture of {shape} frames, rows and columns are {more}"
            f"{found:,} bytes; expected {expected:,}."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


# -- edits of a window's video and behaviour ------------------------------------------
MirrorAxis = Literal["horizontal", "vertical"]
ClipAt = Callable[[float], Read]


class _Edit:
    """Base of the edits: raises ValueError for numbers that no window can have."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for name in ("value", "factor", "start_s"):
            if not isfinite(getattr(self, name, 0.0)):
                raise ValueError(f"{type(self).__name__} needs a finite {name}.")
        check_positions(self, None)


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


# -- edits of the video ---------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class OtherClip(_Edit):
    """Replace the video by that of the window that begins nearest to `start_s`."""

    start_s: float
    span: Span | None = None

    def on_video(self, read: Read, clip_at: ClipAt) -> Read:
        """Read the frames of the other window."""
        return replace_within(self.span, read, clip_at(self.start_s))

    def describe(self, spec: WindowSpec) -> str:
        """Return a description, such as `clip at 12.0 s`."""
        return f"clip at {self.start_s:.1f} s"


@dataclass(frozen=True, slots=True)
class Freeze(_Edit):
    """Show one frame (index `at` of the window) in the whole span."""

    at: int
    span: Span | None = None

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
class Blank(_Edit):
    """Show the mean gray of the screen, which is 0 in model units."""

    span: Span | None = None

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
class Mirror(_Edit):
    """Exchange left and right ("horizontal") or top and bottom ("vertical")."""

    axis: MirrorAxis = "horizontal"
    span: Span | None = None

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
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
class Contrast(_Edit):
    """Multiply the deviation from mean gray by `factor`, clipped to 0-255."""

    factor: float
    span: Span | None = None

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
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
class Shift(_Edit):
    """Move the picture by pixels to the right and down, and by frames in time.

    Pixels from outside the picture are mean gray. Frames from before the window (or
    after it, if `later` is negative) are read from the recording.
    """

    right: int = 0
    down: int = 0
    later: int = 0
    span: Span | None = None

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
class BehaviorSet(_Edit):
    """Hold a behaviour channel at a value, in units of the recording.

    Other channels do not change: the recorded change of pupil size remains if the
    pupil size is held constant.
    """

    channel: str
    value: float
    span: Span | None = None

    def on_behavior(self, read: Read, channels: Sequence[Channel]) -> Read:
        """Read the constant value in place of the channel."""

        def constant(values: np.ndarray, channel: Channel) -> np.ndarray:
            # `values` are z-scored; `value` is in units of the recording.
            return np.full_like(values, (self.value - channel.mean) / channel.std)

        return with_changed_channel(self.channel, self.span, read, channels, constant)

    def describe(self, spec: WindowSpec) -> str:
        """Return a description, such as `running = 0`."""
        return f"{channel_text(self.channel)} = {self.value:g}"


@dataclass(frozen=True, slots=True)
class BehaviorScale(_Edit):
    """Multiply a behaviour channel by a factor, in units of the recording."""

    channel: str
    factor: float
    span: Span | None = None

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
        return f"{channel_text(self.channel)} × {self.factor:g}"


@dataclass(frozen=True, slots=True)
class BehaviorShift(_Edit):
    """Delay a behaviour channel by samples of the spec, which are read as recorded."""

    channel: str
    later: int
    span: Span | None = None

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
        return f"{channel_text(self.channel)} {delay} {direction}"
