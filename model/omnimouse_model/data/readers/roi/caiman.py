"""CaImAn: the HDF5 file that `cnmf.save` writes, also of its CNMF-E."""

from functools import partial
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.readers.roi.extraction import (
    Extraction,
    Masks,
    check_traces,
    hdf5_rows,
    number,
    sparse_masks,
    stored,
    wrong,
)
from omnimouse_model.storage.arrays.hdf5 import Hdf5
from omnimouse_model.storage.byte_source import LocalFile

SUFFIXES = (".hdf5", ".h5")
_SERIES = {
    "S": "deconvolved activity",
    "F_dff": "dF/F",
    "C": "denoised traces",
}
_RATE = "params/data/fr"
_SIZES = ("params/data/dims", "estimates/dims", "dims")


def recognises(file: Hdf5) -> bool:
    """Return whether a file has the groups of CaImAn."""
    return file.find("estimates") is not None and file.find("params") is not None


def extract(path: Path, notes: Notes) -> Extraction:
    """Return the regions of a file of CaImAn."""
    file = Hdf5(LocalFile(path))
    names = {
        name: f"estimates/{name}"
        for name in _SERIES
        if stored(file, f"estimates/{name}") is not None
    }
    _, n_regions = check_traces(file, names.values(), is_transposed=True)
    size = _size(file)
    masks = image = None
    if len(size) == 2:
        read = partial(_masks, file, size, n_regions)
        masks = read_side_stream("the masks", read, notes)
        image = read_side_stream("the image Cn", partial(_image, file, size), notes)
    else:
        notes.warn("no_masks", f"{path.name}: masks of {len(size)}-D images are not read")
    return Extraction(
        program="CaImAn",
        format="caiman",
        path=path,
        series={name: _SERIES[name] for name in names},
        rows=hdf5_rows(file, names, is_transposed=True),
        n_regions=n_regions,
        unit_id=np.arange(n_regions),
        rate_hz=number(file, _RATE),
        rate_source=_RATE,
        accepted=_accepted(file, n_regions),
        accepted_source="estimates/idx_components",
        masks=masks,
        image=image,
        image_name="the image of local correlations (Cn)",
    )


def _size(file: Hdf5) -> tuple[int, ...]:
    """Return the size of the image, (height, width) or with a depth; () if unknown."""
    for name in _SIZES:
        if stored(file, name) is None:
            continue
        values = file.table(name).reshape(-1)
        if values.dtype.kind in "iuf" and len(values) in (2, 3) and (values >= 1).all():
            return tuple(int(n) for n in values)
    return ()


def _accepted(file: Hdf5, n_regions: int) -> np.ndarray | None:
    """Return the regions that the evaluation accepted, None if it was not run."""
    name = "estimates/idx_components"
    item = file.find(name)
    # An empty list is an evaluation that accepted nothing; a text stands for None.
    if len(getattr(item, "shape", ())) != 1 or item.dtype.kind not in "iuf":
        return None
    chosen = file.table(name).astype(np.int64)
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < n_regions:
        found = f"{chosen.min()} to {chosen.max()}"
        raise wrong(file.path, name, f"names regions {found}; there are {n_regions}")
    accepted = np.zeros(n_regions, bool)
    accepted[chosen] = True
    return accepted


def _masks(file: Hdf5, size: tuple[int, int], n_regions: int, notes: Notes) -> Masks | None:
    parts = [f"estimates/A/{name}" for name in ("data", "indices", "indptr")]
    if any(file.find(name) is None for name in parts):
        notes.assume("no_masks", f"{file.path.name} holds no masks (estimates/A)")
        return None
    values, pixels, ends = (file.table(name) for name in parts)
    return sparse_masks(file.path, "estimates/A", (values, pixels, ends), size, n_regions)


def _image(file: Hdf5, size: tuple[int, int], notes: Notes) -> np.ndarray | None:
    name = "estimates/Cn"
    if stored(file, name) is None:
        return None
    image = file.table(name)
    if image.shape != size or image.dtype.kind not in "fiu":
        raise wrong(file.path, name, f"is {image.shape} {image.dtype}; {size} numbers expected")
    return image
