"""Means and standard deviations of a stream: from its files, else computed."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from omnimouse_model.data.files import label, load_small_array
from omnimouse_model.data.readers.notes import Notes
from omnimouse_model.data.signal import Signal
from omnimouse_model.errors import SessionFormatError

_MAX_ROWS = 20_000
_MAX_BYTES = 64 * 2**20
_RUNS = 64


def with_statistics(
    signal: Signal,
    train: np.ndarray | None,
    notes: Notes,
    mean: np.ndarray | None = None,
    std: np.ndarray | None = None,
) -> Signal:
    """Attach mean and std (C,), computed over train time where they are not given.

    Parameters
    ----------
    train
        Native spans (n, 2) of the train tier, or None: all time.
    """
    if mean is None or std is None:
        computed_mean, computed_std, used = _computed(signal, train)
        mean = computed_mean if mean is None else mean
        std = computed_std if std is None else std
        time = "all" if train is None else "train"
        notes.assume(
            "computed_statistics",
            f"{signal.name}: mean or std computed from {used:,} samples of {time} time",
        )
    if signal.name == "responses":
        _note_silent(std, notes)
        return replace(signal, mean=mean, std=std)
    return replace(signal, mean=mean, std=_without_zeros(signal, std, notes))


def stored_statistics(
    signal: Signal, root: Path, notes: Notes
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Mean and std (C,) of a stream's `meta` folder, None where there is none."""
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
    rows = _train_rows(signal, train)
    by_size = _MAX_BYTES // max(1, 8 * signal.n_columns)
    rows = _in_runs(rows, max(1, min(_MAX_ROWS, by_size)))
    values = signal.file.pick(rows, slice(None)).astype(np.float64)
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    spread = np.where(known, values - mean, 0.0)
    return mean, np.sqrt((spread**2).sum(axis=0) / count), len(rows)


def _in_runs(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, neighbours together, as files are stored."""
    if len(rows) <= most:
        return rows
    run = max(1, most // _RUNS)
    firsts = np.linspace(0, len(rows) - run, most // run).astype(np.int64)
    chosen: np.ndarray = rows[(firsts[:, None] + np.arange(run)).ravel()]
    return chosen


def _train_rows(signal: Signal, train: np.ndarray | None) -> np.ndarray:
    every = np.arange(signal.n_samples)
    if train is None or not len(train):
        return every
    at = signal.start + every / signal.rate_hz
    place = np.searchsorted(train[:, 0], at, side="right") - 1
    inside = (place >= 0) & (at < train[np.maximum(place, 0), 1])
    return every[inside] if inside.any() else every


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
    return np.where(std == 0, 1.0, std)
