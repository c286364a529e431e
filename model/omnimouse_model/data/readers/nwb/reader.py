"""Reader of NWB files with calcium imaging or spikes, based on types and names.

Of the series of responses in a file, one kind is read, of every population that has it.
Series of the same regions are alternatives or epochs of one population; series of other
regions are further neurons. Which of the two, their clocks decide (`responses`).
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build import trials
from omnimouse_model.data.readers.build.checked_values import text_of
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.notes import Notes, ReadOptions
from omnimouse_model.data.readers.build.spiking_units import as_units
from omnimouse_model.data.readers.nwb.behavior import read_behavior
from omnimouse_model.data.readers.nwb.file import (
    Chosen,
    Group,
    NwbFile,
    Series,
    last_name,
    region_rows,
    region_table,
)
from omnimouse_model.data.readers.nwb.intervals import read_intervals
from omnimouse_model.data.readers.nwb.responses import read_responses, span_of
from omnimouse_model.data.readers.nwb.spikes import (
    UNITS,
    note_unread_units,
    read_spikes,
    units_tables,
)
from omnimouse_model.data.readers.nwb.stimulus import read_stimulus
from omnimouse_model.data.readers.nwb.units import PlaneUnits, mean_images, units_of_planes
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.display import listed
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import SIGNATURE, Hdf5
from omnimouse_model.storage.arrays.zarr_file import ZarrFile
from omnimouse_model.storage.arrays.zarr_metadata import read_node
from omnimouse_model.storage.byte_source import BlockFile, fingerprint_of
from omnimouse_model.storage.files import OWN_FILE, bad_file, begins_with, is_folder
from omnimouse_model.storage.web import RemoteFile

LOOKED_FOR = ("*.nwb", "*.nwb.zarr")
_MARKS = frozenset({"nwb_version", "neurodata_type"})
_VERSION = re.compile(r"(?:NWB[-_ ]?)?(\d+)\.(\d+)(?:\.\d+)?[-_.]?([a-z]*)", re.I)

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
    "control",
    "second channel",
)
"""Kinds of series; those that suit the models best stand first."""
_ONLY_BY_NAME = frozenset(_ORDER[_ORDER.index("events") :])
"""Kinds that are no activity of neurons in time: read only if asked for."""

# NWB has no types for these kinds; only names tell, of series and containers. Names are
# compared in lower case with `_` between words.
_CORRECTED = re.compile(
    r"(neuropil|npil|baseline|background|bg|bleach\w*)_?(correct|subtract|remov)\w*"
    r"|(correct|subtract)\w*(_for|_from)?_(neuropil|npil|baseline|background)"
    r"|correct|subtract|decontaminat|detrend"
)
_CONTROL = r"(405|noise|residuals?|snr)"
_MAYBE_CONTROL = re.compile(rf"(^|[_/]){_CONTROL}\d*($|[_/])")
"""Words that also name stimuli (`dff_sparse_noise`): what is beside the series decides."""
_NAMES = (
    ("deconvolved", re.compile(r"deconv|spike|spks")),
    ("events", re.compile(r"event|transient|binari[sz]")),
    ("neuropil", re.compile(r"neuropil|npil|(^|[_/])f_?neu|surround|background")),
    ("baseline", re.compile(r"baseline")),
    ("denoised", re.compile(r"denois")),
    ("control", re.compile(rf"isosbestic|/{_CONTROL}_?\d*$")),
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


def recognises(path: Path) -> bool:
    """Return whether a file is HDF5, or a folder a zarr group, with the attributes of NWB.

    An HDF5 file that cannot be opened counts, so that reading it reports the error.
    """
    if is_folder(path):
        node = read_node(path)
        return node is not None and not node.is_array and not _MARKS.isdisjoint(node.attributes)
    # The signature first: it needs no h5py.
    if not begins_with(path, SIGNATURE):
        return False
    try:
        file = Hdf5(BlockFile(path)).root
        has_version = file.id.links.exists(b"nwb_version")  # as in version 1
        return has_version or not _MARKS.isdisjoint(file.attrs)
    except Exception:  # h5py is missing, or the file is damaged
        return True


def read(place: Path | RemoteFile, options: ReadOptions) -> Session:
    """Open an NWB file, a folder of NWB as zarr, or a file on a server; see `open_session`.

    Of a file on a server, only the required blocks are transferred.
    """
    file, fingerprint = _opened(place)
    nwb = NwbFile.scan(file)
    notes = nwb.notes
    _check_version(nwb)
    if isinstance(file, ZarrFile) and file.objects_left_out:
        names = listed(file.objects_left_out, 6)
        text = f"arrays of objects are not read, because their codecs run code: {names}"
        notes.assume("objects_left_out", text)
    if file.outside:
        names = listed((f"{name} (in {other})" for name, other in file.outside.items()), 6)
        notes.assume("links_left_out", f"links to other files are never followed: {names}")
    tables = units_tables(nwb)
    has_spikes = bool(tables) and (options.series == UNITS or not _has_series(nwb, options.series))
    planes: list[PlaneUnits] = []
    if has_spikes:
        chosen = Chosen(UNITS, [], [], {})
        responses, spiking = read_spikes(nwb, tables[0], options)
        note_unread_units(nwb, tables[1:])
        read_from = [str(tables[0].name)]
    else:
        chosen = choose_series(nwb, options.series)
        note_unread_units(nwb, tables)
        responses, planes, series = read_responses(nwb, chosen, options)
        _note_alternatives(chosen, series, notes)
        read_from = [str(one.group.name) for one in series]
    intervals = read_intervals(nwb, responses)
    stimulus = read_stimulus(nwb, intervals, responses)
    if has_spikes and stimulus is None:
        intervals = trials.with_tiers(intervals, options, notes)
        event = options.trial_event
        intervals = trials.aligned_to_event(intervals, event, trials.TRIAL_START, file.path, notes)
    session_id = nwb.text("/general/session_id") or nwb.text("/identifier")
    if not session_id:
        notes.assume("no_identity", "nothing names the session: the file's name is used")
    session = Session(
        id=session_id or file.path.stem,
        animal_id=nwb.text("/general/subject/subject_id") or None,
        path=file.path,
        format="nwb",
        fingerprint=fingerprint,
        units=as_units(spiking, responses, notes, "electrodes.location")
        if has_spikes
        else units_of_planes(planes, responses, notes),
        responses=responses,
        behavior=read_behavior(nwb, responses, stimulus),
        stimulus=stimulus,
        trials=trials.trials_without_screen(intervals, responses.start)
        if stimulus is None
        else stimulus.trials,
        images=mean_images(nwb, planes),
        # NWB files hold responses as they were recorded.
        meta={"series": read_from, RECORDING_RATE: responses.rate_hz},
        series=chosen.name,
        series_choices=chosen.choices | ({UNITS: "spike times"} if tables else {}),
    )
    # Of a table that several series share, each fact is noted once.
    for found_notes in (notes.warnings, notes.assumptions):
        found_notes[:] = dict.fromkeys(found_notes)
    return finalise(session, options, notes)


def _opened(place: Path | RemoteFile) -> tuple[Hdf5 | ZarrFile, str]:
    """Return a file and its fingerprint."""
    if isinstance(place, RemoteFile):
        return Hdf5(place), place.fingerprint
    return ZarrFile(place) if is_folder(place) else Hdf5(BlockFile(place)), fingerprint_of(place)


def _check_version(nwb: NwbFile) -> None:
    """Raise if the file has the layout of NWB 1, or of a pre-release of NWB 2."""
    stored = text_of(nwb.file.attribute(nwb.file.root, "nwb_version", ""))
    version = stored or nwb.text("/nwb_version")
    parts = _VERSION.match(version.strip())
    if parts is None:
        return
    major, minor, stage = int(parts[1]), int(parts[2]), parts[3].lower()
    if major >= 2 and not (major == 2 and minor == 0 and stage):
        return
    what = "a pre-release of NWB 2" if major == 2 else f"NWB {major}"
    problem = f"is {what} (nwb_version {version!r}), which is stored in another layout than NWB 2.0"
    hint = (
        "convert it: read it with the package that wrote it (AllenSDK for files of the "
        "Allen Institute) or with h5py, and write NWB 2 with pynwb or MatNWB, or save "
        "its traces with numpy.savez(path, responses=…, rate_hz=…)"
    )
    raise bad_file(nwb.file.path, "old_version", f"{problem} and later", hint)


# -- choice of the series of responses -----------------------------------------------
def _has_series(nwb: NwbFile, name: str | None) -> bool:
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
    choices = {kind: _listed(members) for kind, members in kinds.items()}
    # All kinds, then the single series of kinds with several.
    for kind, members in kinds.items():
        if len(members) > 1:
            choices |= {one.name: f"one of {kind}" for one in members}
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


def _note_alternatives(chosen: Chosen, used: Sequence[Series], notes: Notes) -> None:
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
    return bad_file(nwb.file.path, "no_series", f"{problem} {', '.join(names)}")


def _named(series: list[Series], name: str) -> list[Series]:
    """Return the one series with a name or an end of its path, [] if not one."""
    exact = [one for one in series if name in (one.name, one.group.name)]
    ends = [one for one in series if one.group.name.endswith(f"/{name}")]
    found = exact or ends
    return found if len(found) == 1 else []


def _groups(nwb: NwbFile) -> list[Group]:
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
        hint = "only extracted traces of calcium imaging and sorted spikes can be read"
        lacks = f"{kind} holds no RoiResponseSeries, and no Units with spike_times"
        problem = f"{lacks}; it holds {inside}{elsewhere}".lstrip()
        raise bad_file(nwb.file.path, "no_responses", problem, OWN_FILE if links else hint)
    names = _unique_names([str(group.name) for group in groups])
    found = []
    for group, name in zip(groups, names, strict=True):
        table = region_table(nwb, group)
        kind = _kind_of(nwb, group, table)
        found.append(Series(name, group, kind, "" if table is None else table.name))
    found = [replace(s, kind="control") if _is_beside(nwb, s, found) else s for s in found]
    holders = ("Fluorescence", "DfOverF")
    return sorted(found, key=lambda s: (_ORDER.index(s.kind), _holder(nwb, s.group) not in holders))


def _unique_names(paths: list[str]) -> list[str]:
    """Return the last two parts of each path, or more where these are equal."""
    names = []
    for path in paths:
        parts = path.strip("/").split("/")
        ends = ["/".join(parts[-n:]) for n in range(2, len(parts) + 1)]
        unique = (end for end in ends if sum(p.endswith(f"/{end}") for p in paths) == 1)
        names.append(next(unique, path))
    return names


def _holder(nwb: NwbFile, group: Group) -> str:
    return text_of(nwb.file.attribute(group.parent, "neurodata_type", ""))


def _kind_of(nwb: NwbFile, group: Group, table: Group | None) -> str:
    name = _ending(group)
    regions = "" if table is None else _in_words(table.name.split("/")[-1])
    plane = None if table is None else nwb.part(table, "imaging_plane")
    indicator = "" if plane is None else nwb.text(f"{plane.name}/indicator")
    place = f"{name}/{regions}"
    is_red = _RED.search(place) and not _RED_ACTIVITY.search(indicator)
    is_label = _NO_ACTIVITY.search(indicator) and not _ACTIVITY.search(indicator)
    if _SECOND.search(place) or _ANATOMICAL.search(name) or is_red or is_label:
        return "second channel"
    own = last_name(group)
    # The spikes and the denoised traces of CaImAn; alone, C can be the third epoch.
    if own in ("S", "C") and {"S", "C"} <= set(nwb.names(group.parent)):
        return "deconvolved" if own == "S" else "denoised"
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


def _is_beside(nwb: NwbFile, one: Series, series: list[Series]) -> bool:
    """Return whether a series with a control's name lies beside activity of its regions."""

    def is_plain(series: Series) -> bool:
        return series.kind not in _ONLY_BY_NAME and not _MAYBE_CONTROL.search(_ending(series.group))

    if one.kind in _ONLY_BY_NAME or is_plain(one):
        return False
    others = [s for s in series if s.table == one.table and is_plain(s)]
    # A faulty series is refused only where it is read.
    return any(Notes().attempt(s.name, _is_alternative, nwb, one, s) for s in others)


def _is_alternative(nwb: NwbFile, one: Series, other: Series) -> bool:
    """Return whether two series share regions and time, unlike epochs; True for unknown times."""
    if _rows(nwb, one).isdisjoint(_rows(nwb, other)):
        return False
    spans = [span for s in (one, other) if (span := span_of(nwb, s))]
    if len(spans) < 2:
        return True
    starts, stops = zip(*spans, strict=True)
    return bool(min(stops) - max(starts) > min(np.subtract(stops, starts)) / 2)


def _ending(group: Group) -> str:
    """Return the container and the name of a series in words."""
    return _in_words("/".join(str(group.name).split("/")[-2:]))


def _in_words(name: str) -> str:
    """Return a name in lower case with `_` between words: `RoiResponse` and `a b`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+", "_", name)
    return parted.lower()


def _rows(nwb: NwbFile, series: Series) -> set[int]:
    """Return the rows of a series in its table; those without a table share one."""
    return set(region_rows(nwb, series.group).tolist()) if series.table else {-1}


def _populations(nwb: NwbFile, series: list[Series]) -> list[list[Series]]:
    """Return the series in lists of those that share regions, in their order."""
    rows = {id(one): _rows(nwb, one) for one in series}
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
