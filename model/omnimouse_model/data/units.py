"""The neurons of a session: who and where they are."""

from dataclasses import dataclass, field

import numpy as np


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

    def pixels(self, neuron: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (k, 2) and weights (k,) of one neuron."""
        span = slice(int(self.offsets[neuron]), int(self.offsets[neuron + 1]))
        return self.yx[span], self.weight[span]


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """One row per neuron, in the column order of the responses.

    Attributes
    ----------
    unit_id
        int64 (N,) the session's own ids.
    area
        str (N,) brain area, or None where the session does not say.
    area_source
        Where areas were read, "" without any.
    plane
        int32 (N,) imaging plane, -1 unknown.
    xyz_um
        float32 (N, 3) position in the microscope's frame, NaN unknown.
    xy_px
        float32 (N, 2) x and y on the mean image, NaN unknown.
    mean, std
        float64 (N,) of the responses; a std of 0 is kept here.
    roi
        Pixel masks, or None.
    least_scale
        Responses are divided by their std, but by no less than this: 1 in the
        recordings that the released models know.
    probe
        str (N,) name of the probe of each unit, or None for imaging. `plane` is then
        the number of the probe, and the third column of `xyz_um` the depth on it.
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
    _names: list[np.ndarray] = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.unit_id)

    @property
    def names(self) -> np.ndarray:
        """int64 (N,): what neurons are called on screen, where words are read by eye.

        The session's own ids; indices where two neurons share an id.
        """
        if not self._names:
            ids = np.asarray(self.unit_id)
            is_told_apart = len(np.unique(ids)) == len(ids)
            self._names.append(ids if is_told_apart else np.arange(len(ids)))
        return self._names[0]

    def group_name(self, number: int) -> str:
        """Return the name of an imaging plane or probe, for example "plane 2"."""
        if self.probe is None:
            return f"plane {number}"
        named = self.probe[np.asarray(self.plane) == number]
        return f"probe {named[0]}" if len(named) else f"probe {number}"

    @property
    def scale(self) -> np.ndarray:
        """float64 (N,): session units per unit of the model's normalised responses."""
        scale: np.ndarray = np.maximum(self.std, self.least_scale)
        return scale
