"""What a program that finds regions has written: traces, masks, rate and accepted cells."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.size_limits import MAX_COLUMNS, MAX_PIXELS, MAX_ROWS
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import Hdf5, Hdf5Rows
from omnimouse_model.storage.arrays.row_source import Rows

Masks = list[tuple[np.ndarray, np.ndarray]]
"""Pixels int16 (k, 2), row and column, and weights float32 (k,) of each region."""
_HINT = "was the file written to its end?"


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
    accepted: np.ndarray | None = None
    accepted_source: str = ""
    masks: Masks | None = None
    image: np.ndarray | None = None
    image_name: str = ""


def wrong(path: Path, field: str, problem: str, hint: str = _HINT) -> SessionFormatError:
    """Return the error for a field of a file that is not as the program writes it."""
    return SessionFormatError(path, "bad_field", f"{path.name}: {field} {problem}", hint)


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


def check_traces(file: Hdf5, names: Iterable[str], *, is_transposed: bool) -> tuple[int, int]:
    """Return the numbers of frames and regions of traces that must agree in shape.

    Parameters
    ----------
    is_transposed
        Whether they are stored as (region, frame).

    Raises
    ------
    SessionFormatError
        They are no matrices of numbers, or differ in shape.
    """
    shapes = {}
    axes = "(region, frame)" if is_transposed else "(frame, region)"
    for name in names:
        item = file.find(name)
        if len(item.shape) != 2 or item.dtype.kind not in "fiu":
            raise wrong(file.path, name, f"is {item.shape} {item.dtype}; numbers {axes} expected")
        shapes[name] = tuple(int(n) for n in item.shape)
    if not shapes:
        raise wrong(file.path, "traces", "are missing", "was the extraction run to its end?")
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise wrong(file.path, "traces", f"differ in shape: {listed}; one shape {axes} expected")
    shape = next(iter(shapes.values()))
    n_frames, n_regions = shape[::-1] if is_transposed else shape
    if n_frames > MAX_ROWS or n_regions > MAX_COLUMNS:
        found = f"are {n_frames:,} frames of {n_regions:,} regions"
        raise wrong(file.path, "traces", f"{found}; at most {MAX_ROWS:,} of {MAX_COLUMNS:,}")
    return n_frames, n_regions


def hdf5_rows(file: Hdf5, names: Mapping[str, str], *, is_transposed: bool) -> Any:
    """Return `Extraction.rows` for series of the names in the file."""

    def rows(series: str, regions: np.ndarray) -> Rows:
        return Hdf5Rows(file, names[series], regions, is_transposed=is_transposed)

    return rows


# -- masks ---------------------------------------------------------------------------
def sparse_masks(
    path: Path,
    field: str,
    matrix: tuple[np.ndarray, np.ndarray, np.ndarray],
    size: tuple[int, int],
    n_regions: int,
) -> Masks:
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
    if len(pixel) and not 0 <= int(pixel.min()) <= int(pixel.max()) < height * width:
        found = f"{pixel.min()} to {pixel.max()}"
        raise wrong(path, field, f"has pixels {found}; the image is {height} × {width}")
    _check_size(path, field, size, len(values))
    yx = np.stack([pixel % height, pixel // height], axis=1).astype(np.int16)
    weight = values.astype(np.float32)
    return [
        (yx[a:b][weight[a:b] != 0], weight[a:b][weight[a:b] != 0])
        for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]


def image_masks(path: Path, field: str, images: Iterable[np.ndarray]) -> Masks:
    """Return masks from one image (height, width) for each region, read one by one."""
    masks: Masks = []
    n_pixels = 0
    for image in images:
        known = np.nan_to_num(image.astype(np.float32), posinf=0.0, neginf=0.0)
        yx = np.argwhere(known)
        n_pixels += len(yx)
        _check_size(path, field, known.shape, n_pixels)
        masks.append((yx.astype(np.int16), known[tuple(yx.T)]))
    return masks


def _check_size(path: Path, field: str, size: tuple[int, ...], n_pixels: int) -> None:
    if max(size) > np.iinfo(np.int16).max or n_pixels > MAX_PIXELS:
        found = f"has {n_pixels:,} pixels on an image {size}"
        raise wrong(path, field, f"{found}; at most {MAX_PIXELS:,} are read", "cut the image")
