"""Where each imaging plane lies on the field: what is zoomed to, and its label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from napari.layers import Points

from omnimouse_app.field import Field

_MARGIN = 0.95
"""Share of the canvas that a plane takes, as napari has it for the whole."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of the field, in pixels, that holds one plane's neurons."""

    plane: int
    top: float
    left: float
    bottom: float
    right: float

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle (y, x)."""
        return (self.top + self.bottom) / 2, (self.left + self.right) / 2

    @property
    def shape(self) -> tuple[float, float]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def zoom_in(self, canvas: Sequence[float]) -> float:
        """Canvas pixels per pixel at which it fills a canvas (height, width)."""
        fits = (have / need for have, need in zip(canvas, self.shape, strict=True))
        return _MARGIN * min(fits)

    def overlaps(self, other: "Tile") -> bool:
        """Whether both share a part of the field."""
        return (
            self.top < other.bottom
            and other.top < self.bottom
            and self.left < other.right
            and other.left < self.right
        )


def tiles_of(field: Field, plane: np.ndarray) -> tuple[Tile, ...]:
    """One for each plane that has neurons on the field; none for a single plane.

    Parameters
    ----------
    field
        Where the neurons are.
    plane
        (P,) numbers, -1 unknown.
    """
    placed = np.isfinite(field.centres).all(axis=1) & (plane >= 0)
    numbers = np.unique(plane[placed])
    if len(numbers) < 2:
        return ()
    edge = _reach(field)
    height, width = field.labels.shape
    tiles = []
    for number in numbers:
        centres = field.centres[placed & (plane == number)]
        top, left = np.maximum(centres.min(axis=0) - edge, 0).tolist()
        bottom, right = np.minimum(centres.max(axis=0) + edge, (height, width)).tolist()
        tiles.append(Tile(int(number), top, left, bottom, right))
    return tuple(tiles)


def tile_of(tiles: Sequence[Tile], plane: int | None) -> Tile | None:
    """The tile of a plane, None where there is none."""
    return next((tile for tile in tiles if tile.plane == plane), None)


def label_layer(tiles: Sequence[Tile], words_of: Callable[[int], str]) -> Points:
    """Each plane's name in the upper left corner of its tile.

    Planes that lie over each other have one list of names, in the corner of the field.
    """
    apart = not any(one.overlaps(other) for one, other in combinations(tiles, 2))
    names = [words_of(tile.plane) for tile in tiles]
    if apart:
        places = [(tile.top, tile.left) for tile in tiles]
    else:
        places, names = [(0.0, 0.0)], ["\n".join(names)]
    return Points(
        np.array(places),
        size=1,
        face_color="transparent",
        border_color="transparent",
        features=pd.DataFrame({"plane": names}),
        text={
            "string": "{plane}",
            "size": 8,
            "color": "#CCCCCC",
            "anchor": "lower_left",
            "translation": np.zeros(2),
        },
    )


def _reach(field: Field) -> float:
    """How far a usual neuron goes from its centre, and a little more."""
    neurons = max(field.n_neurons - len(field.lost), 1)
    pixels = np.count_nonzero(field.labels) / neurons
    return float(np.sqrt(pixels / np.pi)) + 2.0
