"""Monitor, and stimulus: videos and the table of their events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from omnimouse_model.lab.events import Events

GRAY = 128
"""Grey level of the background."""
Frames = UInt8[np.ndarray, "frame height width"]


@dataclass(frozen=True, slots=True)
class Monitor:
    """A flat monitor in front of the animal; the default is that of Wang et al. 2025.

    Parameters
    ----------
    width_cm, height_cm, distance_cm
        Size, and distance of its nearest point from the eye.

    Examples
    --------
    >>> from omnimouse_model.lab.stimuli.stimulus import Monitor
    >>> round(Monitor().degrees_per_pixel(256), 2)
    0.82
    """

    width_cm: float = 55.2
    height_cm: float = 31.0
    distance_cm: float = 15.0

    def degrees_per_pixel(self, width: int) -> float:
        """Return the angle of a pixel at the centre, of a frame of some width."""
        return float(np.degrees(self.width_cm / width / self.distance_cm))


MONITOR = Monitor()
"""The monitor of Wang et al. 2025."""


@dataclass(frozen=True, slots=True, eq=False)
class Stimulus:
    """A stimulus: its videos, and the events in them, such as gratings.

    Attributes
    ----------
    name, parameters
        Name and settings of the stimulus, for tables and files.
    rate_hz
        Frames per second.
    n_videos, n_frames
        Number of videos, and of frames of each.
    frames_of
        Returns the frames uint8 (frame, height, width) of a video.
    events
        Video, time and value of each event, such as the direction of a grating.
    table
        Further columns, one value per event.
    """

    name: str
    parameters: Mapping[str, int | float | str]
    rate_hz: float
    n_videos: int
    n_frames: int
    frames_of: Callable[[int], Frames]
    events: Events
    table: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def values(self) -> np.ndarray:
        """Stimulus value of each event."""
        return self.events.value


def one_event_each(values: np.ndarray, onset_s: float, offset_s: float) -> Events:
    """Return a table of events: one event in each video, always at the same time.

    Events end slightly before `offset_s`, so that a sample at that time does not count.
    """
    n = len(values)
    return Events(
        np.arange(n),
        np.full(n, onset_s),
        np.full(n, offset_s - 1e-6),
        np.asarray(values, np.float64),
    )
