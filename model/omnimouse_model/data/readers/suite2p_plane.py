"""Reader of one suite2p plane: trace files, regions and settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Roi
from omnimouse_model.data.readers.build.checked_values import as_float, smoothness
from omnimouse_model.data.readers.build.neurons import cell_marks
from omnimouse_model.data.readers.build.notes import ALL_ROIS, Notes, ReadOptions
from omnimouse_model.data.readers.suite2p_files import Regions, Scan, Tables, vector
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.matlab import StoredArray
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows
from omnimouse_model.storage.files import bad_file, check_length, check_some, label

_NEEDED = {
    "spks": ("spks",),
    "deconvolved": ("F", "Fneu"),
    "F-neu": ("F", "Fneu"),
    "dff": ("F", "Fneu"),
}
"""Files of traces that each kind of responses needs."""
_WRITTEN = "was it written by suite2p?"
_ONE_RUN = "are the files of one run of suite2p?"
_MOST_PADDING = 64
_SAME_LENGTH = 0.02
"""Relative difference of two statements on the length that is no contradiction."""
_SMOOTHER = 0.3
"""A square array is transposed if values that follow each other in a column correlate
more than those in a row, by this much: activity is smooth in time, not over regions."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One plane as stored, or the planes of a folder `combined`.

    Attributes
    ----------
    folder
        Folder of the plane.
    files
        Those of F, Fneu and spks that exist: (regions, frames).
    n_rois, n_frames
        Shape of the traces.
    n_cells
        Number of regions that are marked as cells, None if no file says it.
    chosen
        int64 (k,) regions that are read, ascending; empty if there are no cells.
    number
        int64 (k,) plane of every region in `chosen`, from 0.
    bad_frames
        bool (frames,) frames that suite2p marks as bad.
    scan
        How the plane was scanned.
    rate_hz, tau_s, neucoeff
        Frames per second, decay time of the indicator, factor of the neuropil; None if
        no file contains them, or what they contain cannot be right.
    problems
        Names of settings that cannot be right -> what is wrong with them.
    xy_px
        float32 (k, 2) x and y of the regions.
    roi
        Pixels of every region in `chosen`.
    mean_image
        float32 (height, width), or None.
    """

    folder: Path
    files: Mapping[str, StoredArray]
    n_rois: int
    n_frames: int
    n_cells: int | None
    chosen: np.ndarray
    number: np.ndarray
    bad_frames: np.ndarray
    scan: Scan
    rate_hz: float | None
    problems: Mapping[str, str]
    tau_s: float | None
    neucoeff: float | None
    xy_px: np.ndarray
    roi: Roi
    mean_image: np.ndarray | None


def read_plane(
    folder: Path,
    root: Path,
    number: int | None,
    options: ReadOptions,
    notes: Notes,
    matlab: Path | None = None,
) -> Plane:
    """Read the tables of one plane and the headers of its traces.

    Parameters
    ----------
    root
        Folder of the session.
    number
        Number of the plane; None if the regions state it.
    matlab
        Its `Fall.mat`, if that is to be read in place of all other files.
    """
    tables = Tables(folder, root, notes, matlab, has_rate=options.rate_hz is not None)
    settings = tables.settings
    regions = tables.regions()
    marked = tables.marked()
    others = [len(table) for table in (regions, marked) if table is not None]
    files = _traces(tables, others[0] if others else None, options)
    n_rois, n_stored = next(iter(files.values())).shape
    if regions is not None:
        check_length(tables.path("stat"), len(regions), "regions", n_rois, "traces", _ONE_RUN)
    is_cell = _is_cell(tables, marked, n_rois)
    chosen = np.arange(n_rois)
    if options.cells_only:
        kept = np.ones(n_rois, bool) if is_cell is None else is_cell.copy()
        kept[_merged_parts(tables, regions, kept)] = False
        chosen = np.flatnonzero(kept)
    mean = settings.image("meanImg")
    size = settings.size() or (None if mean is None else mean.shape)
    roi, centre = _places(tables, regions, chosen, size)
    numbers = _numbers_of(tables, regions, chosen, number)
    padding = _padding(files, chosen, numbers) if number is None else 0
    n_frames = n_stored - padding
    scan = settings.scan(n_frames, n_stored)
    if padding:
        _note_padding(tables, padding, len(scan.folder_frames))
    rate, stated = settings.number("fs"), settings.count("nframes")
    if stated and abs(stated - n_frames) > _SAME_LENGTH * stated:
        seconds = "" if rate is None else f" ({n_frames / rate:.4g} and {stated / rate:.4g} s)"
        notes.warn(
            "length_disagrees",
            f"{tables.where}: traces have {n_frames:,} frames, the settings say "
            f"nframes {stated:,}{seconds}: was the recording cut or joined?",
        )
    return Plane(
        folder=folder,
        files=files,
        n_rois=n_rois,
        n_frames=n_frames,
        n_cells=None if is_cell is None else int(is_cell.sum()),
        chosen=chosen,
        number=numbers,
        bad_frames=settings.bad_frames(n_frames, n_stored),
        scan=scan,
        rate_hz=rate,
        problems=settings.problems,
        tau_s=settings.number("tau"),
        neucoeff=settings.neucoeff(),
        xy_px=centre,
        roi=roi,
        mean_image=mean,
    )


def _traces(tables: Tables, n_regions: int | None, options: ReadOptions) -> dict[str, StoredArray]:
    """Return the files of traces; those that the series does not need may be faulty.

    `n_regions` is the number of regions in the other files, None if unknown.
    """
    names, settings, notes = tables.trace_names(), tables.settings, tables.notes
    if "spks" in names and len(names) > 1 and not settings.is_deconvolved():
        names.remove("spks")
        notes.warn(
            "not_deconvolved",
            f"{tables.where}: suite2p did not deconvolve, and filled spks with "
            "zeros: it is left out",
        )
    wanted = options.series or ("spks" if "spks" in names else "deconvolved")
    needed = [name for name in _NEEDED.get(wanted, ()) if name in names]
    if settings.neucoeff() == 0 and "Fneu" in needed:
        needed.remove("Fneu")
    files: dict[str, StoredArray] = {}
    # The needed files first: their shape decides whether others fit.
    for name in sorted(names, key=lambda name: name not in needed):
        try:
            file = _oriented(tables, tables.traces(name), name, n_regions)
            if any(file.shape != other.shape for other in files.values()):
                shape = next(iter(files.values())).shape
                found = f"is {file.shape}, other traces of the plane are {shape}"
                raise bad_file(file.path, "wrong_shape", found, _ONE_RUN)
        except SessionFormatError as error:
            if name in needed or len(names) == 1:
                raise
            notes.warn("left_out", f"{error}; {wanted} does not need it: left out")
        else:
            files[name] = file
    if not files:
        hint = "suite2p writes F.npy, Fneu.npy and spks.npy, if it found regions"
        raise bad_file(tables.folder, "missing_data", "has no traces that can be read", hint)
    check_some(tables.folder, next(iter(files.values())).shape[1], "frames of traces")
    return {name: files[name] for name in names if name in files}


def _oriented(tables: Tables, file: StoredArray, name: str, n_regions: int | None) -> StoredArray:
    """Return traces as (regions, frames), after a comparison with the other files.

    Raises
    ------
    SessionFormatError
        If the traces alone could be meant in both ways, or contradict the files.
    """
    (rows, columns), n_frames = file.shape, tables.settings.count("nframes")
    if rows == columns:
        _check_square(file, name, tables.notes)
        return file
    if n_regions is not None:
        is_turned, known = rows != n_regions == columns, f"{n_regions} regions"
    elif n_frames in (rows, columns):
        is_turned, known = rows == n_frames, f"{n_frames} frames"
    elif rows > columns:
        raise bad_file(
            file.path,
            "axes",
            f"holds {name} of {rows:,} × {columns:,}: {rows:,} regions of {columns:,} "
            f"frames, or {columns:,} regions of {rows:,} frames that are transposed; "
            "there is no stat.npy or iscell.npy to tell",
            "save it as (regions, frames), with stat.npy or iscell.npy of suite2p",
        )
    else:
        return file
    if not is_turned:
        return file
    tables.notes.warn(
        "transposed",
        f"{label(file.path)}: {name} is {rows} × {columns}, and the plane has {known}: "
        "it is transposed, and read as (regions, frames)",
    )
    if isinstance(file, MemoryRows):
        return MemoryRows(file.path, file.open().T)
    return ArrayFile(file.path, file.dtype, (columns, rows), file.offset, not file.fortran)


def _check_square(file: StoredArray, name: str, notes: Notes) -> None:
    """Raise if the rows of a square array look like frames, and not like regions."""
    values = file.open()
    along_rows, along_columns = smoothness(values.T), smoothness(values)
    found = f"{name} is {file.shape[0]} × {file.shape[1]}"
    if along_columns > along_rows + _SMOOTHER:
        raise bad_file(
            file.path,
            "axes",
            f"is square: {found}, regions × frames or frames × regions. suite2p writes regions × "
            "frames, but here the columns are smooth as activity in time is (correlation of "
            f"neighbours {along_columns:.2f}), and the rows are not ({along_rows:.2f})",
            "if it is transposed, save it as (regions, frames)",
        )
    notes.assume("square", f"{found}: read as regions × frames, the order in which suite2p writes")


def _is_cell(tables: Tables, marked: np.ndarray | None, n_rois: int) -> np.ndarray | None:
    """Return whether each region is marked as a cell, None if no file says it."""
    if marked is None:
        return None
    check_length(tables.path("iscell"), len(marked), "rows", n_rois, "regions", _ONE_RUN)
    # Columns of iscell: flag, probability.
    flag = marked if marked.ndim == 1 else marked[:, 0]
    return cell_marks(flag, label(tables.path("iscell")), tables.notes)


def _merged_parts(tables: Tables, regions: Regions | None, is_cell: np.ndarray) -> np.ndarray:
    """Return the cells that were merged into another cell, int64 (n,), with a note.

    suite2p appends a merged region, which lists its parts in `imerge`, and leaves the
    marks of the parts as they were: each neuron would be read twice.
    """
    listed = [
        vector(region.get("imerge"))
        for region, marked in zip(regions or (), is_cell, strict=False)
        if marked
    ]
    known = [numbers for numbers in listed if numbers is not None]
    parts = np.unique(np.concatenate([np.zeros(0), *known])).astype(np.int64)
    parts = parts[(parts >= 0) & (parts < len(is_cell))]
    parts = parts[is_cell[parts]]
    if len(parts):
        tables.notes.assume(
            "merged_regions",
            f"{tables.where}: {len(parts)} regions are parts of merged regions (imerge in stat), "
            f"and left out: their neurons are read once ({ALL_ROIS}, keeps them)",
        )
    return np.asarray(parts)


def _numbers_of(
    tables: Tables, regions: Regions | None, chosen: np.ndarray, number: int | None
) -> np.ndarray:
    """Return the plane of each region: that of the folder, or what the region states.

    In a folder `combined`, `iplane` counts the planes that suite2p combined. Since
    version 1.1, these are the planes without those of the flyback.
    """
    if number is not None:
        return np.full(len(chosen), number, np.int64)
    stored = [as_float(region.get("iplane")) for region in regions or ()]
    if not stored or any(plane is None or not 0 <= plane < 2**15 for plane in stored):
        n_planes = tables.settings.count("nplanes") or 1
        if n_planes > 1:
            tables.notes.warn(
                "planes_unknown",
                f"{tables.where} holds {n_planes} planes, and no region states "
                "its plane (iplane in stat): lags between planes are unknown",
            )
        return np.zeros(len(chosen), np.int64)
    plane = np.array(stored, np.int64)
    left_out = tables.settings.flyback()
    if left_out & set(plane.tolist()):
        every = range(int(plane.max()) + len(left_out) + 1)
        plane = np.array([k for k in every if k not in left_out], np.int64)[plane]
    return np.asarray(plane[chosen])


def _padding(files: Mapping[str, StoredArray], chosen: np.ndarray, numbers: np.ndarray) -> int:
    """Return by how many frames the shortest plane of a folder `combined` is padded.

    suite2p appends zeros to planes with fewer frames than others; F of a real frame is
    never 0 in a whole plane.
    """
    if "F" not in files:
        return 0
    last = files["F"].part(chosen, slice(-_MOST_PADDING, None))
    padding = 0
    for plane in np.unique(numbers):
        is_zero = (last[numbers == plane] == 0).all(axis=0)
        # All zeros are no padding.
        if not is_zero.all():
            padding = max(padding, int(is_zero[::-1].argmin()))
    return padding


def _note_padding(tables: Tables, padding: int, n_folders: int) -> None:
    """Add a note on frames that are cut, and a warning if they lacked elsewhere."""
    frames = "1 frame" if padding == 1 else f"{padding} frames"
    cut = f"{tables.where}: some planes have {frames} fewer than others: all are cut"
    if n_folders < 2:
        tables.notes.assume("cut_frames", cut)
        return
    # suite2p pads at the end alone.
    tables.notes.warn(
        "cut_frames",
        f"{cut} at their end. If a plane stopped early in one of the {n_folders} "
        f"folders that were joined, its later activity is up to {frames} early: open "
        "the folder of the single planes, where folders are aligned",
    )


# -- regions -------------------------------------------------------------------------
def _places(
    tables: Tables, regions: Regions | None, chosen: np.ndarray, size: tuple[int, ...] | None
) -> tuple[Roi, np.ndarray]:
    """Return pixels and weights, and x and y float32 (k, 2), of chosen regions.

    A region whose pixels cannot be right has none of them, with one note for all.
    """
    masks = [(np.zeros((0, 2), np.int16), np.zeros(0, np.float32)) for _ in chosen]
    centre = np.full((len(chosen), 2), np.nan, np.float32)
    if regions is None:
        return Roi.of(masks), centre
    faults: list[SessionFormatError] = []
    for row, number in enumerate(chosen.tolist()):
        try:
            masks[row] = _pixels(regions[number], number, tables.path("stat"), size)
        except SessionFormatError as error:
            faults.append(error)
        else:
            centre[row] = _centre(regions[number], masks[row])
    if faults:
        tables.notes.warn(
            "bad_regions",
            f"{len(faults):,} of {len(chosen):,} regions have pixels that cannot be "
            f"right; they have no contour and no position: {faults[0]}",
        )
    return Roi.of(masks), centre


def _pixels(
    region: Mapping[str, Any], number: int, path: Path, size: tuple[int, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels int16 (k, 2) as row and column, and weights float32 (k,)."""
    columns = [vector(region.get(name)) for name in ("ypix", "xpix", "lam")]
    arrays = [column for column in columns if column is not None]
    if len(arrays) != 3 or len({len(a) for a in arrays}) != 1:
        shapes = [getattr(region.get(n), "shape", None) for n in ("ypix", "xpix", "lam")]
        found = f"has ypix, xpix and lam of {shapes} in region {number}"
        expected = "three arrays of one length expected"
        raise bad_file(path, "wrong_shape", f"{found}; {expected}", _WRITTEN)
    places = np.stack(arrays[:2], axis=1)
    # MATLAB stores whole numbers as floats.
    is_whole = np.isfinite(places) & (places == np.rint(places))
    if not is_whole.all():
        found = f"has {places[~is_whole][0]:g} in ypix or xpix of region {number}"
        raise bad_file(path, "wrong_shape", f"{found}; whole numbers expected", _WRITTEN)
    # Without an image size, the limit of int16, in which pixels are stored.
    height, width = size or (32767, 32767)
    # Before the cast to int16, which would wrap large values into the image.
    if len(places) and ((places < 0) | (places >= (height, width))).any():
        row, column = places.max(axis=0)
        found = f"has pixels up to row {row:g}, column {column:g} in region {number}"
        problem = f"{found}; the image is {height}×{width}"
        raise bad_file(path, "outside_image", problem, "do stat.npy and ops.npy belong together?")
    weight = np.nan_to_num(arrays[2].astype(np.float32))
    return places.astype(np.int16), weight


def _centre(
    region: Mapping[str, Any], pixels: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float]:
    """Return x and y: the stored median, else the mean of the pixels, else NaN."""
    stored = region.get("med")
    if isinstance(stored, np.ndarray):
        stored = stored.tolist()
    if isinstance(stored, list) and len(stored) == 2:
        y, x = map(as_float, stored)  # `med` is (y, x)
        if y is not None and x is not None:
            return x, y
    if not len(pixels[0]):
        return float("nan"), float("nan")
    y, x = pixels[0].mean(axis=0).tolist()
    return x, y
