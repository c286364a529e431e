"""Frames at the size that a model reads."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Shaped


def fit_video(
    frames: Shaped[np.ndarray, "time ..."], size: tuple[int, int]
) -> Shaped[np.ndarray, "time height width"]:
    """Return gray frames (time, *size); frames of that size stay as they are."""
    if frames.ndim == 4:
        # The reference package cannot rescale colours. The plain mean assumes nothing
        # about the screen.
        frames = np.asarray(frames.mean(axis=3, dtype=np.float32))
    if frames.shape[1:] == size:
        return frames
    return rescale_area(frames, size)


def rescale_area(
    frames: Shaped[np.ndarray, "time height width"], size: tuple[int, int]
) -> Float32[np.ndarray, "time new_height new_width"]:
    """Average frames (time, height, width) over areas to another size, float32.

    Every new pixel is the mean of the stored image over its area, with fractional
    weights at the borders.
    """
    rows = _area_weights(frames.shape[1], size[0])
    columns = _area_weights(frames.shape[2], size[1])
    scaled = np.einsum("ih,thw,jw->tij", rows, frames, columns, optimize=True)
    return np.asarray(scaled, np.float32)


@lru_cache(maxsize=16)
def _area_weights(stored: int, new: int) -> np.ndarray:
    """(new, stored) share of every stored pixel in every new one; rows sum to 1."""
    edges = np.arange(new + 1) * (stored / new)
    low = np.maximum(edges[:-1, None], np.arange(stored)[None, :])
    high = np.minimum(edges[1:, None], np.arange(1, stored + 1)[None, :])
    weights: np.ndarray = np.clip(high - low, 0.0, None) * (new / stored)
    return weights
