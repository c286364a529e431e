"""Simulated imaging: outlines of the cells and a mean image of the microscope.

The planes are tiled in one mosaic, so that a single image shows all neurons.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from omnimouse_model.simulate.population import FIELD_UM, PLANE_DEPTHS_UM, Anatomy
from omnimouse_model.simulate.processes import Purpose, stream

UM_PER_PIXEL = 2.0
PLANE_PX = int(FIELD_UM / UM_PER_PIXEL)
PLANES_PER_ROW = 2


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Pixel masks in the mosaic: `yx[offsets[i]:offsets[i + 1]]` for neuron i."""

    offsets: Int[np.ndarray, " neuron_plus_one"]
    yx: Int[np.ndarray, "pixel 2"]
    weight: Float[np.ndarray, " pixel"]


def plane_origins() -> list[tuple[int, int]]:
    """Return the top left pixel (row, column) of every plane in the mosaic."""
    return [
        (plane // PLANES_PER_ROW * PLANE_PX, plane % PLANES_PER_ROW * PLANE_PX)
        for plane in range(len(PLANE_DEPTHS_UM))
    ]


def draw_imaging(seed: int, anatomy: Anatomy) -> tuple[Outlines, Float[np.ndarray, "row column"]]:
    """Return the outlines of the neurons and the mean image (0 to about 1)."""
    rng = stream(seed, Purpose.IMAGING)
    outlines = _draw_outlines(rng, anatomy)
    rows = -(-len(PLANE_DEPTHS_UM) // PLANES_PER_ROW)
    image = np.zeros((rows * PLANE_PX, PLANES_PER_ROW * PLANE_PX))
    vessels = _vessels(rng)
    bright = np.repeat(rng.uniform(0.5, 1.4, len(anatomy.area)), np.diff(outlines.offsets))
    y, x = outlines.yx.T
    # The brighter cell wins where masks overlap. Plain indexing would keep the last
    # one.
    np.maximum.at(image, (y, x), bright * outlines.weight)
    for plane, (top, left) in enumerate(plane_origins()):
        part = (slice(top, top + PLANE_PX), slice(left, left + PLANE_PX))
        # Surface vessels shade all planes, slightly displaced in each.
        image[part] = _plane(rng, image[part], np.roll(vessels, 3 * plane, axis=1))
    return outlines, image.astype(np.float32)


def _draw_outlines(rng: np.random.Generator, anatomy: Anatomy) -> Outlines:
    # 7 pixels are 14 µm, more than the largest soma radius with its deformation.
    reach = np.arange(-7, 8)
    counts, places, weights = [0], [], []
    origins = np.array(plane_origins())[anatomy.plane]
    centres = anatomy.xyz_um[:, [1, 0]].astype(float) / UM_PER_PIXEL
    radii = (anatomy.soma_radius_um / UM_PER_PIXEL).tolist()
    for centre, origin, size in zip(centres, origins, radii, strict=True):
        corner = np.floor(centre).astype(int)
        # Distances are measured from pixel centres, half a pixel from their corners.
        down = (corner[0] + reach + 0.5 - centre[0])[:, None]
        right = corner[1] + reach + 0.5 - centre[1]
        radius = _radius(rng, np.arctan2(down, right), size)
        distance = np.hypot(down, right) / radius
        rows, columns = np.nonzero(distance < 1)
        places.append(np.stack([corner[0] + reach[rows], corner[1] + reach[columns]], 1) + origin)
        weights.append(_ring(distance[rows, columns]))
        counts.append(len(rows))
    return Outlines(
        offsets=np.cumsum(counts, dtype=np.int64),
        yx=np.concatenate(places).astype(np.int16),
        weight=np.concatenate(weights).astype(np.float32),
    )


def _radius(rng: np.random.Generator, angle: np.ndarray, mean: float) -> np.ndarray:
    """Return the radius at each angle of a cell that is not quite round."""
    ovals = rng.normal(0, (0.10, 0.05)) * np.cos(
        angle[..., None] * (2, 3) + rng.uniform(0, 2 * np.pi, 2)
    )
    radius: np.ndarray = mean * (1 + np.clip(ovals.sum(axis=-1), -0.3, 0.3))
    return radius


def _ring(distance: np.ndarray) -> np.ndarray:
    """Return the brightness at a relative distance from the centre of a cell."""
    # A ring: the indicator fills the cytoplasm and leaves the nucleus dark.
    return 0.35 + 0.65 * np.exp(-0.5 * ((distance - 0.72) / 0.22) ** 2)


def _blur(image: np.ndarray, sd: float) -> np.ndarray:
    """Blur with a Gaussian, with periodic boundaries."""
    frequency = [np.fft.fftfreq(n) for n in image.shape]
    squared = frequency[0][:, None] ** 2 + frequency[1][None] ** 2
    # Fourier transform of a Gaussian; one cost for any width, without SciPy.
    window = np.exp(-2 * (np.pi * sd) ** 2 * squared)
    return np.real(np.fft.ifft2(np.fft.fft2(image) * window))


def _cloud(rng: np.random.Generator, sd: float) -> np.ndarray:
    cloud = _blur(rng.standard_normal((PLANE_PX, PLANE_PX)), sd)
    standard: np.ndarray = (cloud - cloud.mean()) / cloud.std()
    return standard


def _plane(rng: np.random.Generator, cells: np.ndarray, vessels: np.ndarray) -> np.ndarray:
    """Return a plane: neuropil, cells in and out of focus, vessels, shot noise."""
    neuropil = 0.30 + 0.045 * _cloud(rng, 1.2) + 0.04 * _cloud(rng, 5.0)
    neuropil += 0.03 * _cloud(rng, 30.0)
    image = neuropil + 0.75 * _blur(cells, 0.8) + _unlabelled_cells(rng)
    shade = _blur(vessels, 1.5)
    image = np.maximum(image, 0.02) * (1 - 0.72 * np.clip(shade, 0, 1))
    ramp = np.linspace(-1, 1, PLANE_PX)
    image *= 1 - 0.3 * (ramp[:, None] ** 2 + ramp**2) * 0.7
    # Photons per pixel at brightness 1: sets the shot noise.
    photons = 260.0
    return _blur(rng.poisson(np.clip(image, 0, None) * photons) / photons, 0.5)


def _unlabelled_cells(rng: np.random.Generator, count: int = 260) -> np.ndarray:
    """Return cells without a mask: dim ones, and blurred ones from other depths."""
    rows, columns = np.mgrid[:15, :15] - 7
    distance = np.hypot(rows, columns) / 3.2
    stamp = np.where(distance < 1, _ring(distance), 0.0)
    # A border of half a stamp, cropped at the end, so that cells are cut at the edge.
    layers = np.zeros((2, PLANE_PX + 14, PLANE_PX + 14))
    for _ in range(count):
        layer = int(rng.random() < 0.7)
        y, x = rng.integers(0, PLANE_PX, 2)
        layers[layer, y : y + 15, x : x + 15] += rng.uniform(0.1, 0.5) * stamp
    near, far = layers[:, 7:-7, 7:-7]
    return 0.5 * _blur(near, 1.0) + 0.8 * _blur(far, 3.2)


def _vessels(rng: np.random.Generator) -> np.ndarray:
    """Return a mask of the surface vessels, which are random walks with branches."""
    mask = np.zeros((PLANE_PX, PLANE_PX))
    starts = [(rng.uniform(0, PLANE_PX), 0.0, rng.normal(0, 0.3), 7.0)]
    starts += [(0.0, rng.uniform(0, PLANE_PX), np.pi / 2 + rng.normal(0, 0.3), 4.5)]
    starts += [(rng.uniform(0, PLANE_PX), 0.0, rng.normal(0, 0.5), 3.0)]
    while starts:
        y, x, heading, width = starts.pop()
        for _ in range(2 * PLANE_PX):
            _dab(mask, y, x, width)
            heading += rng.normal(0, 0.045)
            y, x = y + np.sin(heading), x + np.cos(heading)
            if not (-9 < y < PLANE_PX + 9 and -9 < x < PLANE_PX + 9) or width < 1.0:
                break
            width -= 0.003
            if width > 1.8 and rng.random() < 0.012:
                turn = rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
                starts.append((y, x, heading + turn, width * rng.uniform(0.4, 0.65)))
    return mask


def _dab(mask: np.ndarray, y: float, x: float, width: float) -> None:
    reach = int(np.ceil(width / 2)) + 1
    top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
    part = mask[top : max(int(y) + reach + 1, 0), left : max(int(x) + reach + 1, 0)]
    rows, columns = np.ogrid[: part.shape[0], : part.shape[1]]
    near = (rows + top - y) ** 2 + (columns + left - x) ** 2 <= (width / 2) ** 2
    part[near] = 1.0
