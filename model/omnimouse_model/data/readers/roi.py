"""Reader of programs that find regions in imaging: CaImAn, CNMF-E, EXTRACT, Minian, Inscopix.

Cell sets of Inscopix (`.isxd`) can be read by the library of the manufacturer alone:
roiextractors and `isx` open the file in a process of its own; its traces are in memory.
Minian writes a folder of zarr groups, one for each result (`A.zarr`, `C.zarr`, `S.zarr`).
Outputs of CNMF-E and EXTRACT are structures of MATLAB files of version 7.3, which are HDF5
with the axes of MATLAB in the other order: an image (height, width, region) of MATLAB is
(region, width, height) in the file.

The file is long because all programs fill one record, `Extraction`, which becomes a session.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Roi
from omnimouse_model.data.readers.build import trial_files
from omnimouse_model.data.readers.build.checked_values import (
    FASTEST_HZ,
    MAX_COLUMNS,
    MAX_ROWS,
    SLOWEST_HZ,
    check_extent,
    check_range,
    check_scan_rate,
    require,
)
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import (
    check_mask_size,
    image_masks,
    make_units,
    note_no_cells,
)
from omnimouse_model.data.readers.build.notes import ALL_ROIS, Notes, ReadOptions, choose_series
from omnimouse_model.data.readers.build.trial_files import Placed, PlacedRows
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.display import count
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import Hdf5, Hdf5Rows, is_hdf5
from omnimouse_model.storage.arrays.rows import MemoryRows, Rows
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray
from omnimouse_model.storage.arrays.zarr_file import ZarrFile
from omnimouse_model.storage.byte_source import BlockFile, fingerprint_of
from omnimouse_model.storage.files import WRITTEN, bad_file, is_file, is_folder, open_binary
from omnimouse_model.storage.processes import Answer, LibraryError, Report, call_library
from omnimouse_model.storage.tables import csv_rows


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """Regions of one recording.

    Attributes
    ----------
    program, format
        Name for messages; name of the format of the session.
    path
        The file or folder.
    series
        Name -> description of each kind of traces, the best for the models first.
    rows
        Function that returns the traces (frame, region) of a kind for regions int64 (n,).
    n_regions
        Number of all regions.
    unit_id
        int64 (n_regions,).
    rate_hz, rate_source
        Stored frames per second, NaN or None without; the field that states it.
    times
        float64 (frame,) seconds of the frames from 0, where they are stored.
    accepted, accepted_source
        bool (n_regions,) regions that are cells, None if nothing tells; the field.
    masks
        Of all regions, None if they are not stored.
    image, image_name
        Image (height, width) for display, or None; what it is.
    """

    program: str
    format: str
    path: Path
    series: Mapping[str, str]
    rows: Callable[[str, np.ndarray], Rows]
    n_regions: int
    unit_id: np.ndarray
    rate_hz: float | None = None
    rate_source: str = ""
    times: np.ndarray | None = None
    accepted: np.ndarray | None = None
    accepted_source: str = ""
    masks: Roi | None = None
    image: np.ndarray | None = None
    image_name: str = ""


def wrong(path: Path, field: str, problem: str, hint: str = WRITTEN) -> SessionFormatError:
    """Return the error for a field of a file that is not as the program writes it."""
    return bad_file(path, "bad_field", problem, hint, field)


# -- fields of HDF5 files ------------------------------------------------------------
def stored(file: Hdf5, name: str) -> Any:
    """Return a dataset with values, None for what programs store in place of nothing.

    CaImAn writes a text for None, MATLAB a mark for an empty array.
    """
    item = file.find(name)
    shape = getattr(item, "shape", None)
    if not shape or 0 in shape or "MATLAB_empty" in item.attrs:
        return None
    return item


def number(file: Hdf5, name: str) -> float | None:
    """Return one stored number, None if there is none."""
    item = file.find(name)
    if item is None or prod(getattr(item, "shape", None) or (1,)) != 1:
        return None
    if getattr(item, "dtype", np.dtype(object)).kind not in "fiu":
        return None
    return float(file.table(name).reshape(-1)[0])


def check_traces(
    file: Hdf5, names: Iterable[str], n_masks: int, notes: Notes, *, is_transposed: bool
) -> tuple[int, int, bool]:
    """Return the numbers of frames and regions of traces, and whether these come first.

    Parameters
    ----------
    n_masks
        Number of masks, 0 if unknown: it can show that the axes are the other way round.
    is_transposed
        Whether the program stores (region, frame).

    Raises
    ------
    SessionFormatError
        They are no matrices of numbers, or differ in shape.
    """
    shapes = {}
    axes = "(region, frame)" if is_transposed else "(frame, region)"
    for name in names:
        item = file.find(name)
        require(item, file.path, f"numbers {axes}", (None, None), part=name)
        shapes[name] = tuple(int(n) for n in item.shape)
    if not shapes:
        raise wrong(file.path, "traces", "are missing", "was the extraction run to its end?")
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise wrong(file.path, "traces", f"differ in shape: {listed}; one shape {axes} expected")
    shape = next(iter(shapes.values()))
    n_frames, n_regions = shape[::-1] if is_transposed else shape
    if n_masks == n_frames != n_regions:
        n_frames, n_regions, is_transposed = n_regions, n_frames, not is_transposed
        notes.warn(
            "transposed",
            f"{file.path.name}: traces are {shape}, {axes} expected, and there are {n_masks} "
            "masks: they are read the other way round",
        )
    check_counts(file.path, n_frames, n_regions)
    return n_frames, n_regions, is_transposed


def check_counts(path: Path, n_frames: int, n_regions: int) -> None:
    """Raise `SessionFormatError` for traces of no frames, or of more than are read."""
    if not 0 < n_frames <= MAX_ROWS or n_regions > MAX_COLUMNS:
        found = f"are {n_frames:,} frames of {n_regions:,} regions"
        raise wrong(path, "traces", f"{found}; 1 to {MAX_ROWS:,} of {MAX_COLUMNS:,}")


# -- masks ---------------------------------------------------------------------------
def sparse_masks(
    path: Path,
    field: str,
    matrix: tuple[np.ndarray, np.ndarray, np.ndarray],
    size: tuple[int, ...],
    n_regions: int,
) -> Roi:
    """Return masks from a sparse matrix (pixel, region) in compressed columns.

    Parameters
    ----------
    matrix
        Values, their pixels, and the ends of the columns with 0 in front.
    size
        (height, width) of the image; pixels count down its columns first.

    Raises
    ------
    SessionFormatError
        The parts contradict each other or the size.
    """
    values, pixel, ends = (np.asarray(part).reshape(-1) for part in matrix)
    height, width = size
    if len(ends) != n_regions + 1:
        raise wrong(path, field, f"has {len(ends) - 1} columns; {n_regions} regions expected")
    is_sound = (
        all(part.dtype.kind in "iu" for part in (pixel, ends))
        and values.dtype.kind in "fiu"
        and len(values) == len(pixel)
        and (np.diff(ends.astype(np.int64)) >= 0).all()
        and int(ends[0]) == 0
        and int(ends[-1]) == len(values)
    )
    if not is_sound:
        raise wrong(path, field, "is no sparse matrix: its values, pixels and columns disagree")
    check_range(path, pixel, height * width, f"pixels (of {height} × {width})", field)
    check_mask_size(path, field, size, len(values))
    yx = np.stack([pixel % height, pixel // height], axis=1).astype(np.int16)
    weight = values.astype(np.float32)
    kept = weight != 0
    offsets = np.concatenate([[0], np.cumsum(kept)])[ends.astype(np.int64)]
    return Roi(offsets.astype(np.int64), yx[kept], weight[kept])


HDF5_SUFFIXES = (".hdf5", ".h5", ".mat")
_SIZES = ("params/data/dims", "estimates/dims", "dims")
_HIDDEN = "#"
"""Names that MATLAB uses for its own tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Fields of the group or structure in which a program stores its regions.

    Attributes
    ----------
    program, format
        Name of the program, and of the format of a session.
    traces
        Fields of traces, best first, and what they are.
    masks, image
        Fields of the masks, and of an image.
    is_transposed
        Whether traces are (region, frame).
    parts
        Values, pixels and ends of columns of masks that are a sparse matrix.
    rates
        Fields with the frames per second, also beside the group.
    """

    program: str
    format: str
    traces: Mapping[str, str]
    masks: str
    image: str
    is_transposed: bool = False
    parts: tuple[str, ...] = ("data", "ir", "jc")
    rates: tuple[str, ...] = ("Fs", "options/Fs", "P/Fs", "inputOptions/Fs")


_CAIMAN = _Layout(
    program="CaImAn",
    format="caiman",
    traces={"S": "deconvolved activity", "F_dff": "dF/F", "C": "denoised traces"},
    masks="A",
    image="Cn",
    is_transposed=True,
    parts=("data", "indices", "indptr"),
    rates=("/params/data/fr",),
)
_MATLAB = (
    _Layout(
        program="EXTRACT",
        format="extract",
        traces={"temporal_weights": "traces of EXTRACT"},
        masks="spatial_weights",
        image="info/summary_image",
        is_transposed=True,
    ),
    _Layout(
        program="EXTRACT",
        format="extract",
        traces={"traces": "traces of EXTRACT"},
        masks="filters",
        image="info/summary_image",
    ),
    _Layout(
        program="CNMF-E",
        format="cnmfe",
        traces={"extractedSignals": "traces of CNMF-E"},
        masks="extractedImages",
        image="Cn",
    ),
    _Layout(
        program="CNMF-E",
        format="cnmfe",
        traces={
            "S": "deconvolved activity",
            "C": "denoised traces",
            "C_raw": "traces before denoising",
        },
        masks="A",
        image="Cn",
    ),
)


def layout_of(file: Hdf5, suffix: str) -> tuple[str, _Layout] | None:
    """Return the group with the regions and its layout; None if no program wrote it."""
    if suffix != ".mat":
        is_caiman = file.find("estimates") is not None and file.find("params") is not None
        return ("estimates", _CAIMAN) if is_caiman else None
    with file.typed_errors("/"):
        # A damaged name is bytes, and none that MATLAB writes.
        names = [n for n in file.root if isinstance(n, str) and not n.startswith(_HIDDEN)]
    for name in names:
        if not hasattr(file.find(name), "keys"):
            continue
        for layout in _MATLAB:
            has_traces = any(stored(file, f"{name}/{field}") is not None for field in layout.traces)
            if has_traces and file.find(f"{name}/{layout.masks}") is not None:
                return name, layout
    return None


def read_hdf5(path: Path, notes: Notes) -> Extraction:
    """Return the regions of a file of CaImAn, CNMF-E or EXTRACT."""
    file = Hdf5(BlockFile(path))
    found = layout_of(file, path.suffix.lower())
    if found is None:
        raise wrong(path, "traces", "are missing")
    top, layout = found
    names = {
        series: f"{top}/{series}"
        for series in layout.traces
        if stored(file, f"{top}/{series}") is not None
    }
    n_frames, n_regions, is_transposed = check_traces(
        file,
        names.values(),
        _n_masks(file, f"{top}/{layout.masks}", layout.parts[-1]),
        notes,
        is_transposed=layout.is_transposed,
    )
    size = _size_of_caiman(file) if layout is _CAIMAN else None
    masks = image = None
    if size is None or len(size) == 2:
        masks = notes.attempt("the masks", _masks, file, top, layout, n_regions, size, notes)
        image = notes.attempt("the image", _image, file, f"{top}/{layout.image}", size)
    else:
        notes.warn("no_masks", f"{path.name}: masks of {len(size)}-D images are not read")
    rate_hz, rate_source = _stored_rate(file, top, layout, n_frames)
    accepted, source = None, "empty masks"
    if layout is _CAIMAN:
        accepted, source = _accepted(file, n_regions), "estimates/idx_components"
    elif layout.program == "EXTRACT" and masks is not None:
        # EXTRACT empties the masks of regions that it removes.
        accepted = np.diff(masks.offsets) > 0
    return Extraction(
        program=layout.program,
        format=layout.format,
        path=path,
        series={series: layout.traces[series] for series in names},
        rows=lambda series, regions: Hdf5Rows(
            file, names[series], regions, is_transposed=is_transposed
        ),
        n_regions=n_regions,
        unit_id=np.arange(n_regions),
        rate_hz=rate_hz,
        rate_source=rate_source,
        accepted=accepted,
        accepted_source=source,
        masks=masks,
        image=image,
        image_name="the image of local correlations (Cn)" if layout is _CAIMAN else layout.image,
    )


def _stored_rate(file: Hdf5, top: str, layout: _Layout, n_frames: int) -> tuple[float | None, str]:
    """Return the frames per second, and the field that states them."""
    for name in layout.rates:
        field = name.lstrip("/") if name.startswith("/") else f"{top}/{name}"
        if (rate := number(file, field)) is not None:
            return rate, field
    field = f"{top}/time/totalTime"
    seconds = number(file, field)
    return (n_frames / seconds, field) if seconds else (None, "")


def _size_of_caiman(file: Hdf5) -> tuple[int, ...]:
    """Return the size of the image, (height, width) or with a depth; () if unknown."""
    for name in _SIZES:
        if stored(file, name) is None:
            continue
        values = file.table(name).reshape(-1)
        if values.dtype.kind in "iuf" and len(values) in (2, 3) and (values >= 1).all():
            return tuple(int(n) for n in values)
    return ()


def _accepted(file: Hdf5, n_regions: int) -> np.ndarray | None:
    """Return the regions that the evaluation accepted, None if it was not run."""
    name = "estimates/idx_components"
    item = file.find(name)
    # An empty list is an evaluation that accepted nothing; a text stands for None.
    if not getattr(item, "shape", ()) or item.dtype.kind not in "iufb":
        return None
    listed = file.table(name)
    if listed.size not in (0, max(listed.shape)):
        expected = "numbers of regions, or a flag for each, expected"
        raise wrong(file.path, name, f"is {listed.shape}; {expected}")
    listed = listed.reshape(-1)
    repeats = listed.size - len(np.unique(listed))
    # As many numbers as regions that are only 0 and 1, and repeat, name no regions.
    is_0_or_1 = repeats > 0 and listed.size == n_regions and np.isin(listed, (0, 1)).all()
    if listed.dtype.kind == "b" or is_0_or_1:
        if listed.size != n_regions:
            raise wrong(file.path, name, f"has {listed.size} flags for {n_regions} regions")
        return np.asarray(listed.astype(bool))
    is_whole = bool((listed == np.round(listed)).all())
    if repeats or not is_whole:
        twice = f"names {count(repeats, 'region')} twice"
        found = twice if is_whole else "holds numbers that are not whole"
        raise wrong(file.path, name, f"{found}; each accepted region once, or a flag for each")
    check_range(file.path, listed, n_regions, "regions", name)
    accepted = np.zeros(n_regions, bool)
    accepted[listed.astype(np.int64)] = True
    return accepted


def _image(file: Hdf5, name: str, size: tuple[int, ...] | None) -> np.ndarray | None:
    """Return an image (height, width); that of MATLAB, without a stated size, is turned."""
    if stored(file, name) is None:
        return None
    image = file.table(name)
    expected = "an image" if size is None else f"{size} numbers"
    require(image, file.path, expected, size or (None, None), part=name)
    return image.T if size is None else image


def _n_masks(file: Hdf5, name: str, ends: str) -> int:
    """Return the number of masks, 0 if they are not stored as a program does."""
    item = file.find(name)
    if hasattr(item, "keys"):  # a sparse matrix, whose columns have one end more
        item = file.find(f"{name}/{ends}")
        return max(prod(getattr(item, "shape", None) or (1,)) - 1, 0)
    return int((getattr(item, "shape", None) or (0,))[0])


def _masks(
    file: Hdf5,
    top: str,
    layout: _Layout,
    n_regions: int,
    size: tuple[int, ...] | None,
    notes: Notes,
) -> Roi | None:
    """Return the masks: those of a sparse matrix, of images, or of flat images of MATLAB."""
    name, image = f"{top}/{layout.masks}", f"{top}/{layout.image}"
    item, parts = file.find(name), [f"{name}/{part}" for part in layout.parts]
    if layout is _CAIMAN and any(file.find(part) is None for part in parts):
        notes.assume("no_masks", f"{file.path.name} holds no masks ({name})")
        return None
    if hasattr(item, "keys"):
        if size is None:
            if any(stored(file, part) is None for part in parts):
                raise wrong(
                    file.path, name, "is an object of MATLAB; an array or a matrix expected"
                )
            with file.typed_errors(name):
                n_pixels = int(file.attribute(item, "MATLAB_sparse", 0))
            size = _image_size(file, name, image, n_pixels)
        values, pixels, ends = (file.table(part) for part in parts)
        return sparse_masks(file.path, name, (values, pixels, ends), size, n_regions)
    shape = tuple(int(n) for n in item.shape)
    if item.dtype.kind not in "fiu" or not shape or shape[0] != n_regions or len(shape) > 3:
        found = f"is {shape} {item.dtype}"
        expected = f"numbers (width, height) for each of {n_regions} regions expected"
        raise wrong(file.path, name, f"{found}; {expected}")
    if len(shape) == 3:
        images: Iterator[np.ndarray] = (file.read(item, k).T for k in range(n_regions))
        return image_masks(file.path, name, images)
    # Flat: pixels count down the columns of the image first, as in MATLAB.
    height, width = _image_size(file, name, image, shape[1])
    flat = (file.read(item, k).reshape(width, height).T for k in range(n_regions))
    return image_masks(file.path, name, flat)


def _image_size(file: Hdf5, name: str, image: str, n_pixels: int) -> tuple[int, int]:
    """Return (height, width) of the image of a file whose masks are flat."""
    item = stored(file, image)
    width, height = (0, 0) if item is None or len(item.shape) != 2 else item.shape
    if int(height) * int(width) != n_pixels:
        found = f"has {n_pixels:,} pixels, and {image} is {height} × {width}"
        raise wrong(file.path, name, f"{found}: the size of the image is unknown")
    return int(height), int(width)


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
        rate_hz=None if times is None else 1 / trial_files.fitted_step(times)[0],
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
        source, place = trial_files.placed_on_grid(path, series, found.times, rate_hz, notes)
    if not np.array_equal(source, place):
        rows = PlacedRows([Placed(rows, source, place)], int(place[-1]) + 1)
    responses = trial_files.traces_signal(rows, rate_hz, 0.0, place, notes)
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
