"""Write a simulated session as an experanto folder with its ground truth.

The folder is written under a temporary name and renamed at the end, so it is complete
or absent. A session that exists already is not written again.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from omnimouse_model.progress import QUIET, Job, advance, shows_progress
from omnimouse_model.simulate.population import (
    AREAS,
    FIELD_UM,
    PLANE_DEPTHS_UM,
    Anatomy,
    Population,
    Purpose,
    stream,
)
from omnimouse_model.simulate.simulation import LEAD_SAMPLES, Simulation
from omnimouse_model.simulate.specs import (
    BLANK_SAMPLES,
    BLOCK_SAMPLES,
    DEVICE_RATE_HZ,
    FRAME_SHAPE,
    RATE_HZ,
    VERSION,
    VIDEO_FRAMES,
    MouseSpec,
)
from omnimouse_model.simulate.truth import FOLDER as TRUTH
from omnimouse_model.simulate.truth import ResponseSums, spec_fingerprint
from omnimouse_model.simulate.video_and_behavior import GRAY, device_traces
from omnimouse_model.storage.arrays.npy import fill, rows_to_fill
from omnimouse_model.storage.write import put_in_place, remove_left_over, temporary_folder, writing

logger = logging.getLogger(__name__)

RESPONSES_START_S = 100.0
SCREEN_START_S = RESPONSES_START_S + 0.5 / RATE_HZ
"""Onset of the first frame. Frame k appears in the middle of response sample k, so that
window starts, which count from the first frame, never lie at the edge of a sample."""

# Not a whole number of device samples, so that the clocks are not aligned.
DEVICE_START_S = SCREEN_START_S - 1.008
_DEVICE_TAIL_S = 0.9


@shows_progress
def write_session(spec: MouseSpec, folder: str | Path, job: Job = QUIET) -> Path:
    """Simulate a session and write it to `folder`; do nothing if it exists already.

    Parameters
    ----------
    spec
        Specification of mouse and recording.
    folder
        The session folder itself. A folder with other contents is never changed.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    FileExistsError
        `folder` has other contents.
    """
    folder = Path(folder)
    remove_left_over(folder.parent)
    if _is_complete(spec, folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with writing(folder), temporary_folder(folder) as partial:
        _write_all(spec, partial, job)
        _move_into_place(spec, partial, folder)
    return folder


def _is_complete(spec: MouseSpec, folder: Path) -> bool:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if spec_fingerprint(folder) == spec.fingerprint:
        return True
    raise FileExistsError(
        f"{folder} already holds something other than simulated mouse {spec.name!r} "
        f"of this version; delete it or choose another folder."
    )


def _move_into_place(spec: MouseSpec, partial: Path, folder: Path) -> None:
    try:
        put_in_place(partial, folder)
    except OSError:
        # The rename fails if another process has put the same session there first,
        # which is as good as success.
        if not _is_complete(spec, folder):
            raise
        logger.info("%s was written by another process meanwhile", folder)


def _write_all(spec: MouseSpec, folder: Path, job: Job) -> None:
    simulation = Simulation(spec)
    _write_root(spec, folder)
    _write_devices(simulation, folder)
    # In a thread beside the responses, from which it is independent.
    with ThreadPoolExecutor(1, "omnimouse-imaging") as pool:
        place = folder / "imaging"
        imaging = pool.submit(_write_imaging, simulation.population, place)
        moments = _write_blocks(simulation, folder, job)
        imaging.result()
    _write_responses_meta(simulation, folder / "responses", moments)
    _write_truth_meta(simulation, folder / TRUTH, moments)


def _write_root(spec: MouseSpec, folder: Path) -> None:
    animal, session, scan = spec.data_key.split("-")
    identity = {
        "animal_id": int(animal),
        "session": int(session),
        "scan_idx": int(scan),
    }
    meta = {
        "data_key": spec.data_key,
        "scan_key": identity,
        "simulated": {"mouse": spec.name, "version": VERSION},
    }
    fill(folder / "meta.json", meta)


def _sequence_meta(
    start_s: float, rate_hz: int, shape: tuple[int, ...], dtype: str
) -> dict[str, Any]:
    n_rows, n_columns = shape
    return {
        "modality": "sequence",
        "sampling_rate": float(rate_hz),
        "start_time": start_s,
        "end_time": start_s + (n_rows - 1) / rate_hz,
        "n_signals": n_columns,
        "n_timestamps": n_rows,
        "dtype": dtype,
        "phase_shift_per_signal": False,
    }


def _write_devices(simulation: Simulation, folder: Path) -> None:
    """Write eye camera and treadmill, which start before the responses, end after."""
    spec = simulation.spec
    span_s = spec.n_samples / RATE_HZ + SCREEN_START_S - DEVICE_START_S + _DEVICE_TAIL_S
    times = np.arange(int(span_s * DEVICE_RATE_HZ)) / DEVICE_RATE_HZ
    ahead_s = SCREEN_START_S - DEVICE_START_S
    # In samples of the simulation, which starts a lead-in before the first frame.
    positions = LEAD_SAMPLES + (times - ahead_s) * RATE_HZ
    eye, treadmill = device_traces(simulation.behavior, positions, spec.session_seed)
    for name, trace in (("eye_tracker", eye), ("treadmill", treadmill)):
        place = folder / name
        (place / "meta").mkdir(parents=True)
        fill(place / "data.npy", trace)
        fill(place / "meta" / "means.npy", trace.mean(axis=0))
        fill(place / "meta" / "stds.npy", trace.std(axis=0))
        meta = _sequence_meta(DEVICE_START_S, DEVICE_RATE_HZ, trace.shape, "float64")
        fill(place / "meta.yml", meta | {"is_mem_mapped": False})


def _write_imaging(population: Population, place: Path) -> None:
    place.mkdir()
    outlines, image = draw_imaging(population.seed, population.anatomy)
    rois = {name: getattr(outlines, name) for name in ("offsets", "yx", "weight")}
    fill(place / "rois.npz", rois)
    fill(place / "mean_image.npy", image)
    meta = {
        "modality": "imaging",
        "um_per_pixel": UM_PER_PIXEL,
        "plane_depths_um": list(PLANE_DEPTHS_UM),
        "plane_origin_yx": [list(origin) for origin in plane_origins()],
    }
    fill(place / "meta.yml", meta)


def _write_blocks(simulation: Simulation, folder: Path, job: Job) -> ResponseSums:
    """Write responses, truth and screen block by block; return the moments."""
    spec, moments = simulation.spec, ResponseSums()
    screen = _Screen(folder / "screen")
    for name in ("responses", TRUTH):
        (folder / name).mkdir()
    shape = (spec.n_samples, spec.n_neurons)
    n_latents = simulation.population.coupling.loadings.shape[1]
    with (
        rows_to_fill(folder / "responses" / "data.mem", shape, "<f4") as add_responses,
        rows_to_fill(folder / TRUTH / "drive.npy", shape, "<f4") as add_drive,
        rows_to_fill(folder / TRUTH / "full.npy", shape, "<f4") as add_full,
        rows_to_fill(folder / TRUTH / "latents.npy", (shape[0], n_latents), "<f4") as add_latents,
    ):
        for number, block in enumerate(simulation.blocks()):
            add_responses(block.recorded.responses)
            add_drive(block.recorded.drive)
            add_full(block.recorded.full)
            add_latents(block.latents)
            moments.add(block.recorded)
            screen.add(block.trial.tier, block.video)
            advance(job, number + 1, spec.n_trials, "simulating")
    screen.close()
    return moments


class _Screen:
    """Writer of the screen device: a blank and a video per block."""

    def __init__(self, place: Path) -> None:
        self._place = place
        for name in ("data", "meta"):
            (place / name).mkdir(parents=True)
        fill(place / "meta" / "means.npy", np.float64(113.0))
        fill(place / "meta" / "stds.npy", np.float64(59.0))
        fill(place / "meta.yml", {"modality": "screen", "frame_rate": float(RATE_HZ)})
        self._trials: dict[str, dict[str, Any]] = {}
        self._onsets: list[np.ndarray] = []

    def add(self, tier: str, video: np.ndarray) -> None:
        """Append a block."""
        # A blank takes one frame slot, a video as many as it has frames.
        block, slot = len(self._onsets), len(self._onsets) * (VIDEO_FRAMES + 1)
        frames = BLANK_SAMPLES + np.arange(VIDEO_FRAMES)
        onsets = block * BLOCK_SAMPLES + np.concatenate([[0], frames])
        self._onsets.append(SCREEN_START_S + onsets / RATE_HZ)
        shared = {"image_size": list(FRAME_SHAPE)}
        blank = {
            "modality": "blank",
            "first_frame_idx": slot,
            "interleave_value": float(GRAY),
        }
        clip = {
            "modality": "video",
            "first_frame_idx": slot + 1,
            "num_frames": len(video),
            "tier": tier,
            "valid_trial": True,
            "trial_idx": block,
            "stim_type": "stimulus.Clip",
            # A hash of the frames: repeats of a video are recognised by it.
            "condition_hash": blake2b(video.tobytes(), digest_size=10).hexdigest(),
        }
        for number, meta in ((2 * block, blank), (2 * block + 1, clip)):
            self._trials[f"{number:05d}"] = meta | shared
            fill(self._place / "meta" / f"{number:05d}.yml", meta | shared)
        fill(self._place / "data" / f"{2 * block + 1:05d}.npy", video)

    def close(self) -> None:
        """Write the onsets and the combined metadata of all trials."""
        fill(self._place / "timestamps.npy", np.concatenate(self._onsets))
        fill(self._place / "combined_meta.json", self._trials)


def _write_responses_meta(simulation: Simulation, place: Path, moments: ResponseSums) -> None:
    spec, anatomy = simulation.spec, simulation.population.anatomy
    arrays = {
        "means": moments.mean("responses")[None],
        "stds": np.sqrt(moments.variance("responses"))[None],
        "unit_ids": np.arange(1, spec.n_neurons + 1),
        "area": np.array(AREAS)[anatomy.area],
        "fields": anatomy.plane.astype(np.int64),
        "cell_motor_coordinates": np.rint(anatomy.xyz_um).astype(np.int64),
    }
    (place / "meta").mkdir()
    for name, array in arrays.items():
        fill(place / "meta" / f"{name}.npy", array)
    shape = (spec.n_samples, spec.n_neurons)
    meta = _sequence_meta(RESPONSES_START_S, RATE_HZ, shape, "float32")
    named = ("unit_ids", "cell_motor_coordinates", "fields")
    properties = {name: f"meta/{name}.npy" for name in named}
    fill(place / "meta.yml", meta | {"is_mem_mapped": True, "neuron_properties": properties})


def _write_truth_meta(simulation: Simulation, place: Path, moments: ResponseSums) -> None:
    population = simulation.population
    ceilings = moments.ceilings(population.calcium)
    fill(place / "ceilings.npz", asdict(ceilings))
    tuning = {f.name: getattr(population.tuning, f.name) for f in fields(population.tuning)}
    fill(place / "tuning.npz", tuning)
    fill(place / "loadings.npy", population.coupling.loadings)
    spec = simulation.spec
    # Written last: its presence marks the folder as complete.
    meta = {"version": VERSION, "fingerprint": spec.fingerprint, "spec": asdict(spec)}
    fill(place / "meta.json", meta)


# -- simulated imaging: outlines of the cells and a mean image of the microscope
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
    return mean * (1 + np.clip(ovals.sum(axis=-1), -0.3, 0.3))


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
    return (cloud - cloud.mean()) / cloud.std()


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


def _unlabelled_cells(rng: np.random.Generator) -> np.ndarray:
    """Return cells without a mask: dim ones, and blurred ones from other depths."""
    rows, columns = np.mgrid[:15, :15] - 7
    distance = np.hypot(rows, columns) / 3.2
    stamp = np.where(distance < 1, _ring(distance), 0.0)
    # A border of half a stamp, cropped at the end, so that cells are cut at the edge.
    layers = np.zeros((2, PLANE_PX + 14, PLANE_PX + 14))
    for _ in range(260):
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
