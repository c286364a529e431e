"""Layout of a Sensorium folder: files per stream and trial, with checks."""

from functools import partial
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build.decode_text import decode_texts
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.readers.build.statistics import usable_statistics
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.array_file import ArrayFile
from omnimouse_model.storage.arrays.npy import load_small_array, npy_file
from omnimouse_model.storage.files import (
    FileStamp,
    bad_file,
    is_folder,
    stamped_files,
    unless_missing,
)
from omnimouse_model.storage.trees import read_json_mapping

RATE_HZ = 30.0
"""Rate of all streams of the format with videos."""
_ENDING = ".npy"
_LISTED = 6  # trial numbers in a message


class Folder:
    """One Sensorium folder.

    Attributes
    ----------
    root
        The folder itself.
    is_video
        Whether trials are videos (2023) or still images (2022).
    n_trials, n_units, frame_size
        Number of trials from the highest file number, number of neurons and
        (height, width) from the first trial.

    Raises
    ------
    SessionFormatError
        If there are no trials, or the file numbers of a stream have gaps.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._links = _links(root)
        self.is_video = is_folder(self.data("videos"))
        self._numbers = {name: self._numbered(name) for name in self.streams}
        screen = self._numbers[self.screen]
        if not screen:
            raise SessionFormatError(
                self.data(self.screen), "empty", f"data/{self.screen} holds no trials"
            )
        self.n_trials = max(screen) + 1
        self._check_numbers()
        self.frame_size = self._frame_size()
        # Trial 0 may be withheld: take the first trial that has responses.
        recorded = min(self._numbers["responses"], default=None)
        if recorded is None:
            raise SessionFormatError(
                self.data("responses"), "empty", "data/responses holds no trials"
            )
        self.n_units = next(iter(self.file("responses", recorded).shape), 0)
        if not self.n_units:
            raise SessionFormatError(self.data("responses"), "empty", "responses hold 0 units")

    @property
    def screen(self) -> str:
        """Name of the stream with the frames."""
        return "videos" if self.is_video else "images"

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that are read."""
        return (self.screen, "responses", "behavior", "pupil_center")

    def data(self, stream: str) -> Path:
        """Return the folder of a stream, which `config.json` may rename."""
        return self.root / "data" / self._links.get(stream, stream)

    def has(self, stream: str, trial: int) -> bool:
        """Return whether a trial has a file of a stream."""
        return trial in self._numbers[stream]

    def has_any(self, stream: str) -> bool:
        """Return whether a trial has a file of a stream."""
        return bool(self._numbers[stream])

    def path(self, stream: str, trial: int) -> Path:
        """Return the path of a trial's file."""
        return self.data(stream) / f"{trial}.npy"

    def stamp(self, stream: str, trial: int) -> FileStamp:
        """Return the file of a trial, with size and time when the folder was listed."""
        return self._numbers[stream][trial]

    def file(self, stream: str, trial: int) -> ArrayFile:
        """Return the array file of a trial, with its header checked."""
        file = npy_file(self.path(stream, trial), self.root)
        if file.dtype.kind not in "fiu":
            raise bad_file(file.path, "wrong_shape", f"holds {file.dtype}, not numbers")
        return file

    def small_numbers(self, stream: str, trial: int) -> np.ndarray:
        """Return the array of a trial's file, in memory."""
        path = self.path(stream, trial)
        values = load_small_array(path, self.root)
        if values.dtype.kind not in "fiu":
            raise bad_file(path, "wrong_shape", f"holds {values.dtype}, not numbers")
        return values

    def unit_array(
        self,
        name: str,
        notes: Notes,
        shape: tuple[int, ...] | None = None,
        *,
        text: bool = False,
    ) -> np.ndarray | None:
        """Return an array of `meta/neurons`, None if it is missing or does not fit."""
        values = read_side_stream(f"neurons/{name}", lambda _: self._array("neurons", name), notes)
        if values is None:
            return None
        shape = shape or (self.n_units,)
        # By size: (1, N) and (N, 1) are accepted for (N,).
        if values.size == int(np.prod(shape)) and (values.dtype.kind == "U") == text:
            return values.reshape(shape)
        notes.warn(
            "wrong_length",
            f"neurons/{name}.npy is {values.shape} {values.dtype} for {self.n_units} "
            "units; left out",
        )
        return None

    def trial_array(self, name: str) -> np.ndarray | None:
        """Return an array of `meta/trials` with one value per trial, None if missing.

        Raises
        ------
        SessionFormatError
            If it has another number of values.
        """
        values = self._array("trials", name)
        if values is None or values.size == self.n_trials:
            return None if values is None else values.reshape(self.n_trials)
        raise SessionFormatError(
            self.root / "meta" / "trials" / f"{name}.npy",
            "wrong_length",
            f"trials/{name}.npy has {values.size} values for {self.n_trials} trials",
            "was the download complete?",
        )

    def trial_arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays of `meta/trials` with one value per trial, by name."""
        files = sorted(stamped_files(self.root / "meta" / "trials"))
        names = [f.removesuffix(_ENDING) for f in files if f.endswith(_ENDING)]
        arrays = {name: self._array("trials", name) for name in names}
        return {
            name: values
            for name, values in arrays.items()
            if values is not None and values.ndim == 1 and len(values) == self.n_trials
        }

    def statistics(self, notes: Notes) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return mean and std (N,) of the responses, None if missing or invalid."""
        # `all`: statistics over all frames; other folders select kinds of stimuli.
        folder = self.root / "meta" / "statistics" / "responses" / "all"
        stored: list[np.ndarray | None] = []
        for name in ("mean", "std"):
            path, file = folder / f"{name}.npy", f"responses/all/{name}.npy"
            values = unless_missing(partial(load_small_array, path, self.root))
            if values is None:
                pass
            elif values.size == self.n_units and values.dtype.kind in "fiu":
                values = usable_statistics(values, name == "std", file, notes)
            else:
                notes.warn(
                    "bad_statistics",
                    f"{file} has {values.size} values, not one number for each of "
                    f"{self.n_units} units; computed again from the data",
                )
                values = None
            stored.append(values)
        return stored[0], stored[1]

    # -- within -----------------------------------------------------------------
    def _array(self, kind: str, name: str) -> np.ndarray | None:
        path = self.root / "meta" / kind / f"{name}.npy"
        values = unless_missing(partial(load_small_array, path, self.root))
        return None if values is None else decode_texts(values)

    def _numbered(self, stream: str) -> dict[int, FileStamp]:
        """Return the files of a stream by trial number."""
        listed = stamped_files(self.data(stream))
        # Files with other names are ignored.
        return {
            int(name.removesuffix(_ENDING)): listed[name]
            for name in sorted(listed)
            if name.endswith(_ENDING) and name.removesuffix(_ENDING).isdecimal()
        }

    def _check_numbers(self) -> None:
        """Raise if a trial lacks frames.

        Responses may be withheld, and behaviour may be missing in some trials.
        """
        numbers = self._numbers[self.screen]
        if len(numbers) == self.n_trials:
            return
        # A file number can be any integer, so `n_trials` can be huge: search only as
        # far as the message needs.
        first = range(min(self.n_trials, len(numbers) + _LISTED + 1))
        missing = [number for number in first if number not in numbers]
        listed = ", ".join(map(str, missing[:_LISTED]))
        listed += ", …" if missing[_LISTED:] else ""
        raise SessionFormatError(
            self.data(self.screen),
            "missing_trials",
            f"{self.screen} has {len(numbers)} files, and the last one has number "
            f"{self.n_trials - 1} (missing: {listed})",
            "was the download complete?",
        )

    def _frame_size(self) -> tuple[int, int]:
        file = self.file(self.screen, 0)
        # Videos are (height, width, time), images (channel, height, width).
        shape = file.shape[:2] if self.is_video else file.shape[-2:]
        if len(file.shape) != 3 or not all(file.shape):
            raise bad_file(
                file.path,
                "wrong_shape",
                f"is {file.shape}; expected "
                + ("(height, width, time)" if self.is_video else "(1, height, width)"),
            )
        return int(shape[0]), int(shape[1])


def _links(root: Path) -> dict[str, str]:
    """Return stream name -> folder name from `config.json`; paths are refused."""
    path = root / "config.json"
    links = (unless_missing(partial(read_json_mapping, path, root)) or {}).get("links")
    if not isinstance(links, dict):
        return {}
    for name, other in links.items():
        if not isinstance(other, str) or Path(other).name != other:
            raise SessionFormatError(
                path,
                "outside",
                f"config.json: link '{name}' must name a folder of data/, found {other!r}",
                "a session may only name files of its own folder",
            )
    return {str(name): other for name, other in links.items()}
