"""Frames of Sensorium trials: videos with time as last axis, and still images."""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.readers.build.trial_stimulus import TrialFrames


@dataclass(frozen=True, slots=True, eq=False)
class SensoriumFrames(TrialFrames):
    """Frames of the trials of a Sensorium folder.

    Attributes
    ----------
    is_video
        Whether files are (height, width, time), or images (channel, height, width).
    """

    is_video: bool

    def read(self, trial: int, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
        """Return frames `first` to `stop` of a trial, or its only image."""
        stored = self.stored(trial)
        if self.is_video:
            whole = (slice(None),) * (len(stored.shape) - 1)
            return np.ascontiguousarray(np.moveaxis(stored.part(*whole, slice(first, stop)), -1, 0))
        images = stored.open().reshape(-1, *size)
        # Gray images keep their stored type; a mean of channels needs float32.
        if len(images) == 1:
            return images
        return np.asarray(images.mean(axis=0, keepdims=True, dtype=np.float32))
