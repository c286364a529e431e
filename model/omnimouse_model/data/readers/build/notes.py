"""What a reader is told and tells: options, notes, and streams that it may leave out.

The released models were trained on responses at 30 Hz, linearly upsampled from about
8 Hz and divided by max(std, 1). Other recordings have their own rates and units. The
assumptions state how windows of these models treat them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.recording import Note, missing_rows
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal, is_interpolated
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ
from omnimouse_model.display import listed
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.rows import MemoryRows
from omnimouse_model.storage.files import bad_file

# -- facts that the user states because the files of a session do not -----------------
ALL_ROIS = "--all-rois, or cells_only=False in Python"
"""Option that also reads regions that are no cells, for messages."""

OPTION_NOTES = {
    **dict.fromkeys(("quality", "min_rate_hz", "min_presence"), "unit_selection"),
    "trial_event": "trial_event",
    "split_seed": "trial_split",
}
"""Options of spiking recordings -> code of the assumption of a reader that uses it."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a session; a reader ignores options that its format decides.

    Attributes
    ----------
    behavior_names
        Names of the columns of `eye_tracker` or `treadmill`. Only labels change.
    rate_hz
        Samples of the responses per second.
    recording_rate_hz
        Samples per second at which the responses were recorded, if the files hold
        responses that were upsampled later.
    series
        Kind of responses, if there are several; the error message lists the names.
    cells_only
        Leave out regions that the files mark as no cells.
    unit_tables
        CSV file with the column `unit_id`, or folder of such files: properties that
        are joined to the neurons, such as those of the released digital twins.
    quality
        Least quality label of the units of a spiking recording, or the text that the
        label must be.
    min_rate_hz
        Least number of spikes per second of a unit.
    min_presence
        Least share of the recording, 0 to 1, in which a unit has spikes.
    trial_event
        Column of the trial table at whose times trials begin, such as `stimOn_times`.
    split_seed
        Seed that divides the trials of a recording without tiers 8:1:1.
    """

    behavior_names: Mapping[str, Sequence[str]] | None = None
    rate_hz: float | None = None
    recording_rate_hz: float | None = None
    series: str | None = None
    cells_only: bool = True
    unit_tables: str | None = None
    quality: float | str | None = None
    min_rate_hz: float | None = None
    min_presence: float | None = None
    trial_event: str | None = None
    split_seed: int | None = None

    def changed(self) -> dict[str, Any]:
        """Return the options that differ from the defaults, by name."""
        default = asdict(ReadOptions())
        return {k: v for k, v in asdict(self).items() if v != default[k]}


def choose_series(
    choices: Mapping[str, str], name: str | None, path: Path, notes: "Notes", why: str = ""
) -> str:
    """Return the name of the series to read: the given one, else the first of several.

    A note names the others. `choices` are names and what they are; `why` tells why one may be
    missing.
    """
    used = next(iter(choices)) if name is None else name
    if used not in choices:
        problem = f"has no series {used!r}{why}; it has {', '.join(choices)}"
        raise bad_file(path, "no_series", problem)
    others = [one for one in choices if one != used]
    more = f"; there are also {', '.join(others)}" if others else ""
    notes.assume("series", f"responses are {used}: {choices[used]}{more}")
    return used


Arguments = ParamSpec("Arguments")
Stream = TypeVar("Stream")
Item = TypeVar("Item")


@dataclass(slots=True)
class Notes:
    """Warnings about the files, and assumptions where information is missing."""

    warnings: list[Note] = field(default_factory=list)
    assumptions: list[Note] = field(default_factory=list)

    def warn(self, code: str, message: str) -> None:
        """Record a warning about the files."""
        self.warnings.append(Note(code, message))

    def assume(self, code: str, message: str) -> None:
        """Record an assumption about information that the files lack."""
        self.assumptions.append(Note(code, message))

    def add(self, others: "Notes") -> None:
        """Record the notes of others."""
        self.warnings += others.warnings
        self.assumptions += others.assumptions

    def attempt(
        self,
        name: str,
        read: Callable[Arguments, Stream],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Stream | None:
        """Return a stream beside the responses, None if `read` raises `SessionFormatError`.

        One warning then names stream, fault and remedy; notes that `read` made before are
        dropped, because they describe a stream that the session does not have.
        """
        n_warnings, n_assumptions = len(self.warnings), len(self.assumptions)
        try:
            return read(*arguments, **options)
        except SessionFormatError as error:
            # A file that changes while it is read is no fault of one stream.
            if error.code == "changed":
                raise
            del self.warnings[n_warnings:], self.assumptions[n_assumptions:]
            problem = error.message.removeprefix(f"{error.path.name}: ")
            remedy = f" ({error.hint})" if error.hint else ""
            self.warn("left_out_stream", f"{name} is left out: {problem}{remedy}")
            return None

    def attempt_each(
        self, read: Callable[[Item], Stream], items: Mapping[str, Item]
    ) -> list[Stream]:
        """Return the items that can be read and have data.

        A single item must be readable. Of several, faulty ones are left out with a
        warning; if none is left, all are read again, and the first error is raised.
        """
        several = items.items() if len(items) > 1 else ()
        found = [self.attempt(name, read, item) for name, item in several]
        return [one for one in found if one] or [read(item) for item in items.values()]

    def add_first(self, others: "Notes") -> None:
        """Record the first of many similar warnings, and the number of the others."""
        for first in others.warnings[:1]:
            n_more = len(others.warnings) - 1
            self.warn(first.code, first.message + (f"; and {n_more:,} more" if n_more else ""))


_MIN_SHARE = 0.01


def note_interpolation(rate_hz: float, notes: Notes) -> None:
    """Note responses with too low a rate for OmniMouse, whatever model reads them."""
    if is_interpolated(rate_hz, RESPONSE_RATE_HZ):
        notes.assume(
            "resampled",
            f"responses at {rate_hz:.4g} Hz are interpolated linearly for models with "
            f"more samples per second, such as OmniMouse ({RESPONSE_RATE_HZ:g}), as "
            "the released recordings were",
        )


def minimum_scale(std: np.ndarray, notes: Notes) -> float:
    """Return the minimum divisor of responses in other units, and note it.

    It is 1 % of the mean standard deviation, the rule of the Sensorium competition. The
    minimum of the released models, 1, depends on the unit of their responses.
    """
    notes.assume(
        "response_scale",
        "responses are divided by each neuron's standard deviation, at least 1 % of "
        "the mean one: their unit is not that of the released recordings",
    )
    typical = float(std.mean()) if len(std) else 1.0
    return _MIN_SHARE * typical or 1.0  # 0 if no neuron varies


# -- streams beside the responses: a faulty one is left out with one warning ----------
# Only responses are indispensable. A running speed, pupil, stimulus or trial table that
# cannot be read never takes the recording away. Channels of behaviour have names and units,
# and their data are checked against these.
EYE_NAMES = ("pupil_size", "pupil_dsize", "pupil_x", "pupil_y")
EYE_UNITS = ("px", "px/s or px/frame", "px", "px")
# From this correlation on, a column counts as the derivative of another one.
_HIGH = 0.5
_MAX_ROWS = 40_000


def eye_signal(
    path: Path,
    columns: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    clock: tuple[float, float],
    notes: Notes,
) -> Signal:
    """Return the eye tracker of a recording without the derivative of pupil size.

    Parameters
    ----------
    columns, units
        `pupil_size`, `pupil_x` and `pupil_y` as far as they exist: float64 (time,),
        and units that differ from the default.
    clock
        Samples per second, and native time of the first sample.
    """
    columns, units = (dict(columns), {**dict(zip(EYE_NAMES, EYE_UNITS, strict=True)), **units})
    rate_hz, start = clock
    if "pupil_size" in columns:
        # Models expect the derivative as the second of four channels.
        size = columns["pupil_size"]
        change = np.gradient(size) if len(size) > 1 else np.zeros_like(size)
        columns["pupil_dsize"] = change * rate_hz
        notes.assume(
            "pupil_derivative",
            "the change of pupil size is not stored: central differences per second",
        )
    names = tuple(name for name in EYE_NAMES if name in columns)
    if len(names) < len(EYE_NAMES):
        notes.warn(
            "missing_channels",
            f"pupil has only {', '.join(names)}; models know four channels",
        )
    rows = MemoryRows(path, np.stack([columns[name] for name in names], axis=1))
    unit = tuple(units[name] for name in names)
    return Signal.of_rows("eye_tracker", rows, rate_hz, start, names=names, units=unit)


def stream_word(name: str) -> str:
    """Return the name of a stream in messages: `eye_tracker`, a name of files, is `pupil`."""
    return {"screen": "video", "eye_tracker": "pupil", "treadmill": "running"}.get(name, name)


def name_channels(signal: Signal, option: Sequence[str] | None, notes: Notes) -> Signal:
    """Return a behaviour stream with named columns.

    Only the labels change. The model takes the columns in stored order.

    Raises
    ------
    SessionFormatError
        If `option` does not have one distinct name per column.
    """
    names, units = _default_names(signal, notes)
    if option is not None:
        if len(option) != signal.n_columns or len(set(option)) != len(option):
            found = f"has {signal.n_columns} columns of {stream_word(signal.name)}"
            problem = f"{found}; the names given are {', '.join(option)}"
            hint = "give one name per column, each once"
            raise bad_file(signal.file.path, "wrong_length", problem, hint)
        names, units = tuple(option), ("",) * len(option)
    return replace(signal, names=names, units=units)


def _default_names(signal: Signal, notes: Notes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    n = signal.n_columns
    if signal.name == "treadmill" and n == 1:
        message = "running: its unit is not stored; taken to be cm/s"
        notes.assume("running_unit", message)
        return ("running",), ("cm/s",)
    # The default order of the official viewer and of Sensorium. Other official code
    # names the columns differently, so `check_order` looks at the data.
    if signal.name == "eye_tracker" and n == len(EYE_NAMES):
        return EYE_NAMES, EYE_UNITS
    names = tuple(f"{signal.name}_{i}" for i in range(n))
    # For example three columns in older exports.
    expected = 1 if signal.name == "treadmill" else len(EYE_NAMES)
    notes.warn(
        "unknown_channels",
        f"{stream_word(signal.name)} has {n} columns where {expected} are usual; they are called "
        f"{', '.join(names)}",
    )
    return names, ("",) * n


def note_missing(session: Session, notes: Notes) -> None:
    """Add a note for each behaviour stream with missing samples (NaN)."""
    for signal in session.recorded_behavior:
        _note_gaps(signal, notes)
        note_marks(signal, signal.data, notes)


_FEWEST_MARKS = 3


def note_marks(signal: Signal, values: np.ndarray, notes: Notes) -> None:
    """Warn of columns in which a negative whole number repeats that looks like no value.

    It lies further below all others than these among each other, or it alone is negative
    beside values with fractions, as -999 and -1 do that programs store for missing samples.
    """
    is_part = len(values) < round(signal.recorded_s * signal.rate_hz)
    where = f"in a part of the recording, {len(values):,} samples, " if is_part else ""
    low = np.fmin.reduce(values, axis=0, initial=0)
    found: dict[float, list[int]] = {}
    for column in np.flatnonzero((low < 0) & (low == np.rint(low)) & np.isfinite(low)).tolist():
        own, mark = values[:, column].astype(np.float64), float(low[column])
        others = own[np.isfinite(own) & (own > mark)]
        least, most = others.min(initial=np.inf), others.max(initial=-np.inf)
        is_alone = least >= 0 and (others % 1 != 0).any()
        is_often = (own == mark).sum() >= _FEWEST_MARKS
        if is_often and least < most and (is_alone or least - mark > most - least):
            found.setdefault(mark, []).append(column)
    for mark, columns in found.items():
        names = [signal.names[c] if signal.names else f"column {c}" for c in columns]
        stored, word = values[:, columns], stream_word(signal.name)
        # Running has one channel of the same name.
        of = "" if names == [word] else f" ({listed(names)})"
        notes.warn(
            "marks",
            f"{word}{of}: {where}{int((stored == mark).sum()):,} of "
            f"{stored.size:,} values are exactly {mark:.10g}, unlike all others: does it mark "
            "missing samples? It is read as a value (store NaN)",
        )


def note_columns(values: np.ndarray, notes: Notes) -> None:
    """Warn of columns of responses that are clocks or copies, and look like no neurons.

    `values` are some samples, in the order of time.
    """
    if len(values) < _FEWEST_MARKS:
        return
    # NaN is no rise.
    rises = np.flatnonzero((values[1:] > values[:-1]).all(axis=0))
    if len(rises):
        text = f"responses of columns {listed(rises)} rise at each of {len(values):,} samples"
        notes.warn("clock_columns", f"{text}: are they times or numbers of frames, and no neurons?")
    first: dict[bytes, int] = {}
    varied = np.flatnonzero(np.fmin.reduce(values) < np.fmax.reduce(values)).tolist()
    copies = [c for c in varied if first.setdefault(values[:, c].tobytes(), c) != c]
    if copies:
        text = f"responses of columns {listed(copies)} are those of another column at all samples"
        notes.warn("copied_columns", f"{text}: a neuron that is there twice predicts itself")


def _note_gaps(signal: Signal, notes: Notes) -> None:
    """Add one note per group of channels that miss the same samples."""
    if not len(missing_rows(signal)):
        return
    named: dict[bytes, list[str]] = {}
    for column, name in enumerate(signal.names):
        missing = np.isnan(signal.data[:, column])
        # The packed bit mask is the key of the group.
        if missing.any():
            named.setdefault(np.packbits(missing).tobytes(), []).append(name)
    for packed, names in named.items():
        missing = np.unpackbits(np.frombuffer(packed, np.uint8))[: signal.n_samples]
        # Padding makes every gap start and end with an edge, also at the stream's ends.
        edges = np.flatnonzero(np.diff(missing.view(np.int8), prepend=0, append=0))
        lengths = (edges[1::2] - edges[::2]) / signal.rate_hz
        gaps = "1 gap" if len(lengths) == 1 else f"{len(lengths)} gaps"
        longest = f"{lengths.max():.2g}" if lengths.max() < 10 else f"{lengths.max():.0f}"
        notes.warn(
            "missing_samples",
            f"{', '.join(names)}: {100 * missing.mean():.2g} % missing in {gaps}, longest "
            f"{longest} s; windows that touch them are left out",
        )


def check_order(eye: Signal | None, notes: Notes) -> None:
    """Note whether the columns of an eye tracker agree with their default names.

    They agree if column 1 is the derivative of column 0, and not column 3 of column 2.
    """
    if eye is None or eye.names != EYE_NAMES:
        return
    values = eye.read(0, _MAX_ROWS).astype(np.float64)
    if not np.isfinite(values).any():
        return
    size_first = _derivative_correlation(values[:, 0], values[:, 1])
    position_first = _derivative_correlation(values[:, 2], values[:, 3])
    measured = (
        f"the second column follows the change of the first with correlation "
        f"{size_first:.2f}, the fourth that of the third with {position_first:.2f}"
    )
    if size_first >= _HIGH and size_first > position_first:
        notes.assume(
            "channel_order",
            "pupil: its columns are not named; read as pupil size, its change, x, y, and the "
            f"data agree: the second is the change of the first (correlation {size_first:.2f})",
        )
    elif position_first >= _HIGH:
        notes.warn(
            "channel_order",
            f"pupil: the data look like x, y, size, its change ({measured}); "
            "named as pupil size, its change, x, y nevertheless; pass behavior_names "
            "to rename. The model reads the columns in stored order",
        )
    else:
        notes.warn(
            "channel_order",
            f"pupil: cannot tell the order of the columns ({measured}); named "
            "as pupil size, its change, x, y. The model reads them in stored order",
        )


def _derivative_correlation(base: np.ndarray, candidate: np.ndarray) -> float:
    """Return the highest correlation with central or one-sided differences."""
    # The files do not say which difference was used; NaN ends are ignored below.
    backward = np.concatenate([[np.nan], np.diff(base)])
    forward = np.concatenate([np.diff(base), [np.nan]])
    slopes = (backward, forward, (backward + forward) / 2)
    return max(_correlation(slope, candidate) for slope in slopes)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    # Two points always correlate perfectly.
    if both.sum() < 3:
        return 0.0
    a, b = first[both] - first[both].mean(), second[both] - second[both].mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


MIN_OVERLAP_S = 3.0
"""A window of 2 s with a margin of 0.5 s at both ends."""
UNITS_OF_TIME = {"milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
"""Unit in which times are stored in place of seconds -> its length in seconds."""
_SIMILAR = 0.5
"""Spans count as similar if the shorter one has this share of the longer one."""


def common_time(first: Interval, second: Interval) -> Interval:
    """Return the time that both spans cover; its stop may precede its start."""
    return Interval(max(first.start, second.start), min(first.stop, second.stop))


def is_long_enough(span: Interval) -> bool:
    """Return whether a window fits into a span."""
    return bool(span.stop - span.start >= MIN_OVERLAP_S)


def unit_of_times(span: Interval, recording: Interval) -> str:
    """Return the unit in which a span fits the recording, "" for seconds or none.

    It does if the stored span is far longer, and has in that unit about the length of the
    recording and lies on it.
    """
    recorded = recording.stop - recording.start
    for unit, seconds in UNITS_OF_TIME.items():
        in_seconds = Interval(span.start * seconds, span.stop * seconds)
        length, shared = in_seconds.stop - in_seconds.start, common_time(in_seconds, recording)
        is_long = min(length, recorded) >= _SIMILAR * max(length, recorded)
        if is_long and shared.stop - shared.start >= _SIMILAR * recorded:
            return unit
    return ""


def scale_to_seconds(name: str, span: Interval, recording: Interval, notes: Notes) -> float:
    """Return the factor from the times of a stream to seconds, with a warning if not 1."""
    unit = unit_of_times(span, recording)
    if not unit:
        return 1.0
    notes.warn(
        f"times_in_{unit}",
        f"{name}: its times reach from {span_text(span)}, the responses cover "
        f"{span_text(recording)}; they are taken as {unit}",
    )
    return UNITS_OF_TIME[unit]


def clock_remedy(span: Interval, recording: Interval, origins: Mapping[str, float]) -> str:
    """Return how the times of a stream come onto the clock of the recording.

    Parameters
    ----------
    span, recording
        Times of the stream and of the responses, which do not overlap.
    origins
        Name -> value in seconds of the constants of the file that can separate two
        clocks, such as the start of the session in Unix time.
    """
    if unit := unit_of_times(span, recording):
        return f"its times look like {unit}: divide them by {1 / UNITS_OF_TIME[unit]:.0f}"
    for name, value in origins.items():
        for verb, shift in (("add", value), ("subtract", -value)):
            moved = Interval(span.start + shift, span.stop + shift)
            shared = common_time(moved, recording)
            # The constant explains the difference only if all of the stream fits.
            if shared in (moved, recording):
                side = "to" if verb == "add" else "from"
                return f"{verb} {name} ({value:.10g} s) {side} its times"
    return "bring both to one clock, in seconds"


def apart(span: Interval, recording: Interval, origins: Mapping[str, float]) -> tuple[str, str]:
    """Return the problem of a stream outside the recording's time, and what to do."""
    found = f"lasts from {span_text(span)}, and the recording from {span_text(recording)}"
    return f"{found}: no common 2-s window", clock_remedy(span, recording, origins)


def span_text(span: Interval) -> str:
    """Return a span of native time for messages, to the ms; Unix times keep their digits."""
    return f"{round(span.start, 3):.13g} to {round(span.stop, 3):.13g} s"
