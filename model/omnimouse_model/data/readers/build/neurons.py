"""Table of neurons with defaults for the facts that a format lacks."""

import numpy as np

from omnimouse_model.data.read_options import ALL_ROIS
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.rate_notes import minimum_scale
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.units import Roi, Units

_LISTED = 8


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
        _note_repeated(unit_id, plane, notes)
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


def _note_repeated(unit_id: np.ndarray, plane: np.ndarray | None, notes: Notes) -> None:
    """Note ids that several neurons have, in one plane or in different ones."""
    _, n_shared = _repeated(unit_id)
    if not n_shared:
        return
    found = f"{n_shared:,} of {len(unit_id):,} neurons share their id with another one"
    effect = "a table of properties gives them the same row"
    planes = np.zeros(len(unit_id)) if plane is None else plane
    inside, _ = _repeated(np.stack([planes, unit_id], axis=1))
    if not len(inside):
        notes.assume("repeated_ids", f"{found} of another plane: {effect}")
        return
    ids = np.unique(inside[:, 1].astype(np.int64))
    more = ", …" if len(ids) > _LISTED else ""
    notes.warn(
        "repeated_ids",
        f"{found} (ids {', '.join(map(str, ids[:_LISTED]))}{more}): {effect}, and a "
        "neuron may be there twice",
    )


def _repeated(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the rows that occur several times, and how many rows these are."""
    found, counts = np.unique(rows, axis=0, return_counts=True)
    is_shared = counts > 1
    return found[is_shared], int(counts[is_shared].sum())


def note_no_cells(n_rois: int, n_cells: int, notes: Notes, *, where: str, cells_only: bool) -> None:
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
