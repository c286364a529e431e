"""Reader of the neurons of an NWB file: masks, areas, positions, cell flags."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Roi, Units
from omnimouse_model.data.readers.build import neurons
from omnimouse_model.data.readers.build.checked_values import MAX_PIXELS, text_of, texts_of
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.nwb.file import (
    Group,
    NwbFile,
    last_name,
    region_rows,
    region_table,
)
from omnimouse_model.data.signal import Signal
from omnimouse_model.storage.arrays.hdf5 import SCALAR_BYTES
from omnimouse_model.storage.files import check_most

AREAS = {"VISp": "V1", "VISl": "LM", "VISal": "AL", "VISrl": "RL", "VISam": "AM", "VISpm": "PM"}
"""Area names of the Allen atlas -> area names used here."""

_QUALITY = ("iscell", "is_cell", "accepted", "is_accepted", "is_soma", "valid_roi")
_NO_QUALITY = ("rejected", "is_rejected")
"""Columns that mark cells, best first, and columns that mark other regions."""
_TRUE = frozenset({"1", "true", "yes", "accepted", "cell", "soma"})
NO_AREA = frozenset({"unknown", "none", "na", "n/a", "n.a.", "unspecified"})
_AREA_COLUMNS = ("location", "brain_area", "brain_region", "area")
"""Columns of texts with the area of each row, best first; numbers may be sizes."""
_MASKS = ("pixel_mask", "image_mask", "voxel_mask")
# Beginning of a unit's name -> factor to µm.
_MICRONS = {"micro": 1.0, "um": 1.0, "µm": 1.0, "milli": 1e3, "mm": 1e3, "met": 1e6}
_MOST_SPACING_UM = 1000.0
_MAX_MASK_BYTES = 4 * 2**30
_BLOCK_BYTES = 32 * 2**20


SPECIMEN_ID = "cell_specimen_id"
"""Column of the tables of the Allen Institute, -1 for cells without one."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaneUnits:
    """Regions of one series that are read, in the order of its columns.

    Attributes
    ----------
    columns
        int64 (n,) columns of the series.
    unit_id
        int64 (n,) ids of the table.
    location
        Brain area of the plane as stored, "" if unknown.
    area
        str (n,) areas as the table of regions states them, or None.
    table, imaging_plane
        Full names of the table and of its imaging plane, "" if unknown.
    image_size
        Height and width of the image masks, None without any.
    xy_px, xyz_um
        float32 (n, 2) and (n, 3) positions, NaN if unknown.
    roi
        Pixels of every region, none without masks.
    specimen_id
        int64 (n,) ids of the same cells in other recordings, as the Allen Institute
        stores them, or None.
    """

    columns: np.ndarray
    unit_id: np.ndarray
    location: str
    table: str
    imaging_plane: str
    image_size: tuple[int, int] | None
    xy_px: np.ndarray
    xyz_um: np.ndarray
    roi: Roi
    specimen_id: np.ndarray | None = None
    area: np.ndarray | None = None


def read_units(nwb: NwbFile, series: Group, n: int, name: str, *, cells_only: bool) -> PlaneUnits:
    """Read the regions of the n columns of a series, or of those that are cells.

    Raises
    ------
    SessionFormatError
        If the `rois` of the series do not fit its columns or its table.
    """
    table = region_table(nwb, series)
    if table is None:
        nwb.notes.warn(
            "no_regions",
            f"{series.name} has no rois, which name its regions in a table: they are "
            "numbered from 0, without masks and positions",
        )
        planes = [*nwb.groups_of("ImagingPlane")]
        plane = planes[0] if len(planes) == 1 else None
        ids = rows = np.arange(n)
        is_cell = np.ones(n, bool)
    else:
        plane = nwb.part(table, "imaging_plane")
        ids = _ids(nwb, table)
        rows = _table_rows(nwb, series, table, ids, n)
        is_cell = _quality(nwb, table, len(ids))[rows]
    neurons.note_no_cells(n, int(is_cell.sum()), nwb.notes, where=name, cells_only=cells_only)
    columns = np.flatnonzero(is_cell) if cells_only else np.arange(n)
    rows = rows[columns]
    found = specimens = None
    if table is not None:
        column = f"the column of masks of {table.name}"
        found = nwb.notes.attempt(column, _masks, nwb, table, rows, len(ids))
        specimens = nwb.column(table, SPECIMEN_ID, len(ids))
    unknown = Roi.none(len(rows)), np.full((len(rows), 3), np.nan), None
    roi, centre, image_size = found or unknown
    if specimens is not None:
        specimens = np.where(np.isfinite(specimens), specimens, -1)[rows].astype(np.int64)
    location, xyz = _place(nwb, plane, centre)
    areas = None if table is None else areas_of_rows(nwb, table, len(ids))
    return PlaneUnits(
        columns=columns,
        unit_id=ids[rows],
        location=location,
        table="" if table is None else str(table.name),
        imaging_plane="" if table is None or plane is None else str(plane.name),
        image_size=image_size,
        xy_px=centre[:, :2].astype(np.float32),
        xyz_um=xyz,
        roi=roi,
        specimen_id=specimens,
        area=None if areas is None else areas[rows],
    )


def areas_of_rows(nwb: NwbFile, table: Group, n: int) -> np.ndarray | None:
    """Return the areas str (n,) of the n rows of a table, "" if unknown; None without them."""
    stored = {name.lower(): name for name in nwb.names(table)}
    for column in _AREA_COLUMNS:
        texts = nwb.texts(table, stored[column], n) if column in stored else None
        names = [text.strip() for text in texts or ()]
        names = ["" if name.lower() in NO_AREA else name for name in names]
        if any(names):
            return np.array(names, np.str_)
    return None


def _table_rows(nwb: NwbFile, series: Group, table: Group, ids: np.ndarray, n: int) -> np.ndarray:
    """Return the rows of the table that are the n columns of a series."""
    rows = region_rows(nwb, series)
    if len(rows) != n:
        raise nwb.wrong(series, f"has {len(rows)} rois for {n} columns")
    if n and (rows.min() < 0 or rows.max() >= len(ids)):
        found = f"has rois from {rows.min()} to {rows.max()}; {table.name} has {len(ids)} rows"
        if len(np.unique(ids)) < len(ids) or not np.isin(rows, ids).all():
            raise nwb.wrong(series, found, "rois are rows of that table, from 0")
        nwb.notes.warn("rois_are_ids", f"{series.name} {found}: they are read as its ids")
        order = np.argsort(ids)
        rows = order[np.searchsorted(ids, rows, sorter=order)]
    if repeats := n - len(np.unique(rows)):
        nwb.notes.warn(
            "repeated_regions",
            f"{series.name}: {repeats} of {n} columns have a region that another "
            "column has too: each column is read as a neuron, so these count twice",
        )
    return rows


def _ids(nwb: NwbFile, table: Group) -> np.ndarray:
    """Return the ids of a table's rows, int64; row numbers if they are no numbers."""
    stored = nwb.file.table(f"{table.name}/id").reshape(-1)
    if stored.dtype.kind not in "iuf":
        try:
            stored = np.array([int(text) for text in texts_of(stored)], np.int64)
        except (ValueError, OverflowError):
            return _row_numbers(table, len(stored), "texts", nwb.notes)
    ids = stored.astype(np.int64)
    if (ids.astype(stored.dtype) != stored).any() or (ids < 0).any() != (stored < 0).any():
        return _row_numbers(table, len(stored), "no integers of 64 bits", nwb.notes)
    return ids


def _row_numbers(table: Group, n: int, found: str, notes: Notes) -> np.ndarray:
    notes.assume("unit_ids", f"ids of {table.name} are {found}: neurons have their row numbers")
    return np.arange(n)


def _quality(nwb: NwbFile, table: Group, n: int) -> np.ndarray:
    """Return which rows of a table are cells, bool (n,); all without such a column.

    Where none marks a cell, regions that another column does not reject are read.
    """
    stored = {name.lower(): name for name in nwb.names(table)}
    is_cell: np.ndarray | None = None
    for column in (*_QUALITY, *_NO_QUALITY):
        of_others, is_unsorted = column in _NO_QUALITY, is_cell is not None
        if column not in stored or (is_unsorted and not of_others):
            continue
        where = f"{table.name}/{stored[column]}"
        values = np.zeros(0) if nwb.part(table, stored[column]) is None else nwb.file.table(where)
        if not values.shape or len(values) != n or not n:
            continue
        # `iscell` may have the columns of suite2p: flag, probability.
        values = values.reshape(n, -1)[:, 0]
        if values.dtype.kind in "biuf":
            is_cell = neurons.cell_marks(values, where, nwb.notes, of_others=of_others)
        else:
            is_cell = np.array([text.lower() in _TRUE for text in texts_of(values)]) != of_others
        if is_unsorted and is_cell.any():
            nwb.notes.warn(
                "not_sorted",
                f"no region is marked as a cell, and {where} rejects {n - is_cell.sum()} of {n}: "
                "the others were not sorted yet, and are read as cells",
            )
        if is_cell.any() or of_others:
            break
    return np.ones(n, bool) if is_cell is None else is_cell


# -- masks ---------------------------------------------------------------------------
def _masks(
    nwb: NwbFile, table: Group, rows: np.ndarray, n: int
) -> tuple[Roi, np.ndarray, tuple[int, int] | None] | None:
    """Return the masks of rows of a table of n rows, of any of the three kinds in NWB.

    Also return their centres float64 (row, 3), x, y and depth, and the size of image masks.

    Raises
    ------
    SessionFormatError
        If the masks are damaged, or have too many pixels.
    """
    kind = next((m for m in _MASKS if nwb.file.find(m, table) is not None), "")
    size = None
    if kind == "image_mask":
        images = _checked_images(nwb, table, n)
        if images is None:
            return None
        first, second = images.shape[1:]
        is_mirrored = _are_images_mirrored(nwb, table, first, second)
        size = (second, first) if is_mirrored else (first, second)
        # An image is read once, also if several columns have it.
        image_rows, order = np.unique(rows, return_inverse=True)
        roi = neurons.image_masks(nwb.file.path, str(images.name), _images(nwb, images, image_rows))
        taken = order.reshape(-1)
    elif kind:
        # Values of a ragged column: all pixels, and the end of each row.
        values = nwb.file.table(f"{table.name}/{kind}")
        depth = ("z",) if kind == "voxel_mask" else ()
        fields = ("x", "y", "weight", *depth)
        if not set(fields) <= set(values.dtype.names or ()):
            raise nwb.wrong(table, f"has a {kind} without {', '.join(fields)}")
        ends = nwb.ends(table, kind, n, len(values))
        is_mirrored = _are_pixels_mirrored(nwb, table, values)
        # Clipped before the cast to int16, which would wrap large values.
        axes = [values[name].astype(np.int64) for name in ("y", "x", *depth)]
        place = np.clip(np.stack(axes, axis=1), 0, 32767).astype(np.int16)
        weight = np.nan_to_num(values["weight"].astype(np.float32))
        roi, taken = Roi(np.append(0, ends), place, weight), rows
    else:
        nwb.notes.assume("no_masks", f"{table.name} holds no masks of its regions")
        return None
    # Rows may repeat, so the count is taken over these, not over the table.
    n_pixels = int(np.diff(roi.offsets)[taken].sum())
    check_most(nwb.file.path, n_pixels, MAX_PIXELS, f"pixels in masks of {table.name}")
    roi = roi.select(taken)
    place = np.pad(roi.yx, ((0, 0), (0, 3 - roi.yx.shape[1])))  # a depth of 0
    place = place[:, [1, 0, 2]] if is_mirrored else place
    owner = np.repeat(np.arange(len(rows)), np.diff(roi.offsets))
    total = np.bincount(owner, roi.weight, len(rows))
    sums = [np.bincount(owner, roi.weight * axis, len(rows)) for axis in place.T]
    centre = np.full((len(rows), 3), np.nan)
    centre[total > 0] = (np.stack(sums, axis=1)[total > 0] / total[total > 0, None])[:, [1, 0, 2]]
    return Roi(roi.offsets, place[:, :2], roi.weight), centre, size


def _images(nwb: NwbFile, images: Any, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images of ascending rows, which are read in blocks of limited size."""
    at_once = max(1, _BLOCK_BYTES // (8 * images.shape[1] * images.shape[2]))
    for block in np.split(rows, np.flatnonzero(np.diff(rows // at_once)) + 1):
        if len(block):
            stored = nwb.file.read(images, slice(int(block[0]), int(block[-1]) + 1))
            yield from stored[block - block[0]]


def _image_size(nwb: NwbFile, table: Group) -> tuple[int, int, str] | None:
    """Return height and width of the imaged field and their source, None if unknown.

    They come from images beside the table, or from the raw series. By the schema the
    first axis is x, but programs store (height, width), except for neuroconv.
    """
    shapes: dict[tuple[int, ...], str] = {}
    for image in nwb.groups_of("GrayscaleImage", "Image"):
        shape = _stored_shape(nwb, nwb.file.root, str(image.name))
        if "/processing/" in image.name and len(shape) == 2:
            shapes.setdefault(shape, str(image.name))
    is_mirrored = nwb.generator() == "neuroconv"
    if not shapes:
        plane = nwb.part(table, "imaging_plane")
        for series in nwb.groups_of("TwoPhotonSeries", "OnePhotonSeries"):
            own = nwb.part(series, "imaging_plane")
            if plane is None or own is None or own.name != plane.name:
                continue
            shape = _stored_shape(nwb, series, "data")
            if len(shape) == 3 and all(shape):
                shapes.setdefault(shape[1:], str(series.name))
            elif nwb.part(series, "dimension") is not None:
                # Also of neuroconv (height, width).
                stored = nwb.file.table(f"{series.name}/dimension", SCALAR_BYTES)
                if stored.shape in ((2,), (3,)) and stored.dtype.kind in "iu":
                    height, width = stored.tolist()[:2]
                    shape = (width, height) if is_mirrored else (height, width)
                    shapes.setdefault(shape, str(series.name))
    # Images of several sizes do not tell which of them is that of this table.
    if len(shapes) != 1:
        return None
    ((first, second), source) = next(iter(shapes.items()))
    return (second, first, source) if is_mirrored else (first, second, source)


def _stored_shape(nwb: NwbFile, group: Group, name: str) -> tuple[int, ...]:
    """Return the shape of a dataset, () if its values lie in another file."""
    # Not of the object of the walk: the shape of a virtual dataset opens other files.
    found = nwb.part(group, name)
    return tuple(getattr(found, "shape", None) or ())


def _checked_images(nwb: NwbFile, table: Group, n: int) -> Any:
    """Return the image masks of n regions, None if they are too large."""
    images = nwb.file.dataset(f"{table.name}/image_mask")
    if len(images.shape) != 3 or images.shape[0] != n:
        raise nwb.wrong(table, f"has image masks {images.shape} for {n} regions")
    if not images.size or images.dtype.kind not in "fiub":
        raise nwb.wrong(table, f"has image masks {images.shape} of {images.dtype}")
    if images.size * images.dtype.itemsize > _MAX_MASK_BYTES:
        text = f"{images.name} is {images.shape}: too large to be read at opening"
        nwb.notes.warn("masks_not_read", text)
        return None
    return images


def _are_images_mirrored(nwb: NwbFile, table: Group, first: int, second: int) -> bool:
    """Return whether image masks are (width, height), and state why.

    Programs differ; the schema says (x, y), that is (width, height).
    """
    axes, reason = "(height, width), as most programs store them", ""
    size = _image_size(nwb, table)
    if nwb.generator() == "neuroconv":
        axes, reason = "(width, height)", "neuroconv stores them so"
    elif size is not None and size[0] != size[1] and size[:2] == (first, second):
        axes, reason = "(height, width)", f"as {size[2]}"
    elif size is not None and size[0] != size[1] and size[1::-1] == (first, second):
        axes = "(width, height)"
        reason = f"{size[2]} has {size[0]} rows and {size[1]} columns"
    text = f"{table.name}: image masks {first} × {second} are taken as {axes}"
    nwb.notes.assume("mask_orientation", f"{text}: {reason}" if reason else text)
    return axes == "(width, height)"


def _are_pixels_mirrored(nwb: NwbFile, table: Group, values: np.ndarray) -> bool:
    """Return whether x of the pixels is the row, and state why.

    By the schema x is the column; suite2p and neuroconv store (row, column).
    """
    if not len(values):
        return False
    x, y = (int(np.nanmax(values[name])) for name in ("x", "y"))
    program = nwb.generator()
    text = text_of(nwb.file.attribute(table, "description", ""))
    if not program and text.lower() == "suite2p output":
        program = "suite2p"
    size = _image_size(nwb, table)
    is_mirrored, reason = bool(program), f"{program} stores them so"
    if size is not None:
        # Pixels may be numbered from 1.
        fits = x <= size[1] and y <= size[0]
        fits_mirrored = x <= size[0] and y <= size[1]
        if fits != fits_mirrored:
            is_mirrored = fits_mirrored
            reason = f"only so they fit {size[2]}, {size[0]} rows and {size[1]} columns"
    if program or is_mirrored:
        meaning = "row and column" if is_mirrored else "column and row"
        text = f"{table.name}: x and y of the masks are taken as {meaning}: {reason}"
        nwb.notes.assume("mask_orientation", text)
    return is_mirrored


def _place(nwb: NwbFile, plane: Group | None, centre: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the location of an imaging plane and positions in µm (n, 3).

    Positions are origin + grid spacing · centre, NaN if the plane lacks either.
    """
    unknown = np.full((len(centre), 3), np.nan, np.float32)
    if plane is None:
        return "", unknown
    location = nwb.text(f"{plane.name}/location").strip()
    location = "" if location.lower() in NO_AREA else location
    origin = _microns(nwb, plane, "origin_coords")
    spacing = _microns(nwb, plane, "grid_spacing")
    if spacing is not None and np.abs(spacing).max(initial=0.0) > _MOST_SPACING_UM:
        nwb.notes.warn(
            "grid_spacing",
            f"{plane.name} has a grid_spacing of {spacing[0] / 1e6:.4g} m per pixel, "
            "too much for a microscope: without positions (store it in meters)",
        )
        spacing = None
    if origin is None or spacing is None or len(origin) < 2 or len(spacing) < 2:
        nwb.notes.assume(
            "no_positions",
            f"{plane.name} has no origin_coords and grid_spacing: positions are pixels",
        )
        return location, unknown
    # With a spacing of two axes, depth is the same for the plane; with an origin of
    # two axes, it is unknown.
    step = np.append(spacing, 0.0)[:3]
    corner = np.append(origin, np.nan)[:3]
    return location, (corner + step * centre).astype(np.float32)


def _microns(nwb: NwbFile, plane: Group, name: str) -> np.ndarray | None:
    if nwb.part(plane, name) is None:
        return None
    values = nwb.file.table(f"{plane.name}/{name}")
    unit = text_of(nwb.file.attribute(nwb.file.find(name, plane), "unit", "meters")).lower()
    factor = next((f for word, f in _MICRONS.items() if unit.startswith(word)), None)
    if factor is None or values.dtype.kind not in "fiu":
        return None
    return values.reshape(-1).astype(np.float64) * factor


# -- all planes ----------------------------------------------------------------------
def units_of_planes(planes: list[PlaneUnits], responses: Signal, notes: Notes) -> Units:
    """Return the neurons of all planes."""
    counts = [len(plane.unit_id) for plane in planes]
    area, source = None, ""
    tables = [plane.table for plane in planes if plane.area is not None]
    # Regions without a name of their own have that of their plane.
    own = [np.full(len(p.unit_id), "") if p.area is None else p.area for p in planes]
    names = [np.where(a == "", p.location, a) for p, a in zip(planes, own, strict=True)]
    every = np.concatenate(names).tolist()
    if any(every):
        # Names outside the table of areas stay as stored.
        area = np.array([AREAS.get(name, name) for name in every], np.str_)
        where = f"those of the regions in {', '.join(dict.fromkeys(tables))}" if tables else ""
        unnamed = [p.location for p, a in zip(planes, own, strict=True) if "" in a and p.location]
        planes_say = f"the planes' locations ({', '.join(dict.fromkeys(unnamed))})"
        said = [where, planes_say if unnamed else ""]
        source = ", ".join(dict.fromkeys([*tables, *["ImagingPlane.location"] * bool(unnamed)]))
        notes.assume("area_names", f"areas are {' and '.join(filter(None, said))}")
    has_unknown = not all(plane.location for plane in planes)
    if len(planes) > 1 and has_unknown and len(tables) < len(planes):
        notes.warn("no_areas", "some planes do not say which area they cover")
    roi = Roi.joined([plane.roi for plane in planes])
    n_empty = int((np.diff(roi.offsets) == 0).sum())
    if 0 < n_empty < sum(counts):
        text = f"the masks of {n_empty} of {sum(counts)} regions hold no pixels"
        notes.warn("empty_masks", text)
    units = neurons.make_units(
        responses,
        notes,
        unit_id=np.concatenate([plane.unit_id for plane in planes]),
        area=area,
        area_source=source,
        plane=np.repeat(np.arange(len(planes)), counts),
        xyz_um=np.concatenate([plane.xyz_um for plane in planes]),
        xy_px=np.concatenate([plane.xy_px for plane in planes]),
        roi=roi if n_empty < sum(counts) else None,
    )
    specimens = [plane.specimen_id for plane in planes if plane.specimen_id is not None]
    if len(specimens) < len(planes):
        return units
    return replace(units, properties={SPECIMEN_ID: np.concatenate(specimens)})


def mean_images(nwb: NwbFile, planes: list[PlaneUnits]) -> dict[str, np.ndarray]:
    """Return the mean image, empty if there are several planes or no image.

    With several planes, nothing tells to which of them an image belongs.
    """
    names = [
        str(item.name)
        for item in nwb.groups_of("GrayscaleImage", "Image")
        if "/processing/" in item.name and re.search(r"mean|average|avg", last_name(item), re.I)
    ]
    if len(planes) != 1 or not names:
        return {}
    image = nwb.notes.attempt("the mean image", nwb.file.table, names[0])
    if image is None or image.ndim != 2 or image.dtype.kind not in "fiu":
        return {}
    # neuroconv stores images as (width, height), like its masks.
    if nwb.generator() == "neuroconv" and image.shape != planes[0].image_size:
        image = image.T
    return {"mean": np.nan_to_num(image.astype(np.float32))} if image.size else {}
