"""Edits of a window's video and behaviour, their descriptions and their JSON form.

Each edit is a frozen value that compares by content and survives a round trip through
JSON. Edits do not change the session. `span` is the half-open range of frames (30 Hz)
or behaviour samples (20 Hz) of the window that the edit changes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from reprlib import repr as shortened
from typing import Any, Literal

import numpy as np

from omnimouse_model.data.clock import BEHAVIOR_RATE_HZ, N_BEHAVIOR, N_FRAMES
from omnimouse_model.data.edit_protocol import Channel, Edit, Read, VideoEdit
from omnimouse_model.data.stimulus import MEAN_GRAY
from omnimouse_model.data.window import Window

MirrorAxis = Literal["horizontal", "vertical"]
Span = tuple[int, int]
ClipAt = Callable[[float], Read]
ALL_FRAMES: Span = (0, N_FRAMES)
ALL_BEHAVIOR: Span = (0, N_BEHAVIOR)


@dataclass(frozen=True, slots=True)
class OtherClip:
    """Replace the video by that of the window that begins nearest to `start_s`."""

    start_s: float
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read the frames of the other window."""
        return _within(self.span, shown, clip_at(self.start_s))

    @property
    def description(self) -> str:
        """Description, such as `clip at 12.0 s`."""
        return f"clip at {self.start_s:.1f} s{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Freeze:
    """Show one frame (index `at` of the window) in the whole span."""

    at: int
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)
        if not 0 <= self.at < N_FRAMES:
            raise ValueError(f"Freeze at a frame 0-{N_FRAMES - 1}, not {self.at}.")

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read frame `at` at every position."""

        def frozen(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            # `shown` contains the earlier edits, so the frozen frame is edited too.
            frame, valid = shown(np.array([self.at]))
            count = len(positions)
            return np.repeat(frame, count, axis=0), np.repeat(valid, count)

        return _within(self.span, shown, frozen)

    @property
    def description(self) -> str:
        """Description, such as `frozen at frame 12`."""
        return f"frozen at frame {self.at}{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Blank:
    """Show the mean gray of the screen, which is 0 in model units."""

    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read gray frames, valid everywhere."""

        def gray(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            frames, valid = shown(positions)
            # A blank screen is known even where the recording has no frame.
            return np.full_like(frames, MEAN_GRAY), np.ones_like(valid)

        return _within(self.span, shown, gray)

    @property
    def description(self) -> str:
        """Description: `blank`, and the span."""
        return f"blank{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Mirror:
    """Exchange left and right ("horizontal") or top and bottom ("vertical")."""

    axis: MirrorAxis = "horizontal"
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)
        if self.axis not in ("horizontal", "vertical"):
            raise ValueError(
                f"Mirror along 'horizontal' or 'vertical', not {self.axis!r}."
            )

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read mirrored frames."""
        # Frames are (time, row, column).
        axis = 2 if self.axis == "horizontal" else 1
        return _within(
            self.span, shown, _painted(shown, lambda frames: np.flip(frames, axis))
        )

    @property
    def description(self) -> str:
        """Description: `mirrored` or `upside down`, and the span."""
        word = "mirrored" if self.axis == "horizontal" else "upside down"
        return f"{word}{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Contrast:
    """Multiply the deviation from mean gray by `factor`, clipped to 0-255."""

    factor: float
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)
        if not (isfinite(self.factor) and self.factor >= 0):
            raise ValueError(f"A contrast factor is 0 or more, not {self.factor}.")

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read frames with changed contrast."""

        def scaled(frames: np.ndarray) -> np.ndarray:
            # Keep the dtype and the values exactly, without rounding or clipping.
            if self.factor == 1:
                return frames
            gray, factor = np.float32(MEAN_GRAY), np.float32(self.factor)
            grays = (frames.astype(np.float32) - gray) * factor + gray
            return np.asarray(np.clip(grays, 0, 255))

        return _within(self.span, shown, _painted(shown, scaled))

    @property
    def description(self) -> str:
        """Description, such as `contrast × 0.5`."""
        return f"contrast × {self.factor:g}{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Shift:
    """Move the picture by pixels to the right and down, and by frames in time.

    Pixels from outside the picture are mean gray. Frames from before the window (or
    after it, if `later` is negative) are read from the recording.
    """

    right: int = 0
    down: int = 0
    later: int = 0
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read frames `later` positions earlier, with the picture moved."""

        def moved(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            # Positions outside the window are read from the recording.
            frames, valid = shown(positions - self.later)
            return _pushed(frames, self.down, self.right), valid

        return _within(self.span, shown, moved)

    @property
    def description(self) -> str:
        """Description, such as `4 px right, 3 frames later`."""
        ways = [
            (self.right, "px right", "px left"),
            (self.down, "px down", "px up"),
            (self.later, "frames later", "frames earlier"),
        ]
        told = [f"{abs(n)} {on if n > 0 else back}" for n, on, back in ways if n]
        return f"{', '.join(told) or 'not shifted'}{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class BehaviorSet:
    """Hold a behaviour channel at a value, in units of the recording.

    Other channels do not change: the recorded change of pupil size remains if the
    pupil size is held constant.
    """

    channel: str
    value: float
    span: Span = ALL_BEHAVIOR

    def __post_init__(self) -> None:
        _check(self, self.span, N_BEHAVIOR)

    def on_behavior(self, told: Read, channels: Sequence[Channel]) -> Read:
        """Read the constant value in place of the channel."""

        def held(values: np.ndarray, channel: Channel) -> np.ndarray:
            # `values` are z-scored; `value` is in units of the recording.
            return np.full_like(values, (self.value - channel.mean) / channel.std)

        return _one_channel(self.channel, self.span, told, channels, held)

    @property
    def description(self) -> str:
        """Description, such as `running = 0`."""
        name = channel_label(self.channel)
        return f"{name} = {self.value:g}{_part(self.span, N_BEHAVIOR)}"


@dataclass(frozen=True, slots=True)
class BehaviorScale:
    """Multiply a behaviour channel by a factor, in units of the recording."""

    channel: str
    factor: float
    span: Span = ALL_BEHAVIOR

    def __post_init__(self) -> None:
        _check(self, self.span, N_BEHAVIOR)

    def on_behavior(self, told: Read, channels: Sequence[Channel]) -> Read:
        """Read the scaled channel; a factor of 1 is an exact identity."""

        def scaled(values: np.ndarray, channel: Channel) -> np.ndarray:
            # With z = (v - mean) / std, the z-score of factor · v is
            # factor · z + mean · (factor - 1) / std.
            rest = channel.mean * (self.factor - 1) / channel.std
            return np.asarray(values * np.float32(self.factor) + np.float32(rest))

        return _one_channel(self.channel, self.span, told, channels, scaled)

    @property
    def description(self) -> str:
        """Description, such as `running × 2`."""
        name = channel_label(self.channel)
        return f"{name} × {self.factor:g}{_part(self.span, N_BEHAVIOR)}"


@dataclass(frozen=True, slots=True)
class BehaviorShift:
    """Delay a behaviour channel by samples of 50 ms; earlier ones are as recorded."""

    channel: str
    later: int
    span: Span = ALL_BEHAVIOR

    def __post_init__(self) -> None:
        _check(self, self.span, N_BEHAVIOR)

    def on_behavior(self, told: Read, channels: Sequence[Channel]) -> Read:
        """Read the channel `later` samples earlier; other channels do not change."""
        column = _column(self.channel, channels)
        # Called for each behaviour stream: another stream has the channel.
        if column is None:
            return told

        def moved(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values, valid = told(positions)
            earlier, there = told(positions - self.later)
            values = values.copy()
            values[:, column] = earlier[:, column]
            # Validity is per sample and not per channel, so both samples must be valid.
            return values, valid & there

        return _within(self.span, told, moved)

    @property
    def description(self) -> str:
        """Description, such as `running 0.5 s later`."""
        name, seconds = channel_label(self.channel), self.later / BEHAVIOR_RATE_HZ
        way = "later" if seconds >= 0 else "earlier"
        return f"{name} {abs(seconds):g} s {way}{_part(self.span, N_BEHAVIOR)}"


KINDS: dict[str, type[Any]] = {
    "other_clip": OtherClip,
    "freeze": Freeze,
    "blank": Blank,
    "mirror": Mirror,
    "contrast": Contrast,
    "shift": Shift,
    "behavior_set": BehaviorSet,
    "behavior_scale": BehaviorScale,
    "behavior_shift": BehaviorShift,
}
"""Edit class of each JSON name, in the order in which `arranged` applies them."""


def kind_of(edit: Edit) -> str:
    """Return the JSON name of an edit."""
    return next(name for name, kind in KINDS.items() if type(edit) is kind)


def arranged(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """Return edits in the order of `KINDS`, in which no edit undoes another."""
    order = list(KINDS)
    return tuple(sorted(edits, key=lambda edit: order.index(kind_of(edit))))


def describe_edits(edits: Iterable[Edit]) -> str:
    """Return a description, such as `mirrored, contrast × 0.5`, or "nothing"."""
    return (
        ", ".join(str(getattr(edit, "description", edit)) for edit in edits)
        or "nothing"
    )


def channel_label(name: str) -> str:
    """Return the displayed name of a channel."""
    return name.replace("_", " ")


def edits_to_json(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """Return edits as JSON values."""
    return [
        # Every edit is a dataclass, which its protocol cannot state.
        {"edit": kind_of(edit), **_listed(asdict(edit))}  # type: ignore[call-overload]
        for edit in edits
    ]


def edits_from_json(stored: Sequence[Mapping[str, Any]]) -> tuple[Edit, ...]:
    """Return edits from their JSON values.

    Raises
    ------
    ValueError
        An edit or a field is unknown, or a value is invalid.
    """
    return tuple(_edit_from(row) for row in stored)


def _edit_from(row: Mapping[str, Any]) -> Edit:
    name = row.get("edit")
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"No edit is called {name!r}; there are {', '.join(KINDS)}.")
    known = {field.name for field in fields(KINDS[name])}
    given = {key: value for key, value in row.items() if key != "edit"}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"The edit {name!r} has no {', '.join(unknown)}.")
    try:
        for field in fields(KINDS[name]):
            if field.name in given:
                given[field.name] = _typed(field.type, given[field.name])
        made: Edit = KINDS[name](**given)
    # `float` of a very large JSON integer raises `OverflowError`.
    except (TypeError, OverflowError) as error:
        raise ValueError(f"The edit {name!r} cannot be read: {error}.") from error
    return made


def _typed(wanted: object, value: Any) -> Any:
    """Return a stored value with the type of its field, or raise `TypeError`."""
    if wanted == Span:
        start, stop = value
        return _typed(int, start), _typed(int, stop)
    is_sound = (
        # `type(...) is int` and not `isinstance`: True and False are ints in Python.
        (type(value) is int or (wanted is float and type(value) is float))
        if wanted in (int, float)
        else isinstance(value, str)
    )
    if not is_sound:
        raise TypeError(f"{shortened(value)} is not what it takes")
    return float(value) if wanted is float else value


def edited(window: Window, edits: Iterable[Edit]) -> Window:
    """Return a window with edited video and behaviour and the recorded responses.

    New edits are applied after the existing edits of the window. The session does not
    change. The key of the new window differs, so caches do not confuse the two.

    Raises
    ------
    ValueError
        The session has no video, or lacks a behaviour channel.
    """
    edits, session = tuple(edits), window.session
    for edit in edits:
        if isinstance(edit, VideoEdit) and session.stimulus is None:
            raise ValueError(f"Session '{session.id}' has no video to edit.")
        channel = getattr(edit, "channel", None)
        if channel is not None and channel not in session.behavior_names:
            raise ValueError(
                f"Session '{session.id}' has no {channel!r}; it has "
                f"{', '.join(session.behavior_names) or 'no behaviour'}."
            )
    return window.with_edits((*window.edits, *edits))


# -- how ------------------------------------------------------------------------------
def _within(span: Span, before: Read, after: Read) -> Read:
    """Return a reader that uses `after` inside the span and `before` outside."""

    def read(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = (positions >= span[0]) & (positions < span[1])
        if inside.all():
            return after(positions)
        old, new = before(positions[~inside]), after(positions[inside])
        if not inside.any():
            return old
        return _merged(inside, old[0], new[0]), _merged(inside, old[1], new[1])

    return read


def _merged(inside: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    # The edit may return another dtype (float32 instead of uint8 frames).
    merged = np.empty((len(inside), *new.shape[1:]), np.result_type(old, new))
    merged[~inside], merged[inside] = old, new
    return merged


def _painted(shown: Read, paint: Callable[[np.ndarray], np.ndarray]) -> Read:
    def read(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames, valid = shown(positions)
        return paint(frames), valid

    return read


def _pushed(frames: np.ndarray, down: int, right: int) -> np.ndarray:
    if not (down or right):
        return frames
    pushed = np.full_like(frames, MEAN_GRAY)
    height, width = frames.shape[1:]
    # A larger shift leaves only mean gray.
    if abs(down) < height and abs(right) < width:
        to_rows, from_rows = _overlap(down, height)
        to_columns, from_columns = _overlap(right, width)
        pushed[:, to_rows, to_columns] = frames[:, from_rows, from_columns]
    return pushed


def _overlap(by: int, size: int) -> tuple[slice, slice]:
    to = slice(max(by, 0), size + min(by, 0))
    return to, slice(max(-by, 0), size + min(-by, 0))


def _column(name: str, channels: Sequence[Channel]) -> int | None:
    names = [channel.name for channel in channels]
    return names.index(name) if name in names else None


def _one_channel(
    name: str,
    span: Span,
    told: Read,
    channels: Sequence[Channel],
    change: Callable[[np.ndarray, Channel], np.ndarray],
) -> Read:
    column = _column(name, channels)
    if column is None:
        return told

    def read(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, valid = told(positions)
        values = values.copy()
        values[:, column] = change(values[:, column], channels[column])
        return values, valid

    return _within(span, told, read)


def _check(edit: object, span: Span, count: int) -> None:
    if not 0 <= span[0] < span[1] <= count:
        name = type(edit).__name__
        raise ValueError(f"{name} acts on a span within 0-{count}, not {span}.")
    for name in ("value", "factor", "start_s"):
        if not isfinite(getattr(edit, name, 0.0)):
            raise ValueError(f"{type(edit).__name__} needs a finite {name}.")


def _part(span: Span, count: int) -> str:
    if span == (0, count):
        return ""
    seconds = [edge * 2 / count for edge in span]
    return f" ({seconds[0]:.2g}-{seconds[1]:.2g} s)"


def _listed(stored: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in stored.items()}
