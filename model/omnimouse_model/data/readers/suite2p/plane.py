"""Reader of one suite2p plane: trace files, regions and settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.io.file_stamp import bad_file
from omnimouse_model.data.io.safe_files import (
    ArrayFile,
    contained,
    label,
    load_small_array,
    npy_file,
)
from omnimouse_model.data.io.safe_pickle import load_pickled
from omnimouse_model.data.read_options import ALL_ROIS, ReadOptions
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.typed_fields import as_float, short
from omnimouse_model.errors import SessionFormatError

_SETTINGS = ("ops", "settings", "db", "reg_outputs", "detect_outputs")
"""Files with settings, by priority (versions before 1 have only `ops`)."""
_DEFAULT_NEUCOEFF = 0.7
"""Default of suite2p."""
_NEEDED = {
    "spks": ("spks",),
    "deconvolved": ("F", "Fneu"),
    "F-neu": ("F", "Fneu"),
    "dff": ("F", "Fneu"),
}
"""Files of traces that each kind of responses needs."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One plane as stored.

    Attributes
    ----------
    number, n_planes
        Number of this plane, from 0, and number of planes in the settings.
    folder
        Folder of the plane.
    files
        Those of F, Fneu and spks that exist: (regions, frames).
    n_rois, n_frames
        Shape of the traces.
    n_cells
        Number of regions that are marked as cells, None if no file says it.
    chosen
        int64 (k,) regions that are read, ascending.
    rate_hz, tau_s, neucoeff
        Frames per second, decay time of the indicator, factor of the neuropil; the
        first two are None if no file contains them.
    xy_px
        float32 (k, 2) x and y of the regions.
    masks
        Pixels int16 (p, 2) and weights float32 (p,) of every region in `chosen`.
    mean_image
        float32 (height, width), or None.
    """

    number: int
    n_planes: int
    folder: Path
    files: Mapping[str, ArrayFile]
    n_rois: int
    n_frames: int
    n_cells: int | None
    chosen: np.ndarray
    rate_hz: float | None
    tau_s: float | None
    neucoeff: float
    xy_px: np.ndarray
    masks: list[tuple[np.ndarray, np.ndarray]]
    mean_image: np.ndarray | None


def read_plane(
    folder: Path, root: Path, number: int, options: ReadOptions, notes: Notes
) -> Plane:
    """Read the tables of one plane and the headers of its traces."""
    regions = _regions(folder, root, notes)
    marked = _marked(folder, root)
    others = [len(table) for table in (regions, marked) if table is not None]
    n_regions = others[0] if others else None
    files = _traces(folder, root, n_regions, options.series, notes)
    n_rois, n_frames = next(iter(files.values())).shape
    settings = _Settings(folder, root, notes)
    if regions is not None and len(regions) != n_rois:
        raise bad_file(
            folder / "stat.npy",
            "wrong_length",
            f"holds {len(regions)} regions, the traces {n_rois} regions",
            "are the files of one run of suite2p?",
        )
    is_cell = _is_cell(folder, marked, n_rois)
    chosen = _chosen(folder, is_cell, n_rois, options)
    mean = settings.image("meanImg")
    size = settings.size() or (None if mean is None else mean.shape)
    if regions is None:
        masks = [(np.zeros((0, 2), np.int16), np.zeros(0, np.float32)) for _ in chosen]
        centre = [(float("nan"), float("nan"))] * len(chosen)
    else:
        masks = [_pixels(regions[i], i, folder, size) for i in chosen.tolist()]
        centre = [
            _centre(regions[i], mask) for i, mask in zip(chosen, masks, strict=True)
        ]
    # The second name is that of suite2p 1.x.
    neucoeff = settings.number("neucoeff", "neuropil_coefficient")
    return Plane(
        number=number,
        n_planes=int(settings.number("nplanes") or 1),
        folder=folder,
        files=files,
        n_rois=n_rois,
        n_frames=n_frames,
        n_cells=None if is_cell is None else int(is_cell.sum()),
        chosen=chosen,
        rate_hz=settings.number("fs"),
        tau_s=settings.number("tau"),
        neucoeff=_DEFAULT_NEUCOEFF if neucoeff is None else neucoeff,
        xy_px=np.array(centre, np.float32).reshape(-1, 2),
        masks=masks,
        mean_image=mean,
    )


def _traces(
    folder: Path, root: Path, n_regions: int | None, series: str | None, notes: Notes
) -> dict[str, ArrayFile]:
    """Return the files of traces; those that the series does not need may be faulty.

    `n_regions` is the number of regions in the other files, None if unknown.
    """
    paths = {name: folder / f"{name}.npy" for name in ("F", "Fneu", "spks")}
    paths = {name: path for name, path in paths.items() if path.exists()}
    wanted = series or ("spks" if "spks" in paths else "deconvolved")
    needed = [name for name in _NEEDED.get(wanted, ()) if name in paths]
    files: dict[str, ArrayFile] = {}
    # The needed files first: their shape decides whether others fit.
    for name in sorted(paths, key=lambda name: name not in needed):
        try:
            file = _numbers(contained(paths[name], root))
            _check_regions(file, n_regions)
            _check_same(file, files)
        except SessionFormatError as error:
            if name in needed or len(paths) == 1:
                raise
            notes.warn("left_out", f"{error}; {wanted} does not need it: left out")
        else:
            files[name] = file
    if not files:
        raise SessionFormatError(
            folder, "missing_data", f"{label(folder)}: no traces can be read"
        )
    shape = next(iter(files.values())).shape
    if 0 in shape:
        raise SessionFormatError(
            folder, "empty", f"{label(folder)}: traces are {shape}: nothing to read"
        )
    return {name: files[name] for name in paths if name in files}


def _numbers(path: Path) -> ArrayFile:
    file = npy_file(path)
    if file.dtype.kind not in "fiu" or len(file.shape) != 2:
        raise bad_file(
            path,
            "wrong_shape",
            f"is {file.shape} {file.dtype}; (regions, frames) of numbers expected",
            "was it written by suite2p?",
        )
    return file


def _check_regions(file: ArrayFile, n_regions: int | None) -> None:
    """Raise if an array is transposed, as the number of regions shows."""
    rows, columns = file.shape
    if n_regions not in (None, rows) and columns == n_regions:
        raise bad_file(
            file.path,
            "transposed",
            f"is {file.shape}, and the plane has {n_regions} regions: it is transposed",
            "save it as (regions, frames): numpy.save(path, array.T)",
        )


def _check_same(file: ArrayFile, others: Mapping[str, ArrayFile]) -> None:
    shape = next((other.shape for other in others.values()), file.shape)
    if file.shape != shape:
        raise bad_file(
            file.path,
            "wrong_shape",
            f"is {file.shape}, other traces of the plane are {shape}",
            "are they of one run of suite2p?",
        )


def _marked(folder: Path, root: Path) -> np.ndarray | None:
    """Return the table of the regions that are cells, None if there is none."""
    path = folder / "iscell.npy"
    if not path.exists():
        return None
    marked = load_small_array(path, root)
    if marked.ndim not in (1, 2) or marked.dtype.kind not in "fiub" or not marked.size:
        raise bad_file(
            path,
            "wrong_shape",
            f"is {marked.shape} {marked.dtype}; one row per region expected",
            "was it written by suite2p?",
        )
    return marked


def _is_cell(folder: Path, marked: np.ndarray | None, n_rois: int) -> np.ndarray | None:
    """Return whether each region is marked as a cell, None if no file says it."""
    if marked is None:
        return None
    if len(marked) != n_rois:
        raise bad_file(
            folder / "iscell.npy",
            "wrong_length",
            f"is {marked.shape} for {n_rois} regions",
            "are the files of one run of suite2p?",
        )
    # Columns of iscell: flag, probability.
    flag = marked if marked.ndim == 1 else marked[:, 0]
    return np.asarray(flag > 0)


def _chosen(
    folder: Path, is_cell: np.ndarray | None, n_rois: int, options: ReadOptions
) -> np.ndarray:
    """Return the regions to read, int64: those marked as cells, or all."""
    if not options.cells_only or is_cell is None:
        return np.arange(n_rois)
    if not is_cell.any():
        raise bad_file(
            folder / "iscell.npy",
            "empty",
            f"marks none of {n_rois} regions as a cell",
            f"{ALL_ROIS}, reads them all",
        )
    return np.flatnonzero(is_cell)


# -- regions -------------------------------------------------------------------------
def _regions(folder: Path, root: Path, notes: Notes) -> list[Mapping[str, Any]] | None:
    """Return the regions, None without `stat.npy`."""
    if not (folder / "stat.npy").exists():
        notes.warn(
            "no_contours",
            f"{label(folder)} has no stat.npy: neurons have no positions and contours",
        )
        return None
    path = contained(folder / "stat.npy", root)
    regions: list[Mapping[str, Any]] = load_pickled(path)
    is_list = isinstance(regions, list) and all(isinstance(r, Mapping) for r in regions)
    if not is_list:
        raise bad_file(
            path,
            "wrong_shape",
            f"holds a {type(regions).__name__}; a list of regions expected",
            "was it written by suite2p?",
        )
    return regions


def _pixels(
    region: Mapping[str, Any], number: int, folder: Path, size: tuple[int, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels int16 (k, 2) as row and column, and weights float32 (k,)."""
    columns = [region.get(name) for name in ("ypix", "xpix", "lam")]
    arrays = [c for c in columns if isinstance(c, np.ndarray) and c.ndim == 1]
    path = folder / "stat.npy"
    sound = (
        len(arrays) == 3
        and len({len(a) for a in arrays}) == 1
        and all(a.dtype.kind in "iu" for a in arrays[:2])
        and arrays[2].dtype.kind in "fiu"
    )
    if not sound:
        raise SessionFormatError(
            path,
            "wrong_shape",
            f"{label(path)}: region {number} has ypix, xpix and lam of "
            f"{', '.join(str(getattr(c, 'shape', None)) for c in columns)}; three "
            "arrays of one length expected",
            "was it written by suite2p?",
        )
    yx = np.stack(arrays[:2], axis=1).astype(np.int64)
    # Without an image size, the limit of int16, in which pixels are stored.
    height, width = size or (32767, 32767)
    # Before the cast to int16, which would wrap large values into the image.
    if len(yx) and ((yx < 0) | (yx >= (height, width))).any():
        raise SessionFormatError(
            path,
            "outside_image",
            f"{label(path)}: region {number} has pixels up to row {yx[:, 0].max()}, "
            f"column {yx[:, 1].max()}; the image is {height}×{width}",
            "do stat.npy and ops.npy belong together?",
        )
    weight = np.nan_to_num(arrays[2].astype(np.float32))
    return yx.astype(np.int16), weight


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


# -- settings ------------------------------------------------------------------------
class _Settings:
    """Settings of `ops.npy`, or of the files into which version 1 divides it."""

    def __init__(self, folder: Path, root: Path, notes: Notes) -> None:
        self._folder = folder
        self._values: dict[str, Any] = {}
        # Reversed, so that files of higher priority overwrite the others.
        for name in reversed(_SETTINGS):
            path = folder / f"{name}.npy"
            if path.exists():
                stored = load_pickled(contained(path, root))
                if not isinstance(stored, Mapping):
                    raise bad_file(
                        path,
                        "wrong_shape",
                        f"holds a {type(stored).__name__}, not settings",
                        "was it written by suite2p?",
                    )
                self._values.update(_flat(stored))
        if not self._values:
            notes.warn("no_settings", f"{label(folder)}: no ops.npy or settings.npy")

    def number(self, *names: str) -> float | None:
        """Return a positive number by the first name that exists; None if none does."""
        for name in names:
            if self._values.get(name) is None:
                continue
            value = as_float(self._values[name])
            if value is None or not np.isfinite(value) or value <= 0:
                raise SessionFormatError(
                    self._folder / "ops.npy",
                    "bad_key",
                    f"{label(self._folder)}: {name} must be a positive number, found "
                    f"{short(self._values[name])}",
                    "correct it in suite2p, or take the file away",
                )
            return value
        return None

    def size(self) -> tuple[int, int] | None:
        """Return height and width of the image in pixels, None if unknown."""
        height, width = self.number("Ly"), self.number("Lx")
        return None if height is None or width is None else (int(height), int(width))

    def image(self, name: str) -> np.ndarray | None:
        """Return a stored image float32 (height, width), None if missing."""
        image = self._values.get(name)
        if not isinstance(image, np.ndarray) or image.dtype.kind not in "fiub":
            return None
        # An image is only for display: a wrong one is omitted without an error.
        if image.ndim != 2 or not image.size:
            return None
        return np.nan_to_num(image.astype(np.float32))


def _flat(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name, without the groups of version 1.

    A setting outside the groups has priority over one of the same name inside.
    """
    flat: dict[str, Any] = {}
    for key, value in stored.items():
        if isinstance(value, Mapping):
            flat.update({k: v for k, v in value.items() if k not in stored})
        else:
            flat[key] = value
    return flat
