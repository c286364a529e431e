"""The neurons of a session: ids, areas, positions and pixel masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from omnimouse_model.data.spike_trains import indices


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """Pixel masks of all neurons on one image, ragged.

    Neuron i has pixels `offsets[i]:offsets[i + 1]`.

    Attributes
    ----------
    offsets
        int64 (N + 1,).
    yx
        int16 (K, 2) row and column on the session's mean image.
    weight
        float32 (K,).
    """

    offsets: np.ndarray
    yx: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, masks: Sequence[tuple[np.ndarray, np.ndarray]]) -> "Roi":
        """Return the masks of neurons: pixels int16 (k, 2), weights float32 (k,)."""
        ends = np.cumsum([0, *(len(weight) for _, weight in masks)])
        # Empty arrays in front, because `concatenate` refuses an empty list.
        yx = [np.zeros((0, 2), np.int16), *(pixels for pixels, _ in masks)]
        weights = [np.zeros(0, np.float32), *(weight for _, weight in masks)]
        return cls(ends.astype(np.int64), np.concatenate(yx), np.concatenate(weights))

    @classmethod
    def none(cls, n: int) -> "Roi":
        """Return n masks without pixels."""
        empty = np.zeros((0, 2), np.int16), np.zeros(0, np.float32)
        return cls(np.zeros(n + 1, np.int64), *empty)

    @classmethod
    def joined(cls, rois: Sequence["Roi"]) -> "Roi":
        """Return the masks of several groups of neurons, one group after the other."""
        counts = np.concatenate([[0], *(np.diff(roi.offsets) for roi in rois)])
        yx, weight = (np.concatenate([getattr(r, k) for r in rois]) for k in ("yx", "weight"))
        return cls(np.cumsum(counts).astype(np.int64), yx, weight)

    def select(self, neurons: np.ndarray) -> "Roi":
        """Return the masks of some neurons, in their order."""
        begin, end = self.offsets[neurons], self.offsets[neurons + 1]
        _, used = indices(begin, end)
        offsets = np.concatenate([[0], np.cumsum(end - begin)]).astype(np.int64)
        return Roi(offsets, self.yx[used], self.weight[used])

    def pixels(self, neuron: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (k, 2) and weights (k,) of one neuron."""
        span = slice(int(self.offsets[neuron]), int(self.offsets[neuron + 1]))
        return self.yx[span], self.weight[span]

    def centroids(self) -> np.ndarray:
        """Weighted mean x and y of every mask, float32 (N, 2); NaN without pixels."""
        n = len(self.offsets) - 1
        # `bincount` sums over the pixels of all neurons at once.
        owner = np.repeat(np.arange(n), np.diff(self.offsets))
        weight = np.bincount(owner, self.weight, n)
        has_pixels = weight > 0
        centroids = np.full((n, 2), np.nan, np.float32)
        # Pixels are (y, x), positions are (x, y).
        for axis, column in ((0, 1), (1, 0)):
            total = np.bincount(owner, self.weight * self.yx[:, column], n)
            centroids[has_pixels, axis] = total[has_pixels] / weight[has_pixels]
        return centroids


def probe_numbers(probe: np.ndarray) -> np.ndarray:
    """Return the number of each unit's probe, int64 (N,): -1 where the name is "".

    Examples
    --------
    >>> from omnimouse_model.data.neurons import probe_numbers
    >>> probe_numbers(np.array(["probe00", "", "probe01"]))
    array([ 0, -1,  1])
    """
    names, number = np.unique(probe, return_inverse=True)
    is_unknown = int(len(names) > 0 and names[0] == "")
    # "" is the first of sorted names.
    return np.asarray(number.reshape(-1) - is_unknown)


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """One row per neuron, in the column order of the responses.

    Attributes
    ----------
    unit_id
        int64 (N,) the session's own ids.
    area
        str (N,) brain area, or None if the session does not state it.
    area_source
        File or field of the areas, "" without any.
    plane
        int32 (N,) imaging plane, -1 unknown.
    xyz_um
        float32 (N, 3) position in the microscope's frame, NaN unknown.
    xy_px
        float32 (N, 2) x and y on the mean image, NaN unknown.
    mean, std
        float64 (N,) of the responses; the std may be 0.
    roi
        Pixel masks, or None.
    least_scale
        Responses are divided by their std, but by no less than this: 1 in the
        recordings of the released models.
    probe
        str (N,) name of the probe of each unit, "" where unknown, or None for imaging.
        `plane` is then the number of the probe (`probe_numbers`), and the third column
        of `xyz_um` the depth on it.
    properties
        Name -> numbers or texts (N,), or numbers (N, k), from tables that the user
        states (`unit_tables` of `ReadOptions`).
    """

    unit_id: np.ndarray
    area: np.ndarray | None
    area_source: str
    plane: np.ndarray
    xyz_um: np.ndarray
    xy_px: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    roi: Roi | None = None
    least_scale: float = 1.0
    probe: np.ndarray | None = None
    properties: Mapping[str, np.ndarray] = field(default_factory=dict)
    _cache: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.unit_id)

    @property
    def names(self) -> np.ndarray:
        """int64 (N,) names for display: the session's ids, or indices if ids repeat."""
        if "names" not in self._cache:
            # Ids of several planes can repeat; a name must identify one neuron.
            ids = np.asarray(self.unit_id)
            is_unique = len(np.unique(ids)) == len(ids)
            self._cache["names"] = ids if is_unique else np.arange(len(ids))
        return self._cache["names"]

    @property
    def region_of(self) -> tuple[str, ...]:
        """Area of each unit, "" for units without one, which belong to no region."""
        return ("",) * len(self) if self.area is None else tuple(self.area.tolist())

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the areas, sorted, without ""."""
        return tuple(sorted({*self.region_of} - {""}))

    def group_name(self, number: int) -> str:
        """Return the name of an imaging plane or probe, for example "plane 2"."""
        if self.probe is None:
            return f"plane {number}"
        names = self.probe[np.asarray(self.plane) == number]
        name = str(names[0]) if len(names) else str(number)
        return name if name.lower().startswith("probe") else f"probe {name}"

    @property
    def scale(self) -> np.ndarray:
        """float64 (N,): session units per unit of the model's normalised responses."""
        # A limit, so that neurons that hardly vary are not blown up to noise.
        return np.maximum(self.std, self.least_scale)
