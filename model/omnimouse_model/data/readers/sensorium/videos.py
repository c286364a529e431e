"""Films of Sensorium trials: videos with time as last axis, and still images."""

import numpy as np

from omnimouse_model.data.io.file_stamp import SeenFile
from omnimouse_model.data.io.safe_files import npy_file


class _TrialFilm:
    """Film with one file per recorded trial; the holes between trials have no file."""

    def __init__(self, files: tuple[SeenFile, ...]) -> None:
        self._files = files

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for file in self._files:
            file.check()

    def has(self, trial: int) -> bool:
        """Return whether a trial is recorded; even numbers are holes."""
        return trial % 2 == 1

    def _stored(self, trial: int) -> np.ndarray:
        file = self._files[trial // 2]
        file.check()
        return npy_file(file.path).open()


class Videos(_TrialFilm):
    """Files of (height, width, time); see `Film`."""

    def read(
        self, trial: int, first: int, stop: int, size: tuple[int, ...]
    ) -> np.ndarray:
        """Return frames `first` to `stop` of a trial, (n, height, width)."""
        # Slice the map before moving axes, so that only these frames are copied.
        frames: np.ndarray = np.moveaxis(self._stored(trial)[..., first:stop], -1, 0)
        return np.ascontiguousarray(frames)


class Images(_TrialFilm):
    """Files of (channel, height, width); several channels are averaged."""

    def read(
        self, trial: int, first: int, stop: int, size: tuple[int, ...]
    ) -> np.ndarray:
        """Return the image of a trial, (1, height, width)."""
        stored = self._stored(trial).reshape(-1, *size)
        # Gray images keep their stored type; a mean needs float32.
        if len(stored) == 1:
            return np.array(stored)
        return np.asarray(stored.mean(axis=0, keepdims=True, dtype=np.float32))
