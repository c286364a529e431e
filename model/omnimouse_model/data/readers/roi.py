"""Reader of programs that find regions in imaging: CaImAn, CNMF-E, EXTRACT, Minian, Inscopix.

Cell sets of Inscopix (`.isxd`) can be read by the library of the manufacturer alone:
roiextractors and `isx` open the file in a process of its own; its traces are in memory.
Minian writes a folder of zarr groups, one for each result (`A.zarr`, `C.zarr`, `S.zarr`).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Roi
from omnimouse_model.data.readers.build.checked_values import (
    FASTEST_HZ,
    SLOWEST_HZ,
    check_extent,
    check_scan_rate,
    require,
)
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import image_masks, make_units, note_no_cells
from omnimouse_model.data.readers.build.notes import ALL_ROIS, Notes, ReadOptions, choose_series
from omnimouse_model.data.readers.build.trial_files import (
    Placed,
    PlacedRows,
    fitted_step,
    placed_on_grid,
    traces_signal,
)
from omnimouse_model.data.readers.roi_hdf5 import (
    HDF5_SUFFIXES,
    Extraction,
    check_counts,
    layout_of,
    read_hdf5,
    wrong,
)
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import Hdf5, Hdf5Rows, is_hdf5
from omnimouse_model.storage.arrays.rows import MemoryRows
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray
from omnimouse_model.storage.arrays.zarr_file import ZarrFile
from omnimouse_model.storage.byte_source import BlockFile, fingerprint_of
from omnimouse_model.storage.files import bad_file, is_file, is_folder, open_binary
from omnimouse_model.storage.processes import Answer, LibraryError, Report, call_library
from omnimouse_model.storage.tables import csv_rows

_INSCOPIX_SUFFIXES = (".isxd",)
_TRACES = "raw"
_ACCEPTED, _REJECTED = "accepted", "rejected"
_CELL = re.compile(r"C?(\d{1,9})")


def read_cell_set(arguments: Mapping[str, Any], report: Report) -> Answer:
    """Return the regions of the file `path`; runs in a process of its own."""
    from roiextractors import InscopixSegmentationExtractor

    cells = InscopixSegmentationExtractor(arguments["path"])
    names = [str(name) for name in cells.get_roi_ids()]
    facts = {
        "names": names,
        "rate_hz": float(cells.get_sampling_frequency()),
        "status": [str(one) for one in cells.get_property("cell_status", cells.get_roi_ids())],
    }
    # These traces are (region, frame), unlike those of other extractors.
    traces = np.asarray(cells.get_traces(name=_TRACES)).T
    try:
        images = np.stack([cells.cell_set.get_cell_image_data(k) for k in range(len(names))])
    except Exception:  # traces without masks are a recording, too
        images = np.zeros((0, 0, 0), np.float32)
    return facts, {"traces": traces, "images": images}


def _read_inscopix(path: Path, notes: Notes) -> Extraction:
    """Return the regions of a cell set of Inscopix."""
    try:
        facts, arrays = call_library(f"{__name__}:{read_cell_set.__name__}", {"path": str(path)})
    except LibraryError as error:
        raise _refused(path, error) from error
    traces = arrays["traces"]
    names, status = list(map(str, facts["names"])), list(map(str, facts["status"]))
    n_regions = len(names)
    is_sound = traces.ndim == 2 and traces.dtype.kind in "fiu"
    if not is_sound or {traces.shape[1], len(status)} != {n_regions}:
        found = f"{len(status)} states, traces {traces.shape} {traces.dtype}"
        raise wrong(path, "the cell set", f"has {n_regions} names, {found}; they disagree")
    check_counts(path, *traces.shape)
    accepted = np.array([one != _REJECTED for one in status])
    if _ACCEPTED not in status:
        notes.assume("cells_unknown", f"{path.name} accepts no cell: all not rejected are read")
    elif "undecided" in status:
        n = status.count("undecided")
        notes.warn("undecided_cells", f"{n} of {n_regions} cells are undecided, and left out")
        accepted = np.array([one == _ACCEPTED for one in status])

    return Extraction(
        program="Inscopix",
        format="inscopix",
        path=path,
        series={_TRACES: "traces of the cell set"},
        rows=lambda series, regions: MemoryRows(path, traces[:, regions]),
        n_regions=n_regions,
        unit_id=_numbers(names),
        rate_hz=float(facts["rate_hz"]),
        rate_source="the period of the cell set",
        accepted=accepted,
        accepted_source="the status of cells",
        masks=notes.attempt("the masks", _cell_masks, path, arrays["images"], n_regions),
    )


def _cell_masks(path: Path, images: np.ndarray, n_regions: int) -> Roi:
    expected, shape = f"{n_regions} images (height, width)", (n_regions, None, None)
    require(images, path, expected, shape, kinds="fiub", part="images")
    return image_masks(path, "images", images)


def _numbers(names: list[str]) -> np.ndarray:
    """Return the numbers in names such as C007, if all are different; else rows."""
    found = [_CELL.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in found if match is not None]
    is_unique = len(set(numbers)) == len(names)
    return np.array(numbers if is_unique else range(len(names)), np.int64)


def _refused(path: Path, error: LibraryError) -> SessionFormatError:
    if error.kind in ("ModuleNotFoundError", "ImportError"):
        problem = f"is of Inscopix, which roiextractors and isx read: {error.text}"
        return bad_file(path, "missing_package", problem, "pip install 'omnimouse-app[roi]'")
    problem, hint = (
        "cannot be read by roiextractors",
        "is it a cell set, and whole? export it again",
    )
    return bad_file(path, "unreadable", f"{problem}: {error.text}", hint)


_MINIAN_SERIES = {"S": "deconvolved activity", "C": "denoised traces"}
_MASKS, _IMAGE, _REGION, _FRAME = "A", "max_proj", "unit_id", "frame"
_TIMES, _NUMBER, _TIME_MS = "timeStamps.csv", "Frame Number", "Time Stamp (ms)"
_MAX_CSV_BYTES = 64 * 2**20
_STATE_RATE = "state the rate: rate_hz=…, or --rate-hz"
_AXES = "_ARRAY_DIMENSIONS"
"""Attribute in which xarray stores the names of axes in format 2."""


def _read_minian(folder: Path, notes: Notes) -> Extraction:
    """Return the regions of a folder of Minian."""
    files = {
        name: ZarrFile(folder / f"{name}.zarr")
        for name in _MINIAN_SERIES
        if is_folder(folder / f"{name}.zarr")
    }
    arrays = {name: file.dataset(f"/{name}").array for name, file in files.items()}
    turned = {name: _is_transposed(folder, name, array) for name, array in arrays.items()}
    shapes = {n: a.shape[::-1] if turned[n] else a.shape for n, a in arrays.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise wrong(folder, "traces", f"differ in shape: {listed}; one (frame, region) expected")
    name = next(iter(arrays))
    n_frames, n_regions = shapes[name]
    check_counts(folder, n_frames, n_regions)
    times = notes.attempt(_TIMES, _minian_times, files[name], n_frames)
    return Extraction(
        program="Minian",
        format="minian",
        path=folder,
        series={name: _MINIAN_SERIES[name] for name in arrays},
        rows=lambda series, regions: Hdf5Rows(
            files[series], f"/{series}", regions, is_transposed=turned[series]
        ),
        n_regions=n_regions,
        unit_id=_minian_ids(files[name], n_regions),
        rate_hz=None if times is None else 1 / fitted_step(times)[0],
        rate_source=_TIMES,
        times=times,
        masks=notes.attempt("the masks", _minian_masks, folder, n_regions),
        image=notes.attempt("the image", _minian_image, folder),
        image_name=f"the maximum over time ({_IMAGE})",
    )


def _axes(array: ZarrArray) -> tuple[str, ...]:
    """Return the names of the axes, () if they are not stored."""
    names = array.node.fields.get("dimension_names") or array.node.attributes.get(_AXES)
    if not isinstance(names, list) or len(names) != len(array.shape):
        return ()
    return tuple(map(str, names))


def _is_transposed(folder: Path, name: str, array: ZarrArray) -> bool:
    """Return whether traces are stored as (region, frame), as Minian does by default."""
    axes = _axes(array) or (_REGION, _FRAME)
    if sorted(axes) != [_FRAME, _REGION] or array.dtype.kind not in "fiu":
        found = f"is {array.shape} {array.dtype} of {', '.join(axes)}"
        raise wrong(folder, f"{name}.zarr", f"{found}; numbers of {_REGION}, {_FRAME} expected")
    return axes == (_REGION, _FRAME)


def _minian_ids(file: ZarrFile, n_regions: int) -> np.ndarray:
    if file.find(_REGION) is None:
        return np.arange(n_regions)
    ids, expected = file.table(f"/{_REGION}"), f"({n_regions},) whole numbers"
    require(ids, file.path.parent, expected, (n_regions,), part=_REGION)
    # pandas makes floats of whole numbers where some are missing.
    is_whole = bool((ids == np.round(ids)).all())
    if ids.dtype.kind != "i" and not (is_whole and (np.abs(ids.astype("f8")) < 2.0**63).all()):
        found = f"holds numbers that are not whole, or beyond 64 bits; {expected} expected"
        raise wrong(file.path.parent, _REGION, found)
    return ids.astype(np.int64)


def _minian_masks(folder: Path, n_regions: int) -> Roi:
    field = f"{_MASKS}.zarr"
    array = ZarrFile(folder / field).dataset(f"/{_MASKS}").array
    axes = _axes(array) or (_REGION, "height", "width")
    is_sound = axes == (_REGION, "height", "width") and array.dtype.kind in "fiu"
    if not is_sound or len(array.shape) != 3 or array.shape[0] != n_regions:
        found = f"is {array.shape} {array.dtype} of {', '.join(axes)}"
        raise wrong(folder, field, f"{found}; {n_regions} images (height, width) expected")

    # A chunk holds many regions: each is unpacked once.
    def images() -> Iterator[np.ndarray]:
        for first in range(0, n_regions, array.chunk[0]):
            yield from array.read(first, first + array.chunk[0])

    return image_masks(folder, field, images())


def _minian_image(folder: Path) -> np.ndarray | None:
    if not is_folder(folder / f"{_IMAGE}.zarr"):
        return None
    image = ZarrFile(folder / f"{_IMAGE}.zarr").table(f"/{_IMAGE}")
    return require(image, folder, "an image", (None, None), part=_IMAGE)


def _minian_times(file: ZarrFile, n_frames: int) -> np.ndarray | None:
    """Return the seconds of the frames in the table of times, None without one."""
    folder = file.path.parent
    path = folder / _TIMES
    if not is_file(path):
        return None
    try:
        rows = csv_rows(path, (_NUMBER, _TIME_MS), _MAX_CSV_BYTES)
        table = np.fromiter(((int(n), float(ms)) for n, ms in rows), "i8,f8")
    except (ValueError, OverflowError) as error:
        found = f"has no columns of numbers {_NUMBER!r} and {_TIME_MS!r}"
        raise wrong(folder, _TIMES, f"{found}: {str(error)[:80]}") from error
    # Also before memory is taken for as many frames as a header states.
    if not 2 <= n_frames <= len(table):
        found = f"has {len(table):,} times of {n_frames:,} frames"
        raise wrong(folder, _TIMES, found, _STATE_RATE)
    has_numbers = file.find(_FRAME) is not None
    frames = file.table(f"/{_FRAME}") if has_numbers else np.arange(n_frames)
    require(frames, folder, f"({n_frames},) whole numbers", (n_frames,), part=_FRAME)
    # The last of several times of one frame.
    numbers, last = np.unique(table["f0"][::-1], return_index=True)
    at = np.minimum(np.searchsorted(numbers, frames), len(numbers) - 1)
    known = np.where(numbers[at] == frames, table["f1"][::-1][last[at]], np.nan)
    steps = np.diff(known)
    if not (steps > 0).all():
        n_missing = int(np.isnan(known).sum())
        found = f"has no increasing times of {n_frames:,} frames ({n_missing:,} missing)"
        raise wrong(folder, _TIMES, found, _STATE_RATE)
    return np.asarray(known - known[0]) / 1000


LOOKED_FOR = (
    *("*.hdf5 of CaImAn", "*.mat of CNMF-E or EXTRACT", "*.isxd of Inscopix"),
    "A.zarr and C.zarr of Minian",
)
_SAME_RATE = 1e-3


def recognises(path: Path) -> bool:
    """Return whether a file or folder has the fields of one of the programs."""
    suffix = path.suffix.lower()
    if not is_file(path):
        # Of Minian: masks, and traces of at least one kind.
        groups = [is_folder(path / f"{name}.zarr") for name in (_MASKS, *_MINIAN_SERIES)]
        return groups[0] and any(groups[1:])
    if suffix not in HDF5_SUFFIXES:
        return suffix in _INSCOPIX_SUFFIXES
    with open_binary(path) as stream:
        if not is_hdf5(stream):
            return False
    return layout_of(Hdf5(BlockFile(path)), suffix) is not None


def read(path: Path, options: ReadOptions) -> Session:
    """Open the output of a program that finds regions; see `open_session`."""
    notes = Notes()
    suffix = path.suffix.lower()
    if is_folder(path):
        found = _read_minian(path, notes)
    elif suffix in _INSCOPIX_SUFFIXES:
        found = _read_inscopix(path, notes)
    else:
        found = read_hdf5(path, notes)
    chosen = _chosen(found, options, notes)
    series = choose_series(found.series, options.series, path, notes)
    rate_hz = _rate(found, options, notes)
    rows = found.rows(series, chosen)
    check_extent(path, series, rows.shape[0], rate_hz)
    source = place = np.arange(rows.shape[0])
    if found.times is not None and rate_hz == found.rate_hz:
        source, place = placed_on_grid(path, series, found.times, rate_hz, notes)
    if not np.array_equal(source, place):
        rows = PlacedRows([Placed(rows, source, place)], int(place[-1]) + 1)
    responses = traces_signal(rows, rate_hz, 0.0, place, notes)
    images = {}
    if found.image is not None:
        notes.assume("shown_image", f"the image shown is {found.image_name}, no mean image")
        image = found.image.astype(np.float32)
        images["mean"] = np.nan_to_num(image, posinf=0.0, neginf=0.0)
    notes.assume("no_positions", "positions are pixels: no file gives their size")
    masks = found.masks
    # The recording is the folder around one called minian.
    folder = path.parent if path.name.lower() == "minian" else path
    session = Session(
        id=path.stem if is_file(path) else folder.name,
        path=path,
        format=found.format,
        fingerprint=fingerprint_of(path),
        units=make_units(
            responses,
            notes,
            unit_id=found.unit_id[chosen],
            roi=None if masks is None else masks.select(chosen),
        ),
        responses=responses,
        images=images,
        meta={"series": series, RECORDING_RATE: rate_hz},
        series=series,
        series_choices=found.series,
    )
    return finalise(session, options, notes)


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
        problem = f"accepts none of {found.n_regions} regions ({found.accepted_source})"
        raise bad_file(found.path, "empty", problem, f"{ALL_ROIS}, reads them all")
    return chosen


def _rate(found: Extraction, options: ReadOptions, notes: Notes) -> float:
    """Return the rate of the option, else the stored one; raise without either.

    The stored one is a setting of the user of the program, and may be its default.
    """
    path, given, stored = found.path, options.rate_hz, found.rate_hz
    if stored is not None and not SLOWEST_HZ <= stored <= FASTEST_HZ:
        notes.warn("bad_setting", f"{found.rate_source} is {stored:g} Hz: not used")
        stored = None
    rate = stored if given is None else given
    if rate is None:
        # The notes on the session that is refused would be lost.
        about = [note.message for note in notes.warnings]
        why = next((f"; {one}" for one in about if one.startswith(found.rate_source)), "")
        problem = f"has no frames per second of {found.program}{why}"
        raise bad_file(path, MISSING_RATE, problem)
    check_scan_rate(path, rate)
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
