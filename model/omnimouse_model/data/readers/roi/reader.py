"""Reader of the outputs of CaImAn, CNMF-E, EXTRACT, Minian and Inscopix."""

from pathlib import Path

import numpy as np

from omnimouse_model.data.read_options import ALL_ROIS, ReadOptions
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units, note_no_cells
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.rate_notes import note_interpolation
from omnimouse_model.data.readers.build.size_limits import check_extent
from omnimouse_model.data.readers.build.statistics import complete_statistics
from omnimouse_model.data.readers.roi import caiman, inscopix, matlab_outputs, minian
from omnimouse_model.data.readers.roi.extraction import Extraction, wrong
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Trials
from omnimouse_model.data.units import Roi
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import Hdf5, is_hdf5
from omnimouse_model.storage.byte_source import LocalFile
from omnimouse_model.storage.files import is_file, is_folder, open_binary
from omnimouse_model.storage.fingerprint import file_fingerprint, folder_fingerprint

LOOKED_FOR = (
    *("*.hdf5 of CaImAn", "*.mat of CNMF-E or EXTRACT", "*.isxd of Inscopix"),
    "A.zarr and C.zarr of Minian",
)
_SLOWEST_HZ, _FASTEST_HZ = 0.1, 1000.0
_SAME_RATE = 1e-3
_LARGEST = 1e30


def recognises(path: Path) -> bool:
    """Return whether a file or folder has the fields of one of the programs."""
    suffix = path.suffix.lower()
    if not is_file(path):
        return is_folder(path) and minian.recognises(path)
    if suffix in inscopix.SUFFIXES:
        return True
    programs = [one for one in (caiman, matlab_outputs) if suffix in one.SUFFIXES]
    try:
        if not programs:
            return False
        with open_binary(path) as stream:
            if not is_hdf5(stream):
                return False
        file = Hdf5(LocalFile(path))
        return any(program.recognises(file) for program in programs)
    except SessionFormatError:  # h5py is missing, or the file is damaged
        return False


def read(path: Path, options: ReadOptions) -> Session:
    """Open the output of a program that finds regions; see `open_session`."""
    notes = Notes()
    suffix = path.suffix.lower()
    has_folder = is_folder(path)
    if has_folder:
        found = minian.extract(path, notes)
    elif suffix in inscopix.SUFFIXES:
        found = inscopix.extract(path, notes)
    elif suffix in matlab_outputs.SUFFIXES:
        found = matlab_outputs.extract(path, notes)
    else:
        found = caiman.extract(path, notes)
    chosen = _chosen(found, options, notes)
    series = _series(found, options, notes)
    rate_hz = _rate(found, options, notes)
    rows = found.rows(series, chosen)
    check_extent(path, series, rows.shape[0], rate_hz)
    note_interpolation(rate_hz, notes)
    responses = Signal.of_rows("responses", rows, rate_hz, 0.0, mode="linear")
    responses = complete_statistics(responses, None, notes)
    # NaN compares as false. Statistics beyond this overflow in sums over neurons.
    if responses.std is not None and not (responses.std < _LARGEST).all():
        raise wrong(path, series, "holds values that are too large for traces")
    if found.image is not None:
        notes.assume("shown_image", f"the image shown is {found.image_name}, no mean image")
    notes.assume("no_positions", "positions are pixels: no file gives their size")
    images = {} if found.image is None else {"mean": _finite(found.image)}
    masks = found.masks
    session = Session(
        id=_name(path),
        animal_id=None,
        path=path,
        format=found.format,
        fingerprint=folder_fingerprint(path) if has_folder else file_fingerprint(path),
        units=make_units(
            responses,
            notes,
            unit_id=found.unit_id[chosen],
            roi=None if masks is None else Roi.of([masks[k] for k in chosen.tolist()]),
        ),
        responses=responses,
        behavior={"eye_tracker": None, "treadmill": None},
        stimulus=None,
        trials=Trials.none(),
        images=images,
        meta={"series": series, RECORDING_RATE: rate_hz},
        series=series,
        series_choices=found.series,
        options=options.changed(),
    )
    return finalise(session, notes)


def _name(path: Path) -> str:
    """Return the name of the recording: that of the folder around one called minian."""
    if is_file(path):
        return path.stem
    return path.parent.name if path.name.lower() == "minian" else path.name


def _finite(image: np.ndarray) -> np.ndarray:
    return np.nan_to_num(image.astype(np.float32), posinf=0.0, neginf=0.0)


def _chosen(found: Extraction, options: ReadOptions, notes: Notes) -> np.ndarray:
    """Return the regions that are read, int64 (n,); raise if there are none."""
    every = np.arange(found.n_regions)
    if found.accepted is None:
        notes.assume(
            "cells_unknown",
            f"{found.path.name} does not tell which regions are cells: all are read",
        )
        return every
    n_cells = int(found.accepted.sum())
    where = f"{found.path.name} ({found.accepted_source})"
    note_no_cells(found.n_regions, n_cells, notes, where=where, cells_only=options.cells_only)
    chosen = np.flatnonzero(found.accepted) if options.cells_only else every
    if not len(chosen):
        raise SessionFormatError(
            found.path,
            "empty",
            f"{where} accepts none of {found.n_regions} regions",
            f"{ALL_ROIS}, reads them all",
        )
    return chosen


def _series(found: Extraction, options: ReadOptions, notes: Notes) -> str:
    """Return the kind of traces that is read, with a note on the others."""
    names = list(found.series)
    series = names[0] if options.series is None else options.series
    if series not in names:
        raise SessionFormatError(
            found.path,
            "no_series",
            f"{found.path.name} has no series {series!r}; it has {', '.join(names)}",
            "choose one of these",
        )
    others = [name for name in names if name != series]
    more = f"; there are also {', '.join(others)}" if others else ""
    notes.assume("series", f"responses are {series}: {found.series[series]}{more}")
    return series


def _rate(found: Extraction, options: ReadOptions, notes: Notes) -> float:
    """Return the rate of the option, else the stored one; raise without either.

    The stored one is a setting of the user of the program, and may be its default.
    """
    path, given, stored = found.path, options.rate_hz, found.rate_hz
    if stored is not None and not _SLOWEST_HZ <= stored <= _FASTEST_HZ:
        notes.warn("bad_setting", f"{found.rate_source} is {stored:g} Hz: not used")
        stored = None
    rate = stored if given is None else given
    if rate is None:
        raise SessionFormatError(
            path,
            MISSING_RATE,
            f"{path.name}: {found.program} stored no frames per second",
            "state it: rate_hz=…, or --rate-hz",
        )
    if not _SLOWEST_HZ <= rate <= _FASTEST_HZ:
        limits = f"between {_SLOWEST_HZ:g} and {_FASTEST_HZ:g}"
        problem = f"rate_hz must lie {limits}, found {rate:g}"
        raise SessionFormatError(path, MISSING_RATE, f"{path.name}: {problem}")
    if given is None:
        notes.assume("stored_rate", f"{rate:.6g} Hz, as {found.rate_source} says")
    elif stored is None:
        notes.assume("given_rate", f"{rate:g} Hz, as stated in the options; no file states it")
    elif abs(stored - rate) > _SAME_RATE * rate:
        notes.warn(
            "rate_disagrees",
            f"responses: {rate:g} Hz was given and is used; {found.rate_source} says {stored:g}",
        )
    return rate
