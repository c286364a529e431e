"""Conversion of raster values and mask codes to RGB pixels."""

from typing import Final

import numpy as np

from omnimouse_widgets import palette
from omnimouse_widgets.drawn.raster.values import RasterImage

# Opacities of hidden, visible, target and mixed. Prediction and residual exist for
# target cells, so these stay (almost) clear there.
OVERLAYS: Final[dict[RasterImage, tuple[int, int, int, int]]] = {
    "truth": (185, 75, 90, 80),
    "prediction": (185, 75, 25, 45),
    "residual": (185, 75, 0, 30),
}


def overlay_table(tints: tuple[int, int, int, int]) -> np.ndarray:
    """Return uint8 (7, 4): RGBA of the display codes over the values."""
    excluded = [
        (*palette.rgb(palette.VISIBLE), 30),
        (*palette.rgb(palette.TARGET), 40),
        (0, 0, 0, 0),  # a missing response has no value and no part in the task
    ]
    states = palette.state_table(tints)
    return np.concatenate([states, np.array(excluded, np.uint8)])


def blended(base: np.ndarray, codes: np.ndarray, tints: np.ndarray) -> np.ndarray:
    """Blend colours with the tints of their display codes.

    Parameters
    ----------
    base
        uint8 (rows, columns, 3).
    codes
        uint8 (rows, columns), rows of `tints`.
    tints
        uint8 (codes, 4): red, green, blue and opacity.
    """
    # Integer arithmetic, because every stroke blends again. uint16 holds 255 * 255 +
    # 127; adding 127 before the division rounds to nearest.
    share = tints[:, 3:].astype(np.uint16)
    added = (tints[:, :3] * share + 127) // 255
    base_share = (255 - share)[codes]
    return np.asarray((base * base_share + 127) // 255 + added[codes], np.uint8)


def coloured(values: np.ndarray, levels: tuple[float, float], table: np.ndarray) -> np.ndarray:
    """Map values to 256 colours, uint8 (…, 3); NaN is black."""
    low, high = levels
    is_finite = np.isfinite(values)
    # NaN must be replaced before the cast: NaN to uint8 is undefined.
    scaled = np.where(is_finite, (values - low) * (255 / (high - low)), 0)
    pixels: np.ndarray = table[np.clip(scaled, 0, 255).astype(np.uint8)]
    if not is_finite.all():
        pixels[~is_finite] = 0
    return pixels
