"""CNMF-E and EXTRACT: structures of MATLAB files of version 7.3, which are HDF5.

HDF5 has the axes of MATLAB in the other order: an image (height, width, region) of
MATLAB is (region, width, height) in the file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.readers.roi.extraction import (
    Extraction,
    Masks,
    check_traces,
    hdf5_rows,
    image_masks,
    number,
    sparse_masks,
    stored,
    wrong,
)
from omnimouse_model.storage.arrays.hdf5 import Hdf5
from omnimouse_model.storage.byte_source import LocalFile

SUFFIXES = (".mat",)
_HIDDEN = "#"
"""Names that MATLAB uses for its own tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Fields of a structure that a program writes: those of traces with what they are."""

    program: str
    traces: Mapping[str, str]
    masks: str
    image: str
    is_transposed: bool


_LAYOUTS = (
    _Layout(
        program="EXTRACT",
        traces={"temporal_weights": "traces of EXTRACT"},
        masks="spatial_weights",
        image="info/summary_image",
        is_transposed=True,
    ),
    _Layout(
        program="EXTRACT",
        traces={"traces": "traces of EXTRACT"},
        masks="filters",
        image="info/summary_image",
        is_transposed=False,
    ),
    _Layout(
        program="CNMF-E",
        traces={"extractedSignals": "traces of CNMF-E"},
        masks="extractedImages",
        image="Cn",
        is_transposed=False,
    ),
    _Layout(
        program="CNMF-E",
        traces={
            "S": "deconvolved activity",
            "C": "denoised traces",
            "C_raw": "traces before denoising",
        },
        masks="A",
        image="Cn",
        is_transposed=False,
    ),
)
_RATES = ("Fs", "options/Fs", "P/Fs", "inputOptions/Fs")


def recognises(file: Hdf5) -> bool:
    """Return whether a structure of the file has the fields of a program."""
    return _found(file) is not None


def _found(file: Hdf5) -> tuple[str, _Layout] | None:
    """Return the name of the structure, and its layout."""
    with file.typed_errors("/"):
        # A damaged name is bytes, and none that MATLAB writes.
        names = [n for n in file.root if isinstance(n, str) and not n.startswith(_HIDDEN)]
    for name in names:
        if not hasattr(file.find(name), "keys"):
            continue
        for layout in _LAYOUTS:
            has_traces = any(stored(file, f"{name}/{field}") is not None for field in layout.traces)
            if has_traces and file.find(f"{name}/{layout.masks}") is not None:
                return name, layout
    return None


def extract(path: Path, notes: Notes) -> Extraction:
    """Return the regions of a file of CNMF-E or EXTRACT."""
    file = Hdf5(LocalFile(path))
    found = _found(file)
    if found is None:
        raise wrong(path, "traces", "are missing")
    top, layout = found
    names = {
        series: f"{top}/{series}"
        for series in layout.traces
        if stored(file, f"{top}/{series}") is not None
    }
    n_frames, n_regions = check_traces(file, names.values(), is_transposed=layout.is_transposed)
    read = partial(_masks, file, f"{top}/{layout.masks}", f"{top}/{layout.image}", n_regions)
    masks = read_side_stream("the masks", read, notes)
    image = read_side_stream("the image", partial(_image, file, f"{top}/{layout.image}"), notes)
    rate_hz, source = _rate(file, top, n_frames)
    is_extract = layout.program == "EXTRACT"
    # EXTRACT empties the masks of regions that it removes.
    accepted = np.array([len(w) > 0 for _, w in masks]) if is_extract and masks else None
    return Extraction(
        program=layout.program,
        format="extract" if is_extract else "cnmfe",
        path=path,
        series={series: layout.traces[series] for series in names},
        rows=hdf5_rows(file, names, is_transposed=layout.is_transposed),
        n_regions=n_regions,
        unit_id=np.arange(n_regions),
        rate_hz=rate_hz,
        rate_source=source,
        accepted=accepted,
        accepted_source="empty masks",
        masks=masks,
        image=image,
        image_name=layout.image,
    )


def _rate(file: Hdf5, top: str, n_frames: int) -> tuple[float | None, str]:
    """Return the stored rate and its field; that of the frames and the total time."""
    for name in _RATES:
        rate = number(file, f"{top}/{name}")
        if rate is not None:
            return rate, f"{top}/{name}"
    field = f"{top}/time/totalTime"
    seconds = number(file, field)
    return (n_frames / seconds, field) if seconds else (None, "")


def _image(file: Hdf5, name: str, notes: Notes) -> np.ndarray | None:
    if stored(file, name) is None:
        return None
    image = file.table(name)
    if image.ndim != 2 or image.dtype.kind not in "fiu":
        raise wrong(file.path, name, f"is {image.shape} {image.dtype}; an image expected")
    return image.T


def _masks(file: Hdf5, name: str, image: str, n_regions: int, notes: Notes) -> Masks | None:
    item = file.find(name)
    if hasattr(item, "keys"):
        return _sparse(file, name, image, n_regions)
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


def _sparse(file: Hdf5, name: str, image: str, n_regions: int) -> Masks | None:
    """Return the masks of a sparse matrix of MATLAB."""
    parts = [f"{name}/{part}" for part in ("data", "ir", "jc")]
    if any(stored(file, part) is None for part in parts):
        raise wrong(file.path, name, "is an object of MATLAB; an array or a matrix expected")
    with file.typed_errors(name):
        n_pixels = int(file.attribute(file.find(name), "MATLAB_sparse", 0))
    size = _image_size(file, name, image, n_pixels)
    values, pixels, ends = (file.table(part) for part in parts)
    return sparse_masks(file.path, name, (values, pixels, ends), size, n_regions)
