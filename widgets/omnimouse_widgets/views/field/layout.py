"""Layout of the imaged field: the mapping from pixels to neurons.

Every neuron has two labels, so that its state can be shown by shape as well as by
colour: `neuron + 1` for the pixels of its outline and `P + neuron + 1` for a rim of
free pixels around it. Both index rows of one colour table (`colours`).

Planes that lie side by side divide the field into tiles without gaps. A plane can thus
be shown with its whole image and without parts of the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise

import numpy as np

from omnimouse_model.data.neurons import Roi, Units
from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session
from omnimouse_model.masks.selection import are_inside
from omnimouse_widgets.views.field.probes import (
    FIELD_SIDE,
    has_depths,
    probe_outlines,
    probe_places,
    probe_texts,
)

LARGEST_LABEL = 65_535
"""Maximum label: uint16 is the widest type that napari maps to colours on the GPU."""


@dataclass(frozen=True, slots=True)
class Field:
    """Position of each neuron on the canvas.

    Attributes
    ----------
    labels
        uint16 (H, W): 0 background, `n + 1` core of neuron n, `P + n + 1` its rim.
    owner
        int32 (H, W): neuron of each pixel, including rims; -1 for none. Where outlines
        overlap, the neuron with the largest weight.
    centres
        float32 (P, 2): (y, x) in pixels.
    mean
        float32 (H, W) mean image, or None.
    without_pixels
        Neurons without a pixel: not measured here, or fully covered by others.
    note
        "" if the outlines come from the recording, else a description of the
        substitute; for probes, the units without a place.
    covered_at, covered_by
        Pixels (flat index, ascending) that belong to a second neuron, and that neuron.
    texts
        (y, x, text) centred at pixels: the names of probes, depths along them, and
        the units without a place.
    outlines
        float (n, 2) closed paths (y, x) in pixels: those of the probes.
    tiles
        One for each plane with neurons on the field; () for a single plane.
    levels
        Values of the mean image that are drawn black and white.
    """

    labels: np.ndarray
    owner: np.ndarray
    centres: np.ndarray
    mean: np.ndarray | None
    without_pixels: np.ndarray
    note: str = ""
    covered_at: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    covered_by: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    texts: tuple[tuple[float, float, str], ...] = ()
    outlines: tuple[np.ndarray, ...] = ()
    tiles: tuple["Tile", ...] = ()
    levels: tuple[float, float] = (0.0, 1.0)

    @property
    def n_neurons(self) -> int:
        """Number of neurons of the session, P."""
        return len(self.centres)

    @property
    def has_rims(self) -> bool:
        """Whether uint16 has enough labels for a core and a rim of every neuron."""
        return 2 * self.n_neurons <= LARGEST_LABEL

    @property
    def n_labels(self) -> int:
        """Number of colour table rows, without the background."""
        return self.n_neurons * (2 if self.has_rims else 1)


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Concatenated pixel lists of all neurons."""

    neuron: np.ndarray
    flat: np.ndarray
    weight: np.ndarray
    shape: tuple[int, int]


def field_of(session: Session) -> Field:
    """Return `session_field`, which is computed once for all views of a session.

    It takes half a second for 40,000 neurons.
    """
    return cached(session, "field", lambda: session_field(session))


def session_field(session: Session) -> Field:
    """Return the field of a session from outlines, else positions, else a grid."""
    units = session.units
    if units.roi is not None:
        mean, tile_of = _mosaic(units, session.images)
        pixels = _outline_pixels(units.roi, mean, tile_of)
        field = _assemble(pixels, len(units.unit_id), mean, "")
    else:
        centres, note = _positions(units)
        pixels = _disks(centres, (FIELD_SIDE, FIELD_SIDE))
        field = _assemble(pixels, len(units.unit_id), None, note)
        if has_depths(units):
            field = replace(field, texts=probe_texts(units), outlines=probe_outlines(units))
    return replace(field, tiles=_tiles(field, np.asarray(units.plane)))


def _levels(mean: np.ndarray) -> tuple[float, float]:
    """Return the values of a mean image that are drawn black and white.

    The white level is above the 99.5th percentile, so that the image stays darker
    than the colours of the neurons.
    """
    # A subsample of at most about 1024 x 1024 pixels is sufficient for percentiles and
    # keeps large mosaics fast.
    some = mean[:: max(1, mean.shape[0] // 512), :: max(1, mean.shape[1] // 512)]
    low, high = np.percentile(some, [1, 99.5])
    # 1e-6: the levels of a constant image must differ.
    return float(low), float(high + 0.15 * (high - low) + 1e-6)


def neurons_at(field: Field, y: float, x: float) -> np.ndarray:
    """Return all neurons at pixel (y, x), the displayed one first."""
    # Pixel centres lie at integer coordinates, so round half up.
    row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
    height, width = field.owner.shape
    if not (0 <= row < height and 0 <= column < width):
        return np.empty(0, np.int64)
    top = int(field.owner[row, column])
    if top < 0:
        return np.empty(0, np.int64)
    first, last = np.searchsorted(
        field.covered_at, [row * width + column, row * width + column + 1]
    )
    return np.concatenate([[top], field.covered_by[first:last]]).astype(np.int64)


def neuron_on_click(neurons: np.ndarray, selection: Sequence[int]) -> int:
    """Return the neuron selected by a click; repeated clicks cycle."""
    choices = [int(neuron) for neuron in neurons]
    if len(selection) == 1 and selection[0] in choices:
        return choices[(choices.index(selection[0]) + 1) % len(choices)]
    return choices[0]


def neurons_under(
    field: Field,
    start: Sequence[float] | np.ndarray,
    stop: Sequence[float] | np.ndarray,
    radius: float,
) -> np.ndarray:
    """Return the neurons with a pixel within `radius` pixels of a segment.

    The segment is split into pieces of about the brush size: the cost then grows with
    its length and not with the area of its bounding box.
    """
    start_at, stop_at = np.asarray(start, float), np.asarray(stop, float)
    length = float(np.hypot(*(stop_at - start_at)))
    pieces = max(1, int(np.ceil(length / max(2 * radius, 8.0))))
    ends = np.linspace(start_at, stop_at, pieces + 1)
    # One extra entry for pixels without a neuron; see `_mark_piece`.
    hit = np.zeros(field.n_neurons + 1, bool)
    for a, b in pairwise(ends):
        _mark_piece(field, a, b, radius, hit)
    return np.flatnonzero(hit[:-1])


def neurons_inside(field: Field, polygon: np.ndarray) -> np.ndarray:
    """Return the neurons with a centre inside a closed polygon of (y, x) corners."""
    return np.flatnonzero(are_inside(field.centres, polygon))


def _mark_piece(field: Field, a: np.ndarray, b: np.ndarray, radius: float, hit: np.ndarray) -> None:
    height, width = field.owner.shape
    top, left = np.maximum(np.floor(np.minimum(a, b) - radius), 0).astype(int)
    bottom, right = np.ceil(np.maximum(a, b) + radius).astype(int) + 1
    bottom, right = min(int(bottom), height), min(int(right), width)
    if top >= bottom or left >= right:
        return
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    x = np.arange(left, right, dtype=np.float32)[None, :]
    near = _within(y, x, a, b, radius)
    # owner is -1 for no neuron; index -1 is the extra last entry of `hit`.
    hit[field.owner[top:bottom, left:right][near]] = True
    if len(field.covered_at):
        # `covered_at` is sorted by flat index, so the rows of the piece are one slice
        # of it.
        first, last = np.searchsorted(field.covered_at, [top * width, bottom * width])
        rows, columns = np.divmod(field.covered_at[first:last], width)
        near_covered = _within(rows, columns, a, b, radius)
        hit[field.covered_by[first:last][near_covered]] = True


def _within(
    y: np.ndarray, x: np.ndarray, a: np.ndarray, b: np.ndarray, radius: float
) -> np.ndarray:
    """Return True for points within `radius` of the segment a-b."""
    dy, dx = float(b[0] - a[0]), float(b[1] - a[1])
    from_y, from_x = y - np.float32(a[0]), x - np.float32(a[1])
    squared = dy * dy + dx * dx
    if squared == 0:
        return np.asarray(from_y**2 + from_x**2 <= radius**2)
    # Position of the nearest point on the segment, 0 at a and 1 at b.
    along = np.clip((from_y * dy + from_x * dx) / squared, 0, 1)
    distance = (from_y - along * dy) ** 2 + (from_x - along * dx) ** 2
    return np.asarray(distance <= radius**2)


def _mosaic(units: Units, images: Mapping[str, np.ndarray]) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the planes' mean images side by side and each neuron's offset (P, 2).

    A single image contains all planes already. Stacks of images, and overlapping
    outlines of several planes without an image, are tiled row by row.
    """
    # A plane without an image, such as one of the flyback, leaves its place empty.
    stack = {
        int(name.removeprefix("mean_")): image
        for name, image in images.items()
        if name.startswith("mean_")
    }
    nowhere = np.zeros((len(units.unit_id), 2), np.int64)
    if not stack and ("mean" in images or not _overlap(units)):
        return images.get("mean"), nowhere
    planes = np.maximum(np.asarray(units.plane, np.int64), 0)
    count = 1 + max(*stack, int(planes.max(initial=0)), 0)
    columns = int(np.ceil(np.sqrt(count)))
    assert units.roi is not None
    reach = units.roi.yx.max(axis=0).astype(np.int64) + 1
    height = max((image.shape[0] for image in stack.values()), default=int(reach[0]))
    width = max((image.shape[1] for image in stack.values()), default=int(reach[1]))
    # Ceiling division.
    rows = -(-count // columns)
    corners = np.stack(np.divmod(planes, columns), axis=1) * (height, width)
    mean = None
    if stack:
        mean = np.zeros((rows * height, columns * width), np.float32)
        for number, image in stack.items():
            row, column = divmod(number, columns)
            top, left = row * height, column * width
            mean[top : top + image.shape[0], left : left + image.shape[1]] = image
    return mean, corners


def _overlap(units: Units) -> bool:
    """Return True if the bounding boxes of two planes' outlines overlap."""
    roi, plane = units.roi, np.asarray(units.plane)
    assert roi is not None
    of_pixel = np.repeat(plane, np.diff(roi.offsets))
    boxes = [
        (roi.yx[of_pixel == n].min(axis=0), roi.yx[of_pixel == n].max(axis=0))
        for n in np.unique(of_pixel[of_pixel >= 0])
    ]
    return any(
        bool((low_a <= high_b).all() and (low_b <= high_a).all())
        for (low_a, high_a), (low_b, high_b) in combinations(boxes, 2)
    )


def _outline_pixels(roi: Roi, mean: np.ndarray | None, corners: np.ndarray) -> _Pixels:
    neuron = np.repeat(np.arange(len(corners)), np.diff(roi.offsets))
    y, x = (roi.yx.astype(np.int64) + corners[neuron]).T
    if mean is not None:
        shape = (int(mean.shape[0]), int(mean.shape[1]))
    else:
        shape = (int(y.max()) + 1, int(x.max()) + 1)
    inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    flat = (y * shape[1] + x)[inside]
    return _Pixels(neuron[inside], flat, roi.weight[inside], shape)


def _positions(units: Units) -> tuple[np.ndarray, str]:
    """Return centres (y, x) in a square of `FIELD_SIDE` pixels, and a note on them."""
    count = len(units.unit_id)
    if has_depths(units):
        # The texts of the field explain the columns and list the other units.
        return probe_places(units), ""
    pixel = np.asarray(units.xy_px, float)[:, ::-1]
    micrometre = np.asarray(units.xyz_um, float)[:, 1::-1]
    for points, name in ((pixel, "xy_px"), (micrometre, "xyz_um")):
        if np.isfinite(points).all() and len(np.unique(points, axis=0)) > 1:
            return (
                _spread(points, np.asarray(units.plane)),
                f"No outlines in this recording: disks drawn at positions ({name}).",
            )
    columns = int(np.ceil(np.sqrt(count)))
    grid = np.stack(np.divmod(np.arange(count), columns), axis=1) + 0.5
    return (
        grid * FIELD_SIDE / columns,
        "No positions in this recording: neurons are laid out as a grid, in order.",
    )


def _spread(points: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Fit points into the square, with one tile per plane."""
    planes = np.unique(plane)
    tiles = int(np.ceil(np.sqrt(len(planes))))
    low = points.min(axis=0)
    # The same scale for both axes keeps the proportions of the field.
    extent = max(float((points.max(axis=0) - low).max()), 1e-9)
    tile = FIELD_SIDE / tiles
    # The margin keeps the disks of neurons at the border inside their tile.
    margin = 0.04 * tile
    inside = margin + (points - low) / extent * (tile - 2 * margin)
    rank = np.searchsorted(planes, plane)
    return np.asarray(inside + np.stack(np.divmod(rank, tiles), axis=1) * tile)


def _disks(centres: np.ndarray, shape: tuple[int, int]) -> _Pixels:
    # NaN: a unit that has no place.
    placed = np.flatnonzero(np.isfinite(centres).all(axis=1))
    radius = max(1.0, 0.4 * _spacing(centres[placed]))
    reach = int(np.ceil(radius))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = dy**2 + dx**2 <= radius**2
    offsets = np.stack([dy[disk], dx[disk]], axis=1)
    yx = np.round(centres[placed]).astype(np.int64)[:, None] + offsets[None]
    yx = np.clip(yx, 0, np.array(shape) - 1).reshape(-1, 2)
    neuron = np.repeat(placed, len(offsets))
    # The weight decreases with the distance, so that overlapping disks share their
    # border at equal distances from both centres.
    weight = np.tile(1.0 / (1.0 + (offsets**2).sum(axis=1)), len(placed))
    return _Pixels(neuron, yx[:, 0] * shape[1] + yx[:, 1], weight, shape)


def _spacing(centres: np.ndarray) -> float:
    """Return the median nearest-neighbour distance, from at most about 400 neurons."""
    if len(centres) < 2:
        return FIELD_SIDE / 8
    # All pairwise distances of 10,000 neurons would need at least 800 MB; a few hundred
    # rows of them give about the same median.
    some = centres[:: max(1, len(centres) // 400)]
    squared = ((some[:, None] - centres[None]) ** 2).sum(axis=2)
    # Excludes each neuron itself, and neurons at the same position.
    squared[squared == 0] = np.inf
    return float(np.clip(np.sqrt(np.median(squared.min(axis=1))), 2, FIELD_SIDE / 8))


def _assemble(pixels: _Pixels, count: int, mean: np.ndarray | None, note: str) -> Field:
    owner = np.full(pixels.shape[0] * pixels.shape[1], -1, np.int32)
    weakest_first = np.argsort(pixels.weight, kind="stable")
    # NumPy keeps the last of repeated indices: the neuron with the largest weight.
    owner[pixels.flat[weakest_first]] = pixels.neuron[weakest_first]
    covered = owner[pixels.flat] != pixels.neuron
    order = np.argsort(pixels.flat[covered], kind="stable")
    inside = owner.reshape(pixels.shape)
    # Small neurons cover only a pixel or two on screen, so rims are added around
    # the outlines instead of replacing their edges.
    owner = _grown(inside, int(np.clip(round(pixels.shape[0] / 480), 1, 3)))
    labels = _labels(inside, owner, count)
    without_pixels = np.setdiff1d(np.arange(count), inside)
    # Shared between views; accidental writes must fail.
    for array in (owner, labels):
        array.flags.writeable = False
    return Field(
        labels=labels,
        owner=owner,
        centres=_centres(pixels, count),
        mean=mean,
        without_pixels=without_pixels,
        note=note,
        covered_at=pixels.flat[covered][order],
        covered_by=pixels.neuron[covered][order],
        levels=(0.0, 1.0) if mean is None else _levels(mean),
    )


def _centres(pixels: _Pixels, count: int) -> np.ndarray:
    # Outlines with zero weights must not give a centre of NaN.
    weight = np.maximum(pixels.weight, 1e-6)
    total = np.bincount(pixels.neuron, weight, count)
    y, x = np.divmod(pixels.flat, pixels.shape[1])
    # A neuron without a pixel gets the centre NaN (0 / 0).
    with np.errstate(invalid="ignore"):
        centres = np.stack(
            [np.bincount(pixels.neuron, weight * v, count) / total for v in (y, x)], axis=1
        )
    return centres.astype(np.float32)


def _labels(inside: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    if count > LARGEST_LABEL:
        raise ValueError(
            f"{count:,} neurons: one field shows at most {LARGEST_LABEL:,}. "
            "Open a part of the recording."
        )
    labels = (owner + 1).astype(np.uint16)
    if 2 * count > LARGEST_LABEL:
        return labels
    rim = (owner >= 0) & (inside < 0)
    # Cannot overflow: 2 * count is at most LARGEST_LABEL here.
    return np.where(rim, labels + np.uint16(count), labels).astype(np.uint16)


def _grown(owner: np.ndarray, steps: int) -> np.ndarray:
    """Assign free pixels next to a neuron to that neuron; repeat `steps` times."""
    for _ in range(steps):
        padded = np.pad(owner, 1, constant_values=-1)
        taken = owner.copy()
        for neighbour in (
            padded[:-2, 1:-1],
            padded[2:, 1:-1],
            padded[1:-1, :-2],
            padded[1:-1, 2:],
        ):
            taken = np.where(taken < 0, neighbour, taken)
        owner = taken
    return owner


_MOST_COMPARED = 200
"""Neurons that are compared; all pairs of them are."""
_TOLERANCE = 0.02
"""Largest deviation of distances in micrometres from one scale, as a share (r.m.s.)."""


def um_per_pixel(session: Session, field: Field) -> float | None:
    """Return the micrometres per pixel of the field; None without one common scale.

    Distances on the field and in the cortex must be proportional within an imaging
    plane. Fields of probes have two scales, and fields without positions none.
    """
    if field.texts:
        return None
    pixels = np.asarray(field.centres, float)
    micrometres = np.asarray(session.units.xyz_um, float)[:, 1::-1]
    plane = np.asarray(session.units.plane)
    known = np.isfinite(pixels).all(axis=1) & np.isfinite(micrometres).all(axis=1)
    if not known.any():
        return None
    # Planes lie side by side on the field: only distances within one are comparable.
    numbers, counts = np.unique(plane[known], return_counts=True)
    neurons = np.flatnonzero(known & (plane == numbers[counts.argmax()]))
    neurons = neurons[:: max(1, len(neurons) // _MOST_COMPARED)]
    drawn, real = _distances(pixels[neurons]), _distances(micrometres[neurons])
    if not drawn.any() or not real.any():
        return None
    scale = float((drawn * real).sum() / (drawn**2).sum())
    deviation = np.sqrt(((real - scale * drawn) ** 2).mean() / (real**2).mean())
    return scale if deviation < _TOLERANCE else None


def _distances(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2))


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


def _tiles(field: Field, plane: np.ndarray) -> tuple[Tile, ...]:
    """Return the tiles of a field whose neurons lie in planes (P,), -1 unknown.

    A tile ends half way to its neighbours, or at the edge of the field.
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
