"""Outputs of CaImAn, CNMF-E and EXTRACT in HDF5: traces, masks, rate and accepted cells.

Those of CNMF-E and EXTRACT are structures of MATLAB files of version 7.3, which are HDF5
with the axes of MATLAB in the other order: an image (height, width, region) of MATLAB is
(region, width, height) in the file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Roi
from omnimouse_model.data.readers.build.checked_values import (
    MAX_COLUMNS,
    MAX_ROWS,
    check_range,
    require,
)
from omnimouse_model.data.readers.build.neurons import check_mask_size, image_masks
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.display import count
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import Hdf5, Hdf5Rows
from omnimouse_model.storage.arrays.rows import Rows
from omnimouse_model.storage.byte_source import BlockFile
from omnimouse_model.storage.files import WRITTEN, bad_file


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
    rate_hz, rate_source = _rate(file, top, layout, n_frames)
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


def _rate(file: Hdf5, top: str, layout: _Layout, n_frames: int) -> tuple[float | None, str]:
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
