"""Position of each imaging plane on the field, for zoom and labels.

Planes that lie side by side divide the field without gaps. A plane can thus be shown
with its whole image and without parts of the next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from omnimouse_widgets.drawn.field.layout import Field

_MARGIN = 0.95
"""Share of the canvas that a plane fills, as in napari's own view of all layers."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of the field that belongs to one plane, in pixels."""

    plane: int
    top: float
    left: float
    bottom: float
    right: float

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (y, x)."""
        return (self.top + self.bottom) / 2, (self.left + self.right) / 2

    @property
    def shape(self) -> tuple[float, float]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def zoom_in(self, canvas: Sequence[float]) -> float:
        """Return the zoom, in canvas pixels per field pixel, that fills the canvas.

        `canvas` is (height, width).
        """
        fits = (have / need for have, need in zip(canvas, self.shape, strict=True))
        return _MARGIN * min(fits)

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Return a copy of the image, black outside the tile."""
        cropped = np.zeros_like(image)
        inside = tuple(
            slice(round(start), round(stop))
            for start, stop in ((self.top, self.bottom), (self.left, self.right))
        )
        cropped[inside] = image[inside]
        return cropped

    def overlaps(self, other: "Tile") -> bool:
        """Return True if both tiles share a part of the field."""
        return (
            self.top < other.bottom
            and other.top < self.bottom
            and self.left < other.right
            and other.left < self.right
        )


def tiles_of(field: Field, plane: np.ndarray) -> tuple[Tile, ...]:
    """Return one tile for each plane with neurons on the field; () for a single plane.

    A tile ends half way to its neighbours, or at the edge of the field.

    Parameters
    ----------
    field
        Positions of the neurons.
    plane
        (P,) numbers, -1 unknown.
    """
    placed = np.isfinite(field.centres).all(axis=1) & (plane >= 0)
    numbers = np.unique(plane[placed])
    if len(numbers) < 2:
        return ()
    edge = _neuron_radius(field)
    height, width = field.labels.shape
    tiles = []
    for number in numbers:
        centres = field.centres[placed & (plane == number)]
        top, left = np.maximum(centres.min(axis=0) - edge, 0).tolist()
        bottom, right = np.minimum(centres.max(axis=0) + edge, (height, width)).tolist()
        # The names of probes stand above their units.
        top, bottom = (0.0, float(height)) if field.texts else (top, bottom)
        tiles.append(Tile(int(number), top, left, bottom, right))
    return tuple(_with_room(tile, tiles, height, width) for tile in tiles)


def tile_of(tiles: Sequence[Tile], plane: int | None) -> Tile | None:
    """Return the tile of a plane, or None."""
    return next((tile for tile in tiles if tile.plane == plane), None)


def name_places(tiles: Sequence[Tile], names: Sequence[str]) -> list[tuple[float, float, str]]:
    """Return the upper left corner and the name of each tile, as (y, x, name).

    Planes that overlap share one list of names, in the corner of the field.
    """
    if any(one.overlaps(other) for one, other in combinations(tiles, 2)):
        return [(0.0, 0.0, "\n".join(filter(None, names)))]
    return [(tile.top, tile.left, name) for tile, name in zip(tiles, names, strict=True)]


def _with_room(tile: Tile, tiles: Sequence[Tile], height: float, width: float) -> Tile:
    """Return the tile, extended by half of the gap to each neighbour."""
    # Sides as (top, left, -bottom, -right): a larger number is nearer to the centre.
    own = np.array([tile.top, tile.left, -tile.bottom, -tile.right])
    limits = np.array([0.0, 0.0, -height, -width])
    for other in tiles:
        # The side of the other tile that faces each side.
        facing = np.array([-other.bottom, -other.right, other.top, other.left])
        gaps = own + facing
        # The largest gap says on which side the other tile lies. If it is negative as
        # well, the two overlap, or the other tile is this one.
        side = int(gaps.argmax())
        if gaps[side] >= 0:
            limits[side] = max(limits[side], (own[side] - facing[side]) / 2)
    return Tile(tile.plane, *(limits * [1, 1, -1, -1]).tolist())


def _neuron_radius(field: Field) -> float:
    """Return the radius of an average neuron plus a margin, in pixels."""
    neurons = max(field.n_neurons - len(field.without_pixels), 1)
    # Radius of the disk with the average number of pixels per neuron.
    pixels = np.count_nonzero(field.labels) / neurons
    return float(np.sqrt(pixels / np.pi)) + 2.0
