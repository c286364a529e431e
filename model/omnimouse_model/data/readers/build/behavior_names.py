"""Channels of behaviour: names, units, and checks that the data agree with them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.valid_starts import missing_rows
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.row_source import MemoryRows

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
    columns, units = (
        dict(columns),
        {**dict(zip(EYE_NAMES, EYE_UNITS, strict=True)), **units},
    )
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
            f"eye_tracker has only {', '.join(names)}; models know four channels",
        )
    rows = MemoryRows(path, np.stack([columns[name] for name in names], axis=1))
    unit = tuple(units[name] for name in names)
    return Signal.of_rows("eye_tracker", rows, rate_hz, start, names=names, units=unit)


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
            raise SessionFormatError(
                signal.file.path,
                "wrong_length",
                f"{signal.name} has {signal.n_columns} columns; the names given are "
                f"{', '.join(option)}",
                "give one name per column, each once",
            )
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
        f"{signal.name} has {n} columns where {expected} are usual; they are called "
        f"{', '.join(names)}",
    )
    return names, ("",) * n


def note_missing(session: Session, notes: Notes) -> None:
    """Note missing samples (NaN) of all behaviour streams."""
    for signal in session.recorded_behavior:
        _note_gaps(signal, notes)


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
        bits = np.unpackbits(np.frombuffer(packed, np.uint8))[: signal.n_samples]
        message = _gap_message(", ".join(names), bits, signal.rate_hz)
        notes.warn("missing_samples", message)


def _gap_message(names: str, missing: np.ndarray, rate_hz: float) -> str:
    # Padding makes every gap start and end with an edge, also at the stream's ends.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.view(np.int8), [0]])))
    lengths = (edges[1::2] - edges[::2]) / rate_hz
    gaps = "1 gap" if len(lengths) == 1 else f"{len(lengths)} gaps"
    longest = f"{lengths.max():.2g}" if lengths.max() < 10 else f"{lengths.max():.0f}"
    return (
        f"{names}: {100 * missing.mean():.2g} % missing in {gaps}, longest "
        f"{longest} s; windows that touch them are left out"
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
            "eye_tracker: its columns are not named; read as pupil size, its change, "
            "x, y, and the data agree: the second is the change of the first "
            f"(correlation {size_first:.2f})",
        )
    elif position_first >= _HIGH:
        notes.warn(
            "channel_order",
            f"eye_tracker: the data look like x, y, size, its change ({measured}); "
            "named as pupil size, its change, x, y nevertheless; pass behavior_names "
            "to rename. The model reads the columns in stored order",
        )
    else:
        notes.warn(
            "channel_order",
            f"eye_tracker: cannot tell the order of the columns ({measured}); named "
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
