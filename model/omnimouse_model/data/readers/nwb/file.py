"""Access to an NWB file by type: series with their clocks and regions, tables, texts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build import checked_values
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.trial_files import JITTER, fitted_step
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import SCALAR_BYTES, Hdf5
from omnimouse_model.storage.arrays.zarr_file import ZarrFile
from omnimouse_model.storage.files import bad_file

Group = Any  # h5py has no types
"""A group or dataset of an HDF5 file, or one of a zarr folder."""
_CLOCK_HINT = "times are increasing seconds, one for each sample"
_COARSEST_S = 1e-3
"""Spacing of stored times above which samples may share one."""
_ROUNDED = 2
"""Deviation of a clock allowed for rounding, in units of the float spacing."""


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
    jitter
        Largest deviation of the stored times from an even clock, as a fraction of a
        step.
    """

    start: float
    rate_hz: float
    n: int
    times: np.ndarray | None = None
    jitter: float = 0.0

    def at(self, samples: np.ndarray) -> np.ndarray:
        """Return the native times of samples by index."""
        if self.times is not None:
            return np.asarray(self.times[samples])
        return self.start + samples / self.rate_hz

    def all_times(self) -> np.ndarray:
        """Return the native times of all samples."""
        return self.at(np.arange(self.n))

    def scaled(self, factor: float) -> "Clock":
        """Return the clock with its times in another unit: times · factor."""
        times = None if self.times is None else self.times * factor
        start, rate_hz = self.start * factor, self.rate_hz / factor
        return replace(self, start=start, rate_hz=rate_hz, times=times)


@dataclass(slots=True, eq=False)
class NwbFile:
    """The groups of an NWB file by their type.

    Attributes
    ----------
    file
        The HDF5 file, or zarr folder.
    groups
        Type -> groups and datasets, in the order of the walk.
    notes
        What the reader tells about the file.
    """

    file: Hdf5 | ZarrFile
    groups: dict[str, list[Group]]
    notes: Notes = field(default_factory=Notes)

    @classmethod
    def scan(cls, file: Hdf5 | ZarrFile) -> "NwbFile":
        """Return the file with its objects by type, after one walk through it."""
        # By type, not by path: laboratories and extensions use their own paths.
        groups: dict[str, list[Group]] = {}
        for item in file.objects():
            kind = checked_values.text_of(file.attribute(item, "neurodata_type", ""))
            if kind:
                groups.setdefault(kind, []).append(item)
        return cls(file, groups)

    def groups_of(self, *kinds: str) -> Iterator[Group]:
        """Yield the groups of the given types, in the order of the types."""
        for kind in kinds:
            yield from self.groups.get(kind, [])

    # -- parts ------------------------------------------------------------------
    def text(self, name: str) -> str:
        """Return a stored text, "" if missing."""
        # Optional fields are often absent; `table` would raise.
        if self.part(self.file.root, name) is None:
            return ""
        return checked_values.text_of(self.file.table(name, SCALAR_BYTES))

    def generator(self) -> str:
        """Return the program that wrote the arrays: suite2p, neuroconv, or ""."""
        if self.text("/session_description") == "suite2p_proc":
            return "suite2p"
        texts = [self.text("/general/source_script")]
        # Rows of name and version.
        written_by = "/general/was_generated_by"
        if self.part(self.file.root, written_by) is not None:
            texts += checked_values.texts_of(self.file.table(written_by, SCALAR_BYTES))
        found = re.search(r"neuroconv|suite2p", " ".join(texts), re.IGNORECASE)
        return found[0].lower() if found else ""

    def names(self, group: Group) -> list[str]:
        """Return the names of the members of a group, sorted."""
        if not hasattr(group, "keys"):
            raise self.wrong(group, "is not a group")
        with self.file.typed_errors(group.name):
            return sorted(group)

    def part(self, group: Group, name: str) -> Any:
        """Return an optional object of a group, None if missing or in another file."""
        try:
            return self.file.find(name, group)
        except SessionFormatError as error:
            if error.code != "outside":
                raise
            return None

    def dereference(self, reference: Any, name: str) -> Any:
        """Return the object of an HDF5 object reference of the part `name`."""
        with self.file.typed_errors(name):
            target = self.file.root[reference]
            if target.name is None:
                raise KeyError("it refers to a deleted object")
        return target

    def stored_clock(self, group: Group, n: int, *, instead_hz: float = np.nan) -> Clock:
        """Return the clock of the n samples in its stored unit, of any duration.

        Parameters
        ----------
        instead_hz
            Rate in place of one that is stored and no rate; see `rate_fault`.

        Raises
        ------
        SessionFormatError
            If the series has neither a rate nor timestamps, if these are invalid, or
            if there are too many samples.
        """
        # The count alone, before timestamps of that size are read.
        checked_values.check_extent(
            self.file.path, str(group.name), n, np.inf, checked_values.MAX_ROWS
        )
        if self.is_even(group):
            return self._even(group, n, instead_hz)
        stored = self._timestamps(group, n)
        if n < 2:
            raise self.wrong(group, f"has {n} samples, too few for a rate")
        times = stored.astype(np.float64)
        step, deviation, has_gaps = fitted_step(times)
        if has_gaps:
            # A gap lowers the mean rate, so the rate is that between the gaps.
            return Clock(float(times[0]), 1 / step, n, times)
        rate = (n - 1) / float(times[-1] - times[0])
        if deviation > JITTER * step + _ROUNDED * _spacing(stored):
            return Clock(float(times[0]), rate, n, times)
        return Clock(float(times[0]), rate, n, jitter=deviation / step)

    def onsets(self, group: Group, n: int) -> np.ndarray:
        """Return native times float64 (n,) of the frames of a presentation.

        Unlike samples, frames need not be evenly spaced.
        """
        path, name = self.file.path, str(group.name)
        checked_values.check_extent(path, name, n, np.inf, checked_values.MAX_FRAMES)
        if self.is_even(group):
            clock = self._even(group, n)
            checked_values.check_extent(path, name, n, clock.rate_hz, checked_values.MAX_FRAMES)
            return clock.all_times()
        return self._timestamps(group, n).astype(np.float64)

    def is_even(self, group: Group) -> bool:
        """Return whether a series has a rate, and no timestamps."""
        # Of a series with both, the times of the samples are the more exact ones.
        times = self.file.find("timestamps", group)
        has_times = times is not None and self.shape(group, "timestamps") != (0,)
        return self.file.find("starting_time", group) is not None and not has_times

    def _timestamps(self, group: Group, n: int) -> np.ndarray:
        """Return the stored times of n samples, checked: finite and increasing."""
        if self.file.find("timestamps", group) is None:
            raise self.wrong(group, "has neither starting_time nor timestamps")
        shape = self.shape(group, "timestamps")
        # MATLAB saves vectors as one row or one column.
        if len(shape) == 2 and 1 in shape:
            shape = (max(shape),)
        if len(shape) != 1:
            found = f"has timestamps of shape {shape}; ({n},) expected"
            raise self.wrong(group, found, _CLOCK_HINT)
        if shape != (n,):
            found = f"has {shape[0]:,} timestamps for {n:,} samples"
            raise self.wrong(group, found, _CLOCK_HINT)
        stored = self.file.table(f"{group.name}/timestamps").reshape(-1)
        if stored.dtype.kind not in "fiu":
            raise self.wrong(group, f"has timestamps of {stored.dtype}", _CLOCK_HINT)
        times = stored.astype(np.float64)

        def refuse(code: str, problem: str, hint: str) -> SessionFormatError:
            apart = _spacing(stored)
            if code == "not_finite" or apart <= _COARSEST_S:
                return self.wrong(group, problem, hint)
            is_single = checked_values.as_first_stored(stored).dtype == np.float32 != stored.dtype
            kind = f"{stored.dtype}{' with float32 values' if is_single else ''}"
            return self.wrong(
                group,
                f"{problem}: near {times[0]:.10g} s, {kind} tells only times {apart:.3g} s apart",
                "store them as float64, or from the start of the session",
            )

        checked_values.check_times(times, "timestamps", refuse)
        return stored

    def rate_fault(self, group: Group) -> str:
        """Return what is wrong with a series' rate, "" if it is right or unused."""
        return "" if not self.is_even(group) else self._rate(group)[1]

    def other_rate(self, group: Group) -> float:
        """Return the rate that is stored beside timestamps and not used, or NaN."""
        has_rate = self.file.find("starting_time", group) is not None
        return self._rate(group)[0] if has_rate and not self.is_even(group) else np.nan

    def _rate(self, group: Group) -> tuple[float, str]:
        """Return the stored rate, or NaN and what is wrong with it."""
        start = self.file.find("starting_time", group)
        stored = np.asarray(self.file.attribute(start, "rate", ()))
        if stored.size != 1:
            found = "no rate" if not stored.size else f"{stored.size} values"
            return np.nan, f"has {found} in its rate, not one"
        value = stored.reshape(-1)[0]
        try:
            rate = float(checked_values.text_of(value) if stored.dtype.kind in "OSU" else value)
        except (TypeError, ValueError):
            rate = np.nan
        if not (np.isfinite(rate) and rate > 0):
            return np.nan, f"has {checked_values.text_of(value)!r} as its rate"
        return rate, ""

    def _even(self, group: Group, n: int, instead_hz: float = np.nan) -> Clock:
        hint = "store one time in seconds and one rate in samples per second"
        stored = self.file.table(f"{group.name}/starting_time", SCALAR_BYTES)
        if stored.size != 1:
            found = f"has {stored.size} values in its starting_time, not one"
            raise self.wrong(group, found, hint)
        if stored.dtype.kind not in "fiu":
            raise self.wrong(group, f"has a starting_time of {stored.dtype}", hint)
        first = float(stored.reshape(-1)[0])
        if not np.isfinite(first):
            raise self.wrong(group, f"has the starting_time {first}", hint)
        rate, fault = self._rate(group)
        if fault and not np.isfinite(instead_hz):
            raise self.wrong(group, fault, hint)
        return Clock(first, instead_hz if fault else rate, n)

    def shape(self, group: Group, name: str = "data") -> tuple[int, ...]:
        """Return the shape of a series' data, () if missing."""
        data = self.file.find(name, group)
        shape = getattr(data, "shape", ())
        return tuple(int(n) for n in shape or ())

    def column(
        self, group: Group, name: str, n: int | None = None, kinds: str = "fiu"
    ) -> np.ndarray | None:
        """Return one value for each of n rows; None if there are others, or of other types."""
        shape, path = self.shape(group, name), f"{group.name}/{name}"
        is_column = len(shape) == 1 and n in (None, shape[0])
        if not is_column or self.file.dataset(path).dtype.kind not in kinds:
            return None
        return self.file.table(path)

    def ends(
        self, group: Group, name: str, n: int, n_values: int, *, is_whole: bool = False
    ) -> np.ndarray:
        """Return the end of each of n rows among the values of a ragged column, int64 (n,).

        Raises
        ------
        SessionFormatError
            If the column has no index, or one that does not fit: with `is_whole`, the last
            row must end with the last value.
        """
        index = self.column(group, f"{name}_index", kinds="iu")
        ends = np.zeros(0, np.int64) if index is None else index.astype(np.int64)
        last = int(ends[-1]) if len(ends) else 0
        is_rising = (np.diff(ends, prepend=0) >= 0).all()
        if len(ends) != n or not is_rising or last > n_values or (is_whole and last < n_values):
            found = f"of {len(ends):,} up to {last:,}" if len(ends) else "that is missing"
            raise self.wrong(
                group,
                f"has a {name}_index {found}, which does not fit {n:,} rows with "
                f"{n_values:,} values",
                "store the end of the values of each row",
            )
        return ends

    def texts(self, group: Group, name: str, n: int | None = None) -> list[str] | None:
        """Return one text for each of n rows; None if there are others, or no texts."""
        values = self.column(group, name, n, "OSU")
        if values is None or not all(isinstance(value, str | bytes) for value in values.tolist()):
            return None
        return checked_values.texts_of(values)

    def gain(self, group: Group) -> tuple[float, float]:
        """Return `conversion` and `offset`: value = data · conversion + offset.

        What is no number, and a conversion of 0, are left out with a note.
        """
        data = self.file.find("data", group)
        values = []
        kinds = (("conversion", 1.0, "a factor other than 0"), ("offset", 0.0, "a number"))
        for name, default, expected in kinds:
            stored = np.asarray(self.file.attribute(data, name, default))
            if stored.size != 1:
                raise self.wrong(group, f"has {name} of shape {stored.shape}; {expected} expected")
            value = float(stored.item()) if stored.dtype.kind in "iuf" else np.nan
            if not np.isfinite(value) or (name == "conversion" and value == 0):
                found = f"{group.name} has the {name} {str(stored)[:40]}; {expected} expected"
                self.notes.warn("bad_field", f"{found}: it is read without it")
                value = default
            values.append(value)
        return values[0], values[1]

    def unit(self, group: Group) -> str:
        """Return the unit of a series' data, "" if missing."""
        data = self.file.find("data", group)
        return "" if data is None else checked_values.text_of(self.file.attribute(data, "unit", ""))

    def wrong(
        self,
        group: Group,
        problem: str,
        hint: str = "was the file written to its end, and validated?",
        code: str = "bad_series",
    ) -> SessionFormatError:
        """Return the error for an invalid part of the file."""
        return bad_file(self.file.path, code, problem, hint, group.name)


def last_name(item: Any) -> str:
    """Return the name of a group, dataset or table in the group that holds it."""
    return str(item.name).rsplit("/", 1)[-1]


# -- series of responses and their regions -------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series of responses.

    Attributes
    ----------
    name
        `container/series`, with more of the path if another series has that name.
    kind
        One of `_ORDER`.
    table
        Name of the table of its regions, "" if it names none.
    """

    name: str
    group: Group
    kind: str
    table: str


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Selected responses and the alternatives.

    Attributes
    ----------
    name
        Name of the selected kind or single series.
    populations
        Series of the selected kind; those that share regions are in one list, the one
        with most regions first.
    series
        All series of responses in the file, best kind first.
    choices
        Selectable name -> description, best first.
    """

    name: str
    populations: list[list[Series]]
    series: list[Series]
    choices: dict[str, str]


def region_table(nwb: NwbFile, series: Group) -> Group | None:
    """Return the table of a series' regions, None if it has no `rois`.

    Raises
    ------
    SessionFormatError
        If its `rois` name no table.
    """
    region = nwb.file.find("rois", series)
    if region is None:
        return None
    reference = nwb.file.attribute(region, "table")
    table = None if reference is None else nwb.dereference(reference, region.name)
    if table is None or nwb.file.find("id", table) is None:
        raise nwb.wrong(series, "has rois that name no table")
    return table


def region_rows(nwb: NwbFile, series: Group) -> np.ndarray:
    """Return the rows int64 of a series' regions in its table, as stored."""
    region = nwb.file.find("rois", series)
    if region is None:
        raise nwb.wrong(series, "has no rois that can be read")
    stored = nwb.file.table(str(region.name))
    # MATLAB stores whole numbers as float64.
    is_whole = stored.dtype.kind == "f" and bool((stored == np.round(stored)).all())
    if stored.dtype.kind not in "iu" and not is_whole:
        raise nwb.wrong(series, f"has rois of {stored.dtype}, not rows of its table")
    return stored.reshape(-1).astype(np.int64)


def _spacing(times: np.ndarray) -> float:
    """Return the float spacing at the largest time, in the stored precision (s)."""
    return float(np.spacing(np.abs(checked_values.as_first_stored(times)).max()))
