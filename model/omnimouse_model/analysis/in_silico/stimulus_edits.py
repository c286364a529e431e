"""Edits of a window's video and behaviour: what they do, their words, their JSON.

Each is a value: frozen, equal to its like, the same after JSON. None touches the
session. `span` is the part of the window that an edit acts on.
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

Axis = Literal["horizontal", "vertical"]
Span = tuple[int, int]
ClipAt = Callable[[float], Read]
ALL_FRAMES: Span = (0, N_FRAMES)
ALL_BEHAVIOR: Span = (0, N_BEHAVIOR)


@dataclass(frozen=True, slots=True)
class OtherClip:
    """The video of the window that begins nearest to `start_s` of the session."""

    start_s: float
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read the other window's frames."""
        return _within(self.span, shown, clip_at(self.start_s))

    @property
    def words(self) -> str:
        """Such as `clip at 12.0 s`."""
        return f"clip at {self.start_s:.1f} s{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Freeze:
    """One frame, held."""

    at: int
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)
        if not 0 <= self.at < N_FRAMES:
            raise ValueError(f"Freeze at a frame 0-{N_FRAMES - 1}, not {self.at}.")

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read the one frame again and again."""

        def frozen(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            frame, valid = shown(np.array([self.at]))
            count = len(positions)
            return np.repeat(frame, count, axis=0), np.repeat(valid, count)

        return _within(self.span, shown, frozen)

    @property
    def words(self) -> str:
        """Such as `frozen at frame 12`."""
        return f"frozen at frame {self.at}{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Blank:
    """The screen's mean gray, which the model sees as 0."""

    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read gray."""

        def gray(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            frames, valid = shown(positions)
            return np.full_like(frames, MEAN_GRAY), np.ones_like(valid)

        return _within(self.span, shown, gray)

    @property
    def words(self) -> str:
        """Blank, and where."""
        return f"blank{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Mirror:
    """Left and right exchanged ("horizontal"), or top and bottom ("vertical")."""

    axis: Axis = "horizontal"
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)
        if self.axis not in ("horizontal", "vertical"):
            raise ValueError(
                f"Mirror along 'horizontal' or 'vertical', not {self.axis!r}."
            )

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read mirrored frames."""
        axis = 2 if self.axis == "horizontal" else 1
        return _within(
            self.span, shown, _painted(shown, lambda frames: np.flip(frames, axis))
        )

    @property
    def words(self) -> str:
        """Mirrored, or upside down."""
        word = "mirrored" if self.axis == "horizontal" else "upside down"
        return f"{word}{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Contrast:
    """Distance from the screen's mean gray times `factor`; black and white clip it."""

    factor: float
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)
        if not (isfinite(self.factor) and self.factor >= 0):
            raise ValueError(f"A contrast factor is 0 or more, not {self.factor}.")

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read frames of more or less contrast."""

        def scaled(frames: np.ndarray) -> np.ndarray:
            if self.factor == 1:
                return frames
            gray, factor = np.float32(MEAN_GRAY), np.float32(self.factor)
            grays = (frames.astype(np.float32) - gray) * factor + gray
            return np.asarray(np.clip(grays, 0, 255))

        return _within(self.span, shown, _painted(shown, scaled))

    @property
    def words(self) -> str:
        """Such as `contrast × 0.5`."""
        return f"contrast × {self.factor:g}{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class Shift:
    """The picture some pixels to the right and down, and some frames later.

    What comes in at the sides is mean gray. What comes in from before the window, or
    with fewer than 0 frames from after it, is what the recording shows there.
    """

    right: int = 0
    down: int = 0
    later: int = 0
    span: Span = ALL_FRAMES

    def __post_init__(self) -> None:
        _check(self, self.span, N_FRAMES)

    def on_video(self, shown: Read, clip_at: ClipAt) -> Read:
        """Read earlier frames, and move the picture."""

        def moved(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            frames, valid = shown(positions - self.later)
            return _pushed(frames, self.down, self.right), valid

        return _within(self.span, shown, moved)

    @property
    def words(self) -> str:
        """Such as `4 px right, 3 frames later`."""
        ways = [
            (self.right, "px right", "px left"),
            (self.down, "px down", "px up"),
            (self.later, "frames later", "frames earlier"),
        ]
        told = [f"{abs(n)} {on if n > 0 else back}" for n, on, back in ways if n]
        return f"{', '.join(told) or 'not shifted'}{_part(self.span, N_FRAMES)}"


@dataclass(frozen=True, slots=True)
class BehaviorSet:
    """A channel held at a value, in the units of the recording.

    Other channels stay: a pupil of constant size keeps the change of size that was
    recorded.
    """

    channel: str
    value: float
    span: Span = ALL_BEHAVIOR

    def __post_init__(self) -> None:
        _check(self, self.span, N_BEHAVIOR)

    def on_behavior(self, told: Read, channels: Sequence[Channel]) -> Read:
        """Read the value."""

        def held(values: np.ndarray, channel: Channel) -> np.ndarray:
            return np.full_like(values, (self.value - channel.mean) / channel.std)

        return _one_channel(self.channel, self.span, told, channels, held)

    @property
    def words(self) -> str:
        """Such as `running = 0`."""
        name = channel_words(self.channel)
        return f"{name} = {self.value:g}{_part(self.span, N_BEHAVIOR)}"


@dataclass(frozen=True, slots=True)
class BehaviorScale:
    """A channel times a factor, in the units of the recording."""

    channel: str
    factor: float
    span: Span = ALL_BEHAVIOR

    def __post_init__(self) -> None:
        _check(self, self.span, N_BEHAVIOR)

    def on_behavior(self, told: Read, channels: Sequence[Channel]) -> Read:
        """Read multiples; a factor of 1 changes nothing, exactly."""

        def scaled(values: np.ndarray, channel: Channel) -> np.ndarray:
            rest = channel.mean * (self.factor - 1) / channel.std
            return np.asarray(values * np.float32(self.factor) + np.float32(rest))

        return _one_channel(self.channel, self.span, told, channels, scaled)

    @property
    def words(self) -> str:
        """Such as `running × 2`."""
        name = channel_words(self.channel)
        return f"{name} × {self.factor:g}{_part(self.span, N_BEHAVIOR)}"


@dataclass(frozen=True, slots=True)
class BehaviorShift:
    """A channel some samples of 50 ms later; before the window it is as recorded."""

    channel: str
    later: int
    span: Span = ALL_BEHAVIOR

    def __post_init__(self) -> None:
        _check(self, self.span, N_BEHAVIOR)

    def on_behavior(self, told: Read, channels: Sequence[Channel]) -> Read:
        """Read earlier samples of the one channel."""
        column = _column(self.channel, channels)
        if column is None:
            return told

        def moved(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values, valid = told(positions)
            earlier, there = told(positions - self.later)
            values = values.copy()
            values[:, column] = earlier[:, column]
            return values, valid & there

        return _within(self.span, told, moved)

    @property
    def words(self) -> str:
        """Such as `running 0.5 s later`."""
        name, seconds = channel_words(self.channel), self.later / BEHAVIOR_RATE_HZ
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
"""Every edit by its name in JSON, in the order in which `arranged` applies them."""


def kind_of(edit: Edit) -> str:
    """Its name in JSON."""
    return next(name for name, kind in KINDS.items() if type(edit) is kind)


def arranged(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """In the order of `KINDS`, in which none undoes another: the clip comes first."""
    order = list(KINDS)
    return tuple(sorted(edits, key=lambda edit: order.index(kind_of(edit))))


def edit_words(edits: Iterable[Edit]) -> str:
    """All of them, such as `mirrored, contrast × 0.5`; "nothing" for none."""
    return ", ".join(str(getattr(edit, "words", edit)) for edit in edits) or "nothing"


def channel_words(name: str) -> str:
    """A channel's name for people."""
    return name.replace("_", " ")


def edits_to_json(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """Plain lists, numbers and words, for a file."""
    return [
        {"edit": kind_of(edit), **_listed(asdict(edit))}  # type: ignore[call-overload]  # every edit is a dataclass
        for edit in edits
    ]


def edits_from_json(stored: Sequence[Mapping[str, Any]]) -> tuple[Edit, ...]:
    """Edits as they were.

    Raises
    ------
    ValueError
        For an edit or a field that is not known, or a value out of range.
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
    except (TypeError, OverflowError) as error:
        raise ValueError(f"The edit {name!r} cannot be read: {error}.") from error
    return made


def _typed(wanted: object, value: Any) -> Any:
    """A stored value as its field takes it, whoever wrote it."""
    if wanted == Span:
        start, stop = value
        return _typed(int, start), _typed(int, stop)
    is_sound = (
        (type(value) is int or (wanted is float and type(value) is float))
        if wanted in (int, float)
        else isinstance(value, str)
    )
    if not is_sound:
        raise TypeError(f"{shortened(value)} is not what it takes")
    return float(value) if wanted is float else value


def edited(window: Window, edits: Iterable[Edit]) -> Window:
    """Change a window's video and behaviour; its responses stay as recorded.

    Edits follow those that the window has. The session is not touched, and the
    window's key differs, so that nothing takes one for the other.

    Raises
    ------
    ValueError
        The session has no video, or no such channel of behaviour.
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
    """Read what is edited inside the span, and what was outside of it."""

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
