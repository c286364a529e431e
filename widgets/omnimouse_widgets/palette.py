"""Colours and labels of states, scores, curves and tiers for both interfaces.

The colours are the Okabe-Ito palette, which is distinguishable with any colour vision.
Views do not rely on colour alone, so each state also has a label here.
"""

from typing import Final, Literal

import numpy as np

from omnimouse_model.masks import STATE_NAMES as STATE_NAMES

Tone = Literal["quiet", "alert", "good", "waiting", "problem"]
"""Meaning of a label or sign; each toolkit maps it to light and dark colours."""

VISIBLE: Final = "#56B4E9"
HIDDEN: Final = "#404040"
TARGET: Final = "#E69F00"
MIXED: Final = "#CC79A7"

# Curves: the recording is white, predictions and baselines are coloured.
RECORDED: Final = "#FFFFFF"
PREDICTED: Final = "#E69F00"
BASELINE: Final = "#009E73"
BAND: Final = "#9AA3B2"
"""Band of recorded values about a prediction: gray, because spans have hues."""
# No pin has the colour of the live prediction or of the baseline.
PINS: Final = ("#56B4E9", "#CC79A7", "#F0E442", "#D55E00")
"""Colours of pins A to D, drawn together with `RECORDED` and `PREDICTED`."""
EDITED: Final = "#56B4E9"
"""Prediction under edits; equal to `VISIBLE`, so not used where states are shown."""
ON_PAPER: Final = {
    RECORDED: "#1D2127",
    PREDICTED: "#B86E00",
    BASELINE: "#00805D",
    PINS[0]: "#2F8FC4",
    PINS[1]: "#B0558A",
    PINS[2]: "#8D8300",
    PINS[3]: "#C04F00",
}
"""Curve colours on a white background, by screen colour."""
AXIS: Final = "#8B919A"
"""Axes and scale bars on the dark plot background."""
CURSOR: Final = "#F0E442"
PROBLEM: Final = "#D55E00"
GOOD: Final = "#009E73"
EDGE: Final = "#7A808B"
"""Edges of marks; visible on light and dark backgrounds."""

CONDITION_COLOURS: Final = {
    "video + behaviour": "#56B4E9",
    "video": "#E69F00",
    "behaviour": "#009E73",
    "nothing": "#CC79A7",
}
"""Colours of sweep curves by the inputs besides the axis; see `inputs_label`."""
CONDITION_SYMBOLS: Final = {
    "video + behaviour": "o",
    "video": "s",
    "behaviour": "t1",
    "nothing": "d",
}
"""Symbols of the same conditions: circle, square, triangle, diamond."""

SELECTED: Final = "#FFFFFF"
"""Ring of a selected neuron, in every colouring of the field."""
VISIBLE_RING: Final = "#7D8FA6"
"""Ring of a visible neuron where scores are coloured; darker than the scores."""
UNSCORED: Final = "#5A5A5A"
"""Colour of neurons without a score, and of the disk of neurons that fail a test."""
UNKNOWN_RING: Final = "#F0A6CF"
"""Ring of a neuron without a value, which is empty, and of a disk that is grey as the image."""

STATE_COLOURS: Final = (HIDDEN, VISIBLE, TARGET, MIXED)
"""By mask code 0, 1, 2, and 3 for a neuron with a mixed state within the span."""

TIER_COLOURS: Final = {
    "train": "#6B7280",
    "validation": "#56B4E9",
    "oracle": "#CC79A7",
    "test": "#E69F00",
    "none": "#2B2E36",
}
TIER_LETTERS: Final = {"train": "", "validation": "V", "oracle": "O", "test": "T"}

# Not the colours of states: an area must not look like a visible or target neuron.
AREA_COLOURS: Final = (
    "#CC6677", "#44AA99", "#DDCC77", "#B14C9F", "#228833", "#7468D8", "#999933",
    "#90D8D8",
)  # fmt: skip
"""Brain areas in alphabetical order, and sources: Tol's muted colours without those of states.

Purple, green and indigo are lighter than Tol's, and a pale cyan stands for his wine: their
contrast with the dark background is above 3.
"""
KIND_COLOURS: Final = {
    "video": "#0072B2",
    "image": "#F0E442",
    "blank": "#3A3E47",
    "invalid": "#D55E00",
    "none": "#3A3E47",
}
"""Colours of trial kinds; bar heights encode the same (`KIND_HEIGHTS`)."""
KIND_HEIGHTS: Final = {"video": 1.0, "image": 0.6, "invalid": 0.6}
"""Heights of the bars; kinds not listed are low."""

_VIRIDIS_HEX: Final = (
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e"
    "297a8e26828e23898e21918c1f978b1f9f8821a68527ad8131b57b3dbc744cc26c5cc8636ece58"
    "81d34d95d840aadc32c0df25d5e21aeae51afde725"
)


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue (0-255) of "#RRGGBB"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def state_table(alpha: tuple[int, int, int, int] = (255, 255, 255, 255)) -> np.ndarray:
    """Return uint8 (4, 4): RGBA of hidden, visible, target and mixed."""
    rows = [(*rgb(colour), a) for colour, a in zip(STATE_COLOURS, alpha, strict=True)]
    return np.array(rows, np.uint8)


def viridis_table() -> np.ndarray:
    """Return uint8 (256, 3): viridis colours for scores 0 to 1."""
    # Anchors of viridis as hex triplets; interpolation between them needs neither 256
    # literals nor matplotlib.
    anchors = np.frombuffer(bytes.fromhex(_VIRIDIS_HEX), np.uint8).reshape(-1, 3)
    at = np.linspace(0, 255, len(anchors)).round()
    columns = [np.interp(np.arange(256), at, anchors[:, k]) for k in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)


def cycle_table() -> np.ndarray:
    """Return uint8 (256, 3): colours of angles, whose ends meet.

    Hues of OKLCh. The lightness changes with the hue, from yellow to blue, so that
    angles differ for colour-blind readers, too.
    """
    hue = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    lightness = 0.70 + 0.15 * np.cos(hue - np.radians(110))
    a, b = 0.12 * np.cos(hue), 0.12 * np.sin(hue)
    # OKLab to linear sRGB (Ottosson, 2020).
    roots = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(to_rgb @ roots**3, 0, 1).T
    gamma = 1.055 * linear ** (1 / 2.4) - 0.055
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, gamma)
    return np.asarray((255 * encoded).round(), np.uint8)


def difference_table() -> np.ndarray:
    """Return uint8 (256, 3): violet (lower) over grey to green (higher)."""
    # Grey, not dark, in the middle: neurons without a difference stay visible. The ends
    # are no colours of states, which the rims have beside them.
    return _diverging("#9B7BFF", (150, 152, 158), "#5FD35F")


def area_table(n: int) -> np.ndarray:
    """Return uint8 (n, 3): one colour per area; colours repeat after eight areas."""
    colours = [rgb(AREA_COLOURS[at % len(AREA_COLOURS)]) for at in range(n)]
    return np.array(colours, np.uint8).reshape(n, 3)


def residual_table() -> np.ndarray:
    """Return uint8 (256, 3): blue (too low) over dark grey to orange (too high)."""
    # Blue and orange are distinguishable with any colour vision, unlike red and green.
    return _diverging(VISIBLE, (40, 42, 48), TARGET)


def _diverging(low: str, middle: tuple[int, int, int], high: str) -> np.ndarray:
    stops = np.array([rgb(low), middle, rgb(high)], float)
    columns = [np.interp(np.arange(256), (0, 127.5, 255), stops[:, k]) for k in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)
