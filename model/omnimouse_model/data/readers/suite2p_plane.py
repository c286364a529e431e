"""Reader of one suite2p plane: trace files, regions and settings.

Tables are `.npy` files, or variables of `Fall.mat`. Some settings can be wrong; what the
files hold decides. The module is long because each of these explains the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Roi
from omnimouse_model.data.readers.build.checked_values import as_float, require, short, smoothness
from omnimouse_model.data.readers.build.neurons import cell_marks
from omnimouse_model.data.readers.build.notes import ALL_ROIS, Notes, ReadOptions
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.matlab import MatFile, StoredArray, open_mat
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows
from omnimouse_model.storage.files import bad_file, check_length, check_some, is_there, label
from omnimouse_model.storage.pickles import load_pickled

MATLAB = "Fall.mat"
TRACES = ("F.npy", "spks.npy")
TABLES = ("stat.npy", "iscell.npy", "ops.npy", "settings.npy")
_OUTPUTS = ("reg_outputs", "detect_outputs")
_SETTINGS = ("ops", "settings", "db", *_OUTPUTS)
"""Files with settings, by priority (versions before 1 have only `ops`)."""
_WRITTEN = "was it written by suite2p?"
_REGION_FIELDS = ("ypix", "xpix", "lam", "med", "iplane", "imerge")


def is_plane(folder: Path) -> bool:
    """Return whether a folder holds traces and tables of suite2p, or its `Fall.mat`."""
    # Traces alone could be those of another program. A link to nothing counts: the
    # error for it says what to do.
    return is_there(folder / MATLAB, follows=False) or all(
        any(is_there(folder / file, follows=False) for file in files) for files in (TRACES, TABLES)
    )


Regions = list[Mapping[str, Any]]


class Tables:
    """Tables of one plane: `.npy` files, or variables of a MATLAB file."""

    def __init__(
        self, folder: Path, root: Path, notes: Notes, matlab: Path | None, *, has_rate: bool
    ) -> None:
        self.folder, self.where = folder, label(folder)
        self._root, self.notes = root, notes
        self._has_files = matlab is None
        path = matlab or folder / MATLAB
        self._mat: MatFile | None = None
        if is_there(path, follows=False):
            try:
                # The user names a MATLAB file that is opened by itself.
                self._mat = open_mat(path, root if matlab is None else None)
            except SessionFormatError:
                # Beside the files of suite2p, its copy for MATLAB is not needed.
                if not any(self._has(name) for name in ("F", "spks")):
                    raise
        self.settings = Settings(self, self._stored(has_rate=has_rate))

    def _has(self, name: str) -> bool:
        # A link to nothing counts: reading it says what to do.
        return self._has_files and is_there(self.folder / f"{name}.npy", follows=False)

    def _in_mat(self, name: str) -> MatFile | None:
        """Return the MATLAB file if it holds a table that no file holds."""
        if self._has(name) or self._mat is None or name not in self._mat.names:
            return None
        return self._mat

    def path(self, name: str) -> Path:
        """Return the path of a table, for messages."""
        mat = self._in_mat(name)
        return self.folder / f"{name}.npy" if mat is None else mat.path

    def trace_names(self) -> list[str]:
        """Return those of F, Fneu and spks that exist."""
        names = [name for name in ("F", "Fneu", "spks") if self._has(name)]
        # Traces of one source: those of the other could be of another run.
        if names or self._mat is None:
            return names
        return [name for name in ("F", "Fneu", "spks") if name in self._mat.names]

    def traces(self, name: str) -> StoredArray:
        """Return one kind of traces, (regions, frames) of numbers."""
        mat, path = self._in_mat(name), self.path(name)
        file: StoredArray = npy_file(path, self._root) if mat is None else mat.array(name)
        if file.shape in ((0,), (0, 0)):
            # Of a plane without regions, some programs store no frames.
            return MemoryRows(path, np.zeros((0, self.settings.count("nframes") or 1)))
        expected = "(regions, frames) of numbers"
        return require(file, path, expected, (None, None), kinds="fiub", hint=_WRITTEN)

    def marked(self) -> np.ndarray | None:
        """Return the table of the regions that are cells, None if there is none."""
        mat, path = self._in_mat("iscell"), self.path("iscell")
        if mat is None and not self._has("iscell"):
            return None
        if mat is None:
            marked = load_small_array(path, self._root)
        else:
            marked = mat.array("iscell").open()
            # suite2p stores an empty matrix if it did not classify.
            if not marked.size:
                return None
        shapes = ((None,), (None, None))
        require(marked, path, "one row per region", *shapes, kinds="fiub", hint=_WRITTEN)
        # After a round trip through MATLAB, a vector is one row.
        is_row = marked.ndim == 2 and len(marked) == 1 and marked.shape[1] != 2
        # There are two columns, or three with the marks of a user; more are regions.
        is_turned = marked.ndim == 2 and len(marked) == 2 and marked.shape[1] > 3
        if is_turned:
            self.notes.warn(
                "transposed",
                f"{label(path)} is {marked.shape}, flags and probabilities of "
                f"{marked.shape[1]} regions: it is transposed, and read as (regions, 2)",
            )
        marked = marked.T if is_turned else marked
        return marked[0] if is_row else marked

    def regions(self) -> Regions | None:
        """Return the regions, None without a table of them."""
        mat, path = self._in_mat("stat"), self.path("stat")
        if mat is None and not self._has("stat"):
            lacking = "stat.npy" if self._mat is None else f"stat in {MATLAB}"
            self.notes.warn(
                "no_contours",
                f"{self.where} has no {lacking}: neurons have no positions and contours",
            )
            return None
        if mat is None:
            regions = load_pickled(path, self._root)
        else:
            regions = mat.value("stat", _REGION_FIELDS)
            regions = [regions] if isinstance(regions, dict) else regions
            if isinstance(regions, np.ndarray) and not regions.size:
                regions = []
        if isinstance(regions, list) and all(isinstance(r, Mapping) for r in regions):
            return regions
        found = f"holds a {type(regions).__name__}; a list of regions expected"
        raise bad_file(path, "wrong_shape", found, _WRITTEN)

    @property
    def lacking_settings(self) -> str:
        """What is not there if there are no settings, for messages."""
        inside = "" if self._mat is None else f", and no ops in {MATLAB}"
        return f"no ops.npy or settings.npy{inside}"

    def _stored(self, *, has_rate: bool) -> dict[str, Any]:
        """Return the settings of all files by name, empty if there are none.

        If the rate is known without them (`has_rate`), none is indispensable.
        """
        values: dict[str, Any] = {}
        # Reversed, so that files of higher priority overwrite the others, unless with None.
        for name in reversed(_SETTINGS):
            if not self._has(name):
                continue
            try:
                stored = _flat(self._stored_settings(name))
                values.update({k: v for k, v in stored.items() if v is not None})
            except SessionFormatError as error:
                if name not in _OUTPUTS and not has_rate:
                    remedy = "or read without it: rate_hz=…, or --rate-hz"
                    hint = f"{error.hint}; {remedy}" if error.hint else remedy
                    place, code = error.path, error.code
                    raise SessionFormatError(place, code, error.message, hint) from error
                self.notes.warn("left_out", f"{error}: read without it")
                continue
            # Only version 1 divides the settings.
            values["is_version_1"] = values.get("is_version_1") or name != "ops"
        if not values and self._mat is not None and "ops" in self._mat.names:
            stored = self._mat.value("ops")
            values = _flat(stored) if isinstance(stored, Mapping) else {}
        return values

    def _stored_settings(self, name: str) -> Mapping[str, Any]:
        path = self.folder / f"{name}.npy"
        stored = load_pickled(path, self._root)
        if isinstance(stored, list) and len(stored) == 1:
            stored = stored[0]
        if isinstance(stored, Mapping):
            return stored
        found = f"holds a {type(stored).__name__}, not settings"
        raise bad_file(path, "wrong_shape", found, _WRITTEN)


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


_DEFAULT_NEUCOEFF = 0.7
"""Default of suite2p."""


@dataclass(frozen=True, slots=True)
class Scan:
    """How a plane was scanned, as its settings state it.

    Attributes
    ----------
    n_planes
        Number of planes; of versions before 1, planes times regions of a mesoscope.
    n_regions
        Regions of a mesoscope in each plane, 1 without one.
    depth
        Place of this folder among the planes, None if no file says it.
    is_mesoscope, is_version_1, is_bidirectional
        Whether several regions are scanned in one frame; whether the settings are those
        of version 1; whether every second volume is scanned backwards.
    folder_frames
        Frames of each folder (or file) that suite2p joined; empty if no file says it.
    """

    n_planes: int
    n_regions: int
    depth: int | None
    is_mesoscope: bool
    is_version_1: bool
    is_bidirectional: bool
    folder_frames: tuple[int, ...]


class Settings:
    """Settings of `ops.npy`, or of the files into which version 1 divides it.

    Attributes
    ----------
    problems
        Names of settings that cannot be right -> what is wrong with them.
    """

    def __init__(self, tables: Tables, values: Mapping[str, Any]) -> None:
        self._where, self._notes, self._values = tables.where, tables.notes, values
        self.problems: dict[str, str] = {}
        if not self._values:
            self._notes.warn("no_settings", f"{self._where}: {tables.lacking_settings}")

    def number(self, name: str, *, least: float | None = None) -> float | None:
        """Return a positive number; None if it is missing or cannot be right.

        With `least`, return a number of at least that.
        """
        value = self._values.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0].item()
        if value is None or (isinstance(value, np.ndarray) and not value.size):
            return None
        found = as_float(value)
        if found is not None and np.isfinite(found):
            is_right = found > 0 if least is None else found >= least
            if is_right:
                return found
        wanted = "a positive number" if least is None else f"a number from {least:g} on"
        self._refuse(name, f"{name} must be {wanted}, found {short(value)}")
        return None

    def _refuse(self, name: str, problem: str) -> None:
        if name not in self.problems:
            self.problems[name] = problem
            self._notes.warn("bad_setting", f"{self._where}: {problem}: not used")

    def count(self, name: str) -> int | None:
        """Return a whole number above 0; None if it is missing or cannot be right."""
        value = self.number(name)
        return None if value is None or value >= 2**31 else int(value)

    def neucoeff(self) -> float | None:
        """Return the factor of the neuropil, 0 for no correction; None if not right."""
        # The second name is that of version 1.
        for name in ("neucoeff", "neuropil_coefficient"):
            value = self.number(name, least=0.0)
            if value is not None or name in self.problems:
                return value
        return _DEFAULT_NEUCOEFF

    def is_deconvolved(self) -> bool:
        """Return whether suite2p deconvolved the traces; if not, spks holds zeros."""
        # The second name is that of versions before 1.
        return False not in map(self._flag, ("do_deconvolution", "spikedetect"))

    def _flag(self, name: str) -> bool | None:
        """Return a setting that is true or false; None if it is neither."""
        value = self._values.get(name)
        return bool(value) if isinstance(value, bool | int | float) else None

    def size(self) -> tuple[int, int] | None:
        """Return height and width of the image in pixels, None if unknown."""
        height, width = self.count("Ly"), self.count("Lx")
        return None if height is None or width is None else (height, width)

    def image(self, name: str) -> np.ndarray | None:
        """Return a stored image float32 (height, width), None if missing."""
        image = self._values.get(name)
        if not isinstance(image, np.ndarray) or image.dtype.kind not in "fiub":
            return None
        # An image is only for display: a wrong one is omitted without an error.
        if image.ndim != 2 or not image.size:
            return None
        return np.nan_to_num(image.astype(np.float32))

    def flyback(self) -> frozenset[int]:
        """Return the numbers of the planes of the flyback, which suite2p leaves out."""
        numbers = vector(self._values.get("ignore_flyback"))
        if numbers is None:
            return frozenset()
        return frozenset(numbers[numbers >= 0].astype(int).tolist())

    def scan(self, n_frames: int, n_stored: int) -> Scan:
        """Return how the plane was scanned.

        Of `n_stored` frames of the traces, those after `n_frames` are padding.
        """
        n_regions = self.count("nrois") or 1
        depth = as_float(self._values.get("iplane"))
        return Scan(
            n_planes=self.count("nplanes") or 1,
            n_regions=n_regions,
            depth=None if depth is None or not 0 <= depth < 2**15 else int(depth),
            is_mesoscope=n_regions > 1 or self._flag("mesoscan") is True,
            is_version_1=self._flag("is_version_1") is True or "db_path" in self._values,
            is_bidirectional=self._flag("bruker_bidirectional") is True,
            folder_frames=self._folder_frames(n_frames, n_stored),
        )

    def _folder_frames(self, n_frames: int, n_stored: int) -> tuple[int, ...]:
        """Return the frames of each folder whose files suite2p joined.

        Files of one folder (`frames_per_file`) follow each other without a pause, as
        microscopes divide one recording. HDF5 and Scanbox files, which hold a recording
        each, are counted in `nframes_per_folder`.
        """
        for name in ("frames_per_folder", "nframes_per_folder"):
            frames = vector(self._values.get(name))
            if frames is None or len(frames) < 2:
                continue
            total, is_sound = frames.sum(), (frames >= 0).all()
            if is_sound and n_frames <= total <= n_stored:
                # The padding lies at the end, so the last folders lose frames.
                ends = np.minimum(np.cumsum(frames), n_frames)
                return tuple(np.diff(ends, prepend=0).astype(int).tolist())
            self._notes.warn(
                "joints_unknown",
                f"{self._where}: {name} counts {total:,.0f} frames in "
                f"{len(frames)} folders, the traces have {n_stored:,}: where a folder "
                "ends is unknown, and windows may touch a joint",
            )
        return ()

    def bad_frames(self, n_frames: int, n_stored: int) -> np.ndarray:
        """Return which frames suite2p marks as bad, bool (frames,); see `scan`."""
        bad = np.zeros(n_frames, bool)
        stored = self._values.get("badframes")
        if stored is None:
            return bad
        frames = vector(stored, "fiub")
        if frames is None:
            self._refuse("badframes", f"badframes are {short(stored)}")
            return bad
        where = f"{self._where}: badframes"
        return marked_frames(frames, bad, n_stored, where, self._notes)


def marked_frames(
    frames: np.ndarray, bad: np.ndarray, n_stored: int, where: str, notes: Notes
) -> np.ndarray:
    """Return which frames are marked as bad, bool (frames,).

    Parameters
    ----------
    frames
        One flag for each frame, or numbers of frames from 0.
    bad
        bool (frames,) frames that are bad already.
    n_stored
        Number of frames with those that were cut at the end, which may be marked too.
    where
        Their source, for messages.
    """
    # MATLAB stores flags as numbers. There are only two frames of the numbers 0 and 1.
    is_flags = frames.dtype.kind == "b"
    is_flags |= len(frames) > 2 and bool(np.isin(frames, (0, 1)).all())
    if is_flags:
        if len(bad) <= len(frames) <= n_stored:
            return np.asarray(bad | (frames[: len(bad)] > 0))
        notes.warn(
            "bad_setting",
            f"{where}: {len(frames):,} flags for {n_stored:,} frames: not used, and "
            f"{int((frames > 0).sum()):,} bad frames are read as good ones; write one "
            "flag per frame, or the numbers of the bad frames",
        )
        return bad
    is_inside = (frames >= 0) & (frames < n_stored) & (frames == np.rint(frames))
    if not is_inside.all():
        notes.warn(
            "bad_setting",
            f"{where}: {int((~is_inside).sum()):,} of {len(frames):,} numbers are no "
            f"frames of {n_stored:,}: these are not used",
        )
    numbers = frames[is_inside].astype(np.int64)
    marked = bad.copy()
    marked[numbers[numbers < len(bad)]] = True
    return marked


def vector(value: Any, kinds: str = "fiu") -> np.ndarray | None:
    """Return the numbers of a list, or of an array of one row or column, as 1-D.

    Arrays of other types than `kinds`, and matrices, give None.
    """
    if isinstance(value, list) and all(isinstance(v, int | float) for v in value):
        value = np.array(value, np.float64)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = np.array([value])  # MATLAB knows no difference
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
        return None
    return value.reshape(-1) if value.size == max(value.shape, default=1) else None


_NEEDED = {
    "spks": ("spks",),
    "deconvolved": ("F", "Fneu"),
    "F-neu": ("F", "Fneu"),
    "dff": ("F", "Fneu"),
}
"""Files of traces that each kind of responses needs."""
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
