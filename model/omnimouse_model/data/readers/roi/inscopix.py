"""Inscopix: cell sets (`.isxd`), which only the library of the manufacturer reads.

roiextractors and `isx` open the file in a process of its own; its traces are in memory.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.roi.extraction import Extraction, image_masks, wrong
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.row_source import MemoryRows, Rows
from omnimouse_model.storage.library_process import (
    Answer,
    LibraryError,
    Report,
    call_library,
)

SUFFIXES = (".isxd",)
_TRACES = "raw"
_ACCEPTED, _REJECTED = "accepted", "rejected"
_CELL = re.compile(r"C?(\d{1,9})")


def read_cell_set(arguments: Mapping[str, Any], report: Report) -> Answer:
    """Return the regions of the file `path`; runs in a process of its own."""
    from roiextractors import InscopixSegmentationExtractor

    cells = InscopixSegmentationExtractor(arguments["path"])
    names = [str(name) for name in cells.get_roi_ids()]
    facts = {
        "names": names,
        "rate_hz": float(cells.get_sampling_frequency()),
        "status": [str(one) for one in cells.get_property("cell_status", cells.get_roi_ids())],
    }
    # These traces are (region, frame), unlike those of other extractors.
    traces = np.asarray(cells.get_traces(name=_TRACES)).T
    images = np.stack([cells.cell_set.get_cell_image_data(k) for k in range(len(names))])
    return facts, {"traces": traces, "images": images}


def extract(path: Path, notes: Notes) -> Extraction:
    """Return the regions of a cell set of Inscopix."""
    try:
        facts, arrays = call_library(f"{__name__}:{read_cell_set.__name__}", {"path": str(path)})
    except LibraryError as error:
        raise _refused(path, error) from error
    traces, images = arrays["traces"], arrays["images"]
    names, status = list(map(str, facts["names"])), list(map(str, facts["status"]))
    n_regions = len(names)
    is_sound = traces.ndim == 2 and images.ndim == 3 and traces.dtype.kind == "f"
    if not is_sound or {traces.shape[1], len(images), len(status)} != {n_regions}:
        found = f"traces {traces.shape}, images {images.shape}"
        raise wrong(path, "the cell set", f"has {n_regions} names, {found}; they disagree")
    accepted = np.array([one != _REJECTED for one in status])
    if _ACCEPTED not in status:
        notes.assume("cells_unknown", f"{path.name} accepts no cell: all not rejected are read")
    elif "undecided" in status:
        n = status.count("undecided")
        notes.warn("undecided_cells", f"{n} of {n_regions} cells are undecided, and left out")
        accepted = np.array([one == _ACCEPTED for one in status])

    def rows(series: str, regions: np.ndarray) -> Rows:
        return MemoryRows(path, traces[:, regions])

    return Extraction(
        program="Inscopix",
        format="inscopix",
        path=path,
        series={_TRACES: "traces of the cell set"},
        rows=rows,
        n_regions=n_regions,
        unit_id=_numbers(names),
        rate_hz=float(facts["rate_hz"]),
        rate_source="the period of the cell set",
        accepted=accepted,
        accepted_source="the status of cells",
        masks=image_masks(path, "images", images),
    )


def _numbers(names: list[str]) -> np.ndarray:
    """Return the numbers in names such as C007, if all are different; else rows."""
    found = [_CELL.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in found if match is not None]
    is_unique = len(set(numbers)) == len(names)
    return np.array(numbers if is_unique else range(len(names)), np.int64)


def _refused(path: Path, error: LibraryError) -> SessionFormatError:
    if error.kind in ("ModuleNotFoundError", "ImportError"):
        return SessionFormatError(
            path,
            "missing_package",
            f"{path.name} is of Inscopix, which roiextractors and isx read: {error.text}",
            "pip install 'omnimouse-app[roi]'",
        )
    return SessionFormatError(
        path,
        "unreadable",
        f"{path.name}: roiextractors cannot read it: {error.text}",
        "is it a cell set, and whole? export it again",
    )
