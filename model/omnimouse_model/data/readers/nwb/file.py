"""What an NWB file holds, by type: time series with their clocks, tables, texts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.io.hdf5 import Hdf5
from omnimouse_model.data.readers.build.decode_text import text_of
from omnimouse_model.data.readers.build.size_limits import (
    MOST_FRAMES,
    MOST_ROWS,
    check_extent,
)
from omnimouse_model.errors import SessionFormatError

if TYPE_CHECKING:
    import h5py

_JITTER = 0.01
"""Share of a step that samples of an even clock may lie off it."""
_GAP = 1.5
_ROUNDED = 2
"""Spacings of their floats by which even times may lie off through rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """When the samples of a series were taken.

    Attributes
    ----------
    start, rate_hz
        Native time of sample 0, samples per second.
    times
        float64 (T,) where samples are not evenly spaced, else None.
    """

    start: float
    rate_hz: float
    n: int
    times: np.ndarray | None = None

    def at(self, samples: np.ndarray) -> np.ndarray:
        """Native times of samples."""
        if self.times is not None:
            found: np.ndarray = self.times[samples]
            return found
        return self.start + samples / self.rate_hz

    def all_times(self) -> np.ndarray:
        """Native times of all samples."""
        return self.at(np.arange(self.n))


@dataclass(slots=True, eq=False)
class NwbFile:
    """The groups of an NWB file by their type.

    Attributes
    ----------
    file
        The HDF5 file.
    groups
        Type -> groups, in stored order.
    """

    file: Hdf5
    groups: dict[str, list["h5py.Group"]] = field(default_factory=dict)

    @classmethod
    def scanned(cls, file: Hdf5) -> "NwbFile":
        """Walk through the file once."""
        found = cls(file)
        for item in file.objects():
            kind = text_of(file.attribute(item, "neurodata_type", ""))
            if kind:
                found.groups.setdefault(kind, []).append(item)
        return found

    def of(self, *kinds: str) -> Iterator["h5py.Group"]:
        """Groups of these types, those of the first type first."""
        for kind in kinds:
            yield from self.groups.get(kind, [])

    # -- parts ------------------------------------------------------------------
    def text(self, name: str) -> str:
        """A stored text, "" where there is none."""
        if self.file.find(name) is None:
            return ""
        return text_of(self.file.scalar(name))

    def names(self, group: "h5py.Group") -> list[str]:
        """Names of the parts of a group."""
        if not hasattr(group, "keys"):
            raise self.wrong(group, "is no group of parts")
        try:
            return sorted(group)
        except Exception as error:
            raise self.file.broken(group.name, error) from error

    def child(self, group: "h5py.Group", name: str) -> Any:
        """A part of a group, its links followed; None where there is none."""
        return self.file.find(name, group)

    def referred(self, reference: Any, what: str) -> Any:
        """What an object reference leads to."""
        try:
            found = self.file.root[reference]
            if found.name is None:
                raise KeyError("it refers to what was deleted")
        except Exception as error:
            raise self.file.broken(what, error) from error
        return found

    def clock(self, group: "h5py.Group", n: int, most_rows: int = MOST_ROWS) -> Clock:
        """When the n samples of a series were taken.

        Raises
        ------
        SessionFormatError
            The series says neither a rate nor a time per sample, or nonsense, or that
            it is longer than recordings are.
        """
        path, name = self.file.path, str(group.name)
        check_extent(path, name, n, np.inf, most_rows)
        clock = self._clock(group, n)
        check_extent(path, name, n, clock.rate_hz, most_rows)
        return clock

    def _clock(self, group: "h5py.Group", n: int) -> Clock:
        if self.child(group, "starting_time") is not None:
            return self._even(group, n)
        stored = self._timestamps(group, n)
        if n < 2:
            raise self.wrong(group, f"has {n} samples, too few for a rate")
        times = stored.astype(np.float64)
        steps = np.diff(times)
        rate = (n - 1) / float(times[-1] - times[0])
        even = times[0] + np.arange(n) / rate
        allowed = _JITTER / rate + _ROUNDED * _spacing(stored)
        steady = np.abs(times - even).max() <= allowed
        if steady and (steps <= _GAP / rate).all():
            return Clock(float(times[0]), rate, n)
        unbroken = steps <= _GAP * float(np.median(steps))
        usual = int(unbroken.sum()) / float(steps[unbroken].sum())
        return Clock(float(times[0]), usual, n, times)

    def onsets(self, group: "h5py.Group", n: int) -> np.ndarray:
        """Native times float64 (n,) of the frames of a presentation, as stored."""
        path, name = self.file.path, str(group.name)
        check_extent(path, name, n, np.inf, MOST_FRAMES)
        if self.child(group, "starting_time") is not None:
            clock = self._even(group, n)
            check_extent(path, name, n, clock.rate_hz, MOST_FRAMES)
            return clock.all_times()
        return self._timestamps(group, n).astype(np.float64)

    def _timestamps(self, group: "h5py.Group", n: int) -> np.ndarray:
        """Times of n samples as stored: finite, increasing."""
        if self.child(group, "timestamps") is None:
            raise self.wrong(group, "has neither starting_time nor timestamps")
        found = self.shape(group, "timestamps")
        if found != (n,):
            raise self.wrong(group, f"has {found} timestamps for {n} samples")
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
        start = self.child(group, "starting_time")
        stored = self.file.scalar(f"{group.name}/starting_time")
        given = self.file.attribute(start, "rate")
        try:
            first, rate = float(stored), float(given)
        except (TypeError, ValueError) as error:
            raise self.wrong(group, f"has no sound starting_time: {error}") from error
        if not (np.isfinite(first) and np.isfinite(rate) and rate > 0):
            raise self.wrong(group, f"starts at {first} with rate {rate}")
        return Clock(first, rate, n)

    def shape(self, group: "h5py.Group", name: str = "data") -> tuple[int, ...]:
        """Shape of a series' data, () where it has none."""
        data = self.child(group, name)
        shape = getattr(data, "shape", ())
        return tuple(int(n) for n in shape or ())

    def gain(self, group: "h5py.Group") -> tuple[float, float]:
        """By what stored data are multiplied, and what is then added."""
        data = self.child(group, "data")
        found = []
        for name, usual in (("conversion", 1.0), ("offset", 0.0)):
            try:
                value = float(self.file.attribute(data, name, usual))
            except (TypeError, ValueError):
                value = np.nan
            if not np.isfinite(value):
                raise self.wrong(group, f"has no sound {name}")
            found.append(value)
        return found[0], found[1]

    def unit(self, group: "h5py.Group") -> str:
        """Unit of a series' data, "" where none is said."""
        data = self.child(group, "data")
        return "" if data is None else text_of(self.file.attribute(data, "unit", ""))

    def wrong(self, group: "h5py.Group", what: str) -> SessionFormatError:
        """The error for a part that is not as it should be."""
        return SessionFormatError(
            self.file.path,
            "bad_series",
            f"{self.file.path.name}: {group.name} {what}",
            "was the file written to its end, and validated?",
        )


def _spacing(times: np.ndarray) -> float:
    """How far apart the floats are in which times were stored."""
    kind = times.dtype if times.dtype.kind == "f" else np.dtype(np.float64)
    return float(np.spacing(np.abs(times).max().astype(kind)))
