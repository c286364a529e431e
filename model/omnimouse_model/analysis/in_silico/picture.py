"""An edit that shows a picture or a clip, such as a most exciting input."""

import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8

from omnimouse_model.analysis.in_silico.read_functions import Span, replace_within
from omnimouse_model.data.edit_protocol import Read
from omnimouse_model.data.frames import rescale_area
from omnimouse_model.data.window_spec import WindowSpec

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
