"""Times of a session that may lie in a window: trials of a tier, away from gaps."""

from collections.abc import Iterator

import numpy as np

from omnimouse_model.data.clock import Interval, points_inside, spans_without_gaps
from omnimouse_model.data.recording import Recording
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import SessionFormatError

_BLOCK_BYTES = 32 * 2**20


def allowed_times(
    session: Recording, tiers: frozenset[str] | None, reads_behavior: bool
) -> np.ndarray:
    """bool per point of the session's start grid: inside a chosen trial, gap-free.

    Parameters
    ----------
    reads_behavior
        Whether windows read behaviour: only these must be away from its gaps.

    Raises
    ------
    SessionFormatError
        Missing behaviour excludes all times.
    """
    grid = session.start_grid
    allowed = grid < session.common_interval().stop
    if reads_behavior:
        for signal in session.recorded_behavior:
            allowed &= points_inside(grid, gap_free(signal))
    # The reference package ignores its filters if they leave no time; we report it.
    if not allowed.any():
        raise SessionFormatError(
            session.path,
            "no_valid_data",
            f"session '{session.id}' ({session.path.name}) has no valid data: "
            "behaviour is missing (NaN) everywhere",
            "repair or remove the eye_tracker or treadmill folder",
        )
    both: np.ndarray = allowed & session.inside_trials(tiers)
    return both


def trial_starts(session: Recording, tiers: frozenset[str] | None, spec: WindowSpec) -> np.ndarray:
    """Starts of windows that are aligned to trials, float64 (n,) session seconds.

    Left out are trials without readable frames, trials of other tiers, and trials
    whose window leaves the time that all streams cover or meets missing behaviour.
    """
    trials, span = session.trials, session.common_interval()
    if not len(trials):
        return np.zeros(0)
    chosen = trials.readable.copy()
    if tiers is not None and session.split:
        # Onsets of trials need not ascend, as a grid does: each is compared with all
        # spans.
        onset = trials.t_on[:, None] + session.t0
        spans = session.split_spans(tiers)
        chosen &= ((onset >= spans[:, 0]) & (onset < spans[:, 1])).any(axis=1)
    elif tiers is not None:
        chosen &= np.isin(trials.tier, sorted(tiers))
    start = trials.t_on + session.t0 + spec.trial_offset_s
    stop = start + spec.duration_s
    chosen &= (start >= span.start) & (stop <= span.stop)
    free_of_gaps = [session.without_pauses()]
    if spec.behavior is not None:
        free_of_gaps += [gap_free(signal) for signal in session.recorded_behavior]
    for free in free_of_gaps:
        row = np.searchsorted(free[:, 0], start, side="right") - 1
        chosen &= (row >= 0) & (stop <= free[np.maximum(row, 0), 1])
    return np.asarray(start[chosen] - session.t0)


def grid_stretches(session: Recording) -> np.ndarray:
    """Ranges of the start grid, int64 (n, 2), in which windows touch no pause."""
    inside = points_inside(session.start_grid, session.without_pauses())
    edges = np.diff(inside.astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)], axis=1)


def even_starts(session: Recording, within: Interval, length_s: float, count: int) -> np.ndarray:
    """Native starts (count,) of parts of an interval, spread over its recorded time.

    No part touches a pause, unless it is longer than all recorded stretches.
    """
    spans = session.responses.recorded_spans
    if spans is None:
        last_start = max(within.stop - length_s, within.start)
        return np.linspace(within.start, last_start, count)
    first, last = np.clip(spans, within.start, within.stop).T
    room = last - first - length_s
    room = np.maximum(room, 0.0) if (room > 0).any() else last - first
    # Starts are even in the time that is left for them in the stretches.
    ends = np.cumsum(room)
    at = np.linspace(0.0, ends[-1], count)
    row = np.minimum(np.searchsorted(ends, at), len(ends) - 1)
    return np.asarray(first[row] + at - (ends - room)[row])


def recorded_shares(session: Recording, on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Share of the time from `on` to `off`, native, that lies in no pause."""
    if session.responses.recorded_spans is None:
        return np.ones(len(on))
    before = session.responses.recorded_before
    return np.asarray((before(off) - before(on)) / np.maximum(off - on, 1e-9))


def gap_free(signal: Signal) -> np.ndarray:
    """Native spans (n, 2) of a stream away from its missing samples."""
    return spans_without_gaps(
        missing_rows(signal), signal.start, signal.end_declared, signal.rate_hz
    )


def missing_rows(signal: Signal) -> np.ndarray:
    """Rows with NaN in any column, int64 (n,), read in blocks."""
    if signal.dtype.kind != "f":
        return np.zeros(0, np.int64)
    rows = [np.zeros(0, np.int64)]
    for first, values in blocks(signal):
        rows.append(first + np.flatnonzero(np.isnan(values).any(axis=1)))
    return np.concatenate(rows)


def blocks(signal: Signal) -> Iterator[tuple[int, np.ndarray]]:
    """First row and stored rows of blocks of a stream, about 32 MiB each."""
    height = max(1, _BLOCK_BYTES // max(1, signal.n_columns * signal.dtype.itemsize))
    for first in range(0, signal.n_samples, height):
        yield first, signal.read(first, first + height)
