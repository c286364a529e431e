"""Selection of responses in an NWB file: one kind, of every population that has it, and its clock.

Series of the same regions are alternatives or epochs of one population; series of
other regions are further neurons. Which of the two, their clocks decide (`responses`).
Times of many files are milliseconds, and rates are typed by hand. The imaging rate of
the plane, the rate that the user states and the other streams tell what is meant.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.readers.build.checked_values import text_of
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.nwb.file import Clock, NwbFile
from omnimouse_model.display import listed
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.storage.arrays.zarr_file import ZarrFile

if TYPE_CHECKING:
    import h5py

_ORDER = (
    "deconvolved",
    "DfOverF",
    "Fluorescence",
    "corrected",
    "demixed",
    "denoised",
    "events",
    "neuropil",
    "baseline",
    "second channel",
)
"""Kinds, the best for the models first."""
_ONLY_BY_NAME = frozenset({"events", "neuropil", "baseline", "second channel"})
"""Kinds that are no activity of neurons in time: read only if asked for."""

# NWB has no types for these kinds; only names tell, of series and containers. Names are
# compared in lower case with `_` between words.
_CORRECTED = re.compile(
    r"(neuropil|npil|baseline|background|bg|bleach\w*)_?(correct|subtract|remov)\w*"
    r"|(correct|subtract)\w*(_for|_from)?_(neuropil|npil|baseline|background)"
    r"|correct|subtract|decontaminat|detrend"
)
_NAMES = (
    ("deconvolved", re.compile(r"deconv|spike|spks")),
    ("events", re.compile(r"event|transient|binari[sz]")),
    ("neuropil", re.compile(r"neuropil|npil|(^|[_/])f_?neu|surround|background")),
    ("baseline", re.compile(r"baseline")),
    ("denoised", re.compile(r"denois")),
    ("demixed", re.compile(r"demix|unmix")),
    ("DfOverF", re.compile(r"d_?ff|d_?f_?over_?f|delta_?f|(^|[_/])d_?f_f")),
    ("baseline", re.compile(r"(^|[_/])f_?0($|[_/])")),
)
_SECOND = re.compile(
    r"chan(nel)?_?2|tdtomato|td_tomato|mcherry|m_cherry|dsred|(^|[_/])ch_?2($|[_/])"
)
_ANATOMICAL = re.compile(r"anatom|structural")
"""Names of series; tables are called so if regions were found on a mean image."""
_RED = re.compile(r"(^|[_/])(red|rfp)_?\d*($|[_/])")
_RED_ACTIVITY = re.compile(r"r-?geco|rcamp", re.IGNORECASE)
_ACTIVITY = re.compile(r"camp|geco|ogb|cal-?\d|fluo-?\d|snfr|volt|grab", re.IGNORECASE)
_NO_ACTIVITY = re.compile(r"tdtomato|mcherry|dsred|\brfp\b|mkate|sr-?101", re.IGNORECASE)
"""Indicators of activity that are red, of any colour, and labels of cells."""


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
    group: "h5py.Group"
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


def has_series(nwb: NwbFile, name: str | None) -> bool:
    """Return whether a file has responses of regions, without a name by themselves."""
    groups = _groups(nwb)
    if name is not None or not groups:
        return bool(groups)
    return any(one.kind not in _ONLY_BY_NAME for one in _all_series(nwb))


def choose_series(nwb: NwbFile, name: str | None) -> Chosen:
    """Return the requested kind or series, or the best kind.

    Raises
    ------
    SessionFormatError
        If there are no responses, or not the requested ones, or only kinds that are
        never chosen by themselves.
    """
    series = _all_series(nwb)
    kinds: dict[str, list[Series]] = {}
    for one in series:
        kinds.setdefault(one.kind, []).append(one)
    choices = _choices(kinds)
    if name is not None:
        found = kinds.get(name) or _named(series, name)
        if not found:
            raise _refused(nwb, f"has no series {name!r}; it has", kinds)
        # A series that is the only one of its kind is named by the kind.
        alone = (kind for kind, members in kinds.items() if members == found)
        return Chosen(next(alone, name), _populations(nwb, found), series, choices)
    best = next(iter(kinds))
    if best in _ONLY_BY_NAME:
        raise _refused(nwb, "has no activity of neurons, only", kinds)
    tables = {one.table for one in kinds[best]}
    others = [one for one in series if one.kind not in _ONLY_BY_NAME]
    others = [one for one in others if one.table not in tables]
    if others:
        nwb.notes.warn(
            "planes_left_out",
            f"{_listed(others)} are of other regions than the responses, and left out: "
            f"these regions have no {best}",
        )
    return Chosen(best, _populations(nwb, kinds[best]), series, choices)


def note_alternatives(chosen: Chosen, used: Sequence[Series], notes: Notes) -> None:
    """Note which series are read, and which others could be, if there was a choice."""
    others = [one for one in chosen.series if one not in used]
    if others:
        notes.assume(
            "series",
            f"responses are {chosen.name} ({_listed(used)}); there are also "
            f"{_listed(others)}, of which series= selects one",
        )


def _listed(series: Sequence[Series]) -> str:
    return listed((one.name for one in series), 12)


def _refused(nwb: NwbFile, problem: str, kinds: dict[str, list[Series]]) -> SessionFormatError:
    names = list(dict.fromkeys([*kinds, *(s.name for k in kinds.values() for s in k)]))
    return SessionFormatError(
        nwb.file.path,
        "no_series",
        f"{nwb.file.path.name} {problem} {', '.join(names)}",
        "choose one of these with series=, or --series",
    )


def _named(series: list[Series], name: str) -> list[Series]:
    """Return the one series with a name or an end of its path, [] if not one."""
    exact = [one for one in series if name in (one.name, one.group.name)]
    ends = [one for one in series if one.group.name.endswith(f"/{name}")]
    found = exact or ends
    return found if len(found) == 1 else []


def _choices(kinds: dict[str, list[Series]]) -> dict[str, str]:
    """Return all kinds, then the single series of kinds with several."""
    choices = {kind: _listed(members) for kind, members in kinds.items()}
    for kind, members in kinds.items():
        if len(members) > 1:
            choices |= {one.name: f"one of {kind}" for one in members}
    return choices


# -- series of a file ----------------------------------------------------------------
def _groups(nwb: NwbFile) -> list["h5py.Group"]:
    """Return series of responses: also those of extensions, such as detected events."""
    known = [*nwb.groups_of("RoiResponseSeries")]
    for kind in nwb.groups:
        if kind != "RoiResponseSeries":
            known += [
                group
                for group in nwb.groups_of(kind)
                if hasattr(group, "keys") and {"data", "rois"} <= set(nwb.names(group))
            ]
    return known


def _all_series(nwb: NwbFile) -> list[Series]:
    """Return the series, best kind first; of a kind, those in a container first.

    Raises
    ------
    SessionFormatError
        If the file contains none.
    """
    groups = _groups(nwb)
    if not groups:
        inside = ", ".join(sorted(nwb.groups)[:12]) or "nothing that NWB knows"
        links = [f"{name} in {file}" for name, file in nwb.file.outside.items()]
        elsewhere = f"; in other files: {', '.join(links[:6])}" if links else ""
        kind = " (NWB in Zarr format)" if isinstance(nwb.file, ZarrFile) else ""
        raise SessionFormatError(
            nwb.file.path,
            "no_responses",
            f"{nwb.file.path.name}{kind} holds no RoiResponseSeries, and no Units with "
            f"spike_times; it holds {inside}{elsewhere}",
            "links to other files are never followed: copy the responses into this file"
            if links
            else "only extracted traces of calcium imaging and sorted spikes can be read",
        )
    names = _unique_names([str(group.name) for group in groups])
    found = []
    for group, name in zip(groups, names, strict=True):
        table = region_table(nwb, group)
        kind = _kind_of(nwb, group, table)
        found.append(Series(name, group, kind, "" if table is None else table.name))
    holders = ("Fluorescence", "DfOverF")
    return sorted(
        found,
        key=lambda s: (_ORDER.index(s.kind), _holder(nwb, s.group) not in holders),
    )


def _unique_names(paths: list[str]) -> list[str]:
    """Return the last two parts of each path, or more where these are equal."""
    names = []
    for path in paths:
        parts = path.strip("/").split("/")
        ends = ["/".join(parts[-n:]) for n in range(2, len(parts) + 1)]
        unique = (end for end in ends if sum(p.endswith(f"/{end}") for p in paths) == 1)
        names.append(next(unique, path))
    return names


def _holder(nwb: NwbFile, group: "h5py.Group") -> str:
    return text_of(nwb.file.attribute(group.parent, "neurodata_type", ""))


def _kind_of(nwb: NwbFile, group: "h5py.Group", table: "h5py.Group | None") -> str:
    name = _in_words("/".join(str(group.name).split("/")[-2:]))
    regions = "" if table is None else _in_words(table.name.split("/")[-1])
    plane = None if table is None else nwb.part(table, "imaging_plane")
    indicator = "" if plane is None else nwb.text(f"{plane.name}/indicator")
    place = f"{name}/{regions}"
    is_red = _RED.search(place) and not _RED_ACTIVITY.search(indicator)
    is_label = _NO_ACTIVITY.search(indicator) and not _ACTIVITY.search(indicator)
    if _SECOND.search(place) or _ANATOMICAL.search(name) or is_red or is_label:
        return "second channel"
    # "neuropil_corrected" is no neuropil.
    rest, n_corrected = _CORRECTED.subn("", name)
    if text_of(nwb.file.attribute(group, "neurodata_type", "")) == "OphysEventDetection":
        return "events"
    if "background" in regions:
        return "neuropil"
    for kind, pattern in _NAMES:
        if pattern.search(rest):
            return kind
    if _holder(nwb, group) == "DfOverF":
        return "DfOverF"
    return "corrected" if n_corrected else "Fluorescence"


def _in_words(name: str) -> str:
    """Return a name in lower case with `_` between words: `RoiResponse` and `a b`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+", "_", name)
    return parted.lower()


# -- regions -------------------------------------------------------------------------
def region_table(nwb: NwbFile, series: "h5py.Group") -> "h5py.Group | None":
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


def _populations(nwb: NwbFile, series: list[Series]) -> list[list[Series]]:
    """Return the series in lists of those that share regions, in their order."""
    rows = {id(one): _region_rows(nwb, one) for one in series}
    # With most regions first: one of all planes shares regions with that of each plane.
    by_size = sorted(series, key=lambda one: -len(rows[id(one)]))
    populations: list[tuple[str, set[int], list[Series]]] = []
    for one in by_size:
        own = rows[id(one)]
        for table, regions, members in populations:
            if table == one.table and not regions.isdisjoint(own):
                members.append(one)
                break
        else:
            populations.append((one.table, own, [one]))
    place = {id(one): k for k, one in enumerate(series)}
    populations.sort(key=lambda population: place[id(population[2][0])])
    return [members for _, _, members in populations]


def _region_rows(nwb: NwbFile, one: Series) -> set[int]:
    """Return the rows of a series in its table; without a table, one that all share."""
    if not one.table:
        return {-1}
    return set(region_rows(nwb, one.group).tolist())


def region_rows(nwb: NwbFile, series: "h5py.Group") -> np.ndarray:
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


_SAME_RATE = 0.05
"""Largest relative difference of two rates that count as the same."""
_SLOWEST_HZ = 0.2
"""A lower rate is no rate of calcium imaging of activity."""
_UNITS = (
    ("milliseconds (ms)", 1e3),
    ("microseconds (µs)", 1e6),
    ("minutes", 1 / 60),
)
"""Unit of time -> how many are a second."""
_MOST_PLANES = 64


def rates_agree(rate_hz: float, expected_hz: float) -> bool:
    """Return whether two rates are nearly equal, false if one is NaN."""
    return abs(rate_hz - expected_hz) <= _SAME_RATE * expected_hz


def clock_in_seconds(nwb: NwbFile, series: Series, n: int, stated_hz: float | None) -> Clock:
    """Return the clock of the n samples of a series in seconds.

    Parameters
    ----------
    stated_hz
        Rate that the user states; it decides where the file contradicts itself.

    Raises
    ------
    SessionFormatError
        If the times are hardly seconds, and nothing tells what they are.
    """
    plane_hz, name = _imaging_rate(nwb, series.table), series.name
    expected = stated_hz or plane_hz
    source = f"{expected:.4g} Hz of " + ("rate_hz" if stated_hz else "its imaging plane")
    if fault := nwb.rate_fault(series.group):
        if not np.isfinite(expected):
            hint = "state the samples per second with rate_hz, or --rate-hz"
            raise nwb.wrong(series.group, fault, hint, MISSING_RATE)
        nwb.notes.warn("bad_rate", f"{name} {fault}: the {source} is used")
    clock = nwb.stored_clock(series.group, n, instead_hz=expected)
    rate, stored_hz = clock.rate_hz, nwb.other_rate(series.group)
    if np.isfinite(stored_hz) and not rates_agree(rate, stored_hz):
        nwb.notes.warn(
            "two_clocks",
            f"{name} has timestamps of {rate:.4g} samples per second, which are used, "
            f"and a rate of {stored_hz:.4g} beside them",
        )
    if rates_agree(rate, expected):
        return clock
    for unit, per_second in _UNITS:
        if rates_agree(rate * per_second, expected):
            is_even = nwb.is_even(series.group)
            nwb.notes.warn(
                "time_unit",
                f"{'the rate' if is_even else 'times'} of {name} are read as {unit}, "
                f"because that gives the {source}: as seconds they would give "
                f"{rate:.4g} samples per second",
            )
            if is_even:  # nothing tells that its starting_time is no second
                return Clock(clock.start, rate * per_second, n)
            return clock.scaled(1 / per_second)
    if rate == 1 and np.isfinite(expected) and _has_frame_numbers(nwb, series):
        text = f"times of {name} are read as numbers of frames, at the {source}"
        nwb.notes.warn("time_unit", text)
        return clock.scaled(1 / expected)
    is_doubtful = rates_agree(plane_hz, expected) or rate < _SLOWEST_HZ
    if stated_hz and is_doubtful and clock.times is None:
        text = f"{name} has {rate:.4g} samples per second: the {source} is used instead"
        nwb.notes.warn("imaging_rate", text)
        return Clock(clock.start, stated_hz, n)
    if rate < _SLOWEST_HZ:
        return _slow_clock(nwb, series, clock, expected)
    if np.isfinite(plane_hz) and not rates_agree(rate, plane_hz):
        _note_imaging_rate(nwb, name, rate, plane_hz)
    return clock


def _imaging_rate(nwb: NwbFile, table: str) -> float:
    """Return the frames per second that the plane of a table states, NaN if none."""
    stored = nwb.part(nwb.file.root, f"{table}/imaging_plane/imaging_rate")
    if not table or stored is None or stored.dtype.kind not in "fiu":
        return float("nan")
    values = nwb.file.table(stored.name).reshape(-1)
    rate = float(values[0]) if len(values) else 0.0
    return rate if 0 < rate < np.inf else float("nan")


def _note_imaging_rate(nwb: NwbFile, name: str, rate: float, plane_hz: float) -> None:
    """Note that a series has another rate than its imaging plane."""
    ratio = round(plane_hz / rate)
    if not (2 <= ratio <= _MOST_PLANES and rates_agree(rate * ratio, plane_hz)):
        nwb.notes.warn(
            "imaging_rate",
            f"{name} has {rate:.4g} samples per second, and its imaging plane the "
            f"imaging_rate {plane_hz:.4g} Hz: the rate of the series is used; "
            f"rate_hz={plane_hz:g} selects the other",
        )
        return
    text = (
        f"{name} has {rate:.4g} samples per second, which are used; its imaging plane "
        f"states the imaging_rate {plane_hz:.4g} Hz, {ratio} times as many: it may "
        "count the frames of all planes"
    )
    if len(nwb.groups.get("ImagingPlane", ())) == ratio:
        nwb.notes.assume("imaging_rate", text)
    else:
        nwb.notes.warn("imaging_rate", f"{text}, or one of the rates is wrong")


def _has_frame_numbers(nwb: NwbFile, series: Series) -> bool:
    if nwb.file.find("timestamps", series.group) is None:
        return False
    times = nwb.file.table(f"{series.group.name}/timestamps").astype(np.float64)
    return bool((np.diff(times) == 1).all())


def _slow_clock(nwb: NwbFile, series: Series, clock: Clock, expected: float) -> Clock:
    """Return a clock in milliseconds if the other streams of the file say so."""
    duration = clock.n / clock.rate_hz
    other, source = _longest_span(nwb)
    text = (
        f"{clock.n:,} samples in {duration:.6g} s ({clock.rate_hz:.3g} per second), or "
        f"in {duration / 1e3:.6g} s ({clock.rate_hz * 1e3:.4g} per second) if its "
        "times are ms"
    )
    if not np.isfinite(expected) and 0.5 < 1e-3 * duration / max(other, 1e-9) < 2:
        nwb.notes.warn(
            "time_unit",
            f"times of {series.name} are read as milliseconds (ms): it has {text}; "
            f"{source} lasts {other:.4g} s",
        )
        return clock.scaled(1e-3)
    about = f"; {expected:.4g} Hz expected" if expected > 0 else ""
    hint = "store times in seconds, or state the right rate with rate_hz"
    raise nwb.wrong(series.group, f"has {text}{about}", hint, "bad_clock")


def _longest_span(nwb: NwbFile) -> tuple[float, str]:
    """Return the duration and name of the longest other stream, 0 without any."""
    found = (0.0, "")
    kinds = ("TimeSeries", "SpatialSeries", "TwoPhotonSeries", "OnePhotonSeries")
    for group in nwb.groups_of(*kinds, "ImageSeries"):
        duration = Notes().attempt(str(group.name), _duration, nwb, group) or 0.0
        found = max(found, (duration, str(group.name)))
    return found


def _duration(nwb: NwbFile, group: "h5py.Group") -> float:
    n = (nwb.shape(group) or (0,))[0]
    return n / nwb.stored_clock(group, n).rate_hz if n > 1 else 0.0
