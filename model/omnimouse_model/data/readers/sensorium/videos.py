"""Frames of Sensorium trials: videos with time last, still images."""

import numpy as np

from omnimouse_model.data.io.file_stamp import SeenFile
from omnimouse_model.data.io.safe_files import npy_file


class _TrialFilm:
    """One file per recorded trial; the holes between them have none."""

    def __init__(self, files: tuple[SeenFile, ...]) -> None:
        self._files = files

    def check(self) -> None:
        """Raise where a file is gone or changed."""
        for file in self._files:
            file.check()

    def has(self, trial: int) -> bool:
        """Whether it is a recorded trial: holes lie between them."""
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
        """Frames (n, height, width) of a trial."""
        frames: np.ndarray = np.moveaxis(self._stored(trial)[..., first:stop], -1, 0)
        return np.ascontiguousarray(frames)


class Images(_TrialFilm):
    """Files of (channel, height, width); several channels are averaged."""

    def read(
        self, trial: int, first: int, stop: int, size: tuple[int, ...]
    ) -> np.ndarray:
        """The image of a trial, (1, height, width)."""
        stored = self._stored(trial).reshape(-1, *size)
        if len(stored) == 1:
            return np.array(stored)
        return np.asarray(stored.mean(axis=0, keepdims=True, dtype=np.float32))
