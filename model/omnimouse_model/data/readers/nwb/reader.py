"""Reader of NWB files with calcium imaging or spikes, based on types and names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.io.byte_source import LocalFile, Source
from omnimouse_model.data.io.fingerprint import file_fingerprint
from omnimouse_model.data.io.hdf5 import SIGNATURE, Hdf5, Hdf5Rows
from omnimouse_model.data.io.http_file import RemoteFile
from omnimouse_model.data.io.row_source import Rows
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units, note_no_cells
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import trials_without_screen
from omnimouse_model.data.readers.build.rate_notes import note_interpolation
from omnimouse_model.data.readers.build.size_limits import MAX_COLUMNS
from omnimouse_model.data.readers.build.statistics import (
    complete_statistics,
    train_spans,
)
from omnimouse_model.data.readers.nwb.behavior import read_behavior
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.data.readers.nwb.rows import EvenRows, SideBySide
from omnimouse_model.data.readers.nwb.series import choose_series, short_name
from omnimouse_model.data.readers.nwb.spikes import UNITS, read_spikes, units_table
from omnimouse_model.data.readers.nwb.stimulus import read_intervals, read_stimulus
from omnimouse_model.data.readers.nwb.units import AREAS, PlaneUnits, read_units
from omnimouse_model.data.session import RECORDING_RATE, Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.units import Roi, Units
from omnimouse_model.errors import SessionFormatError

if TYPE_CHECKING:
    import h5py

LOOKED_FOR = ("*.nwb",)
_DRIFT = 0.1
"""Largest drift, in samples over the recording, between planes joined into one."""
_SAME_TIME = 1e-6
"""Rounding tolerance: in samples for row offsets, in seconds for plane lags."""


def recognises(path: Path) -> bool:
    """Return whether a file is HDF5 with the attributes of NWB.

    An HDF5 file that cannot be opened counts, so that reading it reports the error.
    """
    if not path.is_file():
        return False
    # The signature first: it needs no h5py.
    try:
        with path.open("rb") as stream:
            if stream.read(len(SIGNATURE)) != SIGNATURE:
                return False
    except OSError:
        return False
    try:
        import h5py

        with h5py.File(path, "r") as file:
            return not {"nwb_version", "neurodata_type"}.isdisjoint(file.attrs)
    except Exception:  # h5py is missing, or the file is damaged
        return True


def read(path: Path, options: ReadOptions) -> Session:
    """Open an NWB file; see `open_session`."""
    return read_source(LocalFile(path), file_fingerprint(path), options)


def read_address(url: str, options: ReadOptions) -> Session:
    """Open an NWB file at a web address; only the required blocks are transferred."""
    remote = RemoteFile(url)
    session = read_source(remote, remote.fingerprint, options)
    return replace(session, origin=url)


def read_source(source: Source, fingerprint: str, options: ReadOptions) -> Session:
    """Open an NWB file from any byte source."""
    notes = Notes()
    nwb = NwbFile.scan(Hdf5(source))
    units = units_table(nwb)
    has_traces = any(True for _ in nwb.groups_of("RoiResponseSeries"))
    if units is not None and (options.series == UNITS or not has_traces):
        name = _identity(nwb, notes)
        return read_spikes(nwb, units, name, fingerprint, options, notes)
    chosen = choose_series(nwb, options.series, notes)
    series = chosen.groups
    responses, planes = _responses(nwb, series, options, notes)
    stimulus = read_stimulus(nwb, responses.start, notes)
    if stimulus is None:
        trials = trials_without_screen(read_intervals(nwb), responses.start)
    else:
        trials = stimulus.trials
    train = train_spans(stimulus, trials, responses.start)
    responses = complete_statistics(responses, train, notes)
    session = Session(
        id=_identity(nwb, notes),
        animal_id=nwb.text("/general/subject/subject_id") or None,
        path=source.path,
        format="nwb",
        fingerprint=fingerprint,
        units=_units(planes, responses, notes),
        responses=responses,
        behavior=read_behavior(nwb, notes),
        stimulus=stimulus,
        trials=trials,
        images=_images(nwb, planes),
        # NWB files hold responses as they were recorded.
        meta={
            "series": [group.name for group in series],
            RECORDING_RATE: responses.rate_hz,
        },
        series=chosen.name,
        series_choices=chosen.choices
        | ({} if units is None else {UNITS: "spike times"}),
        options=options.changed(),
    )
    return finalise(session, notes)


def _identity(nwb: NwbFile, notes: Notes) -> str:
    for name in ("/general/session_id", "/identifier"):
        if text := nwb.text(name):
            return text
    notes.assume("no_identity", "nothing names the session: the file's name is used")
    return nwb.file.path.stem


# -- responses -----------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """One series: its rows, neurons and clock."""

    name: str
    rows: Rows
    units: PlaneUnits
    start: float
    rate_hz: float


def _responses(
    nwb: NwbFile, series: Sequence["h5py.Group"], options: ReadOptions, notes: Notes
) -> tuple[Signal, list[PlaneUnits]]:
    """Return one signal of all planes recorded at one rate, and their units."""
    planes = [_plane(nwb, group, options, notes) for group in series]
    planes = _of_one_rate(planes, notes)
    # The signal begins at the latest start. Whole samples of the other planes are
    # skipped; the remaining lag of each plane, below one sample, is a phase shift.
    start, rate_hz = max(plane.start for plane in planes), planes[0].rate_hz
    skipped = [int(np.ceil((start - p.start) * rate_hz - _SAME_TIME)) for p in planes]
    lags = [p.start + n / rate_hz - start for p, n in zip(planes, skipped, strict=True)]
    rows: Rows = planes[0].rows
    if len(planes) > 1:
        rows = SideBySide(tuple(plane.rows for plane in planes), tuple(skipped))
        notes.assume("planes", f"{len(planes)} series of one rate are read as one")
    if rows.shape[0] < 2:
        raise SessionFormatError(
            nwb.file.path, "empty", f"{nwb.file.path.name}: responses hold no samples"
        )
    units = [plane.units for plane in planes]
    shift = np.repeat(np.array(lags), [len(u.unit_id) for u in units])
    note_interpolation(rate_hz, notes)
    signal = Signal.of_rows(
        "responses",
        rows,
        rate_hz,
        start,
        shift_s=shift if max(map(abs, lags)) > _SAME_TIME else None,
        mode="linear",
    )
    return signal, units


def _plane(
    nwb: NwbFile, group: "h5py.Group", options: ReadOptions, notes: Notes
) -> _Plane:
    shape, name = nwb.shape(group), short_name(group)
    if len(shape) not in (1, 2) or not all(shape):
        raise nwb.wrong(group, f"has data {shape}; (time, regions) expected")
    n_regions = shape[1] if len(shape) == 2 else 1
    if n_regions != shape[0] and nwb.shape(group, "rois") == (shape[0],):
        raise SessionFormatError(
            nwb.file.path,
            "transposed",
            f"{nwb.file.path.name}: {group.name} has data {shape} of {shape[0]} "
            "regions: it is transposed",
            "write it as (time, regions)",
        )
    if n_regions > MAX_COLUMNS:
        raise nwb.wrong(group, f"has {n_regions:,} regions; at most {MAX_COLUMNS:,}")
    units = read_units(nwb, group, n_regions, notes)
    chosen = np.arange(n_regions)
    if options.cells_only:
        chosen = chosen[units.is_cell]
    if not len(chosen):
        raise nwb.wrong(group, f"marks none of {n_regions} regions as a cell")
    note_no_cells(
        n_regions,
        int(units.is_cell.sum()),
        notes,
        where=name,
        cells_only=options.cells_only,
    )
    dataset = nwb.file.dataset(f"{group.name}/data")
    if dataset.dtype.kind not in "fiu":
        raise nwb.wrong(group, f"holds {dataset.dtype}, not numbers")
    clock = nwb.clock(group, shape[0])
    # None avoids a copy of every block that is read.
    columns = None if len(chosen) == n_regions else chosen
    rows: Rows = Hdf5Rows(nwb.file, f"{group.name}/data", columns, *nwb.gain(group))
    if clock.times is not None:
        rows = EvenRows(rows, clock.times, clock.rate_hz)
        notes.assume(
            "uneven_times",
            f"{name} is unevenly sampled: brought to {clock.rate_hz:.4g} Hz, each "
            "value held until the next; gaps are missing",
        )
    return _Plane(name, rows, units.select(chosen), clock.start, clock.rate_hz)


def _of_one_rate(planes: list[_Plane], notes: Notes) -> list[_Plane]:
    """Return the planes at the rate of the one with most neurons; note the others."""
    main = max(planes, key=lambda plane: len(plane.units.unit_id))
    same: list[_Plane] = []
    others: list[_Plane] = []
    for plane in planes:
        # Rates computed from timestamps differ slightly; the drift over the whole
        # recording decides.
        length = min(plane.rows.shape[0], main.rows.shape[0])
        drift = abs(plane.rate_hz - main.rate_hz) / main.rate_hz * length
        (same if drift < _DRIFT else others).append(plane)
    if others:
        listed = ", ".join(f"{p.name} ({p.rate_hz:.6g} Hz)" for p in others)
        notes.warn(
            "other_rates",
            f"{listed} were recorded at another rate than {main.rate_hz:.6g} Hz, and "
            "are left out",
        )
    return same


# -- neurons -------------------------------------------------------------------------
def _units(planes: list[PlaneUnits], responses: Signal, notes: Notes) -> Units:
    counts = [len(plane.unit_id) for plane in planes]
    # Locations outside the table keep their stored names.
    names = [AREAS.get(plane.location, plane.location) for plane in planes]
    area = None
    if any(names):
        area = np.repeat(np.array(names, np.str_), counts)
        stored = ", ".join(dict.fromkeys(p.location for p in planes if p.location))
        notes.assume("area_names", f"areas are the planes' locations ({stored})")
    if len(names) > 1 and not all(names):
        notes.warn("no_areas", "some planes do not say which area they cover")
    masks = [mask for plane in planes for mask in plane.masks]
    n_empty = sum(not len(weight) for _, weight in masks)
    if 0 < n_empty < len(masks):
        notes.warn(
            "empty_masks",
            f"the masks of {n_empty} of {len(masks)} regions hold no pixels",
        )
    return make_units(
        responses,
        notes,
        unit_id=np.concatenate([plane.unit_id for plane in planes]),
        area=area,
        area_source="ImagingPlane.location",
        plane=np.repeat(np.arange(len(planes)), counts),
        xyz_um=np.concatenate([plane.xyz_um for plane in planes]),
        xy_px=np.concatenate([plane.xy_px for plane in planes]),
        roi=Roi.of(masks) if n_empty < len(masks) else None,
    )


def _images(nwb: NwbFile, planes: list[PlaneUnits]) -> dict[str, np.ndarray]:
    """Return the mean image, empty if there are several planes or no image.

    With several planes, nothing tells to which of them an image belongs.
    """
    images = [
        item
        for item in nwb.groups_of("GrayscaleImage", "Image")
        if "/processing/" in item.name
        and re.search(r"mean|average|avg", item.name.rsplit("/", 1)[-1], re.I)
    ]
    if len(planes) != 1 or not images:
        return {}
    if len(nwb.file.dataset(images[0].name).shape) != 2:
        return {}
    image = nwb.file.table(images[0].name)
    if image.dtype.kind not in "fiu" or not image.size:
        return {}
    return {"mean": np.nan_to_num(image.astype(np.float32))}
