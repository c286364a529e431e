"""Writes small NWB files for tests with h5py alone, of every kind a reader may meet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

PIXEL = np.dtype([("x", "<u4"), ("y", "<u4"), ("weight", "<f4")])
VOXEL = np.dtype([("x", "<u4"), ("y", "<u4"), ("z", "<u4"), ("weight", "<f4")])


@dataclass
class Samples:
    """Clock and unit of a series."""

    rate_hz: float = 20.0
    start: float = 0.0
    unit: str = "a.u."
    timestamps: np.ndarray | None = None
    conversion: float = 1.0
    offset: float = 0.0


@dataclass
class Plane(Samples):
    """One imaging plane with its regions and series."""

    rate_hz: float = 10.0
    start: float = 2.0
    n: int = 5
    seconds: float = 30.0
    mask: str = "pixel_mask"
    location: str = "VISp"
    order: tuple[int, ...] | None = None
    series: tuple[str, ...] = ("RoiResponseSeries",)
    origin: bool = True


def typed_group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    """A group of a neurodata type."""
    group = parent.require_group(name)
    group.attrs["neurodata_type"] = kind
    return group


def write_nwb(path: Path, *planes: Plane, changes: dict[str, Any] | None = None) -> Path:
    """Write an NWB file of some planes, else of one, and return its path.

    Equal planes hold equal numbers; `changes` are those of `edit`.
    """
    draw = np.random.default_rng(4)
    with h5py.File(path, "w") as file:
        file.attrs["neurodata_type"] = "NWBFile"
        file.attrs["nwb_version"] = "2.7.0"
        file["identifier"] = "an-identifier"
        file["general/session_id"] = "77-1-2"
        typed_group(file, "general/subject", "Subject")["subject_id"] = "77"
        for number, plane in enumerate(planes or (Plane(),)):
            _write_plane(file, number, plane, draw)
    return edit(path, changes or {})


def _write_plane(file: h5py.File, number: int, plane: Plane, draw: Any) -> None:
    imaging = typed_group(file, f"general/optophysiology/p{number}", "ImagingPlane")
    imaging["location"] = plane.location
    if plane.origin:
        imaging["origin_coords"] = np.array([100.0, 200.0, 300.0])
        imaging["grid_spacing"] = np.array([2e-6, 3e-6])
        imaging["origin_coords"].attrs["unit"] = "micrometers"
        imaging["grid_spacing"].attrs["unit"] = "meters"
    ophys = typed_group(file, "processing/ophys", "ProcessingModule")
    segmentation = typed_group(ophys, "ImageSegmentation", "ImageSegmentation")
    table = typed_group(segmentation, f"S{number}", "PlaneSegmentation")
    table["id"] = np.arange(plane.n) + 10 * (number + 1)
    table["imaging_plane"] = h5py.SoftLink(imaging.name)
    _write_masks(table, plane, draw)
    container = typed_group(ophys, "Fluorescence", "Fluorescence")
    for name in plane.series:
        series = typed_group(container, f"{name}{number}", "RoiResponseSeries")
        n = int(plane.seconds * plane.rate_hz)
        data = draw.gamma(1.0, 2.0, (n, plane.n)).astype(np.float32)
        write_samples(series, data, plane)
        order = np.arange(plane.n) if plane.order is None else np.array(plane.order)
        series["rois"] = order
        series["rois"].attrs["table"] = table.ref


def write_samples(series: h5py.Group, data: np.ndarray, about: Samples) -> None:
    """Data and clock of a series."""
    series["data"] = data
    for name in ("conversion", "offset", "unit"):
        series["data"].attrs[name] = getattr(about, name)
    if about.timestamps is not None:
        series["timestamps"] = about.timestamps
    else:
        series["starting_time"] = about.start
        series["starting_time"].attrs["rate"] = about.rate_hz


def _write_masks(table: h5py.Group, plane: Plane, draw: Any) -> None:
    size = draw.integers(3, 9, plane.n)
    if plane.mask == "image_mask":
        images = np.zeros((plane.n, 40, 60), np.float32)
        for image, count in zip(images, size, strict=True):
            places = draw.choice(2400, count, replace=False)
            image.reshape(-1)[places] = draw.random(count)
        table["image_mask"] = images
    elif plane.mask:
        kind = VOXEL if plane.mask == "voxel_mask" else PIXEL
        pixels = np.zeros(size.sum(), kind)
        for name in kind.names:
            pixels[name] = draw.integers(1, 40, len(pixels))
        table[plane.mask] = pixels
        table[f"{plane.mask}_index"] = np.cumsum(size)


def add_series(
    path: Path, name: str, data: np.ndarray, kind: str = "TimeSeries", **about: Any
) -> None:
    """Add a series to a file."""
    with h5py.File(path, "a") as file:
        write_samples(typed_group(file, name, kind), data, Samples(**about))


def add_table(path: Path, name: str, on: Any, off: Any, **columns: Any) -> Path:
    """Add a table of intervals to a file."""
    with h5py.File(path, "a") as file:
        table = typed_group(file, f"intervals/{name}", "TimeIntervals")
        for key, values in {"start_time": on, "stop_time": off, **columns}.items():
            table[key] = np.asarray(values)
    return path


def edit(path: Path, changes: dict[str, Any]) -> Path:
    """Change parts of a file by name, and return its path.

    A value, a link or a function of the present value takes the place of a dataset, whose
    attributes stay; None removes it. "name@attribute" is an attribute.
    """
    with h5py.File(path, "a") as file:
        for place, value in changes.items():
            name, _, attribute = place.partition("@")
            if attribute:
                file[name].attrs[attribute] = value
                continue
            about: dict[str, Any] = {}
            if file.get(name, getlink=True) is not None:
                here = file.get(name)
                about = dict(here.attrs) if isinstance(here, h5py.Dataset) else {}
                value = value(here[()]) if callable(value) else value
                del file[name]
            if value is None:
                continue
            file[name] = value
            if about and isinstance(file.get(name, getlink=True), h5py.HardLink):
                file[name].attrs.update(about)
    return path
