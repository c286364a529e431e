"""Tables of a suite2p plane: `.npy` files, or variables of `Fall.mat`, and its settings.

Some settings can be wrong; what the files hold decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.checked_values import as_float, require, short
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.matlab import MatFile, StoredArray, open_mat
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.arrays.rows import MemoryRows
from omnimouse_model.storage.files import bad_file, is_there, label
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
