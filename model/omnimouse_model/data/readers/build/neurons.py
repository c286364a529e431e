"""Table of neurons with defaults for the facts that a format lacks."""

import numpy as np

from omnimouse_model.data.read_options import ALL_ROIS
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.rate_notes import minimum_scale
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.units import Roi, Units


def make_units(
    responses: Signal,
    notes: Notes,
    *,
    unit_id: np.ndarray | None = None,
    area: np.ndarray | None = None,
    area_source: str = "",
    plane: np.ndarray | None = None,
    xyz_um: np.ndarray | None = None,
    xy_px: np.ndarray | None = None,
    roi: Roi | None = None,
    least_scale: float | None = None,
    probe: np.ndarray | None = None,
) -> Units:
    """Return the neurons of the columns of a stream with statistics; see `Units`.

    Without ids, neurons are numbered from 0; without positions on the image, they lie
    at the centroids of their masks. Without `least_scale`, it is computed for responses
    in their own unit. Notes state what is missing or computed.
    """
    n = responses.n_columns
    assert responses.mean is not None
    assert responses.std is not None
    if unit_id is not None:
        _note_repeated(unit_id, notes)
    if area is None:
        notes.assume("no_areas", "the session does not say which areas it covers")
    if least_scale is None:
        least_scale = minimum_scale(responses.std, notes)
    if xyz_um is None:
        xyz_um = np.full((n, 3), np.nan)
    if xy_px is None:
        xy_px = np.full((n, 2), np.nan) if roi is None else roi.centroids()
    return Units(
        unit_id=np.arange(n) if unit_id is None else unit_id.astype(np.int64),
        area=area,
        area_source="" if area is None else area_source,
        plane=np.full(n, -1, np.int32) if plane is None else plane.astype(np.int32),
        xyz_um=xyz_um.astype(np.float32),
        xy_px=xy_px.astype(np.float32),
        mean=responses.mean,
        std=responses.std,
        roi=roi,
        least_scale=least_scale,
        probe=probe,
    )


def _note_repeated(unit_id: np.ndarray, notes: Notes) -> None:
    """Note ids that several neurons have."""
    ids, counts = np.unique(unit_id, return_counts=True)
    repeated = ids[counts > 1]
    if len(repeated):
        more = ", …" if len(repeated) > 8 else ""
        notes.warn(
            "repeated_ids",
            f"{int(counts[counts > 1].sum()):,} of {len(unit_id):,} neurons share their"
            f" id with another one (ids {', '.join(map(str, repeated[:8]))}{more}): "
            "tables of properties cannot tell them apart, and a neuron may be there "
            "twice",
        )


def note_no_cells(
    n_rois: int, n_cells: int, notes: Notes, *, where: str, cells_only: bool
) -> None:
    """Note how many regions are marked as no cells, and whether they are read.

    `where` names the file or the series.
    """
    if n_cells == n_rois:
        return
    found = f"{n_rois - n_cells} of {n_rois} regions of {where} are no cells"
    if cells_only:
        notes.assume("cells_only", f"{found}, and left out ({ALL_ROIS}, keeps them)")
        return
    notes.warn(
        "no_cells",
        f"{found}, and read as neurons: overlapping regions share light, so that "
        "predictions from other neurons at the same sample score too high",
    )
