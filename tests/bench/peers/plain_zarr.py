"""Reading of a store with plain zarr, to measure the decoder of `zarr_arrays`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.store import StoreVideo
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray


class ZarrRows(ZarrArray):
    """Rows that zarr decodes, with the codec pipeline of its configuration."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        # zarr chooses its codec pipeline here, from its configuration at this moment.
        self._array = zarr.open_array(str(folder), mode="r")

    def part(self, slices: tuple[slice, ...] = ()) -> np.ndarray:
        """Return a block of the array; axes without a slice are whole."""
        return np.asarray(self._array[slices])


def open_with_zarr(store: Path) -> Session:
    """Open a store with a video; zarr decodes its responses and frames."""
    session = open_session(store)
    assert session.stimulus is not None
    first = np.asarray(zarr.open_array(str(store), path="stimulus/first_row")[...])
    video = StoreVideo(ZarrRows(store / "stimulus" / "frames"), first)
    rows = ZarrRows(store / "responses" / "data")
    return replace(
        session,
        responses=replace(session.responses, file=rows),
        stimulus=replace(session.stimulus, source=video),
    )
