"""Write a simulated session as an experanto folder with its ground truth.

The folder is written under a temporary name and renamed at the end, so it is complete
or absent. A session that exists already is not written again.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.progress import QUIET, Job, advance
from omnimouse_model.simulate.behavior import device_traces
from omnimouse_model.simulate.ceilings import ResponseSums
from omnimouse_model.simulate.imaging import (
    UM_PER_PIXEL,
    draw_imaging,
    plane_origins,
)
from omnimouse_model.simulate.population import AREAS, PLANE_DEPTHS_UM, Population
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
from omnimouse_model.simulate.stimuli import GRAY
from omnimouse_model.simulate.truth import FOLDER as TRUTH
from omnimouse_model.simulate.truth import spec_fingerprint
from omnimouse_model.storage.arrays.drafts import fill, rows_to_fill
from omnimouse_model.storage.write import remove_left_over, temporary_folder, writing

logger = logging.getLogger(__name__)

RESPONSES_START_S = 100.0
SCREEN_START_S = RESPONSES_START_S + 0.5 / RATE_HZ
"""Onset of the first frame. Frame k appears in the middle of response sample k, so that
window starts, which count from the first frame, never lie at the edge of a sample."""

# Not a whole number of device samples, so that the clocks are not aligned.
DEVICE_START_S = SCREEN_START_S - 1.008
_DEVICE_TAIL_S = 0.9


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
        partial.replace(folder)
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
    fill(
        place / "meta.yml",
        meta | {"is_mem_mapped": True, "neuron_properties": properties},
    )


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
