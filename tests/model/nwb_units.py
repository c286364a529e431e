"""Small NWB files with spikes, in the style of the Neural Latents Benchmark."""

from pathlib import Path

import h5py
import numpy as np

from tests.model.nwb_files import typed_group

SECONDS = 40.0
N_UNITS, N_TRIALS = 5, 12
HELD_OUT = (False, True, False, False, True)


def write_units(path: Path, *, seed: int = 3) -> Path:
    """Write a table of units with electrodes, trials and a split."""
    draw = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file.attrs["neurodata_type"] = "NWBFile"
        file.attrs["nwb_version"] = "2.7.0"
        file["identifier"] = "maze"
        file["general/session_id"] = "maze-1"
        typed_group(file, "general/subject", "Subject")["subject_id"] = "Jenkins"
        _write_electrodes(file)
        units = typed_group(file, "units", "Units")
        counts = np.array([200, 160, 0, 240, 80])
        units["id"] = np.arange(N_UNITS) + 10
        units["spike_times_index"] = np.cumsum(counts).astype(np.uint16)
        units["spike_times"] = np.concatenate(
            [np.sort(draw.uniform(0.0, SECONDS, n)) for n in counts]
        )
        units["obs_intervals"] = np.array([[0.0, SECONDS]] * N_UNITS)
        units["obs_intervals_index"] = np.arange(N_UNITS) + 1
        units["electrodes"] = np.array([0, 3, 1, 2, 3])
        units["electrodes_index"] = np.arange(N_UNITS) + 1
        units["heldout"] = np.array(HELD_OUT)
        units["quality"] = np.array([b"good", b"good", b"mua", b"mua", b"good"])
        trials = typed_group(file, "intervals/trials", "TimeIntervals")
        begin = 1.0 + np.arange(N_TRIALS) * 3.0
        trials["id"] = np.arange(N_TRIALS)
        trials["start_time"], trials["stop_time"] = begin, begin + 2.5
        trials["move_onset_time"] = begin + 0.5
        trials["maze_id"] = np.arange(N_TRIALS) % 3
        trials["split"] = np.array([b"train"] * 9 + [b"val"] * 2 + [b"none"])
    return path


def _write_electrodes(file: h5py.File) -> None:
    table = typed_group(file, "general/extracellular_ephys/electrodes", "DynamicTable")
    table["id"] = np.arange(4)
    table["location"] = np.array([b"PMd", b"PMd", b"M1", b"M1"])
    table["group_name"] = np.array([b"array_1", b"array_1", b"array_2", b"array_2"])
    table["rel_x"] = np.array([0.0, 16.0, 0.0, 16.0])
    table["rel_y"] = np.array([0.0, 100.0, 40.0, 80.0])
