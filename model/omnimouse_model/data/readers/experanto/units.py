"""Reader of the neurons of an experanto folder: ids, areas, positions and masks."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.decode_text import decode_texts
from omnimouse_model.data.readers.build.neurons import make_units
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.units import Roi, Units
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.npy import MAX_SMALL_ARRAY_BYTES, Npz, load_small_array
from omnimouse_model.storage.files import contained
from omnimouse_model.storage.trees import read_yaml_mapping

_AREA_NAMES = ("area", "areas", "brain_area", "brain_areas")


def read_units(root: Path, responses: Signal, meta: Mapping[str, Any], notes: Notes) -> Units:
    """Read the unit arrays; missing ones and those of another length are omitted."""
    n = responses.n_columns
    # The description can name other files than those of the usual names.
    paths = meta.get("neuron_properties")
    paths = paths if isinstance(paths, Mapping) else {}
    arrays = _Arrays(root, responses.file.path.parent, n, paths, notes)
    unit_id, fields = arrays.numbers("unit_ids", (n,)), arrays.numbers("fields", (n,))
    area, area_source = arrays.area()
    return make_units(
        responses,
        notes,
        unit_id=None if unit_id is None else _finite(unit_id),
        area=area,
        area_source=area_source,
        plane=None if fields is None else _finite(fields),
        xyz_um=arrays.numbers("cell_motor_coordinates", (n, 3)),
        roi=read_side_stream("masks", partial(read_roi, root, n), notes),
        # The limit of the released models, which know recordings in this format.
        least_scale=1.0,
    )


def _finite(values: np.ndarray) -> np.ndarray:
    """Return values with -1 (unknown) in place of NaN and infinity."""
    return np.where(np.isfinite(values), values, -1)


class _Arrays:
    """Arrays of the device's `meta`, by name or by the path in the metadata."""

    def __init__(
        self, root: Path, folder: Path, n: int, paths: Mapping[str, Any], notes: Notes
    ) -> None:
        self.root, self.folder = root, folder
        self.n, self.paths, self.notes = n, paths, notes

    def load(self, name: str) -> np.ndarray | None:
        named = self.paths.get(name)
        path = self.folder / (named if isinstance(named, str) else f"meta/{name}.npy")
        # The path comes from the session and could lead out of it.
        if isinstance(named, str):
            contained(path, self.root, is_named=True)
        if path.exists():
            return read_side_stream(name, lambda _: load_small_array(path, self.root), self.notes)
        if named is not None:
            self.notes.warn(
                "missing_unit_array",
                f"{self.folder.name}/{named} is named, but missing",
            )
        return None

    def numbers(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        values = self.load(name)
        if values is None:
            return None
        # By size: (n, 1) and (1, n) are accepted for (n,).
        if values.size == int(np.prod(shape)) and values.dtype.kind in "fiu":
            return values.reshape(shape)
        self._drop(name, values)
        return None

    def area(self) -> tuple[np.ndarray | None, str]:
        # The format does not define a name; only some sessions have areas.
        for name in _AREA_NAMES:
            values = self.load(name)
            if values is None:
                continue
            if values.size == self.n:
                text = decode_texts(values.reshape(-1))
                return text.astype(np.str_), f"{self.folder.name}/meta/{name}.npy"
            self._drop(name, values)
        return None, ""

    def _drop(self, name: str, values: np.ndarray) -> None:
        self.notes.warn(
            "wrong_length",
            f"{name}.npy has {len(np.atleast_1d(values))} values for {self.n} units; left out",
        )


def read_roi(root: Path, n: int, notes: Notes) -> Roi | None:
    """Read the pixel masks of `imaging/rois.npz`; None if missing or unfit.

    Raises
    ------
    SessionFormatError
        If the file lacks an array.
    """
    path = root / "imaging" / "rois.npz"
    if not path.exists():
        return None
    stored = Npz(contained(path, root), MAX_SMALL_ARRAY_BYTES)
    if not {"offsets", "yx", "weight"} <= set(stored):
        raise SessionFormatError(path, "wrong_shape", "rois.npz must hold offsets, yx and weight")
    offsets, pixels, weight = (stored[name] for name in ("offsets", "yx", "weight"))
    # `Roi` relies on offsets that start at 0, never fall and end at the pixel count.
    sound = (
        all(values.dtype.kind in "fiu" for values in (offsets, pixels, weight))
        and offsets.shape == (n + 1,)
        and weight.ndim == 1
        and pixels.shape == (len(weight), 2)
        and offsets[0] == 0
        and offsets[-1] == len(weight)
        and (np.diff(offsets.astype(np.int64)) >= 0).all()
    )
    # A wrong mask is no reason to refuse the recording.
    if not sound:
        notes.warn("wrong_length", f"rois.npz does not fit {n} units; left out")
        return None
    return Roi(offsets.astype(np.int64), pixels.astype(np.int16), weight.astype(np.float32))


def read_images(root: Path, notes: Notes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read mean images and metadata of the `imaging` folder, empty if missing."""
    folder = root / "imaging"
    images: dict[str, np.ndarray] = {}
    if (folder / "mean_image.npy").exists():
        image = load_small_array(folder / "mean_image.npy", root)
        if image.dtype.kind not in "fiu":
            notes.warn("wrong_shape", f"mean_image.npy holds {image.dtype}; left out")
            image = np.zeros((0, 0, 0))  # a stack of no planes: adds no image
        image = image.astype(np.float32)
        if image.ndim == 2:
            images["mean"] = image
        elif image.ndim == 3:
            images.update({f"mean_{i}": plane for i, plane in enumerate(image)})
        else:
            notes.warn("wrong_shape", f"mean_image.npy is {image.shape}; left out")
    described = folder / "meta.yml"
    facts = read_yaml_mapping(described, root) if described.exists() else {}
    facts.pop("modality", None)
    return images, facts
