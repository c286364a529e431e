"""Still images and movies of the user as stimuli."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from omnimouse_model.lab.stimuli.stimulus import GRAY, Events, Stimulus, one_event_each
from omnimouse_model.metrics.spatial import area_average
from omnimouse_model.storage.arrays.images import read_grey_levels
from omnimouse_model.storage.byte_source import MAX_TABLE_BYTES, Budget
from omnimouse_model.storage.files import unreadable

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
    >>> from omnimouse_model.lab.stimuli.images import still_images
    >>> shown = still_images(np.zeros((3, 72, 128), np.uint8), (36, 64))
    >>> shown.n_videos, shown.frames_of(2).shape
    (3, (36, 36, 64))
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(
            f"images is {images.shape} {images.dtype}; uint8 (image, height, width) expected."
        )
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
    frames = np.asarray(frames)
    if frames.ndim != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(
            f"frames is {frames.shape} {frames.dtype}; uint8 (frame, height, width) expected."
        )

    def frames_of(video: int) -> np.ndarray:
        del video  # there is one
        fitted = area_average(frames.astype(float), *size)
        return np.asarray(np.round(fitted), np.uint8)

    length_s = len(frames) / rate_hz
    one = np.zeros(1)
    events = Events(one.astype(int), one, one + length_s, one)
    shape = (1, len(frames))
    return Stimulus("movie", {"length_s": length_s}, rate_hz, *shape, frames_of, events)
