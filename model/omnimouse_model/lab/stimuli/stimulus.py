"""Monitor, stimulus and events: videos and the table of what they show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8

from omnimouse_model.metrics.tuning import area_average, event_means
from omnimouse_model.storage.arrays.npy import read_grey_levels
from omnimouse_model.storage.byte_source import MAX_TABLE_BYTES, Budget
from omnimouse_model.storage.files import unreadable


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
    responses: Float[np.ndarray, "event unit"], values: Float[np.ndarray, " event"], digits: int = 6
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


# -- still images and movies of the user as stimuli -----------------------------------
_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def still_images(
    images: np.ndarray,
    size: tuple[int, int],
    *,
    blank_s: float = 0.5,
    image_s: float = 0.5,
    rate_hz: float = 30.0,
) -> Stimulus:
    """Return videos of one image each: grey, the image, and grey for 0.2 s.

    Parameters
    ----------
    images
        uint8 (image, height, width) grey levels, averaged or repeated to `size`.
    size
        Height and width of the frames.
    blank_s, image_s
        Time before the image, and of the image.

    The value of an event is the number of its image.

    Examples
    --------
    >>> from omnimouse_model.lab.stimuli.stimulus import still_images
    >>> shown = still_images(np.zeros((3, 72, 128), np.uint8), (36, 64))
    >>> shown.n_videos, shown.frames_of(2).shape
    (3, (36, 36, 64))
    """
    images = _grey_levels("image", images)
    before, shown, after = (round(s * rate_hz) for s in (blank_s, image_s, 0.2))

    def frames_of(video: int) -> np.ndarray:
        frames = np.full((before + shown + after, *size), GRAY, np.uint8)
        fitted = area_average(images[video : video + 1].astype(float), *size)
        frames[before : before + shown] = np.round(fitted).astype(np.uint8)
        return frames

    return Stimulus(
        "still images",
        {"blank_s": blank_s, "image_s": image_s},
        rate_hz,
        len(images),
        before + shown + after,
        frames_of,
        one_event_each(np.arange(len(images)), blank_s, blank_s + image_s),
    )


def _grey_levels(name: str, values: np.ndarray) -> np.ndarray:
    """Return several images or frames unchanged; raise `ValueError` for anything else."""
    values = np.asarray(values)
    if values.ndim != 3 or values.dtype != np.uint8 or not len(values):
        raise ValueError(
            f"{name}s is {values.shape} {values.dtype}; uint8 ({name}, height, width) expected."
        )
    return values


def images_in(folder: str | Path) -> UInt8[np.ndarray, "image height width"]:
    """Return the images of a folder in the order of their names, as grey levels.

    Raises
    ------
    ValueError
        There is no image, one cannot be read or is too large, or images have different
        sizes; the message names the file.
    ModuleNotFoundError
        Pillow is missing.
    """
    folder = Path(folder)
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _ENDINGS)
    except OSError as error:
        raise unreadable(folder, error) from error
    if not files:
        raise ValueError(
            f"{folder} has no image; expected files that end with {', '.join(_ENDINGS)}."
        )
    images: list[np.ndarray] = []
    budget = Budget(folder, most=MAX_TABLE_BYTES)
    for file in files:
        images.append(read_grey_levels(file, budget))
        if images[-1].shape != images[0].shape:
            raise ValueError(
                f"{file} is {images[-1].shape}; {files[0].name} is {images[0].shape}, "
                "and all images of a folder must have one size."
            )
    return np.stack(images)


def movie(frames: np.ndarray, size: tuple[int, int], rate_hz: float = 30.0) -> Stimulus:
    """Return the stimulus that shows one movie of the user; it has a single event.

    `frames` are uint8 (frame, height, width) grey levels.
    """
    frames = _grey_levels("frame", frames)

    def frames_of(video: int) -> np.ndarray:
        del video  # there is one
        fitted = area_average(frames.astype(float), *size)
        return np.asarray(np.round(fitted), np.uint8)

    length_s = len(frames) / rate_hz
    one = np.zeros(1)
    events = Events(one.astype(int), one, one + length_s, one)
    shape = (1, len(frames))
    return Stimulus("movie", {"length_s": length_s}, rate_hz, *shape, frames_of, events)
