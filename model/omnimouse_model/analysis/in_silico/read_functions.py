"""Read functions that apply an edit to frames or behaviour.

A read function maps positions in a window to values and their validity, see
`edit_protocol`. An edit wraps the read function of the recording, or of another edit.
"""

from collections.abc import Callable, Sequence

import numpy as np

from omnimouse_model.data.edit_protocol import Channel, Read
from omnimouse_model.data.stimulus import MEAN_GRAY

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
