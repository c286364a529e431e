"""Reader of NWB files with calcium imaging, based on types and names."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.io.byte_source import LocalFile, Source
from omnimouse_model.data.io.hdf5 import SIGNATURE, Hdf5, Hdf5Rows
from omnimouse_model.data.io.http_file import RemoteFile
from omnimouse_model.data.io.row_source import Rows
from omnimouse_model.data.read_options import ALL_ROIS, ReadOptions
from omnimouse_model.data.readers.build.finalise import finished
from omnimouse_model.data.readers.build.frame_notes import note_frames
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import unseen_trials
from omnimouse_model.data.readers.build.resampled import least_scale, sample_mode
from omnimouse_model.data.readers.build.size_limits import MOST_COLUMNS
from omnimouse_model.data.readers.build.statistics import train_spans, with_statistics
from omnimouse_model.data.readers.nwb.behavior import read_behavior
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.data.readers.nwb.rows import EvenRows, SideBySide
from omnimouse_model.data.readers.nwb.series import chosen_series, short_name
from omnimouse_model.data.readers.nwb.stimulus import read_intervals, read_stimulus
from omnimouse_model.data.readers.nwb.units import AREAS, PlaneUnits, read_units
from omnimouse_model.data.session import Session
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
    from omnimouse_model.data.io.fingerprint import file_fingerprint

    return read_source(LocalFile(path), file_fingerprint(path), options)


def read_address(url: str, options: ReadOptions) -> Session:
    """Open an NWB file at a web address; only the required blocks are transferred."""
    remote = RemoteFile(url)
    session = read_source(remote, remote.fingerprint, options)
    return replace(session, origin=url)


def read_source(source: Source, fingerprint: str, options: ReadOptions) -> Session:
    """Open an NWB file from any byte source."""
    notes = Notes()
    nwb = NwbFile.scanned(Hdf5(source))
    chosen = chosen_series(nwb, options.series, notes)
    series = chosen.groups
    responses, planes = _responses(nwb, series, options, notes)
    stimulus = read_stimulus(nwb, responses.start, notes)
    if stimulus is not None:
        note_frames(stimulus, notes)
    if stimulus is None:
        trials = unseen_trials(read_intervals(nwb), responses.start)
    else:
        trials = stimulus.trials
    train = train_spans(stimulus, trials, responses.start)
    responses = with_statistics(responses, train, notes)
    behavior = {
        name: None if signal is None else with_statistics(signal, train, notes)
        for name, signal in read_behavior(nwb, notes).items()
    }
    session = Session(
        id=_identity(nwb, notes),
        animal_id=nwb.text("/general/subject/subject_id") or None,
        path=source.path,
        format="nwb",
        fingerprint=fingerprint,
        units=_units(planes, responses, notes),
        responses=responses,
        behavior=behavior,
        stimulus=stimulus,
        trials=trials,
        images=_images(nwb, planes),
        meta={"series": [group.name for group in series]},
        series=chosen.name,
        series_choices=chosen.choices,
        behavior_names=tuple(n for s in behavior.values() if s for n in s.names),
        options=options.given(),
    )
    return finished(session, notes)


def _identity(nwb: NwbFile, notes: Notes) -> str:
    for name in ("/general/session_id", "/identifier"):
        if found := nwb.text(name):
            return found
    notes.assume("no_identity", "nothing names the session: the file's name is used")
    return nwb.file.path.stem


# -- responses -----------------------------------------------------------------------
def _responses(
    nwb: NwbFile, series: Sequence["h5py.Group"], options: ReadOptions, notes: Notes
) -> tuple[Signal, list[PlaneUnits]]:
    """Return one signal of all planes recorded at one rate, and their units."""
    found = [_plane(nwb, group, options, notes) for group in series]
    found = _of_one_rate(found, series, notes)
    # The signal begins at the latest start. Whole samples of the other planes are
    # skipped; the remaining lag of each plane, below one sample, is a phase shift.
    start = max(first for _, _, first, _ in found)
    rate = found[0][3]
    skipped = [int(np.ceil((start - f) * rate - _SAME_TIME)) for _, _, f, _ in found]
    lags = [
        f + n / rate - start for (_, _, f, _), n in zip(found, skipped, strict=True)
    ]
    rows: Rows = found[0][0]
    if len(found) > 1:
        rows = SideBySide(tuple(r for r, *_ in found), tuple(skipped))
        notes.assume("planes", f"{len(found)} series of one rate are read as one")
    if rows.shape[0] < 2:
        raise SessionFormatError(
            nwb.file.path, "empty", f"{nwb.file.path.name}: responses hold no samples"
        )
    planes = [units for _, units, _, _ in found]
    shift = np.repeat(np.array(lags), [len(p.unit_id) for p in planes])
    signal = Signal(
        "responses",
        rows,
        rate,
        start,
        start + (rows.shape[0] - 1) / rate,
        shift_s=shift if max(map(abs, lags)) > _SAME_TIME else None,
        mode=sample_mode(rate, notes),
    )
    return signal, planes


def _plane(
    nwb: NwbFile, group: "h5py.Group", options: ReadOptions, notes: Notes
) -> tuple[Rows, PlaneUnits, float, float]:
    """Return rows, units, start (native s) and rate (Hz) of one series."""
    shape = nwb.shape(group)
    if len(shape) not in (1, 2) or not all(shape):
        raise nwb.wrong(group, f"has data {shape}; (time, regions) expected")
    wide = shape[1] if len(shape) == 2 else 1
    if wide > MOST_COLUMNS:
        raise nwb.wrong(group, f"has {wide:,} regions; at most {MOST_COLUMNS:,}")
    units = read_units(nwb, group, wide, notes)
    kept = np.flatnonzero(units.is_cell) if options.cells_only else np.arange(wide)
    if not len(kept):
        raise nwb.wrong(group, f"marks none of {wide} regions as a cell")
    if len(kept) < wide:
        notes.assume(
            "cells_only",
            f"{wide - len(kept)} of {wide} regions of {short_name(group)} are no "
            f"cells, and left out ({ALL_ROIS}, keeps them)",
        )
    dataset = nwb.file.dataset(f"{group.name}/data")
    if dataset.dtype.kind not in "fiu":
        raise nwb.wrong(group, f"holds {dataset.dtype}, not numbers")
    clock = nwb.clock(group, shape[0])
    # None avoids a copy of every block that is read.
    columns = None if len(kept) == wide else kept
    rows: Rows = Hdf5Rows(nwb.file, f"{group.name}/data", columns, *nwb.gain(group))
    if clock.times is not None:
        rows = EvenRows(rows, clock.times, clock.rate_hz)
        notes.assume(
            "uneven_times",
            f"{short_name(group)} is unevenly sampled: brought to "
            f"{clock.rate_hz:.4g} Hz, each value held until the next; gaps are missing",
        )
    return rows, _only(units, kept), clock.start, clock.rate_hz


def _only(units: PlaneUnits, kept: np.ndarray) -> PlaneUnits:
    """Return a plane with only the regions `kept` (ascending)."""
    # Region of every pixel: pixels of all regions are concatenated.
    owner = np.repeat(np.arange(len(units.sizes)), units.sizes)
    pixels = np.isin(owner, kept)
    return PlaneUnits(
        units.unit_id[kept],
        units.is_cell[kept],
        units.location,
        units.xy_px[kept],
        units.xyz_um[kept],
        units.sizes[kept],
        units.yx[pixels],
        units.weight[pixels],
    )


def _of_one_rate(
    found: list[tuple[Rows, PlaneUnits, float, float]],
    series: Sequence["h5py.Group"],
    notes: Notes,
) -> list[tuple[Rows, PlaneUnits, float, float]]:
    """Return the series at the rate of the one with most neurons; warn about others."""
    main = max(found, key=lambda part: len(part[1].unit_id))
    rate = main[3]
    # Rates computed from timestamps differ slightly; the drift over the whole
    # recording decides.
    same = [
        abs(own - rate) / rate * min(rows.shape[0], main[0].shape[0]) < _DRIFT
        for rows, _, _, own in found
    ]
    if not all(same):
        left = [
            f"{short_name(group)} ({part[3]:.6g} Hz)"
            for group, part, s in zip(series, found, same, strict=True)
            if not s
        ]
        notes.warn(
            "other_rates",
            f"{', '.join(left)} were recorded at another rate than {rate:.6g} Hz, and "
            "are left out",
        )
    return [part for part, s in zip(found, same, strict=True) if s]


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
    else:
        notes.assume("no_areas", "the session does not say which areas it covers")
    if len(names) > 1 and not all(names):
        notes.warn("no_areas", "some planes do not say which area they cover")
    assert responses.mean is not None
    assert responses.std is not None
    sizes = np.concatenate([plane.sizes for plane in planes])
    roi = None
    if sizes.any():
        if not sizes.all():
            notes.warn(
                "empty_masks",
                f"the masks of {int((sizes == 0).sum())} of {len(sizes)} regions hold "
                "no pixels",
            )
        roi = Roi(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.concatenate([plane.yx for plane in planes]),
            np.concatenate([plane.weight for plane in planes]),
        )
    return Units(
        unit_id=np.concatenate([plane.unit_id for plane in planes]),
        area=area,
        area_source="" if area is None else "ImagingPlane.location",
        plane=np.repeat(np.arange(len(planes), dtype=np.int32), counts),
        xyz_um=np.concatenate([plane.xyz_um for plane in planes]),
        xy_px=np.concatenate([plane.xy_px for plane in planes]),
        mean=responses.mean,
        std=responses.std,
        roi=roi,
        least_scale=least_scale(responses.std, notes),
    )


def _images(nwb: NwbFile, planes: list[PlaneUnits]) -> dict[str, np.ndarray]:
    """Return the mean image, empty if there are several planes or no image.

    With several planes, nothing tells to which of them an image belongs.
    """
    found = [
        item
        for item in nwb.of("GrayscaleImage", "Image")
        if "/processing/" in item.name
        and re.search(r"mean|average|avg", item.name.rsplit("/", 1)[-1], re.I)
    ]
    if len(planes) != 1 or not found:
        return {}
    if len(nwb.file.dataset(found[0].name).shape) != 2:
        return {}
    image = nwb.file.table(found[0].name)
    if image.dtype.kind not in "fiu" or not image.size:
        return {}
    return {"mean": np.nan_to_num(image.astype(np.float32))}
