"""Frames of Sensorium trials: videos with time as last axis, and still images."""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.io.file_stamp import FileStamp
from omnimouse_model.data.io.safe_files import npy_file


@dataclass(frozen=True, slots=True, eq=False)
class SensoriumFrames:
    """One file per recorded trial; see `VideoSource`.

    Attributes
    ----------
    files
        One per recorded trial; the holes between trials have no file.
    is_video
        Whether files are (height, width, time), or images (channel, height, width).
    """

    files: tuple[FileStamp, ...]
    is_video: bool

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for file in self.files:
            file.check()

    def has(self, trial: int) -> bool:
        """Return whether a trial is recorded; even numbers are holes."""
        return trial % 2 == 1

    def read(
        self, trial: int, first: int, stop: int, size: tuple[int, ...]
    ) -> np.ndarray:
        """Return frames `first` to `stop` of a trial, or its only image."""
        file = self.files[trial // 2]
        file.check()
        stored = npy_file(file.path).open()
        if self.is_video:
            # Slice the map before moving axes, so that only these frames are copied.
            return np.ascontiguousarray(np.moveaxis(stored[..., first:stop], -1, 0))
        images = stored.reshape(-1, *size)
        # Gray images keep their stored type; a mean of channels needs float32.
        if len(images) == 1:
            return np.array(images)
        return np.asarray(images.mean(axis=0, keepdims=True, dtype=np.float32))
