"""Minian: a folder of zarr groups, one for each result (`A.zarr`, `C.zarr`, `S.zarr`)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.readers.roi.extraction import Extraction, Masks, image_masks, wrong
from omnimouse_model.storage.arrays.row_source import Rows, pick_in_blocks
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray, ZarrGroup
from omnimouse_model.storage.files import is_file, is_folder
from omnimouse_model.storage.tables import csv_rows

_SERIES = {"S": "deconvolved activity", "C": "denoised traces"}
_MASKS, _IMAGE, _REGION, _FRAME = "A", "max_proj", "unit_id", "frame"
_TIMES, _NUMBER, _TIME_MS = "timeStamps.csv", "Frame Number", "Time Stamp (ms)"
_MAX_CSV_BYTES = 64 * 2**20
_AXES = "_ARRAY_DIMENSIONS"
"""Attribute in which xarray stores the names of axes in format 2."""


def recognises(folder: Path) -> bool:
    """Return whether a folder holds the masks and traces of Minian."""
    groups = [is_folder(folder / f"{name}.zarr") for name in (_MASKS, *_SERIES)]
    return groups[0] and any(groups[1:])


class _RegionRows:
    """Traces (frame, region) of some regions of a zarr array with any axes; see `Rows`."""

    def __init__(self, array: ZarrArray, regions: np.ndarray, *, is_transposed: bool) -> None:
        self._array, self._regions, self._is_transposed = array, regions, is_transposed
        self.path, self.dtype = array.path, array.dtype
        self.shape: tuple[int, ...] = (array.shape[1 if is_transposed else 0], len(regions))

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        self._array.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return frames `first` to `stop` (exclusive)."""
        frames = slice(first, stop)
        if self._is_transposed:
            return self._array.part((slice(None), frames)).T[:, self._regions]
        return self._array.part((frames,))[:, self._regions]

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered frames of a slice of regions."""
        height = self._array.chunk[1 if self._is_transposed else 0]
        return pick_in_blocks(lambda a, b: self.read(a, b)[:, columns], rows, height)


def extract(folder: Path, notes: Notes) -> Extraction:
    """Return the regions of a folder of Minian."""
    arrays = {
        name: _group(folder, name).array(name)
        for name in _SERIES
        if is_folder(folder / f"{name}.zarr")
    }
    turned = {name: _is_transposed(folder, name, array) for name, array in arrays.items()}
    shapes = {n: a.shape[::-1] if turned[n] else a.shape for n, a in arrays.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise wrong(folder, "traces", f"differ in shape: {listed}; one (frame, region) expected")
    name = next(iter(arrays))
    n_regions = shapes[name][1]
    group = _group(folder, name)

    def rows(series: str, regions: np.ndarray) -> Rows:
        return _RegionRows(arrays[series], regions, is_transposed=turned[series])

    read_rate = partial(_rate, folder, group, shapes[name][0])
    return Extraction(
        program="Minian",
        format="minian",
        path=folder,
        series={name: _SERIES[name] for name in arrays},
        rows=rows,
        n_regions=n_regions,
        unit_id=_ids(folder, group, n_regions),
        rate_hz=read_side_stream(_TIMES, read_rate, notes),
        rate_source=_TIMES,
        masks=read_side_stream("the masks", partial(_masks, folder, n_regions), notes),
        image=read_side_stream("the image", partial(_image, folder), notes),
        image_name=f"the maximum over time ({_IMAGE})",
    )


def _group(folder: Path, name: str) -> ZarrGroup:
    return ZarrGroup(folder / f"{name}.zarr", formats=(2, 3))


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


def _ids(folder: Path, group: ZarrGroup, n_regions: int) -> np.ndarray:
    if not group.has(_REGION):
        return np.arange(n_regions)
    ids = group.array(_REGION).part()
    if ids.shape != (n_regions,) or ids.dtype.kind not in "iu":
        found = f"is {ids.shape} {ids.dtype}"
        raise wrong(folder, _REGION, f"{found}; ({n_regions},) whole numbers expected")
    return ids.astype(np.int64)


def _masks(folder: Path, n_regions: int, notes: Notes) -> Masks:
    array, field = _group(folder, _MASKS).array(_MASKS), f"{_MASKS}.zarr"
    axes = _axes(array) or (_REGION, "height", "width")
    is_sound = axes == (_REGION, "height", "width") and array.dtype.kind in "fiu"
    if not is_sound or array.shape[0] != n_regions:
        found = f"is {array.shape} {array.dtype} of {', '.join(axes)}"
        raise wrong(folder, field, f"{found}; {n_regions} images (height, width) expected")

    # A chunk holds many regions: each is unpacked once.
    def images() -> Iterator[np.ndarray]:
        for first in range(0, n_regions, array.chunk[0]):
            yield from array.read(first, first + array.chunk[0])

    return image_masks(folder, field, images())


def _image(folder: Path, notes: Notes) -> np.ndarray | None:
    if not is_folder(folder / f"{_IMAGE}.zarr"):
        return None
    image = _group(folder, _IMAGE).array(_IMAGE).part()
    if image.ndim != 2 or image.dtype.kind not in "fiu":
        raise wrong(folder, _IMAGE, f"is {image.shape} {image.dtype}; an image expected")
    return image


def _rate(folder: Path, group: ZarrGroup, n_frames: int, notes: Notes) -> float | None:
    """Return the mean rate of the frames in the table of times, None without one."""
    path = folder / _TIMES
    if not is_file(path):
        return None
    try:
        table = csv_rows(path, (_NUMBER, _TIME_MS), _MAX_CSV_BYTES)
        times = {int(number): float(time) for number, time in table}
    except ValueError as error:
        found = f"has no columns of numbers {_NUMBER!r} and {_TIME_MS!r}"
        raise wrong(folder, _TIMES, f"{found}: {str(error)[:80]}") from error
    frames = group.array(_FRAME).part() if group.has(_FRAME) else np.arange(n_frames)
    known = np.array([times.get(int(frame), np.nan) for frame in frames.reshape(-1).tolist()])
    steps = np.diff(known)
    if len(known) != n_frames or n_frames < 2 or not (steps > 0).all():
        n_missing = int(np.isnan(known).sum())
        found = f"has no increasing times of {n_frames:,} frames ({n_missing:,} missing)"
        raise wrong(folder, _TIMES, found, "state the rate: rate_hz=…, or --rate-hz")
    step = float(known[-1] - known[0]) / (n_frames - 1)
    if steps.max() > 1.5 * step:
        notes.warn(
            "uneven_frames",
            f"{_TIMES}: frames are up to {steps.max():.4g} ms apart, {step:.4g} ms in the mean; "
            "they are taken as even",
        )
    return 1000.0 / step
