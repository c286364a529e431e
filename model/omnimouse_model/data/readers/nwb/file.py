"""Access to an NWB file by type: time series with their clocks, tables and texts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.io.hdf5 import SCALAR_BYTES, Hdf5
from omnimouse_model.data.readers.build.decode_text import text_of
from omnimouse_model.data.readers.build.size_limits import (
    MAX_FRAMES,
    MAX_ROWS,
    check_extent,
)
from omnimouse_model.errors import SessionFormatError

if TYPE_CHECKING:
    import h5py

_JITTER = 0.01
"""Largest deviation of samples from an even clock, as a fraction of a step."""
_GAP = 1.5
"""Longest step of an even clock, in mean steps."""
_ROUNDED = 2
"""Additional deviation allowed for rounding, in units of the float spacing."""


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """Sample times of a series.

    Attributes
    ----------
    start, rate_hz
        Native time of sample 0, samples per second.
    n
        Number of samples.
    times
        float64 (T,) if samples are not evenly spaced, else None.
    """

    start: float
    rate_hz: float
    n: int
    times: np.ndarray | None = None

    def at(self, samples: np.ndarray) -> np.ndarray:
        """Return the native times of samples by index."""
        if self.times is not None:
            return np.asarray(self.times[samples])
        return self.start + samples / self.rate_hz

    def all_times(self) -> np.ndarray:
        """Return the native times of all samples."""
        return self.at(np.arange(self.n))


@dataclass(slots=True, eq=False)
class NwbFile:
    """The groups of an NWB file by their type.

    Attributes
    ----------
    file
        The HDF5 file.
    groups
        Type -> groups and datasets, in the order of the walk.
    """

    file: Hdf5
    groups: dict[str, list["h5py.Group"]]

    @classmethod
    def scan(cls, file: Hdf5) -> "NwbFile":
        """Return the file with its objects by type, after one walk through it."""
        # By type, not by path: laboratories and extensions use their own paths.
        groups: dict[str, list[h5py.Group]] = {}
        for item in file.objects():
            kind = text_of(file.attribute(item, "neurodata_type", ""))
            if kind:
                groups.setdefault(kind, []).append(item)
        return cls(file, groups)

    def groups_of(self, *kinds: str) -> Iterator["h5py.Group"]:
        """Yield the groups of the given types, in the order of the types."""
        for kind in kinds:
            yield from self.groups.get(kind, [])

    # -- parts ------------------------------------------------------------------
    def text(self, name: str) -> str:
        """Return a stored text, "" if missing."""
        # Optional fields are often absent; `table` would raise.
        if self.file.find(name) is None:
            return ""
        return text_of(self.file.table(name, SCALAR_BYTES))

    def names(self, group: "h5py.Group") -> list[str]:
        """Return the names of the members of a group, sorted."""
        if not hasattr(group, "keys"):
            raise self.wrong(group, "is not a group")
        with self.file.typed_errors(group.name):
            return sorted(group)

    def dereference(self, reference: Any, name: str) -> Any:
        """Return the object of an HDF5 object reference of the part `name`."""
        with self.file.typed_errors(name):
            target = self.file.root[reference]
            if target.name is None:
                raise KeyError("it refers to a deleted object")
        return target

    def clock(self, group: "h5py.Group", n: int, most_rows: int = MAX_ROWS) -> Clock:
        """Return the clock of the n samples of a series.

        Raises
        ------
        SessionFormatError
            If the series has neither a rate nor timestamps, if these are invalid, or
            if the series is too long.
        """
        # Checked first with an infinite rate: the count alone, before timestamps of
        # that size are read.
        path, name = self.file.path, str(group.name)
        check_extent(path, name, n, np.inf, most_rows)
        clock = self._clock(group, n)
        check_extent(path, name, n, clock.rate_hz, most_rows)
        return clock

    def _clock(self, group: "h5py.Group", n: int) -> Clock:
        if self.file.find("starting_time", group) is not None:
            return self._even(group, n)
        stored = self._timestamps(group, n)
        if n < 2:
            raise self.wrong(group, f"has {n} samples, too few for a rate")
        times = stored.astype(np.float64)
        steps = np.diff(times)
        rate = (n - 1) / float(times[-1] - times[0])
        # Deviations from an ideal clock, not from step to step: small errors of the
        # steps would otherwise add up to a drift without being noticed.
        even = times[0] + np.arange(n) / rate
        allowed = _JITTER / rate + _ROUNDED * _spacing(stored)
        steady = np.abs(times - even).max() <= allowed
        if steady and (steps <= _GAP / rate).all():
            return Clock(float(times[0]), rate, n)
        # Gaps lower the mean rate, so the rate comes from the other steps.
        unbroken = steps <= _GAP * float(np.median(steps))
        rate = int(unbroken.sum()) / float(steps[unbroken].sum())
        return Clock(float(times[0]), rate, n, times)

    def onsets(self, group: "h5py.Group", n: int) -> np.ndarray:
        """Return native times float64 (n,) of the frames of a presentation.

        Unlike the samples of `clock`, frames need not be evenly spaced.
        """
        path, name = self.file.path, str(group.name)
        check_extent(path, name, n, np.inf, MAX_FRAMES)
        if self.file.find("starting_time", group) is not None:
            clock = self._even(group, n)
            check_extent(path, name, n, clock.rate_hz, MAX_FRAMES)
            return clock.all_times()
        return self._timestamps(group, n).astype(np.float64)

    def _timestamps(self, group: "h5py.Group", n: int) -> np.ndarray:
        """Return the stored times of n samples, checked: finite and increasing."""
        if self.file.find("timestamps", group) is None:
            raise self.wrong(group, "has neither starting_time nor timestamps")
        shape = self.shape(group, "timestamps")
        if shape != (n,):
            raise self.wrong(group, f"has {shape} timestamps for {n} samples")
        stored = self.file.table(f"{group.name}/timestamps")
        if stored.dtype.kind not in "fiu":
            raise self.wrong(group, f"has timestamps of {stored.dtype}")
        times = stored.astype(np.float64)
        rises = np.diff(times) > 0
        if not np.isfinite(times).all() or not rises.all():
            at = int(np.flatnonzero(~rises)[0]) + 1 if n > 1 else 0
            raise self.wrong(group, f"has timestamps that do not increase at {at}")
        return stored

    def _even(self, group: "h5py.Group", n: int) -> Clock:
        start = self.file.find("starting_time", group)
        stored = self.file.table(f"{group.name}/starting_time", SCALAR_BYTES)
        stored_rate = self.file.attribute(start, "rate")
        try:
            first, rate = float(stored), float(stored_rate)
        except (TypeError, ValueError) as error:
            raise self.wrong(group, f"has no valid starting_time: {error}") from error
        if not (np.isfinite(first) and np.isfinite(rate) and rate > 0):
            raise self.wrong(group, f"starts at {first} with rate {rate}")
        return Clock(first, rate, n)

    def shape(self, group: "h5py.Group", name: str = "data") -> tuple[int, ...]:
        """Return the shape of a series' data, () if missing."""
        data = self.file.find(name, group)
        shape = getattr(data, "shape", ())
        return tuple(int(n) for n in shape or ())

    def gain(self, group: "h5py.Group") -> tuple[float, float]:
        """Return `conversion` and `offset`: value = data · conversion + offset."""
        data = self.file.find("data", group)
        values = []
        for name, default in (("conversion", 1.0), ("offset", 0.0)):
            try:
                value = float(self.file.attribute(data, name, default))
            except (TypeError, ValueError):
                value = np.nan  # refused below, like a stored NaN
            if not np.isfinite(value):
                raise self.wrong(group, f"has no valid {name}")
            values.append(value)
        return values[0], values[1]

    def unit(self, group: "h5py.Group") -> str:
        """Return the unit of a series' data, "" if missing."""
        data = self.file.find("data", group)
        return "" if data is None else text_of(self.file.attribute(data, "unit", ""))

    def wrong(self, group: "h5py.Group", problem: str) -> SessionFormatError:
        """Return the error for an invalid part of the file."""
        return SessionFormatError(
            self.file.path,
            "bad_series",
            f"{self.file.path.name}: {group.name} {problem}",
            "was the file written to its end, and validated?",
        )


def _spacing(times: np.ndarray) -> float:
    """Return the float spacing at the largest time, in the stored precision (s)."""
    kind = times.dtype if times.dtype.kind == "f" else np.dtype(np.float64)
    return float(np.spacing(np.abs(times).max().astype(kind)))
