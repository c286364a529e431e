"""Means and standard deviations of a stream: stored or computed."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from omnimouse_model.data.io.safe_files import label, load_small_array
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.size_limits import MOST_COLUMNS, check_extent
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus, Trials
from omnimouse_model.errors import SessionFormatError

# Statistics come from a sample of rows in this many runs, so that opening a session
# stays fast: at most this many rows and bytes (as float64).
_MAX_ROWS = 20_000
_MAX_BYTES = 64 * 2**20
_RUNS = 64


def train_spans(
    stimulus: Stimulus | None, trials: Trials | None = None, t0: float = 0.0
) -> np.ndarray | None:
    """Return native spans (n, 2) of the trials of tier train, None without any.

    Parameters
    ----------
    trials, t0
        Trial table and native time 0 of a session without a screen.
    """
    # Trials are on the session clock; t0 brings them back to native time.
    if stimulus is None and trials is not None and (trials.tier == "train").any():
        timed = np.stack([trials.t_on, trials.t_off], axis=1) + t0
        return np.asarray(timed[trials.tier == "train"])
    if stimulus is None or not (stimulus.trials.tier == "train").any():
        return None
    # A trial lasts until the next one begins, the last one until the last slot.
    onset = stimulus.slot_t[stimulus.trials.first_slot]
    spans = np.stack([onset, np.append(onset[1:], stimulus.slot_t[-1])], axis=1)
    trained: np.ndarray = spans[stimulus.trials.tier == "train"]
    return trained


def with_statistics(
    signal: Signal,
    train: np.ndarray | None,
    notes: Notes,
    mean: np.ndarray | None = None,
    std: np.ndarray | None = None,
) -> Signal:
    """Return the stream with mean and std (C,), computed if they are not given.

    A std of 0 is kept for responses and becomes 1 for behaviour.

    Parameters
    ----------
    train
        Native spans (n, 2) of the train tier; None uses all time.

    Raises
    ------
    SessionFormatError
        If there are more samples or columns than any recording has.
    """
    path = signal.file.path
    check_extent(path, signal.name, signal.n_samples, signal.rate_hz)
    if signal.n_columns > MOST_COLUMNS:
        raise SessionFormatError(
            path,
            "too_large",
            f"{path.name}: {signal.name} has {signal.n_columns:,} columns; at most "
            f"{MOST_COLUMNS:,} are read",
        )
    if mean is None or std is None:
        computed_mean, computed_std, used = _computed(signal, train)
        mean = computed_mean if mean is None else mean
        std = computed_std if std is None else std
        time = "all" if train is None else "train"
        notes.assume(
            "computed_statistics",
            f"{signal.name}: mean or std computed from {used:,} samples of {time} time",
        )
    # Responses have a least divisor (`Units.least_scale`); behaviour is divided by std.
    if signal.name == "responses":
        _note_silent(std, notes)
        return replace(signal, mean=mean, std=std)
    return replace(signal, mean=mean, std=_without_zeros(signal, std, notes))


def stored_statistics(
    signal: Signal, root: Path, notes: Notes
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return mean and std (C,) of a stream's `meta` folder, None if missing."""
    return (
        _stored(signal, root, "means", notes),
        _stored(signal, root, "stds", notes),
    )


def _stored(signal: Signal, root: Path, name: str, notes: Notes) -> np.ndarray | None:
    path = root / signal.name / "meta" / f"{name}.npy"
    if not path.exists():
        return None
    values = load_small_array(path, root)
    if values.dtype.kind not in "fiu" or values.size != signal.n_columns:
        what = "units" if signal.name == "responses" else "channels"
        raise SessionFormatError(
            path,
            "wrong_length",
            f"{label(path)} has {values.size} values for {signal.n_columns} {what}",
            "one value per column of the data",
        )
    # (n,), (1, n) and (n, 1) all occur.
    values = values.reshape(-1).astype(np.float64)
    if np.isfinite(values).all() and (name == "means" or (values >= 0).all()):
        return values
    notes.warn(
        "bad_statistics",
        f"{signal.name}/meta/{name}.npy holds NaN, infinite or negative values; "
        "computed again from the data",
    )
    return None


def _computed(
    signal: Signal, train: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, int]:
    by_size = _MAX_BYTES // max(1, 8 * signal.n_columns)
    rows = _train_rows(signal, train, max(1, min(_MAX_ROWS, by_size)))
    values = signal.file.pick(rows, slice(None)).astype(np.float64)
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)  # a column without values has mean 0
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    # Two passes: E[x²] - E[x]² loses precision if the mean is large.
    spread = np.where(known, values - mean, 0.0)
    return mean, np.sqrt((spread**2).sum(axis=0) / count), len(rows)


def _train_rows(signal: Signal, train: np.ndarray | None, most: int) -> np.ndarray:
    """Return at most `most` rows of train time (or of all time), in even runs."""
    first, stop = np.array([0]), np.array([signal.n_samples])
    if train is not None and len(train):
        begin = _first_rows(signal, train[:, 0])
        # Cut each span at the beginning of the next: rows must not count twice.
        next_ = np.append(begin[1:], signal.n_samples)
        end = np.clip(_first_rows(signal, train[:, 1]), begin, np.maximum(begin, next_))
        if (end > begin).any():
            first, stop = begin, end
    # `chosen` counts rows over all spans joined; the last line maps them back.
    ends = np.cumsum(stop - first)
    total = int(ends[-1])
    chosen = _in_runs(total, most)
    span = np.searchsorted(ends, chosen, side="right")
    return np.asarray(stop[span] - (ends[span] - chosen), np.int64)


def _in_runs(total: int, most: int) -> np.ndarray:
    """Return at most `most` of `total` rows, in runs of neighbours.

    Neighbouring rows lie together in the file, so runs are faster to read than single
    rows.
    """
    if total <= most:
        return np.arange(total)
    # Evenly spread over the time, so that slow drifts do not bias the statistics.
    run = max(1, most // _RUNS)
    firsts = np.linspace(0, total - run, most // run).astype(np.int64)
    chosen: np.ndarray = (firsts[:, None] + np.arange(run)).ravel()
    return chosen


def _first_rows(signal: Signal, times: np.ndarray) -> np.ndarray:
    """Return the first row at or after each native time.

    The time of a row is `start + row / rate_hz`, in float64. The direct formula can be
    off by one through rounding, so the neighbours of its result are compared too.
    """
    limit = float(signal.n_samples)
    guess = np.clip((times - signal.start) * signal.rate_hz, 0.0, limit)
    near = np.floor(guess).astype(np.int64)[:, None] + np.arange(-1, 3)
    reached = signal.start + near / signal.rate_hz >= times[:, None]
    rows = near[:, 0] + np.argmax(reached, axis=1)
    rows[~reached.any(axis=1)] = signal.n_samples
    return np.asarray(np.clip(rows, 0, signal.n_samples), np.int64)


def _note_silent(std: np.ndarray, notes: Notes) -> None:
    silent = np.flatnonzero(std == 0)
    if len(silent):
        shown = ", ".join(str(i) for i in silent[:8].tolist())
        more = ", …" if len(silent) > 8 else ""
        notes.warn(
            "zero_variance",
            f"{len(silent)} of {len(std)} neurons never vary (columns {shown}{more})",
        )


def _without_zeros(signal: Signal, std: np.ndarray, notes: Notes) -> np.ndarray:
    flat = np.flatnonzero(std == 0)
    if len(flat):
        names = [signal.names[i] if signal.names else str(i) for i in flat.tolist()]
        notes.warn(
            "zero_variance",
            f"{signal.name}: {', '.join(names)} never varies; centred only",
        )
    # Constant channels are centred to 0; division by 0 would make them NaN.
    return np.where(std == 0, 1.0, std)
