"""Small files in the layouts of CaImAn, CNMF-E and EXTRACT, with known content."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

HEIGHT, WIDTH = 12, 20
N_REGIONS, N_FRAMES = 5, 400


def traces(seed: int = 0) -> np.ndarray:
    """Traces (region, frame) of any values above 0."""
    return np.random.default_rng(seed).gamma(1.0, 2.0, (N_REGIONS, N_FRAMES))


def images() -> np.ndarray:
    """Masks (region, height, width) of 2 × 3 pixels each: row 2 k, column 3 k."""
    masks = np.zeros((N_REGIONS, HEIGHT, WIDTH))
    for k in range(N_REGIONS):
        masks[k, 2 * k : 2 * k + 2, 3 * k : 3 * k + 3] = 1.0 + k
    return masks


def sparse_columns(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, pixels and ends of the sparse matrix (pixel, region), columns first."""
    flat = [image.T.reshape(-1) for image in masks]
    pixels = [np.flatnonzero(one) for one in flat]
    ends = np.cumsum([0, *map(len, pixels)])
    values = [one[found] for one, found in zip(flat, pixels, strict=True)]
    return np.concatenate(values), np.concatenate(pixels), ends


@dataclass(slots=True)
class CaimanFile:
    """What a file of `cnmf.save` holds; None is stored as CaImAn stores it, as a text."""

    rate_hz: float | None = 10.0
    accepted: list[int] | None = field(default_factory=lambda: [0, 2, 3])
    series: dict[str, np.ndarray | None] = field(
        default_factory=lambda: {"C": traces(0), "S": traces(1), "F_dff": None}
    )
    masks: np.ndarray = field(default_factory=images)
    size: tuple[int, ...] = (HEIGHT, WIDTH)

    def write(self, path: Path) -> Path:
        values, pixels, ends = sparse_columns(self.masks)
        with h5py.File(path, "w") as file:
            estimates = file.create_group("estimates")
            for name, value in self.series.items():
                estimates[name] = "NoneType" if value is None else value
            accepted = "NoneType" if self.accepted is None else np.array(self.accepted, np.int64)
            estimates["idx_components"] = accepted
            sparse = estimates.create_group("A")
            sparse["data"], sparse["indices"], sparse["indptr"] = values, pixels, ends
            sparse["shape"] = np.array([HEIGHT * WIDTH, N_REGIONS])
            estimates["Cn"] = np.arange(HEIGHT * WIDTH, dtype=float).reshape(HEIGHT, WIDTH)
            file["params/data/fr"] = "NoneType" if self.rate_hz is None else self.rate_hz
            file["params/data/dims"] = np.array(self.size)
        return path


def write_mat73(path: Path, fields: dict[str, object], top: str) -> Path:
    """Write a structure of arrays with MATLAB's axes as version 7.3 stores them."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in fields.items():
            if isinstance(value, str):
                value = np.array([[ord(c)] for c in value], np.uint16)
            file[f"{top}/{name}"] = np.atleast_2d(np.asarray(value)).T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def write_extract(path: Path, masks: np.ndarray | None = None) -> Path:
    """Write the `output` of EXTRACT 1.0 and later, without a rate."""
    shown = images() if masks is None else masks
    fields = {
        "temporal_weights": traces().T,
        "spatial_weights": shown.transpose(1, 2, 0),
        "info/version": "1.1.0",
        "info/summary_image": np.ones((HEIGHT, WIDTH)),
        "config/preprocess": 1.0,
    }
    return write_mat73(path, fields, "output")


def write_old_extract(path: Path) -> Path:
    """Write the `extractAnalysisOutput` of EXTRACT before 1.0, with its total time."""
    fields = {
        "traces": traces(),
        "filters": images().transpose(1, 2, 0),
        "info/version": "0.4.0",
        "time/totalTime": N_FRAMES / 8.0,
    }
    return write_mat73(path, fields, "extractAnalysisOutput")


def write_cnmfe_signals(path: Path) -> Path:
    """Write the structure that neuroconv and roiextractors call CNMF-E."""
    fields = {
        "extractedSignals": traces(),
        "extractedImages": images().transpose(1, 2, 0),
        "Cn": np.ones((HEIGHT, WIDTH)),
        "time/totalTime": N_FRAMES / 8.0,
    }
    return write_mat73(path, fields, "cnmfeAnalysisOutput")


def write_cnmfe_results(path: Path, *, is_sparse: bool) -> Path:
    """Write the `results` of CNMF-E with its matrices A, C and S."""
    flat = images().transpose(0, 2, 1).reshape(N_REGIONS, -1).T
    fields = {
        "A": flat,
        "C": traces(0),
        "S": traces(1),
        "Cn": np.ones((HEIGHT, WIDTH)),
        "Fs": 20.0,
    }
    if is_sparse:
        del fields["A"]
    write_mat73(path, fields, "results")
    if is_sparse:
        values, pixels, ends = sparse_columns(images())
        with h5py.File(path, "r+") as file:
            group = file.create_group("results/A")
            group["data"], group["ir"], group["jc"] = values, pixels, ends
            group.attrs["MATLAB_sparse"] = np.uint64(HEIGHT * WIDTH)
    return path
