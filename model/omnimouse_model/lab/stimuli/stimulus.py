"""Monitor, stimulus and events: videos and the table of what they show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64, UInt8

from omnimouse_model.metrics.tuning import event_means


# -- responses to the events of a stimulus, such as the directions of a grating -------
@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Events of a stimulus: the video, the time and the value of each.

    Attributes
    ----------
    video
        Number of the video of each event.
    onset, offset
        Seconds from the start of the video.
    value
        What was shown, such as a direction in degrees.
    """

    video: Int64[np.ndarray, " event"]
    onset: Float[np.ndarray, " event"]
    offset: Float[np.ndarray, " event"]
    value: Float[np.ndarray, " event"]


def event_responses(
    responses: Float[np.ndarray, "video frame unit"],
    events: Events,
    period_s: float,
    *,
    lag_s: float = 0.0,
    burn_in: int = 0,
) -> Float[np.ndarray, "event unit"]:
    """Return the mean response to each event; NaN for an event without samples.

    Parameters
    ----------
    responses
        Frame i is at i · `period_s`.
    lag_s
        Delay of the responses. Samples from onset to offset plus the lag count, both
        ends included.
    burn_in
        First frames of a video that do not count.
    """
    times = np.arange(responses.shape[1]) * period_s
    means = np.full((len(events.video), responses.shape[2]), np.nan)
    for number, video in enumerate(events.video):
        begin, end = (x[number] + lag_s for x in (events.onset, events.offset))
        counts = (times >= begin) & (times <= end)
        counts[:burn_in] = False
        if counts.any():
            means[number] = responses[video, counts].mean(axis=0, dtype=np.float64)
    return means


@dataclass(frozen=True, slots=True, eq=False)
class ValueResponses:
    """Mean response to each value of a stimulus, such as each direction.

    Attributes
    ----------
    values
        The different values, sorted.
    response
        Mean over the events of a value, NaN without one.
    count
        Number of events with a response.
    """

    values: Float[np.ndarray, " value"]
    response: Float[np.ndarray, "unit value"]
    count: Int64[np.ndarray, "unit value"]


def responses_by_value(
    responses: Float[np.ndarray, "event unit"],
    values: Float[np.ndarray, " event"],
    digits: int = 6,
) -> ValueResponses:
    """Average the responses to events of equal value, and count these events.

    Values are equal if they agree after rounding to `digits` decimals.
    """
    rounded = np.round(values, digits)
    found, mean = event_means(responses.T, rounded)
    is_of_value = rounded[:, None] == found
    count = np.isfinite(responses).T.astype(np.int64) @ is_of_value.astype(np.int64)
    return ValueResponses(found, mean, count)


# -- monitor, and stimulus: videos and the table of their events ----------------------
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
