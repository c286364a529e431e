"""Reader of the neurons of an NWB file: masks, areas, positions, cell flags."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.readers.build.checked_values import MAX_PIXELS, text_of, texts_of
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.data.readers.nwb.series import region_rows, region_table
from omnimouse_model.storage.arrays.hdf5 import SCALAR_BYTES

if TYPE_CHECKING:
    import h5py

AREAS = {
    "VISp": "V1",
    "VISl": "LM",
    "VISal": "AL",
    "VISrl": "RL",
    "VISam": "AM",
    "VISpm": "PM",
}
"""Area names of the Allen atlas -> area names used here."""

_QUALITY = ("iscell", "is_cell", "accepted", "is_accepted", "is_soma", "valid_roi")
_NO_QUALITY = ("rejected", "is_rejected")
"""Columns that mark cells, best first, and columns that mark other regions."""
_TRUE = frozenset({"1", "true", "yes", "accepted", "cell", "soma"})
_NO_AREA = frozenset({"unknown", "none", "na", "n/a", "n.a.", "unspecified"})
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
    """Regions of one series, in the order of its columns.

    Attributes
    ----------
    unit_id
        int64 (n,) ids of the table.
    is_cell
        bool (n,).
    location
        Brain area of the plane as stored, "" if unknown.
    table, imaging_plane
        Full names of the table and of its imaging plane, "" if unknown.
    image_size
        Height and width of the image masks, None without any.
    xy_px, xyz_um
        float32 (n, 2) and (n, 3) positions, NaN if unknown.
    masks
        Pixels int16 (k, 2) and weights float32 (k,) of every region; empty arrays
        without masks.
    specimen_id
        int64 (n,) ids of the same cells in other recordings, as the Allen Institute
        stores them, or None.
    """

    unit_id: np.ndarray
    is_cell: np.ndarray
    location: str
    table: str
    imaging_plane: str
    image_size: tuple[int, int] | None
    xy_px: np.ndarray
    xyz_um: np.ndarray
    masks: list[tuple[np.ndarray, np.ndarray]]
    specimen_id: np.ndarray | None = None

    def select(self, rows: np.ndarray) -> "PlaneUnits":
        """Return only some regions."""
        return replace(
            self,
            unit_id=self.unit_id[rows],
            is_cell=self.is_cell[rows],
            xy_px=self.xy_px[rows],
            xyz_um=self.xyz_um[rows],
            masks=[self.masks[row] for row in rows.tolist()],
            specimen_id=None if self.specimen_id is None else self.specimen_id[rows],
        )


def read_units(nwb: NwbFile, series: "h5py.Group", n: int) -> PlaneUnits:
    """Read the regions of the n columns of a series.

    Raises
    ------
    SessionFormatError
        If the `rois` of the series do not fit its columns or its table.
    """
    table = region_table(nwb, series)
    if table is None:
        return _without_table(nwb, series, n)
    rows = region_rows(nwb, series)
    ids = _ids(nwb, table)
    if len(rows) != n:
        raise nwb.wrong(series, f"has {len(rows)} rois for {n} columns")
    if n and (rows.min() < 0 or rows.max() >= len(ids)):
        found = f"has rois up to {rows.max()}; {table.name} has {len(ids)} rows"
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
    # `rows` is the order of the columns; the table can have another order and more
    # regions.
    masks = nwb.notes.attempt(
        f"the column of masks of {table.name}", _masks, nwb, table, rows, len(ids)
    )
    pixels, image_size = masks or (_no_pixels(n), None)
    centre = np.array([_centre(*p) for p in pixels], np.float32).reshape(-1, 3)
    plane = nwb.part(table, "imaging_plane")
    location, xyz = _place(nwb, plane, centre)
    return PlaneUnits(
        unit_id=ids[rows],
        is_cell=_quality(nwb, table, len(ids))[rows],
        location=location,
        table=str(table.name),
        imaging_plane="" if plane is None else str(plane.name),
        image_size=image_size,
        xy_px=centre[:, :2],
        xyz_um=xyz,
        masks=[(place[:, :2], weight) for place, weight in pixels],
        specimen_id=_specimens(nwb, table, rows, len(ids)),
    )


def _specimens(
    nwb: NwbFile, table: "h5py.Group", rows: np.ndarray, n_rows: int
) -> np.ndarray | None:
    """Return the stored ids of the same cells in other recordings, None without any."""
    stored = nwb.column(table, SPECIMEN_ID, n_rows)
    if stored is None:
        return None
    known: np.ndarray = np.where(np.isfinite(stored), stored, -1)
    return np.asarray(known[rows], np.int64)


def _without_table(nwb: NwbFile, series: "h5py.Group", n: int) -> PlaneUnits:
    """Return regions of which only their number is known."""
    nwb.notes.warn(
        "no_regions",
        f"{series.name} has no rois, which name its regions in a table: they are "
        "numbered from 0, without masks and positions",
    )
    planes = [*nwb.groups_of("ImagingPlane")]
    plane = planes[0] if len(planes) == 1 else None
    location, xyz = _place(nwb, plane, np.full((n, 3), np.nan, np.float32))
    return PlaneUnits(
        unit_id=np.arange(n),
        is_cell=np.ones(n, bool),
        location=location,
        table="",
        imaging_plane="",
        image_size=None,
        xy_px=np.full((n, 2), np.nan, np.float32),
        xyz_um=xyz,
        masks=[(place[:, :2], weight) for place, weight in _no_pixels(n)],
    )


def _no_pixels(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.zeros((0, 3), np.int16), np.zeros(0, np.float32))] * n


def _ids(nwb: NwbFile, table: "h5py.Group") -> np.ndarray:
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


def _row_numbers(table: "h5py.Group", n: int, found: str, notes: Notes) -> np.ndarray:
    notes.assume("unit_ids", f"ids of {table.name} are {found}: neurons have their row numbers")
    return np.arange(n)


def _quality(nwb: NwbFile, table: "h5py.Group", n: int) -> np.ndarray:
    """Return which rows of a table are cells, bool (n,); all without such a column."""
    stored = {name.lower(): name for name in nwb.names(table)}
    for column in (*_QUALITY, *_NO_QUALITY):
        if column not in stored or nwb.part(table, stored[column]) is None:
            continue
        values = nwb.file.table(f"{table.name}/{stored[column]}")
        if not values.shape or len(values) != n or not n:
            continue
        # `iscell` may have the columns of suite2p: flag, probability.
        values = values.reshape(n, -1)[:, 0]
        if values.dtype.kind in "biuf":
            marked = values > 0
        else:
            marked = np.array([text.lower() in _TRUE for text in texts_of(values)])
        return ~marked if column in _NO_QUALITY else marked
    return np.ones(n, bool)


# -- masks ---------------------------------------------------------------------------
def _masks(
    nwb: NwbFile, table: "h5py.Group", rows: np.ndarray, n: int
) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[int, int] | None]:
    """Return pixels and weights of rows of a table, and the size of image masks."""
    masks = _Masks(nwb, table, n, nwb.notes)
    return masks.of_all(rows), masks.image_size


def _image_size(nwb: NwbFile, table: "h5py.Group") -> tuple[int, int, str] | None:
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


def _stored_shape(nwb: NwbFile, group: "h5py.Group", name: str) -> tuple[int, ...]:
    """Return the shape of a dataset, () if its values lie in another file."""
    # Not of the object of the walk: the shape of a virtual dataset opens other files.
    found = nwb.part(group, name)
    return tuple(getattr(found, "shape", None) or ())


class _Masks:
    """Masks of a table's rows, of any of the three kinds in NWB."""

    def __init__(self, nwb: NwbFile, table: "h5py.Group", n: int, notes: Notes) -> None:
        self._nwb, self._table, self._n = nwb, table, n
        self._values: Any = None
        self._ends = np.zeros(0, np.int64)
        self._is_mirrored = False
        self.image_size: tuple[int, int] | None = None
        self.kind = next((m for m in _MASKS if nwb.file.find(m, table) is not None), "")
        if self.kind == "image_mask":
            self._values = self._images(notes)
        elif self.kind:
            self._values = nwb.file.table(f"{table.name}/{self.kind}")
            self._check_ragged()
            self._is_mirrored = self._are_pixels_mirrored(notes)
        if not self.kind:
            notes.assume("no_masks", f"{table.name} holds no masks of its regions")

    def of_all(self, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return pixels int16 (k, 3) and weights float32 (k,) for each table row.

        Pixels are row, column and depth.

        Raises
        ------
        SessionFormatError
            If the masks have too many pixels.
        """
        if self._values is None:
            return _no_pixels(len(rows))
        if self.kind == "image_mask":
            by_row = self._of_images(np.unique(rows))
            self._check_pixels(sum(len(by_row[row][1]) for row in rows.tolist()))
            return [by_row[row] for row in rows.tolist()]
        # Rows may repeat, so the count is taken over `rows`, not over the table.
        sizes = np.diff(self._ends, prepend=0)
        self._check_pixels(int(sizes[rows].sum()))
        return [self._of(row) for row in rows.tolist()]

    def _check_pixels(self, count: int) -> None:
        if count > MAX_PIXELS:
            raise self._nwb.wrong(
                self._table, f"has masks of {count:,} pixels; at most {MAX_PIXELS:,}"
            )

    def _of_images(self, rows: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Return pixels and weights by row, for ascending rows of image masks.

        Images are read in blocks of limited size, because most of their pixels are 0.
        """
        _, first, second = self._values.shape
        at_once = max(1, _BLOCK_BYTES // (8 * first * second))
        by_row: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        count = 0
        for block in np.split(rows, np.flatnonzero(np.diff(rows // at_once)) + 1):
            if not len(block):
                continue
            images = self._nwb.file.read(self._values, slice(int(block[0]), int(block[-1]) + 1))
            flat = images.reshape(-1)
            marked = np.flatnonzero((flat != 0) & ~np.isnan(flat))
            count += len(marked)
            self._check_pixels(count)
            weight = flat[marked].astype(np.float32)
            # Flat index -> image of the block, then row and column.
            image, at = np.divmod(marked, first * second)
            place = np.zeros((len(at), 3), np.int16)
            axes = [1, 0] if self._is_mirrored else [0, 1]
            place[:, axes] = np.stack(np.divmod(at, second), axis=1)
            # `image` ascends: the pixels of image k are ends[k] to ends[k + 1].
            ends = np.searchsorted(image, np.arange(len(images) + 1))
            for row in block.tolist():
                k = row - int(block[0])
                part = slice(ends[k], ends[k + 1])
                by_row[row] = place[part], weight[part]
        return by_row

    def _of(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        # NWB stores ragged columns as all values and the end of each row.
        first = int(self._ends[row - 1]) if row else 0
        part = self._values[first : int(self._ends[row])]
        depth = part["z"] if self.kind == "voxel_mask" else np.zeros(len(part))
        y, x = ("x", "y") if self._is_mirrored else ("y", "x")
        # Clipped before the cast to int16, which would wrap large values.
        place = np.stack([part[y], part[x], depth], axis=1).astype(np.int64)
        return np.clip(place, 0, 32767).astype(np.int16), np.nan_to_num(
            part["weight"].astype(np.float32)
        )

    def _images(self, notes: Notes) -> Any:
        images = self._nwb.file.dataset(f"{self._table.name}/image_mask")
        if len(images.shape) != 3 or images.shape[0] != self._n:
            raise self._nwb.wrong(
                self._table, f"has image masks {images.shape} for {self._n} regions"
            )
        if not images.size or images.dtype.kind not in "fiub":
            raise self._nwb.wrong(self._table, f"has image masks {images.shape} of {images.dtype}")
        if images.size * images.dtype.itemsize > _MAX_MASK_BYTES:
            notes.warn(
                "masks_not_read",
                f"{images.name} is {images.shape}: too large to be read at opening",
            )
            return None
        first, second = images.shape[1:]
        self._is_mirrored = self._are_images_mirrored(first, second, notes)
        self.image_size = (second, first) if self._is_mirrored else (first, second)
        return images

    def _are_images_mirrored(self, first: int, second: int, notes: Notes) -> bool:
        """Return whether image masks are (width, height), and state why.

        Programs differ; the schema says (x, y), that is (width, height).
        """
        axes, reason = "(height, width), as most programs store them", ""
        size = _image_size(self._nwb, self._table)
        if self._nwb.generator() == "neuroconv":
            axes, reason = "(width, height)", "neuroconv stores them so"
        elif size is not None and size[0] != size[1] and size[:2] == (first, second):
            axes, reason = "(height, width)", f"as {size[2]}"
        elif size is not None and size[0] != size[1] and size[1::-1] == (first, second):
            axes = "(width, height)"
            reason = f"{size[2]} has {size[0]} rows and {size[1]} columns"
        text = f"{self._table.name}: image masks {first} × {second} are taken as {axes}"
        notes.assume("mask_orientation", f"{text}: {reason}" if reason else text)
        return axes == "(width, height)"

    def _are_pixels_mirrored(self, notes: Notes) -> bool:
        """Return whether x of the pixels is the row, and state why.

        By the schema x is the column; suite2p and neuroconv store (row, column).
        """
        if not len(self._values):
            return False
        x, y = (int(np.nanmax(self._values[name])) for name in ("x", "y"))
        program = self._nwb.generator()
        text = text_of(self._nwb.file.attribute(self._table, "description", ""))
        if not program and text.lower() == "suite2p output":
            program = "suite2p"
        size = _image_size(self._nwb, self._table)
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
            notes.assume(
                "mask_orientation",
                f"{self._table.name}: x and y of the masks are taken as {meaning}: {reason}",
            )
        return is_mirrored

    def _check_ragged(self) -> None:
        names = self._values.dtype.names or ()
        fields = ("x", "y", "weight") + (("z",) if self.kind == "voxel_mask" else ())
        index = self._nwb.file.find(f"{self.kind}_index", self._table)
        if index is None or not set(fields) <= set(names):
            raise self._nwb.wrong(
                self._table, f"has a {self.kind} without {', '.join(fields)} or index"
            )
        self._ends = self._nwb.file.table(index.name).astype(np.int64)
        rising = (np.diff(self._ends, prepend=0) >= 0).all()
        last = int(self._ends[-1]) if len(self._ends) else 0
        if len(self._ends) != self._n or not rising or last > len(self._values):
            raise self._nwb.wrong(
                self._table,
                f"has a {self.kind}_index that does not fit {self._n} regions with "
                f"{len(self._values)} pixels",
            )


def _centre(place: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """Return the weighted mean x, y and depth of pixels, NaN without weight."""
    total = float(weight.sum())
    if not total > 0:  # also true for NaN
        return (float("nan"),) * 3
    y, x, z = (weight @ place.astype(np.float64) / total).tolist()
    return x, y, z


def _place(nwb: NwbFile, plane: "h5py.Group | None", centre: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the location of an imaging plane and positions in µm (n, 3).

    Positions are origin + grid spacing · centre, NaN if the plane lacks either.
    """
    unknown = np.full((len(centre), 3), np.nan, np.float32)
    if plane is None:
        return "", unknown
    location = nwb.text(f"{plane.name}/location").strip()
    location = "" if location.lower() in _NO_AREA else location
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


def _microns(nwb: NwbFile, plane: "h5py.Group", name: str) -> np.ndarray | None:
    if nwb.part(plane, name) is None:
        return None
    values = nwb.file.table(f"{plane.name}/{name}")
    unit = text_of(nwb.file.attribute(nwb.file.find(name, plane), "unit", "meters")).lower()
    factor = next((f for word, f in _MICRONS.items() if unit.startswith(word)), None)
    if factor is None or values.dtype.kind not in "fiu":
        return None
    return values.reshape(-1).astype(np.float64) * factor
