"""Tables of a suite2p plane: `.npy` files, or variables of `Fall.mat` for MATLAB."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.matlab import MatFile, StoredArray, open_mat
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.files import bad_file, is_there, label
from omnimouse_model.storage.pickles import load_pickled

MATLAB = "Fall.mat"
TRACES = ("F.npy", "spks.npy")
TABLES = ("stat.npy", "iscell.npy", "ops.npy", "settings.npy")
_OUTPUTS = ("reg_outputs", "detect_outputs")
_SETTINGS = ("ops", "settings", "db", *_OUTPUTS)
"""Files with settings, by priority (versions before 1 have only `ops`)."""
_REGION_FIELDS = ("ypix", "xpix", "lam", "med", "iplane", "imerge")


def is_plane(folder: Path) -> bool:
    """Return whether a folder holds traces and tables of suite2p, or its `Fall.mat`."""
    # Traces alone could be those of another program. A link to nothing counts: the
    # error for it says what to do.
    return is_there(folder / MATLAB, follows=False) or all(
        any(is_there(folder / file, follows=False) for file in files) for files in (TRACES, TABLES)
    )


class Tables:
    """Tables of one plane: `.npy` files, or variables of a MATLAB file."""

    def __init__(self, folder: Path, root: Path, notes: Notes, matlab: Path | None) -> None:
        self.folder = folder
        self._root, self._notes = root, notes
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
        if file.dtype.kind not in "fiu" or len(file.shape) != 2:
            raise bad_file(
                path,
                "wrong_shape",
                f"is {file.shape} {file.dtype}; (regions, frames) of numbers expected",
                "was it written by suite2p?",
            )
        return file

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
        if marked.ndim not in (1, 2) or marked.dtype.kind not in "fiub":
            raise bad_file(
                path,
                "wrong_shape",
                f"is {marked.shape} {marked.dtype}; one row per region expected",
                "was it written by suite2p?",
            )
        # After a round trip through MATLAB, a vector is one row.
        is_row = marked.ndim == 2 and len(marked) == 1 and marked.shape[1] != 2
        return marked[0] if is_row else marked

    def regions(self) -> list[Mapping[str, Any]] | None:
        """Return the regions, None without a table of them."""
        mat, path = self._in_mat("stat"), self.path("stat")
        if mat is None and not self._has("stat"):
            lacking = "stat.npy" if self._mat is None else f"stat in {MATLAB}"
            self._notes.warn(
                "no_contours",
                f"{label(self.folder)} has no {lacking}: neurons have no positions and contours",
            )
            return None
        if mat is None:
            regions = load_pickled(path, self._root)
        else:
            regions = mat.value("stat", _REGION_FIELDS)
            regions = [regions] if isinstance(regions, dict) else regions
            if isinstance(regions, np.ndarray) and not regions.size:
                regions = []
        is_list = isinstance(regions, list)
        if not is_list or not all(isinstance(r, Mapping) for r in regions):
            raise bad_file(
                path,
                "wrong_shape",
                f"holds a {type(regions).__name__}; a list of regions expected",
                "was it written by suite2p?",
            )
        found: list[Mapping[str, Any]] = regions
        return found

    @property
    def lacking_settings(self) -> str:
        """What is not there if there are no settings, for messages."""
        inside = "" if self._mat is None else f", and no ops in {MATLAB}"
        return f"no ops.npy or settings.npy{inside}"

    def settings(self, *, has_rate: bool) -> dict[str, Any]:
        """Return the settings of all files by name, empty if there are none.

        If the rate is known without them (`has_rate`), none is indispensable.
        """
        values: dict[str, Any] = {}
        # Reversed, so that files of higher priority overwrite the others.
        for name in reversed(_SETTINGS):
            if not self._has(name):
                continue
            try:
                values.update(_flat(self._stored_settings(name)))
            except SessionFormatError as error:
                if name not in _OUTPUTS and not has_rate:
                    remedy = "or read without it: rate_hz=…, or --rate-hz"
                    hint = f"{error.hint}; {remedy}" if error.hint else remedy
                    place, code = error.path, error.code
                    raise SessionFormatError(place, code, error.message, hint) from error
                self._notes.warn("left_out", f"{error}: read without it")
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
        if not isinstance(stored, Mapping):
            raise bad_file(
                path,
                "wrong_shape",
                f"holds a {type(stored).__name__}, not settings",
                "was it written by suite2p?",
            )
        return stored


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
