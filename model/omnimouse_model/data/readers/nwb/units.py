"""Reader of the neurons of an NWB file: masks, areas, positions, cell flags."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.readers.build.decode_text import text_of
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.size_limits import MAX_PIXELS
from omnimouse_model.data.readers.nwb.file import NwbFile

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
_MASKS = ("pixel_mask", "image_mask", "voxel_mask")
# Beginning of a unit's name -> factor to µm.
_MICRONS = {"micro": 1.0, "um": 1.0, "µm": 1.0, "milli": 1e3, "mm": 1e3, "met": 1e6}
_MAX_MASK_BYTES = 4 * 2**30
_BLOCK_BYTES = 32 * 2**20


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
    xy_px, xyz_um
        float32 (n, 2) and (n, 3) positions, NaN if unknown.
    masks
        Pixels int16 (k, 2) and weights float32 (k,) of every region; empty arrays
        without masks.
    """

    unit_id: np.ndarray
    is_cell: np.ndarray
    location: str
    xy_px: np.ndarray
    xyz_um: np.ndarray
    masks: list[tuple[np.ndarray, np.ndarray]]

    def select(self, rows: np.ndarray) -> "PlaneUnits":
        """Return only some regions."""
        return PlaneUnits(
            self.unit_id[rows],
            self.is_cell[rows],
            self.location,
            self.xy_px[rows],
            self.xyz_um[rows],
            [self.masks[row] for row in rows.tolist()],
        )


def read_units(nwb: NwbFile, series: "h5py.Group", n: int, notes: Notes) -> PlaneUnits:
    """Read the regions of the n columns of a series.

    Raises
    ------
    SessionFormatError
        If the `rois` of the series do not fit its columns or its table.
    """
    region = nwb.file.find("rois", series)
    if region is None:
        raise nwb.wrong(series, "has no rois: nothing says which regions it is of")
    rows = nwb.file.table(region.name)
    reference = nwb.file.attribute(region, "table")
    table = None if reference is None else nwb.dereference(reference, region.name)
    if table is None or nwb.file.find("id", table) is None:
        raise nwb.wrong(series, "has rois that name no table")
    ids = nwb.file.table(f"{table.name}/id").astype(np.int64)
    if rows.shape != (n,) or rows.dtype.kind not in "iu":
        raise nwb.wrong(series, f"has {rows.shape} rois for {n} columns")
    if len(rows) and (rows.min() < 0 or rows.max() >= len(ids)):
        raise nwb.wrong(
            series, f"has rois up to {rows.max()}; {table.name} has {len(ids)} rows"
        )
    # `rows` is the order of the columns; the table can have another order and more
    # regions.
    masks = _Masks(nwb, table, len(ids), notes)
    pixels = masks.of_all(rows)
    centre = np.array([_centre(*p) for p in pixels], np.float32).reshape(-1, 3)
    location, xyz = _place(nwb, table, centre, notes)
    return PlaneUnits(
        unit_id=ids[rows],
        is_cell=_quality(nwb, table, len(ids))[rows],
        location=location,
        xy_px=centre[:, :2],
        xyz_um=xyz,
        masks=[(place[:, :2], weight) for place, weight in pixels],
    )


def _quality(nwb: NwbFile, table: "h5py.Group", n: int) -> np.ndarray:
    """Return which rows of a table are cells, bool (n,); all without such a column."""
    for name in nwb.names(table):
        if name.lower() not in _QUALITY:
            continue
        values = nwb.file.table(f"{table.name}/{name}")
        if len(values) == n and values.dtype.kind in "biuf":
            # `iscell` may have the columns of suite2p: flag, probability.
            marked: np.ndarray = values.reshape(n, -1)[:, 0] > 0
            return marked
    return np.ones(n, bool)


class _Masks:
    """Masks of a table's rows, of any of the three kinds in NWB."""

    def __init__(self, nwb: NwbFile, table: "h5py.Group", n: int, notes: Notes) -> None:
        self._nwb, self._table, self._n = nwb, table, n
        self._values: Any = None
        self._ends = np.zeros(0, np.int64)
        self.kind = next((m for m in _MASKS if nwb.file.find(m, table) is not None), "")
        if self.kind == "image_mask":
            self._values = self._images(notes)
        elif self.kind:
            self._values = nwb.file.table(f"{table.name}/{self.kind}")
            self._check_ragged()
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
            nothing = np.zeros((0, 3), np.int16), np.zeros(0, np.float32)
            return [nothing] * len(rows)
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
        _, height, width = self._values.shape
        at_once = max(1, _BLOCK_BYTES // (8 * height * width))
        by_row: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        count = 0
        for block in np.split(rows, np.flatnonzero(np.diff(rows // at_once)) + 1):
            if not len(block):
                continue
            images = self._nwb.file.read(
                self._values, slice(int(block[0]), int(block[-1]) + 1)
            )
            flat = images.reshape(-1)
            marked = np.flatnonzero((flat != 0) & ~np.isnan(flat))
            count += len(marked)
            self._check_pixels(count)
            weight = flat[marked].astype(np.float32)
            # Flat index -> image of the block, then row and column.
            image, at = np.divmod(marked, height * width)
            place = np.zeros((len(at), 3), np.int16)
            place[:, 0], place[:, 1] = np.divmod(at, width)
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
        # Clipped before the cast to int16, which would wrap large values.
        place = np.stack([part["y"], part["x"], depth], axis=1).astype(np.int64)
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
            raise self._nwb.wrong(
                self._table, f"has image masks {images.shape} of {images.dtype}"
            )
        if images.size * images.dtype.itemsize > _MAX_MASK_BYTES:
            notes.warn(
                "masks_not_read",
                f"{images.name} is {images.shape}: too large to be read at opening",
            )
            return None
        # Writers differ between (height, width) and (width, height).
        notes.assume(
            "mask_orientation", f"{images.name}: masks are taken as (height, width)"
        )
        return images

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


def _place(
    nwb: NwbFile, table: "h5py.Group", centre: np.ndarray, notes: Notes
) -> tuple[str, np.ndarray]:
    """Return the location of the table's plane and positions in µm (n, 3).

    Positions are origin + grid spacing · centre, NaN if the plane lacks either.
    """
    unknown = np.full((len(centre), 3), np.nan, np.float32)
    plane = nwb.file.find("imaging_plane", table)
    if plane is None:
        return "", unknown
    location = nwb.text(f"{plane.name}/location")
    origin = _microns(nwb, plane, "origin_coords")
    spacing = _microns(nwb, plane, "grid_spacing")
    if origin is None or spacing is None or len(origin) < 2 or len(spacing) < 2:
        notes.assume("no_positions", f"{plane.name} does not say where it lies")
        return location, unknown
    # With a spacing of two axes, depth is the same for the plane; with an origin of
    # two axes, it is unknown.
    step = np.append(spacing, 0.0)[:3]
    corner = np.append(origin, np.nan)[:3]
    return location, (corner + step * centre).astype(np.float32)


def _microns(nwb: NwbFile, plane: "h5py.Group", name: str) -> np.ndarray | None:
    if nwb.file.find(name, plane) is None:
        return None
    values = nwb.file.table(f"{plane.name}/{name}")
    unit = text_of(
        nwb.file.attribute(nwb.file.find(name, plane), "unit", "meters")
    ).lower()
    factor = next((f for word, f in _MICRONS.items() if unit.startswith(word)), None)
    if factor is None or values.dtype.kind not in "fiu":
        return None
    return values.reshape(-1).astype(np.float64) * factor
