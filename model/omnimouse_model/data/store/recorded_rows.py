"""Responses without the pauses of a recording, as a store holds them.

A pause costs a store no rows: it holds the rows of the recorded stretches, one after
the other, and the bins of its summaries that contain such rows.
"""

import numpy as np

from omnimouse_model.data.readers.build.placed_rows import PlacedRows
from omnimouse_model.data.signal import Signal
from omnimouse_model.storage.arrays.rows import Rows


def recorded_runs(signal: Signal, n_rows: int) -> np.ndarray:
    """Return the first row and the row after the last of each stretch, int64 (n, 2).

    One for all rows if none of the `n_rows` rows of the recording lies in a pause.
    """
    whole = np.array([[0, n_rows]], np.int64)
    # Only numbers with NaN can be missing.
    if signal.recorded_spans is None or signal.dtype.kind != "f":
        return whole
    places = np.rint((signal.recorded_spans - signal.start) * signal.rate_hz)
    runs = np.clip(places + np.array([0, 1]), 0, n_rows).astype(np.int64)
    return whole if np.diff(runs, axis=1).sum() == n_rows else runs


def has_pauses(signal: Signal) -> bool:
    """Return whether rows of a stream lie in pauses."""
    runs = recorded_runs(signal, signal.n_samples)
    return int(np.diff(runs, axis=1).sum()) < signal.n_samples


class RecordedRows:
    """The rows of a stream that were recorded, without those of its pauses."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self.runs = recorded_runs(signal, signal.n_samples)
        lengths = self.runs[:, 1] - self.runs[:, 0]
        self._ends = np.cumsum(lengths)
        self._shift = self.runs[:, 1] - self._ends
        self.shape = (int(lengths.sum()), signal.n_columns)

    def parts(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Return the rows of the stream at rows `first` to `stop`, as (first, stop)."""
        low = np.maximum(first + self._shift, self.runs[:, 0])
        high = np.minimum(stop + self._shift, self.runs[:, 1])
        pairs = np.stack([low, high], axis=1)[low < high]
        return [(int(a), int(b)) for a, b in pairs.tolist()]

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`."""
        parts = [self._signal.read(a, b) for a, b in self.parts(first, stop)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def with_pauses(rows: Rows, runs: np.ndarray, n_rows: int) -> PlacedRows:
    """Return stored rows at their places in the recording; see `RecordedRows`.

    Raises
    ------
    ValueError
        The rows are not those of the stretches.
    """
    # Compared first: a damaged store could claim stretches of any length.
    n_recorded = int(np.diff(runs, axis=1).sum())
    if n_recorded != rows.shape[0] or (np.diff(runs.ravel()) < 0).any():
        raise ValueError(f"{rows.shape[0]} rows for stretches of {n_recorded}")
    place = np.concatenate([np.arange(a, b) for a, b in runs.tolist()])
    return PlacedRows(rows, np.arange(len(place)), place, n_rows)


def recorded_bins(runs: np.ndarray, rows_per_bin: int) -> np.ndarray:
    """Return the numbers of the bins of rows that contain recorded rows, int64 (n,)."""
    first, last = runs[:, 0] // rows_per_bin, (runs[:, 1] - 1) // rows_per_bin
    parts = [np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]
    return np.unique(np.concatenate(parts))
