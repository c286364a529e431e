"""Means and standard deviations of a stream: stored or computed."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.placed_rows import PlacedRows
from omnimouse_model.data.readers.build.stored_values import MAX_COLUMNS, check_extent
from omnimouse_model.data.readers.build.trial_files import TrialRows
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus, Trials
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.npy import load_small_array
from omnimouse_model.storage.files import bad_file, unless_missing

# Statistics come from a sample of rows in this many runs, so that opening a session
# stays fast: at most this many rows and bytes (as float64).
_MAX_ROWS = 20_000
_MAX_BYTES = 64 * 2**20
_RUNS = 64
# Missing responses are counted in a smaller sample: statistics that are stored need no
# other look at the responses.
_MISSING_BYTES = 16 * 2**20
_LARGEST = 1e30  # well within float32, in which windows are divided


def train_spans(stimulus: Stimulus | None, trials: Trials, t0: float = 0.0) -> np.ndarray | None:
    """Return native spans (n, 2) of the trials of tier train, None without any.

    Parameters
    ----------
    trials, t0
        Trial table, and native time of time 0 of the session.
    """
    is_train = trials.tier == "train"
    if not is_train.any():
        return None
    if stimulus is None:
        spans = np.stack([trials.t_on, trials.t_off], axis=1) + t0
    else:
        # From the native onsets, which the times of the table have only after
        # rounding. A trial lasts until the next one, the last one until the last slot.
        onset = stimulus.slot_t[trials.first_slot]
        spans = np.stack([onset, np.append(onset[1:], stimulus.slot_t[-1])], axis=1)
    return np.asarray(spans[is_train])


def complete_statistics(signal: Signal, train: np.ndarray | None, notes: Notes) -> Signal:
    """Return the stream with mean and std (C,), computed where they are unknown.

    A std of 0 stays 0 for responses and becomes 1 for behaviour.

    Parameters
    ----------
    signal
        Its statistics are the stored ones, NaN or None if unknown.
    train
        Native spans (n, 2) of the train tier; None uses all time.

    Raises
    ------
    SessionFormatError
        If there are more samples or columns than any recording has.
    """
    path = signal.file.path
    check_extent(path, signal.name, signal.n_samples, signal.rate_hz)
    if signal.n_columns > MAX_COLUMNS:
        raise SessionFormatError(
            path,
            "too_large",
            f"{path.name}: {signal.name} has {signal.n_columns:,} columns; at most "
            f"{MAX_COLUMNS:,} are read",
        )
    unknown = np.full(signal.n_columns, np.nan)
    mean = unknown if signal.mean is None else signal.mean
    std = unknown if signal.std is None else signal.std
    sample = None
    if not np.isfinite([mean, std]).all():
        sample = _sample(signal, train, _MAX_BYTES)
    is_responses = signal.name == "responses"
    is_recorded = np.full(signal.n_columns, True)
    if is_responses and not signal.has_events:
        # Values can also be missing in other tiers only.
        whole = None if train is not None else sample
        whole = _sample(signal, None, _MISSING_BYTES) if whole is None else whole
        is_recorded = _note_missing(signal, whole, notes)
    if sample is not None:
        computed_mean, computed_std = _moments(sample)
        # Sound entries stay as stored: a dead neuron must not change the scale of the
        # others, with which the models were trained.
        mean = np.where(np.isfinite(mean), mean, computed_mean)
        std = np.where(np.isfinite(std), std, computed_std)
        time = "all" if train is None else "train"
        notes.assume(
            "computed_statistics",
            f"{signal.name}: mean or std computed from {len(sample):,} samples of {time} time",
        )
    # Responses have a least divisor (`Units.least_scale`); behaviour is divided by std.
    if is_responses:
        _note_silent(signal, std, is_recorded, notes)
        return replace(signal, mean=mean, std=std)
    return replace(signal, mean=mean, std=_without_zeros(signal, std, notes))


def with_stored_statistics(signal: Signal, root: Path, notes: Notes) -> Signal:
    """Return the stream with mean and std (C,) of its `meta` folder, if there are.

    Statistics that cannot be read are computed later, as missing ones are.
    """
    stored: list[np.ndarray | None] = []
    for name in ("means", "stds"):
        try:
            stored.append(_stored(signal, root, name, notes))
        except SessionFormatError as error:
            notes.warn("bad_statistics", f"{error.message}; computed from the data")
            stored.append(None)
    return replace(signal, mean=stored[0], std=stored[1])


def _stored(signal: Signal, root: Path, name: str, notes: Notes) -> np.ndarray | None:
    path = root / signal.name / "meta" / f"{name}.npy"
    values = unless_missing(partial(load_small_array, path, root))
    if values is None:
        return None
    if values.dtype.kind not in "fiu" or values.size != signal.n_columns:
        columns = "units" if signal.name == "responses" else "channels"
        raise bad_file(
            path,
            "wrong_length",
            f"has {values.size} values for {signal.n_columns} {columns}",
            "one value per column of the data",
        )
    is_std = name == "stds"
    return usable_statistics(values, is_std, f"{signal.name}/meta/{name}.npy", notes)


def usable_statistics(values: np.ndarray, is_std: bool, name: str, notes: Notes) -> np.ndarray:
    """Return stored statistics float64 (C,), NaN for values that cannot be used."""
    # (C,), (1, C) and (C, 1) all occur.
    values = values.reshape(-1).astype(np.float64)
    # NaN compares as false.
    is_usable = (np.abs(values) < _LARGEST) & (not is_std or values >= 0)
    if is_usable.all():
        return values
    notes.warn(
        "bad_statistics",
        f"{name} holds {int((~is_usable).sum())} values that are NaN, infinite or "
        "negative; these are computed again from the data",
    )
    return np.where(is_usable, values, np.nan)


def _sample(signal: Signal, train: np.ndarray | None, most_bytes: int) -> np.ndarray:
    """Return rows of train or all time, as stored, (rows, C)."""
    by_size = most_bytes // max(1, 8 * signal.n_columns)
    rows = _train_rows(signal, train, max(1, min(_MAX_ROWS, by_size)))
    return signal.file.pick(rows, slice(None))


def _moments(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and std (C,) of the finite values."""
    values = sample.astype(np.float64)
    finite = np.isfinite(values)
    count = np.maximum(finite.sum(axis=0), 1)  # a column without values has mean 0
    mean = np.where(finite, values, 0.0).sum(axis=0) / count
    # Two passes: E[x²] - E[x]² loses precision if the mean is large.
    spread = np.where(finite, values - mean, 0.0)
    return mean, np.sqrt((spread**2).sum(axis=0) / count)


def _train_rows(signal: Signal, train: np.ndarray | None, most: int) -> np.ndarray:
    """Return at most `most` recorded rows of train or of all time, in even runs."""
    first, stop = np.array([0]), np.array([signal.n_samples])
    if train is not None and len(train):
        begin = _first_rows(signal, train[:, 0])
        # Cut each span at the beginning of the next: rows must not count twice.
        next_ = np.append(begin[1:], signal.n_samples)
        end = np.clip(_first_rows(signal, train[:, 1]), begin, np.maximum(begin, next_))
        if (end > begin).any():
            first, stop = begin, end
    if signal.recorded_spans is not None:
        first, stop = _in_recorded(signal, first, stop)
    # `sampled` counts rows over all spans joined; the last line maps them back.
    ends = np.cumsum(stop - first)
    total = int(ends[-1])
    sampled = _in_runs(total, most)
    span = np.searchsorted(ends, sampled, side="right")
    return np.asarray(stop[span] - (ends[span] - sampled), np.int64)


def _in_recorded(
    signal: Signal, first: np.ndarray, stop: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of runs of rows that lie in recorded spans."""
    assert signal.recorded_spans is not None
    places = (signal.recorded_spans - signal.start) * signal.rate_hz
    spans = np.rint(places).astype(np.int64)
    begin, end = spans[:, 0], spans[:, 1] + 1
    # The spans that overlap each run are neighbours.
    low = np.searchsorted(end, first, side="right")
    count = np.maximum(np.searchsorted(begin, stop, side="left") - low, 0)
    run = np.repeat(np.arange(len(first)), count)
    span = low[run] + np.arange(len(run)) - (np.cumsum(count) - count)[run]
    parts = np.maximum(first[run], begin[span]), np.minimum(stop[run], end[span])
    # A recording without responses in its train tier: its statistics are those of all.
    return parts if (parts[1] > parts[0]).any() else (begin, end)


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
    sampled: np.ndarray = (firsts[:, None] + np.arange(run)).ravel()
    return sampled


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


def _note_missing(signal: Signal, sample: np.ndarray, notes: Notes) -> np.ndarray:
    """Note responses that are NaN or infinite; return which columns have values."""
    is_missing = ~np.isfinite(sample)
    # Between the trials of a format without a clock, nothing was recorded. Lost frames
    # of all neurons are counted where their places are known.
    has_pauses = signal.n_missing > 0 or signal.recorded_spans is not None
    if has_pauses or isinstance(signal.file, TrialRows | PlacedRows):
        is_missing = is_missing[~is_missing.all(axis=1)]
    n_missing = int(is_missing.sum())
    is_recorded = ~is_missing.all(axis=0) | (len(is_missing) == 0)
    if n_missing:
        columns = np.flatnonzero(is_missing.any(axis=0))
        looked = f"{len(sample):,} samples"
        # Of time with pauses, the sample has all that was recorded, or a part.
        if len(sample) < round(signal.recorded_s * signal.rate_hz):
            looked = f"a part of the recording, {looked}"
        never = int((~is_recorded).sum())
        whole = f", {never:,} of them without any value" if never else ""
        notes.warn(
            "missing_responses",
            f"in {looked} of {signal.n_columns:,} neurons, {n_missing:,} responses "
            f"({100 * n_missing / is_missing.size:.3g} %) are NaN or infinite, in "
            f"{len(columns):,} neurons{whole} (columns {_listed(columns)}); they are "
            "missing: hidden from models and not scored",
        )
    return np.asarray(is_recorded)


def _listed(columns: np.ndarray) -> str:
    more = ", …" if len(columns) > 8 else ""
    return ", ".join(str(i) for i in columns[:8].tolist()) + more


def _note_silent(signal: Signal, std: np.ndarray, is_recorded: np.ndarray, notes: Notes) -> None:
    """Note neurons that never vary, except those without any value."""
    silent = np.flatnonzero((std == 0) & is_recorded)
    if len(silent):
        silence = "have no spikes in the time of the statistics"
        state = silence if signal.has_events else "never vary"
        notes.warn(
            "zero_variance",
            f"{len(silent)} of {len(std)} neurons {state} (columns {_listed(silent)})",
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
